// The emulator's CUDA: the part of the toolkit's header that the engine's kernels and launchers
// use, for g++. A kernel's thread is a fiber, device memory is the host's, a stream does at once
// what it is given.
#pragma once

#include <cuda_runtime_api.h>
#include <vector_types.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "emulator/builtins.h"
#include "emulator/intrinsics.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) alignas(bytes)
