#include "cpu/center.h"

#include <vector>

namespace pyscale::cpu {
namespace {

// Sums over whole rows, from the triangle; the diagonal counts where `diagonal` says so.
std::vector<double> row_sums(const Symmetric& K, bool diagonal) {
  std::vector<double> sums(static_cast<size_t>(K.n));
  for (int64_t i = 0; i < K.n; ++i) {
    const double* k = K.row(i);
    double left = 0;
    for (int64_t j = 0; j < i; ++j) {
      left += k[j];
      sums[static_cast<size_t>(j)] += k[j];
    }
    sums[static_cast<size_t>(i)] += left;
    if (diagonal) sums[static_cast<size_t>(i)] += k[i];
  }
  return sums;
}

// K_ij -= shift_i + shift_j - grand.
void subtract(Symmetric& K, const std::vector<double>& shift, double grand) {
  for (int64_t i = 0; i < K.n; ++i) {
    double* k = K.row(i);
    const double own = shift[static_cast<size_t>(i)] - grand;
    for (int64_t j = 0; j <= i; ++j) k[j] -= own + shift[static_cast<size_t>(j)];
  }
}

}  // namespace

void center(Symmetric& K, Centering centering) {
  if (centering == Centering::none) return;
  const bool unbiased = centering == Centering::unbiased;
  const auto n = static_cast<double>(K.n);
  std::vector<double> sums = row_sums(K, !unbiased);
  double total = 0;
  for (double sum : sums) total += sum;
  for (double& sum : sums) sum /= unbiased ? n - 2 : n;
  subtract(K, sums, total / (unbiased ? (n - 1) * (n - 2) : n * n));
  if (unbiased)
    for (int64_t i = 0; i < K.n; ++i) K.row(i)[i] = 0;
}

}  // namespace pyscale::cpu
