#include "cpu/rbf.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace pyscale::cpu {
namespace {

std::vector<double> diagonal(Tiles& G) {
  std::vector<double> values(static_cast<size_t>(G.grid.rows));
  G.each_run([&](int64_t i, int64_t j, int64_t count, const double* g) {
    if (j + count == i + 1) values[static_cast<size_t>(i)] = g[count - 1];
  });
  return values;
}

// G becomes D; returns whether all of it is finite. Rounding may leave a distance just below 0:
// clamped.
bool squared_distances(Tiles& G, const std::vector<double>& norms) {
  bool finite = true;
  G.each_run([&](int64_t i, int64_t j, int64_t count, double* g) {
    for (int64_t c = 0; c < count; ++c) {
      const double d = norms[static_cast<size_t>(i)] + norms[static_cast<size_t>(j + c)] - 2 * g[c];
      finite = finite && std::isfinite(d);
      g[c] = j + c == i ? 0 : std::max(d, 0.0);
    }
  });
  return finite;
}

// The median of sqrt(D_ij) over i > j; the root is monotone, so the middle is sought among the
// squares.
double median_distance(Tiles& D) {
  const int64_t count = strict_triangle(D.grid.rows);
  const Buffer<double> pairs = make_buffer<double>(count, "the distances of all pairs of samples");
  double* end = pairs.get();
  D.each_run([&](int64_t i, int64_t j, int64_t run, const double* d) {
    end = std::copy_n(d, std::min(run, i - j), end);
  });
  double* middle = pairs.get() + count / 2;
  std::nth_element(pairs.get(), middle, end);
  const double upper = std::sqrt(*middle);
  if (count % 2 == 1) return upper;
  return (upper + std::sqrt(*std::max_element(pairs.get(), middle))) / 2;
}

}  // namespace

double rbf(Tiles& G, double bandwidth) {
  const std::vector<double> norms = diagonal(G);
  const bool finite = squared_distances(G, norms);
  double sigma = 1;  // any will do for a single sample
  if (!finite)
    sigma = 0;  // and a NaN must not reach nth_element, which needs an order
  else if (G.grid.rows > 1)
    sigma = bandwidth * median_distance(G);
  if (!(sigma > 0)) {
    G.each_run([](int64_t, int64_t, int64_t count, double* g) {
      std::fill_n(g, count, std::numeric_limits<double>::quiet_NaN());
    });
    return std::numeric_limits<double>::infinity();
  }
  const double scale = 1 / (2 * sigma * sigma);
  double magnified = 0;
  G.each_run([&](int64_t i, int64_t j, int64_t count, double* g) {
    for (int64_t c = 0; c < count; ++c) {
      g[c] = std::exp(-g[c] / (2 * sigma * sigma));
      if (j + c < i)
        magnified = std::max(
            magnified,
            (norms[static_cast<size_t>(i)] + norms[static_cast<size_t>(j + c)]) * scale * g[c]);
    }
  });
  return magnified;
}

}  // namespace pyscale::cpu
