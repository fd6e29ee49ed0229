// Barriers, shuffles and atomics of the emulator, in kernels as small as can be.
#include <cuda_runtime.h>

#include "cuda/launch.h"
#include "cuda/ptx.h"
#include "emulator/selftest/selftest.h"

namespace pyscale::selftest {
namespace {

constexpr unsigned kLanes = 32;
constexpr unsigned kThreads = 256;
constexpr unsigned kWarps = kThreads / kLanes;
constexpr unsigned kAll = 0xFFFFFFFF;

// ---- kernels ----

__device__ float warp_sum(float value) {
  for (int apart = 16; apart > 0; apart /= 2) value += __shfl_xor_sync(kAll, value, apart);
  return value;
}

__global__ void __launch_bounds__(kThreads) sum_rows(double* out,     // (blocks)
                                                     const float* X,  // (blocks, kThreads)
                                                     Bug bug) {
  float* sums = reinterpret_cast<float*>(cuda::shared_memory());  // (kWarps)
  const unsigned warp = threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
  const float x = X[blockIdx.x * kThreads + threadIdx.x];
  if (bug == Bug::missing_warp && warp == 3) return;
  if (bug == Bug::partial_shuffle && threadIdx.x == 70) return;
  if (bug == Bug::misaligned_load) __ldg(reinterpret_cast<const float4*>(X + 1));
  const float sum = warp_sum(x);
  if (lane == 0) sums[warp] = sum;
  if (bug == Bug::shared_overrun && threadIdx.x == 0) sums[kWarps] = 0;
  if (bug == Bug::unequal_barrier && warp < kWarps / 2)
    cuda::named_barrier(0, kThreads / 2);
  else if (bug != Bug::no_syncthreads)
    __syncthreads();
  if (warp > 0) return;
  const float total = warp_sum(lane < kWarps ? sums[lane] : 0.0F);
  if (lane == 0) out[blockIdx.x] = static_cast<double>(total);
}

__global__ void __launch_bounds__(kLanes) shuffle_all(double* out) {  // (4, kLanes)
  const int lane = static_cast<int>(threadIdx.x);
  const double mine = 100 + lane;
  out[lane] = __shfl_xor_sync(kAll, mine, 5);
  out[kLanes + threadIdx.x] = __shfl_down_sync(kAll, mine, 3);
  out[2 * kLanes + threadIdx.x] = static_cast<double>(__shfl_up_sync(kAll, 100 + lane, 2));
  out[3 * kLanes + threadIdx.x] =
      static_cast<double>(__shfl_sync(kAll, static_cast<float>(mine), lane + 7, 8));
}

constexpr int kRelay = 64;  // threads that give, and that take

// Barrier 1: the numbers are there; barrier 2: they have been read.
__global__ void __launch_bounds__(2 * kRelay) relay_sums(double* out,  // (kRelay)
                                                         int rounds, Bug bug) {
  double* numbers = reinterpret_cast<double*>(cuda::shared_memory());  // (kRelay)
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < kRelay) {
    for (int round = 0; round < rounds; ++round) {
      if (round > 0 && bug != Bug::early_release) cuda::named_barrier(2, 2 * kRelay);
      numbers[thread] = round * kRelay + thread;
      cuda::named_barrier(1, 2 * kRelay);
    }
    cuda::named_barrier(2, 2 * kRelay);
  } else {
    double sum = 0;
    for (int round = 0; round < rounds; ++round) {
      if (bug != Bug::no_full_wait) cuda::named_barrier(1, 2 * kRelay);
      sum += numbers[thread - kRelay];
      cuda::named_barrier(2, 2 * kRelay);
    }
    out[thread - kRelay] = sum;
  }
}

__global__ void __launch_bounds__(3 * kLanes)
    count(int* signed_sum, unsigned* unsigned_sum, unsigned long long* long_sum) {
  atomicAdd(signed_sum, -static_cast<int>(threadIdx.x));
  atomicAdd(unsigned_sum, blockIdx.x);
  atomicAdd(long_sum, 1ull << 40);
}

}  // namespace

// ---- launchers ----

void row_sums(Matrix out, Matrix X, Bug bug) {
  check_shape("out", out, 1, X.rows);
  check_shape("X", X, X.rows, kThreads);
  const size_t shared = bug == Bug::too_much_shared ? (227 << 10) + 1 : kWarps * sizeof(float);
  cuda::launch(&sum_rows, static_cast<unsigned>(X.rows), kThreads, shared, nullptr,
               out.row<double>(0), X.row<float>(0), bug);
}

void shuffles(Matrix out) {
  check_shape("out", out, 4, kLanes);
  cuda::launch(&shuffle_all, 1, kLanes, 0, nullptr, out.row<double>(0));
}

void relay(Matrix out, int64_t rounds, Bug bug) {
  check_shape("out", out, 1, kRelay);
  cuda::launch(&relay_sums, 1, 2 * kRelay, kRelay * sizeof(double), nullptr, out.row<double>(0),
               static_cast<int>(rounds), bug);
}

void counts(Matrix out) {
  check_shape("out", out, 1, 3);
  int signed_sum = 0;
  unsigned unsigned_sum = 0;
  unsigned long long long_sum = 0;
  cuda::launch(&count, 4, 3 * kLanes, 0, nullptr, &signed_sum, &unsigned_sum, &long_sum);
  double* sums = out.row<double>(0);
  sums[0] = signed_sum;
  sums[1] = unsigned_sum;
  sums[2] = static_cast<double>(long_sum);
}

}  // namespace pyscale::selftest
