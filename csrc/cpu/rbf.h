// The Gaussian kernel with a median bandwidth.
#pragma once

#include "cpu/tiles.h"

namespace pyscale::cpu {

// G, the linear Gram of (shifted) samples, becomes exp(-D_ij / (2 sigma^2)), D_ij = G_ii + G_jj - 2
// G_ij the squared distances and sigma = bandwidth times the median of the distances over all pairs
// i > j (the mean of the two middle ones where their number is even). Where no scale exists (a
// median of 0, or anything not finite): all NaN. One sample has no pairs, and its kernel is 1.
// Returns how much larger than its own rounding that of the products may be in an element of the
// kernel, infinity where there is no scale: max (G_ii + G_jj) / (2 sigma^2) exp(-D_ij / (2
// sigma^2)).
double rbf(Tiles& G, double bandwidth);

}  // namespace pyscale::cpu
