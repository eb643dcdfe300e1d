#include "parallel.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
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
  if (elements < 2 * elements_per_thread) return 1;
  return static_cast<int>(std::min(elements / elements_per_thread, static_cast<std::size_t>(available_threads())));
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
