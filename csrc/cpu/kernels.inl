// The source of every instruction set's kernels. The including file defines, in an unnamed
// namespace,
//   kVectorBytes  the width of a register
//   kAccumulators how many registers may hold sums
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
  typedef T unaligned __attribute__((vector_size(kVectorBytes), aligned(alignof(T)), may_alias));
};
template <class T>
using Vector = typename VectorOf<T>::type;
template <class T>
constexpr int kLanes = VectorOf<T>::lanes;

template <class T>
inline Vector<T> read(const T* at) {
  return *reinterpret_cast<const typename VectorOf<T>::unaligned*>(at);
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

// ---- sum: over rows, in float64 ----

template <class T>
void sum(double* __restrict__ sums, const T* rows, int64_t pitch, int64_t count, int64_t depth) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4, rows += 4 * pitch)
    for (int64_t k = 0; k < depth; ++k)
      sums[k] +=
          (static_cast<double>(rows[k]) + static_cast<double>(rows[pitch + k])) +
          (static_cast<double>(rows[2 * pitch + k]) + static_cast<double>(rows[3 * pitch + k]));
  for (; i < count; ++i, rows += pitch)
    for (int64_t k = 0; k < depth; ++k) sums[k] += static_cast<double>(rows[k]);
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

template <class T, int edge>
void pack(T* __restrict__ panel, const T* rows, const T* shift, int64_t pitch, int64_t count,
          int64_t depth) {
  constexpr int lanes = kLanes<T>;
  for (int64_t k = 0; k < depth; k += lanes) {
    const Vector<T> s = read(shift + k);
    for (int64_t i = 0; i < edge; i += lanes) {
      Vector<T> square[lanes];
#pragma GCC unroll 16
      for (int r = 0; r < lanes; ++r)
        square[r] = i + r < count ? read(rows + (i + r) * pitch + k) - s : Vector<T>{};
      transpose<T>(square);
#pragma GCC unroll 16
      for (int r = 0; r < lanes; ++r) write(panel + (k + r) * edge + i, square[r]);
    }
  }
}

// ---- multiply: the product of two panels ----

// The most columns that `vectors` registers of rows can be multiplied with, dividing a register's
// lanes.
template <class T>
constexpr int columns_for(int vectors) {
  int columns = kLanes<T>;
  while (columns * vectors > kAccumulators) columns /= 2;
  return columns;
}

// One register tile: `vectors` registers of rows by a few columns, over the whole depth.
template <class T, int edge, int vectors>
inline void multiply_group(double* tile, const T* A, const T* B, int64_t depth) {
  constexpr int columns = columns_for<T>(vectors);
  Vector<T> sums[columns][vectors] = {};
  for (int64_t k = 0; k < depth; ++k, A += edge, B += edge) {
    Vector<T> a[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) a[v] = read(A + v * kLanes<T>);
#pragma GCC unroll 16
    for (int c = 0; c < columns; ++c)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sums[c][v] += a[v] * B[c];
  }
  // By way of memory: the compilers widen a loop over an array better than a register.
  constexpr int rows = vectors * kLanes<T>;
  alignas(64) T results[columns][rows];
#pragma GCC unroll 16
  for (int c = 0; c < columns; ++c)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) write(&results[c][v * kLanes<T>], sums[c][v]);
  for (int c = 0; c < columns; ++c)
    for (int i = 0; i < rows; ++i) tile[c * edge + i] += static_cast<double>(results[c][i]);
}

template <class T, int edge>
void multiply(double* tile, const T* A, const T* B, int64_t depth, int64_t rows, int64_t columns,
              bool diagonal) {
  constexpr int lanes = kLanes<T>;
  static_assert(edge == 3 * lanes);
  const int64_t last = (rows + lanes - 1) / lanes;
  for (int64_t j = 0; j < columns;) {
    const int64_t first = diagonal ? j / lanes : 0;  // registers above the diagonal are left out
    double* C = tile + j * edge + first * lanes;
    const T* a = A + first * lanes;
    if (last - first == 3) {
      multiply_group<T, edge, 3>(C, a, B + j, depth);
      j += columns_for<T>(3);
    } else if (last - first == 2) {
      multiply_group<T, edge, 2>(C, a, B + j, depth);
      j += columns_for<T>(2);
    } else {
      multiply_group<T, edge, 1>(C, a, B + j, depth);
      j += columns_for<T>(1);
    }
  }
}

// ---- the table ----

template <class T>
constexpr int kEdge = 3 * kLanes<T>;

constexpr Kernels make_kernels(const char* isa) {
  return {isa,
          {kEdge<float>,
           {nullptr, load<Float, float>, load_halves, load<BFloat16, float>},
           sum<float>,
           pack<float, kEdge<float>>,
           multiply<float, kEdge<float>>},
          {kEdge<double>,
           {load<Double, double>, load<Float, double>, load<Half, double>, load<BFloat16, double>},
           sum<double>,
           pack<double, kEdge<double>>,
           multiply<double, kEdge<double>>}};
}
