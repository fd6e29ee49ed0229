#include "cpu/product.h"

#include <optional>
#include <type_traits>
#include <vector>

#include "cpu/panels.h"
#include "cpu/parallel.h"
#include "cpu/sample.h"

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
  // Tiles of one's own cost time in proportion to the square of the rows, packing for oneself in
  // proportion to rows times features.
  const bool long_rows = features >= 4 * std::max(grid.rows, grid.columns);
  if (fits && long_rows && divide_up(features, kDepth) >= useful) return {useful, true};
  return {static_cast<int>(std::clamp<int64_t>(grid.count(), 1, useful)), false};
}

// One thread's part.
struct Part {
  Range chunks;  // of kDepth features
  Range tiles;
  double* sums;  // of all tiles; this part writes its own
};

// Lines of the next chunk, in as many parts.
Ahead ahead_of(const Matrix& X, Range features, int64_t parts) {
  if (features.begin >= features.end) return {};
  const int64_t bytes = (features.end - features.begin) * size_of(X.dtype);
  const int64_t lines = divide_up(bytes, kLineBytes);
  return {X.at(0, features.begin), X.stride(), X.rows, lines, divide_up(X.rows * lines, parts)};
}

// What one thread does, with its own panels.
template <class T>
class Worker {
 public:
  Worker(const Matrix& A, const Matrix& B, const Grid& grid, const ProductOptions& options)
      : A_(A),
        B_(B),
        grid_(grid),
        options_(options),
        constant_(options.check_constant),
        a_(A.rows) {
    if (!grid.symmetric) b_.emplace(B.rows);
    if (multiplies_pairs(A, grid)) pairs_.emplace(A.rows);
  }

  // Returns whether all features of the part are constant.
  bool run(const Part& part) {
    if (part.tiles.begin == part.tiles.end) return constant_;
    if (part.chunks.begin == part.chunks.end) {  // no features
      const int64_t size = grid_.edge * grid_.edge;
      std::fill(part.sums + part.tiles.begin * size, part.sums + part.tiles.end * size, 0.0);
    }
    for (int64_t chunk = part.chunks.begin; chunk < part.chunks.end; ++chunk) {
      pack(features(chunk));
      multiply(part, chunk);
    }
    return constant_;
  }

 private:
  static bool multiplies_pairs(const Matrix& A, const Grid& grid) {
    return std::is_same_v<T, float> && A.dtype == DType::bf16 && grid.symmetric &&
           kernel_set<Pair>().multiply != nullptr;
  }

  Range features(int64_t chunk) const {
    return {chunk * kDepth, std::min((chunk + 1) * kDepth, A_.columns)};
  }

  void pack(Range features) {
    const int64_t first = features.begin, depth = features.end - first;
    const T* shift = zeros_;
    if (options_.shift || constant_) {
      sample_.load(A_, first, depth);
      if (options_.shift) shift = sample_.shift();
      // asked no more once it is false
      constant_ =
          constant_ && !sample_.surely_varies(epsilon(A_.dtype)) && constant(A_, first, depth);
    }
    // Chunk by chunk: a centred Gram does not change with any feature's shift.
    in_pairs_ = pairs_ && (!options_.shift || sample_.near_zero());
    if (in_pairs_) return pairs_->pack(A_, first, depth, nullptr);
    a_.pack(A_, first, depth, shift);
    if (b_) b_->pack(B_, first, depth, shift);
  }

  void multiply(const Part& part, int64_t chunk) {
    const Range now = features(chunk);
    const Range next = chunk + 1 < part.chunks.end ? features(chunk + 1) : Range{0, 0};
    const bool first = chunk == part.chunks.begin;
    if (in_pairs_)
      multiply_panels(part, *pairs_, *pairs_, now.end - now.begin, next, first);
    else
      multiply_panels(part, a_, b_ ? *b_ : a_, now.end - now.begin, next, first);
  }

  template <class U>
  void multiply_panels(const Part& part, const Panels<U>& a, const Panels<U>& b, int64_t depth,
                       Range next, bool first) {
    const KernelSet<U>& kernels = kernel_set<U>();
    const int64_t steps = divide_up(depth, kFeatures<U>);
    Ahead ahead = ahead_of(A_, next, (part.tiles.end - part.tiles.begin) * kernels.groups);
    Cell at = grid_.at(part.tiles.begin);
    for (int64_t t = part.tiles.begin; t < part.tiles.end; ++t, at = grid_.next(at)) {
      double* sums = part.sums + t * grid_.edge * grid_.edge;
      // only now: in memory that nobody has touched, and near when it is added to
      if (first) std::fill_n(sums, grid_.edge * grid_.edge, 0.0);
      kernels.multiply(sums, a.panel(at.row), b.panel(at.column), steps,
                       std::min(grid_.edge, grid_.rows - at.row * grid_.edge),
                       std::min(grid_.edge, grid_.columns - at.column * grid_.edge),
                       grid_.symmetric && at.row == at.column, ahead);
    }
  }

  Matrix A_, B_;
  Grid grid_;
  ProductOptions options_;
  bool constant_;
  Panels<T> a_;
  std::optional<Panels<T>> b_;
  std::optional<Panels<Pair>> pairs_;
  bool in_pairs_ = false;  // the chunk at hand
  Sample<T> sample_;
  const T zeros_[kDepth] = {};
};

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
  Tiles tiles{grid, make_buffer<double>(size * (plan.by_features ? plan.threads : 1),
                                        "the sums of products of all pairs of rows")};
  std::vector<char> constant(static_cast<size_t>(plan.threads));
  parallel(plan.threads, [&](int t) {
    const Part part =
        plan.by_features
            ? Part{share(chunks, t, plan.threads), {0, grid.count()}, tiles.tile(t * grid.count())}
            : Part{{0, chunks}, share(grid.count(), t, plan.threads), tiles.tile(0)};
    constant[static_cast<size_t>(t)] = Worker<T>(A, B, grid, options).run(part);
  });
  if (plan.by_features) add_parts(tiles.tile(0), size, plan.threads);
  const bool all = std::all_of(constant.begin(), constant.end(), [](char c) { return c != 0; });
  return {std::move(tiles), all};
}

}  // namespace

Product product(const Matrix& A, const Matrix& B, const ProductOptions& options) {
  PYSCALE_CHECK(options.threads >= 1, "threads is ", options.threads, ", expected at least 1");
  PYSCALE_CHECK(!options.shift || A == B, "only a symmetric product can be shifted");
  return options.arithmetic == DType::f64 ? product_as<double>(A, B, options)
                                          : product_as<float>(A, B, options);
}

}  // namespace pyscale::cpu
