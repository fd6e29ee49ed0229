#include "cpu/hsic.h"

#include "cpu/product.h"

namespace pyscale::cpu {

void hsic_pairs(Matrix H, Matrix V, Matrix W, int threads) {
  check_matrix("V", V);
  check_wide("V", V);
  check_dtype("W", W, V.dtype);
  check_shape("W", W, W.rows, V.columns);
  check_dtype("H", H, DType::f64);
  check_shape("H", H, V.rows, W.rows);
  const Product pairs = product(V, W, {false, false, DType::f64, threads});
  pairs.each([&](int64_t i, int64_t j, double value) {
    H.row<double>(i)[j] = value;
    if (pairs.grid.symmetric) H.row<double>(j)[i] = value;
  });
}

}  // namespace pyscale::cpu
