// A B^T for few rows and very many features: the product under Grams and all-pairs HSIC.
#pragma once

#include "core/matrix.h"
#include "cpu/tiles.h"

namespace pyscale::cpu {

struct ProductOptions {
  bool shift;           // each feature by some constant near the rows of A (sample.h), before it is
                        // multiplied
  bool check_constant;  // see Product::constant
  DType
      arithmetic;  // f64 or f32: in which kDepth features are summed; all further sums are float64
  int threads;
};

struct Product {
  Tiles tiles;
  bool constant;  // each feature of A is constant to rounding (gram.h); false where not asked
};

// A B^T. Where A and B are the same view the product is symmetric, and only its lower triangle is
// made; only then may it be shifted. The result depends on the data, the shapes and the options, on
// nothing else.
Product product(const Matrix& A,  // (m, p)
                const Matrix& B,  // (n, p)
                const ProductOptions& options);

}  // namespace pyscale::cpu
