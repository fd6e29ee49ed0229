// Grams and all-pairs HSIC.
#include <algorithm>
#include <cmath>

#include "checks/trial.h"
#include "core/triangle.h"
#include "cpu/gram.h"
#include "cpu/hsic.h"
#include "cpu/isa.h"

namespace pyscale::checks {
namespace {

void check_flag(bool flag, const Table& X, double eps) {
  // Between the two limits it hangs on the rounding of the mean.
  const bool within = constant(X, 3.5 * eps), without = constant(X, 4.5 * eps);
  if (within == without && flag != within)
    throw Wrong(text("constant is ", flag, " of a set that is ", within ? "" : "not ", "constant"));
}

Table packed(const Table& K) {
  Table v(1, strict_triangle(K.rows));
  for (int64_t i = 0; i < K.rows; ++i)
    for (int64_t j = 0; j < i; ++j) v(0, strict_triangle(i) + j) = K(i, j);
  return v;
}

}  // namespace

void check_gram(Random& random) {
  const int64_t n = random.size(130),
                p = random.size(std::min<int64_t>(kMostWork / (n * n + 1), 6000));
  Fenced X(random, n, p, any_dtype(random));
  const Kernel kernel = random.one_in(5) ? Kernel::rbf : Kernel::linear;
  // Among samples that are nearly the same the distances are rounding, and so is their median.
  const Content content = kernel == Kernel::rbf || random.one_in(2)
                              ? Content::varied
                              : random.one_of({Content::varied, Content::constant,
                                               Content::nearly_constant, Content::spoiled});
  fill(random, X, content);
  const bool pack = random.one_in(3);
  const Centering centering =
      pack ? Centering::unbiased
           : random.one_of({Centering::none, Centering::double_, Centering::unbiased});
  const double bandwidth = random.one_of({1.0, 0.5, 2.0});
  const int threads = draw_threads(random);
  const cpu::GramOptions options{kernel, centering, bandwidth, threads};
  Fenced out(random, pack ? 1 : n, pack ? strict_triangle(n) : n, wide_dtype(random));
  std::ostringstream name;
  name << (pack ? "packed_gram" : "gram") << describe("out", out) << describe("X", X) << " kernel "
       << static_cast<int>(kernel) << " centering " << static_cast<int>(centering) << " bandwidth "
       << bandwidth << " threads " << threads;
  in_call(name.str(), [&] {
    bool flag = false;
    const auto call = [&] {
      flag = pack ? cpu::packed_gram(out.matrix(), X.matrix(), options)
                  : cpu::gram(out.matrix(), X.matrix(), options);
    };
    run(random, out, call);
    const Table values = read(X);
    const bool wide = X.matrix().dtype == DType::f64;
    const double rounding = epsilon(wide ? DType::f64 : DType::f32);
    Expected expected = gram(values, kernel, centering, bandwidth, rounding);
    if (pack) expected.values = packed(expected.values);
    compare(out, expected, wide && out.matrix().dtype == DType::f64 ? kWide : kNarrow);
    if (!pack) check_symmetry(out);
    check_flag(flag, values, epsilon(X.matrix().dtype));
    check_repetition(random, out, call);
  });
}

void check_hsic_pairs(Random& random) {
  // Now and then so many sets on one side that sums leave the caches, and several chunks of
  // elements are multiplied at once.
  const bool wide = random.one_in(100);
  const int64_t l = wide ? random.between(1, 3) : random.size(100);
  const int64_t far = (int64_t{1} << 20) / cpu::kernels().f64.edge;  // a row of tiles is 8 MiB
  const int64_t m = wide ? random.between(far, far + 1000) : random.size(100);
  const int64_t most = std::min<int64_t>(kMostWork / (l * m + 1), 9000);
  const int64_t length = wide ? random.between(190, 600) : random.size(most);
  const DType dtype = wide_dtype(random);
  Fenced V(random, l, length, dtype), other(random, m, length, dtype);
  fill(random, V, random.one_in(8) ? Content::spoiled : Content::varied);
  fill(random, other, Content::varied);
  const bool same = !wide && random.one_in(3);
  const Fenced& W = same ? V : other;
  const int threads = draw_threads(random);
  Fenced H(random, V.rows(), W.rows(), DType::f64);
  std::ostringstream name;
  name << "hsic_pairs" << describe("H", H) << describe("V", V) << describe("W", W)
       << (same ? ", the same" : "") << " threads " << threads;
  in_call(name.str(), [&] {
    const auto call = [&] { cpu::hsic_pairs(H.matrix(), V.matrix(), W.matrix(), threads); };
    run(random, H, call);
    compare(H, products(read(V), read(W)), kWide);
    if (same) check_symmetry(H);
    check_repetition(random, H, call);
  });
}

}  // namespace pyscale::checks
