// What the wgmma kernels share: how a warpgroup multiplies the staged chunks of its share, and
// where its sums go.
//
// A warpgroup owns one or two bands of 64 rows and keeps their products with N rows in registers,
// m64nN. The products of a chunk are one group of wgmmas; the next chunk's are queued before they
// are waited for, so that the tensor cores never run dry, and a stage is released as soon as its
// group is done.
//
// Tensor cores may truncate as they add, which biases long sums: every kFlush features the
// accumulators are added, rounded to nearest, to a second set of sums and begun anew. These are
// registers where there are enough; else the block's own partial sums in memory, which stay in the
// second-level cache and no one else touches: no atomics, the same bits each time.
#pragma once

#include "cuda/pipeline.h"
#include "cuda/stages.h"
#include "cuda/swizzle.h"

namespace pyscale::cuda {

constexpr int kWarpgroupWarps = kWarpgroup / kWarp;
constexpr int kStep = 16;                       // features of one wgmma
constexpr int kSteps = kChunk / kStep;          // wgmmas of a chunk of 16-bit numbers
constexpr int kFlushChunks = kFlush / kChunk;   // chunks between flushes
constexpr int kBandBytes = kBlock * kRowBytes;  // of a chunk of one band of kBlock rows
static_assert(kFlush % kChunk == 0 && kChunk % kStep == 0);

#ifdef PYSCALE_HOPPER

// Whether the problem is another kernel's.
__device__ inline bool skips(Guard guard, const Problem& problem) {
  return guard != Guard::none && (problem.flags->plain != 0) != (guard == Guard::if_plain);
}

// Chunks of a share.
__device__ inline int chunks_of(const Work& work) {
  return static_cast<int>(divide_up(work.end - work.begin, kChunk));
}

// What a thread block multiplies: one tile over one share of the features.
template <int tile>
struct Tile {
  static constexpr int kBands = tile / kBlock;

  __device__ Tile(const Group& group, const Work& work)
      : split(work.split),
        begin(work.begin),
        end(work.end),
        chunks(chunks_of(work)),
        n_(group.n),
        partial_(static_cast<float*>(work.problem->partial)) {
    const Cell at = cell(work.tile);
    row = at.row;
    column = at.column;
    bands = static_cast<int>(min(divide_up(n_, kBlock) - row * kBands, int64_t{kBands}));
  }
  __device__ bool diagonal() const { return row == column; }
  __device__ int operands() const { return diagonal() ? 1 : 2; }
  // Where the sums of one of its bands go: the blocks of its columns, one after the other.
  __device__ float* blocks(int band) const {
    const int64_t first = triangle(row * kBands + band) + column * kBands;
    return partial_ + (split * blocks_of(n_) + first) * kBlockSize;
  }

  int split;
  int64_t begin, end;   // features
  int chunks;           // that hold them
  int64_t row, column;  // of tiles
  int bands;            // of its rows that exist

 private:
  int64_t n_;
  float* partial_;
};

// The descriptor of rows of a chunk from that address in shared memory on, a multiple of 1024: bits
// 0-13 the address, 32-45 the bytes between groups of eight rows, both in units of 16, and 62-63
// the 128-byte swizzle. Bits 16-29 mean nothing for it. The step k of a chunk adds 32 k bytes.
__device__ __forceinline__ uint64_t descriptor(uint32_t address) {
  constexpr uint64_t kLayout =
      uint64_t{1} << 62 | uint64_t{kPieces * kRowBytes >> 4} << 32 | uint64_t{1} << 16;
  return kLayout | address >> 4;
}
constexpr uint64_t kStepDescriptor = kStep * 2 >> 4;

// Where the operands of a band's product lie, in bytes from a stage's start: its own 64 rows, the N
// rows they are multiplied with, and from there on the low parts of each, if there are any.
struct Operands {
  uint32_t rows, columns, low;
};

// acc (64, N) += the product of one staged chunk; small terms first.
template <class T, int parts, int N, int steps = kSteps>
__device__ __forceinline__ void multiply_chunk(float (&acc)[N / 2], uint32_t stage,
                                               const Operands& at) {
  const uint64_t a = descriptor(stage + at.rows), b = descriptor(stage + at.columns);
  const uint64_t low = at.low >> 4;
#pragma unroll
  for (int step = 0; step < steps; ++step) {
    const uint64_t k = step * kStepDescriptor;
    if constexpr (parts == 2) {
      wgmma<T, N>(acc, a + low + k, b + k);
      wgmma<T, N>(acc, a + k, b + low + k);
    }
    wgmma<T, N>(acc, a + k, b + k);
  }
}

// Thread t of a warpgroup holds of every 8 columns two neighbours in row 16 (t / 32) + t % 32 / 4,
// columns 2 (t % 4) and the next, and then the same two eight rows below: where pair i of a block
// lies, from pair 0 on.
__device__ __forceinline__ float2* pair(float* first, int i) {
  return reinterpret_cast<float2*>(first + i / 2 * 8 + i % 2 * 8 * kBlock);
}

// Stores the accumulators of a band in consecutive blocks from `blocks` on, or adds them to what is
// there, and zeroes them.
template <int N>
__device__ __forceinline__ void flush(float* blocks,  // (N / kBlock, kBlock, kBlock)
                                      float (&acc)[N / 2], bool first) {
  const int thread = static_cast<int>(threadIdx.x) % kWarpgroup, lane = thread % kWarp;
  const int row = thread / kWarp * 16 + lane / 4, column = lane % 4 * 2;
  float* cells = blocks + row * kBlock + column;
#pragma unroll
  for (int block = 0; block < N / kBlock; ++block) {
    // All that is there is on its way before the first of it is waited for.
    float2 before[kBlock / 4];
#pragma unroll
    for (int i = 0; i < kBlock / 4; ++i)
      before[i] = first ? make_float2(0, 0) : *pair(cells + block * kBlockSize, i);
#pragma unroll
    for (int i = 0; i < kBlock / 4; ++i) {
      float* sums = acc + block * (kBlock / 2) + 2 * i;
      *pair(cells + block * kBlockSize, i) =
          make_float2(sums[0] + before[i].x, sums[1] + before[i].y);
      sums[0] = sums[1] = 0;
    }
  }
}

// The work of one warpgroup: `multiply(stage)` queues the products of a staged chunk,
// `flush(first)` takes the sums away every `run` chunks, and once even if there are no chunks.
template <class Multiply, class Flush>
__device__ __forceinline__ void consume(const Ring& ring, int chunks, int run, Multiply multiply,
                                        Flush flush) {
  Turn turn;
  int done = 0;
  do {
    const int end = min(done + run, chunks);
    int reading = -1;  // the stage of the group in flight
    for (int i = done; i < end; ++i) {
      const uint32_t stage = ring.wait_full(turn);
      wgmma_fence();
      multiply(stage);
      wgmma_commit();
      wgmma_wait<1>();
      if (reading >= 0) ring.release(reading);
      reading = turn.stage;
      ring.advance(turn);
    }
    wgmma_wait<0>();
    if (reading >= 0) ring.release(reading);
    flush(done == 0);
    done += run;
  } while (done < chunks);
}

// The work of a warpgroup with one band.
template <class T, int parts, int N>
__device__ __forceinline__ void multiply_band(const Ring& ring, int chunks, const Operands& at,
                                              float* blocks) {
  float acc[N / 2] = {};
  consume(
      ring, chunks, kFlushChunks,
      [&](uint32_t stage) { multiply_chunk<T, parts, N>(acc, stage, at); },
      [&](bool first) { flush<N>(blocks, acc, first); });
}

// The work of a warpgroup with a band of a tile: against the tile's columns, on the diagonal only
// those up to its own. `columns`: where they lie in a stage.
template <class T, int parts, int tile>
__device__ __forceinline__ void multiply_tile(const Ring& ring, const Tile<tile>& at, int band,
                                              uint32_t columns, uint32_t low) {
  const Operands operands{static_cast<uint32_t>(band * kBandBytes), columns, low};
  if (tile == kBlock || (at.diagonal() && band == 0))
    multiply_band<T, parts, kBlock>(ring, at.chunks, operands, at.blocks(band));
  else
    multiply_band<T, parts, tile>(ring, at.chunks, operands, at.blocks(band));
}

#endif  // PYSCALE_HOPPER

}  // namespace pyscale::cuda
