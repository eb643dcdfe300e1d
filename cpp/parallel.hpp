/// Work over threads: how many, when not to, and with which floating-point mode.
#pragma once

#include <cstddef>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif
#if defined(_OPENMP)
#include <omp.h>
#endif

namespace kullback {

/// Elements that one more thread should have to work on; they take some 20 µs or more, entering a region up to 5 µs.
constexpr std::size_t elements_per_thread = std::size_t{1} << 15;

/// The calling thread's limit; 0 is none but OpenMP's own.
int thread_limit();

/// Sets the calling thread's limit and returns the former one.
int set_thread_limit(int limit);

/// Reads KULLBACK_NUM_THREADS and installs the fork guard. Throws std::invalid_argument.
void initialize_threads();

/// At most how many threads a call from this thread uses.
int available_threads();

/// What to use for that much work.
int threads_for(std::size_t elements);

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

/// Calls body(begin, end, thread) for contiguous shares of [0, count). The body must not throw. The calling thread is
/// in FloatingPointMode already, others are put into it.
template <class Body>
void parallel_for(std::size_t count, int threads, const Body& body) {
  if (threads <= 1) {
    body(std::size_t{0}, count, 0);
    return;
  }
#if defined(_OPENMP)
#pragma omp parallel num_threads(threads)
  {
    const FloatingPointMode mode;
    const auto team = static_cast<std::size_t>(omp_get_num_threads());
    const auto thread = static_cast<std::size_t>(omp_get_thread_num());
    const std::size_t share = count / team, rest = count % team;
    const std::size_t begin = thread * share + (thread < rest ? thread : rest);
    body(begin, begin + share + (thread < rest ? 1 : 0), static_cast<int>(thread));
  }
#endif
}

}  // namespace kullback
