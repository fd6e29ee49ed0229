#include "cpu/moments.h"

#include <algorithm>
#include <atomic>

#include "cpu/buffer.h"
#include "cpu/grid.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"

namespace pyscale::cpu {
namespace {

// GCC takes a call of a function that does nothing but prefetch for one without effect.
#define PYSCALE_INLINE __attribute__((always_inline)) inline

// Of samples that are packed at once: they stay in caches, unless the sums, which are read and
// written for every slab, are more.
constexpr int64_t kLeastBytes = 8 << 20, kMostPackedBytes = 32 << 20;
constexpr int64_t kBand = 1024;     // features at least of a band of sums
constexpr int64_t kSide = 96;       // features of a block: what it reads and holds fits L2
constexpr int64_t kTogether = 128;  // slices that are packed side by side

// Samples that are packed at once, in chunks of one depth, or less in the last.
struct Slab {
  Range samples;
  int64_t depth;

  explicit Slab(Range some)
      : samples(some), depth(divide_up(size(), std::max<int64_t>(1, divide_up(size(), kDepth)))) {}
  int64_t size() const { return samples.end - samples.begin; }
  int64_t chunks() const { return divide_up(size(), depth); }
  int64_t depth_of(int64_t chunk) const { return std::min(depth, size() - chunk * depth); }
};

// Samples of X with the shift taken off, packed for the tile kernel. Here samples are what is
// summed over and features are the rows of a panel, so that packing needs no transposition.
class Samples {
 public:
  Samples(const Matrix& X, const Matrix& shift, int64_t most)
      : X_(X),
        shift_(shift.row<double>(0)),
        edge_(kernels().f64.edge),
        lanes_(kernels().f64.lanes),
        packed_(make_buffer<double>(divide_up(most, kDepth) * chunk_size(),
                                    "the packed samples of co-moments")) {}

  // Goes over to other features, no more than the first were.
  void move_to(const Matrix& X, const double* shift) {
    X_ = X;
    shift_ = shift;
  }

  int64_t panels() const { return divide_up(X_.columns, edge_); }
  int64_t slices() const { return divide_up(X_.columns, lanes_); }
  // The features of a panel: all but the last have `edge` of them.
  int64_t features(int64_t panel) const { return std::min(edge_, X_.columns - panel * edge_); }
  const double* panel(int64_t i, int64_t chunk) const {
    return packed_.get() + chunk * chunk_size() + i * edge_ * kDepth;
  }

  // Of all samples of the slab, the features of some slices.
  void pack(const Slab& slab, Range slices) {
    for (int64_t some = slices.begin; some < slices.end; some += kTogether) {
      const int64_t begin = some * lanes_;
      const int64_t end = std::min(std::min(some + kTogether, slices.end) * lanes_, X_.columns);
      for (int64_t k = 0; k < slab.size(); ++k) {
        double* out = packed_.get() + k / slab.depth * chunk_size();
        kernels().spread[static_cast<int>(X_.dtype)](
            out + (some * kDepth + k % slab.depth) * lanes_, X_.at(slab.samples.begin + k, begin),
            shift_ + begin, end - begin, kDepth * lanes_);
      }
    }
  }

  // The memory of some panels.
  Ahead lines(Range panels, const Slab& slab, int64_t chunk) const {
    const int64_t bytes = 8 * lanes_, begin = panels.begin * edge_ / lanes_,
                  end = std::min(panels.end * edge_ / lanes_, slices());
    return {reinterpret_cast<const char*>(panel(panels.begin, chunk)), kDepth * bytes, end - begin,
            divide_up(slab.depth_of(chunk) * bytes, kLineBytes), 0};
  }

 private:
  int64_t chunk_size() const { return panels() * edge_ * kDepth; }

  Matrix X_;
  const double* shift_;
  int64_t edge_, lanes_;
  Buffer<double> packed_;  // (chunks, panels, edge / lanes, kDepth, lanes)
};

// Memory that is asked for before it is needed, with the groups of rows of many tiles.
class Fetches {
 public:
  void add(const Ahead& memory) { memory_[count_++] = memory; }
  void spread_over(int64_t parts) {
    int64_t lines = 0;
    for (const Ahead& memory : memory_) lines += memory.rows * memory.lines;
    for (Ahead& memory : memory_) memory.step = divide_up(lines, parts);
  }
  Ahead& now() {
    while (at_ + 1 < count_ && memory_[at_].rows == 0) ++at_;
    return memory_[at_];
  }

 private:
  Ahead memory_[2] = {};
  int64_t count_ = 0, at_ = 0;
};

// A block of S += A^T B, summed over all packed samples before S is touched: co-moments exceed the
// caches, and few samples are soon multiplied.
class Block {
 public:
  // How many elements of `memory` a block of `side` x `side` panels takes.
  static int64_t size(int64_t side) { return side * side * tile_size(); }

  Block(const Matrix& S, const Samples& A, const Samples& B, bool symmetric, int64_t side,
        double* memory)
      : S_(S),
        A_(A),
        B_(B),
        symmetric_(symmetric),
        edge_(kernels().f64.edge),
        side_(side),
        tiles_(memory) {}

  // `next` is the block that follows, where that is known.
  void add(const Slab& slab, Cell at, const Cell* next) {
    rows_ = panels(at.row, A_);
    columns_ = panels(at.column, B_);
    std::fill_n(tiles_, size(side_), 0.0);
    const int64_t last = slab.chunks() - 1;
    for (int64_t chunk = 0; chunk <= last; ++chunk) {
      Fetches fetches;
      if (chunk < last) {
        fetches.add(A_.lines(rows_, slab, chunk + 1));
        fetches.add(B_.lines(columns_, slab, chunk + 1));
      } else if (next != nullptr) {
        if (next->row != at.row) fetches.add(A_.lines(panels(next->row, A_), slab, 0));
        fetches.add(B_.lines(panels(next->column, B_), slab, 0));
      }
      multiply(chunk, slab.depth_of(chunk), fetches, chunk == last);
    }
  }

 private:
  // Whole cache lines.
  static int64_t tile_size() { return divide_up(kernels().f64.edge * kernels().f64.edge, 8) * 8; }

  double* tile(int64_t r, int64_t c) const {
    return tiles_ + ((r - rows_.begin) * side_ + c - columns_.begin) * tile_size();
  }

  Range panels(int64_t block, const Samples& X) const {
    return {block * side_, std::min((block + 1) * side_, X.panels())};
  }

  // Where the tiles of a row of panels end: none is above the diagonal.
  int64_t end(int64_t r) const { return symmetric_ ? std::min(columns_.end, r + 1) : columns_.end; }

  void multiply(int64_t chunk, int64_t depth, Fetches& fetches, bool last) {
    int64_t tiles = 0;
    for (int64_t r = rows_.begin; r < rows_.end; ++r) tiles += end(r) - columns_.begin;
    fetches.spread_over(tiles * kernels().f64.groups);
    for (int64_t r = rows_.begin; r < rows_.end; ++r)
      for (int64_t c = columns_.begin; c < end(r); ++c) {
        if (last) fetch_sums(r, c);
        kernels().f64.multiply(tile(r, c), A_.panel(r, chunk), B_.panel(c, chunk), depth,
                               A_.features(r), B_.features(c), symmetric_ && r == c, fetches.now());
        if (last) add_tile(r, c);
      }
  }

  // A tile's elements of S, and those across the diagonal: their rows lie far apart.
  PYSCALE_INLINE void fetch_sums(int64_t r, int64_t c) const {
    fetch(r, A_.features(r), c, B_.features(c));
    if (symmetric_ && r != c) fetch(c, B_.features(c), r, A_.features(r));
  }

  PYSCALE_INLINE void fetch(int64_t r, int64_t rows, int64_t c, int64_t columns) const {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; j += kLineBytes / 8) __builtin_prefetch(at(r, c, i) + j, 1);
  }

  double* at(int64_t r, int64_t c, int64_t i) const {
    return S_.row<double>(r * edge_ + i) + c * edge_;
  }

  void add_tile(int64_t r, int64_t c) {
    const int64_t rows = A_.features(r), columns = B_.features(c);
    const bool diagonal = symmetric_ && r == c;
    kernels().add_tile(at(r, c, 0), S_.pitch, tile(r, c), rows, columns, diagonal);
    if (symmetric_)
      kernels().mirror_tile(at(c, r, 0), S_.pitch, tile(r, c), rows, columns, diagonal);
  }

  Matrix S_;
  const Samples &A_, &B_;
  bool symmetric_;
  int64_t edge_, side_;
  double* tiles_;
  Range rows_{}, columns_{};  // panels
};

// Takes some of those that are left of `count`, fewer as these become few; none if there are none.
Range take(std::atomic<int64_t>& next, int64_t count, int parts) {
  int64_t begin = next, end = begin;
  do {
    end = begin + std::min(count - begin, std::max<int64_t>(1, (count - begin) / (2 * parts)));
  } while (!next.compare_exchange_weak(begin, end));
  return {begin, end};
}

// How a product is divided, and the memory that this takes; all of it is there before S is touched.
struct Plan {
  int64_t samples, slabs;
  int parts;
  int64_t side;           // of a block, in panels
  Buffer<double> blocks;  // one for each part

  Plan(int64_t count, int64_t rows, int64_t columns, bool symmetric, int threads);
  int64_t most() const { return divide_up(samples, slabs); }  // of a slab
};

Plan::Plan(int64_t count, int64_t rows, int64_t columns, bool symmetric, int threads)
    : samples(count), side(std::max<int64_t>(1, kSide / kernels().f64.edge)) {
  const int64_t sums = rows * columns / (symmetric ? 2 : 1);
  const int64_t features = symmetric ? rows : rows + columns;
  const int64_t bytes = std::clamp(8 * sums / 2, kLeastBytes, kMostPackedBytes);
  slabs = divide_up(samples, std::max(bytes / (8 * features) / kDepth * kDepth, kDepth));
  parts = useful_threads(static_cast<double>(sums) * static_cast<double>(samples), threads);
  const auto grid = [&] { return Grid{rows, columns, side * kernels().f64.edge, symmetric}; };
  while (parts > 1 && side > 1 && grid().count() < 4 * parts) side /= 2;
  blocks = make_buffer<double>(Block::size(side) * parts, "blocks of co-moments");
}

// S += A^T B. A block is summed by one thread in the order of the samples, so neither the number of
// threads nor which of them takes it changes a bit.
void add_products(const Matrix& S, Samples& A, Samples& B, const Plan& plan) {
  const bool symmetric = &A == &B;
  const int parts = plan.parts;
  const Grid blocks{S.rows, S.columns, plan.side * kernels().f64.edge, symmetric};
  for (int64_t s = 0; s < plan.slabs; ++s) {
    const Slab slab(share(plan.samples, s, plan.slabs));
    parallel(parts, [&](int t) {
      A.pack(slab, share(A.slices(), t, parts));
      if (!symmetric) B.pack(slab, share(B.slices(), t, parts));
    });
    std::atomic<int64_t> next{0};
    parallel(parts, [&](int t) {
      Block block(S, A, B, symmetric, plan.side, plan.blocks.get() + Block::size(plan.side) * t);
      for (Range some; (some = take(next, blocks.count(), parts)).begin < some.end;) {
        Cell at = blocks.at(some.begin);
        for (int64_t left = some.end - some.begin; left > 0; --left) {
          const Cell following = blocks.next(at);
          block.add(slab, at, left > 1 ? &following : nullptr);
          at = following;
        }
      }
    });
  }
}

void check_shift(const char* name, const Matrix& shift, const Matrix& X) {
  check_dtype(name, shift, DType::f64);
  check_shape(name, shift, 1, X.columns);
}

Matrix columns_of(const Matrix& M, Range some) {
  return {M.at(0, some.begin), M.rows, some.end - some.begin, M.pitch, M.dtype};
}

}  // namespace

void self_moments(Matrix S, Matrix X, Matrix shift, int threads) {
  check_matrix("X", X);
  check_shift("shift", shift, X);
  check_dtype("S", S, DType::f64);
  check_shape("S", S, X.columns, X.columns);
  PYSCALE_CHECK(threads >= 1, "threads is ", threads, ", expected at least 1");
  if (X.rows == 0 || X.columns == 0) return;
  const Plan plan(X.rows, X.columns, X.columns, true, threads);
  Samples samples(X, shift, plan.most());
  add_products(S, samples, samples, plan);
}

void cross_moments(Matrix S, Matrix X, Matrix shift_x, Matrix Y, Matrix shift_y, int threads) {
  check_matrix("X", X);
  check_shape("Y", Y, X.rows, Y.columns);
  check_shift("shift_x", shift_x, X);
  check_shift("shift_y", shift_y, Y);
  check_dtype("S", S, DType::f64);
  check_shape("S", S, X.columns, Y.columns);
  PYSCALE_CHECK(threads >= 1, "threads is ", threads, ", expected at least 1");
  if (X.rows == 0 || X.columns == 0 || Y.columns == 0) return;
  // So many features of X at a time that their sums stay in caches, and no fewer than Y has: Y is
  // packed anew with each.
  const int64_t bands = divide_up(X.columns, std::max(2 * Y.columns, kBand));
  const int64_t widest = divide_up(X.columns, bands);
  const Plan plan(X.rows, widest, Y.columns, false, threads);
  Samples x(columns_of(X, {0, widest}), shift_x, plan.most()), y(Y, shift_y, plan.most());
  for (int64_t band = 0; band < bands; ++band) {
    const Range some = share(X.columns, band, bands);
    x.move_to(columns_of(X, some), shift_x.row<double>(0) + some.begin);
    add_products({S.at(some.begin, 0), some.end - some.begin, S.columns, S.pitch, S.dtype}, x, y,
                 plan);
  }
}

void merge_moments(Matrix S, Matrix T, Matrix dx, Matrix dy, double weight) {
  check_matrix("S", S);
  check_dtype("S", S, DType::f64);
  check_dtype("T", T, DType::f64);
  check_shape("T", T, S.rows, S.columns);
  check_dtype("dx", dx, DType::f64);
  check_shape("dx", dx, 1, S.rows);
  check_dtype("dy", dy, DType::f64);
  check_shape("dy", dy, 1, S.columns);
  const double* y = dy.row<double>(0);
  for (int64_t i = 0; i < S.rows; ++i) {
    double* s = S.row<double>(i);
    const double* t = T.row<double>(i);
    const double x = weight * dx.row<double>(0)[i];
    for (int64_t j = 0; j < S.columns; ++j) s[j] += t[j] + x * y[j];
  }
}

}  // namespace pyscale::cpu
