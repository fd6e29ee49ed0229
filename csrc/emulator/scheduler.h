// Runs the threads of a block: one fiber each, the next one drawn at random from those that can
// run. A thread runs until it waits for others or, now and then, gives way by `pause`. The lanes of
// one warp are preferred until none of them can run, which lets warps run far ahead of others, as
// they do on a GPU, and keeps what they touch in the cache.
#pragma once

#include <vector_types.h>

#include <array>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "emulator/fiber.h"
#include "emulator/random.h"

namespace pyscale::emulator {

constexpr unsigned kMostThreads = 1024;  // of a block
constexpr unsigned kWarp = 32;
constexpr unsigned kWarpgroup = 128;

class Waiting;

struct Thread {
  Context context;
  uint3 index;  // threadIdx
  unsigned id;  // in the block, x fastest
  Thread* next = nullptr;
  const Waiting* waits_for = nullptr;
  // 16-byte words of shared memory that this thread stored and wgmma cannot see yet: offsets.
  std::vector<uint32_t> unfenced;
  // wgmma instructions and groups this thread has issued; whether a wgmma_fence came before.
  uint32_t products = 0;
  uint32_t groups = 0;
  bool fenced = false;

  unsigned lane() const { return id % kWarp; }
  unsigned lane_of_warpgroup() const { return id % kWarpgroup; }
};

// Something that threads wait for.
class Waiting {
 public:
  virtual ~Waiting() = default;
  // For the report of a deadlock: what it is, and what it lacks.
  virtual std::string describe() const = 0;

 protected:
  // Suspends the running thread until `release`.
  void wait();
  void release();
  // Drops the waiting threads: their block is gone.
  void forget() { first_ = nullptr; }

 private:
  Thread* first_ = nullptr;
};

// The threads that can run, by warp.
class Runnable {
 public:
  Runnable() { clear(); }
  void clear();
  bool empty() const { return warps_ == 0; }
  void push(Thread* thread);
  Thread* draw(Random& random);  // takes one out

 private:
  struct Lanes {
    std::array<Thread*, kWarp> threads;
    uint32_t count;
    uint32_t place;  // in busy_, while count > 0
  };
  std::array<Lanes, kMostThreads / kWarp> lanes_;
  std::array<uint8_t, kMostThreads / kWarp> busy_;  // the warps that have any
  uint32_t warps_;                                  // of these
  uint32_t current_;                                // the warp that is preferred
};

class Scheduler {
 public:
  Scheduler();

  // Runs `body` once in each of the block's threads, to the end. When no thread can run,
  // `complete_work` may do asynchronous work that is under way and tells whether there was any;
  // `at_end` is called in each thread after the body. The first error in any thread ends all.
  void run(dim3 block, const std::function<void()>& body, bool (*complete_work)(),
           void (*at_end)());

  Thread* running() const { return running_; }
  Random& random() { return random_; }
  void seed(uint64_t value) { random_ = Random(value); }
  // Forgets a run that an error ended.
  void abandon();

  // The running thread gives way, sometimes.
  void pause();

 private:
  friend class Waiting;
  static void thread_main();
  void suspend();
  void leave();
  void activate(Thread* thread);
  [[noreturn]] void report_deadlock() const;

  std::unique_ptr<Stacks> stacks_;  // made by the first run
  std::vector<Thread> threads_;
  Runnable runnable_;
  Context outside_;
  Thread* running_ = nullptr;
  unsigned live_ = 0;
  unsigned count_ = 0;
  Random random_;
  const std::function<void()>* body_ = nullptr;
  void (*at_end_)() = nullptr;
  std::exception_ptr error_;
};

}  // namespace pyscale::emulator
