// The same numbers from the same seed on every machine: the standard library's distributions differ
// from one to the next.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>

namespace pyscale::checks {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t bits() {  // splitmix64
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // Both ends included.
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(bits() % static_cast<uint64_t>(high - low + 1));
  }
  bool one_in(int64_t n) { return between(1, n) == 1; }

  template <class T>
  T one_of(std::initializer_list<T> choices) {
    return choices.begin()[between(0, static_cast<int64_t>(choices.size()) - 1)];
  }

  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  // Near enough: a sum of 12 uniform numbers, less its mean.
  double normal() {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += uniform();
    return sum;
  }

  // A size from 0 to `most`: often one at which kernels change their ways, or one beside it.
  int64_t size(int64_t most) {
    const int64_t drawn = [&]() -> int64_t {
      switch (between(0, 5)) {
        case 0:
          return between(0, 3);
        case 1:
          return between(0, 40);
        case 2: {
          const int64_t step = one_of<int64_t>({8, 12, 16, 24, 32, 48, 64, 192, 256, 512, 1024});
          return step * between(1, 4) + between(-1, 1);
        }
        default:
          return between(0, most);
      }
    }();
    return std::min(drawn, most);
  }

 private:
  uint64_t state_;
};

}  // namespace pyscale::checks
