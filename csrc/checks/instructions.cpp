// Three fixed kernels, to have their instructions counted; instructions.py runs this under
// callgrind, which counts inside the functions named counted_* alone.
//
//   instructions gram|hsic|moments
//
// The call is made once before: what is done once a process is not counted.
#include <cstdio>
#include <cstring>
#include <vector>

#include "checks/random.h"
#include "cpu/gram.h"
#include "cpu/hsic.h"
#include "cpu/moments.h"

namespace {

using namespace pyscale;

template <class T>
struct Stored {
  std::vector<T> values;
  Matrix matrix;

  Stored(int64_t rows, int64_t columns, DType dtype) : values(static_cast<size_t>(rows * columns)) {
    checks::Random random(1);
    for (T& value : values) value = static_cast<T>(random.normal() + 1);
    matrix = {values.data(), rows, columns, columns, dtype};
  }
};

Stored<float> floats(int64_t rows, int64_t columns) { return {rows, columns, DType::f32}; }
Stored<double> doubles(int64_t rows, int64_t columns) { return {rows, columns, DType::f64}; }

void gram(const Matrix& K, const Matrix& X) {
  cpu::gram(K, X, {Kernel::linear, Centering::unbiased, 1.0, 1});
}

// Neither inlined nor cloned: callgrind finds them by name.
#define PYSCALE_COUNTED extern "C" __attribute__((noinline, noclone, used)) void

PYSCALE_COUNTED counted_gram(const Matrix* K, const Matrix* X) { gram(*K, *X); }

PYSCALE_COUNTED counted_hsic(const Matrix* H, const Matrix* V, const Matrix* W) {
  cpu::hsic_pairs(*H, *V, *W, 1);
}

PYSCALE_COUNTED counted_moments(const Matrix* S, const Matrix* X, const Matrix* shift) {
  cpu::self_moments(*S, *X, *shift, 1);
}

bool run(const char* name) {
  const auto is = [name](const char* other) { return std::strcmp(name, other) == 0; };
  if (is("gram")) {
    Stored<float> K = floats(128, 128), X = floats(128, 4000);
    gram(K.matrix, X.matrix);
    counted_gram(&K.matrix, &X.matrix);
  } else if (is("hsic")) {
    Stored<double> H = doubles(50, 60);
    Stored<float> V = floats(50, 128 * 127 / 2), W = floats(60, 128 * 127 / 2);
    cpu::hsic_pairs(H.matrix, V.matrix, W.matrix, 1);
    counted_hsic(&H.matrix, &V.matrix, &W.matrix);
  } else if (is("moments")) {
    Stored<double> S = doubles(200, 200), X = doubles(600, 200), shift = doubles(1, 200);
    cpu::self_moments(S.matrix, X.matrix, shift.matrix, 1);
    counted_moments(&S.matrix, &X.matrix, &shift.matrix);
  } else {
    return false;
  }
  return true;
}

}  // namespace

int main(int count, char** words) {
  if (count == 2 && run(words[1])) return 0;
  std::fprintf(stderr, "usage: instructions gram|hsic|moments\n");
  return 2;
}
