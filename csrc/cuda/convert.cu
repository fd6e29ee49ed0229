// Grams of any input on Hopper's tensor cores: some warps convert, others multiply.
//
// A thread block multiplies one tile of the lower triangle over one share of the features. Two
// producer warpgroups fetch chunks of both row groups, 32 KB of them on the way while as much is
// converted, take the shift off, round to bfloat16 and stage the result in shared memory; with two
// parts also what the rounding left, and the three larger of the four products are added: 16 bits
// of each factor. One consumer warpgroup for each 64 rows of the tile queues the products.
//
//   producers   fetch - shift - split - store -> full
//   consumers                            empty <- wgmma ... every 1024 features: += partial sums
//
// On the diagonal a tile stages one operand, and its first 64 rows are multiplied with themselves
// only. Consumers whose rows lie past the last block of 64 leave at once.
//
// Raw addresses and any pitch, unlike the kernel of tma.cu, and a shift: so this one is the
// default. Work: parts (parts + 1) / 2 x n^2 p / 2 multiply-adds (n^2 p for n <= 64); X is read n /
// tile times, mostly from the second-level cache.
#include "core/error.h"
#include "cuda/launch.h"
#include "cuda/numbers.h"
#include "cuda/pipeline.h"
#include "cuda/wgmma.h"

namespace pyscale::cuda {
namespace {

constexpr int kProducers = 2 * kWarpgroup;
constexpr int kRowsApart = kProducers / kPieces;  // rows between a producer's eights
constexpr int kRawRegisters = 64;                 // of a producer, for what is on its way

template <class T, int parts, int tile>
struct Shape {
  static constexpr int bands = tile / kBlock;
  static constexpr int threads = kProducers + bands * kWarpgroup;
  static constexpr int operand = tile * kRowBytes;  // bytes of one part of one operand's chunk
  static constexpr int each = tile / kRowsApart;    // eights of a producer, of one operand
  static constexpr int slots = kRawRegisters * sizeof(float) / (each * kEight * sizeof(T));
  static_assert(slots >= 2 && slots % 2 == 0 && operand % (kPieces * kRowBytes) == 0);
};

#ifdef PYSCALE_HOPPER

// ---- device helpers ----

// One thread's part in filling the stages: the eights of piece thread % 8 in every kRowsApart-th
// row. Its units are the operands of the chunks in turn.
template <class T, int parts, int tile>
class Producer {
 public:
  using Of = Shape<T, parts, tile>;

  __device__ Producer(const Problem& problem, const Tile<tile>& at, int64_t n, uint64_t policy)
      : policy_(policy),
        end_(at.end),
        pitch_(problem.pitch),
        operands_(at.operands()),
        units_(at.chunks * operands_),
        aligned_(aligned_rows<T>(problem.X, pitch_)) {
    const int thread = static_cast<int>(threadIdx.x);
    row_ = thread / kPieces;
    piece_ = thread % kPieces;
    const T* X = static_cast<const T*>(problem.X);
    const float* shift = static_cast<const float*>(problem.shift);
    begin_ = at.begin + piece_ * kEight;
    shift_ = shift == nullptr ? nullptr : shift + begin_;
    const int64_t firsts[2] = {at.row * tile + row_, at.column * tile + row_};
#pragma unroll
    for (int o = 0; o < 2; ++o) {
      X_[o] = X + firsts[o] * pitch_ + begin_;
      rows_[o] = static_cast<int>(min(n - firsts[o], int64_t{tile}));
    }
  }

  // Fills the stages of all chunks.
  __device__ void run(const Ring& ring) {
    Turn turn;
    unsigned char* stage = nullptr;
    fetch_shift(0);
#pragma unroll
    for (int slot = 0; slot < Of::slots; ++slot) fetch(raw_[slot], slot);
    for (int first = 0; first < units_; first += Of::slots) {
#pragma unroll
      for (int slot = 0; slot < Of::slots; ++slot) {
        const int unit = first + slot;
        if (unit >= units_) break;
        if (operand(unit) == 0) stage = ring.wait_empty(turn);
        store(stage + operand(unit) * parts * Of::operand, raw_[slot], operand(unit));
        if (operand(unit) + 1 == operands_) {
          ring.fill(turn);
          ring.advance(turn);
        }
        fetch_shift(unit + 1);
        fetch(raw_[slot], unit + Of::slots);
      }
    }
  }

 private:
  using Raw = Eight<T>[Of::each];

  __device__ int operand(int unit) const { return unit & (operands_ - 1); }
  __device__ int64_t feature(int unit) const {  // from begin_ on
    return static_cast<int64_t>(unit >> (operands_ - 1)) * kChunk;
  }
  // How many of the thread's eight features of a unit exist.
  __device__ int valid(int unit) const {
    const int64_t left = end_ - begin_ - feature(unit);
    return left >= kEight ? kEight : left > 0 ? static_cast<int>(left) : 0;
  }

  __device__ __forceinline__ void fetch(Raw& raw, int unit) const {
    if (unit >= units_) return;
    const int o = operand(unit), exist = valid(unit);
    const T* row = (o == 0 ? X_[0] : X_[1]) + feature(unit);
    const int rows = o == 0 ? rows_[0] : rows_[1];
#pragma unroll
    for (int e = 0; e < Of::each; ++e)
      raw[e] =
          fetch_eight(row + e * kRowsApart * pitch_, e * kRowsApart < rows ? exist : 0, aligned_,
                      [&](const uint4* from) { return load_constant(from, policy_); });
  }

  __device__ __forceinline__ void fetch_shift(int unit) {
    if (shift_ == nullptr || unit >= units_) return;
    shift_eight_ = fetch_eight(shift_ + feature(unit), valid(unit), aligned_rows<float>(shift_, 0));
  }

  // The unit, shifted and rounded, in shared memory.
  __device__ __forceinline__ void store(unsigned char* to, const Raw& raw, int o) {
    float shift[kEight];
    widen_eight(shift, shift_eight_);
    const int rows = o == 0 ? rows_[0] : rows_[1];
#pragma unroll
    for (int e = 0; e < Of::each; ++e) {
      float x[kEight];
      widen_eight(x, raw[e]);
      if (shift_ != nullptr && e * kRowsApart < rows) {
#pragma unroll
        for (int f = 0; f < kEight; ++f) x[f] -= shift[f];
      }
      uint4 hi, lo;
      split_eight(x, hi, lo);
      unsigned char* at = to + swizzled(row_ + e * kRowsApart, piece_);
      store_shared(at, hi);
      if constexpr (parts == 2) store_shared(at + Of::operand, lo);
    }
  }

  uint64_t policy_;
  int64_t end_, pitch_, begin_;
  int operands_, units_;
  bool aligned_;
  int row_, piece_;
  const T* X_[2];       // this thread's first eight of either operand
  int rows_[2];         // which exist from there on
  const float* shift_;  // its first eight
  Raw raw_[Of::slots];
  Eight<float> shift_eight_ = {};
};

#endif  // PYSCALE_HOPPER

// ---- kernels ----

template <class T, int parts, int tile>
__global__ void __launch_bounds__(Shape<T, parts, tile>::threads, 1)
    convert_and_multiply(const __grid_constant__ Group group, Guard guard, int tiles) {
  follow_stream();
#ifdef PYSCALE_HOPPER
  using Of = Shape<T, parts, tile>;
  const Work work = locate(group, static_cast<int>(blockIdx.x), tiles);
  if (skips(guard, *work.problem)) return;
  const Tile<tile> at(group, work);
  const Ring ring(at.operands() * parts * Of::operand, kProducers / kWarp,
                  static_cast<uint32_t>(at.bands * kWarpgroupWarps));
  if (threadIdx.x < kProducers) {
    if constexpr (Of::bands == 2) registers_increase<152>();
    // Numbers that are read once make room for the partial sums, which come again.
    const uint64_t policy = tiles == 1 ? evict_first() : evict_normal();
    Producer<T, parts, tile>(*work.problem, at, group.n, policy).run(ring);
  } else {
    if constexpr (Of::bands == 2) registers_decrease<104>();
    const int band = static_cast<int>(threadIdx.x) / kWarpgroup - kProducers / kWarpgroup;
    if (band < at.bands)
      multiply_tile<__nv_bfloat16, parts, tile>(
          ring, at, band, at.diagonal() ? 0 : parts * Of::operand, Of::operand);
  }
#endif
}

// ---- launchers ----

template <class T, int parts, int tile>
void launch_tiles(const Group& group, Guard guard, cudaStream_t stream) {
  const int tiles = tiles_of(group.n, tile);
  const Group counted = numbered(group, tiles);
  launch(convert_and_multiply<T, parts, tile>, dim3(static_cast<unsigned>(counted.total)),
         dim3(Shape<T, parts, tile>::threads), kSharedMost, stream, counted, guard, tiles);
}

template <class T>
void launch_parts(const Group& group, int parts, Guard guard, cudaStream_t stream) {
  const bool small = tile_of(group.n) == 64;
  if (parts == 2)
    small ? launch_tiles<T, 2, 64>(group, guard, stream)
          : launch_tiles<T, 2, 128>(group, guard, stream);
  else
    small ? launch_tiles<T, 1, 64>(group, guard, stream)
          : launch_tiles<T, 1, 128>(group, guard, stream);
}

}  // namespace

void multiply_convert(const Group& group, DType dtype, int parts, Guard guard,
                      cudaStream_t stream) {
  PYSCALE_CHECK(parts == 1 || parts == 2, "a number has 1 or 2 parts, not ", parts);
  switch (dtype) {
    case DType::f64:
      PYSCALE_CHECK(false, "float64 is multiplied in float64 (multiply_exact)");
      break;
    case DType::f32:
      return launch_parts<float>(group, parts, guard, stream);
    case DType::f16:
      return launch_parts<__half>(group, parts, guard, stream);
    case DType::bf16:
      return launch_parts<__nv_bfloat16>(group, parts, guard, stream);
  }
}

}  // namespace pyscale::cuda
