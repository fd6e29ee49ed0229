// AVX-512: 512-bit registers, and twice as many of them.
#include <immintrin.h>

#include "cpu/kernels.h"

namespace pyscale::cpu {
namespace {

constexpr int kVectorBytes = 64;
// Three registers of columns would fill 48 KiB of first-level cache with what every group reads.
constexpr int kVectors = 2;
constexpr int kAccumulators = 24;  // of 32 registers
#include "cpu/kernels.inl"

}  // namespace

extern const Kernels kernels_avx512;
constexpr Kernels kernels_avx512 = make_kernels("avx512");

}  // namespace pyscale::cpu
