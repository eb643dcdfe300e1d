/// Work over threads: how many, when not to, and with which floating-point mode.
#pragma once

#include <atomic>
#include <cstddef>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif
#if defined(_OPENMP)
#include <omp.h>
#endif

namespace kullback {

/// Elements that one more thread should have to work on; they take some 10 µs or more, entering a region up to 5 µs.
constexpr std::size_t elements_per_thread = std::size_t{1} << 15;

/// The calling thread's limit; 0 is none but OpenMP's own.
int thread_limit();

/// Sets the calling thread's limit and returns the former one.
int set_thread_limit(int limit);

/// Reads KULLBACK_NUM_THREADS and installs the fork guard. Throws std::invalid_argument.
void initialize_threads();

/// At most how many threads a call from this thread uses.
int available_threads();

/// What that much work can use at most.
constexpr std::size_t useful_threads(std::size_t elements) {
  return elements < 2 * elements_per_thread ? 1 : elements / elements_per_thread;
}

/// What a call with that much work is to use: one thread as well where others would have to be woken and a single call
/// is not worth that.
int threads_for(std::size_t elements);

/// To be called at the end of a call, for the threads_for of the next.
void note_call();

/// The name of the OpenMP runtime, or "none".
const char* openmp_runtime();

/// IEEE arithmetic for a scope: round to nearest, subnormals kept, nothing trapped; then the caller's mode again.
/// Other libraries set flush-to-zero for the threads that load them.
class FloatingPointMode {
 public:
#if defined(__x86_64__)
  FloatingPointMode() : saved_(_mm_getcsr()) {
    constexpr unsigned status = 0x3f, standard = 0x1f80;
    if ((saved_ & ~status) != standard) _mm_setcsr(standard);
  }
  ~FloatingPointMode() {
    if (_mm_getcsr() != saved_) _mm_setcsr(saved_);
  }

 private:
  unsigned saved_;
#elif defined(__aarch64__)
  FloatingPointMode() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved_));
    if (saved_ != 0) __asm__ volatile("msr fpcr, %0" ::"r"(0UL));
  }
  ~FloatingPointMode() {
    if (saved_ != 0) __asm__ volatile("msr fpcr, %0" ::"r"(saved_));
  }

 private:
  unsigned long saved_ = 0;
#else
  FloatingPointMode() = default;
#endif
 public:
  FloatingPointMode(const FloatingPointMode&) = delete;
  FloatingPointMode& operator=(const FloatingPointMode&) = delete;
};

/// Keeps the threads of a parallel region from waiting for each other on one core.
///
/// Linux may wake a thread on the core of the one that woke it. There one of them waits, busily, for the other, which
/// does not run until the next tick of the scheduler: 4 to 12 ms, where waking takes 0.1 ms. So who wakes threads lets
/// them run first, and again when its own share is done and they have not begun; and one that finds itself on the
/// caller's core moves to another, where no filter of system calls forbids that.
class Region {
 public:
  Region();
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  /// For each thread, before and after its share.
  void enter(std::size_t thread, std::size_t team);
  void leave(std::size_t thread, std::size_t team) const;

 private:
  int caller_core_;
  bool wakes_;  ///< threads that sleep, probably
  std::atomic<std::size_t> begun_{0};
};

/// Calls body(begin, end, thread) for contiguous shares of [0, count). The body must not throw. The calling thread is
/// in FloatingPointMode already, others are put into it.
template <class Body>
void parallel_for(std::size_t count, int threads, const Body& body) {
  if (threads <= 1) {
    body(std::size_t{0}, count, 0);
    return;
  }
#if defined(_OPENMP)
  Region region;
#pragma omp parallel num_threads(threads)
  {
    const FloatingPointMode mode;
    const auto team = static_cast<std::size_t>(omp_get_num_threads());
    const auto thread = static_cast<std::size_t>(omp_get_thread_num());
    region.enter(thread, team);
    const std::size_t share = count / team, rest = count % team;
    const std::size_t begin = thread * share + (thread < rest ? thread : rest);
    body(begin, begin + share + (thread < rest ? 1 : 0), static_cast<int>(thread));
    region.leave(thread, team);
  }
#endif
}

}  // namespace kullback
