// The functions every kernel can call without a header: barriers, shuffles, atomics, arithmetic.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace pyscale::emulator {

void synchronize_block();
void synchronize_warp(uint32_t mask);
// The value that lane `source` of the running thread's warp gives.
uint64_t shuffle(uint32_t mask, uint64_t value, int source);
int running_lane();
[[noreturn]] void fail_misaligned(size_t bytes);

// Lane `source` may lie outside of the segment of `width` lanes: then the lane's own value.
template <class T>
T shuffle_as(uint32_t mask, T value, int source, int width) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= sizeof(uint64_t));
  const int lane = running_lane();
  const int segment = lane / width * width;
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = shuffle(mask, bits, source >= segment && source < segment + width ? source : lane);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace pyscale::emulator

// ---- barriers, shuffles ----

inline void __syncthreads() { pyscale::emulator::synchronize_block(); }
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu) { pyscale::emulator::synchronize_warp(mask); }

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const int segment = pyscale::emulator::running_lane() / width * width;
  return pyscale::emulator::shuffle_as(mask, value, segment + (source & (width - 1)), width);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32) {
  return pyscale::emulator::shuffle_as(mask, value, pyscale::emulator::running_lane() ^ with,
                                       width);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
  return pyscale::emulator::shuffle_as(
      mask, value, pyscale::emulator::running_lane() + static_cast<int>(by), width);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
  return pyscale::emulator::shuffle_as(
      mask, value, pyscale::emulator::running_lane() - static_cast<int>(by), width);
}

// ---- atomics: integers alone, since the order of floating-point additions changes the bits ----

template <class T>
T atomicAdd(T* to, std::common_type_t<T> value) {
  static_assert(std::is_integral_v<T>);
  const T before = *to;
  *to = static_cast<T>(before + value);
  return before;
}
inline int atomicOr(int* to, int value) {
  const int before = *to;
  *to = before | value;
  return before;
}
inline unsigned atomicOr(unsigned* to, unsigned value) {
  const unsigned before = *to;
  *to = before | value;
  return before;
}
template <class T>
T atomicMax(T* to, std::common_type_t<T> value) {
  static_assert(std::is_integral_v<T>);
  const T before = *to;
  if (value > before) *to = value;
  return before;
}

// ---- memory ----

template <class T>
T __ldg(const T* from) {
  if (reinterpret_cast<uintptr_t>(from) % sizeof(T) != 0)
    pyscale::emulator::fail_misaligned(sizeof(T));
  return *from;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- arithmetic ----

template <class A, class B>
constexpr auto min(A a, B b) -> std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>,
                                                 std::common_type_t<A, B>> {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a);
}
template <class A, class B>
constexpr auto max(A a, B b) -> std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>,
                                                 std::common_type_t<A, B>> {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
}
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float __double2float_rn(double x) { return static_cast<float>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }

template <class To, class From>
To pyscale_bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}
inline unsigned __float_as_uint(float x) { return pyscale_bits_as<unsigned>(x); }
inline int __float_as_int(float x) { return pyscale_bits_as<int>(x); }
inline float __uint_as_float(unsigned x) { return pyscale_bits_as<float>(x); }
inline float __int_as_float(int x) { return pyscale_bits_as<float>(x); }
inline long long __double_as_longlong(double x) { return pyscale_bits_as<long long>(x); }
inline double __longlong_as_double(long long x) { return pyscale_bits_as<double>(x); }
