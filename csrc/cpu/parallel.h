// Threads for one call: fixed shares of the work, started and joined here.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

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

// Calls body(0) ... body(threads - 1), each in a thread of its own (0 in the caller's), and waits.
// What the lowest failing body threw is thrown here. Where the system has no thread or no
// memory for one left, the caller runs that part.
template <class Body>
void parallel(int threads, const Body& body) {
  std::vector<std::exception_ptr> failures(static_cast<size_t>(threads));
  const auto guarded = [&](int part) {
    try {
      body(part);
    } catch (...) {
      failures[static_cast<size_t>(part)] = std::current_exception();
    }
  };
  std::vector<std::thread> workers;
  workers.reserve(failures.size());
  int started = 1;
  try {
    for (; started < threads; ++started) workers.emplace_back(guarded, started);
  } catch (const std::system_error&) {
  } catch (const std::bad_alloc&) {  // while others run: they must be joined, whatever happens
  }
  guarded(0);
  for (; started < threads; ++started) guarded(started);
  for (std::thread& worker : workers) worker.join();
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

// How many threads so much work is worth: one for each `grain` multiply-adds.
constexpr int useful_threads(double work, int threads) {
  constexpr double grain = 1 << 20;  // about 0.1 ms, several times what starting a thread costs
  return work >= grain * threads ? threads : std::max(1, static_cast<int>(work / grain));
}

}  // namespace pyscale::cpu
