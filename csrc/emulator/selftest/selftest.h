// Small kernels that test the emulator: each does one thing with the instructions the engine uses,
// and can be given one bug.
#pragma once

#include <cstdint>

#include "core/matrix.h"

namespace pyscale::selftest {

enum class Bug : int {
  none,
  // threads
  no_syncthreads,
  unequal_barrier,  // half of the threads expect fewer of them
  missing_warp,     // one warp never comes to the barrier
  partial_shuffle,  // one lane skips a shuffle
  shared_overrun,   // a write beyond the shared memory of the launch
  too_much_shared,  // a launch with more than the device has
  misaligned_load,  // 16 bytes from an address that is no multiple of 16
  // staged products
  no_full_wait,   // multiplies before the tile has landed
  early_release,  // hands the stage back before its products are done
  no_wgmma_wait,  // reads the sums too early
  no_wgmma_fence,
  no_init_fence,    // the copy engine has not been told of the barriers
  over_arrival,     // one arrival too many
  too_many_bytes,   // expects bytes that never come
  missing_release,  // never hands a stage back
  misaligned_tile,
  no_swizzle,          // a tile as it lies in memory
  bad_descriptor,      // groups of eight rows at half of their distance
  unlike_descriptors,  // the lanes of a warpgroup disagree
  lone_setmaxnreg,     // three of a warpgroup's four warps
  too_many_registers,
  // stored operands
  no_proxy_fence,
  misaligned_store,
  store_overrun,
};

// ---- threads.cu ----

// out (1, blocks) float64 := the sums of X's rows (blocks, 256) float32, by shuffles and a barrier.
void row_sums(Matrix out, Matrix X, Bug bug);
// out (4, 32) float64: what lane l gets of the others' 100 + lane by xor 5, down 3, up 2 and index
// (lane + 7) mod 32 in segments of 8.
void shuffles(Matrix out);
// out (1, 64) float64: 64 threads hand numbers in turn to 64 others through two named barriers, and
// these write their running sums.
void relay(Matrix out, int64_t rounds, Bug bug);
// out (1, 3) float64: sums by atomicAdd of int, unsigned and unsigned long long over 4 blocks
// of 96.
void counts(Matrix out);

// ---- warp_products.cu, tile_product.cu, stored_product.cu ----

// D (16, 8) float32 += A (16, 16) B (8, 16)^T of bfloat16 or float16, by ldmatrix and mma.sync.
void warp_product(Matrix D, Matrix A, Matrix B);
// D (8, 8) float64 += A (8, 4) B (8, 4)^T.
void warp_product_exact(Matrix D, Matrix A, Matrix B);
// D (64, N) float32 := A (at most 64, p) B (at most N, p)^T of bfloat16 or float16, N = 64, 128,
// 192 or 256: tiles by TMA through two stages, multiplied by wgmma. Rows that A and B lack are 0.
void tile_product(Matrix D, Matrix A, Matrix B, Bug bug);
// The same for N = 64 with tiles that threads store.
void stored_product(Matrix D, Matrix A, Matrix B, Bug bug);

}  // namespace pyscale::selftest
