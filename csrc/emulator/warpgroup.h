// Warpgroups: the asynchronous wgmma products of 128 threads, and setmaxnreg.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "emulator/rendezvous.h"
#include "emulator/tensor_core.h"

namespace pyscale::emulator {

constexpr int kRows = 64;  // of a wgmma

class Warpgroup {
 public:
  void begin(unsigned index, unsigned lanes);

  // The wgmma instructions of one lane. A product runs as late as the waits allow: when all lanes
  // wait for it and no thread of the block can run. Until then its accumulators are NaN.
  void fence(Thread& thread);
  void multiply(Thread& thread, Half type, float* accumulators, int columns, uint64_t a,
                uint64_t b);
  void commit(Thread& thread);
  void wait(Thread& thread, uint32_t groups);
  // Runs what all lanes wait for.
  void complete();

  void set_registers(Thread& thread, int registers, bool increase);
  int registers() const { return registers_; }  // 0 before setmaxnreg
  bool idle() const { return products_.empty(); }

 private:
  // The registers of 128 threads that hold (kRows, columns) sums, while products are under way.
  struct Accumulator {
    std::array<float*, kWarpgroup> registers{};
    int columns = 0;
    std::vector<float> sums;
    int users = 0;  // products under way
  };
  struct Product {
    Half type;
    int columns;
    uint64_t a, b;
    Accumulator* accumulator;
  };

  Product& issue(Thread& thread, Half type, float* accumulators, int columns, uint64_t a,
                 uint64_t b);
  Accumulator* find(const Thread& thread, float* accumulators, int columns);
  void run(const Product& product);
  void deliver(Accumulator& accumulator);

  Rendezvous meeting_;
  std::deque<Product> products_;  // under way, in order
  uint32_t first_ = 0;            // the number of the first of them since the block began
  std::deque<uint32_t> groups_;   // where the groups under way end: numbers of products
  uint32_t first_group_ = 0;
  uint32_t due_ = 0;  // products before this number are waited for
  std::vector<std::unique_ptr<Accumulator>> accumulators_;
  int registers_ = 0;
};

}  // namespace pyscale::emulator
