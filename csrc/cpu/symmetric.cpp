#include "cpu/symmetric.h"

#include <algorithm>

namespace pyscale::cpu {
namespace {

// Rows and columns of one block: the mirrored half is written down columns, and a block keeps the
// lines it touches in the first-level cache until they are full.
constexpr int64_t kBlock = 32;

template <class Out>
void store_block(Matrix K, const Symmetric& S, int64_t i0, int64_t j0) {
  const int64_t i1 = std::min(i0 + kBlock, S.n);
  for (int64_t i = i0; i < i1; ++i) {
    const double* s = S.row(i);
    const int64_t j1 = std::min(j0 + kBlock, i + 1);
    for (int64_t j = j0; j < j1; ++j) K.row<Out>(i)[j] = K.row<Out>(j)[i] = static_cast<Out>(s[j]);
  }
}

}  // namespace

void store(Matrix K, const Symmetric& S) {
  dispatch_output(K.dtype, [&](auto tag) {
    for (int64_t i = 0; i < S.n; i += kBlock)
      for (int64_t j = 0; j <= i; j += kBlock)
        store_block<typename decltype(tag)::type>(K, S, i, j);
  });
}

void store_packed(Matrix v, const Symmetric& S) {
  dispatch_output(v.dtype, [&](auto tag) {
    using Out = typename decltype(tag)::type;
    Out* out = v.row<Out>(0);
    for (int64_t i = 1; i < S.n; ++i)
      out =
          std::transform(S.row(i), S.row(i) + i, out, [](double s) { return static_cast<Out>(s); });
  });
}

}  // namespace pyscale::cpu
