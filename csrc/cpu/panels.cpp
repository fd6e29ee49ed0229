#include "cpu/panels.h"

#include <algorithm>
#include <cmath>

#include "core/triangle.h"

namespace pyscale::cpu {

template <>
const KernelSet<float>& kernel_set<float>() {
  return kernels().f32;
}
template <>
const KernelSet<double>& kernel_set<double>() {
  return kernels().f64;
}

template <class T>
Panels<T>::Panels(int64_t rows)
    : kernels_(kernel_set<T>()),
      rows_(rows),
      loaded_(make_buffer<T>(rows * kPitch)),
      packed_(make_buffer<T>(divide_up(rows, kernels_.edge) * kernels_.edge * kDepth)) {}

template <class T>
void Panels<T>::load(const Matrix& X, int64_t first, int64_t depth) {
  const auto convert = kernels_.load[static_cast<int>(X.dtype)];
  const int64_t padded = divide_up(depth, kDepthStep) * kDepthStep;
  depth_ = depth;
  for (int64_t i = 0; i < rows_; ++i) {
    T* row = loaded_.get() + i * kPitch;
    convert(row, X.at(i, first), depth);
    std::fill(row + depth, row + padded, T{0});
  }
}

// The means are computed anew, as distances from the first row: equal numbers then have exactly
// themselves as mean, while a plain float64 sum of many of them is off by more than the tolerance
// for float64.
template <class T>
bool Panels<T>::constant(double tolerance) const {
  if (rows_ == 0) return true;
  const T* first = loaded_.get();
  std::vector<double> means(kDepth), largest(kDepth), spread(kDepth);
  const auto depth = static_cast<size_t>(depth_);
  for (int64_t i = 0; i < rows_; ++i) {
    const T* row = first + i * kPitch;
    for (size_t k = 0; k < depth; ++k) {
      const double x = static_cast<double>(row[k]);
      means[k] += (x - static_cast<double>(first[k])) / static_cast<double>(rows_);
      largest[k] = std::max(largest[k], std::abs(x));
    }
  }
  for (size_t k = 0; k < depth; ++k) means[k] += static_cast<double>(first[k]);
  for (int64_t i = 0; i < rows_; ++i) {
    const T* row = first + i * kPitch;
    for (size_t k = 0; k < depth; ++k)
      spread[k] = std::max(spread[k], std::abs(static_cast<double>(row[k]) - means[k]));
  }
  for (size_t k = 0; k < depth; ++k)  // a NaN among the elements is one in the mean
    if (!std::isfinite(means[k]) || spread[k] > tolerance * largest[k]) return false;
  return true;
}

template <class T>
void Panels<T>::pack_shifted_by_mean() {
  double sums[kDepth] = {};
  T shift[kDepth];
  kernels_.sum(sums, loaded_.get(), kPitch, rows_, depth_);
  std::transform(sums, sums + kDepth, shift,
                 [this](double sum) { return static_cast<T>(sum / static_cast<double>(rows_)); });
  pack_with(shift);
}

template <class T>
void Panels<T>::pack() {
  const T zeros[kDepth] = {};
  pack_with(zeros);
}

template <class T>
void Panels<T>::pack_with(const T* shift) {
  const int64_t padded = divide_up(depth_, kDepthStep) * kDepthStep;
  for (int64_t i = 0; i < rows_; i += kernels_.edge)
    kernels_.pack(packed_.get() + i * kDepth, loaded_.get() + i * kPitch, shift, kPitch,
                  std::min(kernels_.edge, rows_ - i), padded);
}

template class Panels<float>;
template class Panels<double>;

}  // namespace pyscale::cpu
