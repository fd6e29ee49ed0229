#include "cpu/product.h"

#include <optional>

#include "cpu/panels.h"
#include "cpu/parallel.h"

namespace pyscale::cpu {
namespace {

// How the threads divide the work: either each sums its share of the features over all tiles, in
// tiles of its own that are added up afterwards, or, where that is too much memory or too few
// features, each makes its share of the tiles.
struct Plan {
  int threads;
  bool by_features;
};

Plan make_plan(const Grid& grid, int64_t features, int threads) {
  constexpr double kMostBytes = 1 << 30;
  const double elements = static_cast<double>(grid.count() * grid.edge * grid.edge);
  const int useful = useful_threads(elements * static_cast<double>(features), threads);
  const bool fits = elements * 8 * useful <= kMostBytes;
  if (fits && divide_up(features, kDepth) >= useful) return {useful, true};
  return {static_cast<int>(std::clamp<int64_t>(grid.count(), 1, useful)), false};
}

// One thread's part.
struct Part {
  Range features;  // in chunks of kDepth
  Range tiles;
  double* sums;  // of all tiles; this part writes its own
};

template <class T>
void multiply(const Grid& grid, const Panels<T>& A, const Panels<T>& B, const Part& part) {
  if (part.tiles.begin == part.tiles.end) return;
  const KernelSet<T>& kernels = kernel_set<T>();
  Cell at = grid.at(part.tiles.begin);
  for (int64_t t = part.tiles.begin; t < part.tiles.end; ++t, at = grid.next(at))
    kernels.multiply(part.sums + t * grid.edge * grid.edge, A.panel(at.row), B.panel(at.column),
                     A.depth(), std::min(grid.edge, grid.rows - at.row * grid.edge),
                     std::min(grid.edge, grid.columns - at.column * grid.edge),
                     grid.symmetric && at.row == at.column);
}

// Returns whether all features of the part are constant.
template <class T>
bool sum_part(const Matrix& A, const Matrix& B, const Grid& grid, const ProductOptions& options,
              const Part& part) {
  std::fill(part.sums + part.tiles.begin * grid.edge * grid.edge,
            part.sums + part.tiles.end * grid.edge * grid.edge, 0.0);
  Panels<T> a(A.rows);
  std::optional<Panels<T>> b;
  if (!grid.symmetric) b.emplace(B.rows);
  bool constant = options.check_constant;
  for (int64_t chunk = part.features.begin; chunk < part.features.end; ++chunk) {
    const int64_t first = chunk * kDepth, depth = std::min(kDepth, A.columns - first);
    a.load(A, first, depth);
    constant = constant && a.constant(4 * epsilon(A.dtype));  // asked no more once it is false
    if (options.shift)
      a.pack_shifted_by_mean();
    else
      a.pack();
    if (b) {
      b->load(B, first, depth);
      b->pack();
    }
    multiply(grid, a, b ? *b : a, part);
  }
  return constant;
}

// Adds every part's sums to the first part's, in their order.
void add_parts(double* sums, int64_t size, int parts) {
  if (parts == 1) return;
  parallel(parts, [&](int t) {
    const Range range = share(size, t, parts);
    for (int64_t part = 1; part < parts; ++part)
      for (int64_t e = range.begin; e < range.end; ++e) sums[e] += sums[part * size + e];
  });
}

template <class T>
Product product_as(const Matrix& A, const Matrix& B, const ProductOptions& options) {
  const Grid grid{A.rows, B.rows, kernel_set<T>().edge, A == B};
  const Plan plan = make_plan(grid, A.columns, options.threads);
  const int64_t size = grid.count() * grid.edge * grid.edge;
  const int64_t chunks = divide_up(A.columns, kDepth);
  Product result{grid, make_buffer<double>(size * (plan.by_features ? plan.threads : 1)), true};
  std::vector<char> constant(static_cast<size_t>(plan.threads));
  parallel(plan.threads, [&](int t) {
    const Part part =
        plan.by_features
            ? Part{share(chunks, t, plan.threads), {0, grid.count()}, result.tiles.get() + t * size}
            : Part{{0, chunks}, share(grid.count(), t, plan.threads), result.tiles.get()};
    constant[static_cast<size_t>(t)] = sum_part<T>(A, B, grid, options, part);
  });
  if (plan.by_features) add_parts(result.tiles.get(), size, plan.threads);
  result.constant = std::all_of(constant.begin(), constant.end(), [](char c) { return c != 0; });
  return result;
}

}  // namespace

Product product(const Matrix& A, const Matrix& B, const ProductOptions& options) {
  PYSCALE_CHECK(options.threads >= 1, "threads is ", options.threads, ", expected at least 1");
  PYSCALE_CHECK(!options.shift || A == B, "only a symmetric product can be shifted");
  return options.arithmetic == DType::f64 ? product_as<double>(A, B, options)
                                          : product_as<float>(A, B, options);
}

}  // namespace pyscale::cpu
