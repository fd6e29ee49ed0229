// Launching a kernel: on the GPU's stream, or, in emulated builds, on the fibers of csrc/emulator.
#pragma once

#include <cuda_runtime.h>

#include <type_traits>

#include "cuda/check.h"
#ifdef PYSCALE_EMULATED
#include "emulator/launch.h"
#endif

namespace pyscale::cuda {

constexpr size_t kPlainShared = 48 << 10;  // bytes of shared memory that need no permission

// Whether the current device can bring a kernel to its multiprocessors while the one before works
// (follow_stream): from sm_90 on. A kernel of a few microseconds ends before the next has started.
inline bool launches_overlap() {
  int index = 0, major = 0;
  PYSCALE_CUDA_CHECK(cudaGetDevice(&index));
  PYSCALE_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index));
  return major >= 9;
}

// Queues kernel(arguments...), whose first call is follow_stream, for a grid of thread blocks; a
// failed launch is an Error.
template <class... Parameters>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared,
            cudaStream_t stream, std::decay_t<Parameters>... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
#ifdef PYSCALE_EMULATED
  (void)stream;
  emulator::launch(grid, block, shared, [&] { kernel(arguments...); });
#else
  if (shared > kPlainShared)
    PYSCALE_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                            static_cast<int>(shared)));
  cudaLaunchConfig_t configuration{};
  configuration.gridDim = grid;
  configuration.blockDim = block;
  configuration.dynamicSmemBytes = shared;
  configuration.stream = stream;
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  configuration.attrs = &early;
  configuration.numAttrs = launches_overlap() ? 1 : 0;
  PYSCALE_CUDA_CHECK(
      cudaLaunchKernelEx(&configuration, kernel, std::decay_t<Parameters>(arguments)...));
#endif
}

}  // namespace pyscale::cuda
