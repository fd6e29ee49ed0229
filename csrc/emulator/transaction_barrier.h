// mbarriers: a phase ends when all expected arrivals have come and all expected bytes have landed.
#pragma once

#include <cstdint>
#include <deque>

#include "emulator/scheduler.h"

namespace pyscale::emulator {

class TransactionBarrier : public Waiting {
 public:
  TransactionBarrier(uint32_t offset, uint32_t arrivals, unsigned owner);

  void expect(uint32_t bytes);  // before the arrival that counts
  void arrive();
  void complete(uint32_t bytes);
  // Until the phase of that parity has ended: of the current phase, or of the one before it.
  void wait_for(uint32_t parity);
  std::string describe() const override;

  uint32_t offset() const { return offset_; }  // in shared memory
  unsigned owner() const { return owner_; }    // the thread that initialised it
  bool published = false;                      // a fence_barrier_init of the owner came after

 private:
  void advance();

  uint32_t offset_;
  uint32_t arrivals_;
  unsigned owner_;
  uint32_t pending_;
  int64_t bytes_ = 0;
  uint32_t phase_ = 0;
};

// All of a block. The 64-bit word in shared memory holds the barrier's number and a mark.
class TransactionBarriers {
 public:
  void begin() { barriers_.clear(); }
  void init(uint64_t* word, uint32_t arrivals);
  void publish(unsigned owner);
  TransactionBarrier& at(const uint64_t* word, const char* what);

 private:
  std::deque<TransactionBarrier> barriers_;  // addresses stay
};

}  // namespace pyscale::emulator
