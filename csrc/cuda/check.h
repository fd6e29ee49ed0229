// CUDA's status codes as exceptions, and its current device as a scope.
#pragma once

#include <cuda_runtime.h>

#include "core/error.h"

namespace pyscale::cuda {

inline const char* advice(cudaError_t status) {
  switch (status) {
    case cudaErrorInsufficientDriver:
      return "; there is no NVIDIA driver, or it is older than the CUDA runtime this was built "
             "with";
    case cudaErrorNoDevice:
      return "; the driver sees no GPU (CUDA_VISIBLE_DEVICES may hide it)";
    case cudaErrorNoKernelImageForDevice:
      return "; this build has no code for that GPU: build again with its architecture in "
             "PYSCALE_CUDA_ARCHS";
    case cudaErrorMemoryAllocation:
      return "; the GPU's memory is full";
    default:
      return "";
  }
}

inline void check(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // this error is reported here; the next call shall not find it again
  raise(file, line, "CUDA: ", cudaGetErrorString(status), " [", cudaGetErrorName(status), "] in ",
        call, advice(status));
}

// Makes a device current, and the one before it when it ends. Where these are the same it is set
// all the same, for that binds its context to a new thread; set back it is only where they differ,
// for that makes a context, of hundreds of megabytes, on a GPU that had none.
class DeviceScope {
 public:
  explicit DeviceScope(int device);
  ~DeviceScope() {
    if (before_ != device_) cudaSetDevice(before_);
  }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int device_, before_ = 0;
};

}  // namespace pyscale::cuda

#define PYSCALE_CUDA_CHECK(call) ::pyscale::cuda::check((call), #call, __FILE__, __LINE__)

namespace pyscale::cuda {

inline DeviceScope::DeviceScope(int device) : device_(device) {
  PYSCALE_CUDA_CHECK(cudaGetDevice(&before_));
  PYSCALE_CUDA_CHECK(cudaSetDevice(device));
}

}  // namespace pyscale::cuda
