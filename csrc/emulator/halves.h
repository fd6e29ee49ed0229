// The 16-bit floating types, as bits.
#pragma once

#include <cstdint>
#include <cstring>

namespace pyscale::emulator {

inline uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}
inline float float_of(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

inline float bfloat16_to_float(uint16_t bits) { return float_of(uint32_t{bits} << 16); }

// To nearest, ties to even; every NaN becomes the one of CUDA.
inline uint16_t float_to_bfloat16(float x) {
  uint32_t bits = bits_of(x);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return 0x7FFF;
  bits += 0x7FFF + ((bits >> 16) & 1);
  return static_cast<uint16_t>(bits >> 16);
}

// A half's exponent and mantissa, moved into a float's, are 2^112 times too small, subnormals
// included.
inline float half_to_float(uint16_t bits) {
  const uint32_t magnitude = bits & 0x7FFFu;
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  if (magnitude >= 0x7C00) return float_of(sign | 0x7F800000 | (magnitude & 0x3FF) << 13);
  return float_of(bits_of(float_of(magnitude << 13) * 0x1p112F) | sign);
}

inline uint16_t float_to_half(float x) {
  const uint32_t bits = bits_of(x);
  const uint32_t sign = bits >> 16 & 0x8000;
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return 0x7FFF;
  if (magnitude >= 0x477FF000) return static_cast<uint16_t>(sign | 0x7C00);  // rounds to 65536
  if (magnitude < 0x38800000) {
    // Subnormal: adding 1/2 leaves the multiple of 2^-24, rounded, in the last bits.
    const uint32_t rounded = bits_of(float_of(magnitude) + 0.5F) - bits_of(0.5F);
    return static_cast<uint16_t>(sign | rounded);
  }
  const uint32_t rebased = magnitude - (112u << 23);
  return static_cast<uint16_t>(sign | (rebased + 0xFFF + (rebased >> 13 & 1)) >> 13);
}

}  // namespace pyscale::emulator
