#include "cpu/gram.h"

#include <algorithm>
#include <cmath>

#include "cpu/center.h"
#include "cpu/load.h"
#include "cpu/parallel.h"
#include "cpu/rbf.h"

namespace pyscale::cpu {
namespace {

struct Accumulated {
  Symmetric G;
  bool constant;
};

constexpr int64_t kChunk = 256;

// G += (X - 1 m)(X - 1 m)^T over some features; returns whether they are constant.
bool accumulate(Symmetric& G, const Matrix& X, bool shift, Range features) {
  const int64_t n = X.rows;
  const double tolerance = 4 * epsilon(X.dtype);
  std::vector<double> rows(static_cast<size_t>(n * kChunk));
  bool constant = true;
  for (int64_t j0 = features.begin; j0 < features.end; j0 += kChunk) {
    const int64_t count = std::min(kChunk, features.end - j0);
    for (int64_t j = 0; j < count; ++j) {
      double mean = 0, largest = 0, spread = 0;
      for (int64_t i = 0; i < n; ++i) {
        const double x = load(X, i, j0 + j);
        rows[static_cast<size_t>(i * kChunk + j)] = x;
        mean += x;
        largest = std::max(largest, std::abs(x));
      }
      mean /= static_cast<double>(n);
      for (int64_t i = 0; i < n; ++i) {
        double& x = rows[static_cast<size_t>(i * kChunk + j)];
        spread = std::max(spread, std::abs(x - mean));
        if (shift) x -= mean;
      }
      constant = constant && std::isfinite(mean) && spread <= tolerance * largest;
    }
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = 0; k <= i; ++k) {
        const double* a = rows.data() + i * kChunk;
        const double* b = rows.data() + k * kChunk;
        double sum = 0;
        for (int64_t j = 0; j < count; ++j) sum += a[j] * b[j];
        G.row(i)[k] += sum;
      }
  }
  return constant;
}

Accumulated kernel_matrix(const Matrix& X, const GramOptions& options) {
  check_matrix("X", X);
  PYSCALE_CHECK(options.threads >= 1, "threads is ", options.threads, ", expected at least 1");
  const bool rbf_kernel = options.kernel == Kernel::rbf;
  PYSCALE_CHECK(!rbf_kernel || (options.bandwidth > 0 && std::isfinite(options.bandwidth)),
                "bandwidth is ", options.bandwidth, ", expected a positive number");
  const double pairs = static_cast<double>(triangle(X.rows));
  const int threads = useful_threads(pairs * static_cast<double>(X.columns), options.threads);
  std::vector<Accumulated> parts(static_cast<size_t>(threads), {Symmetric(X.rows), true});
  parallel(threads, [&](int t) {
    Accumulated& part = parts[static_cast<size_t>(t)];
    part.constant = accumulate(part.G, X, rbf_kernel || options.centering != Centering::none,
                               share(X.columns, t, threads));
  });
  Accumulated& sum = parts[0];
  for (size_t t = 1; t < parts.size(); ++t) {
    sum.constant = sum.constant && parts[t].constant;
    for (size_t e = 0; e < sum.G.values.size(); ++e) sum.G.values[e] += parts[t].G.values[e];
  }
  if (rbf_kernel) rbf(sum.G, options.bandwidth);
  center(sum.G, options.centering);
  return std::move(sum);
}

}  // namespace

bool gram(Matrix K, Matrix X, const GramOptions& options) {
  check_wide("K", K);
  check_shape("K", K, X.rows, X.rows);
  const Accumulated result = kernel_matrix(X, options);
  store(K, result.G);
  return result.constant;
}

bool packed_gram(Matrix v, Matrix X, const GramOptions& options) {
  PYSCALE_CHECK(options.centering == Centering::unbiased,
                "a packed triangle is of the unbiased centring");
  check_wide("v", v);
  check_shape("v", v, 1, strict_triangle(X.rows));
  const Accumulated result = kernel_matrix(X, options);
  store_packed(v, result.G);
  return result.constant;
}

}  // namespace pyscale::cpu
