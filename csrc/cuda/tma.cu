// Grams of bfloat16 and float16 as they are, on Hopper's tensor cores, fed by its copy engine
// (TMA).
//
// One thread of a producer warpgroup asks for chunks of 64 features, as many as shared memory
// holds, and consumer warpgroups multiply them as they land. Products of two such numbers are exact
// in the float32 accumulators; there is no shift, so this is for data whose mean is no larger than
// its spread, which the guard asks.
//
// Up to 128 rows there is one tile. Up to 256 rows a thread block does the whole triangle of its
// share, so that X is read once: of four bands of 64 rows, band r needs the columns of bands 0..r,
//
//     0  #            bands 0 and 3 go to one consumer warpgroup, 1 and 2 to the other: either
//     1  # #          keeps 160 accumulators a thread, and 10 of 16 squares are multiplied. Three
//     2  # # #        tiles of 128 on three warpgroups would be 12 of 16, and their narrower
//     3  # # # #      products read more of shared memory for each multiply-add.
//
// Above, a thread block takes one 128 x 128 tile, and two consumer warpgroups 64 of its rows each.
//
// Work: n^2 p / 2 multiply-adds (n^2 p for n <= 64); X is read once for n <= 256, else n / 128
// times, mostly from the second-level cache.
#include "core/error.h"
#include "cuda/launch.h"
#include "cuda/pipeline.h"
#include "cuda/tensor_map.h"
#include "cuda/wgmma.h"

namespace pyscale::cuda {
namespace {

constexpr int kBox = 128;  // rows of a box for the whole triangle
constexpr int kTriangleBoxes = 2;
constexpr int kTriangleRows = kTriangleBoxes * kBox;
constexpr int kTriangleThreads = 3 * kWarpgroup;

constexpr int threads_of(int tile) { return (1 + tile / kBlock) * kWarpgroup; }

// By value in the kernel's parameters, so that a captured graph replays them.
struct Maps {
  CUtensorMap maps[kMaxProblems];
};

#ifdef PYSCALE_HOPPER

// ---- device helpers ----

// Asks for all chunks of the share: `boxes` boxes from the given rows on. One thread's work.
// Numbers that are read once make room in the second-level cache for the partial sums, which come
// again.
__device__ inline void produce(const Ring& ring, const CUtensorMap* map, const Work& work,
                               int boxes, int box_bytes, const int (&rows)[2], uint64_t policy) {
  const int chunks = chunks_of(work);
  if (chunks == 0) return;
  prefetch_map(map);
  Turn turn;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    unsigned char* stage = ring.wait_empty(turn);
    barrier_expect(ring.full(turn), static_cast<uint32_t>(boxes * box_bytes));
    const int feature = static_cast<int>(work.begin) + chunk * kChunk;
    load_tile(stage, map, ring.full(turn), feature, rows[0], policy);
    if (boxes == 2) load_tile(stage + box_bytes, map, ring.full(turn), feature, rows[1], policy);
    ring.advance(turn);
  }
}

// The work of a warpgroup with two bands of the triangle, each against the columns up to its own.
template <class T, int first, int second>
__device__ __forceinline__ void multiply_bands(const Ring& ring, int chunks, float* blocks) {
  constexpr int kFirst = (first + 1) * kBlock, kSecond = (second + 1) * kBlock;
  constexpr Operands kFirstAt{first * kBandBytes, 0, 0}, kSecondAt{second * kBandBytes, 0, 0};
  float upper[kFirst / 2] = {}, lower[kSecond / 2] = {};
  consume(
      ring, chunks,
      [&](uint32_t stage) {
        multiply_chunk<T, 1, kFirst>(upper, stage, kFirstAt);
        multiply_chunk<T, 1, kSecond>(lower, stage, kSecondAt);
      },
      [&](bool fresh) {
        flush<kFirst>(blocks + triangle(first) * kBlockSize, upper, fresh);
        flush<kSecond>(blocks + triangle(second) * kBlockSize, lower, fresh);
      });
}

#endif  // PYSCALE_HOPPER

// ---- kernels ----

template <class T, int tile>
__global__ void __launch_bounds__(threads_of(tile), 1)
    multiply_tiles(const __grid_constant__ Group group, const __grid_constant__ Maps maps,
                   Guard guard, int tiles) {
#ifdef PYSCALE_HOPPER
  constexpr int kOperand = tile * kRowBytes;
  const Work work = locate(group, static_cast<int>(blockIdx.x), tiles);
  if (skips(guard, *work.problem)) return;
  const Tile<tile> at(group, work);
  const Ring ring(at.operands() * kOperand, 1, static_cast<uint32_t>(at.bands * kWarpgroupWarps));
  if (threadIdx.x < kWarpgroup) {
    const int rows[2] = {static_cast<int>(at.row) * tile, static_cast<int>(at.column) * tile};
    if (threadIdx.x == 0)
      produce(ring, maps.maps + (work.problem - group.problems), work, at.operands(), kOperand,
              rows, tiles == 1 ? evict_first() : evict_normal());
  } else {
    const int band = static_cast<int>(threadIdx.x) / kWarpgroup - 1;
    if (band < at.bands) multiply_tile<T, 1, tile>(ring, at, band, at.diagonal() ? 0 : kOperand, 0);
  }
#endif
}

// Of three or four bands.
template <class T>
__global__ void __launch_bounds__(kTriangleThreads, 1)
    multiply_triangle(const __grid_constant__ Group group, const __grid_constant__ Maps maps,
                      Guard guard) {
#ifdef PYSCALE_HOPPER
  const Work work = locate(group, static_cast<int>(blockIdx.x), 1);
  if (skips(guard, *work.problem)) return;
  const int chunks = chunks_of(work);
  const Ring ring(kTriangleRows * kRowBytes, 1, 2 * kWarpgroupWarps);
  if (threadIdx.x < kWarpgroup) {
    registers_decrease<24>();
    if (threadIdx.x == 0)
      produce(ring, maps.maps + (work.problem - group.problems), work, kTriangleBoxes,
              kBox * kRowBytes, {0, kBox}, evict_first());
  } else {
    registers_increase<240>();
    float* blocks =
        static_cast<float*>(work.problem->partial) + work.split * blocks_of(group.n) * kBlockSize;
    if (threadIdx.x >= 2 * kWarpgroup)
      multiply_bands<T, 1, 2>(ring, chunks, blocks);
    else if (group.n > 3 * kBlock)
      multiply_bands<T, 0, 3>(ring, chunks, blocks);
    else
      multiply_band<T, 1, kBlock>(ring, chunks, {0, 0, 0}, blocks);
  }
#endif
}

// ---- launchers ----

Maps maps_of(const Group& group, DType dtype, int box_rows) {
  Maps maps{};
  for (int32_t i = 0; i < group.count; ++i) {
    const Problem& problem = group.problems[i];
    if (problem.p == 0) continue;  // nothing will be asked for
    maps.maps[i] =
        map_of({const_cast<void*>(problem.X), group.n, problem.p, problem.pitch, dtype}, box_rows);
  }
  return maps;
}

template <class T, int tile>
void launch_tiles(const Group& group, DType dtype, Guard guard, cudaStream_t stream) {
  const int tiles = tiles_of(group.n, tile);
  const Group counted = numbered(group, tiles);
  launch(multiply_tiles<T, tile>, dim3(static_cast<unsigned>(counted.total)),
         dim3(threads_of(tile)), kSharedMost, stream, counted, maps_of(group, dtype, tile), guard,
         tiles);
}

template <class T>
void launch_any(const Group& group, DType dtype, Guard guard, cudaStream_t stream) {
  if (group.n <= 64) return launch_tiles<T, 64>(group, dtype, guard, stream);
  if (group.n <= 128 || group.n > kTriangleRows)
    return launch_tiles<T, 128>(group, dtype, guard, stream);
  const Group counted = numbered(group, 1);
  launch(multiply_triangle<T>, dim3(static_cast<unsigned>(counted.total)), dim3(kTriangleThreads),
         kSharedMost, stream, counted, maps_of(group, dtype, kBox), guard);
}

}  // namespace

bool tma_takes(const Matrix& X) { return mappable(X); }

void multiply_tma(const Group& group, DType dtype, Guard guard, cudaStream_t stream) {
  if (dtype == DType::f16)
    launch_any<__half>(group, dtype, guard, stream);
  else if (dtype == DType::bf16)
    launch_any<__nv_bfloat16>(group, dtype, guard, stream);
  else
    PYSCALE_CHECK(false, "the copy engine's kernel multiplies bfloat16 and float16, not ",
                  name_of(dtype));
}

}  // namespace pyscale::cuda
