#include "parallel.hpp"

#include <pthread.h>
#include <sched.h>
#include <strings.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string>

namespace kullback {

namespace {

int process_limit = 0;
thread_local int own_limit = 0;

// A team of threads does not survive fork, and libgomp waits for it for ever once any region, anybody's, was entered
// before. The child computes serially.
std::atomic<bool> forked{false};

/// OpenMP's threads wait for another region for a while, and then they sleep. Before this time, in ns, they do not,
/// unless they were told to.
std::int64_t awake = 1'000'000;

/// What a thread alone does in 0.1 ms or more, as waking others may take.
constexpr std::size_t elements_to_wake = std::size_t{1} << 18;

constexpr std::int64_t never = std::numeric_limits<std::int64_t>::min() / 2;

/// When the last call of this thread was over that had work for a team, and the last region.
thread_local std::int64_t last_call = never, last_region = never;
thread_local bool has_work_for_team = false;  ///< this call

std::int64_t now() {
  using std::chrono::steady_clock;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(steady_clock::now().time_since_epoch()).count();
}

#if defined(__linux__)
int this_core() { return sched_getcpu(); }

/// Whether this thread's system calls are filtered: services are killed for those that theirs does not expect. (A
/// filter may be set at any time.)
bool is_filtered() {
  std::FILE* const status = std::fopen("/proc/thread-self/status", "r");
  if (status == nullptr) return true;
  int mode = 1;
  for (char line[256]; std::fgets(line, sizeof(line), status) != nullptr;) {
    if (std::sscanf(line, "Seccomp: %d", &mode) == 1) break;
  }
  std::fclose(status);
  return mode != 0;
}

/// Moves this thread, one of a team, to another core if there is one for each. It may come back.
void leave_core(int core, std::size_t team) {
  if (is_filtered()) return;
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
  const char* const policy = std::getenv("OMP_WAIT_POLICY");
  if (policy != nullptr && strcasecmp(policy, "active") == 0) awake = std::numeric_limits<std::int64_t>::max();
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
  has_work_for_team = true;
  // Of calls that follow each other there will be more.
  const bool alone = now() - last_call >= awake;
  return alone && elements < elements_to_wake ? 1 : static_cast<int>(threads);
}

void note_call() {
  if (!has_work_for_team) return;
  has_work_for_team = false;
  last_call = now();
}

Region::Region() : caller_core_(this_core()), wakes_(now() - last_region >= awake) {}

Region::~Region() { last_region = now(); }

void Region::enter(std::size_t thread, std::size_t team) {
  const std::size_t begun = begun_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (!wakes_) return;
  if (thread == 0) {
    if (begun < team) sched_yield();
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
