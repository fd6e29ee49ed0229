// Scratch memory for vector code: aligned to a cache line, and untouched, so that the thread that
// uses a page first is the one that gets it near.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

namespace pyscale::cpu {

constexpr std::align_val_t kCacheLine{64};

struct FreeBuffer {
  void operator()(void* memory) const { ::operator delete(memory, kCacheLine); }
};

template <class T>
using Buffer = std::unique_ptr<T[], FreeBuffer>;

template <class T>
Buffer<T> make_buffer(int64_t count) {
  return Buffer<T>(
      static_cast<T*>(::operator new(static_cast<size_t>(count) * sizeof(T), kCacheLine)));
}

}  // namespace pyscale::cpu
