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
#endif

namespace {

#ifdef PYSCALE_X86
// Asked of the processor itself: not every Clang knows this feature's name.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

// What the files kernels_*.cpp are compiled with (CMakeLists.txt). The builtin also asks whether
// the system saves the registers.
bool runs_here([[maybe_unused]] const Kernels* kernels) {
#ifdef PYSCALE_X86
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  if (kernels == &kernels_avx2) return avx2;
#ifdef PYSCALE_NARROW
  if (kernels == &kernels_avx512) return avx2;
#endif
  if (kernels == &kernels_avx512)
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
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
