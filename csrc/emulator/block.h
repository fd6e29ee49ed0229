// The thread block that runs, and everything it has. One runs at a time.
#pragma once

#include <array>
#include <functional>
#include <vector>

#include "emulator/barrier.h"
#include "emulator/launch.h"
#include "emulator/rendezvous.h"
#include "emulator/scheduler.h"
#include "emulator/shared_memory.h"
#include "emulator/tensor_map.h"
#include "emulator/transaction_barrier.h"
#include "emulator/warpgroup.h"

namespace pyscale::emulator {

struct Block {
  Options options;
  Scheduler scheduler;
  SharedMemory shared;
  std::array<Barrier, kBarriers> barriers;
  std::array<Rendezvous, kMostThreads / kWarp> warps;
  std::array<Warpgroup, kMostThreads / kWarpgroup> warpgroups;
  TransactionBarriers transactions;
  TileLoads loads;
  std::vector<Warpgroup*> due;  // warpgroups whose lanes all wait for products

  // Runs one block to its end, and checks that nothing is left under way.
  void run(dim3 size, size_t shared_bytes, const std::function<void()>& body);

  Thread& thread() { return *scheduler.running(); }
  Warpgroup& warpgroup() { return warpgroups[thread().id / kWarpgroup]; }

  // An instruction that the lanes of the running thread's warp do together.
  template <class Arguments, class Act>
  void meet_warp(const char* operation, Arguments& mine, Act&& act) {
    const Thread& self = thread();
    warps[self.id / kWarp].meet(operation, self.lane(), mine, act);
  }
};

extern Block block;

}  // namespace pyscale::emulator
