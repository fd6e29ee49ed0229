#include "cpu/gram.h"

#include <cmath>

#include "cpu/center.h"
#include "cpu/product.h"
#include "cpu/rbf.h"

namespace pyscale::cpu {
namespace {

struct KernelMatrix {
  Symmetric values;
  bool constant;
};

KernelMatrix kernel_matrix(const Matrix& X, const GramOptions& options) {
  const bool gaussian = options.kernel == Kernel::rbf;
  PYSCALE_CHECK(!gaussian || (options.bandwidth > 0 && std::isfinite(options.bandwidth)),
                "bandwidth is ", options.bandwidth, ", expected a positive number");
  // Distances and centred Grams do not change with a shift, and without one both would be small
  // differences of large numbers. The means of each chunk are near enough: what is left of them,
  // the centring takes away.
  const bool shift = gaussian || options.centering != Centering::none;
  const DType arithmetic = X.dtype == DType::f64 ? DType::f64 : DType::f32;
  const Product product = cpu::product(X, X, {shift, true, arithmetic, options.threads});
  KernelMatrix K{Symmetric(X.rows), product.constant};
  product.each([&](int64_t i, int64_t j, double value) { K.values.row(i)[j] = value; });
  if (gaussian) rbf(K.values, options.bandwidth);
  center(K.values, options.centering);
  return K;
}

}  // namespace

bool gram(Matrix K, Matrix X, const GramOptions& options) {
  check_samples("X", X);
  check_wide("K", K);
  check_shape("K", K, X.rows, X.rows);
  const KernelMatrix result = kernel_matrix(X, options);
  store(K, result.values);
  return result.constant;
}

bool packed_gram(Matrix v, Matrix X, const GramOptions& options) {
  PYSCALE_CHECK(options.centering == Centering::unbiased,
                "a packed triangle is of the unbiased centring");
  check_samples("X", X);
  check_wide("v", v);
  check_shape("v", v, 1, strict_triangle(X.rows));
  const KernelMatrix result = kernel_matrix(X, options);
  store_packed(v, result.values);
  return result.constant;
}

}  // namespace pyscale::cpu
