// What the engine must know of a GPU.
#pragma once

#include <cuda_runtime.h>

namespace pyscale::cuda {

struct Device {
  int index;
  int capability;  // 90 for compute capability 9.0
  int multiprocessors;
};

// Of the GPU of that index; asked of the driver once.
const Device& device(int index);

// GPUs the driver offers; 0 where there is no driver.
int device_count();

}  // namespace pyscale::cuda
