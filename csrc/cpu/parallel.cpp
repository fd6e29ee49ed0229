#include "cpu/parallel.h"

#include <algorithm>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace pyscale::cpu {
namespace {

std::atomic<decltype(Team::run)> g_run{nullptr};
std::atomic<decltype(Team::size)> g_size{nullptr};

void forget_team() { g_run = nullptr; }

bool forgets_team_in_children() {
#if defined(__unix__) || defined(__APPLE__)
  static const bool registered = pthread_atfork(nullptr, nullptr, forget_team) == 0;
  return registered;
#else
  return true;
#endif
}

}  // namespace

void use_team(const Team& team) {
  forget_team();
  if (!team.run || !team.size || !forgets_team_in_children()) return;
  g_size = team.size;
  g_run = team.run;
}

void run_in_threads(int threads, void (*task)(void*), void* data) {
  const auto run = g_run.load();
  // All of the team or none: asked for fewer threads, libgomp ends the others, and the next to need
  // them starts them anew.
  constexpr unsigned all = 0;
  if (threads > 1 && run && threads <= g_size.load()()) return run(task, data, all, 0);
  std::vector<std::thread> workers;
  workers.reserve(static_cast<size_t>(threads));
  try {
    for (int i = 1; i < threads; ++i) workers.emplace_back(task, data);
  } catch (const std::system_error&) {
  } catch (const std::bad_alloc&) {  // while others run: they must be joined, whatever happens
  }
  task(data);
  for (std::thread& worker : workers) worker.join();
}

int useful_threads(double work, int threads) {
  // Multiply-adds that take as long as having a thread join in: 8 us for one of a team, which spins
  // and waits; 30 to 50 us for one of our own, which has to be started.
  const double grain = g_run.load() ? 1 << 19 : 1 << 21;
  return work >= grain * threads ? threads : std::max(1, static_cast<int>(work / grain));
}

}  // namespace pyscale::cpu
