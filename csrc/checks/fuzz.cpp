// Calls every function of the core with drawn arguments and holds it to plain loops.
//
//   fuzz [--cases N] [--seed S]
//
// Case i is drawn from seed S + i alone, so what fails is repeated by `--seed THAT --cases 1`.
// Every instruction set that is compiled in runs, those this machine lacks are named; PYSCALE_ISA
// chooses one. The last line says what ran; the exit status is 1 where anything was wrong.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "checks/calls.h"
#include "core/error.h"
#include "cpu/isa.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace {

using namespace pyscale;

struct Arguments {
  uint64_t seed = 1;
  int64_t cases = 1000;
};

// For who reports a crash.
char current[160] = "";

void report_crash() {
  [[maybe_unused]] const auto written = write(STDERR_FILENO, current, std::strlen(current));
}

void on_signal(int number) {
  report_crash();
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void watch_for_crashes() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  __sanitizer_set_death_callback(report_crash);
  (void)on_signal;
#else
  for (int number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) std::signal(number, on_signal);
#endif
}

void run_case(uint64_t seed) {
  checks::Random random(seed);
  switch (random.between(0, 9)) {
    case 0:
      return checks::check_refusals(random);
    case 1:
      return checks::check_merge_moments(random);
    case 2:
      return checks::check_self_moments(random);
    case 3:
      return checks::check_cross_moments(random);
    case 4:
    case 5:
      return checks::check_hsic_pairs(random);
    default:
      return checks::check_gram(random);
  }
}

// Returns the exit status.
int run_cases(const Arguments& arguments) {
  const char* isa = cpu::kernels().isa;
  watch_for_crashes();
  for (int64_t i = 0; i < arguments.cases; ++i) {
    const uint64_t seed = arguments.seed + static_cast<uint64_t>(i);
    std::snprintf(current, sizeof current,
                  "crashed; repeat with PYSCALE_ISA=%s fuzz --seed %llu --cases 1\n", isa,
                  static_cast<unsigned long long>(seed));
    try {
      run_case(seed);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\nrepeat with PYSCALE_ISA=%s fuzz --seed %llu --cases 1\n",
                   error.what(), isa, static_cast<unsigned long long>(seed));
      return 1;
    }
  }
  std::printf("%s: %lld cases from seed %llu\n", isa, static_cast<long long>(arguments.cases),
              static_cast<unsigned long long>(arguments.seed));
  return 0;
}

// The choice of instruction set is made once a process: each has a child of its own.
int run_every_isa(const Arguments& arguments) {
  int failures = 0, ran = 0;
  for (const cpu::Kernels* kernels : cpu::compiled_kernels()) {
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child < 0) {
      std::perror("fork");
      return 1;
    }
    if (child == 0) {
      setenv("PYSCALE_ISA", kernels->isa, 1);
      try {
        cpu::kernels();
      } catch (const Error&) {
        std::printf("%s: compiled, not run: this machine lacks it\n", kernels->isa);
        std::exit(77);
      }
      std::exit(run_cases(arguments));
    }
    int status = 0;
    waitpid(child, &status, 0);
    const bool lacking = WIFEXITED(status) && WEXITSTATUS(status) == 77;
    ran += lacking ? 0 : 1;
    failures += lacking || status == 0 ? 0 : 1;
    if (!lacking && status != 0) std::fprintf(stderr, "%s: FAILED\n", kernels->isa);
  }
  return failures > 0 || ran == 0 ? 1 : 0;
}

Arguments parse(int count, char** words) {
  Arguments arguments;
  for (int i = 1; i < count; i += 2) {
    const std::string option = words[i];
    char* end = nullptr;
    const unsigned long long value = i + 1 < count ? std::strtoull(words[i + 1], &end, 10) : 0;
    const bool number = end != nullptr && end != words[i + 1] && *end == 0;
    if (number && option == "--seed") {
      arguments.seed = value;
    } else if (number && option == "--cases") {
      arguments.cases = static_cast<int64_t>(value);
    } else {
      std::fprintf(stderr, "usage: fuzz [--cases N] [--seed S]\n");
      std::exit(2);
    }
  }
  return arguments;
}

}  // namespace

int main(int count, char** words) {
  const Arguments arguments = parse(count, words);
  return std::getenv("PYSCALE_ISA") == nullptr ? run_every_isa(arguments) : run_cases(arguments);
}
