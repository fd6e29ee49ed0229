// pyscale._native: the core's functions for Python. Addresses in, nothing owned, the GIL released, no logic.
#include <pybind11/pybind11.h>

#include "core/matrix.h"
#include "cpu/gram.h"

namespace py = pybind11;

namespace pyscale {
namespace {

Matrix make_matrix(uintptr_t address, int64_t rows, int64_t columns, int64_t pitch, DType dtype) {
  return Matrix{reinterpret_cast<void*>(address), rows, columns, pitch, dtype};
}

}  // namespace
}  // namespace pyscale

PYBIND11_MODULE(_native, module) {
  using namespace pyscale;
  module.doc() = "Native kernels of pyscale.";
  module.attr("__version__") = PYSCALE_VERSION;
#ifdef PYSCALE_HAS_CUDA
  module.attr("HAS_CUDA") = true;
#else
  module.attr("HAS_CUDA") = false;
#endif

  py::enum_<DType>(module, "DType")
      .value("f64", DType::f64)
      .value("f32", DType::f32)
      .value("f16", DType::f16)
      .value("bf16", DType::bf16);
  py::enum_<Kernel>(module, "Kernel").value("linear", Kernel::linear).value("rbf", Kernel::rbf);
  py::enum_<Centering>(module, "Centering")
      .value("none", Centering::none)
      .value("double", Centering::double_)
      .value("unbiased", Centering::unbiased);
  py::class_<Matrix>(module, "Matrix")
      .def(py::init(&make_matrix), py::arg("address"), py::arg("rows"), py::arg("columns"),
           py::arg("pitch"), py::arg("dtype"));

  module.def(
      "gram",
      [](const Matrix& K, const Matrix& X, Kernel kernel, Centering centering, double bandwidth,
         int threads) { return cpu::gram(K, X, {kernel, centering, bandwidth, threads}); },
      py::arg("K"), py::arg("X"), py::arg("kernel"), py::arg("centering"), py::arg("bandwidth"),
      py::arg("threads"), py::call_guard<py::gil_scoped_release>());
}
