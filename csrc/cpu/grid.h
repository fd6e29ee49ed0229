// The square tiles of a product of two matrices.
#pragma once

#include "core/triangle.h"

namespace pyscale::cpu {

// The tiles that cover it: all, or those of the lower triangle. Row by row.
struct Grid {
  int64_t rows, columns;  // of the product
  int64_t edge;           // of a tile
  bool symmetric;

  int64_t down() const { return divide_up(rows, edge); }
  int64_t across() const { return divide_up(columns, edge); }
  int64_t count() const { return symmetric ? triangle(down()) : down() * across(); }

  // Row and column of a tile, in tiles. There must be one.
  Cell at(int64_t index) const {
    return symmetric ? cell(index) : Cell{index / across(), index % across()};
  }
  // Those of the tile after it, without a search.
  Cell next(Cell tile) const {
    const bool last = tile.column + 1 == (symmetric ? tile.row + 1 : across());
    return last ? Cell{tile.row + 1, 0} : Cell{tile.row, tile.column + 1};
  }
};

}  // namespace pyscale::cpu
