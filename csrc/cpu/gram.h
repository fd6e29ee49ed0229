// Centred Gram matrices on the CPU.
#pragma once

#include "core/matrix.h"

namespace pyscale::cpu {

struct GramOptions {
  Kernel kernel;
  Centering centering;
  double bandwidth;  // rbf only: sigma = bandwidth * median off-diagonal distance
  int threads;
};

// K = C(k(X, X)), C the chosen centring. Returns whether X is constant to rounding: for every feature j,
// max_i |x_ij - m_j| <= 4 eps max_i |x_ij|, m the means and eps that of X's type.
bool gram(Matrix K,        // (n, n) f64 or f32, both halves written, symmetric to the bit
          const Matrix X,  // (n, p) any type
          const GramOptions& options);

}  // namespace pyscale::cpu
