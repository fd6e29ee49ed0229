// Grams on the tensor cores of any GPU from sm_80 on, through mma.sync.
//
// A thread block multiplies one tile of the lower triangle over one share of the features: chunks
// of both row groups are fetched, shifted, rounded to bfloat16 and staged in shared memory, from
// which eight warps, two down and four across the tile, gather their fragments. With two parts a
// number is its bfloat16 and what that rounding left, and the three larger of the four products are
// added: 16 bits of each factor. A staged row is 128 bytes whatever the parts: 64 features of one,
// or 32 of two, high parts in the first half.
//
//   fetch 0 | store 0 | fetch 1, multiply 0, store 1 | fetch 2, multiply 1, store 2 | ...
//
// The next chunk is on its way from memory while the present one is multiplied; two stages, so that
// one barrier a chunk is enough: 64 KB for a tile of 128. Diagonal tiles stage one operand, and
// warps above the diagonal of blocks or below the last row multiply nothing.
//
// Tensor cores may truncate as they add, which biases long sums: every kFlush features the
// accumulators are added, rounded to nearest, to the block's own partial sums and begun anew. They
// stay in the second-level cache, and no one else touches them: no atomics, the same bits each
// time.
//
// Work: parts (parts + 1) / 2 x n^2 p / 2 multiply-adds; X is read n / tile times, mostly from the
// second-level cache.
#include <type_traits>

#include "core/error.h"
#include "cuda/launch.h"
#include "cuda/numbers.h"
#include "cuda/ptx.h"
#include "cuda/stages.h"
#include "cuda/swizzle.h"

namespace pyscale::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarpsDown = 2, kWarpsAcross = 4;
constexpr int kStep = 16;               // features of one mma
constexpr int kStepPieces = kStep / 8;  // 16-byte pieces of a staged row that they take
static_assert(kWarpsDown * kWarpsAcross * kWarp == kThreads);

// What follows from how numbers are split and from the tile.
template <int parts, int tile>
struct Shape {
  static constexpr int features = kChunk / parts;  // of a staged row
  static constexpr int eights = kPieces / parts;   // of a staged row: threads side by side
  static constexpr int apart = kThreads / eights;  // rows between a thread's eights
  static constexpr int each = tile / apart;        // eights of a thread, of one operand
  static constexpr int operand = tile * kRowBytes;
  static constexpr int stage = 2 * operand;
  static constexpr int rows = tile / kWarpsDown, columns = tile / kWarpsAcross;  // of a warp
  static constexpr int down = rows / 16, across = columns / 8;                   // its fragments
  static_assert(kChunk % features == 0 && kFlush % features == 0 && each > 0 && across % 2 == 0);
};
constexpr int kStages = 2;

// ---- device helpers ----

// One operand's rows of a tile, as this thread brings them from memory to shared memory.
template <class T, int parts, int tile>
class Staging {
 public:
  using Of = Shape<parts, tile>;

  __device__ Staging(const Problem& problem, int64_t n, int64_t first)
      : X_(static_cast<const T*>(problem.X)),
        pitch_(problem.pitch),
        row_(first + threadIdx.x / Of::eights),
        n_(n),
        aligned_(aligned_rows<T>(problem.X, problem.pitch)) {}

  // Features from k on, of which `valid` of this thread's eight exist.
  __device__ void fetch(int64_t k, int valid) {
#pragma unroll
    for (int e = 0; e < Of::each; ++e) {
      const int64_t i = row_ + e * Of::apart;
      eights_[e] = fetch_eight(X_ + i * pitch_ + k, i < n_ ? valid : 0, aligned_);
    }
  }

  __device__ void store(unsigned char* operand, const Eight<float>& shift) const {
    const int row = static_cast<int>(threadIdx.x) / Of::eights;
    const int piece = static_cast<int>(threadIdx.x) % Of::eights;
    float s[kEight];
    widen_eight(s, shift);
#pragma unroll
    for (int e = 0; e < Of::each; ++e) {
      float x[kEight];
      widen_eight(x, eights_[e]);
      if (row_ + e * Of::apart < n_) {
#pragma unroll
        for (int f = 0; f < kEight; ++f) x[f] -= s[f];
      }
      uint4 hi, lo;
      split_eight(x, hi, lo);
      store_shared(operand + swizzled(row + e * Of::apart, piece), hi);
      if constexpr (parts == 2)
        store_shared(operand + swizzled(row + e * Of::apart, piece + Of::eights), lo);
    }
  }

 private:
  const T* X_;  // (n, p)
  int64_t pitch_, row_, n_;
  bool aligned_;
  Eight<T> eights_[Of::each] = {};
};

// The accumulators of a warp and where they belong.
template <int parts, int tile>
class Sums {
 public:
  using Of = Shape<parts, tile>;

  // Of the tile whose first element is (i0, j0).
  __device__ Sums(float* partial, int64_t n, int split, int64_t i0, int64_t j0) {
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    row_ = warp / kWarpsAcross * Of::rows;
    column_ = warp % kWarpsAcross * Of::columns;
    const int64_t i = i0 + row_, j = j0 + column_;
    active_ = j / kBlock <= i / kBlock && i / kBlock < divide_up(n, kBlock);
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const int64_t block = split * blocks_of(n) + triangle(i / kBlock) + j / kBlock;
    cells_ =
        partial + (block * kBlock + i % kBlock + lane / 4) * kBlock + j % kBlock + lane % 4 * 2;
  }

  // Adds the products of one staged chunk.
  __device__ void multiply(const unsigned char* A, const unsigned char* B) {
    if (!active_) return;
#pragma unroll
    for (int step = 0; step < Of::features / kStep; ++step) {
      uint32_t a[parts][Of::down][4], b[parts][Of::across][2];
#pragma unroll
      for (int part = 0; part < parts; ++part)
        gather(a[part], b[part], A, B, step * kStepPieces + part * Of::eights);
      // The smallest first; all fragments of one before the next, so that neighbours in time are
      // independent.
      if constexpr (parts == 2) {
        add(a[1], b[0]);
        add(a[0], b[1]);
      }
      add(a[0], b[0]);
    }
  }

  // Moves the sums so far to memory; `first`: what is there is not ours yet.
  __device__ void flush(bool first) {
    if (!active_) return;
#pragma unroll
    for (int i = 0; i < Of::down; ++i)
#pragma unroll
      for (int j = 0; j < Of::across; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half) {  // rows 0 to 7 of the fragment, rows 8 to 15
          float& x = sums_[i][j][2 * half];
          float& y = sums_[i][j][2 * half + 1];
          auto* cell = reinterpret_cast<float2*>(cells_ + (i * 16 + half * 8) * kBlock + j * 8);
          float2 total = first ? make_float2(0.0F, 0.0F) : *cell;
          total.x += x;
          total.y += y;
          *cell = total;
          x = y = 0.0F;
        }
  }

 private:
  // The warp's fragments of both operands: 16 features from staged piece `piece` on.
  __device__ void gather(uint32_t (&a)[Of::down][4], uint32_t (&b)[Of::across][2],
                         const unsigned char* A, const unsigned char* B, int piece) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
    for (int i = 0; i < Of::down; ++i)
      load_matrices(a[i], A + swizzled(row_ + i * 16 + lane % 16, piece + lane / 16));
#pragma unroll
    for (int j = 0; j < Of::across; j += 2) {
      uint32_t both[4];
      const int row = column_ + j * 8 + lane / 16 * 8 + lane % 8;
      load_matrices(both, B + swizzled(row, piece + lane / 8 % 2));
      b[j][0] = both[0];
      b[j][1] = both[1];
      b[j + 1][0] = both[2];
      b[j + 1][1] = both[3];
    }
  }

  __device__ void add(const uint32_t (&a)[Of::down][4], const uint32_t (&b)[Of::across][2]) {
#pragma unroll
    for (int i = 0; i < Of::down; ++i)
#pragma unroll
      for (int j = 0; j < Of::across; ++j) mma_16x8x16<__nv_bfloat16>(sums_[i][j], a[i], b[j]);
  }

  float sums_[Of::down][Of::across][4] = {};
  float* cells_;      // the first of this thread in `partial`
  int row_, column_;  // the warp's first, in the tile
  bool active_;
};

// ---- kernels ----

template <class T, int parts, int tile>
__global__ void __launch_bounds__(kThreads)
    multiply_tiles(const __grid_constant__ Group group, int tiles) {
  follow_stream();
  using Of = Shape<parts, tile>;
  unsigned char* shared = shared_memory();  // (kStages, 2, tile, kRowBytes)
  const Work work = locate(group, static_cast<int>(blockIdx.x), tiles);
  const Problem& problem = *work.problem;
  const Cell at = cell(work.tile);
  const bool diagonal = at.row == at.column;
  Staging<T, parts, tile> left(problem, group.n, at.row * tile);
  Staging<T, parts, tile> right(problem, group.n, at.column * tile);
  Sums<parts, tile> sums(static_cast<float*>(problem.partial), group.n, work.split, at.row * tile,
                         at.column * tile);

  const auto* shift = static_cast<const float*>(problem.shift);
  const bool shift_aligned = aligned_rows<float>(shift, 0);
  Eight<float> moved{};
  const auto fetch = [&](int64_t first) {
    const int64_t k = first + static_cast<int>(threadIdx.x) % Of::eights * kEight;
    const int valid = static_cast<int>(min(max(work.end - k, int64_t{0}), int64_t{kEight}));
    left.fetch(k, valid);
    if (!diagonal) right.fetch(k, valid);
    if (shift != nullptr) moved = fetch_eight(shift + k, valid, shift_aligned);
  };
  const auto store = [&](unsigned char* stage) {
    left.store(stage, moved);
    if (!diagonal) right.store(stage + Of::operand, moved);
  };

  bool first = true;
  unsigned char* present = shared;
  unsigned char* next = shared + Of::stage;
  if (work.begin < work.end) {
    fetch(work.begin);
    store(present);
    __syncthreads();
  }
  for (int64_t k = work.begin; k < work.end; k += Of::features) {
    const int64_t after = k + Of::features;
    if (after < work.end) fetch(after);
    sums.multiply(present, diagonal ? present : present + Of::operand);
    if ((after - work.begin) % kFlush == 0 && after < work.end) {
      sums.flush(first);
      first = false;
    }
    if (after < work.end) store(next);
    __syncthreads();
    unsigned char* const done = present;
    present = next;
    next = done;
  }
  sums.flush(first);  // zeros where the share is empty
}

// ---- launchers ----

template <class T, int parts, int tile>
void launch_tiles(const Group& group, cudaStream_t stream) {
  const int tiles = tiles_of(group.n, tile);
  const Group work = numbered(group, tiles);
  launch(multiply_tiles<T, parts, tile>, static_cast<unsigned>(work.total), kThreads,
         kStages * Shape<parts, tile>::stage, stream, work, tiles);
}

template <class T>
void launch_parts(const Group& group, int parts, cudaStream_t stream) {
  const bool small = tile_of(group.n) == 64;
  if (parts == 1)
    small ? launch_tiles<T, 1, 64>(group, stream) : launch_tiles<T, 1, 128>(group, stream);
  else
    small ? launch_tiles<T, 2, 64>(group, stream) : launch_tiles<T, 2, 128>(group, stream);
}

}  // namespace

void multiply_mma(const Group& group, DType dtype, int parts, cudaStream_t stream) {
  PYSCALE_CHECK(parts == 1 || parts == 2, "parts is ", parts, ", expected 1 or 2");
  switch (dtype) {
    case DType::f32:
      return launch_parts<float>(group, parts, stream);
    case DType::f16:
      return launch_parts<__half>(group, parts, stream);
    case DType::bf16:
      return launch_parts<__nv_bfloat16>(group, parts, stream);
    case DType::f64:
      raise(__FILE__, __LINE__, "float64 is multiplied by multiply_exact");
  }
}

}  // namespace pyscale::cuda
