// From the workspace to the caller's memory, centred on the way.
#pragma once

#include "core/matrix.h"
#include "cpu/center.h"
#include "cpu/tiles.h"

namespace pyscale::cpu {

// M_ij and M_ji = K_ij less its shares, rounded once.
void store(Matrix M,  // (n, n) f64 or f32
           Tiles& K, const Shares& shares, int threads);

// v[i(i-1)/2 + j] = K_ij less its shares, i > j.
void store_packed(Matrix v,  // (1, n(n-1)/2) f64 or f32
                  Tiles& K, const Shares& shares, int threads);

}  // namespace pyscale::cpu
