#include "cpu/gram.h"

#include <algorithm>
#include <cmath>

#include "cpu/center.h"
#include "cpu/pages.h"
#include "cpu/product.h"
#include "cpu/rbf.h"
#include "cpu/store.h"

namespace pyscale::cpu {
namespace {

// Samples that are near one another and far from the rest have distances of which rounding of their
// products leaves little: where it grows more than this in a kernel's element, float32 won't do.
constexpr double kMagnified = 16;

// Whether the features' squares are, on the mean, so small that products of float32 numbers lose
// digits: below 2^-126 they do, one by one, and below 2^-149 nothing is left of them.
bool underflows(Tiles& G, int64_t features) {
  double largest = 0;
  G.each_run([&](int64_t i, int64_t j, int64_t count, const double* g) {
    if (j + count == i + 1) largest = std::max(largest, g[count - 1]);
  });
  return largest < static_cast<double>(features) * 0x1p-100;
}

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
  const bool narrow = arithmetic == DType::f32 && !K.constant;
  bool lost = narrow && underflows(K.tiles, X.columns);
  if (gaussian && !lost) lost = rbf(K.tiles, options.bandwidth) > kMagnified && narrow;
  if (lost) {  // once more, in float64
    K = product(X, X, {shift, true, DType::f64, options.threads});
    if (gaussian) rbf(K.tiles, options.bandwidth);
  }
  return K;
}

}  // namespace

bool gram(Matrix K, Matrix X, const GramOptions& options) {
  check_samples("X", X);
  check_wide("K", K);
  check_shape("K", K, X.rows, X.rows);
  Product result = kernel_matrix(X, options);
  // Where rows lie apart, what is between them belongs to somebody else.
  if (K.pitch == K.columns) prefer_huge_pages(K.data, K.rows * K.stride());
  store(K, result.tiles, shares(result.tiles, options.centering, options.threads), options.threads);
  return result.constant;
}

bool packed_gram(Matrix v, Matrix X, const GramOptions& options) {
  PYSCALE_CHECK(options.centering == Centering::unbiased,
                "a packed triangle is of the unbiased centring");
  check_samples("X", X);
  check_wide("v", v);
  check_shape("v", v, 1, strict_triangle(X.rows));
  Product result = kernel_matrix(X, options);
  prefer_huge_pages(v.data, v.columns * size_of(v.dtype));
  store_packed(v, result.tiles, shares(result.tiles, options.centering, options.threads),
               options.threads);
  return result.constant;
}

}  // namespace pyscale::cpu
