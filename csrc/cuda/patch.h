// What a thread block of tma.cu multiplies.
//
// Up to 256 rows, the whole triangle, so that X is read once. Above, the triangle of 256 x 256
// tiles is cut so: a tile on the diagonal is one patch, its own triangle; one below it is two, 256
// rows with 128 of its columns each. Row r of tiles has 2 r + 1 patches, and patch r^2 is its
// first.
//
//     0
//     1 2   3                 of 64 x 64 squares, one on the diagonal multiplies 10 of 16,
//     4 5   6 7   8           the others 8 of 8
#pragma once

#include <cmath>

#include "cuda/problem.h"

namespace pyscale::cuda {

constexpr int kPatchBands = 4;  // of kBlock rows, at most
constexpr int kPatchRows = kPatchBands * kBlock;
constexpr int kPatchColumns = kPatchRows / 2;

constexpr int patches_of(int64_t n) {
  const int64_t side = divide_up(n, kPatchRows);
  return static_cast<int>(side * side);
}
static_assert(patches_of(1) == 1 && patches_of(256) == 1 && patches_of(257) == 4);

struct Patch {
  __device__ Patch(int64_t n, int index) {
    auto tile = static_cast<int>(std::sqrt(static_cast<float>(index)));
    while (tile * tile > index) --tile;
    while ((tile + 1) * (tile + 1) <= index) ++tile;
    const int inside = index - tile * tile;
    diagonal = inside == 2 * tile;
    row = tile * kPatchBands;
    column = diagonal ? row : inside * (kPatchBands / 2);
    bands = static_cast<int>(min(divide_up(n, kBlock) - row, int64_t{kPatchBands}));
  }
  // Bands of the first of two warpgroups, if there are no more the second has nothing to do.
  __device__ bool needs_both() const { return bands > (diagonal ? 1 : 2); }

  int64_t row, column;  // its first, in blocks of kBlock
  int bands;            // of its rows that exist
  bool diagonal;
};

}  // namespace pyscale::cuda
