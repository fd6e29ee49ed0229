#include "emulator/barrier.h"

#include "emulator/fail.h"

namespace pyscale::emulator {

void Barrier::begin(int id) {
  id_ = id;
  arrived_ = 0;
  forget();
}

void Barrier::arrive_and_wait(unsigned threads) {
  if (threads == 0 || threads % kWarp != 0)
    fail("barrier ", id_, " for ", threads, " threads: expected a multiple of ", kWarp);
  if (arrived_ > 0 && expected_ != threads)
    fail("barrier ", id_, " for ", threads, " threads, while others wait at it for ", expected_);
  expected_ = threads;
  if (++arrived_ < expected_) {
    wait();
  } else {
    arrived_ = 0;
    release();
  }
}

std::string Barrier::describe() const {
  return "barrier " + std::to_string(id_) + ", where " + std::to_string(arrived_) + " of " +
         std::to_string(expected_) + " threads have come";
}

}  // namespace pyscale::emulator
