#include "emulator/warpgroup.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "emulator/block.h"
#include "emulator/fail.h"

namespace pyscale::emulator {
namespace {

constexpr uint32_t kRowBytes = 128;                // of a tile in shared memory
constexpr uint32_t kAtom = kSwizzleAlignment;      // eight rows, the period of the swizzle
constexpr uint32_t kStep = kDepth * 2;             // bytes of a row that one product reads
constexpr uint64_t kSwizzle128 = 1;                // in the two highest bits of a descriptor
constexpr uint64_t kUnused = 0x3FFFC000C000C000u;  // bits that must be 0, the base offset included

// Decoded matrix descriptor of a K-major operand in the 128-byte swizzle.
struct Operand {
  uint32_t start;   // of the first row's numbers, a byte offset in shared memory
  uint32_t stride;  // from eight rows to the next eight
};

Operand decode(uint64_t descriptor, int rows, const char* name) {
  const auto address = static_cast<uint32_t>((descriptor & 0x3FFF) << 4);
  const auto stride = static_cast<uint32_t>((descriptor >> 32 & 0x3FFF) << 4);
  if (descriptor >> 62 != kSwizzle128)
    fail("wgmma: the descriptor of ", name, " has swizzle mode ", descriptor >> 62,
         "; the emulator takes 1, 128 bytes");
  if ((descriptor & kUnused) != 0)
    fail("wgmma: the descriptor of ", name, " has bits set that must be 0");
  if (stride == 0 || stride % kAtom != 0)
    fail("wgmma: the descriptor of ", name, " has a stride of ", stride,
         " bytes between groups of eight rows, expected a multiple of ", kAtom);
  if (address % kAtom > kRowBytes - kStep || address % kStep != 0)
    fail("wgmma: ", name, " starts at shared memory + ", address, ", which is not step 0..3 of a ",
         kAtom, "-byte aligned tile");
  const uint32_t tile = address / kAtom * kAtom;
  block.shared.check(tile, static_cast<size_t>(rows / 8 - 1) * stride + kAtom, kAtom, name);
  return {address, stride};
}

// out[r * row_step + k * depth_step] := number k of row r.
void read(Half type, const Operand& operand, int rows, double* out, int row_step, int depth_step) {
  const unsigned char* memory = block.shared.asynchronous();
  for (int r = 0; r < rows; ++r) {
    const uint32_t row = operand.start + static_cast<uint32_t>(r / 8) * operand.stride +
                         static_cast<uint32_t>(r % 8) * kRowBytes;
    uint16_t numbers[kDepth];
    for (uint32_t piece = 0; piece < 2; ++piece)
      std::memcpy(numbers + 8 * piece, memory + swizzle128(row + 16 * piece), 16);
    for (int k = 0; k < kDepth; ++k) out[r * row_step + k * depth_step] = widen(type, numbers[k]);
  }
}

// Calls f(register, row, column) for every sum that a lane holds.
template <class F>
void for_each_sum(unsigned lane, int columns, F&& f) {
  const int row = static_cast<int>(lane / kWarp * 16 + lane % kWarp / 4);
  const int column = static_cast<int>(lane % 4 * 2);
  for (int e = 0; e < columns / 2; ++e) f(e, row + e / 2 % 2 * 8, e / 4 * 8 + column + e % 2);
}

}  // namespace

void Warpgroup::begin(unsigned index, unsigned lanes) {
  meeting_.begin("warpgroup", index, lanes);
  products_.clear();
  groups_.clear();
  accumulators_.clear();
  first_ = first_group_ = due_ = 0;
  registers_ = 0;
}

void Warpgroup::fence(Thread& thread) { thread.fenced = true; }

void Warpgroup::multiply(Thread& thread, Half type, float* accumulators, int columns, uint64_t a,
                         uint64_t b) {
  if (!thread.fenced) fail("wgmma without a wgmma_fence since the accumulators were last free");
  const unsigned lane = thread.lane_of_warpgroup();
  Accumulator& target = *issue(thread, type, accumulators, columns, a, b).accumulator;
  if (target.registers[lane] == accumulators) return;
  if (target.registers[lane] != nullptr)
    fail("wgmma: the lanes of the warpgroup name different accumulators");
  target.registers[lane] = accumulators;
  for_each_sum(lane, columns, [&](int e, int row, int column) {
    target.sums[static_cast<size_t>(row * columns + column)] = accumulators[e];
    accumulators[e] = std::numeric_limits<float>::quiet_NaN();
  });
}

// The lane's next product: made by the first lane that comes to it, compared by the others.
Warpgroup::Product& Warpgroup::issue(Thread& thread, Half type, float* accumulators, int columns,
                                     uint64_t a, uint64_t b) {
  const uint32_t number = thread.products++ - first_;
  if (number == products_.size()) {
    Accumulator* target = find(thread, accumulators, columns);
    ++target->users;
    products_.push_back({type, columns, a, b, target});
    return products_.back();
  }
  Product& product = products_[number];
  if (product.type != type || product.columns != columns || product.a != a || product.b != b)
    fail("wgmma: the lanes of the warpgroup disagree about the type, the shape or a descriptor");
  return product;
}

Warpgroup::Accumulator* Warpgroup::find(const Thread& thread, float* accumulators, int columns) {
  for (const auto& one : accumulators_)
    if (one->registers[thread.lane_of_warpgroup()] == accumulators) {
      if (one->columns != columns)
        fail("wgmma of ", columns, " columns on accumulators that one of ", one->columns,
             " is still writing");
      return one.get();
    }
  auto fresh = std::make_unique<Accumulator>();
  fresh->columns = columns;
  fresh->sums.resize(static_cast<size_t>(kRows * columns));
  accumulators_.push_back(std::move(fresh));
  return accumulators_.back().get();
}

void Warpgroup::commit(Thread& thread) {
  const uint32_t number = thread.groups++ - first_group_;
  if (number == groups_.size())
    groups_.push_back(thread.products);
  else if (groups_[number] != thread.products)
    fail("wgmma_commit: the lanes of the warpgroup issued different numbers of products");
}

void Warpgroup::wait(Thread& thread, uint32_t groups) {
  struct Arguments {
    const Thread* thread;
    uint32_t groups;
  } mine{&thread, groups};
  if (!meeting_.arrive("wgmma_wait", thread.lane_of_warpgroup(), &mine)) {
    meeting_.wait();
  } else {
    meeting_.for_each<Arguments>([&](const Arguments& other) {
      if (other.groups != groups || other.thread->products != thread.products ||
          other.thread->groups != thread.groups)
        fail("wgmma_wait: the lanes of the warpgroup issued different numbers of products");
    });
    if (groups_.size() > groups) {
      due_ = groups_[groups_.size() - groups - 1];
      block.due.push_back(this);
      meeting_.wait();
    } else {
      meeting_.depart();
    }
  }
  if (groups == 0) thread.fenced = false;  // the kernel may use its accumulators now
}

void Warpgroup::complete() {
  while (first_ != due_) {
    run(products_.front());
    products_.pop_front();
    ++first_;
  }
  while (!groups_.empty() && groups_.front() == due_) {
    groups_.pop_front();
    ++first_group_;
  }
  meeting_.depart();
}

void Warpgroup::run(const Product& product) {
  alignas(64) static double a[kRows * kDepth];
  alignas(64) static double b[kDepth * kMostColumns];
  read(product.type, decode(product.a, kRows, "a"), kRows, a, kDepth, 1);
  read(product.type, decode(product.b, product.columns, "b"), product.columns, b, 1,
       product.columns);
  Accumulator& target = *product.accumulator;
  multiply_add(target.sums.data(), a, b, kRows, product.columns, block.options.truncate);
  if (--target.users == 0) deliver(target);
}

// The sums go back to the threads' registers.
void Warpgroup::deliver(Accumulator& accumulator) {
  for (unsigned lane = 0; lane < kWarpgroup; ++lane)
    for_each_sum(lane, accumulator.columns, [&](int e, int row, int column) {
      accumulator.registers[lane][e] =
          accumulator.sums[static_cast<size_t>(row * accumulator.columns + column)];
    });
  const auto is_it = [&](const auto& one) { return one.get() == &accumulator; };
  accumulators_.erase(std::find_if(accumulators_.begin(), accumulators_.end(), is_it));
}

void Warpgroup::set_registers(Thread& thread, int registers, bool increase) {
  if (registers < 24 || registers > 256 || registers % 8 != 0)
    fail("setmaxnreg for ", registers, " registers: expected a multiple of 8 from 24 to 256");
  meeting_.meet(increase ? "registers_increase" : "registers_decrease", thread.lane_of_warpgroup(),
                registers, [](int* const*) {});
  registers_ = registers;
}

}  // namespace pyscale::emulator
