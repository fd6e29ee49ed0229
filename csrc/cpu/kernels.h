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

// Rows that a shift is taken from.
constexpr int64_t kSamples = 16;

// A panel holds `edge` rows of a matrix over at most kDepth features, in slices of `lanes` rows,
// and those feature by feature: element (i, k) at (i / lanes * kDepth + k) * lanes + i % lanes. A
// tile is the product of two panels: element (i, j) at i * edge + j, in float64.

constexpr int64_t kLineBytes = 64;

// Lines of memory to ask for before they are needed: those of `rows` rows, `lines` each, a few with
// every group of rows of a tile.
struct Ahead {
  const char* row;
  int64_t pitch;  // bytes
  int64_t rows, lines;
  int64_t step;      // lines at a time
  int64_t line = 0;  // of the row: the next
};

template <class T>
struct KernelSet {
  int64_t edge;    // at most kMaxEdge
  int64_t lanes;   // divides the edge
  int64_t groups;  // of rows, in which a tile is made

  // out[k] = in[k] in arithmetic type T, by the input's DType; null where T would be narrower than
  // the input.
  void (*load[4])(T* out, const void* in, int64_t count);

  // out[k] = the mean of the middle half of rows[i, k] over i, or that of all if they are fewer
  // than kSamples. A column of one number has it as mean to the bit.
  void (*middle)(T* out,         // (kDepth)
                 const T* rows,  // (count, kDepth), count <= kSamples
                 int64_t count);

  // panel[i, k] = rows[i, k] - shift[k] for i < count. Reads and writes whole vectors: depth is a
  // multiple of kDepthStep. Slices of rows that have none are left as they are, and the rows that a
  // slice is short of repeat its last.
  void (*pack)(T* panel,        // 64-byte aligned
               const T* rows,   // (count, depth), rows `pitch` apart
               const T* shift,  // (depth)
               int64_t pitch, int64_t count, int64_t depth);

  // tile[i, j] += sum over k of A[i, k] B[j, k] for i < rows, j < columns; where `diagonal`, only j
  // <= i is promised. Whole groups of rows and registers of columns are computed: others than those
  // asked for may change too.
  void (*multiply)(double* tile,  // (edge, edge), 64-byte aligned
                   const T* A, const T* B, int64_t depth, int64_t rows, int64_t columns,
                   bool diagonal, Ahead& ahead);
};

constexpr int64_t kMaxEdge = 32;
constexpr int64_t kDepthStep = 16;  // the widest vector, in elements

struct Kernels {
  const char* isa;
  KernelSet<float> f32;
  KernelSet<double> f64;
};

}  // namespace pyscale::cpu
