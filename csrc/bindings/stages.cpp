// For the tests: the stages before and after the products, by themselves. Each takes a group of
// problems as one list of matrices for each of their pointers; workspaces are matrices too, so that
// a test sees what is written into them and beside them.
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bindings/register.h"
#include "cuda/stages.h"

namespace py = pybind11;

namespace pyscale::bindings {
namespace {

using Matrices = std::vector<Matrix>;

cuda::Group group_of(int64_t n, size_t count) {
  cuda::Group group{};
  group.n = n;
  group.count = static_cast<int32_t>(count);
  return group;
}

// Sets one pointer of every problem.
template <class T>
void point(cuda::Group& group, T* cuda::Problem::* member, const Matrices& matrices) {
  for (size_t i = 0; i < matrices.size(); ++i)
    group.problems[i].*member = static_cast<T*>(matrices[i].data);
}

// shift[i] (p) and sampled[i] (sampled_size(p)) of X[i] (n, p); returns (varies, plain) of each.
std::vector<std::pair<bool, bool>> sample(const Matrices& X,
                                          const std::vector<std::optional<Matrix>>& shift,
                                          const Matrices& sampled, bool exact) {
  std::vector<cuda::Flags> flags(X.size(), {-1, -1});
  cuda::Group group = group_of(X.at(0).rows, X.size());
  for (size_t i = 0; i < X.size(); ++i) {
    cuda::Problem& problem = group.problems[i];
    problem.X = X[i].data;
    problem.p = X[i].columns;
    problem.pitch = X[i].pitch;
    problem.shift = shift.at(i) ? shift[i]->data : nullptr;
    problem.flags = &flags[i];
  }
  point(group, &cuda::Problem::sampled, sampled);
  cuda::sample(group, X[0].dtype, exact, nullptr);
  std::vector<std::pair<bool, bool>> answers;
  for (const cuda::Flags& flag : flags) answers.emplace_back(flag.varies != 0, flag.plain != 0);
  return answers;
}

// G[i] (n, n) := the sum over splits[i] of partial[i] (splits[i], blocks, kBlock, kBlock).
void reduce(const Matrices& G, const Matrices& partial, const std::vector<int>& splits,
            bool exact) {
  cuda::Group group = group_of(G.at(0).rows, G.size());
  point(group, &cuda::Problem::G, G);
  point(group, &cuda::Problem::partial, partial);
  for (size_t i = 0; i < G.size(); ++i) group.problems[i].splits = splits.at(i);
  cuda::reduce(group, exact, nullptr);
}

void exponentiate(const Matrices& G, const Matrices& rows, const Matrices& histogram,
                  double bandwidth) {
  cuda::Group group = group_of(G.at(0).rows, G.size());
  point(group, &cuda::Problem::G, G);
  point(group, &cuda::Problem::rows, rows);
  point(group, &cuda::Problem::histogram, histogram);
  cuda::exponentiate(group, bandwidth, nullptr);
}

// Returns what was written into `constant` and `floor` of each problem.
std::vector<std::pair<bool, double>> center(const Matrices& out, const Matrices& G,
                                            const Matrices& rows, const std::vector<bool>& varies,
                                            Centering centering, bool packed, double noise,
                                            double least) {
  std::vector<cuda::Flags> flags;
  for (const bool varying : varies) flags.push_back({varying ? 1 : 0, 0});
  const auto constant = std::make_unique<bool[]>(G.size());
  std::vector<double> floors(G.size(), -1);
  cuda::Group group = group_of(G.at(0).rows, G.size());
  point(group, &cuda::Problem::G, G);
  point(group, &cuda::Problem::rows, rows);
  for (size_t i = 0; i < G.size(); ++i) {
    cuda::Problem& problem = group.problems[i];
    problem.out = out.at(i).data;
    problem.out_pitch = out[i].pitch;
    problem.flags = &flags.at(i);
    problem.constant = &constant[i];
    problem.floor = &floors[i];
    constant[i] = varies[i];  // the opposite of what is due
  }
  cuda::center(group, centering, packed, out[0].dtype, {noise, least}, nullptr);
  std::vector<std::pair<bool, double>> answers;
  for (size_t i = 0; i < G.size(); ++i) answers.emplace_back(constant[i], floors[i]);
  return answers;
}

}  // namespace

void register_stages(py::module_& module) {
  module.def("sampled_size", &cuda::sampled_size, py::arg("p"));
  module.def("rows_size", &cuda::rows_size, py::arg("n"));
  module.def("histogram_size", &cuda::histogram_size);
  module.def("sample", &sample, py::arg("X"), py::arg("shift"), py::arg("sampled"),
             py::arg("exact"));
  module.def("reduce", &reduce, py::arg("G"), py::arg("partial"), py::arg("splits"),
             py::arg("exact"));
  module.def("exponentiate", &exponentiate, py::arg("G"), py::arg("rows"), py::arg("histogram"),
             py::arg("bandwidth"));
  module.def("center", &center, py::arg("out"), py::arg("G"), py::arg("rows"), py::arg("varies"),
             py::arg("centering"), py::arg("packed"), py::arg("noise"), py::arg("least"));
}

}  // namespace pyscale::bindings
