#include "cpu/sample.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/panels.h"

namespace pyscale::cpu {

template <class T>
void Sample<T>::load(const Matrix& X, int64_t first, int64_t depth) {
  count_ = std::min<int64_t>(X.rows, kSamples);
  depth_ = depth;
  for (int64_t s = 0; s < count_; ++s) {
    T* row = rows_ + s * kDepth;
    cpu::load(row, X, s * X.rows / count_, first, depth);
    std::fill(row + depth, row + kDepth, T{0});
  }
  kernel_set<T>().middle(shift_, rows_, count_);
}

template <>
bool Sample<float>::near_zero() const {
  return kernel_set<Pair>().near_zero(rows_, shift_, count_);
}
template <>
bool Sample<double>::near_zero() const {
  return false;
}

// Features of a constant X differ between two rows by at most 8 epsilon max_i |x_ij|: by 8 / (1 - 8
// epsilon) epsilon of the sampled rows' largest, which is 8.54 epsilon for bfloat16, the coarsest.
// Beyond 9 they surely vary.
template <class T>
bool Sample<T>::surely_varies(double epsilon) const {
  for (int64_t k = 0; k < depth_; ++k) {
    T low = rows_[k], high = rows_[k];
    for (int64_t s = 1; s < count_; ++s) {
      low = std::min(low, rows_[s * kDepth + k]);
      high = std::max(high, rows_[s * kDepth + k]);
    }
    const double largest =
        std::max(std::abs(static_cast<double>(low)), std::abs(static_cast<double>(high)));
    // A NaN compares as false, and is found by `constant`.
    if (static_cast<double>(high) - static_cast<double>(low) > 9 * epsilon * largest) return true;
  }
  return false;
}

template class Sample<float>;
template class Sample<double>;

// The means are formed as distances from the first row: equal numbers then have exactly themselves
// as mean, while a plain float64 sum of many of them is off by more than the tolerance for float64.
bool constant(const Matrix& X, int64_t first, int64_t depth) {
  if (X.rows == 0) return true;
  const auto size = static_cast<size_t>(depth);
  std::vector<double> start(size), row(size), means(size), largest(size), spread(size);
  load(start.data(), X, 0, first, depth);
  for (int64_t i = 0; i < X.rows; ++i) {
    load(row.data(), X, i, first, depth);
    for (size_t k = 0; k < size; ++k) {
      means[k] += (row[k] - start[k]) / static_cast<double>(X.rows);
      largest[k] = std::max(largest[k], std::abs(row[k]));
    }
  }
  for (size_t k = 0; k < size; ++k) means[k] += start[k];
  for (int64_t i = 0; i < X.rows; ++i) {
    load(row.data(), X, i, first, depth);
    for (size_t k = 0; k < size; ++k) spread[k] = std::max(spread[k], std::abs(row[k] - means[k]));
  }
  for (size_t k = 0; k < size; ++k)  // a NaN among the elements is one in the mean
    if (!std::isfinite(means[k]) || spread[k] > 4 * epsilon(X.dtype) * largest[k]) return false;
  return true;
}

}  // namespace pyscale::cpu
