// Co-moments: sums over samples of products of shifted features, all in float64.
#pragma once

#include "core/matrix.h"

namespace pyscale::cpu {

// S += (X - 1 s)^T (X - 1 s). The lower half of S is read; both are written, symmetric to the bit.
void self_moments(Matrix S,      // (p, p) f64
                  Matrix X,      // (n, p) any type
                  Matrix shift,  // (1, p) f64
                  int threads);

// S += (X - 1 s_x)^T (Y - 1 s_y).
void cross_moments(Matrix S,        // (p, q) f64
                   Matrix X,        // (n, p) any type
                   Matrix shift_x,  // (1, p) f64
                   Matrix Y,        // (n, q) any type
                   Matrix shift_y,  // (1, q) f64
                   int threads);

// S += T + weight dx^T dy: two centred sums become one, dx and dy the differences of their means.
void merge_moments(Matrix S,   // (p, q) f64
                   Matrix T,   // (p, q) f64
                   Matrix dx,  // (1, p) f64
                   Matrix dy,  // (1, q) f64
                   double weight);

}  // namespace pyscale::cpu
