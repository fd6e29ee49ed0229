#include "emulator/warp_matrix.h"

#include <cstring>

#include "emulator/block.h"

namespace pyscale::emulator {
namespace {

constexpr int kRowBytes = 16;  // of an 8 x 8 matrix

uint16_t half_of(uint32_t pair, int which) { return static_cast<uint16_t>(pair >> (16 * which)); }

}  // namespace

void load_matrices(uint32_t (&r)[4], const void* row) {
  struct Arguments {
    const unsigned char* row;
    uint32_t* r;
  } mine{static_cast<const unsigned char*>(row), r};
  block.shared.offset(row, kRowBytes, kRowBytes, "load_matrices");
  block.meet_warp("load_matrices", mine, [](Arguments* const* lanes) {
    for (unsigned l = 0; l < kWarp; ++l)
      for (unsigned m = 0; m < 4; ++m)
        std::memcpy(&lanes[l]->r[m], lanes[m * 8 + l / 4]->row + l % 4 * 4, 4);
  });
}

void mma_16x8x16(Half type, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  struct Arguments {
    float* d;
    const uint32_t* a;
    const uint32_t* b;
    Half type;
  } mine{d, a, b, type};
  block.meet_warp("mma_16x8x16", mine, [](Arguments* const* lanes) {
    double left[16 * kDepth], right[kDepth * 8];
    float sums[16 * 8];
    // Lane 4 g + t holds rows g and g + 8 of a and d, column g of b; of the depth 2 t, 2 t + 1 and
    // these + 8, of d's columns 2 t, 2 t + 1.
    for (unsigned l = 0; l < kWarp; ++l) {
      const unsigned g = l / 4, t = l % 4;
      const Arguments& lane = *lanes[l];
      for (unsigned e = 0; e < 4; ++e) {
        for (unsigned h = 0; h < 2; ++h)
          left[(g + e % 2 * 8) * kDepth + 2 * t + h + e / 2 * 8] =
              widen(lane.type, half_of(lane.a[e], static_cast<int>(h)));
        sums[(g + e / 2 * 8) * 8 + 2 * t + e % 2] = lane.d[e];
      }
      for (unsigned e = 0; e < 2; ++e)
        for (unsigned h = 0; h < 2; ++h)
          right[(2 * t + h + e * 8) * 8 + g] =
              widen(lane.type, half_of(lane.b[e], static_cast<int>(h)));
    }
    multiply_add(sums, left, right, 16, 8, block.options.truncate);
    for (unsigned l = 0; l < kWarp; ++l)
      for (unsigned e = 0; e < 4; ++e)
        lanes[l]->d[e] = sums[(l / 4 + e / 2 * 8) * 8 + 2 * (l % 4) + e % 2];
  });
}

void mma_8x8x4(double (&d)[2], double a, double b) {
  struct Arguments {
    double* d;
    double a, b;
  } mine{d, a, b};
  block.meet_warp("mma_8x8x4", mine, [](Arguments* const* lanes) {
    double left[8 * 4], right[4 * 8], sums[8 * 8];
    for (unsigned l = 0; l < kWarp; ++l) {
      left[l] = lanes[l]->a;
      right[l % 4 * 8 + l / 4] = lanes[l]->b;
      for (unsigned e = 0; e < 2; ++e) sums[l * 2 + e] = lanes[l]->d[e];
    }
    multiply_add(sums, left, right);
    for (unsigned l = 0; l < kWarp; ++l)
      for (unsigned e = 0; e < 2; ++e) lanes[l]->d[e] = sums[l * 2 + e];
  });
}

}  // namespace pyscale::emulator
