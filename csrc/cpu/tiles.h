// A product as the tile kernel leaves it, and the workspace in which Gram matrices are centred.
#pragma once

#include <algorithm>

#include "cpu/buffer.h"
#include "cpu/grid.h"
#include "cpu/parallel.h"

namespace pyscale::cpu {

struct Tiles {
  Grid grid;
  Buffer<double> values;  // (grid.count(), edge, edge), row by row

  int64_t size() const { return grid.edge * grid.edge; }
  double* tile(int64_t t) { return values.get() + t * size(); }

  // Calls visit(i, j, count, values) for every run of elements (i, j) to (i, j + count - 1) that a
  // tile of `range` holds; of a symmetric product, those of the lower triangle. Each tile's come
  // together.
  template <class Visit>
  void each_run(Range range, const Visit& visit) {
    if (range.begin == range.end) return;
    Cell at = grid.at(range.begin);
    for (int64_t t = range.begin; t < range.end; ++t, at = grid.next(at)) {
      const int64_t i0 = at.row * grid.edge, j0 = at.column * grid.edge;
      for (int64_t i = i0; i < std::min(i0 + grid.edge, grid.rows); ++i) {
        const int64_t end = std::min(j0 + grid.edge, grid.symmetric ? i + 1 : grid.columns);
        visit(i, j0, end - j0, tile(t) + (i - i0) * grid.edge);
      }
    }
  }
  template <class Visit>
  void each_run(const Visit& visit) {
    each_run({0, grid.count()}, visit);
  }
};

}  // namespace pyscale::cpu
