#include "emulator/intrinsics.h"

#include "emulator/block.h"
#include "emulator/builtins.h"
#include "emulator/fail.h"

namespace pyscale::emulator {
namespace {

void check_mask(uint32_t mask) {
  if (mask != 0xFFFFFFFF)
    fail("a warp's instruction with the mask ", mask, ": the emulator takes full ones");
}

}  // namespace

void synchronize_block() {
  // As the hardware counts them: whole warps.
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  block.barriers[0].arrive_and_wait(threads);
}

void synchronize_warp(uint32_t mask) {
  check_mask(mask);
  struct {
  } nothing;
  block.meet_warp("__syncwarp", nothing, [](auto) {});
}

uint64_t shuffle(uint32_t mask, uint64_t value, int source) {
  check_mask(mask);
  struct Arguments {
    uint64_t value, result;
    unsigned source;
  } mine{value, 0, static_cast<unsigned>(source)};
  block.meet_warp("a shuffle", mine, [](Arguments* const* lanes) {
    for (unsigned l = 0; l < kWarp; ++l) lanes[l]->result = lanes[lanes[l]->source]->value;
  });
  return mine.result;
}

int running_lane() { return static_cast<int>(block.thread().lane()); }

void fail_misaligned(size_t bytes) {
  fail("a load of ", bytes, " bytes from an address that is no multiple of that");
}

}  // namespace pyscale::emulator
