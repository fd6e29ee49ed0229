// Grams on Hopper's tensor cores, fed by its copy engine (TMA): bfloat16 and float16 as they are,
// float32 converted on the way.
//
// A thread of the first warpgroup asks the copy engine for boxes of 128 bytes of features, as many
// as shared memory holds, and two consumer warpgroups multiply them as they land. What a thread
// block multiplies is in patch.h; of its bands of 64 rows
//
//     0  #            bands 1 and 2 go to one consumer warpgroup, 0 and 3 to the other: either
//     1  # #          keeps 160 accumulators a thread, and 10 of 16 squares are multiplied. Three
//     2  # # #        tiles of 128 on three warpgroups would be 12 of 16, and their narrower
//     3  # # # #      products read more of shared memory for each multiply-add.
//
// 16-bit numbers: their products are exact in the float32 accumulators; there is no shift, so this
// is for data whose mean is no larger than its spread, which the guard asks.
//
// float32: the first warpgroup takes the shift off, rounds each number to bfloat16, and with two
// parts keeps as another what the rounding left, in place: 32 numbers fill the 128 bytes of a
// staged row, and so do 32 high and 32 low parts.
//
//     copy engine     empty -> [ x0 ............................ x31 ] -> landed
//     converters     landed -> [ high parts of all | low parts of all ] -> full
//     consumers        full -> wgmma: low high, high low, high high     -> empty
//
// Work: parts (parts + 1) / 2 x n^2 p / 2 multiply-adds (n^2 p for n <= 64). X is read once for n
// <= 256, else n / 170 times, mostly from the second-level cache.
#include "core/error.h"
#include "cuda/launch.h"
#include "cuda/numbers.h"
#include "cuda/patch.h"
#include "cuda/pipeline.h"
#include "cuda/tensor_map.h"
#include "cuda/wgmma.h"

namespace pyscale::cuda {
namespace {

constexpr int kConsumers = 2;  // warpgroups
constexpr int kThreads = (1 + kConsumers) * kWarpgroup;

// Rows of a box. The second half of a patch of few rows would all be zeros.
constexpr int box_rows_of(int64_t n) { return n <= kBlock ? kBlock : kPatchRows / 2; }

// By value in the kernel's parameters, so that a captured graph replays them.
struct Maps {
  CUtensorMap maps[kMaxProblems];
};

// How numbers of type T are fed to the tensor cores.
template <class T>
struct Feed {
  static constexpr bool converts = std::is_same_v<T, float>;
  using Factor = std::conditional_t<converts, __nv_bfloat16, T>;
  static constexpr int features = kRowBytes / static_cast<int>(sizeof(T));  // of a stage
  static constexpr int steps = features / kStep;
  static constexpr uint32_t low = converts ? kRowBytes / 2 : 0;  // bytes from the high parts
  static constexpr int run = kFlush / features;                  // stages between flushes
  // Where these go to memory: of 16-bit numbers, whose products lose nothing else, half as often.
  // With 256 samples they would move nearly as many bytes as the numbers themselves.
  static constexpr int long_run = (converts ? 1 : 2) * run;
  // Registers of a thread of the first warpgroup and of the others: all together have 64 K.
  static constexpr int feeder = converts ? 104 : 24;
  static constexpr int consumer = converts ? 200 : 240;
  static_assert(kChunk % features == 0 && kFlush % features == 0);
};

#ifdef PYSCALE_HOPPER

// ---- device helpers ----

// What a thread block stages: boxes of its rows, and below the diagonal one of its columns.
struct Boxes {
  __device__ Boxes(const Patch& at, int box_rows)
      : rows(box_rows),
        bytes(box_rows * kRowBytes),
        down(static_cast<int>(divide_up(int64_t{at.bands} * kBlock, box_rows))),
        all(down + (at.diagonal ? 0 : 1)) {}
  __device__ int64_t first_row(const Patch& at, int box) const {
    return box < down ? at.row * kBlock + int64_t{box} * rows : at.column * kBlock;
  }
  __device__ uint32_t columns() const {  // bytes from a stage's start
    return static_cast<uint32_t>(all > down ? down * bytes : 0);
  }

  int rows, bytes;  // of a box
  int down, all;
};

template <class T>
__device__ int stages_of(const Work& work) {
  return static_cast<int>(divide_up(work.end - work.begin, Feed<T>::features));
}

// Asks the copy engine for the stages of the share, one after the other. One thread's work. Numbers
// that are read once make room in the second-level cache for the partial sums, which come again.
template <class T>
class Asking {
 public:
  __device__ Asking(const CUtensorMap* map, const Work& work, const Patch& at, const Boxes& boxes,
                    uint64_t policy)
      : map_(map),
        at_(at),
        boxes_(boxes),
        policy_(policy),
        feature_(static_cast<int>(work.begin)),
        left_(stages_of<T>(work)) {
    if (left_ > 0) prefetch_map(map_);
  }

  // Waits for room for each.
  __device__ void ask(const Ring& ring, int stages) {
    for (; stages > 0 && left_ > 0; --stages, --left_) {
      unsigned char* stage = ring.wait_empty(turn_);
      uint64_t* landing = Feed<T>::converts ? ring.landed(turn_) : ring.full(turn_);
      barrier_expect(landing, static_cast<uint32_t>(boxes_.all * boxes_.bytes));
      for (int box = 0; box < boxes_.all; ++box)
        load_tile(stage + box * boxes_.bytes, map_, landing, feature_,
                  static_cast<int>(boxes_.first_row(at_, box)), policy_);
      feature_ += Feed<T>::features;
      ring.advance(turn_);
    }
  }

 private:
  const CUtensorMap* map_;
  const Patch& at_;
  const Boxes& boxes_;
  uint64_t policy_;
  int feature_, left_;
  Turn turn_;
};

// One thread's part in converting the stages: eight neighbours in each of its rows. Four threads
// share a row, so a warp takes eight rows, and of the 16-byte pieces that eight threads touch at
// once no two lie in the same banks: rows r and r ^ 5 differ in where their even pieces lie, and in
// where their first four.
template <int parts>
class Converter {
 public:
  // Of the staged rows those from `last` to `next` exist only in the box, as zeros.
  __device__ Converter(const float* shift, int64_t begin, int64_t end, int last, int next)
      : last_(last), next_(next) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const int quarter = lane % 4, pair = lane / 8, row = lane % 8 < 4 ? pair : pair ^ 5;
    row_ = row;
    shift_ = shift == nullptr ? nullptr : shift + begin + quarter * kEight;
    left_ = end - begin - quarter * kEight;
    first_ = swizzled(row, 2 * quarter);
    second_ = swizzled(row, 2 * quarter + 1);
    high_ = swizzled(row, quarter);
    low_ = swizzled(row, kPieces / 2 + quarter);
  }

  // `rows` of each of the stages. Half of the ring is for what is on its way, so that asking for
  // more never waits for consumers that wait for this warpgroup.
  __device__ void run(const Ring& ring, int stages, int rows, Asking<float>& asking) {
    Turn turn;
    if (threadIdx.x == 0) asking.ask(ring, (ring.stages() + 1) / 2);
    const int warp = static_cast<int>(threadIdx.x) % kWarpgroup / kWarp;
    Eight<float> next = shift_of(0);
    for (int s = 0; s < stages; ++s) {
      float shift[kEight];
      widen_eight(shift, next);
      next = shift_of(s + 1);
      unsigned char* stage = ring.wait_landed(turn);
      // Two groups of eight rows at once: the second's numbers come while the first's are
      // converted.
      for (int row = warp * 2 * kEightRows; row < rows; row += kWarpgroupWarps * 2 * kEightRows)
        convert(stage, row, shift);
      ring.fill(turn);
      ring.advance(turn);
      if (threadIdx.x == 0) asking.ask(ring, 1);
    }
  }

 private:
  static constexpr int kEightRows = 8;

  __device__ Eight<float> shift_of(int stage) const {
    const int64_t feature = int64_t{stage} * Feed<float>::features;
    const int64_t left = left_ - feature;
    if (shift_ == nullptr) return {};
    return fetch_eight(shift_ + feature,
                       static_cast<int>(max(min(left, int64_t{kEight}), int64_t{0})), true);
  }

  // Rows `first` to `first` + 15 of the stage.
  __device__ __forceinline__ void convert(unsigned char* stage, int first,
                                          const float (&shift)[kEight]) const {
    unsigned char* rows = stage + first * kRowBytes;
    Eight<float> raw[2];
#pragma unroll
    for (int g = 0; g < 2; ++g) {
      const unsigned char* group = rows + g * kEightRows * kRowBytes;
      raw[g].words[0] = *reinterpret_cast<const uint4*>(group + first_);
      raw[g].words[1] = *reinterpret_cast<const uint4*>(group + second_);
    }
    __syncwarp();  // the others have read what this thread is about to overwrite
#pragma unroll
    for (int g = 0; g < 2; ++g) {
      unsigned char* group = rows + g * kEightRows * kRowBytes;
      float x[kEight];
      widen_eight(x, raw[g]);
      const int row = first + g * kEightRows + row_;
      if (row < last_ || row >= next_) {
#pragma unroll
        for (int f = 0; f < kEight; ++f) x[f] -= shift[f];
      }
      uint4 hi, lo;
      split_eight(x, hi, lo);
      store_shared(group + high_, hi);
      if constexpr (parts == 2) store_shared(group + low_, lo);
    }
  }

  const float* shift_;               // its first eight
  int64_t left_;                     // features from there on
  int last_, next_, row_;            // row_: of eight
  int first_, second_, high_, low_;  // bytes from the start of eight rows
};

// The work of a warpgroup with one band: there are registers for the second set of sums too.
template <class T, int parts, int N>
__device__ __forceinline__ void multiply_one(const Ring& ring, int stages, const Operands& at,
                                             float* blocks) {
  using Of = Feed<T>;
  float acc[N / 2] = {}, sums[N / 2] = {};
  consume(
      ring, stages, Of::run,
      [&](uint32_t stage) {
        multiply_chunk<typename Of::Factor, parts, N, Of::steps>(acc, stage, at);
      },
      [&](bool) {
#pragma unroll
        for (int i = 0; i < N / 2; ++i) {
          sums[i] += acc[i];
          acc[i] = 0;
        }
      });
  flush<N>(blocks, sums, true);
}

// The work of a warpgroup with two bands, against N and M rows.
template <class T, int parts, int N, int M>
__device__ __forceinline__ void multiply_two(const Ring& ring, int stages, const Operands& at,
                                             float* blocks, const Operands& other,
                                             float* other_blocks) {
  using Of = Feed<T>;
  using Factor = typename Of::Factor;
  float acc[N / 2] = {}, more[M / 2] = {};
  consume(
      ring, stages, Of::long_run,
      [&](uint32_t stage) {
        multiply_chunk<Factor, parts, N, Of::steps>(acc, stage, at);
        multiply_chunk<Factor, parts, M, Of::steps>(more, stage, other);
      },
      [&](bool first) {
        flush<N>(blocks, acc, first);
        flush<M>(other_blocks, more, first);
      });
}

// The work of a consumer warpgroup. `partial`: of its share.
template <class T, int parts>
__device__ __forceinline__ void multiply_patch(const Ring& ring, int stages, const Patch& at,
                                               int consumer, uint32_t columns, float* partial) {
  const auto operands = [&](int band) {
    return Operands{static_cast<uint32_t>(band * kBandBytes), columns, Feed<T>::low};
  };
  const auto blocks = [&](int band) {
    return partial + (triangle(at.row + band) + at.column) * kBlockSize;
  };
  if (at.diagonal) {
    if (consumer == 0 && at.bands > 2)
      multiply_two<T, parts, 128, 192>(ring, stages, operands(1), blocks(1), operands(2),
                                       blocks(2));
    else if (consumer == 0 && at.bands == 2)
      multiply_one<T, parts, 128>(ring, stages, operands(1), blocks(1));
    else if (consumer == 0 || (at.bands > 1 && at.bands < 4))
      multiply_one<T, parts, 64>(ring, stages, operands(0), blocks(0));
    else if (at.bands == 4)
      multiply_two<T, parts, 64, 256>(ring, stages, operands(0), blocks(0), operands(3), blocks(3));
  } else {
    const int band = 2 * consumer;
    if (at.bands > band + 1)
      multiply_two<T, parts, 128, 128>(ring, stages, operands(band), blocks(band),
                                       operands(band + 1), blocks(band + 1));
    else if (at.bands > band)
      multiply_one<T, parts, 128>(ring, stages, operands(band), blocks(band));
  }
}

#endif  // PYSCALE_HOPPER

// ---- kernels ----

template <class T, int parts>
__global__ void __launch_bounds__(kThreads, 1)
    multiply_patches(const __grid_constant__ Group group, const __grid_constant__ Maps maps,
                     Guard guard, int patches, int box_rows) {
  follow_stream();
#ifdef PYSCALE_HOPPER
  using Of = Feed<T>;
  const Work work = locate(group, static_cast<int>(blockIdx.x), patches);
  if (skips(guard, *work.problem)) return;
  const Patch at(group.n, work.tile);
  const Boxes boxes(at, box_rows);
  const Ring ring(boxes.all * boxes.bytes, Of::converts ? kWarpgroupWarps : 1,
                  static_cast<uint32_t>((at.needs_both() ? 2 : 1) * kWarpgroupWarps));
  const int warpgroup = static_cast<int>(threadIdx.x) / kWarpgroup;
  const int stages = stages_of<T>(work);
  if (warpgroup == 0) {
    registers_decrease<Of::feeder>();
    Asking<T> asking(maps.maps + (work.problem - group.problems), work, at, boxes,
                     patches == 1 ? evict_first() : evict_normal());
    if constexpr (Of::converts)
      Converter<parts>(static_cast<const float*>(work.problem->shift), work.begin, work.end,
                       static_cast<int>(min(group.n - at.row * kBlock, int64_t{kPatchRows})),
                       boxes.down * boxes.rows)
          .run(ring, stages, boxes.all * boxes.rows, asking);
    else if (threadIdx.x == 0)
      asking.ask(ring, stages);
  } else {
    registers_increase<Of::consumer>();
    multiply_patch<T, parts>(
        ring, stages, at, warpgroup - 1, boxes.columns(),
        static_cast<float*>(work.problem->partial) + work.split * blocks_of(group.n) * kBlockSize);
  }
#endif
}

// ---- launchers ----

Maps maps_of(const Group& group, DType dtype) {
  Maps maps{};
  for (int32_t i = 0; i < group.count; ++i) {
    const Problem& problem = group.problems[i];
    if (problem.p == 0) continue;  // nothing will be asked for
    maps.maps[i] = map_of({const_cast<void*>(problem.X), group.n, problem.p, problem.pitch, dtype},
                          box_rows_of(group.n));
  }
  return maps;
}

template <class T, int parts>
void launch_patches(const Group& group, DType dtype, Guard guard, cudaStream_t stream) {
  const int patches = patches_of(group.n);
  const Group counted = numbered(group, patches);
  launch(multiply_patches<T, parts>, dim3(static_cast<unsigned>(counted.total)), dim3(kThreads),
         kSharedMost, stream, counted, maps_of(group, dtype), guard, patches, box_rows_of(group.n));
}

}  // namespace

bool tma_takes(const Matrix& X) { return mappable(X); }

void multiply_tma(const Group& group, DType dtype, int parts, Guard guard, cudaStream_t stream) {
  switch (dtype) {
    case DType::f64:
      PYSCALE_CHECK(false, "float64 is multiplied in float64 (multiply_exact)");
      break;
    case DType::f32:
      PYSCALE_CHECK(parts == 1 || parts == 2, "a number has 1 or 2 parts, not ", parts);
      return parts == 2 ? launch_patches<float, 2>(group, dtype, guard, stream)
                        : launch_patches<float, 1>(group, dtype, guard, stream);
    case DType::f16:
      return launch_patches<__half, 1>(group, dtype, guard, stream);
    case DType::bf16:
      return launch_patches<__nv_bfloat16, 1>(group, dtype, guard, stream);
  }
}

}  // namespace pyscale::cuda
