#include "cpu/gram.h"

#include <cmath>

#include "cpu/center.h"
#include "cpu/product.h"
#include "cpu/rbf.h"
#include "cpu/store.h"

namespace pyscale::cpu {
namespace {

// Before the centring.
Product kernel_matrix(const Matrix& X, const GramOptions& options) {
  const bool gaussian = options.kernel == Kernel::rbf;
  PYSCALE_CHECK(!gaussian || (options.bandwidth > 0 && std::isfinite(options.bandwidth)),
                "bandwidth is ", options.bandwidth, ", expected a positive number");
  // Distances and centred Grams do not change with a shift, and without one both would be small
  // differences of large numbers. What is left of the means, the centring takes away.
  const bool shift = gaussian || options.centering != Centering::none;
  const DType arithmetic = X.dtype == DType::f64 ? DType::f64 : DType::f32;
  Product K = product(X, X, {shift, true, arithmetic, options.threads});
  if (gaussian) rbf(K.tiles, options.bandwidth);
  return K;
}

}  // namespace

bool gram(Matrix K, Matrix X, const GramOptions& options) {
  check_samples("X", X);
  check_wide("K", K);
  check_shape("K", K, X.rows, X.rows);
  Product result = kernel_matrix(X, options);
  store(K, result.tiles, shares(result.tiles, options.centering), options.threads);
  return result.constant;
}

bool packed_gram(Matrix v, Matrix X, const GramOptions& options) {
  PYSCALE_CHECK(options.centering == Centering::unbiased,
                "a packed triangle is of the unbiased centring");
  check_samples("X", X);
  check_wide("v", v);
  check_shape("v", v, 1, strict_triangle(X.rows));
  Product result = kernel_matrix(X, options);
  store_packed(v, result.tiles, shares(result.tiles, options.centering), options.threads);
  return result.constant;
}

}  // namespace pyscale::cpu
