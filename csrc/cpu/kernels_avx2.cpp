// AVX2 with fused multiply-add: 256-bit registers.
#include <immintrin.h>

#include "cpu/kernels.h"

namespace pyscale::cpu {
namespace {

constexpr int kVectorBytes = 32;
constexpr int kVectors = 3;
constexpr int kAccumulators = 12;  // of 16 registers
#include "cpu/kernels.inl"

}  // namespace

extern const Kernels kernels_avx2;
constexpr Kernels kernels_avx2 = make_kernels("avx2");

}  // namespace pyscale::cpu
