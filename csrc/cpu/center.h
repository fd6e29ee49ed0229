// The centrings of a kernel matrix, in float64 and in place.
#pragma once

#include "cpu/symmetric.h"

namespace pyscale::cpu {

//   none      K
//   double_   H K H,  H = I - 11^T/n
//   unbiased  U(K)_ij = K_ij - r_i/(n-2) - r_j/(n-2) + t/((n-1)(n-2)) off the diagonal, 0 on it;
//             r the off-diagonal row sums, t their sum. Divides by n - 2: at n = 2 the result is
//             NaN.
void center(Symmetric& K, Centering centering);

}  // namespace pyscale::cpu
