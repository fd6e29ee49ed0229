// Kernels for 512-bit registers, of which there are twice as many as of AVX2's. Included like
// kernels.inl.
constexpr int kVectorBytes = 64;
// Three registers of columns would fill 48 KiB of first-level cache with what every group reads.
constexpr int kVectors = 2;
constexpr int kAccumulators = 24;  // of 32 registers
#include "cpu/kernels.inl"
