#include "cpu/panels.h"

#include <algorithm>

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
      panels_(divide_up(rows, kernels_.edge)),
      packed_(make_buffer<T>(panels_ * kernels_.edge * kDepth, "packed features")),
      loaded_(make_buffer<T>(kernels_.edge * kPitch)) {}

// Whole vectors are read, so that the last features of a row, if no whole vector, take the detour
// over `loaded_` as well as numbers of another type.
template <class T>
void Panels<T>::pack(const Matrix& X, int64_t first, int64_t depth, const T* shift) {
  const int64_t edge = kernels_.edge, padded = divide_up(depth, kDepthStep) * kDepthStep;
  const bool as_it_is = size_of(X.dtype) == sizeof(T) && padded == depth;
  T* panel = packed_.get();
  for (int64_t i = 0; i < rows_; i += edge, panel += edge * kDepth) {
    const int64_t count = std::min(edge, rows_ - i);
    if (as_it_is) {
      kernels_.pack(panel, reinterpret_cast<const T*>(X.at(i, first)), shift, X.pitch, count,
                    depth);
      continue;
    }
    for (int64_t r = 0; r < count; ++r) {
      T* row = loaded_.get() + r * kPitch;
      load(row, X, i + r, first, depth);
      std::fill(row + depth, row + padded, T{0});
    }
    kernels_.pack(panel, loaded_.get(), shift, kPitch, count, padded);
  }
}

template class Panels<float>;
template class Panels<double>;

}  // namespace pyscale::cpu
