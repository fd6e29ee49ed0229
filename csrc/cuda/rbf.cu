// G := exp(-D / (2 sigma^2)), D_ij = G_ii + G_jj - 2 G_ij the squared distances that G implies, and
// sigma = bandwidth times the median of the distances of all pairs i > j: exactly, the mean of the
// two middle ones.
//
// The root is monotone, so the middle is sought among the squares; and numbers that are not
// negative are ordered as their bits are. The two middle ones are found digit by digit, eleven bits
// each, from the top: counts of the digit, among the pairs that share all higher digits, tell the
// next digit. Counts are integers, so the order in which thread blocks add them does not matter.
// Up to the digit where the two part, one list of counts serves both.
//
//   prepare      rows := the diagonal of G; counts := 0
//   count        six passes over the pairs; thread block: blocks of kBlock x kBlock pairs. Each
//                block first reads off the digit that the pass before has settled.
//   exponentiate thread block: one block of kBlock x kBlock, written below and, through shared
//                memory, above the diagonal
//
// Where there is no scale (a median of 0, or anything not finite) all is NaN. One sample has no
// pairs, and its kernel is 1.
//
// Cost: the lower half of G is read seven times, from the second-level cache unless n is large, and
// all of it written once. D is computed anew each time: two additions.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cuda/blocks.h"
#include "cuda/collective.h"
#include "cuda/launch.h"
#include "cuda/ptx.h"
#include "cuda/stages.h"

namespace pyscale::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kMostCounting = 256;  // thread blocks of a problem: each adds its counts to all
constexpr int kResident = 4;        // of them on a multiprocessor

constexpr int kRadix = 11;  // bits of a digit
constexpr int kBins = 1 << kRadix;
constexpr int kKeyBits = 63;  // of a number without its sign
constexpr int kPasses = (kKeyBits + kRadix - 1) / kRadix;
constexpr int kEach = kBins / kThreads;  // bins of a thread

// Bits below digit `pass`; the last digit is shorter than the others.
__host__ __device__ constexpr int below(int pass) {
  return pass + 1 < kPasses ? kKeyBits - (pass + 1) * kRadix : 0;
}
static_assert(kPasses == 6 && below(0) == 52 && below(4) == 8 && below(5) == 0);

// What `Problem::histogram` holds. The two that are sought are called the lower and the upper.
struct Median {
  unsigned counts[kPasses][2]
                 [kBins];       // where both share their higher digits, the first serves both
  unsigned digits[kPasses][2];  // theirs
  unsigned places[kPasses][2];  // theirs, among the pairs that share the higher digits
  int spoiled;                  // not 0: something is not finite
};
static_assert(sizeof(Median) % sizeof(unsigned) == 0);

__device__ Median* median_of(const Problem& problem) {
  return reinterpret_cast<Median*>(problem.histogram);
}

// ---- device helpers ----

// Rounding may leave a distance just below 0: then d - d is 0, and NaN where d is not finite.
__device__ __forceinline__ double squared_distance(double a, double b, double product) {
  const double d = a + b - 2 * product;
  return d > 0 ? d : d - d;
}

__device__ __forceinline__ uint64_t key_of(double d) {
  uint64_t key;
  memcpy(&key, &d, sizeof(key));
  return key;
}

// Calls visit(i, j, D_ij) for the pairs of one block that this thread looks at, i >= j, i < n.
template <class Visit>
__device__ __forceinline__ void each_pair(const Problem& problem, int64_t n, int64_t block,
                                          const Visit& visit) {
  const Cell at = block_at(block);
  const int64_t j = at.column * kBlock + threadIdx.x % kBlock;
  if (j >= n) return;
  const double* diagonal = problem.rows;
  const double own = diagonal[j];
#pragma unroll 4
  for (int k = static_cast<int>(threadIdx.x) / kBlock; k < kBlock; k += kThreads / kBlock) {
    const int64_t i = at.row * kBlock + k;
    if (i < n && j <= i) visit(i, j, squared_distance(diagonal[i], own, problem.G[i * n + j]));
  }
}

// The bin of the element in place `place`, and its place within that bin; of two searches at once.
struct Found {
  unsigned bin[2], place[2];
};
struct SearchMemory {
  unsigned sums[2][kWarps];
  Found found;
};

__device__ Found search(const unsigned* lower, const unsigned* upper, const unsigned (&places)[2],
                        SearchMemory& memory) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = threadIdx.x % kWarp;
  unsigned bins[2][kEach], before[2], own[2] = {};
#pragma unroll
  for (int r = 0; r < 2; ++r) {
#pragma unroll
    for (int e = 0; e < kEach; ++e) {
      bins[r][e] = (r == 0 ? lower : upper)[threadIdx.x * kEach + e];
      own[r] += bins[r][e];
    }
    before[r] = warp_sum_before(own[r]);
    if (lane == kWarp - 1) memory.sums[r][warp] = before[r] + own[r];
  }
  if (threadIdx.x == 0) memory.found = {};  // there may be too few pairs, where any is not finite
  __syncthreads();
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    for (int w = 0; w < warp; ++w) before[r] += memory.sums[r][w];
    unsigned place = places[r] - before[r];
    if (places[r] < before[r] || place >= own[r]) continue;
    for (int e = 0; e < kEach; ++e) {
      if (place < bins[r][e]) {
        memory.found.bin[r] = threadIdx.x * kEach + e;
        memory.found.place[r] = place;
        break;
      }
      place -= bins[r][e];
    }
  }
  __syncthreads();
  return memory.found;
}

// What is known of the two keys before pass `pass`: their higher digits.
struct Known {
  uint64_t prefix[2];

  __device__ bool same() const { return prefix[0] == prefix[1]; }
};

// Every thread block finds it for itself; the first also writes it down for later passes.
__device__ Known known_before(int pass, Median& median, SearchMemory& memory) {
  Known known{};
  if (pass == 0) return known;
  const int last = pass - 1;
  for (int r = 0; r < 2; ++r)
    for (int p = 0; p < last; ++p) known.prefix[r] |= uint64_t{median.digits[p][r]} << below(p);
  const auto& counts = median.counts[last];
  const Found found = search(counts[0], counts[known.same() ? 0 : 1], median.places[last], memory);
  for (int r = 0; r < 2; ++r) {
    known.prefix[r] |= uint64_t{found.bin[r]} << below(last);
    if (blockIdx.x != 0 || threadIdx.x != 0 || pass == kPasses) continue;
    median.digits[last][r] = found.bin[r];
    median.places[pass][r] = found.place[r];
  }
  return known;
}

// ---- kernels ----

__global__ void __launch_bounds__(kThreads) prepare(const __grid_constant__ Group group) {
  follow_stream();
  const Problem& problem = group.problems[blockIdx.y];
  Median& median = *median_of(problem);
  const int64_t thread = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t threads = int64_t{gridDim.x} * kThreads;
  for (int64_t i = thread; i < group.n; i += threads)
    problem.rows[i] = problem.G[i * (group.n + 1)];
  unsigned* counts = &median.counts[0][0][0];
  for (int64_t e = thread; e < kPasses * 2 * kBins; e += threads) counts[e] = 0;
  if (thread != 0) return;
  const auto pairs = static_cast<unsigned>(strict_triangle(group.n));
  median.places[0][0] = pairs == 0 ? 0 : (pairs - 1) / 2;
  median.places[0][1] = pairs / 2;
  median.spoiled = 0;
}

struct CountMemory {
  unsigned bins[2][kBins];
  SearchMemory search;
};

__global__ void __launch_bounds__(kThreads, kResident)
    count(const __grid_constant__ Group group, int pass) {
  follow_stream();
  const Problem& problem = group.problems[blockIdx.y];
  Median& median = *median_of(problem);
  CountMemory& memory = *reinterpret_cast<CountMemory*>(shared_memory());
  unsigned* bins = &memory.bins[0][0];
  for (int e = static_cast<int>(threadIdx.x); e < 2 * kBins; e += kThreads) bins[e] = 0;
  const Known known = known_before(pass, median, memory.search);
  __syncthreads();

  const int low = below(pass), high = pass == 0 ? kKeyBits : below(pass - 1);
  const uint64_t first = known.prefix[0] >> high, second = known.prefix[1] >> high;
  const bool two = first != second;
  const unsigned mask = (1U << (high - low)) - 1;
  bool spoiled = false;
  for (int64_t block = blockIdx.x; block < blocks_of(group.n); block += gridDim.x)
    each_pair(problem, group.n, block, [&](int64_t i, int64_t j, double d) {
      const uint64_t key = key_of(d);
      const unsigned digit = static_cast<unsigned>(key >> low) & mask;
      if (!std::isfinite(d))
        spoiled = true;
      else if (j < i && key >> high == first)
        atomicAdd(&bins[digit], 1U);
      else if (j < i && two && key >> high == second)
        atomicAdd(&bins[kBins + digit], 1U);
    });
  if (spoiled && pass == 0) atomicOr(&median.spoiled, 1);
  __syncthreads();
  unsigned* counts = &median.counts[pass][0][0];
  for (int e = static_cast<int>(threadIdx.x); e < 2 * kBins; e += kThreads)
    if (bins[e] != 0) atomicAdd(&counts[e], bins[e]);
}

// 2 sigma^2; NaN where there is no scale.
__device__ double twice_variance(const Known& known, const Median& median, int64_t n,
                                 double bandwidth) {
  double lower, upper;
  memcpy(&lower, &known.prefix[0], sizeof(lower));
  memcpy(&upper, &known.prefix[1], sizeof(upper));
  const double distance = n > 1 ? (std::sqrt(lower) + std::sqrt(upper)) / 2 : 1;
  const double sigma = bandwidth * distance;
  const double twice = 2 * sigma * sigma;
  return median.spoiled == 0 && twice > 0 ? twice : NAN;
}

constexpr int kPitch = kBlock + 1;  // of the shared block: a column's words fall in different banks

struct ExponentiateMemory {
  double values[kBlock * kPitch];
  SearchMemory search;
};

__global__ void __launch_bounds__(kThreads)
    exponentiate_blocks(const __grid_constant__ Group group, double bandwidth) {
  follow_stream();
  const Problem& problem = group.problems[blockIdx.y];
  const int64_t n = group.n;
  Median& median = *median_of(problem);
  auto& memory = *reinterpret_cast<ExponentiateMemory*>(shared_memory());
  const Known known = known_before(kPasses, median, memory.search);
  const double twice = twice_variance(known, median, n, bandwidth);
  const Cell at = block_at(blockIdx.x);
  const int64_t i0 = at.row * kBlock, j0 = at.column * kBlock;

  each_pair(problem, n, blockIdx.x, [&](int64_t i, int64_t j, double d) {
    const double value = std::exp(-(i == j ? 0 : d) / twice);
    problem.G[i * n + j] = value;
    memory.values[(i - i0) * kPitch + (j - j0)] = value;
  });
  __syncthreads();
  const int64_t i = i0 + threadIdx.x % kBlock;
  if (i >= n) return;
  for (int k = static_cast<int>(threadIdx.x) / kBlock; k < kBlock; k += kThreads / kBlock) {
    const int64_t j = j0 + k;
    if (j < i) problem.G[j * n + i] = memory.values[(i - i0) * kPitch + k];
  }
}

}  // namespace

// ---- launchers ----

int64_t histogram_size() { return sizeof(Median) / sizeof(unsigned); }

void exponentiate(const Group& group, double bandwidth, cudaStream_t stream) {
  PYSCALE_CHECK(strict_triangle(group.n) < int64_t{1} << 32, "X has ", group.n,
                " rows, more pairs than the median counts");
  const auto problems = static_cast<unsigned>(group.count);
  const auto blocks = static_cast<unsigned>(blocks_of(group.n));
  launch(prepare, dim3(std::min(blocks, 64U), problems), kThreads, 0, stream, group);
  for (int pass = 0; pass < kPasses; ++pass)
    launch(count, dim3(std::min<unsigned>(blocks, kMostCounting), problems), kThreads,
           sizeof(CountMemory), stream, group, pass);
  launch(exponentiate_blocks, dim3(blocks, problems), kThreads, sizeof(ExponentiateMemory), stream,
         group, bandwidth);
}

}  // namespace pyscale::cuda
