// The workspace in which Gram matrices are centred: a packed lower triangle in float64.
#pragma once

#include <vector>

#include "core/matrix.h"
#include "core/triangle.h"

namespace pyscale::cpu {

struct Symmetric {
  int64_t n;
  std::vector<double> values;  // element (i, j), i >= j, at triangle(i) + j

  explicit Symmetric(int64_t size) : n(size), values(static_cast<size_t>(triangle(size))) {}
  double* row(int64_t i) { return values.data() + triangle(i); }  // elements (i, 0) to (i, i)
  const double* row(int64_t i) const { return values.data() + triangle(i); }
};

// K_ij and K_ji = S_ij, rounded once.
void store(Matrix K,  // (n, n) f64 or f32
           const Symmetric& S);

// v[i(i-1)/2 + j] = S_ij, i > j.
void store_packed(Matrix v,  // (1, n(n-1)/2) f64 or f32
                  const Symmetric& S);

}  // namespace pyscale::cpu
