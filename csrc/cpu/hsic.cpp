#include "cpu/hsic.h"

#include <algorithm>

#include "cpu/product.h"

namespace pyscale::cpu {

void hsic_pairs(Matrix H, Matrix V, Matrix W, int threads) {
  check_matrix("V", V);
  check_wide("V", V);
  check_dtype("W", W, V.dtype);
  check_shape("W", W, W.rows, V.columns);
  check_dtype("H", H, DType::f64);
  check_shape("H", H, V.rows, W.rows);
  Product pairs = product(V, W, {false, false, DType::f64, threads});
  const bool symmetric = pairs.tiles.grid.symmetric;
  pairs.tiles.each_run([&](int64_t i, int64_t j, int64_t count, const double* values) {
    std::copy_n(values, count, H.row<double>(i) + j);
    if (symmetric)
      for (int64_t c = 0; c < count; ++c) H.row<double>(j + c)[i] = values[c];
  });
}

}  // namespace pyscale::cpu
