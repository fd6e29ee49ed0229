// A block's shared memory, twice: as threads see it, and as the asynchronous proxy (wgmma) does.
// TMA writes both. What a thread stores reaches the second only by its fence_async(), so a missing
// fence shows. All of it begins as NaN, and bytes that are being written are NaN until they are.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyscale::emulator {

struct Thread;

constexpr size_t kMostShared = 227 << 10;     // of a block of compute capability 9.0
constexpr uint32_t kSwizzleAlignment = 1024;  // of a tile in the 128-byte swizzle
constexpr unsigned char kPoison = 0xFF;       // NaN in every floating type

// Where a byte of a tile of 128-byte rows lies in the 128-byte swizzle: the 16-byte pieces of a row
// are permuted by the row's number modulo 8.
constexpr uint32_t swizzle128(uint32_t offset) { return offset ^ (offset >> 7 & 7) << 4; }
static_assert(swizzle128(0x80) == 0x90 && swizzle128(0x3F0) == 0x380);

class SharedMemory {
 public:
  SharedMemory();

  // A new block's memory, poisoned.
  void begin(size_t bytes);
  // Fails if the block wrote beyond it.
  void end() const;

  unsigned char* data() { return threads_view_; }
  const unsigned char* asynchronous() const { return async_view_; }

  // Where `address` lies; fails unless all `bytes` lie within the block's memory, aligned. `what`
  // names the access.
  uint32_t offset(const void* address, size_t bytes, size_t alignment, const char* what) const;
  // The same for an offset.
  void check(uint64_t offset, size_t bytes, size_t alignment, const char* what) const;

  // store_shared and fence_async of a thread.
  void store(Thread& thread, void* to, const void* sixteen_bytes);
  void fence(Thread& thread);

  // Writes by TMA: first the poison, when the copy begins, later the bytes.
  void poison(uint32_t offset, size_t bytes);
  void write(uint32_t offset, const void* from, size_t bytes);

 private:
  size_t bytes_ = 0;
  unsigned char* threads_view_;
  unsigned char* async_view_;
};

}  // namespace pyscale::emulator
