#include "emulator/tensor_core.h"

#include <cmath>
#include <cstring>

#include "emulator/halves.h"

// Compiled for several instruction sets, chosen by the machine; the bits are the same in all, since
// every operation either is exact or is said to be fused.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define PYSCALE_CLONES \
  __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define PYSCALE_CLONES
#endif

namespace pyscale::emulator {
namespace {

// A double cut to the digits of a float.
inline float toward_zero(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  bits &= ~((uint64_t{1} << 29) - 1);
  std::memcpy(&x, &bits, sizeof(bits));
  return static_cast<float>(x);
}

}  // namespace

double widen(Half type, uint16_t bits) {
  return static_cast<double>(type == Half::bfloat16 ? bfloat16_to_float(bits)
                                                    : half_to_float(bits));
}

PYSCALE_CLONES void multiply_add(float* sums, const double* a, const double* b, int rows,
                                 int columns, bool truncate) {
  alignas(64) double dots[kMostColumns];
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) dots[j] = 0;
    for (int k = 0; k < kDepth; ++k) {
      const double x = a[i * kDepth + k];
      const double* line = b + k * columns;
      for (int j = 0; j < columns; ++j) dots[j] += x * line[j];
    }
    float* row = sums + i * columns;
    if (truncate)
      for (int j = 0; j < columns; ++j) row[j] = toward_zero(static_cast<double>(row[j]) + dots[j]);
    else
      for (int j = 0; j < columns; ++j)
        row[j] = static_cast<float>(static_cast<double>(row[j]) + dots[j]);
  }
}

PYSCALE_CLONES void multiply_add(double* d, const double* a, const double* b) {
  for (int i = 0; i < 8; ++i)
    for (int k = 0; k < 4; ++k)
      for (int j = 0; j < 8; ++j) d[i * 8 + j] = std::fma(a[i * 4 + k], b[k * 8 + j], d[i * 8 + j]);
}

}  // namespace pyscale::emulator
