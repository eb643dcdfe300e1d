/* What the machine can do at most: loops that do nothing but read, copy or compute. Built and called by ceilings.py
   with VECTOR_BYTES, the width of a register. Each function repeats itself `times` times and gives its result back, so
   that no loop is left out. */

#include <stddef.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

enum { lanes = VECTOR_BYTES / sizeof(double) };
typedef double vector __attribute__((vector_size(VECTOR_BYTES)));

#define NOTHING_IS_KNOWN(x) __asm__ volatile("" : "+r"(x)::"memory")
#if defined(__x86_64__)
#define KEEP(v) __asm__ volatile("" : "+v"(v))
#else
#define KEEP(v) __asm__ volatile("" : "+w"(v))
#endif

static double total_of(const vector* v, int count) {
  double total = 0;
  for (int i = 0; i < count; ++i) {
    for (int j = 0; j < lanes; ++j) total += v[i][j];
  }
  return total;
}

/* n is a multiple of 8 * lanes. */
double read_all(const double* from, size_t n, size_t times) {
  vector sums[8] = {{0}};
  for (size_t t = 0; t < times; ++t) {
    NOTHING_IS_KNOWN(from);
    for (size_t i = 0; i < n; i += 8 * lanes) {
      for (int k = 0; k < 8; ++k) sums[k] += *(const vector*)(from + i + k * lanes);
    }
  }
  return total_of(sums, 8);
}

double copy_by_loop(double* to, const double* from, size_t n, size_t times) {
  for (size_t t = 0; t < times; ++t) {
    NOTHING_IS_KNOWN(from);
    for (size_t i = 0; i < n; i += 4 * lanes) {
      for (int k = 0; k < 4; ++k) *(vector*)(to + i + k * lanes) = *(const vector*)(from + i + k * lanes);
    }
  }
  return to[0];
}

double copy_by_memcpy(double* to, const double* from, size_t n, size_t times) {
  for (size_t t = 0; t < times; ++t) {
    NOTHING_IS_KNOWN(from);
    memcpy(to, from, n * sizeof(double));
  }
  return to[0];
}

double copy_past_cache(double* to, const double* from, size_t n, size_t times) {
#if defined(__AVX512F__)
  for (size_t t = 0; t < times; ++t) {
    NOTHING_IS_KNOWN(from);
    for (size_t i = 0; i < n; i += 8) _mm512_stream_pd(to + i, _mm512_load_pd(from + i));
    _mm_sfence();
  }
  return to[0];
#else
  return copy_by_memcpy(to, from, n, times);
#endif
}

/* Chains of operations, of which none waits for another. They are written out, as they have to stay in registers. */
#define EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9)
const size_t chains = 10;

typedef long long integers __attribute__((vector_size(VECTOR_BYTES)));

#define DEFINE(k) vector a##k = one + k;
#define DEFINE_INTEGER(k) integers b##k = unit + k;
#define MULTIPLY_ADD(k)    \
  a##k = a##k * one + one; \
  KEEP(a##k);
#define ADD_INTEGER(k) \
  b##k = b##k + unit;  \
  KEEP(b##k);
#define BOTH(k) MULTIPLY_ADD(k) ADD_INTEGER(k)
#define DIVIDE(k)    \
  a##k = one / a##k; \
  KEEP(a##k);
#define SUM(k) sum += a##k;
#define SUM_INTEGER(k) sum[0] += (double)b##k[0];

static vector ones(void) {
  vector one;
  for (int j = 0; j < lanes; ++j) one[j] = 1;
  KEEP(one);
  return one;
}

/* One operation in each chain, `times` times. */
double multiply_add(size_t times) {
  const vector one = ones();
  EACH(DEFINE)
  for (size_t t = 0; t < times; ++t) {
    EACH(MULTIPLY_ADD)
  }
  vector sum = one;
  EACH(SUM)
  return total_of(&sum, 1);
}

/* Two: a fused multiply-add and one on integers, which other units do. Together they fill all there are. */
double mixed(size_t times) {
  const vector one = ones();
  const integers unit = (integers)one;
  EACH(DEFINE)
  EACH(DEFINE_INTEGER)
  for (size_t t = 0; t < times; ++t) {
    EACH(BOTH)
  }
  vector sum = one;
  EACH(SUM)
  EACH(SUM_INTEGER)
  return total_of(&sum, 1);
}

double divide(size_t times) {
  const vector one = ones();
  EACH(DEFINE)
  for (size_t t = 0; t < times; ++t) {
    EACH(DIVIDE)
  }
  vector sum = one;
  EACH(SUM)
  return total_of(&sum, 1);
}
