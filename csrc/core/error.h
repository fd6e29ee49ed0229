// Errors of the native core: one exception type, raised with the file and line of the failed check.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace pyscale {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class... Parts>
[[noreturn]] void raise(const char* file, int line, const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  message << " (" << file << ":" << line << ")";
  throw Error(message.str());
}

}  // namespace pyscale

#define PYSCALE_CHECK(condition, ...) \
  ((condition) ? void(0) : ::pyscale::raise(__FILE__, __LINE__, __VA_ARGS__))
