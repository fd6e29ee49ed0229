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
      packed_(make_buffer<T>(divide_up(rows, kernels_.edge) * kernels_.edge * kDepth)),
      means_(kDepth) {}

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

template <class T>
void Panels<T>::compute_means() {
  std::fill(means_.begin(), means_.end(), 0.0);
  kernels_.sum(means_.data(), loaded_.get(), kPitch, rows_, depth_);
  for (double& mean : means_) mean /= static_cast<double>(rows_);
}

template <class T>
bool Panels<T>::constant(double tolerance) const {
  if (rows_ == 0) return true;
  std::vector<double> largest(kDepth), spread(kDepth);
  for (int64_t i = 0; i < rows_; ++i) {
    const T* row = loaded_.get() + i * kPitch;
    for (size_t k = 0; k < static_cast<size_t>(depth_); ++k) {
      const double x = static_cast<double>(row[k]);
      largest[k] = std::max(largest[k], std::abs(x));
      spread[k] = std::max(spread[k], std::abs(x - means_[k]));
    }
  }
  for (size_t k = 0; k < static_cast<size_t>(depth_); ++k)
    if (!std::isfinite(means_[k]) || spread[k] > tolerance * largest[k]) return false;
  return true;
}

template <class T>
void Panels<T>::pack_shifted() {
  T shift[kDepth];
  std::transform(means_.begin(), means_.end(), shift,
                 [](double mean) { return static_cast<T>(mean); });
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
