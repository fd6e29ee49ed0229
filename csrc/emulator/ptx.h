// The emulator's models of the PTX instructions that cuda/ptx.h wraps, under the same names.
#pragma once

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "emulator/block.h"
#include "emulator/fail.h"
#include "emulator/warp_matrix.h"

namespace pyscale::cuda {

template <class T>
constexpr emulator::Half half_type() {
  static_assert(std::is_same_v<T, __nv_bfloat16> || std::is_same_v<T, __half>);
  return std::is_same_v<T, __half> ? emulator::Half::float16 : emulator::Half::bfloat16;
}

// ---- any GPU from sm_80 on ----

// Here kernels run one after the other.
inline void follow_stream() {}

inline unsigned char* shared_memory() { return emulator::block.shared.data(); }

inline uint32_t shared_address(const void* pointer) {
  return emulator::block.shared.offset(pointer, 0, 1, "shared_address");
}

inline void store_shared(void* to, uint4 value) {
  emulator::block.shared.store(emulator::block.thread(), to, &value);
}

inline void named_barrier(int id, int threads) {
  if (id < 0 || id >= emulator::kBarriers)
    emulator::fail("named_barrier ", id, ": expected 0 to ", emulator::kBarriers - 1);
  emulator::block.barriers[static_cast<size_t>(id)].arrive_and_wait(static_cast<unsigned>(threads));
}

inline void load_matrices(uint32_t (&r)[4], const void* row) { emulator::load_matrices(r, row); }

// There is no cache, so its policies say nothing.
inline uint64_t evict_first() { return 0; }
inline uint64_t evict_normal() { return 0; }
inline uint4 load_constant(const uint4* from, uint64_t) { return __ldg(from); }

template <class T>
void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulator::mma_16x8x16(half_type<T>(), d, a, b);
}

inline void mma_8x8x4(double (&d)[2], double a, double b) { emulator::mma_8x8x4(d, a, b); }

inline void mma_16x8x4(double (&above)[2], double (&below)[2], double a_above, double a_below,
                       double b) {
  mma_8x8x4(above, a_above, b);
  mma_8x8x4(below, a_below, b);
}

// ---- Hopper ----

inline emulator::Block& hopper(const char* instruction) {
  const int capability = emulator::block.options.capability;
  if (capability != 90)
    emulator::fail(instruction, " on a device of compute capability ", capability / 10, ".",
                   capability % 10, "; it needs 9.0");
  return emulator::block;
}

inline void barrier_init(uint64_t* b, uint32_t arrivals) {
  hopper("mbarrier").transactions.init(b, arrivals);
}

inline void fence_barrier_init() {
  emulator::Block& block = hopper("fence.mbarrier_init");
  block.transactions.publish(block.thread().id);
}

inline void barrier_expect(uint64_t* b, uint32_t bytes) {
  emulator::Block& block = hopper("mbarrier");
  emulator::TransactionBarrier& barrier = block.transactions.at(b, "barrier_expect");
  barrier.expect(bytes);
  barrier.arrive();
  block.scheduler.pause();
}

inline void barrier_arrive(uint64_t* b) {
  emulator::Block& block = hopper("mbarrier");
  block.transactions.at(b, "barrier_arrive").arrive();
  block.scheduler.pause();
}

inline void barrier_wait(uint64_t* b, uint32_t parity) {
  hopper("mbarrier").transactions.at(b, "barrier_wait").wait_for(parity);
}

inline void fence_async() {
  emulator::Block& block = hopper("fence.proxy.async");
  block.shared.fence(block.thread());
  block.scheduler.pause();
}

inline void load_tile(void* to, const CUtensorMap* map, uint64_t* b, int column, int row,
                      uint64_t /*policy*/) {
  emulator::Block& block = hopper("cp.async.bulk.tensor");
  block.loads.issue(to, map, b, column, row);
  block.scheduler.pause();
}

inline void prefetch_map(const CUtensorMap*) { hopper("prefetch.tensormap"); }

inline void wgmma_fence() {
  emulator::Block& block = hopper("wgmma.fence");
  block.warpgroup().fence(block.thread());
}

inline void wgmma_commit() {
  emulator::Block& block = hopper("wgmma.commit_group");
  block.warpgroup().commit(block.thread());
  block.scheduler.pause();
}

template <int N>
void wgmma_wait() {
  static_assert(N >= 0 && N < 8);
  emulator::Block& block = hopper("wgmma.wait_group");
  block.warpgroup().wait(block.thread(), N);
}

template <class T, int N>
void wgmma(float (&acc)[N / 2], uint64_t a, uint64_t b) {
  static_assert(N % 8 == 0 && N >= 8 && N <= emulator::kMostColumns);
  emulator::Block& block = hopper("wgmma");
  block.warpgroup().multiply(block.thread(), half_type<T>(), acc, N, a, b);
}

template <int R>
void registers_increase() {
  emulator::Block& block = hopper("setmaxnreg");
  block.warpgroup().set_registers(block.thread(), R, true);
}

template <int R>
void registers_decrease() {
  emulator::Block& block = hopper("setmaxnreg");
  block.warpgroup().set_registers(block.thread(), R, false);
}

}  // namespace pyscale::cuda
