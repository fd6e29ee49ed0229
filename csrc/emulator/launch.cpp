#include "emulator/launch.h"

#include <mutex>
#include <numeric>
#include <utility>
#include <vector>

#include "core/error.h"
#include "emulator/block.h"
#include "emulator/builtins.h"

namespace pyscale::emulator {
namespace {

std::mutex device;  // one launch at a time, whatever the caller's threads

void check_launch(dim3 grid, dim3 size, size_t shared) {
  const uint64_t threads = uint64_t{size.x} * size.y * size.z;
  PYSCALE_CHECK(threads > 0 && threads <= kMostThreads && size.z <= 64,
                "CUDA emulator: a block of (", size.x, ", ", size.y, ", ", size.z,
                ") threads; expected 1 to ", kMostThreads);
  PYSCALE_CHECK(grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x < 1u << 31 && grid.y < 1u << 16 &&
                    grid.z < 1u << 16,
                "CUDA emulator: a grid of (", grid.x, ", ", grid.y, ", ", grid.z, ") blocks");
  PYSCALE_CHECK(shared <= most_shared(), "CUDA emulator: a launch with ", shared,
                " bytes of shared memory; the device has ", most_shared());
}

}  // namespace

void configure(const Options& options) {
  PYSCALE_CHECK(options.capability >= 80 && options.capability <= 120, "capability is ",
                options.capability, ", expected 80 to 120");
  PYSCALE_CHECK(options.multiprocessors >= 1, "multiprocessors is ", options.multiprocessors,
                ", expected at least 1");
  const std::lock_guard<std::mutex> lock(device);
  block.options = options;
}

Options options() { return block.options; }

size_t most_shared() {
  switch (block.options.capability) {
    case 80:
    case 87:
      return 163 << 10;
    case 86:
    case 89:
    case 120:
      return 99 << 10;
    default:
      return kMostShared;
  }
}

void launch(dim3 grid, dim3 size, size_t shared, const std::function<void()>& body) {
  const std::lock_guard<std::mutex> lock(device);
  check_launch(grid, size, shared);
  Random order(block.options.seed);
  std::vector<uint64_t> blocks(uint64_t{grid.x} * grid.y * grid.z);
  std::iota(blocks.begin(), blocks.end(), uint64_t{0});
  gridDim = grid;
  blockDim = size;
  for (size_t left = blocks.size(); left > 0; --left) {
    std::swap(blocks[order.below(static_cast<uint32_t>(left))], blocks[left - 1]);
    const uint64_t i = blocks[left - 1];
    blockIdx = {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                static_cast<unsigned>(i / grid.x / grid.y)};
    block.scheduler.seed(order.next());
    block.run(size, shared, body);
  }
}

}  // namespace pyscale::emulator
