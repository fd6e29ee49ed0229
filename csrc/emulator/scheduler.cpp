#include "emulator/scheduler.h"

#include <map>
#include <sstream>
#include <utility>

#include "emulator/block.h"
#include "emulator/builtins.h"
#include "emulator/fail.h"

namespace pyscale::emulator {
namespace {

constexpr uint32_t kPauses = 8;     // one chance in so many is taken
constexpr uint32_t kSwitches = 64;  // after one thread in so many another warp is preferred

// "threads 0-31, 64".
std::string ranges(const std::vector<unsigned>& ids) {
  std::ostringstream text;
  text << (ids.size() == 1 ? "thread " : "threads ");
  for (size_t i = 0; i < ids.size();) {
    size_t last = i;
    while (last + 1 < ids.size() && ids[last + 1] == ids[last] + 1) ++last;
    text << (i > 0 ? ", " : "") << ids[i];
    if (last > i) text << "-" << ids[last];
    i = last + 1;
  }
  return text.str();
}

}  // namespace

void Runnable::clear() {
  for (Lanes& lanes : lanes_) lanes.count = 0;
  warps_ = current_ = 0;
}

inline void Runnable::push(Thread* thread) {
  const uint32_t warp = thread->id / kWarp;
  Lanes& lanes = lanes_[warp];
  if (lanes.count == 0) {
    lanes.place = warps_;
    busy_[warps_++] = static_cast<uint8_t>(warp);
  }
  lanes.threads[lanes.count++] = thread;
}

inline Thread* Runnable::draw(Random& random) {
  if (lanes_[current_].count == 0 || random.once_in(kSwitches))
    current_ = busy_[random.below(warps_)];
  Lanes& lanes = lanes_[current_];
  const uint32_t i = random.below(lanes.count);
  Thread* thread = lanes.threads[i];
  lanes.threads[i] = lanes.threads[--lanes.count];
  if (lanes.count == 0) {
    busy_[lanes.place] = busy_[--warps_];
    lanes_[busy_[lanes.place]].place = lanes.place;
  }
  return thread;
}

void Waiting::wait() {
  Scheduler& scheduler = block.scheduler;
  Thread* self = scheduler.running_;
  self->waits_for = this;
  self->next = first_;
  first_ = self;
  scheduler.suspend();
}

void Waiting::release() {
  for (Thread* thread = first_; thread != nullptr; thread = thread->next) {
    thread->waits_for = nullptr;
    block.scheduler.runnable_.push(thread);
  }
  first_ = nullptr;
}

Scheduler::Scheduler() : threads_(kMostThreads) {}

void Scheduler::run(dim3 size, const std::function<void()>& body, bool (*complete_work)(),
                    void (*at_end)()) {
  if (!stacks_) stacks_ = std::make_unique<Stacks>(kMostThreads);
  runnable_.clear();
  count_ = live_ = size.x * size.y * size.z;
  body_ = &body;
  at_end_ = at_end;
  for (unsigned i = 0; i < count_; ++i) {
    Thread& thread = threads_[i];
    stacks_->prepare(thread.context, i, &Scheduler::thread_main);
    thread.index = {i % size.x, i / size.x % size.y, i / (size.x * size.y)};
    thread.id = i;
    thread.waits_for = nullptr;
    thread.unfenced.clear();
    thread.products = thread.groups = 0;
    thread.fenced = false;
    runnable_.push(&thread);
  }
  while (live_ > 0) {
    if (!runnable_.empty()) {
      activate(runnable_.draw(random_));
      switch_context(outside_, running_->context);
      if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
      running_ = nullptr;
    } else if (!complete_work()) {
      report_deadlock();
    }
  }
}

void Scheduler::abandon() {
  runnable_.clear();
  running_ = nullptr;
  live_ = 0;
  error_ = nullptr;
}

void Scheduler::thread_main() {
  Scheduler& scheduler = block.scheduler;
  try {
    (*scheduler.body_)();
    scheduler.at_end_();
  } catch (...) {
    scheduler.error_ = std::current_exception();
  }
  scheduler.leave();
}

// Threads switch to one another; only a thread that finds nobody to run goes outside.
void Scheduler::suspend() {
  Thread* self = running_;
  if (runnable_.empty()) {
    switch_context(self->context, outside_);
    return;
  }
  Thread* next = runnable_.draw(random_);
  activate(next);
  if (next != self) switch_context(self->context, next->context);
}

void Scheduler::leave() {
  --live_;
  Thread* self = running_;
  if (error_ || runnable_.empty()) {
    switch_context(self->context, outside_);
  } else {
    activate(runnable_.draw(random_));
    switch_context(self->context, running_->context);
  }
}

void Scheduler::pause() {
  if (running_ == nullptr || !random_.once_in(kPauses)) return;
  runnable_.push(running_);
  suspend();
}

void Scheduler::activate(Thread* thread) {
  running_ = thread;
  threadIdx = thread->index;
}

void Scheduler::report_deadlock() const {
  std::map<std::string, std::vector<unsigned>> reasons;
  for (unsigned i = 0; i < count_; ++i)
    if (threads_[i].waits_for != nullptr) reasons[threads_[i].waits_for->describe()].push_back(i);
  std::ostringstream message;
  message << "deadlock:";
  for (const auto& [reason, ids] : reasons)
    message << " " << ranges(ids) << (ids.size() == 1 ? " waits" : " wait") << " for " << reason
            << ";";
  message << " " << count_ - live_ << " of " << count_ << " threads have ended";
  fail_with(message.str());
}

}  // namespace pyscale::emulator
