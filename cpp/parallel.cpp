#include "parallel.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace kullback {

namespace {

int process_limit = 0;
thread_local int own_limit = 0;

// A team of threads does not survive fork, and libgomp waits for it for ever once any region, anybody's, was entered
// before. The child computes serially.
std::atomic<bool> forked{false};

/// OpenMP's threads wait for another region for a while, and then they sleep. Before this time, in ns, they do not.
constexpr std::int64_t awake = 1'000'000;

/// What a thread alone does in 0.1 ms or more, as waking others may take.
constexpr std::size_t elements_to_wake = std::size_t{1} << 18;

/// When this thread last had work for its team, and when its team last worked.
thread_local std::int64_t last_wanted = -awake, last_used = -awake;

std::int64_t now() {
  using std::chrono::steady_clock;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(steady_clock::now().time_since_epoch()).count();
}

#if defined(__linux__)
int this_core() { return sched_getcpu(); }

/// Moves this thread, one of a team, to another core if there is one for each. It may come back.
void leave_core(int core, std::size_t team) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
  if (static_cast<std::size_t>(CPU_COUNT(&allowed)) < team) return;
  cpu_set_t others = allowed;
  CPU_CLR(static_cast<std::size_t>(core), &others);
  if (sched_setaffinity(0, sizeof(others), &others) == 0) sched_setaffinity(0, sizeof(allowed), &allowed);
}
#else
int this_core() { return -1; }
void leave_core(int, std::size_t) {}
#endif

}  // namespace

int thread_limit() { return own_limit != 0 ? own_limit : process_limit; }

int set_thread_limit(int limit) {
  const int former = own_limit;
  own_limit = limit;
  return former;
}

void initialize_threads() {
  if (const char* text = std::getenv("KULLBACK_NUM_THREADS"); text != nullptr && *text != '\0') {
    char* end = nullptr;
    const long limit = std::strtol(text, &end, 10);
    if (*end != '\0' || limit < 1 || limit > 1 << 16) {
      throw std::invalid_argument("KULLBACK_NUM_THREADS: expected a whole number >= 1, got '" + std::string(text) +
                                  "'");
    }
    process_limit = static_cast<int>(limit);
  }
  pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); });
}

int available_threads() {
#if defined(_OPENMP)
  if (forked.load(std::memory_order_relaxed) || omp_in_parallel()) return 1;
  const int limit = thread_limit();
  const int most = omp_get_max_threads();
  return limit == 0 ? most : std::min(limit, most);
#else
  return 1;
#endif
}

int threads_for(std::size_t elements) {
  if (useful_threads(elements) == 1) return 1;
  const auto threads = std::min(useful_threads(elements), static_cast<std::size_t>(available_threads()));
  if (threads == 1) return 1;
  // Of calls that follow each other there will be more.
  const std::int64_t time = now();
  const bool alone = time - std::max(last_wanted, last_used) >= awake;
  last_wanted = time;
  return alone && elements < elements_to_wake ? 1 : static_cast<int>(threads);
}

Region::Region() : caller_core_(this_core()), wakes_(now() - last_used >= awake) {}

Region::~Region() { last_used = now(); }

void Region::enter(std::size_t thread, std::size_t team) {
  begun_.fetch_add(1, std::memory_order_relaxed);
  if (thread == 0) {
    if (wakes_) sched_yield();
  } else if (caller_core_ >= 0 && this_core() == caller_core_) {
    leave_core(caller_core_, team);
  }
}

void Region::leave(std::size_t thread, std::size_t team) const {
  constexpr int most = 10'000;  // some milliseconds
  if (thread != 0) return;
  for (int i = 0; i < most && begun_.load(std::memory_order_relaxed) < team; ++i) sched_yield();
}

const char* openmp_runtime() {
#if !defined(_OPENMP)
  return "none";
#elif defined(__clang__)
  return "libomp";
#else
  return "libgomp";
#endif
}

}  // namespace kullback
