#include "emulator/shared_memory.h"

#include <cstring>

#include "emulator/fail.h"
#include "emulator/scheduler.h"

namespace pyscale::emulator {
namespace {

constexpr size_t kGuard = 4096;  // bytes beyond the block's that must stay untouched
constexpr size_t kArena = kMostShared + kGuard;
constexpr size_t kWord = 16;
alignas(1024) unsigned char threads_arena[kArena];
alignas(1024) unsigned char async_arena[kArena];

}  // namespace

SharedMemory::SharedMemory() : threads_view_(threads_arena), async_view_(async_arena) {}

void SharedMemory::begin(size_t bytes) {
  bytes_ = bytes;
  std::memset(threads_view_, kPoison, bytes + kGuard);
  std::memset(async_view_, kPoison, bytes);
}

void SharedMemory::end() const {
  // All equal to the first, and the first untouched.
  const unsigned char* rest = threads_view_ + bytes_;
  if (rest[0] != kPoison || std::memcmp(rest, rest + 1, kGuard - 1) != 0)
    fail("the block wrote beyond the ", bytes_,
         " bytes of shared memory that it was launched with");
}

uint32_t SharedMemory::offset(const void* address, size_t bytes, size_t alignment,
                              const char* what) const {
  const auto at = reinterpret_cast<uintptr_t>(address);
  const auto begin = reinterpret_cast<uintptr_t>(threads_view_);
  if (at < begin || at >= begin + kArena) fail(what, ": the address is not in shared memory");
  check(at - begin, bytes, alignment, what);
  return static_cast<uint32_t>(at - begin);
}

void SharedMemory::check(uint64_t offset, size_t bytes, size_t alignment, const char* what) const {
  if (offset + bytes > bytes_)
    fail(what, ": bytes ", offset, " to ", offset + bytes,
         " of shared memory, of which the launch gave ", bytes_);
  if (offset % alignment != 0)
    fail(what, ": shared memory + ", offset, " is misaligned, expected a multiple of ", alignment);
}

void SharedMemory::store(Thread& thread, void* to, const void* sixteen_bytes) {
  const uint32_t at = offset(to, kWord, kWord, "store_shared");
  std::memcpy(threads_view_ + at, sixteen_bytes, kWord);
  std::memset(async_view_ + at, kPoison, kWord);
  thread.unfenced.push_back(at);
}

void SharedMemory::fence(Thread& thread) {
  for (const uint32_t at : thread.unfenced)
    std::memcpy(async_view_ + at, threads_view_ + at, kWord);
  thread.unfenced.clear();
}

void SharedMemory::poison(uint32_t offset, size_t bytes) {
  std::memset(threads_view_ + offset, kPoison, bytes);
  std::memset(async_view_ + offset, kPoison, bytes);
}

void SharedMemory::write(uint32_t offset, const void* from, size_t bytes) {
  std::memcpy(threads_view_ + offset, from, bytes);
  std::memcpy(async_view_ + offset, from, bytes);
}

}  // namespace pyscale::emulator
