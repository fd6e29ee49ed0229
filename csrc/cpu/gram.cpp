#include "cpu/gram.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace pyscale::cpu {
namespace {

double epsilon(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return std::numeric_limits<double>::epsilon();
    case DType::f32:
      return std::numeric_limits<float>::epsilon();
    case DType::f16:
      return 0x1p-10;
    case DType::bf16:
      return 0x1p-7;
  }
  return 0;
}

double load(const double* x) { return *x; }
template <class T>
double load(const T* x) {
  return to_float(*x);
}

// One pass over X: each feature is shifted by its mean while it is at hand, then multiplied out.
template <class T>
bool accumulate(std::vector<double>& G,  // (n, n), lower half
                const Matrix X, bool shift) {
  const int64_t n = X.rows;
  const double tolerance = 4 * epsilon(X.dtype);
  std::vector<double> column(static_cast<size_t>(n));
  bool constant = true;
  for (int64_t j = 0; j < X.columns; ++j) {
    double mean = 0, largest = 0, spread = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double x = load(X.row<T>(i) + j);
      column[static_cast<size_t>(i)] = x;
      mean += x / static_cast<double>(n);
      largest = std::max(largest, std::abs(x));
    }
    for (double& x : column) {
      spread = std::max(spread, std::abs(x - mean));
      if (shift) x -= mean;
    }
    constant = constant && spread <= tolerance * largest;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = 0; k <= i; ++k)
        G[static_cast<size_t>(i * n + k)] +=
            column[static_cast<size_t>(i)] * column[static_cast<size_t>(k)];
  }
  return constant;
}

}  // namespace

bool gram(Matrix K, const Matrix X, const GramOptions& options) {
  PYSCALE_CHECK(options.kernel == Kernel::linear, "only the linear kernel is here");
  PYSCALE_CHECK(options.centering == Centering::double_, "only double centring is here");
  const int64_t n = X.rows;
  std::vector<double> G(static_cast<size_t>(n * n), 0.0);
  const bool constant = dispatch(X.dtype, [&](auto tag) {
    return accumulate<typename decltype(tag)::type>(G, X, options.centering != Centering::none);
  });
  dispatch(K.dtype, [&](auto tag) {
    using Out = typename decltype(tag)::type;
    if constexpr (std::is_floating_point_v<Out>) {
      for (int64_t i = 0; i < n; ++i)
        for (int64_t k = 0; k <= i; ++k)
          K.row<Out>(i)[k] = K.row<Out>(k)[i] = static_cast<Out>(G[static_cast<size_t>(i * n + k)]);
    }
  });
  return constant;
}

}  // namespace pyscale::cpu
