// Pages of memory that are about to be written for the first time.
#pragma once

#include <cstdint>

namespace pyscale::cpu {

// Asks the system for huge pages where memory is so large that malloc takes it fresh from the
// system at every call: otherwise the system hands it over 4 KiB at a time, which takes as long as
// the product of 4096 x 512 numbers that is written there. Elsewhere than on Linux, and where they
// are not to be had, nothing happens.
void prefer_huge_pages(void* memory, int64_t bytes);

}  // namespace pyscale::cpu
