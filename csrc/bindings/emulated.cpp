// pyscale._emulated: the CUDA kernels, run by the emulator on memory of the CPU. For the tests;
// never installed with the package.
#include <pybind11/pybind11.h>

#include "bindings/register.h"
#include "emulator/launch.h"

namespace py = pybind11;

namespace {

void configure(int capability, int multiprocessors, uint64_t seed, bool truncate) {
  pyscale::emulator::configure({capability, multiprocessors, seed, truncate});
}

}  // namespace

PYBIND11_MODULE(_emulated, module) {
  module.doc() = "The CUDA kernels of pyscale, emulated.";
  // Matrix and the enumerations are registered there, once for both modules.
  const py::module_ native = py::module_::import("pyscale._native");
  for (const char* name : {"DType", "Kernel", "Centering", "Matrix"})
    module.attr(name) = native.attr(name);
  pyscale::bindings::register_cuda(module);
  pyscale::bindings::register_products(module);
  pyscale::bindings::register_stages(module);
  pyscale::bindings::register_selftest(module);
  const pyscale::emulator::Options standard;
  module.def("configure", &configure, py::kw_only(), py::arg("capability") = standard.capability,
             py::arg("multiprocessors") = standard.multiprocessors, py::arg("seed") = standard.seed,
             py::arg("truncate") = standard.truncate);
}
