// pyscale._native: the core's functions for Python. Addresses in, nothing owned, the GIL released,
// no logic.
#include <pybind11/pybind11.h>

#include "bindings/register.h"
#include "core/matrix.h"

namespace py = pybind11;

namespace pyscale::bindings {
namespace {

Matrix make_matrix(uintptr_t address, int64_t rows, int64_t columns, int64_t pitch, DType dtype) {
  return Matrix{reinterpret_cast<void*>(address), rows, columns, pitch, dtype};
}

void register_types(py::module_& module) {
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
}

}  // namespace
}  // namespace pyscale::bindings

PYBIND11_MODULE(_native, module) {
  module.doc() = "Native kernels of pyscale.";
  module.attr("__version__") = PYSCALE_VERSION;
  module.attr("CUDA_ARCHS") = PYSCALE_BUILT_ARCHS;
  pyscale::bindings::register_types(module);
  pyscale::bindings::register_cpu(module);
#ifdef PYSCALE_HAS_CUDA
  module.attr("HAS_CUDA") = true;
  pyscale::bindings::register_cuda(module);
#else
  module.attr("HAS_CUDA") = false;
  module.def("cuda_device_count", [] { return 0; });
#endif
}
