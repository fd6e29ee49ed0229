// P = A B^T, or P += A B^T, in float64: what all-pairs HSIC and co-moments share.
//
//            B rows ->                 A is B
//          +----+----+----+
//   A rows | 0  | 1  | 2  |            | 0
//     |    +----+----+----+            | 1  2
//     v    | 3  | 4  | 5  |            | 3  4  5
//          +----+----+----+
//
// Where A is B only the tiles on and below the diagonal are multiplied, and every element of the
// lower triangle is written to both of its places: symmetric to the bit. Where the tiles alone
// would leave the device idle the terms of the sums are shared out, and a second kernel adds the
// shares in order: no atomics, the bits depend on shapes and device alone.
//
// Each tile of kBlock x kBlock is the work of one thread block (exact.h).
#pragma once

#include "core/error.h"
#include "core/matrix.h"
#include "cuda/device.h"
#include "cuda/exact.h"
#include "cuda/launch.h"
#include "cuda/plan.h"

namespace pyscale::cuda {

constexpr int kAddThreads = 256;
constexpr int kAddBlocks = kBlockSize / kAddThreads;  // thread blocks that add up one tile

// Where a product goes.
struct Target {
  double* P;  // (rows, columns)
  int64_t rows, columns, pitch;
  bool symmetric;  // A is B
  bool adds;       // P += , not P =

  __device__ void put(int64_t i, int64_t j, double value) const {
    if (i >= rows || j >= columns || (symmetric && j > i)) return;
    const double total = adds ? P[i * pitch + j] + value : value;
    P[i * pitch + j] = total;
    if (symmetric) P[j * pitch + i] = total;
  }

  __host__ __device__ int64_t tiles() const {
    const int64_t down = divide_up(rows, kBlock);
    return symmetric ? triangle(down) : down * divide_up(columns, kBlock);
  }
  __device__ Cell tile(int64_t index) const {
    const int64_t across = divide_up(columns, kBlock);
    return symmetric ? cell(index) : Cell{index / across, index % across};
  }
};

// ---- kernels: each file that includes this has its own ----
namespace {

// grid (tiles, shares)
template <class T, Over over>
__global__ void __launch_bounds__(kExactThreads, kExactBlocks<T>)
    multiply_product(Target target,
                     double* partial,  // (shares, tiles, kBlock, kBlock) if there are several
                     const __grid_constant__ Factor<T, over> A,
                     const __grid_constant__ Factor<T, over> B, int64_t terms) {
  follow_stream();
  const Cell at = target.tile(blockIdx.x);
  const int64_t i0 = at.row * kBlock, j0 = at.column * kBlock;
  const int64_t slices = divide_up(terms, kSlice), share = blockIdx.y, shares = gridDim.y;
  const int64_t end = slices * (share + 1) / shares * kSlice;
  ExactTile tile;
  tile.add(A, i0, B, j0, target.symmetric && i0 == j0, slices * share / shares * kSlice,
           end < terms ? end : terms);
  if (shares == 1) {
    tile.each([&](int i, int j, double x, double y) {
      target.put(i0 + i, j0 + j, x);
      target.put(i0 + i, j0 + j + 1, y);
    });
  } else {
    double* block = partial + (share * gridDim.x + blockIdx.x) * kBlockSize;
    tile.each([&](int i, int j, double x, double y) {
      *reinterpret_cast<double2*>(block + i * kBlock + j) = make_double2(x, y);
    });
  }
}

// grid (tiles, kAddBlocks)
__global__ void __launch_bounds__(kAddThreads)
    add_shares(Target target,
               const double* partial,  // (shares, tiles, kBlock, kBlock)
               int64_t shares) {
  follow_stream();
  const int element = static_cast<int>(blockIdx.y * kAddThreads + threadIdx.x);
  double total = 0;
  for (int64_t share = 0; share < shares; ++share)
    total += partial[(share * gridDim.x + blockIdx.x) * kBlockSize + element];
  const Cell at = target.tile(blockIdx.x);
  target.put(at.row * kBlock + element / kBlock, at.column * kBlock + element % kBlock, total);
}

}  // namespace

// ---- launchers ----

// Shares of the terms that fill the device evenly.
inline int64_t shares_of(const Target& target, int64_t terms, int device_index) {
  const int64_t slots = int64_t{2} * device(device_index).multiprocessors;
  return best_splits(target.tiles(), divide_up(terms, kSlice), slots);
}

// Doubles of the shares' partial sums; 0 where there is one.
inline int64_t product_workspace(const Target& target, int64_t terms, int device_index) {
  const int64_t shares = shares_of(target, terms, device_index);
  return shares == 1 ? 0 : shares * target.tiles() * kBlockSize;
}

template <class T, Over over>
void product(const Target& target, const Factor<T, over>& A, const Factor<T, over>& B,
             int64_t terms, const Matrix& workspace, int device_index, cudaStream_t stream) {
  const int64_t tiles = target.tiles();
  PYSCALE_CHECK(tiles < int64_t{1} << 31, "a product of shape (", target.rows, ", ", target.columns,
                ") is too large for one launch");
  const int64_t shares = shares_of(target, terms, device_index);
  const auto count = static_cast<unsigned>(tiles);
  double* partial = workspace.row<double>(0);
  launch(multiply_product<T, over>, dim3(count, static_cast<unsigned>(shares)), kExactThreads,
         kExactShared, stream, target, partial, A, B, terms);
  if (shares > 1)
    launch(add_shares, dim3(count, kAddBlocks), kAddThreads, 0, stream, target, partial, shares);
}

}  // namespace pyscale::cuda
