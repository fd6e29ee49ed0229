// The life of a tile: fetched by TMA into a ring of stages, multiplied by wgmma, its stage handed
// back. One warpgroup multiplies, one thread of another fetches; every step can be got wrong.
#include <cuda.h>

#include "cuda/launch.h"
#include "cuda/ptx.h"
#include "emulator/selftest/selftest.h"

namespace pyscale::selftest {
namespace {

constexpr int kRows = 64;
constexpr int kChunk = 64;  // of the depth, 128 bytes
constexpr int kRowBytes = 2 * kChunk;
constexpr int kStages = 2;
constexpr int kWarpgroup = 128;
constexpr int kThreads = 2 * kWarpgroup;

// ---- kernels ----

template <int N>
struct Ring {
  static constexpr int kStageBytes = (kRows + N) * kRowBytes;
  static constexpr int kBytes = kStages * kStageBytes + 2 * kStages * 8;

  unsigned char* memory = cuda::shared_memory();
  uint64_t* full = reinterpret_cast<uint64_t*>(memory + kStages * kStageBytes);
  uint64_t* empty = full + kStages;

  __device__ unsigned char* stage(int i) const { return memory + i % kStages * kStageBytes; }
  __device__ static uint32_t parity(int i) { return static_cast<uint32_t>(i / kStages % 2); }
};

__device__ uint64_t descriptor(uint32_t address, Bug bug) {
  const uint64_t stride = bug == Bug::bad_descriptor ? 512 : 1024;
  return uint64_t{1} << 62 | (stride >> 4) << 32 | address >> 4;
}

// The thread that fetches.
template <int N>
__device__ void fetch(const Ring<N>& ring, const CUtensorMap* A, const CUtensorMap* B, int chunks,
                      Bug bug) {
  const uint64_t policy = cuda::evict_normal();
  for (int i = 0; i < chunks; ++i) {
    cuda::barrier_wait(ring.empty + i % kStages, Ring<N>::parity(i) ^ 1);
    uint64_t* full = ring.full + i % kStages;
    const uint32_t extra = bug == Bug::too_many_bytes ? 16 : 0;
    cuda::barrier_expect(full, Ring<N>::kStageBytes + extra);
    if (bug == Bug::over_arrival) cuda::barrier_arrive(full);
    unsigned char* to = ring.stage(i) + (bug == Bug::misaligned_tile ? 512 : 0);
    cuda::load_tile(to, A, full, i * kChunk, 0, policy);
    cuda::load_tile(to + kRows * kRowBytes, B, full, i * kChunk, 0, policy);
  }
}

// The warpgroup that multiplies.
template <class T, int N>
__device__ void multiply(const Ring<N>& ring, float (&acc)[N / 2], int chunks, Bug bug) {
  const bool first = threadIdx.x == 0;
  for (int i = 0; i < chunks; ++i) {
    uint64_t* empty = ring.empty + i % kStages;
    if (bug != Bug::no_full_wait) cuda::barrier_wait(ring.full + i % kStages, Ring<N>::parity(i));
    const uint32_t rows = cuda::shared_address(ring.stage(i));
    const uint32_t skip = bug == Bug::unlike_descriptors && threadIdx.x == 40 ? 32 : 0;
    if (bug != Bug::no_wgmma_fence) cuda::wgmma_fence();
    for (uint32_t step = 0; step < kChunk / 16; ++step)
      cuda::wgmma<T, N>(acc, descriptor(rows + 32 * step + skip, bug),
                        descriptor(rows + kRows * kRowBytes + 32 * step, bug));
    cuda::wgmma_commit();
    if (bug == Bug::early_release && first) cuda::barrier_arrive(empty);
    if (bug != Bug::no_wgmma_wait) cuda::wgmma_wait<0>();
    if (bug != Bug::early_release && bug != Bug::missing_release && first)
      cuda::barrier_arrive(empty);
  }
}

template <class T, int N>
__global__ void __launch_bounds__(2 * kThreads)
    tiles(float* D,  // (kRows, N)
          const __grid_constant__ CUtensorMap A, const __grid_constant__ CUtensorMap B, int chunks,
          Bug bug) {
  const Ring<N> ring;
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    for (int s = 0; s < kStages; ++s) {
      cuda::barrier_init(ring.full + s, 1);
      cuda::barrier_init(ring.empty + s, 1);
    }
    if (bug != Bug::no_init_fence) cuda::fence_barrier_init();
  }
  __syncthreads();
  if (thread >= kThreads) {  // two more warpgroups, for the bug alone
    cuda::registers_increase<256>();
    return;
  }
  if (thread >= kWarpgroup) {
    if (bug != Bug::lone_setmaxnreg || thread < kThreads - 32) cuda::registers_decrease<40>();
    if (thread == kWarpgroup) fetch<N>(ring, &A, &B, chunks, bug);
    return;
  }
  cuda::registers_increase<232>();
  float acc[N / 2] = {};
  multiply<T, N>(ring, acc, chunks, bug);
  const int row = thread / 32 * 16 + thread % 32 / 4, column = thread % 4 * 2;
  for (int e = 0; e < N / 2; ++e)
    D[(row + e / 2 % 2 * 8) * N + e / 4 * 8 + column + e % 2] = acc[e];
}

// ---- launchers ----

template <class T>
CUtensorMap encode(const Matrix& X, int rows, Bug bug) {
  void* function = nullptr;
  PYSCALE_CUDA_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                                      cudaEnableDefault));
  const auto encoder = reinterpret_cast<CUresult (*)(
      CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*,
      const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
      CUtensorMapL2promotion, CUtensorMapFloatOOBfill)>(function);
  const cuuint64_t size[2] = {static_cast<cuuint64_t>(X.columns), static_cast<cuuint64_t>(X.rows)};
  const cuuint64_t pitch[1] = {static_cast<cuuint64_t>(X.pitch) * sizeof(T)};
  const cuuint32_t box[2] = {kChunk, static_cast<cuuint32_t>(rows)}, steps[2] = {1, 1};
  CUtensorMap map;
  const CUresult result =
      encoder(&map,
              std::is_same_v<T, __half> ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                        : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
              2, X.data, size, pitch, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
              bug == Bug::no_swizzle ? CU_TENSOR_MAP_SWIZZLE_NONE : CU_TENSOR_MAP_SWIZZLE_128B,
              CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  PYSCALE_CHECK(result == CUDA_SUCCESS, "the tensor map was refused: ", static_cast<int>(result));
  return map;
}

template <class T, int N>
void run(const Matrix& D, const Matrix& A, const Matrix& B, Bug bug) {
  check_shape("D", D, kRows, N);
  const int chunks = static_cast<int>((A.columns + kChunk - 1) / kChunk);
  const int threads = bug == Bug::too_many_registers ? 2 * kThreads : kThreads;
  // 512 bytes more than needed, so that a misaligned tile stays inside.
  cuda::launch(&tiles<T, N>, 1, threads, Ring<N>::kBytes + 512, nullptr, D.row<float>(0),
               encode<T>(A, kRows, bug), encode<T>(B, N, bug), chunks, bug);
}

template <class T>
void run(const Matrix& D, const Matrix& A, const Matrix& B, Bug bug) {
  switch (D.columns) {
    case 64:
      return run<T, 64>(D, A, B, bug);
    case 128:
      return run<T, 128>(D, A, B, bug);
    case 192:
      return run<T, 192>(D, A, B, bug);
    default:
      return run<T, 256>(D, A, B, bug);
  }
}

}  // namespace

void tile_product(Matrix D, Matrix A, Matrix B, Bug bug) {
  if (A.dtype == DType::f16)
    run<__half>(D, A, B, bug);
  else
    run<__nv_bfloat16>(D, A, B, bug);
}

}  // namespace pyscale::selftest
