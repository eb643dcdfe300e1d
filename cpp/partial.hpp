/// Arithmetic on unevaluated sums, for ordinary code.
#pragma once

#include <cmath>

#include "kernels.hpp"

namespace kullback {

inline Partial two_sum(double a, double b) {
  const double hi = a + b;
  const double from_b = hi - a;
  return {hi, (a - (hi - from_b)) + (b - from_b)};
}

inline Partial sum_of(Partial a, Partial b) {
  const Partial sum = two_sum(a.hi, b.hi);
  return {sum.hi, sum.lo + (a.lo + b.lo)};
}

inline Partial product(Partial a, Partial b) {
  const double hi = a.hi * b.hi;
  return {hi, std::fma(a.hi, b.hi, -hi) + (a.hi * b.lo + a.lo * b.hi)};
}

inline Partial quotient(Partial a, Partial b) {
  const double hi = a.hi / b.hi;
  return {hi, (std::fma(-hi, b.hi, a.hi) + (a.lo - hi * b.lo)) / b.hi};
}

}  // namespace kullback
