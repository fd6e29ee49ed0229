// This program's operator new, which can be told to fail.
#pragma once

#include <cstdint>

namespace pyscale::checks {

// While it lives, `granted` more allocations succeed and the next fails; those after it as well,
// unless it is the only one.
class Starvation {
 public:
  Starvation(int64_t granted, bool only_one);
  ~Starvation();
  Starvation(const Starvation&) = delete;
  Starvation& operator=(const Starvation&) = delete;

  // The bytes asked for by the first that failed; -1 where none did.
  int64_t refused() const;
};

}  // namespace pyscale::checks
