#include "cpu/isa.h"

#ifdef PYSCALE_X86
#include <cpuid.h>
#endif

#include <cstdlib>
#include <string>

#include "core/error.h"

namespace pyscale::cpu {

extern const Kernels kernels_baseline;
#ifdef PYSCALE_X86
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
#ifdef PYSCALE_AVX512BF16
extern const Kernels kernels_avx512bf16;
#endif
#endif

namespace {

#ifdef PYSCALE_X86
// Asked of the processor itself: not every compiler knows these features' names.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
[[maybe_unused]] bool has_bf16() {
  constexpr unsigned kBf16 = 1u << 5;  // of leaf 7, subleaf 1, register a
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & kBf16) != 0;
}
#endif

// What the files kernels_*.cpp are compiled with (CMakeLists.txt). The builtin also asks whether
// the system saves the registers.
bool runs_here([[maybe_unused]] const Kernels* kernels) {
#ifdef PYSCALE_X86
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  if (kernels == &kernels_avx2) return avx2;
#ifdef PYSCALE_NARROW
  const bool avx512 = avx2, bf16 = avx2;
#else
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq");
  const bool bf16 = avx512 && has_bf16();
#endif
  if (kernels == &kernels_avx512) return avx512;
#ifdef PYSCALE_AVX512BF16
  if (kernels == &kernels_avx512bf16) return bf16;
#endif
  static_cast<void>(bf16);
#endif
  return true;
}

const Kernels& choose() {
  const char* forced = std::getenv("PYSCALE_ISA");
  const std::string name = forced == nullptr ? "" : forced;
  std::string supported;
  for (const Kernels* candidate : compiled_kernels()) {
    if (!runs_here(candidate)) continue;
    if (name.empty() || name == candidate->isa) return *candidate;
    supported += (supported.empty() ? "" : ", ") + std::string(candidate->isa);
  }
  raise(__FILE__, __LINE__, "PYSCALE_ISA is '", name, "', this machine supports ", supported);
}

}  // namespace

const std::vector<const Kernels*>& compiled_kernels() {
  static const std::vector<const Kernels*> all = {
#ifdef PYSCALE_X86
#ifdef PYSCALE_AVX512BF16
      &kernels_avx512bf16,
#endif
      &kernels_avx512,
      &kernels_avx2,
#endif
      &kernels_baseline,
  };
  return all;
}

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

}  // namespace pyscale::cpu
