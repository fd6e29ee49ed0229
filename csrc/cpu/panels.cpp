#include "cpu/panels.h"

#include <algorithm>
#include <cstring>

namespace pyscale::cpu {

template <>
const KernelSet<float>& kernel_set<float>() {
  return kernels().f32;
}
template <>
const KernelSet<double>& kernel_set<double>() {
  return kernels().f64;
}
template <>
const KernelSet<Pair>& kernel_set<Pair>() {
  return kernels().pairs;
}

template <class T>
Panels<T>::Panels(int64_t rows)
    : kernels_(kernel_set<T>()),
      rows_(rows),
      count_(divide_up(rows, kernels_.edge)),
      packed_(make_buffer<T>(count_ * kernels_.edge * kSteps<T>, "packed features")) {}

// Whole vectors are read, so that the last features of a row, if no whole vector, take the detour
// over `loaded` as well as numbers of another type.
template <class T>
void Panels<T>::pack(Range panels, const Matrix& X, int64_t first, int64_t depth, const T* shift) {
  const int64_t edge = kernels_.edge, whole = kWholeSteps * kFeatures<T>;
  const int64_t steps = divide_up(depth, whole) * kWholeSteps;
  const bool directly = as_it_is(X) && depth % whole == 0;
  alignas(64) T loaded[kMaxEdge * kPitch];  // rows that can't be packed from where they are
  for (int64_t i = panels.begin * edge; i < std::min(panels.end * edge, rows_); i += edge) {
    T* panel = packed_.get() + i * kSteps<T>;
    const int64_t count = std::min(edge, rows_ - i);
    if (directly) {
      kernels_.pack(panel, X.at(i, first), shift, X.stride(), count, steps);
      continue;
    }
    for (int64_t r = 0; r < count; ++r) {
      T* row = loaded + r * kPitch;
      std::fill(row + depth / kFeatures<T>, row + steps, T{0});
      load_row(row, X, i + r, first, depth);
    }
    kernels_.pack(panel, reinterpret_cast<const char*>(loaded), shift,
                  kPitch * static_cast<int64_t>(sizeof(T)), count, steps);
  }
}

template <class T>
void Panels<T>::load_row(T* out, const Matrix& X, int64_t i, int64_t first, int64_t depth) {
  if constexpr (kFeatures<T> == 1)
    load(out, X, i, first, depth);
  else
    std::memcpy(out, X.at(i, first), static_cast<size_t>(depth * size_of(X.dtype)));
}

template class Panels<float>;
template class Panels<double>;
template class Panels<Pair>;

}  // namespace pyscale::cpu
