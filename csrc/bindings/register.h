// One registering function per family of kernels.
#pragma once

#include <pybind11/pybind11.h>

namespace pyscale::bindings {

void register_cpu(pybind11::module_& module);
void register_cuda(pybind11::module_& module);      // defined in builds with CUDA
void register_products(pybind11::module_& module);  // defined in the emulator
void register_stages(pybind11::module_& module);    // defined in the emulator
void register_selftest(pybind11::module_& module);  // defined in the emulator

}  // namespace pyscale::bindings
