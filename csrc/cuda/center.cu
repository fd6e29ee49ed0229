// out := C(G), and the answer whether X is constant.
//
//   none      G
//   double    G_ij - r_i/n - r_j/n + t/n^2             r_i the sums of whole rows, t their sum
//   unbiased  G_ij - r_i/(n-2) - r_j/(n-2) + t/((n-1)(n-2)) off the diagonal, 0 on it; r_i the sums
//             off the diagonal, t their sum
//
// The sums never hold the diagonal, which may dwarf the rest of its row: it is added for the double
// centring only. Each is made in a fixed order in float64:
//
//   sum_rows  warp: a row       -> rows[i], lane by lane, then across the lanes
//   add_rows  block: a problem  -> rows[n], their total, and rows[n + 1], the trace; the floor
//   subtract  block: kRows x kColumns elements; G holds both halves, so all is read and written
//             row by row
//
// Every element is G_ij - (s_i + s_j): two equal numbers for (i, j) and (j, i), G being symmetric.
// Memory bound: G is read twice and written once, from and to the second-level cache unless n is
// large.
#include <cmath>

#include "core/dtype.h"
#include "cuda/collective.h"
#include "cuda/launch.h"
#include "cuda/ptx.h"
#include "cuda/stages.h"

namespace pyscale::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kColumns = 64, kRows = 16;      // of G, that a block centres
constexpr int kAtOnce = kThreads / kColumns;  // rows of them
enum Sum { kOfTotal, kOfTrace, kSums };       // after the rows' own

// s_i = weight r_i - half t: what a row and a column give up, half of the total each.
struct Shares {
  double weight, half;
};

Shares shares_of(Centering centering, int64_t count) {
  const auto n = static_cast<double>(count);
  if (centering == Centering::unbiased) return {1 / (n - 2), 1 / (2 * (n - 1) * (n - 2))};
  return {1 / n, 1 / (2 * n * n)};
}

// ---- kernels ----

__global__ void __launch_bounds__(kThreads) sum_rows(const __grid_constant__ Group group) {
  follow_stream();
  const Problem& problem = group.problems[blockIdx.y];
  const int64_t i = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (i >= group.n) return;
  const double* row = problem.G + i * group.n;
  double sum = 0;
#pragma unroll 4
  for (int64_t j = threadIdx.x % kWarp; j < group.n; j += kWarp) sum += j == i ? 0 : row[j];
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) problem.rows[i] = sum;
}

// Products err in proportion to the diagonal, the squared distances from the shift, wherever they
// are small themselves.
__global__ void __launch_bounds__(kThreads)
    add_rows(const __grid_constant__ Group group, Floor floor) {
  follow_stream();
  const Problem& problem = group.problems[blockIdx.y];
  double* shared = reinterpret_cast<double*>(shared_memory());
  double sums[kSums] = {}, largest = 0;
  for (int64_t i = threadIdx.x; i < group.n; i += kThreads) {
    const double diagonal = problem.G[i * (group.n + 1)];
    sums[kOfTotal] += problem.rows[i];
    sums[kOfTrace] += diagonal;
    largest = std::fmax(largest, diagonal);
  }
  block_sum<kThreads>(sums, shared);
  largest = block_max<kThreads>(largest, shared + kSums * kWarps);
  if (threadIdx.x != 0) return;
  for (int k = 0; k < kSums; ++k) problem.rows[group.n + k] = sums[k];
  if (problem.floor != nullptr) *problem.floor = std::fmax(floor.noise * largest, floor.least);
}

template <Centering centering>
class Share {
 public:
  __device__ Share(const Problem& problem, int64_t n, Shares shares)
      : problem_(problem), n_(n), weight_(shares.weight) {
    if (centering == Centering::none) return;
    const double total = problem.rows[n + kOfTotal];
    const double trace = centering == Centering::double_ ? problem.rows[n + kOfTrace] : 0;
    offset_ = shares.half * (total + trace);
  }

  // s_i. Fused by hand: left to the compiler, a row and a column might be rounded differently.
  __device__ double operator()(int64_t i) const {
    if (centering == Centering::none) return 0;
    const double diagonal = centering == Centering::double_ ? problem_.G[i * (n_ + 1)] : 0;
    return fma(weight_, problem_.rows[i] + diagonal, -offset_);
  }

 private:
  const Problem& problem_;
  int64_t n_;
  double weight_, offset_ = 0;
};

template <Centering centering, bool packed, class Out>
__global__ void __launch_bounds__(kThreads)
    subtract(const __grid_constant__ Group group, Shares shares) {
  follow_stream();
  const Problem& problem = group.problems[blockIdx.y];
  if (blockIdx.x == 0 && threadIdx.x == 0) *problem.constant = problem.flags->varies == 0;
  const int64_t n = group.n;
  const auto across = static_cast<unsigned>(divide_up(n, kColumns));
  const int64_t j = int64_t{blockIdx.x % across} * kColumns + threadIdx.x % kColumns;
  const int64_t first = int64_t{blockIdx.x / across} * kRows + threadIdx.x / kColumns;
  if (j >= n) return;
  Out* out = static_cast<Out*>(problem.out);
  const Share<centering> share(problem, n, shares);
  const double own = share(j);
#pragma unroll
  for (int k = 0; k < kRows; k += kAtOnce) {
    const int64_t i = first + k;
    if (i >= n || (packed && j >= i)) continue;
    double value = problem.G[i * n + j] - (share(i) + own);
    if (centering == Centering::unbiased && i == j) value = 0;
    out[packed ? strict_triangle(i) + j : i * problem.out_pitch + j] = static_cast<Out>(value);
  }
}

// ---- launchers ----

template <Centering centering, bool packed, class Out>
void launch_subtract(const Group& group, cudaStream_t stream) {
  const int64_t blocks = divide_up(group.n, kColumns) * divide_up(group.n, kRows);
  launch(subtract<centering, packed, Out>,
         dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(group.count)), kThreads, 0,
         stream, group, shares_of(centering, group.n));
}

void sum(const Group& group, Floor floor, cudaStream_t stream) {
  const auto count = static_cast<unsigned>(group.count);
  launch(sum_rows, dim3(static_cast<unsigned>(divide_up(group.n, kWarps)), count), kThreads, 0,
         stream, group);
  launch(add_rows, dim3(1, count), kThreads, (kSums + 1) * kWarps * sizeof(double), stream, group,
         floor);
}

}  // namespace

int64_t rows_size(int64_t n) { return n + kSums; }

void center(const Group& group, Centering centering, bool packed, DType out, Floor floor,
            cudaStream_t stream) {
  PYSCALE_CHECK(!packed || centering == Centering::unbiased,
                "a packed triangle is of the unbiased centring");
  if (centering != Centering::none) sum(group, floor, stream);
  dispatch_output(out, [&](auto tag) {
    using Out = typename decltype(tag)::type;
    if (packed)
      launch_subtract<Centering::unbiased, true, Out>(group, stream);
    else if (centering == Centering::unbiased)
      launch_subtract<Centering::unbiased, false, Out>(group, stream);
    else if (centering == Centering::double_)
      launch_subtract<Centering::double_, false, Out>(group, stream);
    else
      launch_subtract<Centering::none, false, Out>(group, stream);
  });
}

}  // namespace pyscale::cuda
