// Which block of the lower triangle a thread block works on.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include "cuda/problem.h"

namespace pyscale::cuda {

// `cell`, by a rounded root that is then set right: a search costs more than many a small block.
__device__ __forceinline__ Cell block_at(int64_t index) {
  auto row = static_cast<int64_t>((std::sqrt(8.0F * static_cast<float>(index) + 1) - 1) / 2);
  while (triangle(row) > index) --row;
  while (triangle(row + 1) <= index) ++row;
  return {row, index - triangle(row)};
}

}  // namespace pyscale::cuda
