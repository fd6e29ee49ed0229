// Centred Gram matrices on the CPU: one pass over the input, centring included.
#pragma once

#include "core/matrix.h"

namespace pyscale::cpu {

struct GramOptions {
  Kernel kernel;
  Centering centering;
  double bandwidth;  // rbf only: sigma = bandwidth * median distance, see rbf.h
  int threads;
};

// K = C(k(X, X)), C the chosen centring (center.h). Returns whether X is constant to rounding: for
// every feature j, max_i |x_ij - m_j| <= 4 eps max_i |x_ij|, m the means and eps that of X's type.
// True where there is nothing to vary.
bool gram(Matrix K,  // (n, n) f64 or f32, both halves written, symmetric to the bit
          Matrix X,  // (n, p) any type
          const GramOptions& options);

// v = the strict lower triangle of U(k(X, X)), element (i, j) at i(i-1)/2 + j. `options.centering`
// must be unbiased. Returns what `gram` returns.
bool packed_gram(Matrix v,  // (1, n(n-1)/2) f64 or f32
                 Matrix X,  // (n, p) any type
                 const GramOptions& options);

}  // namespace pyscale::cpu
