// The block's sixteen barriers (bar.sync); __syncthreads is number 0 with all threads. A thread
// that has ended does not come any more: where hardware may forgive that, the emulator does not.
#pragma once

#include "emulator/scheduler.h"

namespace pyscale::emulator {

constexpr int kBarriers = 16;

class Barrier : public Waiting {
 public:
  void begin(int id);
  // Waits until `threads` threads have come.
  void arrive_and_wait(unsigned threads);
  std::string describe() const override;

 private:
  int id_ = 0;
  unsigned expected_ = 0;
  unsigned arrived_ = 0;
};

}  // namespace pyscale::emulator
