// AVX-512 with products of bfloat16 numbers in pairs.
#include <immintrin.h>

#include "cpu/kernels.h"

namespace pyscale::cpu {
namespace {

#define PYSCALE_PAIRS
#include "cpu/avx512.inl"

}  // namespace

extern const Kernels kernels_avx512bf16;
constexpr Kernels kernels_avx512bf16 = make_kernels("avx512bf16");

}  // namespace pyscale::cpu
