// The CUDA kernels' Python names.
#include <pybind11/stl.h>

#include "bindings/register.h"
#include "cuda/device.h"
#include "cuda/gram.h"
#include "cuda/hsic.h"
#include "cuda/moments.h"

namespace py = pybind11;

namespace pyscale::bindings {
namespace {

using Unlocked = py::call_guard<py::gil_scoped_release>;

using Matrices = std::vector<Matrix>;

int64_t grams_workspace(const Matrices& X, Kernel kernel, Centering centering, bool packed,
                        cuda::Precision precision, int device) {
  return cuda::grams_workspace(X, {kernel, centering, packed, 1.0, precision, {}}, device);
}

void grams(const Matrices& out, const Matrices& X, uintptr_t constant, Kernel kernel,
           Centering centering, bool packed, double bandwidth, cuda::Precision precision,
           uintptr_t workspace, int64_t bytes, int device, uintptr_t stream, uintptr_t read,
           uintptr_t floors, double noise, double least) {
  cuda::grams(out, X, constant, floors,
              {kernel, centering, packed, bandwidth, precision, {noise, least}},
              {reinterpret_cast<void*>(workspace), bytes}, device, stream, read);
}

}  // namespace

void register_cuda(py::module_& module) {
  py::enum_<cuda::Precision>(module, "Precision", py::module_local())
      .value("default", cuda::Precision::default_)
      .value("exact", cuda::Precision::exact)
      .value("fast", cuda::Precision::fast);
  module.def("cuda_device_count", &cuda::device_count, Unlocked());
  module.def("cuda_grams_workspace", &grams_workspace, Unlocked(), py::arg("X"), py::arg("kernel"),
             py::arg("centering"), py::arg("packed"), py::arg("precision"), py::arg("device"));
  module.def("cuda_grams", &grams, Unlocked(), py::arg("out"), py::arg("X"), py::arg("constant"),
             py::arg("kernel"), py::arg("centering"), py::arg("packed"), py::arg("bandwidth"),
             py::arg("precision"), py::arg("workspace"), py::arg("bytes"), py::arg("device"),
             py::arg("stream"), py::arg("read"), py::arg("floors") = 0, py::arg("noise") = 0.0,
             py::arg("least") = 0.0);
  module.def("cuda_hsic_workspace", &cuda::hsic_workspace, py::arg("L"), py::arg("M"), py::arg("N"),
             py::arg("device"));
  module.def("cuda_hsic_pairs", &cuda::hsic_pairs, Unlocked(), py::arg("H"), py::arg("V"),
             py::arg("W"), py::arg("workspace"), py::arg("device"), py::arg("stream"));
  module.def("cuda_moments_workspace", &cuda::moments_workspace, py::arg("p"), py::arg("q"),
             py::arg("n"), py::arg("device"));
  module.def("cuda_self_moments", &cuda::self_moments, Unlocked(), py::arg("S"), py::arg("X"),
             py::arg("shift"), py::arg("workspace"), py::arg("device"), py::arg("stream"));
  module.def("cuda_cross_moments", &cuda::cross_moments, Unlocked(), py::arg("S"), py::arg("X"),
             py::arg("shift_x"), py::arg("Y"), py::arg("shift_y"), py::arg("workspace"),
             py::arg("device"), py::arg("stream"));
}

}  // namespace pyscale::bindings
