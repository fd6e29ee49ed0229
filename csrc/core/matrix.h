// Matrices as the core sees them: an address, a shape, a row pitch and a type. Nothing here owns memory.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace pyscale {

// Row-major with unit column stride; element (i, j) is at data[i * pitch + j].
struct Matrix {
  void* data;
  int64_t rows;
  int64_t columns;
  int64_t pitch;  // elements between row starts; at least `columns` where rows > 1
  DType dtype;

  template <class T>
  T* row(int64_t i) const {
    return static_cast<T*>(data) + i * pitch;
  }
};

enum class Kernel : int { linear, rbf };
enum class Centering : int { none, double_, unbiased };

}  // namespace pyscale
