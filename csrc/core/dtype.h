// The element types that cross the boundary, and the one place where a runtime type becomes a C++ type.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/error.h"

namespace pyscale {

enum class DType : int { f64, f32, f16, bf16 };

// Storage types for the 16-bit formats; arithmetic happens after `to_float`.
struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

inline float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline float to_float(float x) { return x; }
inline float to_float(BFloat16 x) { return bits_to_float(uint32_t{x.bits} << 16); }

// IEEE binary16 to binary32 without a table: the exponent is rebiased by a multiplication, which also
// normalises subnormals; infinities and NaNs (exponent all ones) are put back afterwards.
inline float to_float(Half x) {
  const uint32_t sign = (uint32_t{x.bits} & 0x8000u) << 16;
  const uint32_t rest = (uint32_t{x.bits} & 0x7fffu) << 13;
  const float scaled = bits_to_float(rest) * bits_to_float(0x77800000u);  // 2^112
  uint32_t bits;
  std::memcpy(&bits, &scaled, sizeof bits);
  if (rest >= 0x0f800000u) bits = 0x7f800000u | (rest & 0x007fffffu);
  return bits_to_float(bits | sign);
}

inline int64_t size_of(DType dtype) {
  return dtype == DType::f64 ? 8 : dtype == DType::f32 ? 4 : 2;
}

template <class T>
struct Tag {
  using type = T;
};

// Calls f(Tag<T>{}) with the C++ type of `dtype`.
template <class F>
decltype(auto) dispatch(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f64:
      return f(Tag<double>{});
    case DType::f32:
      return f(Tag<float>{});
    case DType::f16:
      return f(Tag<Half>{});
    case DType::bf16:
      return f(Tag<BFloat16>{});
  }
  raise(__FILE__, __LINE__, "unknown dtype code ", static_cast<int>(dtype));
}

}  // namespace pyscale
