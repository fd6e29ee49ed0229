// What the core must return, written from the definitions as plain loops in float64. Nothing here
// is the core's.
#pragma once

#include <cstdint>
#include <vector>

#include "core/matrix.h"

namespace pyscale::checks {

struct Table {
  int64_t rows, columns;
  std::vector<double> values;

  Table(int64_t m, int64_t n) : rows(m), columns(n), values(static_cast<size_t>(m * n)) {}
  double& operator()(int64_t i, int64_t j) { return values[static_cast<size_t>(i * columns + j)]; }
  double operator()(int64_t i, int64_t j) const {
    return values[static_cast<size_t>(i * columns + j)];
  }
};

// What is expected, and how large the terms are that it was summed from: errors are relative to
// that.
struct Expected {
  Table values;
  double scale;
};

// `rounding` is the epsilon of the kernel's arithmetic. It lets a shift miss the means by that
// much, of which the centring takes away all but the square.
Expected gram(const Table& X, Kernel kernel, Centering centering, double bandwidth,
              double rounding);

// A B^T.
Expected products(const Table& A, const Table& B);

// S + (X - 1 a)^T (Y - 1 b); where `lower`, of S only the lower triangle is read.
Expected moments(const Table& S, const Table& X, const Table& a, const Table& Y, const Table& b,
                 bool lower);

// S + T + weight dx^T dy.
Expected merged(const Table& S, const Table& T, const Table& dx, const Table& dy, double weight);

// Whether every feature stays within `tolerance` of its mean, relative to its largest magnitude.
bool constant(const Table& X, double tolerance);

}  // namespace pyscale::checks
