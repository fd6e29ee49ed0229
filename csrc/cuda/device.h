// What the engine must know of a GPU.
#pragma once

namespace pyscale::cuda {

struct Device {
  int capability;  // 90 for compute capability 9.0
  int multiprocessors;
};

// Of the GPU of that index.
Device device(int index);

// GPUs the driver offers; 0 where there is no driver.
int device_count();

}  // namespace pyscale::cuda
