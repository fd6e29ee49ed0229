// The emulator's own test kernels, as the submodule `selftest` of pyscale._emulated.
#include "emulator/selftest/selftest.h"

#include "bindings/register.h"

namespace py = pybind11;

namespace pyscale::bindings {
namespace {

using selftest::Bug;

void register_bugs(py::module_& module) {
  py::enum_<Bug>(module, "Bug")
      .value("none", Bug::none)
      .value("no_syncthreads", Bug::no_syncthreads)
      .value("unequal_barrier", Bug::unequal_barrier)
      .value("missing_warp", Bug::missing_warp)
      .value("partial_shuffle", Bug::partial_shuffle)
      .value("shared_overrun", Bug::shared_overrun)
      .value("too_much_shared", Bug::too_much_shared)
      .value("misaligned_load", Bug::misaligned_load)
      .value("no_full_wait", Bug::no_full_wait)
      .value("early_release", Bug::early_release)
      .value("no_wgmma_wait", Bug::no_wgmma_wait)
      .value("no_wgmma_fence", Bug::no_wgmma_fence)
      .value("no_init_fence", Bug::no_init_fence)
      .value("over_arrival", Bug::over_arrival)
      .value("too_many_bytes", Bug::too_many_bytes)
      .value("missing_release", Bug::missing_release)
      .value("misaligned_tile", Bug::misaligned_tile)
      .value("no_swizzle", Bug::no_swizzle)
      .value("bad_descriptor", Bug::bad_descriptor)
      .value("unlike_descriptors", Bug::unlike_descriptors)
      .value("lone_setmaxnreg", Bug::lone_setmaxnreg)
      .value("too_many_registers", Bug::too_many_registers)
      .value("no_proxy_fence", Bug::no_proxy_fence)
      .value("misaligned_store", Bug::misaligned_store)
      .value("store_overrun", Bug::store_overrun);
}

}  // namespace

void register_selftest(py::module_& module) {
  py::module_ tests = module.def_submodule("selftest", "Small kernels that test the emulator.");
  register_bugs(tests);
  const auto bug = py::arg("bug") = Bug::none;
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  tests.def("row_sums", &selftest::row_sums, Unlocked(), py::arg("out"), py::arg("X"), bug);
  tests.def("shuffles", &selftest::shuffles, Unlocked(), py::arg("out"));
  tests.def("relay", &selftest::relay, Unlocked(), py::arg("out"), py::arg("rounds"), bug);
  tests.def("counts", &selftest::counts, Unlocked(), py::arg("out"));
  tests.def("warp_product", &selftest::warp_product, Unlocked(), py::arg("D"), py::arg("A"),
            py::arg("B"));
  tests.def("warp_product_exact", &selftest::warp_product_exact, Unlocked(), py::arg("D"),
            py::arg("A"), py::arg("B"));
  tests.def("tile_product", &selftest::tile_product, Unlocked(), py::arg("D"), py::arg("A"),
            py::arg("B"), bug);
  tests.def("stored_product", &selftest::stored_product, Unlocked(), py::arg("D"), py::arg("A"),
            py::arg("B"), bug);
}

}  // namespace pyscale::bindings
