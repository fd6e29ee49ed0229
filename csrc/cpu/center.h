// Double and U-centring of a symmetric matrix.
#pragma once

#include <vector>

#include "core/matrix.h"
#include "cpu/tiles.h"

namespace pyscale::cpu {

// What a centring takes off K_ij: rows[i] + rows[j] - total.
struct Shares {
  std::vector<double> rows;  // (n)
  double total;
  bool diagonal;  // whether the result has one: the U-centred matrix is 0 there
};

// Double: H K H, H = I - 11^T / n: means of the rows, and of all. Unbiased: Szekely and Rizzo
// (2014), eq. 2.5, sums over i != j, divided by n - 2 and by (n - 1)(n - 2). None: 0.
Shares shares(Tiles& K, Centering centering, int threads);

}  // namespace pyscale::cpu
