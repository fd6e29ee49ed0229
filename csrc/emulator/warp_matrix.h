// The matrix instructions of a warp: which lane holds which element, and what happens to them.
#pragma once

#include <cstdint>

#include "emulator/tensor_core.h"

namespace pyscale::emulator {

// ldmatrix.x4: four 8 x 8 matrices of 16-bit numbers; lane l gives the address of row l % 8 of
// matrix l / 8, and r[m] becomes elements (l / 4, 2 (l % 4)) and its right neighbour of matrix m.
void load_matrices(uint32_t (&r)[4], const void* row);

// mma.m16n8k16: d += a b, fragments as the PTX ISA lays them out.
void mma_16x8x16(Half type, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

// mma.m8n8k4 in float64: lane l holds a(l / 4, l % 4), b(l % 4, l / 4), d(l / 4, 2 (l % 4) +
// {0,1}).
void mma_8x8x4(double (&d)[2], double a, double b);

}  // namespace pyscale::emulator
