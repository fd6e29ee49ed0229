// The matrix instructions of a warp: one fragment each, laid out as the engine lays them out.
#include "cuda/launch.h"
#include "cuda/ptx.h"
#include "emulator/selftest/selftest.h"

namespace pyscale::selftest {
namespace {

constexpr int kLanes = 32;
constexpr int kDepth = 16;
constexpr int kRowBytes = kDepth * 2;

// ---- kernels ----

// Each lane stages 8 of A's numbers; the first sixteen 8 of B's.
template <class T>
__global__ void __launch_bounds__(kLanes) multiply(float* D,      // (16, 8)
                                                   const T* A,    // (16, kDepth)
                                                   const T* B) {  // (8, kDepth)
  unsigned char* left = cuda::shared_memory();
  unsigned char* right = left + 16 * kRowBytes;
  const int lane = static_cast<int>(threadIdx.x);
  cuda::store_shared(left + lane * 16, reinterpret_cast<const uint4*>(A)[lane]);
  if (lane < 16) cuda::store_shared(right + lane * 16, reinterpret_cast<const uint4*>(B)[lane]);
  __syncwarp();

  uint32_t a[4], b[4];
  cuda::load_matrices(a, left + lane % 16 * kRowBytes + lane / 16 * 16);
  cuda::load_matrices(b, right + lane % 8 * kRowBytes + lane / 8 % 2 * 16);
  const uint32_t columns[2] = {b[0], b[1]};
  float* cell = D + lane / 4 * 8 + lane % 4 * 2;
  float d[4] = {cell[0], cell[1], cell[64], cell[65]};
  cuda::mma_16x8x16<T>(d, a, columns);
  cell[0] = d[0];
  cell[1] = d[1];
  cell[64] = d[2];
  cell[65] = d[3];
}

__global__ void __launch_bounds__(kLanes) multiply_exact(double* D,          // (8, 8)
                                                         const double* A,    // (8, 4)
                                                         const double* B) {  // (8, 4)
  const int lane = static_cast<int>(threadIdx.x);
  double d[2] = {D[2 * lane], D[2 * lane + 1]};
  cuda::mma_8x8x4(d, A[lane], B[lane]);
  D[2 * lane] = d[0];
  D[2 * lane + 1] = d[1];
}

}  // namespace

// ---- launchers ----

void warp_product(Matrix D, Matrix A, Matrix B) {
  check_shape("D", D, 16, 8);
  check_shape("A", A, 16, kDepth);
  check_shape("B", B, 8, kDepth);
  const size_t shared = 24 * kRowBytes;
  if (A.dtype == DType::bf16)
    cuda::launch(&multiply<__nv_bfloat16>, 1, kLanes, shared, nullptr, D.row<float>(0),
                 A.row<__nv_bfloat16>(0), B.row<__nv_bfloat16>(0));
  else
    cuda::launch(&multiply<__half>, 1, kLanes, shared, nullptr, D.row<float>(0), A.row<__half>(0),
                 B.row<__half>(0));
}

void warp_product_exact(Matrix D, Matrix A, Matrix B) {
  check_shape("D", D, 8, 8);
  check_shape("A", A, 8, 4);
  check_shape("B", B, 8, 4);
  cuda::launch(&multiply_exact, 1, kLanes, 0, nullptr, D.row<double>(0), A.row<double>(0),
               B.row<double>(0));
}

}  // namespace pyscale::selftest
