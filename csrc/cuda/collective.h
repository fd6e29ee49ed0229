// Sums over the threads of a warp and of a thread block, in an order fixed by the threads' numbers.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include "cuda/ptx.h"

namespace pyscale::cuda {

constexpr unsigned kWholeWarp = 0xffffffffU;

// Every lane gets the sum: at each step two lanes add the same two numbers.
__device__ __forceinline__ double warp_sum(double value) {
#pragma unroll
  for (int apart = kWarp / 2; apart > 0; apart /= 2)
    value += __shfl_xor_sync(kWholeWarp, value, apart);
  return value;
}

// What the lanes before this one hold, added up.
__device__ __forceinline__ unsigned warp_sum_before(unsigned value) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  unsigned sum = value;
#pragma unroll
  for (int apart = 1; apart < kWarp; apart *= 2) {
    const unsigned before = __shfl_up_sync(kWholeWarp, sum, apart);
    if (lane >= apart) sum += before;
  }
  return sum - value;
}

// Every thread of the block gets the sums. `shared` must not be in use: (count, threads / kWarp).
template <int threads, int count>
__device__ __forceinline__ void block_sum(double (&values)[count], double* shared) {
  constexpr int kWarps = threads / kWarp;
#pragma unroll
  for (int v = 0; v < count; ++v) {
    values[v] = warp_sum(values[v]);
    if (threadIdx.x % kWarp == 0) shared[v * kWarps + threadIdx.x / kWarp] = values[v];
  }
  __syncthreads();
#pragma unroll
  for (int v = 0; v < count; ++v) {
    values[v] = 0;
    for (int warp = 0; warp < kWarps; ++warp) values[v] += shared[v * kWarps + warp];
  }
}

// Every thread of the block gets the largest; NaN counts for nothing. `shared` must not be in use:
// (threads / kWarp).
template <int threads>
__device__ __forceinline__ double block_max(double value, double* shared) {
#pragma unroll
  for (int apart = kWarp / 2; apart > 0; apart /= 2)
    value = std::fmax(value, __shfl_xor_sync(kWholeWarp, value, apart));
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
#pragma unroll
  for (int warp = 0; warp < threads / kWarp; ++warp) value = std::fmax(value, shared[warp]);
  return value;
}

}  // namespace pyscale::cuda
