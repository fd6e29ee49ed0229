// The emulator's choices: which thread runs next, when asynchronous work lands.
#pragma once

#include <cstdint>

namespace pyscale::emulator {

class Random {
 public:
  // Seeds that differ little begin far apart (SplitMix64).
  explicit Random(uint64_t seed = 0) {
    uint64_t z = seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    state_ = z ^ (z >> 31);
  }

  // A linear congruential generator, of which the upper half is good enough and cheap.
  uint32_t next() {
    state_ = state_ * 6364136223846793005 + 1442695040888963407;
    return static_cast<uint32_t>(state_ >> 32);
  }
  // 0 .. n - 1.
  uint32_t below(uint32_t n) { return static_cast<uint32_t>((uint64_t{next()} * n) >> 32); }
  // True once in n times.
  bool once_in(uint32_t n) { return below(n) == 0; }

 private:
  uint64_t state_;
};

}  // namespace pyscale::emulator
