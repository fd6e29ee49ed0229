// All-pairs HSIC: inner products of packed triangles.
#pragma once

#include "core/matrix.h"

namespace pyscale::cpu {

// H = V W^T. With rows v, w = U(K), U(L) packed by `packed_gram`, unbiased HSIC is 2 H_vw /
// (n(n-3)). Products and sums in float64, in an order fixed by the shapes and `threads`. Where V
// and W are the same view only the triangle is computed, and H is symmetric to the bit.
void hsic_pairs(Matrix H,  // (L, M) f64
                Matrix V,  // (L, N) f64 or f32
                Matrix W,  // (M, N) of V's type
                int threads);

}  // namespace pyscale::cpu
