// A matrix on its way into the tile kernel: some features of all rows, converted, shifted and
// packed.
#pragma once

#include "core/matrix.h"
#include "core/triangle.h"
#include "cpu/buffer.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"

namespace pyscale::cpu {

template <class T>
const KernelSet<T>& kernel_set();

// The same for T = float and T = double: converts `count` numbers of X from (i, first) on.
template <class T>
void load(T* out, const Matrix& X, int64_t i, int64_t first, int64_t count) {
  kernel_set<T>().load[static_cast<int>(X.dtype)](out, X.at(i, first), count);
}

// Of T = float or double, whatever the type of X; or Pair, of bfloat16 rows.
template <class T>
class Panels {
 public:
  explicit Panels(int64_t rows);

  int64_t count() const { return count_; }

  // Packs some panels: features `first` to `first + depth` of X, depth <= kDepth, less `shift`
  // (kDepth), which pairs have none of.
  void pack(Range panels, const Matrix& X, int64_t first, int64_t depth, const T* shift);

  // Panel i holds rows i * edge and on.
  const T* panel(int64_t i) const { return packed_.get() + i * kernels_.edge * kSteps<T>; }

 private:
  // One line more than the features: a power of two would put all rows in the same few cache sets.
  static constexpr int64_t kPitch = kSteps<T> + 64 / static_cast<int64_t>(sizeof(T));

  static bool as_it_is(const Matrix& X) { return size_of(X.dtype) * kFeatures<T> == sizeof(T); }
  static void load_row(T* out, const Matrix& X, int64_t i, int64_t first, int64_t depth);

  const KernelSet<T>& kernels_;
  int64_t rows_, count_;
  Buffer<T> packed_;  // (panels, edge / lanes, kSteps, lanes)
};

}  // namespace pyscale::cpu
