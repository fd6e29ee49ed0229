// Index maps of packed symmetric matrices: row by row, the lower triangle with or without its
// diagonal.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define PYSCALE_HOST_DEVICE __host__ __device__
#else
#define PYSCALE_HOST_DEVICE
#endif

namespace pyscale {

// Where row i of the lower triangle begins, diagonal included; also the size of a triangle of i
// rows.
PYSCALE_HOST_DEVICE constexpr int64_t triangle(int64_t i) { return i * (i + 1) / 2; }
// The same without the diagonal.
PYSCALE_HOST_DEVICE constexpr int64_t strict_triangle(int64_t i) { return i * (i - 1) / 2; }

static_assert(triangle(0) == 0 && triangle(1) == 1 && triangle(4) == 10);
static_assert(strict_triangle(0) == 0 && strict_triangle(1) == 0 && strict_triangle(4) == 6);

struct Cell {
  int64_t row, column;
};

// The cell (i, j), i >= j, whose position in a lower triangle is `index`: the inverse of
// triangle(i) + j.
PYSCALE_HOST_DEVICE constexpr int64_t integer_root(int64_t x) {
  int64_t low = 0, high = int64_t{1} << 31;  // low^2 <= x < high^2
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    if (middle * middle <= x)
      low = middle;
    else
      high = middle;
  }
  return low;
}

PYSCALE_HOST_DEVICE constexpr Cell cell(int64_t index) {
  const int64_t row = (integer_root(8 * index + 1) - 1) / 2;
  return {row, index - triangle(row)};
}

static_assert(cell(0).row == 0 && cell(0).column == 0);
static_assert(cell(2).row == 1 && cell(2).column == 1);
static_assert(cell(3).row == 2 && cell(3).column == 0);
static_assert(cell(triangle(100000) - 1).row == 99999 &&
              cell(triangle(100000) - 1).column == 99999);
static_assert(cell(triangle(100000)).row == 100000 && cell(triangle(100000)).column == 0);

// As many multiples of `step` as cover `count`.
PYSCALE_HOST_DEVICE constexpr int64_t divide_up(int64_t count, int64_t step) {
  return (count + step - 1) / step;
}
static_assert(divide_up(0, 8) == 0 && divide_up(8, 8) == 1 && divide_up(9, 8) == 2);

}  // namespace pyscale
