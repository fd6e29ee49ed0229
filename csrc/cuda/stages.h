// The stages of a centred Gram matrix, in the order in which gram.cu queues them. Every one takes a
// group of problems, queues its kernels on the stream, allocates nothing and waits for nothing.
#pragma once

#include "core/matrix.h"
#include "cuda/device.h"
#include "cuda/gram.h"
#include "cuda/problem.h"

namespace pyscale::cuda {

// When a product's thread blocks work: always, or only on problems whose `plain` flag is that.
enum class Guard : int { none, if_plain, unless_plain };

// ---- sample.cu: shift, constancy, and whether the shift is needed ----

// Doubles of `sampled` for p features.
int64_t sampled_size(int64_t p);
// shift := the middle of up to kSamples rows spread over X (skipped where null); `varies` decided
// by the sampled rows, and by a pass over all of X where these are all alike; `plain` where the
// mean square is at most kPlainRatio times the mean square about the shift. `exact`: the shift is
// double, else float.
void sample(const Group& group, DType dtype, bool exact, cudaStream_t stream);

// ---- exact.cu, mma.cu, convert.cu, tma.cu: partial := sums of products, by splits ----

// Float64 products of any input, less the double shift. Tiles of 64.
void multiply_exact(const Group& group, DType dtype, cudaStream_t stream);
// Tensor cores through mma.sync: any GPU from sm_80 on. `parts` 2 splits every number into two
// bfloat16 and adds three products, 1 rounds it to one. Tiles of `tile_of(n)`.
void multiply_mma(const Group& group, DType dtype, int parts, cudaStream_t stream);
// The same through wgmma, fed by warps that convert: sm_90.
void multiply_convert(const Group& group, DType dtype, int parts, Guard guard, cudaStream_t stream);
// The same through wgmma fed by TMA, for 16-byte aligned rows of anything but float64, by patches
// (patch.h). Of bfloat16 and float16 one product of the numbers as they are, without the shift.
bool tma_takes(const Matrix& X);
void multiply_tma(const Group& group, DType dtype, int parts, Guard guard, cudaStream_t stream);

// ---- reduce.cu ----

// G := the partial sums added over splits in order, in float64; both halves.
void reduce(const Group& group, bool exact, cudaStream_t stream);

// ---- rbf.cu ----

// Words of `histogram`.
int64_t histogram_size();
// G := exp(-D / (2 (bandwidth median)^2)), D the squared distances that G implies, the median that
// of the distances of pairs i > j: the mean of the two middle ones, exactly.
void exponentiate(const Group& group, double bandwidth, cudaStream_t stream);

// ---- center.cu ----

// Doubles of `rows` for n samples; also enough for `exponentiate`.
int64_t rows_size(int64_t n);
// out := C(G) in float or double; packed: the strict lower triangle of U(G). constant := !varies;
// floor := that of the centred matrix, where one is asked for and anything is centred.
void center(const Group& group, Centering centering, bool packed, DType out, Floor floor,
            cudaStream_t stream);

}  // namespace pyscale::cuda
