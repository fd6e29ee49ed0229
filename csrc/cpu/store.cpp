#include "cpu/store.h"

#include "core/triangle.h"

namespace pyscale::cpu {
namespace {

// Calls body with shares of the tiles, in as many threads as they are worth.
template <class Body>
void each_share(const Tiles& K, int threads, const Body& body) {
  constexpr double kCost = 16;  // of an element, in multiply-adds: memory is what it takes
  const int parts = useful_threads(kCost * static_cast<double>(K.grid.count() * K.size()), threads);
  parallel(parts, [&](int t) { body(share(K.grid.count(), t, parts)); });
}

// Into the tile itself: the mirrored half is then written from there, row by row.
void subtract(int64_t i, int64_t j, int64_t count, double* k, const Shares& shares) {
  const double own = shares.rows[static_cast<size_t>(i)] - shares.total;
  const double* across = shares.rows.data() + j;
  for (int64_t c = 0; c < count; ++c) k[c] -= own + across[c];
  if (!shares.diagonal && j + count == i + 1) k[count - 1] = 0;
}

}  // namespace

void store(Matrix M, Tiles& K, const Shares& shares, int threads) {
  dispatch_output(M.dtype, [&](auto tag) {
    using Out = typename decltype(tag)::type;
    const int64_t edge = K.grid.edge;
    each_share(K, threads, [&](Range range) {
      K.each_run(range, [&](int64_t i, int64_t j, int64_t count, double* k) {
        subtract(i, j, count, k, shares);
        Out* out = M.row<Out>(i) + j;
        for (int64_t c = 0; c < count; ++c) out[c] = static_cast<Out>(k[c]);
        if ((i + 1) % edge != 0 && i + 1 != K.grid.rows) return;
        // The tile is complete. Its columns go across the diagonal as rows.
        const int64_t i0 = i / edge * edge;
        const double* tile = k - (i - i0) * edge;
        for (int64_t c = 0; c < count; ++c) {
          Out* mirrored = M.row<Out>(j + c);
          for (int64_t r = std::max(i0, j + c + 1); r <= i; ++r)
            mirrored[r] = static_cast<Out>(tile[(r - i0) * edge + c]);
        }
      });
    });
  });
}

void store_packed(Matrix v, Tiles& K, const Shares& shares, int threads) {
  dispatch_output(v.dtype, [&](auto tag) {
    using Out = typename decltype(tag)::type;
    each_share(K, threads, [&](Range range) {
      K.each_run(range, [&](int64_t i, int64_t j, int64_t count, double* k) {
        subtract(i, j, count, k, shares);
        Out* out = v.row<Out>(0) + strict_triangle(i) + j;
        const int64_t left = std::min(count, i - j);  // the diagonal stays out
        for (int64_t c = 0; c < left; ++c) out[c] = static_cast<Out>(k[c]);
      });
    });
  });
}

}  // namespace pyscale::cpu
