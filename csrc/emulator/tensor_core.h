// The arithmetic of the tensor cores. 16-bit products are exact; the products of one instruction's
// depth are added exactly (in float64), and their sum to the float32 accumulator with one rounding:
// to nearest, or toward zero as measurements of the hardware suggest.
#pragma once

#include <cstdint>

namespace pyscale::emulator {

enum class Half { bfloat16, float16 };

constexpr int kDepth = 16;         // of a 16-bit product
constexpr int kMostColumns = 256;  // of a wgmma

double widen(Half type, uint16_t bits);

// sums (rows, columns) += a (rows, kDepth) b (kDepth, columns), one rounding each.
void multiply_add(float* sums, const double* a, const double* b, int rows, int columns,
                  bool truncate);

// The same of float64: d (8, 8) += a (8, 4) b (4, 8), fused, in the order of the depth.
void multiply_add(double* d, const double* a, const double* b);

}  // namespace pyscale::emulator
