// Co-moments on the GPU: sums over samples of products of shifted features, in float64. Plain C++.
#pragma once

#include "core/matrix.h"

namespace pyscale::cuda {

// How many float64 the moments of p with q features over n samples need as workspace on that GPU,
// with each other or, where p = q, with themselves; may be 0.
int64_t moments_workspace(int64_t p, int64_t q, int64_t n, int device);

// S += (X - 1 s)^T (X - 1 s). The lower half of S is read; both are written, symmetric to the bit.
// Queued on `stream`, nothing allocated, nothing waited for; sums in an order fixed by the shapes
// and the GPU.
void self_moments(Matrix S,          // (p, p) f64
                  Matrix X,          // (n, p) any type
                  Matrix shift,      // (1, p) f64
                  Matrix workspace,  // (1, moments_workspace(p, p, n, device)) f64
                  int device, uintptr_t stream);

// S += (X - 1 s_x)^T (Y - 1 s_y), likewise.
void cross_moments(Matrix S,          // (p, q) f64
                   Matrix X,          // (n, p) any type
                   Matrix shift_x,    // (1, p) f64
                   Matrix Y,          // (n, q) of X's type
                   Matrix shift_y,    // (1, q) f64
                   Matrix workspace,  // (1, moments_workspace(p, q, n, device)) f64
                   int device, uintptr_t stream);

}  // namespace pyscale::cuda
