#include "emulator/transaction_barrier.h"

#include <cstring>

#include "emulator/block.h"
#include "emulator/fail.h"

namespace pyscale::emulator {
namespace {

constexpr uint64_t kMark = 0x6D62617200000000;  // in the upper half of a live barrier's word
constexpr int64_t kMostBytes = (1 << 20) - 1;   // that a phase can expect
constexpr uint32_t kMostArrivals = (1 << 20) - 1;

}  // namespace

TransactionBarrier::TransactionBarrier(uint32_t offset, uint32_t arrivals, unsigned owner)
    : offset_(offset), arrivals_(arrivals), owner_(owner), pending_(arrivals) {}

void TransactionBarrier::expect(uint32_t bytes) {
  bytes_ += bytes;
  if (bytes_ > kMostBytes) fail(describe(), " expects more bytes than the ", kMostBytes, " it can");
}

void TransactionBarrier::arrive() {
  if (pending_ == 0) fail("one arrival more than the ", arrivals_, " expected at ", describe());
  --pending_;
  advance();
}

void TransactionBarrier::complete(uint32_t bytes) {
  bytes_ -= bytes;
  if (bytes_ < -kMostBytes) fail("more bytes than expected landed at ", describe());
  advance();
}

void TransactionBarrier::advance() {
  if (pending_ > 0 || bytes_ != 0) return;
  ++phase_;
  pending_ = arrivals_;
  release();
}

void TransactionBarrier::wait_for(uint32_t parity) {
  if (parity > 1) fail("barrier_wait for parity ", parity, ": expected 0 or 1");
  // Again after each release: a thread that comes too late may find the next phase of that parity.
  while (phase_ % 2 == parity) wait();
}

std::string TransactionBarrier::describe() const {
  return "the mbarrier at shared memory + " + std::to_string(offset_) + ", phase " +
         std::to_string(phase_) + ", which lacks " + std::to_string(pending_) + " of " +
         std::to_string(arrivals_) + " arrivals and " + std::to_string(bytes_) + " bytes";
}

void TransactionBarriers::init(uint64_t* word, uint32_t arrivals) {
  if (arrivals == 0 || arrivals > kMostArrivals)
    fail("barrier_init for ", arrivals, " arrivals: expected 1 to ", kMostArrivals);
  const uint32_t offset = block.shared.offset(word, sizeof(uint64_t), 8, "barrier_init");
  const uint64_t value = kMark | barriers_.size();
  barriers_.emplace_back(offset, arrivals, block.scheduler.running()->id);
  std::memcpy(word, &value, sizeof(value));
}

void TransactionBarriers::publish(unsigned owner) {
  for (TransactionBarrier& barrier : barriers_)
    if (barrier.owner() == owner) barrier.published = true;
}

TransactionBarrier& TransactionBarriers::at(const uint64_t* word, const char* what) {
  const uint32_t offset = block.shared.offset(word, sizeof(uint64_t), 8, what);
  uint64_t value;
  std::memcpy(&value, word, sizeof(value));
  const uint64_t number = value - kMark;
  if (number >= barriers_.size() || barriers_[number].offset() != offset)
    fail(what, ": there is no mbarrier at shared memory + ", offset,
         "; not yet initialised, or overwritten");
  return barriers_[number];
}

}  // namespace pyscale::emulator
