// Calls every function of the core with drawn arguments and holds it to plain loops.
//
//   fuzz [--cases N] [--seed S]
//
// Case i is drawn from seed S + i alone, so what fails is repeated by `--seed THAT --cases 1`.
// Every instruction set that is compiled in runs, those this machine lacks are named; PYSCALE_ISA
// chooses one. The last line says what ran; the exit status is 1 where anything was wrong.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "checks/calls.h"
#include "core/error.h"
#include "cpu/isa.h"

namespace {

using namespace pyscale;

struct Arguments {
  uint64_t seed = 1;
  int64_t cases = 1000;
};

constexpr int kLacking = 77;  // exit status of a child whose instructions this machine lacks

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

// Returns the exit status. `seed` is that of the case at hand.
int run_cases(const Arguments& arguments, uint64_t& seed) {
  const uint64_t end = arguments.seed + static_cast<uint64_t>(arguments.cases);
  for (seed = arguments.seed; seed != end; ++seed) try {
      run_case(seed);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      return 1;
    }
  std::printf("%s: %lld cases from seed %llu\n", cpu::kernels().isa,
              static_cast<long long>(arguments.cases),
              static_cast<unsigned long long>(arguments.seed));
  return 0;
}

int run_isa(const char* isa, const Arguments& arguments, uint64_t& seed) {
  setenv("PYSCALE_ISA", isa, 1);
  try {
    cpu::kernels();
  } catch (const Error&) {
    std::printf("%s: compiled, not run: this machine lacks it\n", isa);
    return kLacking;
  }
  return run_cases(arguments, seed);
}

// A child for each: the choice of instruction set is made once a process, and whatever a case may
// do to it, the parent is there to say which it was.
int run_in_child(const char* isa, const Arguments& arguments, uint64_t& seed) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) std::exit(run_isa(isa, arguments, seed));
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) < 0) {
    std::perror("fork");
    std::exit(1);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == kLacking) return kLacking;
  if (status != 0)
    std::fprintf(stderr, "%s FAILED: repeat with PYSCALE_ISA=%s fuzz --cases 1 --seed %llu\n", isa,
                 isa, static_cast<unsigned long long>(seed));
  return status == 0 ? 0 : 1;
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
  void* shared =
      mmap(nullptr, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) {
    std::perror("mmap");
    return 1;
  }
  const char* chosen = std::getenv("PYSCALE_ISA");
  const std::string only = chosen == nullptr ? "" : chosen;
  int ran = 0, failed = 0;
  for (const cpu::Kernels* kernels : cpu::compiled_kernels()) {
    if (!only.empty() && only != kernels->isa) continue;
    const int status = run_in_child(kernels->isa, arguments, *static_cast<uint64_t*>(shared));
    ran += status == kLacking ? 0 : 1;
    failed += status == 1 ? 1 : 0;
  }
  if (ran == 0) std::fprintf(stderr, "no instruction set ran\n");
  return ran > 0 && failed == 0 ? 0 : 1;
}
