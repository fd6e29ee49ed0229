#include "cpu/moments.h"

#include <vector>

#include "cpu/load.h"
#include "cpu/parallel.h"

namespace pyscale::cpu {
namespace {

std::vector<double> shifted_row(const Matrix& X, const Matrix& shift, int64_t i) {
  std::vector<double> row(static_cast<size_t>(X.columns));
  for (int64_t j = 0; j < X.columns; ++j)
    row[static_cast<size_t>(j)] = load(X, i, j) - shift.row<double>(0)[j];
  return row;
}

void check_shift(const char* name, const Matrix& shift, const Matrix& X) {
  check_dtype(name, shift, DType::f64);
  check_shape(name, shift, 1, X.columns);
}

}  // namespace

void self_moments(Matrix S, Matrix X, Matrix shift, int threads) {
  check_matrix("X", X);
  check_shift("shift", shift, X);
  check_dtype("S", S, DType::f64);
  check_shape("S", S, X.columns, X.columns);
  PYSCALE_CHECK(threads >= 1, "threads is ", threads, ", expected at least 1");
  for (int64_t i = 0; i < X.rows; ++i) {
    const std::vector<double> x = shifted_row(X, shift, i);
    for (int64_t a = 0; a < X.columns; ++a)
      for (int64_t b = 0; b <= a; ++b)
        S.row<double>(a)[b] += x[static_cast<size_t>(a)] * x[static_cast<size_t>(b)];
  }
  for (int64_t a = 0; a < X.columns; ++a)
    for (int64_t b = 0; b < a; ++b) S.row<double>(b)[a] = S.row<double>(a)[b];
}

void cross_moments(Matrix S, Matrix X, Matrix shift_x, Matrix Y, Matrix shift_y, int threads) {
  check_matrix("X", X);
  check_shape("Y", Y, X.rows, Y.columns);
  check_shift("shift_x", shift_x, X);
  check_shift("shift_y", shift_y, Y);
  check_dtype("S", S, DType::f64);
  check_shape("S", S, X.columns, Y.columns);
  PYSCALE_CHECK(threads >= 1, "threads is ", threads, ", expected at least 1");
  for (int64_t i = 0; i < X.rows; ++i) {
    const std::vector<double> x = shifted_row(X, shift_x, i), y = shifted_row(Y, shift_y, i);
    for (int64_t a = 0; a < X.columns; ++a)
      for (int64_t b = 0; b < Y.columns; ++b)
        S.row<double>(a)[b] += x[static_cast<size_t>(a)] * y[static_cast<size_t>(b)];
  }
}

void merge_moments(Matrix S, Matrix T, Matrix dx, Matrix dy, double weight) {
  check_matrix("S", S);
  check_dtype("S", S, DType::f64);
  check_dtype("T", T, DType::f64);
  check_shape("T", T, S.rows, S.columns);
  check_dtype("dx", dx, DType::f64);
  check_shape("dx", dx, 1, S.rows);
  check_dtype("dy", dy, DType::f64);
  check_shape("dy", dy, 1, S.columns);
  const double* y = dy.row<double>(0);
  for (int64_t i = 0; i < S.rows; ++i) {
    double* s = S.row<double>(i);
    const double* t = T.row<double>(i);
    const double x = weight * dx.row<double>(0)[i];
    for (int64_t j = 0; j < S.columns; ++j) s[j] += t[j] + x * y[j];
  }
}

}  // namespace pyscale::cpu
