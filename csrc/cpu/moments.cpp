#include "cpu/moments.h"

#include <algorithm>
#include <atomic>

#include "cpu/buffer.h"
#include "cpu/grid.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"

namespace pyscale::cpu {
namespace {

constexpr int64_t kPackedBytes = 32 << 20;  // of samples that are packed at once
constexpr int64_t kSide = 96;               // features of a block: what it reads and holds fits L2
constexpr int64_t kTogether = 8;            // slices that are packed side by side

// Samples of X with the shift taken off, packed for the tile kernel, kDepth of them to a chunk.
// Here samples are what is summed over and features are the rows of a panel, so that packing needs
// no transposition.
class Samples {
 public:
  Samples(const Matrix& X, const Matrix& shift, int64_t most)
      : X_(X),
        shift_(shift.row<double>(0)),
        edge_(kernels().f64.edge),
        lanes_(kernels().f64.lanes),
        packed_(make_buffer<double>(divide_up(most, kDepth) * chunk_size(),
                                    "the packed samples of co-moments")) {}

  int64_t panels() const { return divide_up(X_.columns, edge_); }
  int64_t slices() const { return panels() * (edge_ / lanes_); }
  // The features of a panel: all but the last have `edge` of them.
  int64_t features(int64_t panel) const { return std::min(edge_, X_.columns - panel * edge_); }
  const double* panel(int64_t i, int64_t chunk) const {
    return packed_.get() + chunk * chunk_size() + i * edge_ * kDepth;
  }

  void pack(int64_t first, int64_t depth, Range slices) {
    for (int64_t some = slices.begin; some < slices.end; some += kTogether)
      for (int64_t k = 0; k < depth; k += kDepth)
        pack_together(first + k, std::min(kDepth, depth - k), k / kDepth,
                      {some, std::min(some + kTogether, slices.end)});
  }

 private:
  int64_t chunk_size() const { return panels() * edge_ * kDepth; }

  void pack_together(int64_t first, int64_t depth, int64_t chunk, Range slices) {
    const int64_t begin = std::min(slices.begin * lanes_, X_.columns),
                  end = std::min(slices.end * lanes_, X_.columns);
    alignas(64) double row[kTogether * kMaxEdge] = {}, shift[kTogether * kMaxEdge] = {};
    std::copy(shift_ + begin, shift_ + end, shift);
    double* out = packed_.get() + chunk * chunk_size() + slices.begin * lanes_ * kDepth;
    for (int64_t k = 0; k < depth; ++k, out += lanes_) {
      kernels().f64.load[static_cast<int>(X_.dtype)](row, X_.at(first + k, begin), end - begin);
      for (int64_t i = 0; i < (slices.end - slices.begin) * lanes_; i += lanes_)
        for (int64_t e = 0; e < lanes_; ++e) out[i * kDepth + e] = row[i + e] - shift[i + e];
    }
  }

  Matrix X_;
  const double* shift_;
  int64_t edge_, lanes_;
  Buffer<double> packed_;  // (chunks, panels, edge / lanes, kDepth, lanes)
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

  void add(Cell at, int64_t depth) {
    rows_ = {at.row * side_, std::min((at.row + 1) * side_, A_.panels())};
    columns_ = {at.column * side_, std::min((at.column + 1) * side_, B_.panels())};
    std::fill_n(tiles_, size(side_), 0.0);
    for (int64_t k = 0; k < depth; k += kDepth) multiply(k / kDepth, std::min(kDepth, depth - k));
    for (int64_t r = rows_.begin; r < rows_.end; ++r)
      for (int64_t i = 0; i < A_.features(r); ++i) add_row(r, i);
    if (!symmetric_) return;
    for (int64_t c = columns_.begin; c < columns_.end; ++c)
      for (int64_t j = 0; j < B_.features(c); ++j) mirror_column(c, j);
  }

 private:
  // Whole cache lines.
  static int64_t tile_size() { return divide_up(kernels().f64.edge * kernels().f64.edge, 8) * 8; }

  double* tile(int64_t r, int64_t c) const {
    return tiles_ + ((r - rows_.begin) * side_ + c - columns_.begin) * tile_size();
  }

  // Where the tiles of a row of panels end: none is above the diagonal.
  int64_t end(int64_t r) const { return symmetric_ ? std::min(columns_.end, r + 1) : columns_.end; }

  void multiply(int64_t chunk, int64_t depth) {
    Ahead ahead{};
    for (int64_t r = rows_.begin; r < rows_.end; ++r)
      for (int64_t c = columns_.begin; c < end(r); ++c)
        kernels().f64.multiply(tile(r, c), A_.panel(r, chunk), B_.panel(c, chunk), depth,
                               A_.features(r), B_.features(c), symmetric_ && r == c, ahead);
  }

  void add_row(int64_t r, int64_t i) {
    double* s = S_.row<double>(r * edge_ + i);
    for (int64_t c = columns_.begin; c < end(r); ++c) {
      double* sums = tile(r, c) + i * edge_;
      const int64_t count = symmetric_ && r == c ? i + 1 : B_.features(c);
      for (int64_t j = 0; j < count; ++j) sums[j] = s[c * edge_ + j] += sums[j];
    }
  }

  // The elements across the diagonal become the same.
  void mirror_column(int64_t c, int64_t j) {
    double* s = S_.row<double>(c * edge_ + j);
    for (int64_t r = std::max(rows_.begin, c); r < rows_.end; ++r) {
      const double* sums = tile(r, c) + j;
      for (int64_t i = r == c ? j + 1 : 0; i < A_.features(r); ++i)
        s[r * edge_ + i] = sums[i * edge_];
    }
  }

  Matrix S_;
  const Samples &A_, &B_;
  bool symmetric_;
  int64_t edge_, side_;
  double* tiles_;
  Range rows_{}, columns_{};  // panels
};

// S += A^T B. A block is summed by one thread in the order of the samples, so neither the number of
// threads nor which of them takes it changes a bit.
void add_products(const Matrix& S, Samples& A, Samples& B, int64_t samples, int64_t most,
                  int threads) {
  const bool symmetric = &A == &B;
  const int64_t edge = kernels().f64.edge;
  const double work =
      static_cast<double>(S.rows * S.columns / (symmetric ? 2 : 1)) * static_cast<double>(samples);
  const int parts = useful_threads(work, threads);
  int64_t side = std::max<int64_t>(1, kSide / edge);
  const auto grid = [&] { return Grid{S.rows, S.columns, side * edge, symmetric}; };
  while (parts > 1 && side > 1 && grid().count() < 4 * parts) side /= 2;
  const Grid blocks = grid();
  const auto memory = make_buffer<double>(Block::size(side) * parts, "blocks of co-moments");
  for (int64_t first = 0; first < samples; first += most) {
    const int64_t depth = std::min(most, samples - first);
    parallel(parts, [&](int t) {
      A.pack(first, depth, share(A.slices(), t, parts));
      if (!symmetric) B.pack(first, depth, share(B.slices(), t, parts));
    });
    std::atomic<int64_t> next{0};
    parallel(parts, [&](int t) {
      Block block(S, A, B, symmetric, side, memory.get() + Block::size(side) * t);
      for (int64_t b = next++; b < blocks.count(); b = next++) block.add(blocks.at(b), depth);
    });
  }
}

// Samples that are packed at once, of so many features.
int64_t most_samples(int64_t samples, int64_t features) {
  const int64_t fit = kPackedBytes / (8 * std::max<int64_t>(1, features)) / kDepth * kDepth;
  return std::min(samples, std::max(fit, kDepth));
}

void check_shift(const char* name, const Matrix& shift, const Matrix& X) {
  check_dtype(name, shift, DType::f64);
  check_shape(name, shift, 1, X.columns);
}

}  // namespace

void self_moments(Matrix S, Matrix X, Matrix shift, int threads) {
  check_matrix("X", X);
  check_shift("shift", shift, X);
  check_dtype("S", S, DType::f64);
  check_shape("S", S, X.columns, X.columns);
  PYSCALE_CHECK(threads >= 1, "threads is ", threads, ", expected at least 1");
  if (X.rows == 0 || X.columns == 0) return;
  const int64_t most = most_samples(X.rows, X.columns);
  Samples samples(X, shift, most);
  add_products(S, samples, samples, X.rows, most, threads);
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
  const int64_t most = most_samples(X.rows, X.columns + Y.columns);
  Samples x(X, shift_x, most), y(Y, shift_y, most);
  add_products(S, x, y, X.rows, most, threads);
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
