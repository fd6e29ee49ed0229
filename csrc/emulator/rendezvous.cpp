#include "emulator/rendezvous.h"

#include <cstring>

#include "emulator/fail.h"

namespace pyscale::emulator {

void Rendezvous::begin(const char* name, unsigned index, unsigned lanes) {
  name_ = name;
  index_ = index;
  lanes_ = lanes;
  arrived_ = 0;
  forget();
}

bool Rendezvous::arrive(const char* operation, unsigned lane, void* arguments) {
  if (arrived_ == 0)
    operation_ = operation;
  else if (operation != operation_ && std::strcmp(operation, operation_) != 0)
    fail(operation, " while other lanes of ", name_, " ", index_, " are at ", operation_,
         ": they must do it together");
  arguments_[lane] = arguments;
  return ++arrived_ == lanes_;
}

void Rendezvous::depart() {
  arrived_ = 0;
  release();
}

std::string Rendezvous::describe() const {
  return std::string(operation_) + " of " + name_ + " " + std::to_string(index_) + ", where " +
         std::to_string(arrived_) + " of " + std::to_string(lanes_) + " lanes have come";
}

}  // namespace pyscale::emulator
