#include "checks/oracle.h"

#include <algorithm>
#include <cmath>

namespace pyscale::checks {
namespace {

double dot(const Table& A, int64_t i, const Table& B, int64_t j) {
  double sum = 0;
  for (int64_t k = 0; k < A.columns; ++k) sum += A(i, k) * B(j, k);
  return sum;
}

// As a distance from the first: equal numbers have themselves as mean.
double mean(const Table& X, int64_t feature) {
  double sum = 0;
  for (int64_t i = 0; i < X.rows; ++i) sum += X(i, feature) - X(0, feature);
  return X(0, feature) + sum / static_cast<double>(X.rows);
}

double largest_square(const Table& X) {
  double most = 0;
  for (int64_t i = 0; i < X.rows; ++i) most = std::max(most, dot(X, i, X, i));
  return most;
}

double squared_distance(const Table& X, int64_t i, int64_t j) {
  double sum = 0;
  for (int64_t k = 0; k < X.columns; ++k) sum += (X(i, k) - X(j, k)) * (X(i, k) - X(j, k));
  return sum;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// The Gaussian kernel; returns sigma^2, 0 where there is none.
double gaussian(Table& K, const Table& X, double bandwidth) {
  std::vector<double> distances;
  bool finite = true;
  for (int64_t i = 0; i < X.rows; ++i)
    for (int64_t j = 0; j <= i; ++j) {
      K(i, j) = K(j, i) = squared_distance(X, i, j);
      finite = finite && std::isfinite(K(i, j));
      if (j < i) distances.push_back(std::sqrt(K(i, j)));
    }
  double sigma = 0;
  if (finite) sigma = distances.empty() ? 1 : bandwidth * median(distances);
  for (double& value : K.values) value = sigma > 0 ? std::exp(-value / (2 * sigma * sigma)) : NAN;
  return sigma * sigma;
}

void center(Table& K, Centering centering) {
  const int64_t n = K.rows;
  const auto count = static_cast<double>(n);
  const bool unbiased = centering == Centering::unbiased;
  std::vector<double> sums(static_cast<size_t>(n));
  double total = 0;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      if (!unbiased || i != j) sums[static_cast<size_t>(i)] += K(i, j);
  for (double sum : sums) total += sum;
  const double by = unbiased ? count - 2 : count;
  const double grand = total / (unbiased ? (count - 1) * (count - 2) : count * count);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      const double shares = sums[static_cast<size_t>(i)] / by + sums[static_cast<size_t>(j)] / by;
      K(i, j) = unbiased && i == j ? 0 : K(i, j) - shares + grand;
    }
}

}  // namespace

Expected gram(const Table& X, Kernel kernel, Centering centering, double bandwidth,
              double rounding) {
  Expected result{Table(X.rows, X.rows), 0};
  Table Z = X;
  const bool shifted = kernel == Kernel::rbf || centering != Centering::none;
  if (shifted)
    for (int64_t j = 0; j < X.columns && X.rows > 0; ++j) {
      const double m = mean(X, j);
      for (int64_t i = 0; i < X.rows; ++i) Z(i, j) -= m;
    }
  result.scale = largest_square(Z) + (shifted ? rounding * rounding * largest_square(X) : 0);
  if (kernel == Kernel::rbf) {
    const double square = gaussian(result.values, Z, bandwidth);
    result.scale = 1 + (square > 0 ? result.scale / square : 0);
  } else {
    for (int64_t i = 0; i < X.rows; ++i)
      for (int64_t j = 0; j <= i; ++j) result.values(i, j) = result.values(j, i) = dot(Z, i, Z, j);
  }
  if (centering != Centering::none) center(result.values, centering);
  return result;
}

Expected products(const Table& A, const Table& B) {
  Expected result{Table(A.rows, B.rows), std::sqrt(largest_square(A) * largest_square(B))};
  for (int64_t i = 0; i < A.rows; ++i)
    for (int64_t j = 0; j < B.rows; ++j) result.values(i, j) = dot(A, i, B, j);
  return result;
}

Expected moments(const Table& S, const Table& X, const Table& a, const Table& Y, const Table& b,
                 bool lower) {
  Expected result{Table(X.columns, Y.columns), 0};
  for (int64_t i = 0; i < X.columns; ++i)
    for (int64_t j = 0; j < Y.columns; ++j) {
      double sum = lower && j > i ? S(j, i) : S(i, j), magnitude = std::abs(sum);
      for (int64_t k = 0; k < X.rows; ++k) {
        const double product = (X(k, i) - a(0, i)) * (Y(k, j) - b(0, j));
        sum += product;
        magnitude += std::abs(product);
      }
      result.values(i, j) = sum;
      result.scale = std::max(result.scale, magnitude);
    }
  return result;
}

Expected merged(const Table& S, const Table& T, const Table& dx, const Table& dy, double weight) {
  Expected result{Table(S.rows, S.columns), 0};
  for (int64_t i = 0; i < S.rows; ++i)
    for (int64_t j = 0; j < S.columns; ++j) {
      const double product = weight * dx(0, i) * dy(0, j);
      result.values(i, j) = S(i, j) + T(i, j) + product;
      result.scale =
          std::max({result.scale, std::abs(S(i, j)), std::abs(T(i, j)), std::abs(product)});
    }
  return result;
}

bool constant(const Table& X, double tolerance) {
  for (int64_t j = 0; j < X.columns && X.rows > 0; ++j) {
    const double m = mean(X, j);
    double spread = 0, largest = 0;
    for (int64_t i = 0; i < X.rows; ++i) {
      spread = std::max(spread, std::abs(X(i, j) - m));
      largest = std::max(largest, std::abs(X(i, j)));
    }
    if (!std::isfinite(m) || spread > tolerance * largest) return false;
  }
  return true;
}

}  // namespace pyscale::checks
