// What a product must know of X before it starts: a shift for each feature, and whether X varies.
#pragma once

#include "core/matrix.h"
#include "cpu/kernels.h"

namespace pyscale::cpu {

// A few rows spread evenly over X, at some of its features.
//
// A centred Gram does not change when a constant is taken off a feature, whichever it is. The mean
// of the middle half of kSamples rows is nearly as good a choice as the mean of all, costs a pass
// over these few, and is not moved by a sample far away from the others. What it can cost at most
// is derived in cuda/sample.cu, which does the same, save that it takes the mean of fewer rows:
// its bfloat16 products have no digits to spare.
template <class T>
class Sample {
 public:
  // depth <= kDepth
  void load(const Matrix& X, int64_t first, int64_t depth);

  // (kDepth), 0 beyond the sampled features.
  const T* shift() const { return shift_; }

  // Whether products of bfloat16 numbers as they are would do (KernelSet<Pair>).
  bool near_zero() const;

  // Whether the sampled rows alone show that a feature of X is not constant to rounding.
  bool surely_varies(double epsilon) const;

 private:
  int64_t count_ = 0, depth_ = 0;
  alignas(64) T rows_[kSamples * kDepth];  // (count, kDepth)
  alignas(64) T shift_[kDepth];
};

// Whether each of `depth` features of X from `first` on stays within 4 epsilon of its mean,
// relative to its largest magnitude; epsilon that of X's type.
bool constant(const Matrix& X, int64_t first, int64_t depth);

}  // namespace pyscale::cpu
