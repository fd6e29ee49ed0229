// Centred Gram matrices on the GPU. Plain C++: the binding is not compiled by nvcc.
#pragma once

#include <vector>

#include "core/matrix.h"

namespace pyscale::cuda {

enum class Precision : int {
  default_,  // float32-grade: products of numbers split into two bfloat16, or exact 16-bit products
  exact,     // float64 products
  fast       // one product of numbers rounded to bfloat16
};

// Centred entries no larger than max(noise max_i G_ii, least) may be rounding alone, G being the
// matrix before it is centred.
struct Floor {
  double noise, least;
};

struct GramOptions {
  Kernel kernel;
  Centering centering;
  bool packed;  // the strict lower triangle of the U-centred matrix, instead of the matrix
  double bandwidth;
  Precision precision;  // float64 input is always exact
  Floor floor{};
};

// What the caller owns and lends for one call.
struct Workspace {
  void* data;  // 256-byte aligned
  int64_t bytes;
};

// Bytes that `grams` needs.
int64_t grams_workspace(const std::vector<Matrix>& X, const GramOptions& options, int device);

// out[i] := C(k(X[i], X[i])) for matrices of the same n and type; any number of features, any
// pitch.
//
// All further sums than those of kFlush products are float64 and in an order that shape and device
// fix: the same input gives the same bits. Symmetric to the bit. Queued on `stream`, nothing
// allocated, nothing waited for; fit for capture in a graph.
void grams(const std::vector<Matrix>& out,  // (n, n), or (1, n (n - 1) / 2) packed; f64 or f32
           const std::vector<Matrix>& X,    // (n, p_i)
           uintptr_t constant,              // bool per matrix: every feature constant to rounding
           uintptr_t floors,                // double per matrix: the floor; 0: not asked for
           const GramOptions& options, Workspace workspace, int device, uintptr_t stream,
           uintptr_t read);  // event to record once X has been read for the last time, or 0

}  // namespace pyscale::cuda
