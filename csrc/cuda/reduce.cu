// G := the partial sums of its blocks, added over the splits in order, in float64; both halves.
//
// A thread block makes one strip of one block of kBlock x kBlock. With few rows there are few
// strips but many splits, one thread for each element would leave most of the device idle: then
// several threads share an element, each adding every so many splits, and their sums are added in
// order. How many depends on n alone, and so do the bits on nothing but the partial sums.
//
//   partial (splits, blocks, kBlock, kBlock)         G (n, n)
//   split 0 [ . . x . ]                              row by row below the diagonal, and through
//   split 1 [ . . x . ]  -> shared memory (strip) -> shared memory by columns above it: both
//   split 2 [ . . x . ]                              ways neighbours write neighbours
//
// Memory bound: splits n^2 / 2 partial sums are read, n^2 doubles written, from and to the
// second-level cache unless n is large.
#include "cuda/blocks.h"
#include "cuda/launch.h"
#include "cuda/ptx.h"
#include "cuda/stages.h"

namespace pyscale::cuda {
namespace {

constexpr int kThreads = 256;

// ---- kernels ----

// `sharing` threads share an element.
template <class P, int sharing>
__global__ void __launch_bounds__(kThreads) add_splits(const __grid_constant__ Group group) {
  follow_stream();
  constexpr int kStrip = kThreads / sharing;  // elements of a strip
  constexpr int kStrips = kBlockSize / kStrip;
  constexpr int kRows = kStrip > kBlock ? kStrip / kBlock : 1;  // of a strip
  const Problem& problem = group.problems[blockIdx.y];
  const int64_t n = group.n;
  const int64_t block = blockIdx.x / kStrips;
  const int first = static_cast<int>(blockIdx.x % kStrips) * kStrip;
  const int element = static_cast<int>(threadIdx.x) % kStrip;

  const P* partial = static_cast<const P*>(problem.partial) + block * kBlockSize + first + element;
  const int64_t step = blocks_of(n) * kBlockSize;
  double sum = 0;
#pragma unroll 8
  for (int split = static_cast<int>(threadIdx.x) / kStrip; split < problem.splits; split += sharing)
    sum += static_cast<double>(partial[split * step]);

  auto* sums = reinterpret_cast<double*>(shared_memory());  // (sharing, kStrip)
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x >= kStrip) return;
  const auto total = [&](int e) {
    double all = sums[e];
    for (int s = 1; s < sharing; ++s) all += sums[s * kStrip + e];
    return all;
  };
  const Cell at = block_at(block);
  const int64_t i0 = at.row * kBlock, j0 = at.column * kBlock;
  {
    const int64_t i = i0 + (first + element) / kBlock, j = j0 + (first + element) % kBlock;
    if (i < n && j <= i) problem.G[i * n + j] = total(element);
  }
  // Neighbouring threads hold the rows of one column: they write G_ji side by side.
  const int turned = kRows == 1 ? element : element % kRows * kBlock + element / kRows;
  const int64_t i = i0 + (first + turned) / kBlock, j = j0 + (first + turned) % kBlock;
  if (i < n && j < i) problem.G[j * n + i] = total(turned);
}

// ---- launchers ----

template <class P, int sharing>
void launch_add(const Group& group, cudaStream_t stream) {
  const int64_t strips = blocks_of(group.n) * (kBlockSize * sharing / kThreads);
  launch(add_splits<P, sharing>,
         dim3(static_cast<unsigned>(strips), static_cast<unsigned>(group.count)), kThreads,
         kThreads * sizeof(double), stream, group);
}

template <class P>
void add(const Group& group, cudaStream_t stream) {
  if (group.n <= kBlock) return launch_add<P, 8>(group, stream);
  if (group.n <= 2 * kBlock) return launch_add<P, 4>(group, stream);
  if (group.n <= 4 * kBlock) return launch_add<P, 2>(group, stream);
  launch_add<P, 1>(group, stream);
}

}  // namespace

void reduce(const Group& group, bool exact, cudaStream_t stream) {
  exact ? add<double>(group, stream) : add<float>(group, stream);
}

}  // namespace pyscale::cuda
