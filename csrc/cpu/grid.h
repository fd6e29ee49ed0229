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
  // Those of the tile after it, without a search.
  Cell next(Cell tile) const {
    const bool last = tile.column + 1 == (symmetric ? tile.row + 1 : across());
    return last ? Cell{tile.row + 1, 0} : Cell{tile.row, tile.column + 1};
  }
  // The inverse of `at`.
  int64_t index(Cell tile) const {
    return (symmetric ? triangle(tile.row) : tile.row * across()) + tile.column;
  }
};

// The tiles in an order in which panels are read again while they are near: strips of a few
// columns, each from the bottom up. Threads take a strip's rows one by one; of a symmetric product
// the short ones at the diagonal are a strip's last, so that all threads end at about the same
// time.
struct Strips {
  // The panels of three chunks of so many tiles stay in the second-level cache.
  static constexpr int64_t kMostWidth = 8;

  Grid grid;
  int64_t width;  // tiles

  // Narrower where there would be too few rows for so many threads.
  Strips(const Grid& tiles, int threads)
      : grid(tiles), width(std::clamp<int64_t>(tiles.count() / (8 * threads), 1, kMostWidth)) {}

  struct Row {
    int64_t row;
    Range columns;
  };

  int64_t count() const {  // of rows of strips
    int64_t rows = 0;
    for (int64_t column = 0; column < grid.across(); column += width) rows += height(column);
    return rows;
  }
  Row at(int64_t index) const {
    int64_t column = 0;
    for (; index >= height(column); column += width) index -= height(column);
    const int64_t row = grid.down() - 1 - index;
    const int64_t end = grid.symmetric ? row + 1 : grid.across();
    return {row, {column, std::min(column + width, end)}};
  }

 private:
  // Of the strip that begins at a column.
  int64_t height(int64_t column) const { return grid.down() - (grid.symmetric ? column : 0); }
};

}  // namespace pyscale::cpu
