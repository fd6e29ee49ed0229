// Fibers: stacks that a function can be left on and resumed later. One for each CUDA thread of a
// block, all on one thread of the operating system, so nothing below needs a lock.
#pragma once

#include <cstddef>

#if defined(__x86_64__) && defined(__linux__) && !defined(PYSCALE_EMULATOR_UCONTEXT)
#define PYSCALE_EMULATOR_SWITCH 1  // a dozen instructions; ucontext makes two system calls
#else
#include <ucontext.h>
#endif

namespace pyscale::emulator {

// Where a fiber was left.
struct Context {
#ifdef PYSCALE_EMULATOR_SWITCH
  void* stack_pointer = nullptr;
#else
  ucontext_t state;
#endif
};

// A context that, switched to, calls `entry` on the stack [low, low + bytes). `entry` never
// returns.
void prepare(Context& context, char* low, size_t bytes, void (*entry)());

#ifdef PYSCALE_EMULATOR_SWITCH
extern "C" void pyscale_emulator_switch(void** from, void* to);
inline void switch_context(Context& from, const Context& to) {
  pyscale_emulator_switch(&from.stack_pointer, to.stack_pointer);
}
#else
inline void switch_context(Context& from, const Context& to) {
  swapcontext(&from.state, &to.state);
}
#endif

// The stacks of a block's threads: reserved once, touched only as far as they are used, each with a
// page below it that faults.
class Stacks {
 public:
  explicit Stacks(size_t count);
  ~Stacks();
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  void prepare(Context& context, size_t index, void (*entry)()) const;

 private:
  char* memory_;
  size_t bytes_;
};

}  // namespace pyscale::emulator
