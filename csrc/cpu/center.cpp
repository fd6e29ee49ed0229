#include "cpu/center.h"

#include <numeric>

#include "cpu/parallel.h"

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

// Adds the runs of some tiles to sums over whole rows; the diagonal counts where `diagonal` says
// so.
void add_rows(double* sums, Tiles& K, Range tiles, bool diagonal) {
  K.each_run(tiles, [&](int64_t i, int64_t j, int64_t count, const double* k) {
    const bool last = j + count == i + 1;  // the run ends on the diagonal
    const int64_t left = last ? count - 1 : count;
    double* across = sums + j;
    for (int64_t c = 0; c < left; ++c) across[c] += k[c];
    sums[i] += sum(k, left);
    if (last && diagonal) sums[i] += k[left];
  });
}

// From the triangle, each thread's share of the tiles by itself.
std::vector<double> row_sums(Tiles& K, bool diagonal, int threads) {
  constexpr double kCost = 4;  // of an element, in multiply-adds: it is read from memory
  const int parts = useful_threads(kCost * static_cast<double>(K.grid.count() * K.size()), threads);
  const int64_t rows = K.grid.rows;
  std::vector<double> sums(static_cast<size_t>(parts * rows));
  parallel(parts, [&](int t) {
    add_rows(sums.data() + t * rows, K, share(K.grid.count(), t, parts), diagonal);
  });
  for (int64_t e = rows; e < parts * rows; ++e)
    sums[static_cast<size_t>(e % rows)] += sums[static_cast<size_t>(e)];
  sums.resize(static_cast<size_t>(rows));
  return sums;
}

}  // namespace

Shares shares(Tiles& K, Centering centering, int threads) {
  if (centering == Centering::none)
    return {std::vector<double>(static_cast<size_t>(K.grid.rows)), 0, true};
  const bool unbiased = centering == Centering::unbiased;
  const auto n = static_cast<double>(K.grid.rows);
  std::vector<double> rows = row_sums(K, !unbiased, threads);
  const double total = std::accumulate(rows.begin(), rows.end(), 0.0);
  for (double& row : rows) row /= unbiased ? n - 2 : n;
  return {std::move(rows), total / (unbiased ? (n - 1) * (n - 2) : n * n), !unbiased};
}

}  // namespace pyscale::cpu
