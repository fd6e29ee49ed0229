// The source of every instruction set's kernels. The including file defines, in an unnamed
// namespace,
//   kVectorBytes  the width of a register
//   kAccumulators how many registers may hold sums
//   PYSCALE_PAIRS if bfloat16 numbers are to be multiplied in pairs
// and includes this file in that namespace. GCC's and Clang's vector extensions stand in for
// intrinsics: a wider register changes a constant, not the source.

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define PYSCALE_SHUFFLEVECTOR 1
#endif
#endif

template <class T>
struct VectorOf {
  static constexpr int lanes = kVectorBytes / static_cast<int>(sizeof(T));
  typedef T type __attribute__((vector_size(kVectorBytes)));
  typedef T unaligned __attribute__((vector_size(kVectorBytes), aligned(1), may_alias));
};
template <class T>
using Vector = typename VectorOf<T>::type;
template <class T>
constexpr int kLanes = VectorOf<T>::lanes;

template <class T>
inline Vector<T> read_bytes(const char* at) {
  return *reinterpret_cast<const typename VectorOf<T>::unaligned*>(at);
}
template <class T>
inline Vector<T> read(const T* at) {
  return read_bytes<T>(reinterpret_cast<const char*>(at));
}
template <class T>
inline void write(T* at, Vector<T> x) {
  *reinterpret_cast<typename VectorOf<T>::unaligned*>(at) = x;
}
// ---- load: any input type to the arithmetic type ----

inline float bits_to_float(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

struct BFloat16 {
  uint16_t bits;
  float value() const { return bits_to_float(uint32_t{bits} << 16); }
};

struct Half {
  uint16_t bits;
  // Without a table or a branch, so that the loop vectorises: the exponent is rebiased by a
  // multiplication with 2^112, which also normalises subnormals; infinities and NaNs get their
  // all-ones exponent back.
  float value() const {
    const uint32_t sign = (uint32_t{bits} & 0x8000u) << 16;
    const uint32_t rest = (uint32_t{bits} & 0x7fffu) << 13;
    const float scaled = bits_to_float(rest) * bits_to_float(0x77800000u);
    uint32_t finite;
    __builtin_memcpy(&finite, &scaled, sizeof finite);
    const uint32_t special = rest >= 0x0f800000u;
    return bits_to_float(sign | finite | (0x7f800000u & (0u - special)));
  }
};

struct Float {
  float bits;
  float value() const { return bits; }
};
struct Double {
  double bits;
  double value() const { return bits; }
};

template <class From, class T>
void load(T* __restrict__ out, const void* in, int64_t count) {
  const auto* from = static_cast<const From*>(in);
  for (int64_t k = 0; k < count; ++k) out[k] = static_cast<T>(from[k].value());
}

#ifdef __F16C__
void load_halves(float* __restrict__ out, const void* in, int64_t count) {
  const auto* from = static_cast<const uint16_t*>(in);
  int64_t k = 0;
  for (; k + 8 <= count; k += 8)
    _mm256_storeu_ps(
        out + k, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(from + k))));
  for (; k < count; ++k) out[k] = _cvtsh_ss(from[k]);
}
#else
void load_halves(float* __restrict__ out, const void* in, int64_t count) {
  load<Half>(out, in, count);
}
#endif

// ---- middle: the mean of the middle half of kSamples rows ----

// One stage of Batcher's odd-even merge sort, which merges runs of p, at distance k.
template <int p, int k, class V>
inline void merge(V* y) {
#pragma GCC unroll 16
  for (int i = k % p; i + k < kSamples; ++i)
    if ((i - k % p) / k % 2 == 0 && i / (2 * p) == (i + k) / (2 * p)) {
      const V low = y[i] < y[i + k] ? y[i] : y[i + k];
      y[i + k] = y[i] < y[i + k] ? y[i + k] : y[i];
      y[i] = low;
    }
}

template <int p = 1, int k = 1, class V>
inline void sort(V* y) {
  merge<p, k>(y);
  if constexpr (k > 1)
    sort<p, k / 2>(y);
  else if constexpr (2 * p < kSamples)
    sort<2 * p, 2 * p>(y);
}

template <class T>
void middle(T* __restrict__ out, const T* rows, int64_t count) {
  constexpr int skipped = kSamples / 4;
  for (int64_t k = 0; k < kDepth; k += kLanes<T>) {
    Vector<T> y[kSamples], sum = {};
    // Of fewer rows each stands for several: of four or more, one is a quarter of the whole at
    // most.
#pragma GCC unroll 16
    for (int i = 0; i < kSamples; ++i) y[i] = read(rows + (i * count / kSamples) * kDepth + k);
    sort(y);
    const Vector<T> base = y[kSamples / 2];  // near the others, while y[0] may be far away
#pragma GCC unroll 16
    for (int i = skipped; i < kSamples - skipped; ++i) sum += y[i] - base;
    write(out + k, base + sum / static_cast<T>(kSamples / 2));
  }
}

// ---- pack: rows of a matrix to a panel ----

#ifdef PYSCALE_SHUFFLEVECTOR
template <int... I>
struct Lanes {};
template <int N, int... I>
struct FirstLanes : FirstLanes<N - 1, N - 1, I...> {};
template <int... I>
struct FirstLanes<0, I...> {
  using type = Lanes<I...>;
};
template <int distance, class V, int... I>
inline void exchange_lanes(V& a, V& b, Lanes<I...>) {
  constexpr int lanes = sizeof...(I);
  const V low = __builtin_shufflevector(a, b, ((I & distance) ? I - distance + lanes : I)...);
  b = __builtin_shufflevector(a, b, ((I & distance) ? I + lanes : I + distance)...);
  a = low;
}
#endif

// Of the 2 x 2 blocks of `distance` lanes that the rows a and b form, exchanges the two off the
// diagonal.
template <int distance, class T>
inline void exchange(Vector<T>& a, Vector<T>& b) {
#ifdef PYSCALE_SHUFFLEVECTOR
  exchange_lanes<distance>(a, b, typename FirstLanes<kLanes<T>>::type());
#else  // GCC before 12
  typedef decltype(a < b) Mask;
  Mask low = {}, high = {};
  for (int i = 0; i < kLanes<T>; ++i) {
    low[i] = (i & distance) ? i - distance + kLanes<T> : i;
    high[i] = (i & distance) ? i + kLanes<T> : i + distance;
  }
  const Vector<T> first = __builtin_shuffle(a, b, low);
  b = __builtin_shuffle(a, b, high);
  a = first;
#endif
}

// A square of registers, transposed in place: blocks of halving size change places.
template <class T, int distance = kLanes<T> / 2>
inline void transpose(Vector<T>* square) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes<T>; ++i)
    if (!(i & distance)) exchange<distance, T>(square[i], square[i + distance]);
  if constexpr (distance > 1) transpose<T, distance / 2>(square);
}

template <class T>
void pack(T* __restrict__ panel, const char* rows, const T* shift, int64_t pitch, int64_t count,
          int64_t steps) {
  constexpr int lanes = kLanes<T>;
  for (int64_t i = 0; i < count; i += lanes, panel += kSteps<T> * lanes, rows += lanes * pitch) {
    const int64_t last =
        count - i - 1;  // rows that are missing are read from the last one, and dropped
    const char* at[lanes];
#pragma GCC unroll 16
    for (int r = 0; r < lanes; ++r) at[r] = rows + (r < last ? r : last) * pitch;
    for (int64_t k = 0; k < steps; k += lanes) {
      Vector<T> square[lanes];
#pragma GCC unroll 16
      for (int r = 0; r < lanes; ++r)
        square[r] = read_bytes<T>(at[r] + k * static_cast<int64_t>(sizeof(T)));
      if constexpr (kFeatures<T> == 1) {
        const Vector<T> s = read(shift + k);
#pragma GCC unroll 16
        for (int r = 0; r < lanes; ++r) square[r] -= s;
      }
      transpose<T>(square);
#pragma GCC unroll 16
      for (int r = 0; r < lanes; ++r) write(panel + (k + r) * lanes, square[r]);
    }
  }
}

// ---- multiply: the product of two panels ----

// The type that products are added in.
template <class T>
struct SumOf {
  using type = T;
};
template <>
struct SumOf<Pair> {
  using type = float;
};
template <class T>
using Sum = typename SumOf<T>::type;

template <class T>
inline void add_products(Vector<T>& sum, T a, Vector<T> b) {
  sum += a * b;
}

#ifdef PYSCALE_PAIRS
inline void add_products(Vector<float>& sum, Pair a, Vector<Pair> b) {
#ifdef __AVX512BF16__
  sum = _mm512_dpbf16_ps(sum, (__m512bh)(Vector<Pair>{} + a), (__m512bh)b);
#else  // the same in float32: a bfloat16 number is the upper half of one
  constexpr Pair upper = 0xffff0000u;
  sum += bits_to_float(a & upper) * (Vector<float>)(b & upper);
  sum += bits_to_float(a << 16) * (Vector<float>)(b << 16);
#endif
}

bool near_zero(const float* rows, const float* shift, int64_t count) {
  constexpr float most = 4;
  Vector<float> squares = {}, centred = {};
  for (int64_t i = 0; i < count; ++i)
    for (int64_t k = 0; k < kDepth; k += kLanes<float>) {
      const Vector<float> x = read(rows + i * kDepth + k), y = x - read(shift + k);
      squares += x * x;
      centred += y * y;
    }
  float about_zero = 0, about_shift = 0;
  for (int lane = 0; lane < kLanes<float>; ++lane) {
    about_zero += squares[lane];
    about_shift += centred[lane];
  }
  // About a centre of their own numbers lie closer than about that of all: by (count - 1) / count.
  const float all = static_cast<float>(count);
  return about_zero * (all - 1) <= most * about_shift * all;
}
#endif

// The most rows that `registers` registers of columns can be multiplied with, dividing a register's
// lanes.
template <class T>
constexpr int rows_for(int registers) {
  int rows = kLanes<T>;
  while (rows * registers > kAccumulators) rows /= 2;
  return rows;
}

// GCC takes a call of a function that does nothing but prefetch for one without effect.
__attribute__((always_inline)) inline void fetch(Ahead& ahead) {
  for (int64_t left = ahead.step; left > 0 && ahead.rows > 0; --left) {
    __builtin_prefetch(ahead.row + ahead.line * kLineBytes, 0, 2);
    if (++ahead.line < ahead.lines) continue;
    ahead.line = 0;
    ahead.row += ahead.pitch;
    --ahead.rows;
  }
}

// A few rows by `registers` registers of columns, over the whole depth; returns the number of rows.
// What the next rows read again (`registers` slices of B, and the one of A) fits the first-level
// cache.
template <class T, int edge, int registers = edge / kLanes<T>>
inline int64_t multiply_group(int64_t needed, double* tile, const T* A, const T* B, int64_t steps,
                              Ahead& ahead) {
  if constexpr (registers > 1)
    if (needed < registers)
      return multiply_group<T, edge, registers - 1>(needed, tile, A, B, steps, ahead);
  constexpr int lanes = kLanes<T>, rows = rows_for<T>(registers);
  Vector<Sum<T>> sums[rows][registers] = {};
  fetch(ahead);
  // The sums, which may be far: added to after the products.
  constexpr int line = kLineBytes / sizeof(double);
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < registers * lanes; j += line) __builtin_prefetch(tile + r * edge + j, 1, 3);
#pragma GCC unroll 4
  for (int64_t k = 0; k < steps; ++k, A += lanes, B += lanes) {
    Vector<T> b[registers];
#pragma GCC unroll 8
    for (int v = 0; v < registers; ++v) b[v] = read(B + v * kSteps<T> * lanes);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < registers; ++v) add_products(sums[r][v], A[r], b[v]);
  }
  // By way of memory: the compilers widen a loop over an array better than a register.
  alignas(64) Sum<T> results[rows][registers * lanes];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < registers; ++v) write(&results[r][v * lanes], sums[r][v]);
  for (int r = 0; r < rows; ++r)
    for (int j = 0; j < registers * lanes; ++j)
      tile[r * edge + j] += static_cast<double>(results[r][j]);
  return rows;
}

template <class T, int edge>
void multiply(double* tile, const T* A, const T* B, int64_t steps, int64_t rows, int64_t columns,
              bool diagonal, Ahead& ahead) {
  constexpr int lanes = kLanes<T>;
  const int64_t registers = (columns + lanes - 1) / lanes;
  for (int64_t i = 0; i < rows;) {
    const int64_t needed = diagonal ? i / lanes + 1 : registers;  // none above the diagonal
    const T* a = A + (i / lanes) * kSteps<T> * lanes + i % lanes;
    i += multiply_group<T, edge>(needed, tile + i * edge, a, B, steps, ahead);
  }
}

#include "cpu/moments.inl"

// ---- the table ----

template <class T>
constexpr int kEdge = kVectors * kLanes<T>;

constexpr Kernels make_kernels(const char* isa) {
  return {isa,
          {kEdge<float>,
           kLanes<float>,
           kEdge<float> / rows_for<float>(kVectors),
           {nullptr, load<Float, float>, load_halves, load<BFloat16, float>},
           middle<float>,
           pack<float>,
           multiply<float, kEdge<float>>},
          {kEdge<double>,
           kLanes<double>,
           kEdge<double> / rows_for<double>(kVectors),
           {load<Double, double>, load<Float, double>, load<Half, double>, load<BFloat16, double>},
           middle<double>,
           pack<double>,
           multiply<double, kEdge<double>>},
#ifdef PYSCALE_PAIRS
          {kEdge<Pair>, kLanes<Pair>, kEdge<Pair> / rows_for<Pair>(kVectors), near_zero, pack<Pair>,
           multiply<Pair, kEdge<Pair>>},
#else
          {},
#endif
          {spread<Double>, spread<Float>, spread<Half>, spread<BFloat16>},
          add_tile<kEdge<double>>,
          mirror_tile<kEdge<double>>};
}
