#include "emulator/scheduler.h"

#include <map>
#include <sstream>
#include <utility>

#include "emulator/block.h"
#include "emulator/builtins.h"
#include "emulator/fail.h"

namespace pyscale::emulator {
namespace {

constexpr uint32_t kPauses = 8;  // one in so many chances is taken

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
    block.scheduler.runnable_.push_back(thread);
  }
  first_ = nullptr;
}

Scheduler::Scheduler() : threads_(kMostThreads) { runnable_.reserve(kMostThreads); }

void Scheduler::run(dim3 size, const std::function<void()>& body, bool (*complete_work)(),
                    void (*at_end)()) {
  if (!stacks_) stacks_ = std::make_unique<Stacks>(kMostThreads);
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
    runnable_.push_back(&thread);
  }
  while (live_ > 0) {
    if (!runnable_.empty()) {
      activate(draw());
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
  Thread* next = draw();
  activate(next);
  if (next != self) switch_context(self->context, next->context);
}

void Scheduler::leave() {
  --live_;
  Thread* self = running_;
  if (error_ || runnable_.empty()) {
    switch_context(self->context, outside_);
  } else {
    activate(draw());
    switch_context(self->context, running_->context);
  }
}

void Scheduler::pause() {
  if (running_ == nullptr || !random_.once_in(kPauses)) return;
  runnable_.push_back(running_);
  suspend();
}

void Scheduler::activate(Thread* thread) {
  running_ = thread;
  threadIdx = thread->index;
}

Thread* Scheduler::draw() {
  const size_t i = random_.below(static_cast<uint32_t>(runnable_.size()));
  Thread* thread = runnable_[i];
  runnable_[i] = runnable_.back();
  runnable_.pop_back();
  return thread;
}

void Scheduler::report_deadlock() const {
  std::map<std::string, std::vector<unsigned>> reasons;
  for (unsigned i = 0; i < count_; ++i)
    if (threads_[i].waits_for != nullptr)
      reasons[threads_[i].waits_for->describe()].push_back(i);
  std::ostringstream message;
  message << "deadlock:";
  for (const auto& [reason, ids] : reasons)
    message << " " << ranges(ids) << (ids.size() == 1 ? " waits" : " wait") << " for " << reason
            << ";";
  message << " " << count_ - live_ << " of " << count_ << " threads have ended";
  fail_with(message.str());
}

}  // namespace pyscale::emulator
