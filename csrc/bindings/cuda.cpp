// The CUDA kernels' Python names.
#include <pybind11/stl.h>

#include "bindings/register.h"
#include "cuda/gram.h"

namespace py = pybind11;

namespace pyscale::bindings {

void register_cuda(py::module_& module) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  module.def("cuda_device_count", &cuda::device_count, Unlocked());
  module.def("cuda_gram_workspace", &cuda::gram_workspace, py::arg("n"), py::arg("p"));
  module.def("cuda_gram", &cuda::gram, Unlocked(), py::arg("G"), py::arg("X"), py::arg("shift"),
             py::arg("workspace"), py::arg("device"), py::arg("stream"));
}

}  // namespace pyscale::bindings
