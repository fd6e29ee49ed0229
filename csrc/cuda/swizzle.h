// Where a number lies in a staged chunk: rows of kChunk 16-bit numbers, 128 bytes each, in which
// the 16-byte pieces of row r are permuted by r mod 8. It is the 128-byte swizzle of TMA and wgmma;
// ldmatrix, which reads eight rows at once, then touches all 32 banks.
#pragma once

#include <cstdint>

#include "core/triangle.h"
#include "cuda/problem.h"

namespace pyscale::cuda {

constexpr int kPieces = 8;  // pieces of 16 bytes, eight numbers, in a row of a chunk
constexpr int kRowBytes = 2 * kChunk;
static_assert(kRowBytes == 16 * kPieces);

// Byte offset of piece `piece` of row `row` from the chunk's start, which is 1024-byte aligned.
PYSCALE_HOST_DEVICE constexpr int swizzled(int row, int piece) {
  return row * kRowBytes + ((piece ^ (row % kPieces)) << 4);
}
static_assert(swizzled(0, 3) == 48 && swizzled(1, 0) == 128 + 16 && swizzled(9, 1) == 9 * 128);

}  // namespace pyscale::cuda
