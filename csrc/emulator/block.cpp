#include "emulator/block.h"

#include <algorithm>

#include "core/error.h"
#include "emulator/builtins.h"
#include "emulator/fail.h"

namespace pyscale::emulator {
namespace {

constexpr int kRegisters = 65536;  // of a multiprocessor

// Asynchronous work, when no thread can run. Products that are waited for come first, so that one
// whose tile was not waited for finds it unfilled; the stage that was handed back too early is
// already being overwritten, since a load spoils its destination when it is issued.
bool complete_work() {
  Random& random = block.scheduler.random();
  if (!block.due.empty()) {
    std::swap(block.due[random.below(static_cast<uint32_t>(block.due.size()))], block.due.back());
    Warpgroup* warpgroup = block.due.back();
    block.due.pop_back();
    warpgroup->complete();
    return true;
  }
  if (block.loads.empty()) return false;
  block.loads.complete_one(random);
  return true;
}

void check_thread_end() {
  if (!block.warpgroup().idle()) fail("the thread ends before its wgmma products: no wgmma_wait");
}

void check_registers(unsigned warpgroups) {
  int total = 0;
  for (unsigned i = 0; i < warpgroups; ++i) {
    const int each = block.warpgroups[i].registers();
    if (each == 0) return;  // not all of them say how many they need
    total += each * static_cast<int>(kWarpgroup);
  }
  if (total > kRegisters)
    fail("the warpgroups' setmaxnreg ask for ", total, " registers in all, of ", kRegisters);
}

}  // namespace

Block block;

void Block::run(dim3 size, size_t shared_bytes, const std::function<void()>& body) {
  const unsigned threads = size.x * size.y * size.z;
  shared.begin(shared_bytes);
  for (int i = 0; i < kBarriers; ++i) barriers[static_cast<size_t>(i)].begin(i);
  for (unsigned i = 0; i * kWarp < threads; ++i)
    warps[i].begin("warp", i, std::min(kWarp, threads - i * kWarp));
  const unsigned groups = (threads + kWarpgroup - 1) / kWarpgroup;
  for (unsigned i = 0; i < groups; ++i)
    warpgroups[i].begin(i, std::min(kWarpgroup, threads - i * kWarpgroup));
  transactions.begin();
  loads.begin();
  due.clear();
  try {
    scheduler.run(size, body, &complete_work, &check_thread_end);
    shared.end();
    check_registers(groups);
    if (!loads.empty()) fail("the block ends before its TMA loads have landed");
  } catch (...) {
    scheduler.abandon();
    throw;
  }
}

void fail_with(const std::string& message) {
  std::ostringstream text;
  text << "CUDA emulator: block (" << blockIdx.x << ", " << blockIdx.y << ", " << blockIdx.z << ")";
  if (const Thread* thread = block.scheduler.running()) text << ", thread " << thread->id;
  text << ": " << message;
  throw Error(text.str());
}

}  // namespace pyscale::emulator
