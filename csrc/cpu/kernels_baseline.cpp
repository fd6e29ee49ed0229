// 128-bit registers: SSE2 on x86-64, NEON on aarch64.
#include "cpu/kernels.h"

namespace pyscale::cpu {
namespace {

constexpr int kVectorBytes = 16;
#ifdef __aarch64__
constexpr int kVectors = 6;
constexpr int kAccumulators = 24;  // of 32 registers
constexpr const char* kName = "neon";
#else
constexpr int kVectors = 3;
constexpr int kAccumulators = 12;  // of 16 registers
constexpr const char* kName = "baseline";
#endif
#include "cpu/kernels.inl"

}  // namespace

extern const Kernels kernels_baseline;
constexpr Kernels kernels_baseline = make_kernels(kName);

}  // namespace pyscale::cpu
