// G = (X - 1 shift)(X - 1 shift)^T for n samples of p features, p far larger than n.
//
// Stage 1: block (tile, split) multiplies one 64 x 64 tile of the lower triangle over its share of
// the features: slices of both row groups are shifted on their way into shared memory, each thread
// keeps 4 x 4 sums. Stage 2: one thread per element adds the splits in order and writes the element
// and its mirror. Work n^2 p / 2 multiply-adds; X is read n / 64 times, mostly from the
// second-level cache. Sums of kFlush features are float32 (float64 for float64 input), then
// float64. No atomics: the bits depend on input and shape only.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <type_traits>

#include "core/triangle.h"
#include "cuda/check.h"
#include "cuda/gram.h"

namespace pyscale::cuda {
namespace {

constexpr int kTile = 64;   // rows and columns of a tile
constexpr int kSlice = 32;  // features in shared memory at a time
constexpr int kEach = 4;    // rows and columns of a thread
constexpr int kSide = kTile / kEach;
constexpr int kThreads = kSide * kSide;
constexpr int kFlush =
    1024;  // features per float32 sum: its rounding errors grow with their number
constexpr int kBlocks = 512;  // wanted, a few for each multiprocessor of the largest GPUs
static_assert(kFlush % kSlice == 0);

struct Geometry {
  int64_t tiles;   // of the lower triangle
  int64_t splits;  // of the features
  int64_t share;   // features of a split, a multiple of kFlush
};

Geometry geometry(int64_t n, int64_t p) {
  const int64_t tiles = triangle(divide_up(n, kTile));
  const int64_t runs = std::max<int64_t>(1, divide_up(p, kFlush));
  const int64_t wanted =
      std::clamp<int64_t>(divide_up(kBlocks, std::max<int64_t>(1, tiles)), 1, runs);
  const int64_t share = divide_up(runs, wanted);
  return {tiles, divide_up(runs, share), share * kFlush};
}

// ---- device helpers ----

__device__ float widen(float x) { return x; }
__device__ double widen(double x) { return x; }
__device__ float widen(__half x) { return __half2float(x); }
__device__ float widen(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class T>
using Arithmetic = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class T>
struct Input {
  const T* X;                  // (n, p)
  const Arithmetic<T>* shift;  // (p) or null
  int64_t n, p, pitch;

  // Element (i, k), shifted; 0 outside.
  __device__ Arithmetic<T> at(int64_t i, int64_t k) const {
    if (i >= n || k >= p) return 0;
    const Arithmetic<T> x = widen(X[i * pitch + k]);
    return shift == nullptr ? x : x - shift[k];
  }
};

// Row of a tile that element `e` of a thread holds: neighbours in a warp read neighbouring words.
__device__ int spread(int thread, int e) { return thread + e * kSide; }

// ---- kernels ----

template <class T>
__global__ void __launch_bounds__(kThreads)
    multiply_tiles(double* partial,  // (splits, tiles, kTile, kTile)
                   Input<T> input, int64_t share) {
  using A = Arithmetic<T>;
  // One word of padding: the transposing stores of a warp fall into different banks.
  __shared__ A left[kSlice][kTile + 1], right[kSlice][kTile + 1];
  const Cell tile = cell(blockIdx.x);
  const int64_t i0 = tile.row * kTile, j0 = tile.column * kTile;
  const int64_t begin = blockIdx.y * share, end = min(begin + share, input.p);
  const int row = threadIdx.x / kSide, column = threadIdx.x % kSide;
  A sums[kEach][kEach] = {};
  double totals[kEach][kEach] = {};

  for (int64_t k0 = begin; k0 < end; k0 += kSlice) {
    for (int e = threadIdx.x; e < kTile * kSlice; e += kThreads) {
      const int i = e / kSlice, k = e % kSlice;
      left[k][i] = input.at(i0 + i, k0 + k);
      right[k][i] = input.at(j0 + i, k0 + k);
    }
    __syncthreads();
    for (int k = 0; k < kSlice; ++k) {
      A a[kEach], b[kEach];
      for (int e = 0; e < kEach; ++e) {
        a[e] = left[k][spread(row, e)];
        b[e] = right[k][spread(column, e)];
      }
      for (int i = 0; i < kEach; ++i)
        for (int j = 0; j < kEach; ++j) sums[i][j] += a[i] * b[j];
    }
    __syncthreads();
    if ((k0 + kSlice - begin) % kFlush == 0 || k0 + kSlice >= end)
      for (int i = 0; i < kEach; ++i)
        for (int j = 0; j < kEach; ++j) {
          totals[i][j] += static_cast<double>(sums[i][j]);
          sums[i][j] = 0;
        }
  }
  double* out = partial + (int64_t{blockIdx.y} * gridDim.x + blockIdx.x) * (kTile * kTile);
  for (int i = 0; i < kEach; ++i)
    for (int j = 0; j < kEach; ++j) out[spread(row, i) * kTile + spread(column, j)] = totals[i][j];
}

template <class Out>
__global__ void __launch_bounds__(kThreads)
    add_splits(Out* G,                 // (n, n)
               const double* partial,  // (splits, tiles, kTile, kTile)
               int64_t n, int64_t pitch, int64_t splits) {
  const Cell tile = cell(blockIdx.x);
  for (int e = threadIdx.x; e < kTile * kTile; e += kThreads) {
    const int64_t i = tile.row * kTile + e / kTile, j = tile.column * kTile + e % kTile;
    if (i >= n || j > i) continue;
    double total = 0;
    for (int64_t split = 0; split < splits; ++split)
      total += partial[(split * gridDim.x + blockIdx.x) * (kTile * kTile) + e];
    G[i * pitch + j] = G[j * pitch + i] = static_cast<Out>(total);
  }
}

// ---- launchers ----

template <class T>
void launch_multiply(const Matrix& X, const std::optional<Matrix>& shift, const Matrix& workspace,
                     const Geometry& size, cudaStream_t stream) {
  const Input<T> input{X.row<T>(0), shift ? shift->row<Arithmetic<T>>(0) : nullptr, X.rows,
                       X.columns, X.pitch};
  const dim3 grid(static_cast<unsigned>(size.tiles), static_cast<unsigned>(size.splits));
  multiply_tiles<T><<<grid, kThreads, 0, stream>>>(workspace.row<double>(0), input, size.share);
  PYSCALE_CUDA_CHECK(cudaGetLastError());
}

void multiply(const Matrix& X, const std::optional<Matrix>& shift, const Matrix& workspace,
              const Geometry& size, cudaStream_t stream) {
  switch (X.dtype) {
    case DType::f64:
      return launch_multiply<double>(X, shift, workspace, size, stream);
    case DType::f32:
      return launch_multiply<float>(X, shift, workspace, size, stream);
    case DType::f16:
      return launch_multiply<__half>(X, shift, workspace, size, stream);
    case DType::bf16:
      return launch_multiply<__nv_bfloat16>(X, shift, workspace, size, stream);
  }
}

}  // namespace

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

int64_t gram_workspace(int64_t n, int64_t p) {
  const Geometry size = geometry(n, p);
  return size.tiles * size.splits * kTile * kTile;
}

void gram(Matrix G, Matrix X, std::optional<Matrix> shift, Matrix workspace, int device,
          uintptr_t stream) {
  check_matrix("X", X);
  check_wide("G", G);
  check_shape("G", G, X.rows, X.rows);
  if (shift) {
    check_dtype("shift", *shift, X.dtype == DType::f64 ? DType::f64 : DType::f32);
    check_shape("shift", *shift, 1, X.columns);
  }
  check_dtype("workspace", workspace, DType::f64);
  check_shape("workspace", workspace, 1, gram_workspace(X.rows, X.columns));
  const Geometry size = geometry(X.rows, X.columns);
  PYSCALE_CHECK(size.tiles < int64_t{1} << 31, "X has ", X.rows, " rows, too many for one launch");
  if (X.rows == 0) return;

  const DeviceScope scope(device);
  const auto queue = reinterpret_cast<cudaStream_t>(stream);
  multiply(X, shift, workspace, size, queue);
  dispatch_output(G.dtype, [&](auto tag) {
    using Out = typename decltype(tag)::type;
    add_splits<Out><<<static_cast<unsigned>(size.tiles), kThreads, 0, queue>>>(
        G.row<Out>(0), workspace.row<double>(0), X.rows, G.pitch, size.splits);
  });
  PYSCALE_CUDA_CHECK(cudaGetLastError());
}

}  // namespace pyscale::cuda
