// The element types that cross the boundary, and the one place where a runtime type becomes a C++
// type.
#pragma once

#include <cstdint>

#include "core/error.h"

namespace pyscale {

enum class DType : int { f64, f32, f16, bf16 };

constexpr int64_t size_of(DType dtype) {
  return dtype == DType::f64 ? 8 : dtype == DType::f32 ? 4 : 2;
}

// The distance from 1 to the next number of the type.
constexpr double epsilon(DType dtype) {
  return dtype == DType::f64   ? 0x1p-52
         : dtype == DType::f32 ? 0x1p-23
         : dtype == DType::f16 ? 0x1p-10
                               : 0x1p-7;
}

constexpr const char* name_of(DType dtype) {
  return dtype == DType::f64   ? "float64"
         : dtype == DType::f32 ? "float32"
         : dtype == DType::f16 ? "float16"
                               : "bfloat16";
}

template <class T>
struct Tag {
  using type = T;
};

// Calls f(Tag<T>{}) with the C++ type of an output: float64 or float32.
template <class F>
decltype(auto) dispatch_output(DType dtype, F&& f) {
  if (dtype == DType::f64) return f(Tag<double>{});
  PYSCALE_CHECK(dtype == DType::f32, "an output is float64 or float32, not ", name_of(dtype));
  return f(Tag<float>{});
}

}  // namespace pyscale
