// One element of any type as float64.
#pragma once

#include <cstring>

#include "core/matrix.h"

namespace pyscale::cpu {

inline float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline double load(const Matrix& X, int64_t i, int64_t j) {
  const char* at = X.at(i, j);
  if (X.dtype == DType::f64) {
    double value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  if (X.dtype == DType::f32) {
    float value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, at, sizeof bits);
  if (X.dtype == DType::bf16) return bits_to_float(uint32_t{bits} << 16);
  const uint32_t sign = (uint32_t{bits} & 0x8000u) << 16;
  const uint32_t rest = (uint32_t{bits} & 0x7fffu) << 13;
  const float scaled = bits_to_float(rest) * bits_to_float(0x77800000u);  // 2^112
  uint32_t magnitude;
  std::memcpy(&magnitude, &scaled, sizeof magnitude);
  if (rest >= 0x0f800000u) magnitude = 0x7f800000u | (rest & 0x007fffffu);
  return bits_to_float(magnitude | sign);
}

}  // namespace pyscale::cpu
