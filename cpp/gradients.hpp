/// What calls of gradients have in common: their arguments wrt and out, and arrays in the shape of an argument.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "calls.hpp"
#include "labels.hpp"
#include "partial.hpp"

namespace kullback {

/// Which of two arguments the gradient is taken with respect to.
std::array<bool, 2> parse_wrt(py::handle wrt, const char* first, const char* second);

/// The arrays that an argument out holds, None where there are none.
struct GradientOut {
  py::object value = py::none();
  py::object gradient[2] = {py::none(), py::none()};

  /// `gradients`: how many the call returns. Throws where out does not fit, or where arrays share memory.
  GradientOut(py::handle out, bool value, int gradients);
};

/// What the call returns: a gradient or a pair of them, after the value if it is wanted. Null objects are absent.
py::object gradient_result(py::object value, py::object first, py::object second);

/// The argument grad_output: what gradients are multiplied by.
class GradOutput {
 public:
  /// Throws unless it broadcasts to the value's shape.
  GradOutput(py::handle object, const Shape& value);

  const Operand& operand() const { return operand_; }
  /// The number that it is everywhere, if it is one and not 0.
  std::optional<double> number() const;
  /// Itself, of that dtype or one that is converted to it.
  const Operand& as(DType dtype);

 private:
  Operand operand_;
  py::object owner_;
  std::optional<Operand> converted_;
};

/// A gradient in the shape and dtype of an argument. Where the argument was broadcast or converted, the gradient is
/// computed in another array first, and added up.
class GradientOutput {
 public:
  /// Refers to the argument and to the common shape.
  GradientOutput(py::handle out, const Operand& argument, const Shape& shape, DType dtype);

  /// Where the gradient of every element is written, in the common shape.
  Output& full() { return full_ ? *full_ : target_; }

  void separate_from(Operands& operands, const Shape& shape, bool same_is_safe) {
    if (!full_) target_.separate_from(operands, shape, same_is_safe);
  }

  py::object result();

 private:
  const Operand& argument_;
  const Shape& shape_;
  DType own_dtype_, dtype_;
  Output target_;
  std::optional<Output> full_;
};

/// 1, or the factor of a gradient, as a double.
class Factors {
 public:
  Factors(const Operand& grad_output, Partial scale)
      : lookup_(grad_output, DType::float64), scale_(scale), same_for_all_(grad_output.ndim() == 0) {}

  /// Those of a tile's rows.
  void of(const Tile& tile, RowFactors& factors) const {
    constexpr int g = Dims::grad_output;
    if (same_for_all_) {
      const Partial factor = product({lookup_(0), 0}, scale_);
      std::fill_n(factors.hi, tile.rows, factor.hi);
      std::fill_n(factors.lo, tile.rows, factor.lo);
      return;
    }
    for (std::size_t r = 0; r < tile.rows; ++r) {
      const double y = lookup_(tile.at[g] + static_cast<std::ptrdiff_t>(r) * tile.step[g]);
      const Partial factor = product({y, 0}, scale_);
      factors.hi[r] = factor.hi;
      factors.lo[r] = factor.lo;
    }
  }

 private:
  Lookup<double> lookup_;
  Partial scale_;
  bool same_for_all_;
};

}  // namespace kullback
