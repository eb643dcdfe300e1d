/// The calls of gradients of elementwise measures and of reductions.

#include "gradients.hpp"

#include <cstring>
#include <utility>

namespace kullback {

std::array<bool, 2> parse_wrt(py::handle wrt, const char* first, const char* second) {
  if (says(wrt, second)) return {false, true};
  if (says(wrt, first)) return {true, false};
  if (says(wrt, "both")) return {true, true};
  throw py::value_error(std::string("wrt: expected '") + first + "', '" + second + "' or 'both', got " + show(wrt));
}

namespace {

/// The two items of a tuple or list.
std::pair<py::object, py::object> pair_of(py::handle out, const char* expected) {
  if (out.is_none()) return {py::none(), py::none()};
  if ((!py::isinstance<py::tuple>(out) && !py::isinstance<py::list>(out)) || py::len(out) != 2) {
    throw py::type_error(std::string("out: expected None or a pair ") + expected + ", got " + show(out));
  }
  const auto items = py::reinterpret_borrow<py::sequence>(out);
  return {items[0], items[1]};
}

}  // namespace

GradientOut::GradientOut(py::handle out, bool with_value, int gradients) {
  py::object rest = py::reinterpret_borrow<py::object>(out);
  if (with_value) std::tie(value, rest) = pair_of(out, "(value, gradient)");
  if (gradients == 2) {
    std::tie(gradient[0], gradient[1]) = pair_of(rest, "of arrays, one for each gradient");
  } else {
    gradient[0] = rest;
  }
  const py::object* const arrays[] = {&value, &gradient[0], &gradient[1]};
  for (int i = 0; i < 3; ++i) {
    for (int k = 0; k < i; ++k) {
      if (arrays[i]->is_none() || arrays[k]->is_none()) continue;
      const auto numpy = py::module_::import("numpy");
      if (py::cast<bool>(numpy.attr("shares_memory")(*arrays[i], *arrays[k]))) {
        throw py::value_error("out: two of its arrays share memory; expected separate ones");
      }
    }
  }
}

py::object gradient_result(py::object value, py::object first, py::object second) {
  py::object gradient = !second ? first : !first ? second : py::object(py::make_tuple(first, second));
  return value ? py::object(py::make_tuple(value, gradient)) : gradient;
}

GradOutput::GradOutput(py::handle object, const Shape& value)
    : operand_(object.is_none() ? Operand("grad_output") : Operand("grad_output", object)) {
  require_fits(operand_, value, ", that of the value, or what broadcasts to it");
}

std::optional<double> GradOutput::number() const {
  if (operand_.ndim() != 0) return std::nullopt;
  const double y = Lookup<double>(operand_, DType::float64)(0);
  return y == 0 ? std::nullopt : std::optional<double>(y);
}

const Operand& GradOutput::as(DType dtype) {
  if (dtype == DType::float64 || operand_.weak() || operand_.dtype() == dtype) return operand_;
  const auto numpy = py::module_::import("numpy");
  const py::object quiet = numpy.attr("errstate")(py::arg("all") = "ignore");
  quiet.attr("__enter__")();
  owner_ = operand_.array().attr("astype")("float32");
  quiet.attr("__exit__")(py::none(), py::none(), py::none());
  return converted_.emplace("grad_output", owner_);
}

namespace {

DType own_dtype(const Operand& argument) { return argument.weak() ? DType::float64 : argument.dtype(); }

/// Adds up the elements that one of the result was broadcast to, and converts the sum.
template <class T, class U>
void add_up(const Kernels<T>& kernels, const Kernels<U>& of_result, const Operand& full, const Shape& shape,
            const Shape& own, Output& target) {
  Dims inner, outer;
  const int offset = shape.ndim - own.ndim;
  for (int d = 0; d < shape.ndim; ++d) {
    std::ptrdiff_t strides[Dims::operands] = {full.stride(d)};
    const bool kept = d >= offset && own.length[d - offset] == shape.length[d];
    if (kept) strides[Dims::output] = target.stride(d - offset);
    (kept ? outer : inner).append(static_cast<std::size_t>(shape.length[d]), strides);
  }
  outer.closest_last(inner);
  Operands operands = {&full};
  RowJob<T> job(kernels, operands, full.dtype(), inner, outer);
  job.prepare(true);
  run_without_gil(job.elements(), [&] {
    job.for_all_tiles([&](const Tile& tile) {
      RowStates states;
      job.evaluate(kernels.total, tile, Setting{}, states);
      store_results<U>(of_result.round, target.data(), tile, states, {1, 0}, Setting{}, 0);
    });
  });
}

}  // namespace

GradientOutput::GradientOutput(py::handle out, const Operand& argument, const Shape& shape, DType dtype)
    : argument_(argument),
      shape_(shape),
      own_dtype_(own_dtype(argument)),
      dtype_(dtype),
      target_(out, shape_of(argument), own_dtype_, &argument) {
  if (own_dtype_ != dtype || !has_shape(argument, shape)) full_.emplace(py::none(), shape, dtype);
}

py::object GradientOutput::result() {
  if (full_) {
    const Operand full("gradient", full_->result(), false);
    const Shape own = shape_of(argument_);
    with_kernels(dtype_, [&](const auto& kernels, auto) {
      with_kernels(own_dtype_,
                   [&](const auto& of_result, auto) { add_up(kernels, of_result, full, shape_, own, target_); });
    });
  }
  return target_.result();
}

py::object map_gradient(const Member<MapMeasure>& member, const char* name, py::handle p, py::handle base,
                        const GradientRequest& request, py::handle out) {
  const Operand argument(name, p);
  Operands alone = {&argument};
  const DType dtype = result_dtype(alone);
  const Shape shape = shape_of(argument);
  const Partial scale = parse_base(base);
  GradOutput grad_output(request.grad_output, shape);
  const auto number = grad_output.number();
  const Operand one("grad_output");
  Operands operands = {number ? &one : &grad_output.as(dtype), &argument};

  const GradientOut outs(out, request.value, 1);
  std::optional<Output> value;
  if (request.value) {
    value.emplace(outs.value, shape, dtype, &argument);
    value->separate_from(operands, shape, false);
  }
  GradientOutput gradient(outs.gradient[0], argument, shape, dtype);
  gradient.separate_from(operands, shape, true);

  const Target& target = active_target();
  const auto& float32 = target.float32.*member.float32;
  const auto& float64 = target.float64.*member.float64;
  MapPlans plans;
  if (request.value) plans.add({{float32.value, float64.value}, {1}, scale, &*value});
  plans.add({{float32.gradient, float64.gradient},
             in_order,
             number ? product(scale, {*number, 0}) : scale,
             &gradient.full()});
  map_elements(plans, operands, shape, dtype, Setting{});
  return gradient_result(value ? value->result() : py::object(), gradient.result(), {});
}

namespace {

/// Gradients of all rows of some arrays, and their values.
template <class T>
class RowGradientJob {
 public:
  RowGradientJob(const Kernels<T>& kernels, const RowMeasure<T>& measure, Operands& operands, DType dtype,
                 const Dims& inner, const Dims& outer, const Operand& grad_output, Partial scale, char* value,
                 const std::array<char*, 2>& gradients)
      : kernels_(kernels),
        measure_(measure),
        job_(kernels, operands, dtype, inner, outer),
        factors_(grad_output, scale),
        scale_(scale),
        value_(value) {
    for (int k = 0; k < 2; ++k) {
      char* const out = gradients[static_cast<std::size_t>(k)];
      if (out != nullptr) outputs_[k].emplace(kernels, inner, Dims::gradient + k, out);
    }
    knowledge_ = measure.knowledge[outputs_[0] ? 0 : 1];
    // Kernels are looked up by address: the measure's own is a copy of the one that gradients name.
    value_knows_ = knowledge_ != nullptr && knowledge_->finish == measure.value.finish;
  }

  std::size_t elements() const { return job_.elements(); }

  void prepare() {
    job_.prepare(true);
    for (auto& output : outputs_) {
      if (output) output->prepare(job_.threads());
    }
  }

  void run() {
    job_.for_all_tiles([&](const Tile& tile) {
      RowStates known;
      RowFactors factors;
      if (value_ != nullptr) evaluate(measure_.value, tile, value_, known);
      if (knowledge_ != nullptr && !(value_ != nullptr && value_knows_)) evaluate(*knowledge_, tile, nullptr, known);
      factors_.of(tile, factors);
      job_.for_blocks(tile, &known, [&](const RowBatch<T>& in, std::size_t begin, int thread) {
        for (int k = 0; k < 2; ++k) {
          if (outputs_[k]) {
            outputs_[k]->write(measure_.gradient[k], tile, in, begin, thread, &factors, Setting{});
          }
        }
      });
    });
  }

 private:
  /// Stores results, if they are wanted, and what they let know.
  void evaluate(const RowKernel<T>& kernel, const Tile& tile, char* results, RowStates& known) {
    with_results<T>(
        tile, Setting{},
        [&](const Tile& rows, const Setting& setting, RowStates& states) {
          job_.evaluate(kernel, rows, setting, states);
        },
        [&](const Tile& rows, const RowStates& states, const Setting& setting, std::uint64_t skip) {
          note_states(known, rows.first - tile.first, states, rows.rows, setting, skip);
          if (results != nullptr) store_results<T>(kernels_.round, results, rows, states, scale_, setting, skip);
        });
  }

  const Kernels<T>& kernels_;
  const RowMeasure<T>& measure_;
  const RowKernel<T>* knowledge_;
  bool value_knows_;
  RowJob<T> job_;
  Factors factors_;
  Partial scale_;
  char* value_;
  std::optional<RowOutput<T>> outputs_[2];
};

}  // namespace

py::object row_gradient(const Member<RowMeasure>& member, Operands& operands, py::handle axis, py::handle base,
                        py::handle keepdims, const GradientRequest& request, py::handle out) {
  std::array<bool, 2> wanted = {true, false};
  if (operands[1] != nullptr) wanted = parse_wrt(request.wrt, operands[0]->name(), operands[1]->name());
  const bool both = wanted[0] && wanted[1];
  const DType dtype = result_dtype(operands);
  const Shape shape = broadcast_shapes(operands);
  const ReducedAxes reduction(shape, axis, keepdims);
  const Partial scale = parse_base(base);
  const GradOutput grad_output(request.grad_output, reduction.result);
  Operands factors = {&grad_output.operand()};

  const GradientOut outs(out, request.value, both ? 2 : 1);
  std::optional<Output> value;
  if (request.value) {
    value.emplace(outs.value, reduction.result, dtype);
    value->separate_from(operands, shape, false);
    value->separate_from(factors, reduction.result, false);
  }
  std::optional<GradientOutput> gradients[2];
  std::array<char*, 2> data{};
  int next = 0;
  for (std::size_t k = 0; k < 2; ++k) {
    if (!wanted[k]) continue;
    GradientOutput& gradient = gradients[k].emplace(outs.gradient[next++], *operands[k], shape, dtype);
    gradient.separate_from(operands, shape, !both);
    gradient.separate_from(factors, reduction.result, false);
    data[k] = gradient.full().data();
  }

  Dims inner, outer;
  for (int d = 0; d < shape.ndim; ++d) {
    std::ptrdiff_t strides[Dims::operands] = {};
    put_strides(strides, operands, shape, d);
    for (int k = 0; k < 2; ++k) {
      if (gradients[k]) strides[Dims::gradient + k] = gradients[k]->full().stride(d);
    }
    if (!reduction.reduced(d)) {
      const int to = reduction.result_dim(d);
      if (value) strides[Dims::output] = value->stride(to);
      strides[Dims::grad_output] = broadcast_stride(grad_output.operand(), reduction.result, to);
    }
    (reduction.reduced(d) ? inner : outer).append(static_cast<std::size_t>(shape.length[d]), strides);
  }
  outer.closest_last(inner);
  with_kernels(dtype, [&](const auto& kernels, auto zero) {
    execute(RowGradientJob<decltype(zero)>(kernels, select(kernels, member), operands, dtype, inner, outer,
                                           grad_output.operand(), scale, value ? value->data() : nullptr, data));
  });
  return gradient_result(value ? value->result() : py::object(), gradients[0] ? gradients[0]->result() : py::object(),
                         gradients[1] ? gradients[1]->result() : py::object());
}

}  // namespace kullback
