#include "cuda/device.h"

#include "cuda/check.h"

namespace pyscale::cuda {
namespace {

int attribute(cudaDeviceAttr name, int index) {
  int value = 0;
  PYSCALE_CUDA_CHECK(cudaDeviceGetAttribute(&value, name, index));
  return value;
}

}  // namespace

Device device(int index) {
  return {10 * attribute(cudaDevAttrComputeCapabilityMajor, index) +
              attribute(cudaDevAttrComputeCapabilityMinor, index),
          attribute(cudaDevAttrMultiProcessorCount, index)};
}

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

}  // namespace pyscale::cuda
