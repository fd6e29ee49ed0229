#include "cpu/rbf.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace pyscale::cpu {
namespace {

// G becomes D; returns whether all of it is finite. Rounding may leave a distance just below 0:
// clamped.
bool squared_distances(Symmetric& G) {
  std::vector<double> norms(static_cast<size_t>(G.n));
  for (int64_t i = 0; i < G.n; ++i) norms[static_cast<size_t>(i)] = G.row(i)[i];
  bool finite = true;
  for (int64_t i = 0; i < G.n; ++i) {
    double* g = G.row(i);
    for (int64_t j = 0; j <= i; ++j) {
      const double d = norms[static_cast<size_t>(i)] + norms[static_cast<size_t>(j)] - 2 * g[j];
      finite = finite && std::isfinite(d);
      g[j] = std::max(d, 0.0);
    }
    g[i] = 0;
  }
  return finite;
}

// The median of sqrt(D_ij) over i > j; the root is monotone, so the middle is sought among the
// squares.
double median_distance(const Symmetric& D) {
  const int64_t count = strict_triangle(D.n);
  const Buffer<double> pairs = make_buffer<double>(count, "the distances of all pairs of samples");
  double* end = pairs.get();
  for (int64_t i = 1; i < D.n; ++i) end = std::copy(D.row(i), D.row(i) + i, end);
  double* middle = pairs.get() + count / 2;
  std::nth_element(pairs.get(), middle, end);
  const double upper = std::sqrt(*middle);
  if (count % 2 == 1) return upper;
  return (upper + std::sqrt(*std::max_element(pairs.get(), middle))) / 2;
}

}  // namespace

void rbf(Symmetric& G, double bandwidth) {
  const bool finite = squared_distances(G);
  double sigma = 1;  // any will do for a single sample
  if (!finite)
    sigma = 0;  // and a NaN must not reach nth_element, which needs an order
  else if (G.n > 1)
    sigma = bandwidth * median_distance(G);
  if (!(sigma > 0)) {
    std::fill(G.begin(), G.end(), std::numeric_limits<double>::quiet_NaN());
    return;
  }
  for (double& value : G) value = std::exp(-value / (2 * sigma * sigma));
}

}  // namespace pyscale::cpu
