// The workspace in which Gram matrices are centred: a packed lower triangle in float64.
#pragma once

#include "core/matrix.h"
#include "core/triangle.h"
#include "cpu/buffer.h"

namespace pyscale::cpu {

struct Symmetric {
  int64_t n;
  Buffer<double> values;  // element (i, j), i >= j, at triangle(i) + j; not set yet

  explicit Symmetric(int64_t size)
      : n(size), values(make_buffer<double>(triangle(size), "the triangle of a Gram matrix")) {}
  double* row(int64_t i) { return values.get() + triangle(i); }  // elements (i, 0) to (i, i)
  const double* row(int64_t i) const { return values.get() + triangle(i); }
  double* begin() { return values.get(); }
  double* end() { return values.get() + triangle(n); }
};

// K_ij and K_ji = S_ij, rounded once.
void store(Matrix K,  // (n, n) f64 or f32
           const Symmetric& S);

// v[i(i-1)/2 + j] = S_ij, i > j.
void store_packed(Matrix v,  // (1, n(n-1)/2) f64 or f32
                  const Symmetric& S);

}  // namespace pyscale::cpu
