// Numbers of every element type to and from float64, bit by bit.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/dtype.h"

namespace pyscale::checks {

// A 16-bit floating-point format; the sign takes the topmost bit, the exponent what is left.
struct Format {
  int mantissa;  // bits stored
  int bias;      // of the exponent

  uint16_t infinity() const { return static_cast<uint16_t>(0x7fff >> mantissa << mantissa); }
};

constexpr Format kHalf{10, 15};
constexpr Format kBFloat16{7, 127};

// To the nearest number of the format, ties to even.
inline uint16_t encode(Format format, double x) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const uint16_t infinity = format.infinity();
  if (std::isnan(x)) return static_cast<uint16_t>(sign | infinity | 1);
  if (std::isinf(x)) return sign | infinity;
  int exponent = 0;
  std::frexp(x, &exponent);
  exponent = std::max(exponent - 1, 1 - format.bias);  // subnormals keep the least exponent
  const double steps = std::nearbyint(std::ldexp(std::abs(x), format.mantissa - exponent));
  // The steps of a normal number begin at 2^mantissa: they add one to the exponent.
  const int64_t bits =
      (int64_t{exponent + format.bias - 1} << format.mantissa) + static_cast<int64_t>(steps);
  return static_cast<uint16_t>(sign | std::min<int64_t>(bits, infinity));
}

inline double decode(Format format, uint16_t bits) {
  const int exponent = (bits & 0x7fff) >> format.mantissa;
  const int fraction = bits & ((1 << format.mantissa) - 1);
  double x = std::ldexp(fraction + (exponent > 0 ? 1 << format.mantissa : 0),
                        std::max(exponent, 1) - format.bias - format.mantissa);
  if (exponent == format.infinity() >> format.mantissa) x = fraction == 0 ? INFINITY : NAN;
  return bits & 0x8000 ? -x : x;
}

template <class T>
T load_as(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <class T>
void store_as(void* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

inline double load(DType dtype, const void* at) {
  switch (dtype) {
    case DType::f64:
      return load_as<double>(at);
    case DType::f32:
      return static_cast<double>(load_as<float>(at));
    case DType::f16:
      return decode(kHalf, load_as<uint16_t>(at));
    default:
      return decode(kBFloat16, load_as<uint16_t>(at));
  }
}

inline void store(DType dtype, void* at, double value) {
  switch (dtype) {
    case DType::f64:
      return store_as(at, value);
    case DType::f32:
      return store_as(at, static_cast<float>(value));
    case DType::f16:
      return store_as(at, encode(kHalf, value));
    default:
      return store_as(at, encode(kBFloat16, value));
  }
}

}  // namespace pyscale::checks
