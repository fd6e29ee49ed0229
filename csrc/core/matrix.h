// Matrices as the core sees them: an address, a shape, a row pitch and a type. Nothing here owns
// memory.
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
  // The address of element (i, j), whatever the type.
  char* at(int64_t i, int64_t j) const {
    return static_cast<char*>(data) + (i * pitch + j) * size_of(dtype);
  }
  // Bytes between row starts; of a single row, whose pitch may be any number, 0.
  int64_t stride() const { return rows > 1 ? pitch * size_of(dtype) : 0; }
};

constexpr bool operator==(const Matrix& a, const Matrix& b) {
  return a.data == b.data && a.rows == b.rows && a.columns == b.columns && a.pitch == b.pitch &&
         a.dtype == b.dtype;
}

enum class Kernel : int { linear, rbf };
enum class Centering : int { none, double_, unbiased };

constexpr int64_t kMostBytes = int64_t{1} << 57;    // as many as processors can address, or more
constexpr int64_t kMostSamples = int64_t{1} << 31;  // of a Gram: index maps stay within 64 bits

// Refuses what no view of memory can be; `name` is the argument's.
inline void check_matrix(const char* name, const Matrix& M) {
  PYSCALE_CHECK(M.rows >= 0 && M.columns >= 0, name, " has shape (", M.rows, ", ", M.columns,
                "): negative sizes");
  PYSCALE_CHECK(M.rows <= 1 || M.pitch >= M.columns, name, " has pitch ", M.pitch,
                ", less than its ", M.columns, " columns");
  const int64_t most = kMostBytes / size_of(M.dtype);
  PYSCALE_CHECK(M.rows <= most && M.columns <= most &&
                    (M.rows <= 1 || M.pitch <= (most - M.columns) / (M.rows - 1)),
                name, " has shape (", M.rows, ", ", M.columns, ") and pitch ", M.pitch,
                ": more than there is memory on any machine");
  PYSCALE_CHECK(M.data != nullptr || M.rows == 0 || M.columns == 0, name, " has no address");
}

inline void check_shape(const char* name, const Matrix& M, int64_t rows, int64_t columns) {
  check_matrix(name, M);
  PYSCALE_CHECK(M.rows == rows && M.columns == columns, name, " has shape (", M.rows, ", ",
                M.columns, "), expected (", rows, ", ", columns, ")");
}

inline void check_samples(const char* name, const Matrix& M) {
  check_matrix(name, M);
  PYSCALE_CHECK(M.rows < kMostSamples, name, " has ", M.rows, " rows, expected fewer than ",
                kMostSamples);
}

inline void check_dtype(const char* name, const Matrix& M, DType dtype) {
  PYSCALE_CHECK(M.dtype == dtype, name, " is ", name_of(M.dtype), ", expected ", name_of(dtype));
}

inline void check_wide(const char* name, const Matrix& M) {
  PYSCALE_CHECK(M.dtype == DType::f64 || M.dtype == DType::f32, name, " is ", name_of(M.dtype),
                ", expected float64 or float32");
}

}  // namespace pyscale
