// How many shares the features of a product are split into, so that its thread blocks fill the
// device evenly. Host arithmetic alone, so that it is tested at compile time.
#pragma once

#include <cstdint>

#include "core/triangle.h"

namespace pyscale::cuda {

constexpr int64_t kLeastChunks = 4;  // of a share: below, filling the pipeline is most of the work
constexpr int64_t kMostWaves = 8;    // looked at
constexpr int64_t kFixedChunks = 8;  // what starting and storing a share costs, in chunks

// The time of a product of `tiles` tiles over `chunks` chunks in that many splits, in chunks of one
// thread block: whole waves of the slots, each with its fixed cost, and the splits' addition.
constexpr int64_t cost_of(int64_t tiles, int64_t chunks, int64_t splits, int64_t slots) {
  return divide_up(tiles * splits, slots) * (divide_up(chunks, splits) + kFixedChunks) +
         divide_up(tiles * splits, slots);
}

// `slots`: thread blocks that the device runs at once. Within a number of waves more splits are
// better, so only the most of each are looked at.
constexpr int64_t best_splits(int64_t tiles, int64_t chunks, int64_t slots) {
  const int64_t most = chunks / kLeastChunks;
  int64_t best = 1;
  for (int64_t waves = 1; tiles > 0 && waves <= kMostWaves; ++waves) {
    const int64_t fitting = waves * slots / tiles;
    const int64_t splits = fitting < most ? fitting : most;
    if (splits > best &&
        cost_of(tiles, chunks, splits, slots) < cost_of(tiles, chunks, best, slots))
      best = splits;
  }
  return best;
}
static_assert(best_splits(0, 99, 132) == 1 && best_splits(1, 3, 132) == 1);  // nothing to share
static_assert(best_splits(1, 15625, 132) == 132);  // one tile: a share for each multiprocessor
static_assert(best_splits(3, 15625, 132) == 44);   // 3 x 44 = 132
static_assert(best_splits(36, 15625, 132) == 11);  // 36 x 11 = 3 x 132
static_assert(best_splits(2080, 1024, 132) == 1);  // tiles enough

}  // namespace pyscale::cuda
