// What every check of a function needs: drawn arguments, a call under lack of memory, a comparison.
#pragma once

#include <functional>
#include <sstream>
#include <string>

#include "checks/calls.h"
#include "checks/fenced.h"
#include "checks/oracle.h"

namespace pyscale::checks {

// Errors allowed, relative to the terms: the same as in tests/tolerances.py.
constexpr double kWide = 1e-12, kNarrow = 1e-5;
constexpr int64_t kMostWork = 2'000'000;  // multiply-adds of an oracle's loop

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream stream;
  stream.precision(17);
  (stream << ... << parts);
  return stream.str();
}

// Adds to what is thrown which call it was.
template <class Body>
void in_call(const std::string& call, const Body& body) {
  try {
    body();
  } catch (const std::exception& error) {
    throw Wrong(call + ": " + error.what());
  }
}

// ---- arguments ----

DType any_dtype(Random& random);
DType wide_dtype(Random& random);
int draw_threads(Random& random);

enum class Content { varied, constant, nearly_constant, spoiled };

// Features of different means and scales; or all samples the same; or but for a few of the last
// digits; or with something not finite. It can't be written to after that.
void fill(Random& random, Fenced& X, Content content);

Table read(const Fenced& M);
std::string describe(const char* name, const Fenced& M);

// ---- calls ----

// Runs a call that writes `out`, whose content is set. Now and then one allocation after the other
// fails first: each must arrive as std::bad_alloc, a large one as OutOfMemory with its size, and
// leave `out` as it was. Nothing around its elements may ever change.
void run(Random& random, Fenced& out, const std::function<void()>& call);

// ---- results ----

void compare(const Fenced& out, const Expected& expected, double tolerance);
void check_symmetry(const Fenced& out);
// For a call that does not read `out`: repeated, it must give the same bits.
void check_repetition(Random& random, Fenced& out, const std::function<void()>& call);

}  // namespace pyscale::checks
