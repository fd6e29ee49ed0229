// A matrix on its way into the tile kernel: some features of all rows, converted, shifted and
// packed.
#pragma once

#include <vector>

#include "core/matrix.h"
#include "cpu/buffer.h"
#include "cpu/isa.h"

namespace pyscale::cpu {

template <class T>
const KernelSet<T>& kernel_set();

template <class T>
class Panels {
 public:
  explicit Panels(int64_t rows);

  // Copies features `first` to `first + depth` of X, depth <= kDepth; nothing is shifted yet.
  void load(const Matrix& X, int64_t first, int64_t depth);

  // Whether each loaded feature stays within `tolerance` of its mean, relative to its largest
  // magnitude.
  bool constant(double tolerance) const;

  void pack();                  // the features as they are
  void pack_shifted_by_mean();  // each less its mean over the rows, which is summed in float64

  // Panel i holds rows i * edge and on, `depth` features; the missing rows of the last one are 0.
  const T* panel(int64_t i) const { return packed_.get() + i * kernels_.edge * kDepth; }
  int64_t depth() const { return depth_; }

 private:
  // One line more than the features: a power of two would put all rows in the same few cache sets.
  static constexpr int64_t kPitch = kDepth + 64 / static_cast<int64_t>(sizeof(T));

  const KernelSet<T>& kernels_;
  int64_t rows_;
  int64_t depth_ = 0;
  Buffer<T> loaded_;  // (rows, kPitch)
  Buffer<T> packed_;  // (panels, kDepth, edge)

  void pack_with(const T* shift);  // (kDepth)
};

}  // namespace pyscale::cpu
