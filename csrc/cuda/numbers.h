// Numbers as the tensor cores take them: eight neighbours of a row as float, and a float as one or
// two bfloat16.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

namespace pyscale::cuda {

__device__ inline float widen(float x) { return x; }
__device__ inline double widen(double x) { return x; }
__device__ inline float widen(__half x) { return __half2float(x); }
__device__ inline float widen(__nv_bfloat16 x) { return __bfloat162float(x); }

constexpr int kEight = 8;

// Whether rows of T from that address and pitch can be read 16 bytes at a time.
template <class T>
__host__ __device__ inline bool aligned_rows(const void* X, int64_t pitch) {
  return reinterpret_cast<uintptr_t>(X) % 16 == 0 && pitch * sizeof(T) % 16 == 0;
}

// Eight neighbours of a row as they lie in memory: fetched early and widened late, so that nobody
// waits for the memory in between. Held as words: taken apart, they would be waited for at once.
template <class T>
struct Eight {
  uint4 words[kEight * sizeof(T) / sizeof(uint4)];
};

// The eight elements from `row` on, of which `valid` exist; 0 beyond. `load` brings 16 bytes.
template <class T, class Load>
__device__ __forceinline__ Eight<T> fetch_eight(const T* row, int valid, bool aligned, Load load) {
  Eight<T> eight;
  if (aligned && valid >= kEight) {
#pragma unroll
    for (int w = 0; w < static_cast<int>(sizeof(Eight<T>) / sizeof(uint4)); ++w)
      eight.words[w] = load(reinterpret_cast<const uint4*>(row) + w);
  } else {
    T values[kEight];
#pragma unroll
    for (int e = 0; e < kEight; ++e) values[e] = e < valid ? row[e] : T{};
    memcpy(eight.words, values, sizeof(values));
  }
  return eight;
}

template <class T>
__device__ __forceinline__ Eight<T> fetch_eight(const T* row, int valid, bool aligned) {
  return fetch_eight(row, valid, aligned, [](const uint4* from) { return __ldg(from); });
}

template <class T>
__device__ __forceinline__ void widen_eight(float (&x)[kEight], const Eight<T>& eight) {
  T values[kEight];
  memcpy(values, eight.words, sizeof(values));
#pragma unroll
  for (int e = 0; e < kEight; ++e) x[e] = widen(values[e]);
}

// x := the eight elements from `row` on, of which `valid` exist; 0 beyond.
template <class T>
__device__ __forceinline__ void load_eight(float (&x)[kEight], const T* row, int valid,
                                           bool aligned) {
  widen_eight(x, fetch_eight(row, valid, aligned));
}

// Eight floats as bfloat16, rounded to nearest, and what the rounding left as bfloat16 again: hi +
// lo carries 16 bits of each. Rounded explicitly: tensor cores would truncate, which biases sums.
__device__ __forceinline__ void split_eight(const float (&x)[kEight], uint4& hi, uint4& lo) {
  uint32_t h[kEight / 2], l[kEight / 2];
#pragma unroll
  for (int e = 0; e < kEight / 2; ++e) {
    const float a = x[2 * e], b = x[2 * e + 1];
    const __nv_bfloat162 high = __floats2bfloat162_rn(a, b);
    const __nv_bfloat162 low = __floats2bfloat162_rn(a - __low2float(high), b - __high2float(high));
    memcpy(&h[e], &high, sizeof(high));
    memcpy(&l[e], &low, sizeof(low));
  }
  hi = make_uint4(h[0], h[1], h[2], h[3]);
  lo = make_uint4(l[0], l[1], l[2], l[3]);
}

}  // namespace pyscale::cuda
