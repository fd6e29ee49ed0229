// Tensor maps: how the copy engine finds the boxes of a matrix. Host only.
#pragma once

#include <cuda.h>

#include "core/matrix.h"

namespace pyscale::cuda {

// Whether a map of that matrix can be encoded: float32 or two-byte elements in rows
// of 16-byte multiples.
bool mappable(const Matrix& X);

// The map of X in boxes of `box_rows` rows by 128 bytes of features, written with the 128-byte
// swizzle; zeros beyond its edges.
CUtensorMap map_of(const Matrix& X, int box_rows);

}  // namespace pyscale::cuda
