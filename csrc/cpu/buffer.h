// Scratch memory for vector code: aligned to a cache line, and untouched, so that the thread that
// uses a page first is the one that gets it near.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>

#include "core/error.h"
#include "cpu/pages.h"

namespace pyscale::cpu {

constexpr std::align_val_t kCacheLine{64};

struct FreeBuffer {
  void operator()(void* memory) const { ::operator delete(memory, kCacheLine); }
};

template <class T>
using Buffer = std::unique_ptr<T[], FreeBuffer>;

// `what` is the buffer's name in the message of an OutOfMemory. Nothing may have been written to an
// output before: memory that is not to be had must leave outputs as they were.
template <class T>
Buffer<T> make_buffer(int64_t count, const char* what = "a workspace") {
  static_assert(std::is_trivial_v<T>, "elements are neither constructed nor destroyed");
  constexpr int64_t most = std::numeric_limits<int64_t>::max() / static_cast<int64_t>(sizeof(T));
  if (count < 0 || count > most) throw OutOfMemory(std::numeric_limits<int64_t>::max(), what);
  const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
  void* memory = ::operator new(static_cast<size_t>(bytes), kCacheLine, std::nothrow);
  if (memory == nullptr) throw OutOfMemory(bytes, what);
  prefer_huge_pages(memory, bytes);
  return Buffer<T>(static_cast<T*>(memory));
}

}  // namespace pyscale::cpu
