#include "emulator/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#ifdef PYSCALE_EMULATOR_SWITCH
// Saves the registers that a called function keeps, and the stack pointer; loads the other fiber's.
asm(R"(
.text
.globl pyscale_emulator_switch
.hidden pyscale_emulator_switch
.type pyscale_emulator_switch, @function
pyscale_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size pyscale_emulator_switch, .-pyscale_emulator_switch
)");
#endif

namespace pyscale::emulator {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kUsable = 128 << 10;
// An odd number of pages: stacks a power of two apart would compete for the same cache lines.
constexpr size_t kStride = kUsable + kPage;
static_assert(kStride / kPage % 2 == 1);

}  // namespace

#ifdef PYSCALE_EMULATOR_SWITCH
void prepare(Context& context, char* low, size_t bytes, void (*entry)()) {
  // What the switch pops: six registers, the address it returns to, and the caller's address that
  // `entry` expects above it. A function is entered with the stack 8 below a multiple of 16.
  const uintptr_t top = (reinterpret_cast<uintptr_t>(low) + bytes) / 16 * 16;
  void** slot = reinterpret_cast<void**>(top - 16);
  *slot = nullptr;
  slot[1] = nullptr;
  --slot;
  *slot = nullptr;
  *--slot = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--slot = nullptr;
  context.stack_pointer = slot;
}
#else
void prepare(Context& context, char* low, size_t bytes, void (*entry)()) {
  getcontext(&context.state);
  context.state.uc_stack.ss_sp = low;
  context.state.uc_stack.ss_size = bytes;
  context.state.uc_link = nullptr;
  makecontext(&context.state, entry, 0);
}
#endif

Stacks::Stacks(size_t count) : bytes_(count * kStride) {
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<char*>(memory);
  for (size_t i = 0; i < count; ++i) mprotect(memory_ + i * kStride, kPage, PROT_NONE);
}

Stacks::~Stacks() { munmap(memory_, bytes_); }

void Stacks::prepare(Context& context, size_t index, void (*entry)()) const {
  // The tops differ within a page too, for the same reason as kStride.
  const size_t colour = index / 16 % 8 * 256;
  emulator::prepare(context, memory_ + index * kStride + kPage, kUsable - colour, entry);
}

}  // namespace pyscale::emulator
