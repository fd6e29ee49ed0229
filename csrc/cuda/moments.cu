// Co-moments: S += (X - 1 s_x)^T (Y - 1 s_y), in float64 (product.h). Features are multiplied with
// features and samples are summed over, as they lie in memory: neighbours in a warp read
// neighbouring features of one sample. S is read and written once however many samples there are;
// where it has many more elements than X has, callers do well to gather samples first. Work: p q n
// multiply-adds, half of it for X with itself; X is read once for every 64 features of Y.
#include "cuda/moments.h"

#include <algorithm>

#include "cuda/product.h"

namespace pyscale::cuda {
namespace {

Target target_of(double* S, int64_t p, int64_t q, int64_t pitch, bool symmetric) {
  return {S, p, q, pitch, symmetric, true};
}

template <class T>
Factor<T, Over::rows> features_of(const Matrix& X, const Matrix& shift) {
  return {X.row<T>(0), shift.row<double>(0), X.columns, X.pitch};
}

void check_shift(const char* name, const Matrix& shift, const Matrix& X) {
  check_dtype(name, shift, DType::f64);
  check_shape(name, shift, 1, X.columns);
}

// The moments of X with Y; where `symmetric` they are the same.
void add_moments(const Matrix& S, const Matrix& X, const Matrix& shift_x, const Matrix& Y,
                 const Matrix& shift_y, bool symmetric, const Matrix& workspace, int device,
                 uintptr_t stream) {
  check_dtype("S", S, DType::f64);
  check_shape("S", S, X.columns, Y.columns);
  check_dtype("workspace", workspace, DType::f64);
  check_shape("workspace", workspace, 1, moments_workspace(X.columns, Y.columns, X.rows, device));
  if (S.rows == 0 || S.columns == 0 || X.rows == 0) return;

  const DeviceScope scope(device);
  const auto queue = reinterpret_cast<cudaStream_t>(stream);
  const auto add = [&](auto tag) {
    using T = typename decltype(tag)::type;
    product(target_of(S.row<double>(0), S.rows, S.columns, S.pitch, symmetric),
            features_of<T>(X, shift_x), features_of<T>(Y, shift_y), X.rows, workspace, device,
            queue);
  };
  switch (X.dtype) {
    case DType::f64:
      return add(Tag<double>{});
    case DType::f32:
      return add(Tag<float>{});
    case DType::f16:
      return add(Tag<__half>{});
    case DType::bf16:
      return add(Tag<__nv_bfloat16>{});
  }
}

}  // namespace

int64_t moments_workspace(int64_t p, int64_t q, int64_t n, int device) {
  const auto needs = [&](bool symmetric) {
    return product_workspace(target_of(nullptr, p, q, q, symmetric), n, device);
  };
  return p == q ? std::max(needs(true), needs(false)) : needs(false);
}

void self_moments(Matrix S, Matrix X, Matrix shift, Matrix workspace, int device,
                  uintptr_t stream) {
  check_matrix("X", X);
  check_shift("shift", shift, X);
  add_moments(S, X, shift, X, shift, true, workspace, device, stream);
}

void cross_moments(Matrix S, Matrix X, Matrix shift_x, Matrix Y, Matrix shift_y, Matrix workspace,
                   int device, uintptr_t stream) {
  check_matrix("X", X);
  check_dtype("Y", Y, X.dtype);
  check_shape("Y", Y, X.rows, Y.columns);
  check_shift("shift_x", shift_x, X);
  check_shift("shift_y", shift_y, Y);
  add_moments(S, X, shift_x, Y, shift_y, false, workspace, device, stream);
}

}  // namespace pyscale::cuda
