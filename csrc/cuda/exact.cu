// Exact Grams: any input type, widened to float64, less the float64 shift, multiplied and added in
// float64 (exact.h). A thread block multiplies one tile of the lower triangle over one share of the
// features and writes one block of partial sums. Work: n^2 p / 2 multiply-adds; X is read n / 64
// times, mostly from the second-level cache.
#include "cuda/exact.h"
#include "cuda/launch.h"
#include "cuda/stages.h"

namespace pyscale::cuda {
namespace {

// ---- kernels ----

template <class T>
__global__ void __launch_bounds__(kExactThreads, kExactBlocks<T>)
    multiply_triangle(const __grid_constant__ Group group, int tiles) {
  follow_stream();
  const Work work = locate(group, static_cast<int>(blockIdx.x), tiles);
  const Problem& problem = *work.problem;
  const Factor<T, Over::columns> X{static_cast<const T*>(problem.X),
                                   static_cast<const double*>(problem.shift), group.n,
                                   problem.pitch};
  const Cell at = cell(work.tile);
  ExactTile tile;
  tile.add(X, at.row * kBlock, X, at.column * kBlock, at.row == at.column, work.begin, work.end);
  double* block = static_cast<double*>(problem.partial) +
                  (int64_t{work.split} * tiles + work.tile) * kBlockSize;
  tile.each([&](int i, int j, double x, double y) {
    *reinterpret_cast<double2*>(block + i * kBlock + j) = make_double2(x, y);
  });
}

// ---- launchers ----

template <class T>
void launch_triangle(const Group& group, cudaStream_t stream) {
  const int tiles = tiles_of(group.n, kBlock);
  const Group work = numbered(group, tiles);
  launch(multiply_triangle<T>, static_cast<unsigned>(work.total), kExactThreads, kExactShared,
         stream, work, tiles);
}

}  // namespace

void multiply_exact(const Group& group, DType dtype, cudaStream_t stream) {
  switch (dtype) {
    case DType::f64:
      return launch_triangle<double>(group, stream);
    case DType::f32:
      return launch_triangle<float>(group, stream);
    case DType::f16:
      return launch_triangle<__half>(group, stream);
    case DType::bf16:
      return launch_triangle<__nv_bfloat16>(group, stream);
  }
}

}  // namespace pyscale::cuda
