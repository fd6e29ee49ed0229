#include "cpu/pages.h"

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace pyscale::cpu {

#ifdef MADV_HUGEPAGE
void prefer_huge_pages(void* memory, int64_t bytes) {
  constexpr int64_t kFresh = 1 << 25;  // the most that glibc keeps for the next to ask for
  if (bytes < kFresh) return;
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t begin = (address + page - 1) / page * page;
  const uintptr_t end = (address + static_cast<uintptr_t>(bytes)) / page * page;
  // Advice: a system that has none to give says so, and small pages do as well.
  (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}
#else
void prefer_huge_pages(void*, int64_t) {}
#endif

}  // namespace pyscale::cpu
