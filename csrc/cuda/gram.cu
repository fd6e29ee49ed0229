// Centred Gram matrices, stage by stage: sample the rows for a shift, multiply tiles over shares of
// the features, add the shares, apply the kernel, centre. Each stage is one launch for up to
// kMaxProblems matrices. Here is what they have in common: checks, the workspace's layout, and
// which kernels multiply.
#include "cuda/gram.h"

#include <algorithm>

#include "cuda/launch.h"
#include "cuda/patch.h"
#include "cuda/plan.h"
#include "cuda/stages.h"

namespace pyscale::cuda {
namespace {

// The capability that the kernels for Hopper need, where the build has them: none has 0.
#ifdef PYSCALE_HAS_HOPPER
constexpr int kHopper = 90;
#else
constexpr int kHopper = 0;
#endif
constexpr int64_t kAlignment = 256;                  // of every part of the workspace
constexpr int64_t kMostElements = int64_t{1} << 27;  // of all G of a launch: 1 GiB

// What a call asks for, beyond its matrices.
struct Call {
  GramOptions options;
  DType dtype;  // of the input
  DType out;
  Device device;
  int64_t n;

  bool exact() const { return options.precision == Precision::exact || dtype == DType::f64; }
  // A shift changes neither distances nor centred matrices; the raw Gram it would change.
  bool shifted() const {
    return options.kernel == Kernel::rbf || options.centering != Centering::none;
  }
  bool hopper() const { return device.capability == kHopper; }
};

// Matrices that the same kernels take, as indices into the caller's lists.
struct Batch {
  std::vector<size_t> members;
  bool tma;  // their numbers can be multiplied as they lie in memory
};

std::vector<Batch> batches(const std::vector<Matrix>& X, const Call& call) {
  const size_t most = static_cast<size_t>(
      std::clamp<int64_t>(kMostElements / std::max<int64_t>(1, call.n * call.n), 1, kMaxProblems));
  std::vector<Batch> all;
  for (const bool tma : {true, false}) {
    for (size_t i = 0; i < X.size(); ++i) {
      if ((call.hopper() && !call.exact() && tma_takes(X[i])) != tma) continue;
      if (all.empty() || all.back().tma != tma || all.back().members.size() == most)
        all.push_back({{}, tma});
      all.back().members.push_back(i);
    }
  }
  return all;
}

// ---- the workspace ----

// Hands out parts of the workspace one after the other; with no workspace, measures what is needed.
class Arena {
 public:
  explicit Arena(void* base) : base_(static_cast<char*>(base)) {}

  template <class T>
  T* take(int64_t count) {
    char* at = base_ == nullptr ? nullptr : base_ + used_;
    used_ += divide_up(count * static_cast<int64_t>(sizeof(T)), kAlignment) * kAlignment;
    return reinterpret_cast<T*>(at);
  }
  int64_t used() const { return used_; }

 private:
  char* base_;
  int64_t used_ = 0;
};

int tiles_for(const Call& call, bool tma) {
  if (call.exact()) return tiles_of(call.n, kBlock);
  return tma ? patches_of(call.n) : tiles_of(call.n, tile_of(call.n));
}

// Thread blocks that a multiprocessor runs at once: tiles of 128 and what feeds wgmma take all of
// it.
int64_t resident(const Call& call) {
  return call.exact() || (!call.hopper() && tile_of(call.n) == 64) ? 2 : 1;
}

// Shares in proportion to the features, together as many as would be best for one matrix of all of
// them.
void set_splits(Group& group, const Call& call, bool tma) {
  int64_t all = 0;
  for (int i = 0; i < group.count; ++i) all += divide_up(group.problems[i].p, kChunk);
  const int64_t splits =
      best_splits(tiles_for(call, tma), all, call.device.multiprocessors * resident(call));
  for (int i = 0; i < group.count; ++i) {
    const int64_t chunks = divide_up(group.problems[i].p, kChunk);
    const int64_t rounded = all == 0 ? 1 : (2 * chunks * splits + all) / (2 * all);
    group.problems[i].splits = static_cast<int32_t>(std::max<int64_t>(1, rounded));
  }
}

Group lay_out(const Batch& batch, const std::vector<Matrix>& X, const Call& call, Arena& arena) {
  Group group{};
  group.n = call.n;
  group.count = static_cast<int32_t>(batch.members.size());
  for (int i = 0; i < group.count; ++i) {
    const Matrix& x = X[batch.members[i]];
    group.problems[i].X = x.data;
    group.problems[i].p = x.columns;
    group.problems[i].pitch = x.rows > 1 ? x.pitch : x.columns;
  }
  set_splits(group, call, batch.tma);
  for (int i = 0; i < group.count; ++i) {
    Problem& problem = group.problems[i];
    if (call.shifted())
      problem.shift = call.exact() ? static_cast<void*>(arena.take<double>(problem.p))
                                   : static_cast<void*>(arena.take<float>(problem.p));
    problem.sampled = arena.take<double>(sampled_size(problem.p));
    problem.flags = arena.take<Flags>(1);
    const int64_t sums = problem.splits * blocks_of(call.n) * kBlockSize;
    problem.partial = call.exact() ? static_cast<void*>(arena.take<double>(sums))
                                   : static_cast<void*>(arena.take<float>(sums));
    problem.G = arena.take<double>(call.n * call.n);
    problem.rows = arena.take<double>(rows_size(call.n));
    if (call.options.kernel == Kernel::rbf)
      problem.histogram = arena.take<unsigned>(histogram_size());
  }
  return group;
}

// ---- checks ----

Call check_call(const std::vector<Matrix>& X, const GramOptions& options, int device_index) {
  PYSCALE_CHECK(!X.empty(), "X has no matrices");
  for (const Matrix& x : X) {
    check_matrix("X", x);
    check_dtype("X", x, X[0].dtype);
    PYSCALE_CHECK(x.rows == X[0].rows, "the matrices of X have ", X[0].rows, " and ", x.rows,
                  " rows, expected the same");
  }
  const Call call{options, X[0].dtype, DType::f64, device(device_index), X[0].rows};
  PYSCALE_CHECK(tiles_of(call.n, kBlock) < 1 << 26, "X has ", call.n,
                " rows, too many for one launch");
  PYSCALE_CHECK(call.device.capability >= 80, "the GPU has compute capability ",
                call.device.capability / 10, ".", call.device.capability % 10,
                "; the kernels need 8.0 or newer");
  return call;
}

void check_outputs(const std::vector<Matrix>& out, const std::vector<Matrix>& X, const Call& call) {
  PYSCALE_CHECK(out.size() == X.size(), "out has ", out.size(), " matrices, X has ", X.size());
  for (const Matrix& K : out) {
    check_wide("out", K);
    check_dtype("out", K, out[0].dtype);
    if (call.options.packed)
      check_shape("out", K, 1, strict_triangle(call.n));
    else
      check_shape("out", K, call.n, call.n);
  }
}

// ---- the product ----

void multiply(const Group& group, bool tma, const Call& call, cudaStream_t stream) {
  if (call.exact()) return multiply_exact(group, call.dtype, stream);
  const int parts = call.options.precision == Precision::fast ? 1 : 2;
  if (!call.hopper()) return multiply_mma(group, call.dtype, parts, stream);
  if (!tma) return multiply_convert(group, call.dtype, parts, Guard::none, stream);
  if (call.dtype == DType::f32) return multiply_tma(group, call.dtype, parts, Guard::none, stream);
  // 16-bit numbers multiply exactly as they are, and that is fastest, but large means would bury
  // their differences in the sums. Which it is the device knows: one of the two launches does
  // nothing.
  multiply_tma(group, call.dtype, 1, call.shifted() ? Guard::if_plain : Guard::none, stream);
  if (call.shifted()) multiply_convert(group, call.dtype, parts, Guard::unless_plain, stream);
}

}  // namespace

int64_t grams_workspace(const std::vector<Matrix>& X, const GramOptions& options, int index) {
  const Call call = check_call(X, options, index);
  int64_t most = 0;  // batches run one after the other
  for (const Batch& batch : batches(X, call)) {
    Arena arena(nullptr);
    lay_out(batch, X, call, arena);
    most = std::max(most, arena.used());
  }
  return most;
}

void grams(const std::vector<Matrix>& out, const std::vector<Matrix>& X, uintptr_t constant,
           uintptr_t floors, const GramOptions& options, Workspace workspace, int index,
           uintptr_t stream, uintptr_t read) {
  Call call = check_call(X, options, index);
  check_outputs(out, X, call);
  call.out = out[0].dtype;
  const int64_t needed = grams_workspace(X, options, index);
  PYSCALE_CHECK(workspace.bytes >= needed, "workspace has ", workspace.bytes, " bytes, expected ",
                needed);
  PYSCALE_CHECK(floors == 0 || options.centering != Centering::none,
                "only a centred matrix has a floor");
  const DeviceScope scope(index);
  const auto queue = reinterpret_cast<cudaStream_t>(stream);
  if (call.n == 0) {
    PYSCALE_CUDA_CHECK(
        cudaMemsetAsync(reinterpret_cast<void*>(constant), 1, X.size() * sizeof(bool), queue));
    return;
  }
  const std::vector<Batch> all = batches(X, call);
  for (const Batch& batch : all) {
    Arena arena(workspace.data);
    Group group = lay_out(batch, X, call, arena);
    for (int i = 0; i < group.count; ++i) {
      const size_t member = batch.members[i];
      group.problems[i].out = out[member].data;
      group.problems[i].out_pitch = out[member].pitch;
      group.problems[i].constant = reinterpret_cast<bool*>(constant) + member;
      if (floors != 0) group.problems[i].floor = reinterpret_cast<double*>(floors) + member;
    }
    sample(group, call.dtype, call.exact(), queue);
    multiply(group, batch.tma, call, queue);
    if (read != 0 && &batch == &all.back())
      PYSCALE_CUDA_CHECK(cudaEventRecord(reinterpret_cast<cudaEvent_t>(read), queue));
    reduce(group, call.exact(), queue);
    if (call.options.kernel == Kernel::rbf) exponentiate(group, call.options.bandwidth, queue);
    center(group, call.options.centering, call.options.packed, call.out, call.options.floor, queue);
  }
}

}  // namespace pyscale::cuda
