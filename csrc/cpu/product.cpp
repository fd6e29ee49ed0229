#include "cpu/product.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <vector>

#include "cpu/chunk.h"
#include "cpu/parallel.h"
#include "cpu/sample.h"

namespace pyscale::cpu {
namespace {

constexpr int64_t kMostAtOnce = 3;  // chunks

// How the threads divide the work: either each sums its share of the features over all tiles, in
// tiles of its own that are added up afterwards, or, where those would not stay near, or are too
// much memory, or where features are few, all pack the same features and share the tiles.
struct Plan {
  int threads;
  bool by_features;
  int64_t at_once;  // chunks that a tile takes in while it is near: more than one where tiles don't
                    // stay near from one chunk to the next
};

Plan make_plan(const Grid& grid, int64_t features, int threads) {
  constexpr double kNear = 1 << 23, kMostBytes = 1 << 30;
  const double elements = static_cast<double>(grid.count() * grid.edge * grid.edge);
  const int useful = useful_threads(elements * static_cast<double>(features), threads);
  const bool near = elements * 8 <= kNear, fits = elements * 8 * useful <= kMostBytes;
  // Tiles of one's own cost time in proportion to the square of the rows, packing for oneself in
  // proportion to rows times features.
  const bool long_rows = features >= 4 * std::max(grid.rows, grid.columns);
  const int64_t at_once = near ? 1 : kMostAtOnce;
  if (near && fits && long_rows && divide_up(features, kDepth) >= useful)
    return {useful, true, at_once};
  return {static_cast<int>(std::clamp<int64_t>(grid.count(), 1, useful)), false, at_once};
}

// Lines of some rows' features, in as many parts.
Ahead ahead_of(const Matrix& X, Range rows, Range features, int64_t parts) {
  if (features.begin >= features.end || rows.begin >= rows.end) return {};
  const int64_t bytes = (features.end - features.begin) * size_of(X.dtype);
  const int64_t lines = divide_up(bytes, kLineBytes), count = rows.end - rows.begin;
  return {X.at(rows.begin, features.begin), X.stride(), count, lines,
          divide_up(count * lines, parts)};
}

// Threads with the same packed features, and the sums that they make of them.
template <class T>
class Crew {
 public:
  // Of at most `at_once` chunks packed at a time.
  Crew(const Matrix& A, const Matrix& B, const Grid& grid, const ProductOptions& options,
       int threads, int64_t at_once)
      : A_(A),
        strips_(grid, threads),
        options_(options),
        threads_(threads),
        at_once_(at_once),
        constant_(options.check_constant) {
    for (int64_t c = 0; c < at_once; ++c) chunks_[c].emplace(A, B, grid);
  }

  // The sums of all tiles over `chunks`, of kDepth features. Returns whether all these are
  // constant, if that is asked.
  bool run(Range chunks, double* sums) {
    const Grid& grid = strips_.grid;
    if (grid.count() == 0) return constant_;
    if (chunks.begin == chunks.end)  // no features
      std::fill_n(sums, grid.count() * grid.edge * grid.edge, 0.0);
    for (int64_t first = chunks.begin, end; first < chunks.end; first = end) {
      end = std::min(first + at_once_, chunks.end);
      for (int64_t c = first; c < end; ++c) choose(*chunks_[c - first], features({c, c + 1}));
      pack(end - first);
      const Range next = features({end, std::min(end + at_once_, chunks.end)});
      multiply(end - first, sums, first == chunks.begin, next);
    }
    return constant_;
  }

 private:
  Range features(Range chunks) const {
    return {chunks.begin * kDepth, std::min(chunks.end * kDepth, A_.columns)};
  }

  void choose(Chunk<T>& chunk, Range features) {
    if (options_.shift || constant_) {
      const int64_t first = features.begin, depth = features.end - first;
      sample_.load(A_, first, depth);
      // asked no more once it is false
      constant_ =
          constant_ && !sample_.surely_varies(epsilon(A_.dtype)) && constant(A_, first, depth);
    }
    chunk.choose(features, options_.shift ? &sample_ : nullptr);
  }

  void pack(int64_t count) {
    constexpr double kCost = 32;  // of a number, in multiply-adds: it is read from far and written
    const int64_t numbers = chunks_[0]->panels() * strips_.grid.edge * kDepth * count;
    const int threads = useful_threads(kCost * static_cast<double>(numbers), threads_);
    parallel(threads, [&](int t) {
      for (int64_t c = 0; c < count; ++c) {
        Chunk<T>& chunk = *chunks_[c];
        chunk.pack(share(chunk.panels(), t, threads));
      }
    });
  }

  // Rows of strips go to whichever thread is free: a tile's sums are the same in any.
  void multiply(int64_t count, double* sums, bool first, Range next) {
    const Grid& grid = strips_.grid;
    const int64_t work = grid.count() * grid.edge * grid.edge * kDepth * count;
    const int threads = useful_threads(static_cast<double>(work), threads_);
    const int64_t groups = grid.count() * kernel_set<T>().groups * count;
    const int64_t rows = strips_.count();
    std::atomic<int64_t> taken{0};
    parallel(threads, [&](int t) {
      Ahead ahead = ahead_of(A_, share(A_.rows, t, threads), next, divide_up(groups, threads));
      for (int64_t row; (row = taken.fetch_add(1)) < rows;)
        multiply_row(strips_.at(row), count, sums, first, ahead);
    });
  }

  void multiply_row(const Strips::Row& strip, int64_t count, double* sums, bool first,
                    Ahead& ahead) {
    const Grid& grid = strips_.grid;
    const int64_t size = grid.edge * grid.edge;
    Cell at{strip.row, strip.columns.begin};
    for (; at.column < strip.columns.end; ++at.column) {
      double* tile = sums + grid.index(at) * size;
      // only now: in memory that nobody has touched, and near when it is added to
      if (first) std::fill_n(tile, size, 0.0);
      for (int64_t c = 0; c < count; ++c) chunks_[c]->multiply(tile, at, ahead);
    }
  }

  Matrix A_;
  Strips strips_;
  ProductOptions options_;
  int threads_;
  int64_t at_once_;
  bool constant_;
  Sample<T> sample_;
  std::optional<Chunk<T>> chunks_[kMostAtOnce];
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
  const int parts = plan.by_features ? plan.threads : 1;
  const int64_t size = grid.count() * grid.edge * grid.edge;
  const int64_t chunks = divide_up(A.columns, kDepth);
  const int64_t at_once = std::min(plan.at_once, chunks);
  Tiles tiles{grid, make_buffer<double>(size * parts, "the sums of products of all pairs of rows")};
  std::vector<char> constant(static_cast<size_t>(parts));
  parallel(parts, [&](int t) {
    Crew<T> crew(A, B, grid, options, plan.threads / parts, at_once);
    constant[static_cast<size_t>(t)] =
        crew.run(share(chunks, t, parts), tiles.tile(t * grid.count()));
  });
  add_parts(tiles.tile(0), size, parts);
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
