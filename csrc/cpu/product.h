// A B^T for few rows and very many features: the product under Grams and all-pairs HSIC.
#pragma once

#include <algorithm>

#include "core/matrix.h"
#include "cpu/buffer.h"
#include "cpu/grid.h"

namespace pyscale::cpu {

struct ProductOptions {
  bool shift;           // each feature by its mean over the rows of A, before it is multiplied
  bool check_constant;  // see Product::constant
  DType
      arithmetic;  // f64 or f32: in which kDepth features are summed; all further sums are float64
  int threads;
};

struct Product {
  Grid grid;
  Buffer<double> tiles;  // (count, edge, edge), element (i, j) of a tile at j * edge + i
  bool constant;  // each feature of A is constant to rounding (gram.h); false where not asked

  // Calls visit(i, j, value) for every element, or every element of the lower triangle.
  template <class Visit>
  void each(const Visit& visit) const {
    Cell at{0, 0};
    for (int64_t t = 0; t < grid.count(); ++t, at = grid.next(at)) {
      const double* tile = tiles.get() + t * grid.edge * grid.edge;
      const int64_t i0 = at.row * grid.edge, j0 = at.column * grid.edge;
      for (int64_t i = i0; i < std::min(i0 + grid.edge, grid.rows); ++i) {
        const int64_t end = std::min(j0 + grid.edge, grid.symmetric ? i + 1 : grid.columns);
        for (int64_t j = j0; j < end; ++j) visit(i, j, tile[(j - j0) * grid.edge + i - i0]);
      }
    }
  }
};

// A B^T. Where A and B are the same view the product is symmetric, and only its lower triangle is
// made; only then may it be shifted. The result depends on the data, the shapes and the options, on
// nothing else.
Product product(const Matrix& A,  // (m, p)
                const Matrix& B,  // (n, p)
                const ProductOptions& options);

}  // namespace pyscale::cpu
