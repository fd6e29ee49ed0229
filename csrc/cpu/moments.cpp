#include "cpu/moments.h"

#include <algorithm>
#include <vector>

#include "cpu/buffer.h"
#include "cpu/grid.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"

namespace pyscale::cpu {
namespace {

// Some samples of X with the shift taken off, packed for the tile kernel. Here samples are what is
// summed over and features are the rows of a panel, so that packing needs no transposition.
class Samples {
 public:
  Samples(const Matrix& X, const Matrix& shift, Range panels)
      : X_(X),
        shift_(shift.row<double>(0)),
        edge_(kernels().f64.edge),
        panels_(panels),
        packed_(make_buffer<double>((panels.end - panels.begin) * edge_ * kDepth)),
        row_(static_cast<size_t>((panels.end - panels.begin) * edge_)) {}

  void load(int64_t first, int64_t depth) {
    const int64_t begin = panels_.begin * edge_, end = std::min(panels_.end * edge_, X_.columns);
    for (int64_t k = 0; k < depth; ++k) {
      kernels().f64.load[static_cast<int>(X_.dtype)](row_.data(), X_.at(first + k, begin),
                                                     end - begin);
      for (int64_t j = begin; j < end; ++j) row_[static_cast<size_t>(j - begin)] -= shift_[j];
      const int64_t lanes = kernels().f64.lanes,
                    slices = (panels_.end - panels_.begin) * edge_ / lanes;
      for (int64_t s = 0; s < slices; ++s)
        std::copy_n(row_.data() + s * lanes, lanes, packed_.get() + (s * kDepth + k) * lanes);
    }
  }

  const double* panel(int64_t i) const {
    return packed_.get() + (i - panels_.begin) * edge_ * kDepth;
  }

 private:
  double* at(int64_t i) { return packed_.get() + (i - panels_.begin) * edge_ * kDepth; }

  Matrix X_;
  const double* shift_;
  int64_t edge_;
  Range panels_;
  Buffer<double> packed_;    // (panels, kDepth, edge)
  std::vector<double> row_;  // one sample; what exceeds its features stays 0
};

// S += a finished tile; in a symmetric S the elements across the diagonal become the same. They are
// written from the tile, row by row: down the columns of S they would fall into few cache sets
// where its pitch is a power of two.
void add_tile(Matrix S, const Grid& grid, Cell at, double* tile) {
  const int64_t i0 = at.row * grid.edge, i1 = std::min(i0 + grid.edge, grid.rows);
  const int64_t j0 = at.column * grid.edge, j1 = std::min(j0 + grid.edge, grid.columns);
  const auto element = [&](int64_t i, int64_t j) -> double& {
    return tile[(i - i0) * grid.edge + j - j0];
  };
  for (int64_t i = i0; i < i1; ++i) {
    double* s = S.row<double>(i);
    const int64_t end = grid.symmetric ? std::min(j1, i + 1) : j1;
    for (int64_t j = j0; j < end; ++j) element(i, j) = s[j] += element(i, j);
  }
  if (!grid.symmetric) return;
  for (int64_t j = j0; j < j1; ++j)
    for (int64_t i = std::max(i0, j + 1); i < i1; ++i) S.row<double>(j)[i] = element(i, j);
}

// The tiles of one thread, kDepth samples at a time.
void add_products(Matrix S, const Grid& grid, Samples& A, Samples& B, int64_t samples,
                  Range tiles) {
  alignas(64) double tile[kMaxEdge * kMaxEdge];
  for (int64_t first = 0; first < samples; first += kDepth) {
    const int64_t depth = std::min(kDepth, samples - first);
    A.load(first, depth);
    if (&A != &B) B.load(first, depth);
    Ahead ahead{};
    Cell at = grid.at(tiles.begin);
    for (int64_t t = tiles.begin; t < tiles.end; ++t, at = grid.next(at)) {
      std::fill_n(tile, grid.edge * grid.edge, 0.0);
      kernels().f64.multiply(tile, A.panel(at.row), B.panel(at.column), depth,
                             std::min(grid.edge, grid.rows - at.row * grid.edge),
                             std::min(grid.edge, grid.columns - at.column * grid.edge),
                             grid.symmetric && at.row == at.column, ahead);
      add_tile(S, grid, at, tile);
    }
  }
}

// Calls body with each thread's share of the tiles. A tile is summed by one thread in the order of
// the samples, so the number of threads does not change a bit.
template <class Body>
void each_share(const Grid& grid, int64_t samples, int threads, const Body& body) {
  PYSCALE_CHECK(threads >= 1, "threads is ", threads, ", expected at least 1");
  if (grid.count() == 0 || samples == 0) return;
  const double work =
      static_cast<double>(grid.count() * grid.edge * grid.edge) * static_cast<double>(samples);
  const auto parts =
      static_cast<int>(std::min<int64_t>(grid.count(), useful_threads(work, threads)));
  parallel(parts, [&](int t) { body(share(grid.count(), t, parts)); });
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
  const Grid grid{X.columns, X.columns, kernels().f64.edge, true};
  each_share(grid, X.rows, threads, [&](Range tiles) {
    Samples samples(X, shift, {0, grid.at(tiles.end - 1).row + 1});
    add_products(S, grid, samples, samples, X.rows, tiles);
  });
}

void cross_moments(Matrix S, Matrix X, Matrix shift_x, Matrix Y, Matrix shift_y, int threads) {
  check_matrix("X", X);
  check_shape("Y", Y, X.rows, Y.columns);
  check_shift("shift_x", shift_x, X);
  check_shift("shift_y", shift_y, Y);
  check_dtype("S", S, DType::f64);
  check_shape("S", S, X.columns, Y.columns);
  const Grid grid{X.columns, Y.columns, kernels().f64.edge, false};
  each_share(grid, X.rows, threads, [&](Range tiles) {
    Samples x(X, shift_x, {grid.at(tiles.begin).row, grid.at(tiles.end - 1).row + 1});
    Samples y(Y, shift_y, {0, grid.across()});
    add_products(S, grid, x, y, X.rows, tiles);
  });
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
