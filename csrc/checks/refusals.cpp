// Arguments that do not fit.
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "checks/calls.h"
#include "checks/fenced.h"
#include "core/error.h"
#include "core/triangle.h"
#include "cpu/gram.h"
#include "cpu/hsic.h"
#include "cpu/moments.h"

namespace pyscale::checks {
namespace {

// What another argument fixes of one.
struct Tied {
  bool rows, columns;
  std::vector<DType> refused;  // element types that do not fit
};

struct Options {
  Kernel kernel = Kernel::linear;
  Centering centering = Centering::none;
  double bandwidth = 1;
  int threads = 1;
};

// A function, arguments that fit it, the first of them its output, and what is tied of each.
struct Function {
  const char* name;
  std::function<void(const std::vector<Matrix>&, const Options&)> call;
  std::vector<Matrix> arguments;
  std::vector<Tied> tied;
  bool has_bandwidth, has_threads;
};

using Storage = std::vector<std::unique_ptr<Fenced>>;

const Matrix& add(Storage& storage, Random& random, int64_t rows, int64_t columns, DType dtype) {
  storage.push_back(std::make_unique<Fenced>(random, rows, columns, dtype));
  return storage.back()->matrix();
}

Function draw_function(Random& random, Storage& storage) {
  constexpr DType f64 = DType::f64, f32 = DType::f32, f16 = DType::f16, bf16 = DType::bf16;
  const int64_t n = random.between(4, 9), p = random.between(4, 9), q = random.between(4, 9);
  const auto matrix = [&](int64_t rows, int64_t columns) {
    return add(storage, random, rows, columns, f64);
  };
  const std::vector<DType> narrow = {f16, bf16}, not_f64 = {f32, f16, bf16};
  switch (random.between(0, 5)) {
    case 0:
      return {"gram",
              [](const auto& m, const Options& o) {
                cpu::gram(m[0], m[1], {o.kernel, o.centering, o.bandwidth, o.threads});
              },
              {matrix(n, n), matrix(n, p)},
              {{true, true, narrow}, {true, false, {}}},
              true,
              true};
    case 1:
      return {"packed_gram",
              [](const auto& m, const Options& o) {
                cpu::packed_gram(m[0], m[1],
                                 {o.kernel, Centering::unbiased, o.bandwidth, o.threads});
              },
              {matrix(1, strict_triangle(n)), matrix(n, p)},
              {{true, true, narrow}, {true, false, {}}},
              true,
              true};
    case 2:
      return {"hsic_pairs",
              [](const auto& m, const Options& o) { cpu::hsic_pairs(m[0], m[1], m[2], o.threads); },
              {matrix(n, p), matrix(n, q), matrix(p, q)},
              {{true, true, not_f64}, {true, true, not_f64}, {true, true, not_f64}},
              false,
              true};
    case 3:
      return {
          "self_moments",
          [](const auto& m, const Options& o) { cpu::self_moments(m[0], m[1], m[2], o.threads); },
          {matrix(p, p), matrix(n, p), matrix(1, p)},
          {{true, true, not_f64}, {false, true, {}}, {true, true, not_f64}},
          false,
          true};
    case 4:
      return {"cross_moments",
              [](const auto& m, const Options& o) {
                cpu::cross_moments(m[0], m[1], m[2], m[3], m[4], o.threads);
              },
              {matrix(p, q), matrix(n, p), matrix(1, p), matrix(n, q), matrix(1, q)},
              {{true, true, not_f64},
               {true, true, {}},
               {true, true, not_f64},
               {true, true, {}},
               {true, true, not_f64}},
              false,
              true};
    default:
      return {
          "merge_moments",
          [](const auto& m, const Options&) { cpu::merge_moments(m[0], m[1], m[2], m[3], 2.0); },
          {matrix(p, q), matrix(p, q), matrix(1, p), matrix(1, q)},
          {{true, true, not_f64},
           {true, true, not_f64},
           {true, true, not_f64},
           {true, true, not_f64}},
          false,
          false};
  }
}

// Every way in which this argument can fail to fit the others, or to be a matrix at all.
std::vector<Matrix> unfit(const Matrix& fit, const Tied& tied) {
  constexpr int64_t huge = std::numeric_limits<int64_t>::max() / 4;
  std::vector<Matrix> all;
  const auto add = [&](auto change) {
    Matrix changed = fit;
    change(changed);
    all.push_back(changed);
  };
  add([](Matrix& m) { m.data = nullptr; });
  add([](Matrix& m) { m.rows = -1; });
  add([](Matrix& m) { m.columns = -m.columns; });
  add([](Matrix& m) { m.columns = -huge; });
  add([](Matrix& m) { m.rows = huge; });
  add([](Matrix& m) { m.columns = m.pitch = huge; });
  if (fit.rows > 1) {
    add([](Matrix& m) { m.pitch = m.columns - 1; });
    add([](Matrix& m) { m.pitch = -m.pitch; });
    add([](Matrix& m) { m.pitch = huge; });
  }
  if (tied.rows) {
    add([](Matrix& m) { m.rows += 1; });
    add([](Matrix& m) { m.rows -= 1; });
    add([](Matrix& m) { m.rows = 0; });
  }
  if (tied.columns) {
    add([](Matrix& m) { m.columns -= 1; });
    add([](Matrix& m) { m.columns = 0; });
    add([](Matrix& m) { m.pitch = m.columns += 1; });
  }
  for (DType dtype : tied.refused) add([dtype](Matrix& m) { m.dtype = dtype; });
  return all;
}

}  // namespace

void check_refusals(Random& random) {
  Storage storage;
  const Function function = draw_function(random, storage);
  Fenced& out = *storage.front();
  out.remember();
  const auto refused = [&](const std::vector<Matrix>& arguments, const Options& options) {
    try {
      function.call(arguments, options);
    } catch (const Error&) {
      if (!out.as_remembered())
        throw Wrong(std::string(function.name) + " refused, and had written");
      return true;
    }
    return false;
  };
  for (size_t a = 0; a < function.arguments.size(); ++a)
    for (const Matrix& changed : unfit(function.arguments[a], function.tied[a])) {
      std::vector<Matrix> arguments = function.arguments;
      arguments[a] = changed;
      if (!refused(arguments, {}))
        throw Wrong(std::string(function.name) + " took argument " + std::to_string(a) +
                    " of shape (" + std::to_string(changed.rows) + ", " +
                    std::to_string(changed.columns) + "), pitch " + std::to_string(changed.pitch) +
                    ", " + name_of(changed.dtype) +
                    (changed.data == nullptr ? ", at address 0" : "") +
                    "; the one that fits has (" + std::to_string(function.arguments[a].rows) +
                    ", " + std::to_string(function.arguments[a].columns) + ")");
    }
  for (int threads : {0, -1, std::numeric_limits<int>::min()}) {
    Options options;
    options.threads = threads;
    if (function.has_threads && !refused(function.arguments, options))
      throw Wrong(std::string(function.name) + " took " + std::to_string(threads) + " threads");
  }
  for (double bandwidth : {0.0, -1.0, double{NAN}, double{INFINITY}}) {
    Options options;
    options.kernel = Kernel::rbf;
    options.bandwidth = bandwidth;
    if (function.has_bandwidth && !refused(function.arguments, options))
      throw Wrong(std::string(function.name) + " took the bandwidth " + std::to_string(bandwidth));
  }
}

}  // namespace pyscale::checks
