#include "checks/starvation.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <new>

namespace {

constexpr int64_t kPlenty = std::numeric_limits<int64_t>::max();

std::atomic<int64_t> granted{kPlenty};
std::atomic<int64_t> first_refused{-1};
std::atomic<bool> only_one{false};

bool refuse(size_t bytes) {
  if (granted.load() == kPlenty) return false;
  const int64_t left = granted.fetch_sub(1);
  if (left > 0) return false;
  if (left == 0) first_refused = static_cast<int64_t>(bytes);
  return left == 0 || !only_one;
}

void* allocate(size_t bytes, size_t alignment) noexcept {
  if (refuse(bytes)) return nullptr;
  void* memory = nullptr;
  alignment = std::max(alignment, sizeof(void*));
  return posix_memalign(&memory, alignment, std::max(bytes, size_t{1})) == 0 ? memory : nullptr;
}

void* allocate_or_throw(size_t bytes, size_t alignment) {
  void* memory = allocate(bytes, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(size_t bytes) { return allocate_or_throw(bytes, alignof(std::max_align_t)); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return allocate_or_throw(bytes, static_cast<size_t>(alignment));
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return allocate(bytes, alignof(std::max_align_t));
}
void* operator new(size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return allocate(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace pyscale::checks {

Starvation::Starvation(int64_t count, bool single) {
  first_refused = -1;
  only_one = single;
  granted = count;
}

Starvation::~Starvation() { granted = kPlenty; }

int64_t Starvation::refused() const { return first_refused; }

}  // namespace pyscale::checks
