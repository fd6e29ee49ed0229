// One thin wrapper for each PTX instruction the engine uses; the only file with inline assembly.
//
// In emulated builds the wrappers are models of the instructions (emulator/ptx.h) that do the same
// to the fibers of the emulator. Those that need Hopper exist where PYSCALE_HOPPER is defined: for
// sm_90a and in the emulator; kernels that call them leave their bodies empty elsewhere.
#pragma once

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

// nvcc's pass over the host's code sees every kernel too, with its body.
#if defined(PYSCALE_EMULATED) || defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDA_ARCH__)
#define PYSCALE_HOPPER 1
#endif

namespace pyscale::cuda {

constexpr int kWarp = 32;        // threads that most instructions below are for
constexpr int kWarpgroup = 128;  // and Hopper's products

}  // namespace pyscale::cuda

#ifdef PYSCALE_EMULATED
#include "emulator/ptx.h"
#else

namespace pyscale::cuda {

// ---- the grid ----

// Every kernel's first call. The next kernel of the stream may be brought to the multiprocessors
// from here on, while this one still works; what comes after the call waits until all kernels
// before are done and their writes seen. So only the launches overlap, not the work.
__device__ __forceinline__ void follow_stream() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;\ngriddepcontrol.wait;" ::: "memory");
#endif
}

// ---- shared memory ----

// The dynamic shared memory of the block, 1024-byte aligned.
__device__ __forceinline__ unsigned char* shared_memory() {
  extern __shared__ __align__(1024) unsigned char arena[];
  return arena;
}

// The address in the 32-bit window of shared memory.
__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Ordinary writes of what wgmma will read all go through this one.
__device__ __forceinline__ void store_shared(void* to, uint4 value) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(to)), "r"(value.x),
               "r"(value.y), "r"(value.z), "r"(value.w)
               : "memory");
}

// Waits until `threads` threads, whole warps, have come to barrier `id`.
__device__ __forceinline__ void named_barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// ---- the second-level cache ----

// Lines of loads with this policy make room before others: for what is read once.
__device__ __forceinline__ uint64_t evict_first() {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0;" : "=l"(policy));
  return policy;
}

// What loads without a policy do.
__device__ __forceinline__ uint64_t evict_normal() {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_normal.b64 %0;" : "=l"(policy));
  return policy;
}

// 16 bytes of what no kernel writes meanwhile. Volatile, so that it stays where it is written:
// ahead of its use.
__device__ __forceinline__ uint4 load_constant(const uint4* from, uint64_t policy) {
  uint4 value;
  asm volatile("ld.global.nc.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(from), "l"(policy));
  return value;
}

// ---- mma.sync: any GPU from sm_80 on ----

// Four 8 x 8 matrices of 16-bit numbers: lane l gives the address of row l % 8 of matrix l / 8, and
// gets of each matrix the numbers 2 (l % 4) and the next in row l / 4.
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

#define PYSCALE_MMA(TYPE)                                                             \
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." TYPE "." TYPE                 \
               ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                       \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))

// d (16, 8) += a (16, 16) b (16, 8), in float32.
template <class T>
__device__ __forceinline__ void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4],
                                            const uint32_t (&b)[2]) {
  if constexpr (std::is_same_v<T, __half>)
    PYSCALE_MMA("f16");
  else
    PYSCALE_MMA("bf16");
}
#undef PYSCALE_MMA

// d (8, 8) += a (8, 4) b (4, 8), in float64 with IEEE rounding.
__device__ __forceinline__ void mma_8x8x4(double (&d)[2], double a, double b) {
  asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
               : "+d"(d[0]), "+d"(d[1])
               : "d"(a), "d"(b));
}

// d (16, 8) += a (16, 4) b (4, 8): the rows 0 to 7 above the rows 8 to 15, each as mma_8x8x4 has
// them. From sm_90 on it is one instruction, and two leave much of the tensor cores' rate unused.
__device__ __forceinline__ void mma_16x8x4(double (&above)[2], double (&below)[2], double a_above,
                                           double a_below, double b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile(
      "mma.sync.aligned.m16n8k4.row.col.f64.f64.f64.f64 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
      "{%0, %1, %2, %3};"
      : "+d"(above[0]), "+d"(above[1]), "+d"(below[0]), "+d"(below[1])
      : "d"(a_above), "d"(a_below), "d"(b));
#else
  mma_8x8x4(above, a_above, b);
  mma_8x8x4(below, a_below, b);
#endif
}

#ifdef PYSCALE_HOPPER

// ---- mbarriers ----

__device__ __forceinline__ void barrier_init(uint64_t* b, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals)
               : "memory");
}

// Initialised barriers are seen by the copy engine after this.
__device__ __forceinline__ void fence_barrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// Arrives, and has the phase wait for that many bytes of load_tile too.
__device__ __forceinline__ void barrier_expect(uint64_t* b, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)),
               "r"(bytes)
               : "memory");
}

__device__ __forceinline__ void barrier_arrive(uint64_t* b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}

// Returns once the phase of that parity is complete; at once for the phase before the first.
__device__ __forceinline__ void barrier_wait(uint64_t* b, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}" ::"r"(shared_address(b)),
      "r"(parity)
      : "memory");
}

// ---- the asynchronous proxy: the copy engine and wgmma ----

// This thread's earlier writes to shared memory are seen by wgmma and the copy engine after this.
__device__ __forceinline__ void fence_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Copies the box of the map whose first element is (row, column) and tells `b` of its bytes; what
// lies outside of the matrix comes as zeros, and counts.
__device__ __forceinline__ void load_tile(void* to, const CUtensorMap* map, uint64_t* b, int column,
                                          int row, uint64_t policy) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      ".L2::cache_hint [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(shared_address(to)),
      "l"(map), "r"(column), "r"(row), "r"(shared_address(b)), "l"(policy)
      : "memory");
}

__device__ __forceinline__ void prefetch_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// ---- wgmma: called by all threads of a warpgroup ----

// Before the first wgmma, and before one whose accumulators were written otherwise.
__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

// The wgmmas since the last commit are a group.
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Returns once at most N groups are unfinished.
template <int N>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

#define PYSCALE_4(i) "+f"(acc[i]), "+f"(acc[i + 1]), "+f"(acc[i + 2]), "+f"(acc[i + 3])
#define PYSCALE_16(i) PYSCALE_4(i), PYSCALE_4(i + 4), PYSCALE_4(i + 8), PYSCALE_4(i + 12)
#define PYSCALE_32(i) PYSCALE_16(i), PYSCALE_16(i + 16)
#define PYSCALE_NAMES_32                                                 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15" \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define PYSCALE_NAMES_64                                                             \
  PYSCALE_NAMES_32                                                                   \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47" \
  ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define PYSCALE_NAMES_96                                                             \
  PYSCALE_NAMES_64                                                                   \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define PYSCALE_NAMES_128                                                                        \
  PYSCALE_NAMES_96                                                                               \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, " \
  "%127"
// PTX names the operands by number: the accumulators, then the two descriptors.
#define PYSCALE_WGMMA(TYPE, SHAPE, NAMES, A, B, ...)                                             \
  asm volatile("{\n.reg .pred add;\nsetp.eq.u32 add, 0, 0;\nwgmma.mma_async.sync.aligned." SHAPE \
               ".f32." TYPE "." TYPE " {" NAMES "}, " A ", " B ", add, 1, 1, 0, 0;\n}"           \
               : __VA_ARGS__                                                                     \
               : "l"(a), "l"(b))
#define PYSCALE_WGMMAS(TYPE)                                                            \
  if constexpr (N == 64)                                                                \
    PYSCALE_WGMMA(TYPE, "m64n64k16", PYSCALE_NAMES_32, "%32", "%33", PYSCALE_32(0));    \
  else if constexpr (N == 128)                                                          \
    PYSCALE_WGMMA(TYPE, "m64n128k16", PYSCALE_NAMES_64, "%64", "%65", PYSCALE_32(0),    \
                  PYSCALE_32(32));                                                      \
  else if constexpr (N == 192)                                                          \
    PYSCALE_WGMMA(TYPE, "m64n192k16", PYSCALE_NAMES_96, "%96", "%97", PYSCALE_32(0),    \
                  PYSCALE_32(32), PYSCALE_32(64));                                      \
  else                                                                                  \
    PYSCALE_WGMMA(TYPE, "m64n256k16", PYSCALE_NAMES_128, "%128", "%129", PYSCALE_32(0), \
                  PYSCALE_32(32), PYSCALE_32(64), PYSCALE_32(96))

// acc (64, N) += a (64, 16) b (N, 16)^T in float32. Both operands lie in shared memory, where the
// descriptors say; it runs on after the call, until wgmma_wait.
template <class T, int N>
__device__ __forceinline__ void wgmma(float (&acc)[N / 2], uint64_t a, uint64_t b) {
  static_assert(N == 64 || N == 128 || N == 192 || N == 256);
  if constexpr (std::is_same_v<T, __half>) {
    PYSCALE_WGMMAS("f16");
  } else {
    PYSCALE_WGMMAS("bf16");
  }
}

#undef PYSCALE_WGMMAS
#undef PYSCALE_WGMMA
#undef PYSCALE_NAMES_128
#undef PYSCALE_NAMES_96
#undef PYSCALE_NAMES_64
#undef PYSCALE_NAMES_32
#undef PYSCALE_32
#undef PYSCALE_16
#undef PYSCALE_4

// ---- registers: called by all threads of a warpgroup; R a multiple of 8 ----

template <int R>
__device__ __forceinline__ void registers_increase() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(R));
}

template <int R>
__device__ __forceinline__ void registers_decrease() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(R));
}

#endif  // PYSCALE_HOPPER

}  // namespace pyscale::cuda

#endif  // PYSCALE_EMULATED
