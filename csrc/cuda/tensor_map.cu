#include "cuda/tensor_map.h"

#include <cuda_runtime.h>

#include <limits>
#include <type_traits>

#include "core/error.h"
#include "cuda/check.h"
#include "cuda/swizzle.h"

namespace pyscale::cuda {
namespace {

constexpr int64_t kAlignment = 16;                                  // bytes, of rows
constexpr int64_t kMostPitch = (int64_t{1} << 40) - kAlignment;     // bytes
constexpr int64_t kMostSize = std::numeric_limits<int32_t>::max();  // a box's corner is an int
constexpr unsigned int kVersion = 12000;  // of the driver's interface that is asked for

using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                            const cuuint64_t*, const cuuint32_t*, const cuuint32_t*,
                            CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion,
                            CUtensorMapFloatOOBfill);
#ifndef PYSCALE_EMULATED
static_assert(std::is_same_v<Encode, decltype(&cuTensorMapEncodeTiled)>);
#endif

// The driver's encoder, through the runtime: nothing links against the driver.
Encode encoder() {
  static const Encode encode = [] {
    void* address = nullptr;
    cudaDriverEntryPointQueryResult result{};
    PYSCALE_CUDA_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &address,
                                                        kVersion, cudaEnableDefault, &result));
    PYSCALE_CHECK(result == cudaDriverEntryPointSuccess && address != nullptr,
                  "the NVIDIA driver has no cuTensorMapEncodeTiled: it is older than CUDA 12.0");
    return reinterpret_cast<Encode>(address);
  }();
  return encode;
}

}  // namespace

bool mappable(const Matrix& X) {
  const int64_t pitch = X.pitch * size_of(X.dtype);
  return X.dtype != DType::f64 && X.rows >= 1 && X.columns >= 1 && X.rows <= kMostSize &&
         X.columns <= kMostSize && X.pitch >= X.columns && pitch % kAlignment == 0 &&
         pitch <= kMostPitch && reinterpret_cast<uintptr_t>(X.data) % kAlignment == 0;
}

CUtensorMap map_of(const Matrix& X, int box_rows) {
  PYSCALE_CHECK(mappable(X), "no tensor map for a matrix of ", name_of(X.dtype), ", shape (",
                X.rows, ", ", X.columns, ") and pitch ", X.pitch, " at ", X.data);
  const auto type = X.dtype == DType::f32   ? CU_TENSOR_MAP_DATA_TYPE_FLOAT32
                    : X.dtype == DType::f16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                            : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(X.columns), static_cast<cuuint64_t>(X.rows)};
  const cuuint64_t pitch[1] = {static_cast<cuuint64_t>(X.pitch * size_of(X.dtype))};
  const cuuint32_t box[2] = {static_cast<cuuint32_t>(kRowBytes / size_of(X.dtype)),
                             static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[2] = {1, 1};
  CUtensorMap map;
  // A row of a box is 128 bytes; promoted to 256, a request of the second-level cache to memory
  // brings those of the next chunk, which the same thread block reads next.
  const CUresult status =
      encoder()(&map, type, 2, X.data, sizes, pitch, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);  // fills with zeros
  PYSCALE_CHECK(status == CUDA_SUCCESS, "cuTensorMapEncodeTiled failed with status ",
                static_cast<int>(status));
  return map;
}

}  // namespace pyscale::cuda
