// Co-moments.
#include <algorithm>

#include "checks/trial.h"
#include "cpu/moments.h"

namespace pyscale::checks {
namespace {

// Sums so far. Above the diagonal of a symmetric matrix, where nothing is read, they are left NaN.
void fill_sums(Random& random, Fenced& S, bool lower) {
  for (int64_t i = 0; i < S.rows(); ++i)
    for (int64_t j = 0; j < (lower ? i + 1 : S.columns()); ++j) S.set(i, j, random.normal());
}

void fill_row(Random& random, Fenced& row) {
  for (int64_t j = 0; j < row.columns(); ++j) row.set(0, j, random.normal() * 10);
  row.protect();
}

}  // namespace

void check_self_moments(Random& random) {
  const int64_t p = random.size(140),
                n = random.size(std::min<int64_t>(kMostWork / (p * p + 1), 3000));
  if (n == 0) return;  // nothing is written then, and S is as symmetric as it was
  Fenced X(random, n, p, any_dtype(random)), shift(random, 1, p, DType::f64);
  Fenced S(random, p, p, DType::f64);
  fill(random, X, random.one_in(8) ? Content::spoiled : Content::varied);
  fill_row(random, shift);
  fill_sums(random, S, true);
  const Table start = read(S);
  const int threads = draw_threads(random);
  std::ostringstream name;
  name << "self_moments" << describe("S", S) << describe("X", X) << describe("shift", shift)
       << " threads " << threads;
  in_call(name.str(), [&] {
    run(random, S, [&] { cpu::self_moments(S.matrix(), X.matrix(), shift.matrix(), threads); });
    const Table x = read(X), a = read(shift);
    compare(S, moments(start, x, a, x, a, true), kWide);
    check_symmetry(S);
  });
}

void check_cross_moments(Random& random) {
  const int64_t p = random.size(140), q = random.size(140);
  const int64_t n = random.size(std::min<int64_t>(kMostWork / (p * q + 1), 3000));
  Fenced X(random, n, p, any_dtype(random)), Y(random, n, q, any_dtype(random));
  Fenced a(random, 1, p, DType::f64), b(random, 1, q, DType::f64), S(random, p, q, DType::f64);
  fill(random, X, random.one_in(8) ? Content::spoiled : Content::varied);
  fill(random, Y, Content::varied);
  fill_row(random, a);
  fill_row(random, b);
  fill_sums(random, S, false);
  const Table start = read(S);
  const int threads = draw_threads(random);
  std::ostringstream name;
  name << "cross_moments" << describe("S", S) << describe("X", X) << describe("Y", Y)
       << describe("shift_x", a) << describe("shift_y", b) << " threads " << threads;
  in_call(name.str(), [&] {
    run(random, S, [&] {
      cpu::cross_moments(S.matrix(), X.matrix(), a.matrix(), Y.matrix(), b.matrix(), threads);
    });
    compare(S, moments(start, read(X), read(a), read(Y), read(b), false), kWide);
  });
}

void check_merge_moments(Random& random) {
  const int64_t p = random.size(90), q = random.size(90);
  Fenced S(random, p, q, DType::f64), T(random, p, q, DType::f64);
  Fenced dx(random, 1, p, DType::f64), dy(random, 1, q, DType::f64);
  fill_sums(random, S, false);
  fill_sums(random, T, false);
  T.protect();
  fill_row(random, dx);
  fill_row(random, dy);
  const double weight = random.uniform() * 100;
  const Table start = read(S);
  in_call("merge_moments" + describe("S", S) + describe("T", T), [&] {
    run(random, S,
        [&] { cpu::merge_moments(S.matrix(), T.matrix(), dx.matrix(), dy.matrix(), weight); });
    compare(S, merged(start, read(T), read(dx), read(dy), weight), kWide);
  });
}

}  // namespace pyscale::checks
