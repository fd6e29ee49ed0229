// What the products must know of X before they start: the shift, whether anything varies, and
// whether the shift is needed.
//
// Any fixed vector, taken off every sample, leaves distances and centred Grams as they are. The
// mean is the best one, but costs a pass over X; kSamples rows spread evenly over X cost one over
// these. Of their values the mean of the middle half is taken, feature by feature: a sample far
// away from all others moves a mean, and with it the digits that the distances of the others keep.
// How much worse than the mean m of all n rows it can be is bounded whatever the data: products are
// added with errors in proportion to |X - 1s|^2, of which |X_c|^2 remains after centring,
//
//   kappa = |X - 1s|^2 / |X_c|^2 = 1 + n |s - m|^2 / |X_c|^2 <= 1 + 2 n / kSamples,
//
// for s - m is in every feature a mean of kSamples / 2 elements of X_c, so that |s - m|^2 <= 2
// |X_c|^2 / kSamples. For rows in no particular order it is about 1 + 1 / kSamples. Fewer rows than
// kSamples are all sampled, and their mean is taken.
//
// The sampled rows also tell whether products of the numbers as they are would do: mean squares are
// compared with those about s. Rows that mislead here cost digits, but again boundedly: kappa for s
// = 0 stays below 1 + n.
//
// Nearly all data vary in some feature of the sampled rows beyond what rounding explains, and then
// the constancy is settled. Where not, all of X is read once more and judged by the definition: a
// feature is constant to rounding where max_i |x_ij - m_j| <= 4 eps max_i |x_ij|.
//
//   sample_rows  thread: a feature  -> shift; block: three sums
//   judge        every block adds all of these up -> flags; thread: a feature, read whole, but
//                nothing more where the sums already say that X varies
//
// Cost: kSamples rows of X are read; no more, save where nothing varies in them.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/dtype.h"
#include "cuda/collective.h"
#include "cuda/launch.h"
#include "cuda/numbers.h"
#include "cuda/ptx.h"
#include "cuda/stages.h"

namespace pyscale::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMostParts = 1024;  // thread blocks of a problem: `judge` adds their sums
constexpr int kMostJudging = 256;
constexpr double kPlainRatio = 4;  // of mean squares: two bits of a sum's digits
constexpr double kConstant = 4;    // eps that a feature may stray from its mean

// Features of a constant X differ between two rows by at most 8 eps max_i |x_ij|, of the sampled
// rows' largest at most 8 / (1 - 8 eps) eps: 8.54 eps for bfloat16, the coarsest. Beyond this they
// surely vary.
constexpr double kSurelyVaries = 9;

enum Sum { kSquares, kCentred, kVaries, kSums };  // rows of `sampled`: (kSums, parts)

__host__ __device__ int parts_of(int64_t p) {
  const int64_t parts = divide_up(p, kThreads);
  return static_cast<int>(parts < kMostParts ? parts : kMostParts);
}

__host__ __device__ int samples_of(int64_t n) {
  return static_cast<int>(n < kSamples ? n : kSamples);
}

// ---- kernels ----

// One stage of Batcher's odd-even merge sort, which merges runs of p, at distance k.
template <int p, int k, class A>
__device__ void exchange(A (&y)[kSamples]) {
#pragma unroll
  for (int i = k % p; i + k < kSamples; ++i) {
    if ((i - k % p) / k % 2 != 0 || i / (2 * p) != (i + k) / (2 * p)) continue;
    const A low = std::fmin(y[i], y[i + k]), high = std::fmax(y[i], y[i + k]);
    y[i] = low;
    y[i + k] = high;
  }
}

// By comparisons that do not depend on the numbers, so that all stay in registers.
template <int p = 1, int k = 1, class A>
__device__ void sort(A (&y)[kSamples]) {
  exchange<p, k>(y);
  if constexpr (k > 1)
    sort<p, k / 2>(y);
  else if constexpr (2 * p < kSamples)
    sort<2 * p, 2 * p>(y);
}

// A feature of the sampled rows, in the shift's type.
template <class A>
struct Samples {
  A x[kSamples];  // beyond `count` the first again
  int count;

  // `apart`: elements from one sampled row to the next.
  template <class T>
  __device__ Samples(const T* column, int64_t apart, int count) : count(count) {
    x[0] = widen(*column);
#pragma unroll
    for (int s = 1; s < kSamples; ++s) {
      column += apart;
      x[s] = s < count ? static_cast<A>(widen(*column)) : x[0];
    }
  }

  // Added as differences from the first: a constant feature's mean is that constant to the bit.
  __device__ A mean() const {
    A sum = 0;
#pragma unroll
    for (int s = 1; s < kSamples; ++s) sum += x[s] - x[0];
    return x[0] + sum * (A{1} / static_cast<A>(count));
  }

  // The mean of the middle half; of fewer than kSamples numbers, of all.
  __device__ A middle() const {
    if (count < kSamples) return mean();
    A y[kSamples];
#pragma unroll
    for (int s = 0; s < kSamples; ++s) y[s] = x[s];
    sort(y);
    A sum = 0;
#pragma unroll
    for (int s = kSamples / 4; s < kSamples * 3 / 4; ++s) sum += y[s] - y[kSamples / 2];
    return y[kSamples / 2] + sum * (A{2} / kSamples);
  }

  __device__ A squares(A about) const {
    A sum = 0;
#pragma unroll
    for (int s = 0; s < kSamples; ++s)
      if (s < count) sum += (x[s] - about) * (x[s] - about);
    return sum;
  }

  // Also where anything is NaN.
  __device__ bool surely_varies(A tolerance) const {
    A largest = 0;
#pragma unroll
    for (int s = 0; s < kSamples; ++s) largest = std::fmax(largest, std::fabs(x[s]));
    bool varies = false;
#pragma unroll
    for (int s = 0; s < kSamples; ++s) varies |= !(std::fabs(x[s] - x[0]) <= tolerance * largest);
    return varies;
  }
};

template <class T, class A>
__global__ void __launch_bounds__(kThreads)
    sample_rows(const __grid_constant__ Group group, A tolerance) {
  follow_stream();
  const Problem& problem = group.problems[blockIdx.y];
  const int parts = parts_of(problem.p);
  if (static_cast<int>(blockIdx.x) >= parts) return;
  const T* X = static_cast<const T*>(problem.X);
  A* shift = static_cast<A*>(problem.shift);

  const int count = samples_of(group.n);
  const int64_t apart = (group.n < kSamples ? 1 : group.n / kSamples) * problem.pitch;
  double sums[kSums] = {};
  const int64_t step = int64_t{parts} * kThreads;
  for (int64_t j = int64_t{blockIdx.x} * kThreads + threadIdx.x; j < problem.p; j += step) {
    const Samples<A> samples(X + j, apart, count);
    const A mean = samples.mean();
    // Float64 has digits to spare, and too few registers to sort in.
    if (shift != nullptr) shift[j] = std::is_same_v<A, double> ? mean : samples.middle();
    sums[kSquares] += static_cast<double>(samples.squares(0));
    sums[kCentred] += static_cast<double>(samples.squares(mean));
    sums[kVaries] += samples.surely_varies(tolerance) ? 1 : 0;
  }
  block_sum<kThreads>(sums, reinterpret_cast<double*>(shared_memory()));
  if (threadIdx.x == 0)
    for (int k = 0; k < kSums; ++k) problem.sampled[k * parts + blockIdx.x] = sums[k];
  if (threadIdx.x == 0 && blockIdx.x == 0) problem.flags->varies = 0;  // `judge` finds otherwise
}

// The definition, on differences from the first row: those of a constant feature are exact.
template <class T>
__device__ bool constant_feature(const T* column, int64_t n, int64_t pitch, double inverse,
                                 double tolerance) {
  const double first = static_cast<double>(widen(column[0]));
  double sum = 0, low = 0, high = 0, largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double x = static_cast<double>(widen(column[i * pitch]));
    const double apart = x - first;
    sum += apart;
    low = std::fmin(low, apart);
    high = std::fmax(high, apart);
    largest = std::fmax(largest, std::fabs(x));
  }
  // What is not finite makes the mean NaN or infinite: then one of the two does not hold.
  const double mean = sum * inverse;
  return high - mean <= tolerance * largest && mean - low <= tolerance * largest;
}

// Four thread blocks a multiprocessor: aiming higher, the compiler has too few registers for
// float64.
template <class T>
__global__ void __launch_bounds__(kThreads, 4)
    judge(const __grid_constant__ Group group, double inverse, double tolerance) {
  follow_stream();
  const Problem& problem = group.problems[blockIdx.y];
  const int parts = group.n == 0 ? 0 : parts_of(problem.p);
  double sums[kSums] = {};
  for (int part = static_cast<int>(threadIdx.x); part < parts; part += kThreads)
#pragma unroll
    for (int k = 0; k < kSums; ++k) sums[k] += problem.sampled[k * parts + part];
  block_sum<kThreads>(sums, reinterpret_cast<double*>(shared_memory()));
  const bool settled = sums[kVaries] > 0 || parts == 0;
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    // About their own mean c numbers lie closer than about that of all: by (c - 1) / c.
    const double count = samples_of(group.n);
    const bool plain = sums[kSquares] * (count - 1) <= kPlainRatio * sums[kCentred] * count;
    problem.flags->plain = problem.shift == nullptr || plain ? 1 : 0;
    if (settled) problem.flags->varies = sums[kVaries] > 0 ? 1 : 0;
  }
  if (settled) return;
  const T* X = static_cast<const T*>(problem.X);
  bool varies = false;
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t j = int64_t{blockIdx.x} * kThreads + threadIdx.x; j < problem.p; j += step)
    varies |= !constant_feature(X + j, group.n, problem.pitch, inverse, tolerance);
  if (varies) atomicOr(&problem.flags->varies, 1);
}

// ---- launchers ----

template <class T, class A>
void launch_sample(const Group& group, double eps, cudaStream_t stream) {
  int64_t widest = 0;
  for (int i = 0; i < group.count; ++i) widest = std::max(widest, group.problems[i].p);
  const auto count = static_cast<unsigned>(group.count);
  const size_t shared = kSums * kThreads / kWarp * sizeof(double);
  const auto parts = static_cast<unsigned>(group.n == 0 ? 0 : parts_of(widest));
  launch(sample_rows<T, A>, dim3(parts, count), kThreads, shared, stream, group,
         static_cast<A>(kSurelyVaries * eps));
  launch(judge<T>, dim3(std::clamp<unsigned>(parts, 1, kMostJudging), count), kThreads, shared,
         stream, group, 1 / static_cast<double>(group.n), kConstant * eps);
}

template <class T>
void sample_as(const Group& group, DType dtype, bool exact, cudaStream_t stream) {
  exact ? launch_sample<T, double>(group, epsilon(dtype), stream)
        : launch_sample<T, float>(group, epsilon(dtype), stream);
}

}  // namespace

int64_t sampled_size(int64_t p) { return kSums * parts_of(p); }

void sample(const Group& group, DType dtype, bool exact, cudaStream_t stream) {
  switch (dtype) {
    case DType::f64:
      return launch_sample<double, double>(group, epsilon(dtype), stream);
    case DType::f32:
      return sample_as<float>(group, dtype, exact, stream);
    case DType::f16:
      return sample_as<__half>(group, dtype, exact, stream);
    case DType::bf16:
      return sample_as<__nv_bfloat16>(group, dtype, exact, stream);
  }
}

}  // namespace pyscale::cuda
