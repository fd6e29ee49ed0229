#include "checks/fenced.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "checks/numbers.h"
#include "core/triangle.h"

namespace pyscale::checks {
namespace {

int64_t page() {
  static const int64_t size = sysconf(_SC_PAGESIZE);
  return size;
}

void demand(bool done, const char* what) {
  if (done) return;
  std::perror(what);
  std::abort();
}

// What a row pitch may be: where there is one row at most, anything at all.
int64_t draw_pitch(Random& random, int64_t rows, int64_t columns, DType dtype) {
  constexpr int64_t most = std::numeric_limits<int64_t>::max();
  if (rows <= 1 && random.one_in(2))
    return random.one_of<int64_t>({0, -1, -most, most, columns / 2});
  const int64_t in_page = page() / size_of(dtype);
  switch (random.between(0, 7)) {
    case 0:
      return columns + 1;
    case 1:
      return columns + random.between(0, 70);
    case 2:  // rows of whole pages, as activations of 112 x 112 have
      return rows <= 128 ? divide_up(columns, in_page) * in_page : columns;
    default:
      return columns;
  }
}

}  // namespace

Fenced::Fenced(Random& random, int64_t rows, int64_t columns, DType dtype)
    : matrix_{nullptr, rows, columns, draw_pitch(random, rows, columns, dtype), dtype} {
  const bool empty = rows == 0 || columns == 0;
  const int64_t extent = empty ? 0 : (rows > 1 ? (rows - 1) * matrix_.pitch : 0) + columns;
  const int64_t used = extent * size_of(dtype), slack = random.between(0, 64) * size_of(dtype);
  bytes_ = std::max(divide_up(used + slack, page()), int64_t{1}) * page();
  void* mapping = mmap(nullptr, static_cast<size_t>(bytes_ + 2 * page()), PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  demand(mapping != MAP_FAILED, "mmap");
  pages_ = static_cast<char*>(mapping) + page();
  demand(mprotect(pages_, static_cast<size_t>(bytes_), PROT_READ | PROT_WRITE) == 0, "mprotect");
  std::memset(pages_, 0xff, static_cast<size_t>(bytes_));
  if (empty && random.one_in(2)) return;  // an address of 0 will do for nothing
  const int64_t room = (bytes_ - used) / size_of(dtype);
  matrix_.data =
      pages_ + random.one_of<int64_t>({0, random.between(0, room), room}) * size_of(dtype);
}

Fenced::~Fenced() { munmap(pages_ - page(), static_cast<size_t>(bytes_ + 2 * page())); }

double Fenced::get(int64_t i, int64_t j) const { return load(matrix_.dtype, matrix_.at(i, j)); }

void Fenced::set(int64_t i, int64_t j, double value) {
  store(matrix_.dtype, matrix_.at(i, j), value);
}

void Fenced::protect() {
  demand(mprotect(pages_, static_cast<size_t>(bytes_), PROT_READ) == 0, "mprotect");
}

void Fenced::remember() { remembered_.assign(pages_, pages_ + bytes_); }

bool Fenced::as_remembered() const {
  return std::memcmp(pages_, remembered_.data(), static_cast<size_t>(bytes_)) == 0;
}

bool Fenced::as_remembered_beside() const {
  const char* from = pages_;  // what comes next to be compared
  const auto same_until = [&](const char* end) {
    const auto count = static_cast<size_t>(end - from);
    return std::memcmp(from, remembered_.data() + (from - pages_), count) == 0;
  };
  if (matrix_.columns > 0)
    for (int64_t i = 0; i < matrix_.rows; ++i) {
      if (!same_until(matrix_.at(i, 0))) return false;
      from = matrix_.at(i, 0) + matrix_.columns * size_of(matrix_.dtype);
    }
  return same_until(pages_ + bytes_);
}

}  // namespace pyscale::checks
