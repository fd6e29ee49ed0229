// All-pairs HSIC: H = V W^T of packed rows, in float64 (product.h). Few rows and very many terms:
// the tiles of H alone would not fill a GPU, the terms are shared out. Work: L M N multiply-adds,
// half of it where V is W; V and W are read once for every 64 rows of the other.
#include "cuda/hsic.h"

#include <algorithm>

#include "cuda/product.h"

namespace pyscale::cuda {
namespace {

Target target_of(double* H, int64_t L, int64_t M, int64_t pitch, bool symmetric) {
  return {H, L, M, pitch, symmetric, false};
}

template <class T>
void multiply(const Matrix& H, const Matrix& V, const Matrix& W, const Matrix& workspace,
              int device, cudaStream_t stream) {
  using Rows = Factor<T, Over::columns>;
  product(target_of(H.row<double>(0), H.rows, H.columns, H.pitch, V == W),
          Rows{V.row<T>(0), nullptr, V.rows, V.pitch}, Rows{W.row<T>(0), nullptr, W.rows, W.pitch},
          V.columns, workspace, device, stream);
}

}  // namespace

int64_t hsic_workspace(int64_t L, int64_t M, int64_t N, int device) {
  const auto needs = [&](bool symmetric) {
    return product_workspace(target_of(nullptr, L, M, M, symmetric), N, device);
  };
  return L == M ? std::max(needs(true), needs(false)) : needs(false);
}

void hsic_pairs(Matrix H, Matrix V, Matrix W, Matrix workspace, int device, uintptr_t stream) {
  check_matrix("V", V);
  check_wide("V", V);
  check_dtype("W", W, V.dtype);
  check_shape("W", W, W.rows, V.columns);
  check_dtype("H", H, DType::f64);
  check_shape("H", H, V.rows, W.rows);
  check_dtype("workspace", workspace, DType::f64);
  check_shape("workspace", workspace, 1, hsic_workspace(V.rows, W.rows, V.columns, device));
  if (H.rows == 0 || H.columns == 0) return;

  const DeviceScope scope(device);
  const auto queue = reinterpret_cast<cudaStream_t>(stream);
  dispatch_output(V.dtype, [&](auto tag) {
    multiply<typename decltype(tag)::type>(H, V, W, workspace, device, queue);
  });
}

}  // namespace pyscale::cuda
