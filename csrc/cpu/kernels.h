// The inner loops that are compiled once for each instruction set, behind a table of function
// pointers.
//
// The files that fill such a table are compiled with instructions the running machine may lack.
// They must therefore leave no function behind that another file could be linked against:
// everything in them has internal linkage, and they use no header with inline functions. This one
// holds declarations only, for the same reason.
#pragma once

#include <cstdint>

namespace pyscale::cpu {

// Features that are packed, and multiplied in the arithmetic type, before sums move on to float64.
constexpr int64_t kDepth = 192;

// A panel holds `edge` rows of a matrix over `depth` features, feature by feature: element (i, k)
// at k * edge + i. A tile is the product of two panels: element (i, j) at j * edge + i, in float64.
template <class T>
struct KernelSet {
  int64_t edge;  // at most kMaxEdge

  // out[k] = in[k] in arithmetic type T, by the input's DType; null where T would be narrower than
  // the input.
  void (*load[4])(T* out, const void* in, int64_t count);

  // sums[k] += sum over i of rows[i, k], in float64.
  void (*sum)(double* sums,   // (depth)
              const T* rows,  // (count, depth), rows `pitch` apart
              int64_t pitch, int64_t count, int64_t depth);

  // panel[i, k] = rows[i, k] - shift[k]; 0 for i >= count. Reads and writes whole vectors: depth is
  // rounded up to a multiple of kDepthStep.
  void (*pack)(T* panel,        // (depth, edge), 64-byte aligned
               const T* rows,   // (count, depth), rows `pitch` apart
               const T* shift,  // (depth)
               int64_t pitch, int64_t count, int64_t depth);

  // tile[i, j] += sum over k of A[i, k] B[j, k] for i < rows, j < columns; where `diagonal`, only i
  // >= j is promised. Whole vectors of rows and groups of columns are computed: others than those
  // asked for may change too.
  void (*multiply)(double* tile,  // (edge, edge), 64-byte aligned
                   const T* A, const T* B, int64_t depth, int64_t rows, int64_t columns,
                   bool diagonal);
};

constexpr int64_t kMaxEdge = 48;
constexpr int64_t kDepthStep = 16;  // the widest vector, in elements

struct Kernels {
  const char* isa;
  KernelSet<float> f32;
  KernelSet<double> f64;
};

}  // namespace pyscale::cpu
