// The emulator's choices: which thread runs next, when asynchronous work lands.
#pragma once

#include <cstdint>

namespace pyscale::emulator {

class Random {
 public:
  explicit Random(uint64_t seed = 0) : state_(seed) { next(); }

  // SplitMix64.
  uint64_t next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  // 0 .. n - 1.
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(((next() >> 32) * n) >> 32); }
  // True once in n times.
  bool once_in(uint32_t n) { return below(n) == 0; }

 private:
  uint64_t state_;
};

}  // namespace pyscale::emulator
