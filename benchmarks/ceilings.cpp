// What this machine does at best: fused multiply-adds held in registers, and memory copied and read by plain loops.
// Compiled and called by ceilings.py, with this machine's own instructions.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif

typedef float Floats __attribute__((vector_size(kBytes)));
typedef double Doubles __attribute__((vector_size(kBytes)));
typedef uint64_t Words __attribute__((vector_size(kBytes), aligned(8), may_alias));

constexpr int kChains = 12;  // enough to hide a latency of 4 to 5 cycles on two units, few enough for 16 registers

std::atomic<double> sink;  // what is stored here is not optimised away

// Runs `work(thread)` on that many threads and returns the seconds from their common start to the last one's end.
template <class Work>
double seconds(int threads, Work work) {
  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t)
    others.emplace_back([&, t] {
      ++ready;
      while (!go) std::this_thread::yield();
      work(t);
    });
  while (ready < threads - 1) std::this_thread::yield();
  const auto start = std::chrono::steady_clock::now();
  go = true;
  work(0);
  for (auto& other : others) other.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

template <class Vector, class Number>
void chains(int64_t steps, Number scale, Number shift) {
  Vector s[kChains], a = Vector{} + scale, b = Vector{} + shift;
  for (int j = 0; j < kChains; ++j) s[j] = Vector{} + Number(j);
  for (int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kChains; ++j) s[j] = s[j] * a + b;
  }
  Vector total = s[0];
  for (int j = 1; j < kChains; ++j) total += s[j];
  sink = total[0];
}

template <class Vector, class Number>
double rate(int threads, int64_t steps) {
  const double taken = seconds(threads, [&](int) { chains<Vector, Number>(steps, Number(0.999), Number(0.001)); });
  return 2.0 * kBytes / sizeof(Number) * kChains * steps * threads / taken;
}

#ifdef __AVX512BF16__
// Each step adds two products of bfloat16 numbers to every float32 number.
void pair_chains(int64_t steps) {
  __m512 s[kChains];
  const __m512 one = _mm512_set1_ps(1), small = _mm512_set1_ps(0.001f);
  const __m512bh a = _mm512_cvtne2ps_pbh(one, small), b = _mm512_cvtne2ps_pbh(small, one);
  for (int j = 0; j < kChains; ++j) s[j] = _mm512_set1_ps(static_cast<float>(j));
  for (int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kChains; ++j) s[j] = _mm512_dpbf16_ps(s[j], a, b);
  }
  __m512 total = s[0];
  for (int j = 1; j < kChains; ++j) total = _mm512_add_ps(total, s[j]);
  sink = total[0];
}
#endif

void sum(const char* from, int64_t bytes) {
  Words s[8] = {};
  for (int64_t i = 0; i + 8 * kBytes <= bytes; i += 8 * kBytes)
    for (int j = 0; j < 8; ++j) s[j] += *reinterpret_cast<const Words*>(from + i + j * kBytes);
  Words total = s[0];
  for (int j = 1; j < 8; ++j) total += s[j];
  sink = static_cast<double>(total[0]);
}

}  // namespace

extern "C" {

// Floating-point operations a second.
double fma_float32(int threads, int64_t steps) { return rate<Floats, float>(threads, steps); }
double fma_float64(int threads, int64_t steps) { return rate<Doubles, double>(threads, steps); }

// Of bfloat16 numbers, with float32 sums: what there are instructions for, float32's otherwise.
double fma_bfloat16(int threads, int64_t steps) {
#ifdef __AVX512BF16__
  return 4.0 * (kBytes / sizeof(float)) * kChains * steps * threads / seconds(threads, [&](int) { pair_chains(steps); });
#else
  return fma_float32(threads, steps);
#endif
}

// Bytes a second, what is read and what is written both counted. Each thread has its own share of the buffers.
double copy(char* to, const char* from, int64_t bytes, int threads) {
  const int64_t share = bytes / threads;
  return 2.0 * share * threads / seconds(threads, [&](int t) { std::memcpy(to + t * share, from + t * share, share); });
}

double read(const char* from, int64_t bytes, int threads) {
  const int64_t share = bytes / threads;
  return 1.0 * share * threads / seconds(threads, [&](int t) { sum(from + t * share, share); });
}
}
