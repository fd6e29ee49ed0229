// AVX-512.
#include <immintrin.h>

#include "cpu/kernels.h"

namespace pyscale::cpu {
namespace {

#include "cpu/avx512.inl"

}  // namespace

extern const Kernels kernels_avx512;
constexpr Kernels kernels_avx512 = make_kernels("avx512");

}  // namespace pyscale::cpu
