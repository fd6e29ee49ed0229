// Tiles that threads store for wgmma, instead of TMA: 64 threads write, a warpgroup multiplies.
#include "cuda/launch.h"
#include "cuda/ptx.h"
#include "emulator/selftest/selftest.h"

namespace pyscale::selftest {
namespace {

constexpr int kRows = 64;
constexpr int kChunk = 64;
constexpr int kRowBytes = 2 * kChunk;
constexpr int kTileBytes = kRows * kRowBytes;
constexpr int kWarpgroup = 128;
constexpr int kThreads = 2 * kWarpgroup;
constexpr int kStagedBytes = 2 * kTileBytes;  // one stage: A's tile, then B's
constexpr int kBytes = kStagedBytes + 2 * 8;

// ---- kernels ----

// Row `row` of a tile, 0 where X ends.
__device__ void store_row(unsigned char* tile, const Matrix& X, int row, int chunk, Bug bug) {
  const uint16_t* numbers = static_cast<const uint16_t*>(X.data) + row * X.pitch;
  for (int piece = 0; piece < 8; ++piece) {
    uint16_t eight[8];
    for (int e = 0; e < 8; ++e) {
      const int64_t k = int64_t{chunk} * kChunk + piece * 8 + e;
      eight[e] = row < X.rows && k < X.columns ? numbers[k] : uint16_t{0};
    }
    uint4 words;
    memcpy(&words, eight, sizeof(words));
    const int place = bug == Bug::no_swizzle ? piece : piece ^ (row % 8);
    cuda::store_shared(tile + row * kRowBytes + place * 16 + (bug == Bug::misaligned_store ? 8 : 0),
                       words);
  }
}

__device__ uint64_t descriptor(uint32_t address) {
  return uint64_t{1} << 62 | uint64_t{1024 >> 4} << 32 | address >> 4;
}

__global__ void __launch_bounds__(kThreads)
    stored_tiles(float* D,            // (kRows, kRows)
                 Matrix A, Matrix B,  // (at most kRows, p) bfloat16
                 int chunks, Bug bug) {
  unsigned char* memory = cuda::shared_memory();
  uint64_t* full = reinterpret_cast<uint64_t*>(memory + kStagedBytes);
  uint64_t* empty = full + 1;
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    cuda::barrier_init(full, kRows);
    cuda::barrier_init(empty, 1);
  }
  __syncthreads();
  if (thread >= kWarpgroup) {
    const int row = thread - kWarpgroup;
    for (int i = 0; i < chunks && row < kRows; ++i) {
      cuda::barrier_wait(empty, static_cast<uint32_t>(i + 1) % 2);
      store_row(memory, A, row, i, bug);
      store_row(memory + kTileBytes + (bug == Bug::store_overrun ? kRowBytes : 0), B, row, i, bug);
      if (bug != Bug::no_proxy_fence) cuda::fence_async();
      cuda::barrier_arrive(full);
    }
    return;
  }
  float acc[kRows / 2] = {};
  for (int i = 0; i < chunks; ++i) {
    cuda::barrier_wait(full, static_cast<uint32_t>(i) % 2);
    const uint32_t rows = cuda::shared_address(memory);
    cuda::wgmma_fence();
    for (uint32_t step = 0; step < kChunk / 16; ++step)
      cuda::wgmma<__nv_bfloat16, kRows>(acc, descriptor(rows + 32 * step),
                                        descriptor(rows + kTileBytes + 32 * step));
    cuda::wgmma_commit();
    if (bug == Bug::early_release && thread == 0) cuda::barrier_arrive(empty);
    cuda::wgmma_wait<0>();
    if (bug != Bug::early_release && thread == 0) cuda::barrier_arrive(empty);
  }
  const int row = thread / 32 * 16 + thread % 32 / 4, column = thread % 4 * 2;
  for (int e = 0; e < kRows / 2; ++e)
    D[(row + e / 2 % 2 * 8) * kRows + e / 4 * 8 + column + e % 2] = acc[e];
}

}  // namespace

// ---- launchers ----

void stored_product(Matrix D, Matrix A, Matrix B, Bug bug) {
  check_shape("D", D, kRows, kRows);
  const int chunks = static_cast<int>((A.columns + kChunk - 1) / kChunk);
  cuda::launch(&stored_tiles, 1, kThreads, kBytes, nullptr, D.row<float>(0), A, B, chunks, bug);
}

}  // namespace pyscale::selftest
