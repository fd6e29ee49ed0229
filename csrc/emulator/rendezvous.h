// Where the lanes of a warp, or of a warpgroup, meet for an instruction they do together.
#pragma once

#include <array>

#include "emulator/scheduler.h"

namespace pyscale::emulator {

class Rendezvous : public Waiting {
 public:
  // `name`: "warp" or "warpgroup"; `lanes` of them come each time.
  void begin(const char* name, unsigned index, unsigned lanes);

  // Every lane gives its arguments; the last one that comes calls act(arguments of all lanes), and
  // then all go on. The arguments of a lane stay where they are until then, so `act` may write its
  // results into them.
  template <class Arguments, class Act>
  void meet(const char* operation, unsigned lane, Arguments& mine, Act&& act) {
    if (!arrive(operation, lane, &mine)) {
      wait();
      return;
    }
    act(reinterpret_cast<Arguments* const*>(arguments_.data()));
    depart();
  }

  // The parts of `meet`: whether the running thread is the last one; let all go on.
  bool arrive(const char* operation, unsigned lane, void* arguments);
  void depart();
  using Waiting::wait;
  // Calls f with the arguments of each lane that has come.
  template <class Arguments, class F>
  void for_each(F&& f) const {
    for (unsigned i = 0; i < lanes_; ++i) f(*static_cast<const Arguments*>(arguments_[i]));
  }

  std::string describe() const override;

 private:
  const char* name_ = "";
  unsigned index_ = 0;
  unsigned lanes_ = 0;
  unsigned arrived_ = 0;
  const char* operation_ = "";
  std::array<void*, kWarpgroup> arguments_{};
};

}  // namespace pyscale::emulator
