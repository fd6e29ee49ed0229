#include "checks/trial.h"

#include <cmath>

#include "checks/starvation.h"
#include "core/error.h"

namespace pyscale::checks {

DType any_dtype(Random& random) {
  return random.one_of({DType::f64, DType::f32, DType::f16, DType::bf16});
}
DType wide_dtype(Random& random) { return random.one_of({DType::f64, DType::f32}); }

int draw_threads(Random& random) { return static_cast<int>(random.between(1, 3)); }

void fill(Random& random, Fenced& X, Content content) {
  const double offset = random.one_of({0.0, 0.0, 1.0, 10.0, 100.0});
  const double step = epsilon(X.matrix().dtype) * random.one_of({1.0, 3.0, 6.0, 20.0});
  for (int64_t j = 0; j < X.columns(); ++j) {
    const double scale = random.one_of({1.0, 0.01, 30.0}),
                 base = (random.normal() + offset) * scale;
    for (int64_t i = 0; i < X.rows(); ++i) {
      double x = base;
      if (content == Content::nearly_constant)
        x *= 1 + step * static_cast<double>(random.between(0, 1));
      if (content == Content::varied || content == Content::spoiled) x += random.normal() * scale;
      X.set(i, j, x);
    }
  }
  if (content == Content::spoiled && X.rows() > 0 && X.columns() > 0)
    X.set(random.between(0, X.rows() - 1), random.between(0, X.columns() - 1),
          random.one_of<double>({NAN, INFINITY, -INFINITY}));
  X.protect();
}

Table read(const Fenced& M) {
  Table table(M.rows(), M.columns());
  for (int64_t i = 0; i < M.rows(); ++i)
    for (int64_t j = 0; j < M.columns(); ++j) table(i, j) = M.get(i, j);
  return table;
}

std::string describe(const char* name, const Fenced& M) {
  return text(" ", name, "=(", M.rows(), ", ", M.columns(), ") ", name_of(M.matrix().dtype),
              " pitch ", M.matrix().pitch, " at ", M.matrix().data);
}

void run(Random& random, Fenced& out, const std::function<void()>& call) {
  constexpr int64_t most = 40;  // allocations that are made to fail
  out.remember();
  if (random.one_in(3)) {
    const bool only_one = random.one_in(2);
    for (int64_t granted = 0; granted < most; ++granted) {
      int64_t refused = 0, reported = -1;
      bool threw = false;
      {
        const Starvation starvation(granted, only_one);
        try {
          call();
        } catch (const OutOfMemory& error) {
          threw = true;
          reported = error.bytes();
        } catch (const std::bad_alloc&) {
          threw = true;
        }
        refused = starvation.refused();
      }
      if (!threw) {  // with all it asked for, or without what it did not get: it has written
        if (!out.as_remembered_beside())
          throw Wrong(text("something beside the output was written"));
        return;
      }
      // Where several fail, in several threads, which is reported is not the first to have failed.
      if (only_one && refused >= 4096 && reported != refused)
        throw Wrong(text(refused, " bytes were not to be had, and ", reported, " reported"));
      if (!out.as_remembered())
        throw Wrong(text("memory ran out and the output had been written to"));
    }
  }
  call();
  if (!out.as_remembered_beside()) throw Wrong(text("something beside the output was written"));
}

void compare(const Fenced& out, const Expected& expected, double tolerance) {
  for (int64_t i = 0; i < out.rows(); ++i)
    for (int64_t j = 0; j < out.columns(); ++j) {
      const double got = out.get(i, j), truth = expected.values(i, j);
      if (!std::isfinite(truth) && !std::isfinite(got)) continue;
      if (!(std::abs(got - truth) <= tolerance * expected.scale))
        throw Wrong(text("element (", i, ", ", j, ") is ", got, ", expected ", truth, " within ",
                         tolerance, " of ", expected.scale));
    }
}

void check_symmetry(const Fenced& out) {
  for (int64_t i = 0; i < out.rows(); ++i)
    for (int64_t j = 0; j < i; ++j) {
      const double a = out.get(i, j), b = out.get(j, i);
      if (a != b && !(std::isnan(a) && std::isnan(b)))
        throw Wrong(text("elements (", i, ", ", j, ") and (", j, ", ", i, ") are ", a, " and ", b));
    }
}

void check_repetition(Random& random, Fenced& out, const std::function<void()>& call) {
  if (!random.one_in(4)) return;
  out.remember();
  call();
  if (!out.as_remembered()) throw Wrong(text("the same call gave other bits"));
}

}  // namespace pyscale::checks
