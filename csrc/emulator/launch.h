// Launching a kernel in the emulator, and the device it pretends to be.
#pragma once

#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <functional>

namespace pyscale::emulator {

struct Options {
  int capability = 90;  // 10 times the compute capability
  int multiprocessors = 4;
  uint64_t seed = 0;      // of the order of blocks and threads and the time of asynchronous work
  bool truncate = false;  // tensor cores add toward zero
};

void configure(const Options& options);
Options options();

// The most shared memory a block of the pretended device may have, in bytes.
size_t most_shared();

// Runs every block of the grid, one after the other in an order drawn from the seed; `body` is
// called in each thread. What a kernel does wrong is thrown as pyscale::Error.
void launch(dim3 grid, dim3 block, size_t shared, const std::function<void()>& body);

}  // namespace pyscale::emulator
