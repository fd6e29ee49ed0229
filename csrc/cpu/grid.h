// The square tiles of a product of two matrices.
#pragma once

#include "core/triangle.h"

namespace pyscale::cpu {

// The tiles that cover it: all, or those of the lower triangle.
struct Grid {
  int64_t rows, columns;  // of the product
  int64_t edge;           // of a tile
  bool symmetric;

  int64_t count() const {
    const int64_t across = divide_up(columns, edge), down = divide_up(rows, edge);
    return symmetric ? triangle(down) : down * across;
  }
  // Row and column of a tile, in tiles.
  Cell at(int64_t index) const {
    const int64_t across = divide_up(columns, edge);
    return symmetric ? cell(index) : Cell{index / across, index % across};
  }
};

}  // namespace pyscale::cpu
