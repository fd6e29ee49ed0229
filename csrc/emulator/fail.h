// What a kernel did wrong, as an exception that says where.
#pragma once

#include <sstream>
#include <string>

namespace pyscale::emulator {

// Throws pyscale::Error with the running block and thread before the message.
[[noreturn]] void fail_with(const std::string& message);

template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  fail_with(message.str());
}

}  // namespace pyscale::emulator
