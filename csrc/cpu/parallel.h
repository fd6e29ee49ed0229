// Threads for one call: fixed shares of the work.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>

namespace pyscale::cpu {

struct Range {
  int64_t begin, end;
};

// Part `part` of `parts` of 0..count, as equal as can be; depends on nothing else.
constexpr Range share(int64_t count, int64_t part, int64_t parts) {
  return {count * part / parts, count * (part + 1) / parts};
}
static_assert(share(10, 0, 3).begin == 0 && share(10, 2, 3).end == 10);
static_assert(share(10, 0, 3).end == share(10, 1, 3).begin);

// A team of threads that the process has anyway, to be used rather than threads of our own: a
// team's threads spin for milliseconds after their last task, on cores that ours would want. The
// functions have the signatures of OpenMP's GOMP_parallel and omp_get_max_threads.
struct Team {
  void (*run)(void (*task)(void*), void* data, unsigned threads, unsigned flags);
  int (*size)();
};

// Has `parallel` use the team from now on; none where a pointer is null. A forked child, in which
// the team's threads do not exist, uses none.
void use_team(const Team& team);

// Calls task(data) in up to `threads` threads at once, the caller's among them, and waits. Where
// the system has no thread or no memory for one left, there are fewer.
void run_in_threads(int threads, void (*task)(void*), void* data);

// Calls body(0) ... body(parts - 1), each in a thread of its own if the system has as many, and
// waits. What the lowest failing body threw is thrown here.
template <class Body>
void parallel(int parts, const Body& body) {
  std::exception_ptr failure;
  int failed = parts;  // the lowest part that has; nothing is allocated while none does
  std::mutex mutex;
  std::atomic<int> next{0};
  auto work = [&] {
    for (int part; (part = next.fetch_add(1)) < parts;) {
      try {
        body(part);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(mutex);
        if (part > failed) continue;
        failed = part;
        failure = std::current_exception();
      }
    }
  };
  run_in_threads(parts, [](void* data) { (*static_cast<decltype(work)*>(data))(); }, &work);
  if (failure) std::rethrow_exception(failure);
}

// How many threads so many multiply-adds are worth.
int useful_threads(double work, int threads);

}  // namespace pyscale::cpu
