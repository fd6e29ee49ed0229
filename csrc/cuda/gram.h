// Gram matrices on the GPU. Plain C++: the binding is not compiled by nvcc.
#pragma once

#include <optional>

#include "core/matrix.h"

namespace pyscale::cuda {

// GPUs the driver offers; 0 where there is no driver.
int device_count();

// How many float64 `gram` needs as workspace; depends on the shape alone.
int64_t gram_workspace(int64_t n, int64_t p);

// G = (X - 1 shift)(X - 1 shift)^T. Products and sums of up to kFlush features in float32 (float64
// for float64 input), all further sums in float64 and in an order fixed by the shape: the same
// input gives the same bits. Queued on `stream`, nothing allocated, nothing waited for.
void gram(Matrix G,  // (n, n) f64 or f32, both halves written, symmetric to the bit
          Matrix X,  // (n, p) any type
          std::optional<Matrix> shift,  // (1, p) f64 where X is, else f32; none leaves X as it is
          Matrix workspace,             // (1, gram_workspace(n, p)) f64
          int device, uintptr_t stream);

}  // namespace pyscale::cuda
