// Errors of the native core: one exception type, raised with the file and line of the failed check,
// and one for memory that is not to be had.
#pragma once

#include <cstdint>
#include <cstdio>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

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

// A message's parts as text. Not through a stream: its locale is shared by all copies of the C++
// library in a process, and with one linked statically into this module and another into torch the
// first message would crash.
template <class Part>
void append(std::string& message, const Part& part) {
  if constexpr (std::is_convertible_v<Part, std::string_view>) {
    message += std::string_view(part);
  } else {
    char text[32];
    if constexpr (std::is_pointer_v<Part>)
      std::snprintf(text, sizeof text, "%p", static_cast<const void*>(part));
    else if constexpr (std::is_floating_point_v<Part>)
      std::snprintf(text, sizeof text, "%g", static_cast<double>(part));
    else if constexpr (std::is_signed_v<Part>)
      std::snprintf(text, sizeof text, "%lld", static_cast<long long>(part));
    else
      std::snprintf(text, sizeof text, "%llu", static_cast<unsigned long long>(part));
    message += text;
  }
}

template <class... Parts>
[[noreturn]] void raise(const char* file, int line, const Parts&... parts) {
  std::string message;
  (append(message, parts), ...);
  append(message, " (");
  append(message, file);
  append(message, ":");
  append(message, line);
  append(message, ")");
  throw Error(message);
}

}  // namespace pyscale

#define PYSCALE_CHECK(condition, ...) \
  ((condition) ? void(0) : ::pyscale::raise(__FILE__, __LINE__, __VA_ARGS__))
