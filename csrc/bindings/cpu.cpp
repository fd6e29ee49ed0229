// The CPU kernels' Python names.
#include "bindings/register.h"
#include "cpu/gram.h"
#include "cpu/hsic.h"
#include "cpu/isa.h"
#include "cpu/moments.h"
#include "cpu/parallel.h"

namespace py = pybind11;

namespace pyscale::bindings {
namespace {

using Unlocked = py::call_guard<py::gil_scoped_release>;

bool gram(const Matrix& K, const Matrix& X, Kernel kernel, Centering centering, double bandwidth,
          int threads) {
  return cpu::gram(K, X, {kernel, centering, bandwidth, threads});
}

bool packed_gram(const Matrix& v, const Matrix& X, Kernel kernel, double bandwidth, int threads) {
  return cpu::packed_gram(v, X, {kernel, Centering::unbiased, bandwidth, threads});
}

void use_team(uintptr_t run, uintptr_t size) {
  cpu::use_team({reinterpret_cast<decltype(cpu::Team::run)>(run),
                 reinterpret_cast<decltype(cpu::Team::size)>(size)});
}

py::tuple isas() {
  const auto& all = cpu::compiled_kernels();
  py::tuple names(all.size());
  for (size_t i = 0; i < all.size(); ++i) names[i] = all[i]->isa;
  return names;
}

}  // namespace

void register_cpu(py::module_& module) {
  module.def("isa", [] { return cpu::kernels().isa; });
  module.def("isas", &isas);
  module.def("use_team", &use_team, py::arg("run"), py::arg("size"));
  module.def("gram", &gram, Unlocked(), py::arg("K"), py::arg("X"), py::arg("kernel"),
             py::arg("centering"), py::arg("bandwidth"), py::arg("threads"));
  module.def("packed_gram", &packed_gram, Unlocked(), py::arg("v"), py::arg("X"), py::arg("kernel"),
             py::arg("bandwidth"), py::arg("threads"));
  module.def("hsic_pairs", &cpu::hsic_pairs, Unlocked(), py::arg("H"), py::arg("V"), py::arg("W"),
             py::arg("threads"));
  module.def("self_moments", &cpu::self_moments, Unlocked(), py::arg("S"), py::arg("X"),
             py::arg("shift"), py::arg("threads"));
  module.def("cross_moments", &cpu::cross_moments, Unlocked(), py::arg("S"), py::arg("X"),
             py::arg("shift_x"), py::arg("Y"), py::arg("shift_y"), py::arg("threads"));
  module.def("merge_moments", &cpu::merge_moments, Unlocked(), py::arg("S"), py::arg("T"),
             py::arg("dx"), py::arg("dy"), py::arg("weight"));
}

}  // namespace pyscale::bindings
