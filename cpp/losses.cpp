#include "losses.hpp"

#include <cmath>
#include <string>

namespace kullback {

Reduction parse_reduction(py::handle reduction) {
  if (reduction.is_none()) return Reduction::none;
  if (says(reduction, "mean")) return Reduction::mean;
  if (says(reduction, "sum")) return Reduction::sum;
  throw py::value_error("reduction: expected None, 'sum' or 'mean', got " + show(reduction));
}

double parse_smoothing(py::handle smoothing) {
  const double s = PyFloat_AsDouble(smoothing.ptr());
  if (s == -1.0 && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    throw py::type_error("label_smoothing: expected a number in [0, 1], got " + show(smoothing));
  }
  if (!(0 <= s && s <= 1)) {
    throw py::value_error("label_smoothing: expected a number in [0, 1], got " + show(smoothing));
  }
  return s;
}

Setting setting_of(double smoothing, std::size_t classes) {
  Setting setting;
  if (smoothing == 0) return setting;
  const auto count = static_cast<double>(classes);
  setting.keep.hi = 1 - smoothing;
  setting.keep.lo = (1 - setting.keep.hi) - smoothing;
  setting.spread.hi = smoothing / count;
  setting.spread.lo = std::fma(-setting.spread.hi, count, smoothing) / count;
  return setting;
}

std::optional<Operand> optional_operand(const char* name, py::handle object, bool scalars_are_weak) {
  if (object.is_none()) return std::nullopt;
  return std::optional<Operand>(std::in_place, name, object, scalars_are_weak);
}

void require_hessian_alone(const GradientRequest& request, bool of_labels, const char* predictions) {
  if (!request.hessian || !of_labels) return;
  throw py::value_error(std::string("wrt: expected '") + predictions + "' with hessian=True, got " + show(request.wrt));
}

void warn_of_empty_mean() {
  if (PyErr_WarnEx(PyExc_RuntimeWarning, "mean of nothing: no row takes part, or their weights sum to 0", 1) != 0) {
    throw py::error_already_set();
  }
}

Partial total_of(const Totals& totals) {
  Partial value = totals.value;
  add(value, {totals.magnified.hi / magnification, totals.magnified.lo / magnification});
  return value;
}

Partial divisor_of(Partial weight) {
  weight = two_sum(weight.hi, weight.lo);
  if (weight.hi != 0) return weight;
  warn_of_empty_mean();
  return {std::nan(""), 0};
}

}  // namespace kullback
