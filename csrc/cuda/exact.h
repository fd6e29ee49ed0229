// Float64 products A B^T on the tensor cores (sm_80 on), tile by tile: what the exact Grams,
// all-pairs HSIC and co-moments share. A tile is kBlock x kBlock and the work of one thread block:
// four warps, two down and two across, 32 x 32 elements each.
//
// Slices of kSlice terms of both factors are fetched, widened, shifted and staged in shared memory
// while the slice before is multiplied; two stages, so that one barrier a slice is enough: 32 KB.
// Products and sums are IEEE float64, term after term, so the bits depend on nothing else.
#pragma once

#include "cuda/numbers.h"
#include "cuda/problem.h"
#include "cuda/ptx.h"

namespace pyscale::cuda {

constexpr int kExactThreads = 128;
constexpr int kSlice = 16;  // terms of the sums staged at a time
// Of a multiprocessor: while one waits for memory, others multiply. As many as the registers allow.
template <class T>
constexpr int kExactBlocks = sizeof(T) == sizeof(double) ? 2 : 3;
constexpr int kSliceSize = kSlice * kBlock;
constexpr int kExactShared = 2 * 2 * kSliceSize * static_cast<int>(sizeof(double));
static_assert(kChunk % kSlice == 0);

// What a product sums over: the columns of the matrices it is given (samples are multiplied with
// samples, a Gram) or their rows (features with features, co-moments).
enum class Over : int { columns, rows };

// F (count, terms): a matrix, or its transpose where the sum is over rows, in float64 and with the
// shift taken off every row of the matrix.
template <class T, Over over>
struct Factor {
  const T* data;
  const double* shift;  // one for each column of the matrix; null: none
  int64_t count, pitch;
};

// Where element (i, k) of a factor's slice is staged. Permuted within 16 rows, such that a warp's
// fragments (8 rows x 4 terms) and its writes (16 terms of a row, or 32 rows of a term) all fall
// into different banks.
__host__ __device__ constexpr int staged(int i, int k) {
  return k * kBlock + (i ^ (k % 4 * 4 + k / 4));
}

// One factor's rows of a tile, as this thread brings them from memory to shared memory: elements
// apart by kApart rows of the matrix, neighbours in a warp are neighbours in memory.
template <class T, Over over>
class Slice {
 public:
  // Of rows `first` on, beginning with term `begin`.
  __device__ Slice(const Factor<T, over>& factor, int64_t first, int64_t begin)
      : pitch_(factor.pitch), count_(inside(factor.count - first - row(0))) {
    const int64_t i = first + row(0), k = begin + term(0);
    next_ = factor.data + (kAcross ? i * pitch_ + k : k * pitch_ + i);
    if (factor.shift != nullptr) shifts_ = factor.shift + (kAcross ? k : i);
  }

  // The next kSlice terms, of which `rest` exist.
  __device__ void fetch(int64_t rest) {
    rest -= term(0);
    valid_ = kAcross ? (rest > 0 ? count_ : 0) : (count_ > 0 ? inside(rest) : 0);
#pragma unroll
    for (int e = 0; e < kEach; ++e) values_[e] = e < valid_ ? next_[e * kApart * pitch_] : T{};
    // All elements of a thread are of one column of the matrix.
    if (shifts_ != nullptr && valid_ > 0) shift_ = *shifts_;
    next_ += kAcross ? kSlice : kSlice * pitch_;
    if (kAcross && shifts_ != nullptr) shifts_ += kSlice;
  }

  __device__ void store(double* slice) const {
#pragma unroll
    for (int e = 0; e < kEach; ++e)
      slice[staged(row(e), term(e))] =
          e < valid_ ? static_cast<double>(widen(values_[e])) - shift_ : 0.0;
  }

 private:
  static constexpr bool kAcross = over == Over::columns;  // terms of a row lie side by side
  static constexpr int kAbreast = kAcross ? kSlice : kBlock;
  static constexpr int kApart = kExactThreads / kAbreast;
  static constexpr int kEach = kSliceSize / kExactThreads;

  __device__ static int abreast() { return static_cast<int>(threadIdx.x) % kAbreast; }
  __device__ static int down(int e) {
    return static_cast<int>(threadIdx.x) / kAbreast + e * kApart;
  }
  __device__ static int row(int e) { return kAcross ? down(e) : abreast(); }
  __device__ static int term(int e) { return kAcross ? abreast() : down(e); }

  // How many of the thread's elements are among `rest` rows of the matrix.
  __device__ static int inside(int64_t rest) {
    return static_cast<int>(min(max(divide_up(rest, kApart), int64_t{0}), int64_t{kEach}));
  }

  const T* next_;                   // the thread's first element of the next slice
  const double* shifts_ = nullptr;  // and what is taken off it
  int64_t pitch_;
  int count_;      // elements of rows that exist
  int valid_ = 0;  // elements of the slice that exist
  T values_[kEach] = {};
  double shift_ = 0;
};

// The accumulators of a tile.
class ExactTile {
 public:
  // Adds terms `begin` to `end` of the products of rows i0 .. of A with rows j0 .. of B;
  // `diagonal`: they are the same rows.
  template <class T, Over over>
  __device__ void add(const Factor<T, over>& A, int64_t i0, const Factor<T, over>& B, int64_t j0,
                      bool diagonal, int64_t begin, int64_t end) {
    auto* present = reinterpret_cast<double*>(shared_memory());  // (2, 2, kSlice, kBlock)
    double* next = present + 2 * kSliceSize;
    Slice<T, over> left(A, i0, begin), right(B, j0, begin);
    const auto fetch = [&](int64_t k) {
      left.fetch(end - k);
      if (!diagonal) right.fetch(end - k);
    };
    const auto store = [&](double* stage) {
      left.store(stage);
      if (!diagonal) right.store(stage + kSliceSize);
    };
    if (begin < end) {
      fetch(begin);
      store(present);
      __syncthreads();
    }
    for (int64_t k = begin; k < end; k += kSlice) {
      const bool more = k + kSlice < end;
      if (more) fetch(k + kSlice);
      multiply(present, diagonal ? present : present + kSliceSize);
      if (more) store(next);
      __syncthreads();
      double* const done = present;
      present = next;
      next = done;
    }
  }

  // Calls visit(i, j, x, y) for pairs of elements (i, j), (i, j + 1) of the tile, j even.
  template <class Visit>
  __device__ void each(const Visit& visit) const {
#pragma unroll
    for (int i = 0; i < kFragments; ++i)
#pragma unroll
      for (int j = 0; j < kFragments; ++j)
        visit(row() + 8 * i + lane() / 4, column() + 8 * j + lane() % 4 * 2, sums_[i][j][0],
              sums_[i][j][1]);
  }

 private:
  static constexpr int kSide = 32;              // rows and columns of a warp
  static constexpr int kFragments = kSide / 8;  // multiplied in pairs, one above the other
  static constexpr int kTerms = 4;              // of one mma
  static_assert(kSide * kSide * (kExactThreads / kWarp) == kBlockSize);

  __device__ static int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
  __device__ static int warp() { return static_cast<int>(threadIdx.x) / kWarp; }
  __device__ static int row() { return warp() / 2 * kSide; }
  __device__ static int column() { return warp() % 2 * kSide; }

  __device__ void multiply(const double* A, const double* B) {
#pragma unroll
    for (int step = 0; step < kSlice / kTerms; ++step) {
      const int k = step * kTerms + lane() % 4;
      double a[kFragments], b[kFragments];
#pragma unroll
      for (int f = 0; f < kFragments; ++f) {
        a[f] = A[staged(row() + 8 * f + lane() / 4, k)];
        b[f] = B[staged(column() + 8 * f + lane() / 4, k)];
      }
#pragma unroll
      for (int j = 0; j < kFragments; ++j)
#pragma unroll
        for (int i = 0; i < kFragments; i += 2)
          mma_16x8x4(sums_[i][j], sums_[i + 1][j], a[i], a[i + 1], b[j]);
    }
  }

  double sums_[kFragments][kFragments][2] = {};
};

}  // namespace pyscale::cuda
