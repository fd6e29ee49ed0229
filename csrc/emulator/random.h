// The emulator's choices: which thread runs next, when asynchronous work lands.
#pragma once

#include <cstdint>

namespace pyscale::emulator {

class Random {
 public:
  explicit Random(uint64_t seed = 0) : state_(seed * 0x9E3779B97F4A7C15 + 1) {
    for (int i = 0; i < 4; ++i) next();
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
