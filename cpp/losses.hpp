/// What calls of binary and categorical losses have in common: their arguments, sums and means.
#pragma once

#include <optional>

#include "gradients.hpp"

namespace kullback {

/// What becomes of the losses.
enum class Reduction { none, sum, mean };

Reduction parse_reduction(py::handle reduction);

/// The share s of the labels that is spread evenly over all classes.
double parse_smoothing(py::handle smoothing);

Setting setting_of(double smoothing, std::size_t classes);

std::optional<Operand> optional_operand(const char* name, py::handle object, bool scalars_are_weak);

/// Throws where a Hessian is asked for that there is none of.
void require_hessian_alone(const GradientRequest& request, bool of_labels, const char* predictions);

inline void add(Partial& sum, Partial term) {
  const Partial next = two_sum(sum.hi, term.hi);
  sum = {next.hi, sum.lo + (next.lo + term.lo)};
}

/// What the results of some rows add up to.
struct Totals {
  Partial value{0, 0};
  Partial magnified{0, 0};  ///< of rows that would have drowned
  Partial weight{0, 0};

  void merge(const Totals& next) {
    add(value, next.value);
    add(magnified, next.magnified);
    add(weight, next.weight);
  }
};

void warn_of_empty_mean();

/// The sum of all results, in nats.
Partial total_of(const Totals& totals);

/// What gradients of a mean are divided by. Warns where a mean is of nothing.
Partial divisor_of(Partial weight);

/// Stores the sum or mean of all rows. Warns where a mean is of nothing, unless that was done.
template <class T>
void store_total(const Kernels<T>& kernels, const Totals& totals, Reduction reduction, Partial scale, char* out,
                 bool warned = false) {
  Setting setting;
  Partial value = totals.value;
  if (value.hi == 0 && totals.magnified.hi != 0) {
    setting.one = magnification;
    value = totals.magnified;
  } else {
    value = total_of(totals);
  }
  if (reduction == Reduction::mean) {
    const Partial weight = two_sum(totals.weight.hi, totals.weight.lo);
    if (weight.hi == 0 && !warned) warn_of_empty_mean();
    value = weight.hi == 0 ? Partial{std::nan(""), 0} : quotient(value, weight);
  }
  RowStates states;
  states.hi[0][0] = value.hi;
  states.lo[0][0] = value.lo;
  kernels.round(states, 1, scale, setting, reinterpret_cast<T*>(out));
}

/// The sum of an operand's elements, each as often as it occurs in `shape`.
template <class T>
Partial total_of(const Kernels<T>& kernels, const Operand& operand, DType dtype, const Shape& shape) {
  Dims inner;
  const Dims outer;
  for (int d = 0; d < shape.ndim; ++d) {
    inner.append(static_cast<std::size_t>(shape.length[d]), {broadcast_stride(operand, shape, d)});
  }
  Operands operands = {&operand};
  RowJob<T> job(kernels, operands, dtype, inner, outer);
  job.prepare();
  RowStates states;
  run_without_gil(job.elements(), [&] {
    job.for_all_tiles([&](const Tile& tile) { job.evaluate(kernels.total, tile, Setting{}, states); });
  });
  return {states.hi[0][0], states.lo[0][0]};
}

}  // namespace kullback
