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

// Two neighbours in a row of bfloat16 numbers as they lie in memory. Their products are exact in
// float32, so they can be multiplied as they are where no shift is needed.
using Pair = uint32_t;

// How many features an element of a panel holds, and how many elements a row of a panel has.
template <class T>
constexpr int64_t kFeatures = 1;
template <>
inline constexpr int64_t kFeatures<Pair> = 2;
template <class T>
constexpr int64_t kSteps = kDepth / kFeatures<T>;

// A panel holds `edge` rows of a matrix over at most kDepth features, in slices of `lanes` rows,
// and those step by step: element (i, k) at (i / lanes * kSteps + k) * lanes + i % lanes. A tile is
// the product of two panels: element (i, j) at i * edge + j, in float64.

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

// panel[i, k] = rows[i, k] - shift[k] for i < count. Reads and writes whole vectors: steps is a
// multiple of kWholeSteps. Slices of rows that have none are left as they are, and the rows that a
// slice is short of repeat its last.
template <class T>
using Pack = void(T* panel,          // 64-byte aligned
                  const char* rows,  // (count, steps), rows `pitch` bytes apart
                  const T* shift,    // (steps)
                  int64_t pitch, int64_t count, int64_t steps);

// tile[i, j] += sum over k of A[i, k] B[j, k] for i < rows, j < columns; where `diagonal`, only j
// <= i is promised. Whole groups of rows and registers of columns are computed: others than those
// asked for may change too.
template <class T>
using Multiply = void(double* tile,  // (edge, edge), 64-byte aligned
                      const T* A, const T* B, int64_t steps, int64_t rows, int64_t columns,
                      bool diagonal, Ahead& ahead);

// Numbers of a row less a shift, a register of them to each of the slices of a float64 panel, at
// one step of it; `slice` elements are between the slices. The last register is filled with zeros.
using Spread = void(double* panel,  // 64-byte aligned
                    const void* row, const double* shift, int64_t count, int64_t slice);

// tile[i, j] = S[i, j] += tile[i, j] for i < rows, j < columns, of a float64 tile; j <= i alone
// where `diagonal`.
using AddTile = void(double* S, int64_t pitch, double* tile, int64_t rows, int64_t columns,
                     bool diagonal);

// S[j, i] = tile[i, j] for i < rows, j < columns; j < i alone where `diagonal`.
using MirrorTile = void(double* S, int64_t pitch, const double* tile, int64_t rows, int64_t columns,
                        bool diagonal);

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

  Pack<T>* pack;
  Multiply<T>* multiply;
};

// Tiles are those of KernelSet<float>. All null where the instruction set has no such products.
template <>
struct KernelSet<Pair> {
  int64_t edge, lanes, groups;

  // Whether products of the numbers as they are lose at most two bits of the digits that those less
  // `shift` keep, as far as some rows tell: their mean squares are compared.
  bool (*near_zero)(const float* rows,   // (count, kDepth)
                    const float* shift,  // (kDepth)
                    int64_t count);

  Pack<Pair>* pack;  // takes no shift
  Multiply<Pair>* multiply;
};

constexpr int64_t kMaxEdge = 32;
constexpr int64_t kWholeSteps = 16;  // the widest vector, in elements

struct Kernels {
  const char* isa;
  KernelSet<float> f32;
  KernelSet<double> f64;
  KernelSet<Pair> pairs;
  Spread* spread[4];  // by the row's DType
  AddTile* add_tile;
  MirrorTile* mirror_tile;
};

}  // namespace pyscale::cpu
