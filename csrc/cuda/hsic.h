// All-pairs HSIC on the GPU: inner products of packed triangles. Plain C++.
#pragma once

#include "core/matrix.h"

namespace pyscale::cuda {

// How many float64 `hsic_pairs` needs as workspace on that GPU; may be 0.
int64_t hsic_workspace(int64_t L, int64_t M, int64_t N, int device);

// H = V W^T. With rows v, w = U(K), U(L) packed, unbiased HSIC is 2 H_vw / (n(n-3)). Products and
// sums in float64, in an order fixed by the shapes and the GPU. Where V and W are the same view
// only the triangle is computed, and H is symmetric to the bit. Queued on `stream`, nothing
// allocated, nothing waited for.
void hsic_pairs(Matrix H,          // (L, M) f64
                Matrix V,          // (L, N) f64 or f32
                Matrix W,          // (M, N) of V's type
                Matrix workspace,  // (1, hsic_workspace(L, M, N, device)) f64
                int device, uintptr_t stream);

}  // namespace pyscale::cuda
