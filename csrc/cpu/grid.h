// The square tiles of a product of two matrices.
#pragma once

#include <algorithm>

#include "core/triangle.h"
#include "cpu/parallel.h"

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
  int64_t index(Cell tile) const {
    return (symmetric ? triangle(tile.row) : tile.row * across()) + tile.column;
  }
  // Those of the tile after it, without a search.
  Cell next(Cell tile) const {
    const bool last = tile.column + 1 == (symmetric ? tile.row + 1 : across());
    return last ? Cell{tile.row + 1, 0} : Cell{tile.row, tile.column + 1};
  }
};

// The tiles in an order in which panels are read again while they are near: strips of a few
// columns, each from the bottom up. Threads take a strip's rows one by one, and the short ones at
// the diagonal are the last, so that all threads end at about the same time.
struct Strips {
  Grid grid;
  static constexpr int64_t kWidth = 8;  // tiles; so many panels stay in the second-level cache

  struct Row {
    int64_t row;
    Range columns;
  };

  int64_t count() const {  // of rows of strips
    int64_t rows = 0;
    for (int64_t column = 0; column < grid.across(); column += kWidth) rows += height(column);
    return rows;
  }
  Row at(int64_t index) const {
    int64_t column = 0;
    for (; index >= height(column); column += kWidth) index -= height(column);
    const int64_t row = grid.down() - 1 - index;
    const int64_t end = grid.symmetric ? row + 1 : grid.across();
    return {row, {column, std::min(column + kWidth, end)}};
  }

 private:
  // Of the strip that begins at a column.
  int64_t height(int64_t column) const { return grid.down() - (grid.symmetric ? column : 0); }
};

}  // namespace pyscale::cpu
