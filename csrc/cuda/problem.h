// A grouped launch: the Gram matrices of several sets of features of the same n samples, all of one
// type, as every kernel of the engine sees them. Passed by value, so that a captured graph replays
// it and nothing is copied to the device first.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "core/triangle.h"

namespace pyscale::cuda {

// Partial sums are stored in square blocks of the lower triangle of G, row by row: block (r, c),
// c <= r, is number triangle(r) + c. Whatever tile a kernel works on, it writes such blocks.
constexpr int kBlock = 64;
constexpr int kBlockSize = kBlock * kBlock;
constexpr int kChunk = 64;  // features staged at a time: 128 bytes of 16-bit numbers
constexpr int kFlush =
    1024;  // features a float32 accumulator may gather: its error grows with them
constexpr int kSamples = 16;      // rows that tell the shift
constexpr int kMaxProblems = 32;  // of a launch: a kernel's parameters may take 32 KB

// What the sampled rows tell, in device memory; written by `sample`, read by later kernels.
struct Flags {
  int varies;  // not 0: some feature is not constant to rounding
  int plain;   // not 0: products of the unshifted numbers keep their digits
};

struct Problem {
  const void* X;     // (n, p)
  int64_t p, pitch;  // elements
  void* shift;       // (p) float, double for the exact kernels; null: X is taken as it is
  double* sampled;   // workspace of `sample`
  Flags* flags;
  void* partial;        // (splits, blocks, kBlock, kBlock) float, double from the exact kernels
  double* G;            // (n, n), both halves
  double* rows;         // workspace of `exponentiate`, then of `center`
  unsigned* histogram;  // workspace of `exponentiate`
  void* out;            // (n, n), or (n (n - 1) / 2) if packed; float or double
  int64_t out_pitch;
  bool* constant;  // the answer to the caller: every feature constant to rounding
  double* floor;   // another one, or null: what rounding alone may leave of the centred matrix
  int32_t splits;  // of the features, at least 1; the same whichever kernel multiplies
  int32_t first;   // its first thread block in a product's launch: `numbered` sets it
};

struct Group {
  int64_t n;
  int32_t count;
  int32_t total;  // thread blocks of a product's launch: `numbered` sets it
  Problem problems[kMaxProblems];
};

// Blocks of kBlock x kBlock in the lower triangle of an (n, n) matrix.
PYSCALE_HOST_DEVICE constexpr int64_t blocks_of(int64_t n) {
  return triangle(divide_up(n, kBlock));
}

// Tiles of `tile` rows in the lower triangle of an (n, n) matrix.
constexpr int tiles_of(int64_t n, int tile) {
  return static_cast<int>(triangle(divide_up(n, tile)));
}

// The tile of the tensor-core kernels that take tiles.
constexpr int tile_of(int64_t n) { return n <= 64 ? 64 : 128; }

// The group with its thread blocks counted for a kernel of that many tiles.
inline Group numbered(Group group, int tiles) {
  group.total = 0;
  for (int32_t i = 0; i < group.count; ++i) {
    group.problems[i].first = group.total;
    group.total += group.problems[i].splits * tiles;
  }
  return group;
}

// One thread block's part of a product: a tile of the triangle, over a range of the features.
struct Work {
  const Problem* problem;
  int tile;            // of the lower triangle of tiles
  int split;           // which share of the features
  int64_t begin, end;  // features, `begin` a multiple of kChunk
};

// The tiles of one share are neighbours, so they run together and read X from the second-level
// cache.
__device__ inline Work locate(const Group& group, int block, int tiles) {
  int i = 0;
  while (i + 1 < group.count && group.problems[i + 1].first <= block) ++i;
  const Problem& problem = group.problems[i];
  const int inside = block - problem.first;
  const int split = inside / tiles;
  const int64_t chunks = divide_up(problem.p, kChunk);
  const int64_t end = chunks * (split + 1) / problem.splits * kChunk;
  return {&problem, inside % tiles, split, chunks * split / problem.splits * kChunk,
          end < problem.p ? end : problem.p};
}

}  // namespace pyscale::cuda
