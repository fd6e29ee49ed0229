#include "cpu/hsic.h"

#include "cpu/load.h"
#include "cpu/parallel.h"

namespace pyscale::cpu {

void hsic_pairs(Matrix H, Matrix V, Matrix W, int threads) {
  check_matrix("V", V);
  check_wide("V", V);
  check_dtype("W", W, V.dtype);
  check_shape("W", W, W.rows, V.columns);
  check_dtype("H", H, DType::f64);
  check_shape("H", H, V.rows, W.rows);
  PYSCALE_CHECK(threads >= 1, "threads is ", threads, ", expected at least 1");
  const bool same = V == W;
  parallel(threads, [&](int t) {
    const Range rows = share(V.rows, t, threads);
    for (int64_t i = rows.begin; i < rows.end; ++i)
      for (int64_t j = 0; j < (same ? i + 1 : W.rows); ++j) {
        double sum = 0;
        for (int64_t k = 0; k < V.columns; ++k) sum += load(V, i, k) * load(W, j, k);
        H.row<double>(i)[j] = sum;
        if (same) H.row<double>(j)[i] = sum;
      }
  });
}

}  // namespace pyscale::cpu
