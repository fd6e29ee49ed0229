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
  // Row and column of a tile, in tiles; those of the tile after it.
  Cell at(int64_t index) const {
    const int64_t across = divide_up(columns, edge);
    return symmetric
               ? cell(index)
               : Cell{index / across,
                      index % across Cell next(Cell at)
                                  const {const bool last =
                                             at.column + 1 ==
                                             (symmetric ? at.row + 1 : divide_up(columns, edge));
    return last ? Cell{at.row + 1, 0} : Cell{at.row, at.column + 1};
  }
};
}  // namespace pyscale::cpu
}
;

}  // namespace pyscale::cpu
