// For the tests: the kernels that multiply, by themselves. They write partial sums, which the tests
// add and compare; the whole Grams are tested through register_cuda's functions.
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

#include "bindings/register.h"
#include "core/error.h"
#include "cuda/stages.h"

namespace py = pybind11;

namespace pyscale::bindings {
namespace {

void dispatch(const std::string& path, const cuda::Group& group, DType dtype, int parts,
              cuda::Guard guard) {
  if (path == "exact") return cuda::multiply_exact(group, dtype, nullptr);
  if (path == "mma") return cuda::multiply_mma(group, dtype, parts, nullptr);
  if (path == "convert") return cuda::multiply_convert(group, dtype, parts, guard, nullptr);
  if (path == "tma") return cuda::multiply_tma(group, dtype, parts, guard, nullptr);
  raise(__FILE__, __LINE__, "no path is called ", path);
}

// partial[i] (1, splits[i] blocks_of(n) kBlock kBlock) := the products of X[i] (n, p) less
// shift[i].
void multiply(const std::string& path, const std::vector<Matrix>& partial,
              const std::vector<Matrix>& X, const std::vector<std::optional<Matrix>>& shift,
              const std::vector<int>& splits, int parts, cuda::Guard guard,
              const std::vector<bool>& plain) {
  std::vector<cuda::Flags> flags;
  for (const bool is_plain : plain) flags.push_back({1, is_plain});
  cuda::Group group{};
  group.n = X.at(0).rows;
  group.count = static_cast<int32_t>(X.size());
  for (size_t i = 0; i < X.size(); ++i) {
    cuda::Problem& problem = group.problems[i];
    problem.X = X[i].data;
    problem.p = X[i].columns;
    problem.pitch = X[i].pitch;
    problem.shift = shift.at(i) ? shift[i]->data : nullptr;
    problem.flags = &flags.at(i);
    problem.partial = partial.at(i).data;
    problem.splits = splits.at(i);
  }
  dispatch(path, group, X[0].dtype, parts, guard);
}

}  // namespace

void register_products(py::module_& module) {
  py::enum_<cuda::Guard>(module, "Guard")
      .value("none", cuda::Guard::none)
      .value("if_plain", cuda::Guard::if_plain)
      .value("unless_plain", cuda::Guard::unless_plain);
  module.def("multiply", &multiply, py::arg("path"), py::arg("partial"), py::arg("X"),
             py::arg("shift"), py::arg("splits"), py::arg("parts"), py::arg("guard"),
             py::arg("plain"));
  module.def("tma_takes", &cuda::tma_takes, py::arg("X"));
}

}  // namespace pyscale::bindings
