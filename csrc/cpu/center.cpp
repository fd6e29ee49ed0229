#include "cpu/center.h"

#include <numeric>

namespace pyscale::cpu {
namespace {

// Four at a time, which the compiler may not do by itself: it would change the order of the sum.
double sum(const double* values, int64_t count) {
  double parts[4] = {};
  int64_t j = 0;
  for (; j + 4 <= count; j += 4)
    for (int64_t part = 0; part < 4; ++part) parts[part] += values[j + part];
  for (; j < count; ++j) parts[0] += values[j];
  return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

// Sums over whole rows, from the triangle; the diagonal counts where `diagonal` says so.
std::vector<double> row_sums(Tiles& K, bool diagonal) {
  std::vector<double> sums(static_cast<size_t>(K.grid.rows));
  K.each_run([&](int64_t i, int64_t j, int64_t count, const double* k) {
    const bool last = j + count == i + 1;  // the run ends on the diagonal
    const int64_t left = last ? count - 1 : count;
    double* across = sums.data() + j;
    for (int64_t c = 0; c < left; ++c) across[c] += k[c];
    sums[static_cast<size_t>(i)] += sum(k, left);
    if (last && diagonal) sums[static_cast<size_t>(i)] += k[left];
  });
  return sums;
}

}  // namespace

Shares shares(Tiles& K, Centering centering) {
  if (centering == Centering::none)
    return {std::vector<double>(static_cast<size_t>(K.grid.rows)), 0, true};
  const bool unbiased = centering == Centering::unbiased;
  const auto n = static_cast<double>(K.grid.rows);
  std::vector<double> rows = row_sums(K, !unbiased);
  const double total = std::accumulate(rows.begin(), rows.end(), 0.0);
  for (double& row : rows) row /= unbiased ? n - 2 : n;
  return {std::move(rows), total / (unbiased ? (n - 1) * (n - 2) : n * n), !unbiased};
}

}  // namespace pyscale::cpu
