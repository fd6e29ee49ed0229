// Errors of the native core: one exception type, raised with the file and line of the failed check,
// and one for memory that is not to be had.
#pragma once

#include <cstdint>
#include <cstdio>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>

namespace pyscale {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Becomes Python's MemoryError with the same message. It is written in place: there may be no
// memory for a string either.
class OutOfMemory : public std::bad_alloc {
 public:
  OutOfMemory(int64_t bytes, const char* what) noexcept : bytes_(bytes) {
    std::snprintf(message_, sizeof message_, "could not allocate %lld bytes (%.3g GiB) for %s",
                  static_cast<long long>(bytes), static_cast<double>(bytes) * 0x1p-30, what);
  }
  const char* what() const noexcept override { return message_; }
  int64_t bytes() const noexcept { return bytes_; }

 private:
  int64_t bytes_;
  char message_[160];
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
