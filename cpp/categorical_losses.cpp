/// The calls of categorical losses.

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "categorical_job.hpp"

namespace kullback {
namespace {

[[noreturn]] void throw_label_shape(const Operand& labels, const Operand& predictions, int axis) {
  const Shape shape = shape_of(predictions);
  throw py::value_error("labels has shape " + show(shape_of(labels)) + " and " + predictions.name() + " " +
                        show(shape) + "; expected labels of shape " + show(without(shape, axis)) +
                        " (class indices) or " + show(shape) + " (distributions)");
}

/// Whether labels are class indices. Throws where they are neither those nor distributions.
bool are_indices(const Operand& labels, const Operand& predictions, int axis) {
  if (labels.ndim() == predictions.ndim()) return false;
  const Shape rows = without(shape_of(predictions), axis);
  if (labels.ndim() != rows.ndim) throw_label_shape(labels, predictions, axis);
  if (!labels.integer()) {
    throw py::type_error("labels has dtype " + labels.dtype_name() + "; expected an integer dtype for class indices");
  }
  if (!has_shape(labels, rows)) throw_label_shape(labels, predictions, axis);
  return true;
}

/// The shape of labels that are distributions and predictions together.
Shape common_shape(const Operand& labels, const Operand& predictions, int axis) {
  Shape shape = shape_of(predictions);
  for (int d = 0; d < shape.ndim; ++d) {
    if (labels.length(d) == shape.length[d] || labels.length(d) == 1) continue;
    if (shape.length[d] != 1) throw_label_shape(labels, predictions, axis);
    shape.length[d] = labels.length(d);
  }
  return shape;
}

const Operand* address(const std::optional<Operand>& operand) { return operand ? &*operand : nullptr; }

/// The gradients that a call of a categorical loss asks for.
struct CategoricalGradients {
  int count = 0;
  Derivative derivative[2];
  bool of_labels;
  GradOutput grad_output;
  GradientOut out;
  std::optional<GradientOutput> output[2];

  CategoricalGradients(const GradientRequest& request, py::handle outs, const Operand& labels,
                       const Operand& predictions, bool indexed, const Shape& shape, const Shape& value, DType dtype)
      : of_labels(plan(request, predictions.name())),
        grad_output(request.grad_output, value),
        out(outs, request.value, count) {
    if (of_labels && indexed) {
      throw py::value_error(std::string("wrt: labels are class indices, which have no gradient; expected '") +
                            predictions.name() + "'");
    }
    for (int k = 0; k < count; ++k) {
      const Operand& argument = derivative[k] == Derivative::of_labels ? labels : predictions;
      output[k].emplace(out.gradient[k], argument, shape, dtype);
    }
  }

 private:
  /// Notes which derivatives those are; whether labels' are among them.
  bool plan(const GradientRequest& request, const char* predictions) {
    const auto wanted = parse_wrt(request.wrt, "labels", predictions);
    require_hessian_alone(request, wanted[0], predictions);
    if (wanted[0]) derivative[count++] = Derivative::of_labels;
    if (wanted[1]) derivative[count++] = Derivative::of_predictions;
    if (request.hessian) derivative[count++] = Derivative::hessian;
    return wanted[0];
  }
};

}  // namespace

py::object categorical_loss(const Member<CategoricalKernel>& member, const char* predictions_name,
                            const CategoricalArguments& arguments, const GradientRequest* request) {
  const Operand y("labels", arguments.labels, false), q(predictions_name, arguments.predictions, false);
  const int class_axis = parse_class_axis(arguments.axis, q.ndim());
  const bool indexed = are_indices(y, q, class_axis);
  const Shape shape = indexed ? shape_of(q) : common_shape(y, q, class_axis);
  const Shape row_shape = without(shape, class_axis);
  const auto classes = static_cast<std::size_t>(shape.length[class_axis]);
  const auto w = optional_operand("weight", arguments.weight, false);
  if (w && (w->ndim() != 1 || w->length(0) != shape.length[class_axis])) {
    throw py::value_error("weight has shape " + show(shape_of(*w)) + "; expected (" + std::to_string(classes) +
                          ",), one per class");
  }
  const auto sample = optional_operand("sample_weight", arguments.sample_weight, true);
  if (sample) require_fits(*sample, row_shape, ", one per row, or what broadcasts to it");
  std::optional<Labels> indices;
  if (indexed) {
    indices.emplace(y, classes);
    indices->ignore(arguments.ignore_index);
  } else if (!arguments.ignore_index.is_none()) {
    throw py::value_error("ignore_index: expected None, for labels are distributions; got " +
                          show(arguments.ignore_index));
  }
  const double smoothing = parse_smoothing(arguments.label_smoothing);
  Operands typed = {&q, indexed ? nullptr : &y, address(w), address(sample)};
  const DType dtype = result_dtype(typed);

  CategoricalCall call;
  call.predictions = &q;
  call.weight = address(w);
  call.sample_weight = address(sample);
  call.labels = indexed ? &*indices : nullptr;
  call.class_stride = q.stride(class_axis);
  call.smooth = smoothing != 0;
  call.scale = parse_base(arguments.base);
  call.reduction = parse_reduction(arguments.reduction);
  call.setting = setting_of(smoothing, classes);
  call.value = request == nullptr || request->value;
  const Shape value_shape = call.reduction == Reduction::none ? row_shape : Shape();

  // What the kernel reads: [[weight,] labels,] predictions; ones where nothing is given.
  const Operand ones("weight");
  const Operand* weights = w ? &*w : &ones;
  const bool weighted = call.smooth || (w && !indexed);
  const std::array<const Operand*, max_inputs> inputs =
      weighted  ? std::array<const Operand*, max_inputs>{weights, indexed ? &ones : &y, &q}
      : indexed ? std::array<const Operand*, max_inputs>{&q}
                : std::array<const Operand*, max_inputs>{&y, &q};
  call.predictions_input = weighted ? 2 : indexed ? 0 : 1;

  std::unique_ptr<CategoricalGradients> gradients;
  if (request != nullptr) {
    gradients =
        std::make_unique<CategoricalGradients>(*request, arguments.out, y, q, indexed, shape, value_shape, dtype);
    call.grad_output = &gradients->grad_output.operand();
  }
  std::optional<Output> output;
  if (call.value) output.emplace(gradients ? gradients->out.value : arguments.out, value_shape, dtype);
  Operands whole = {&q, indexed ? nullptr : &y}, of_classes = {address(w)},
           of_rows = {indexed ? &y : nullptr, address(sample)}, of_values = {call.grad_output};
  bool writes_to_callers = output && call.reduction == Reduction::none && output->is_callers();
  const auto separate = [&](auto& out, bool same_is_safe) {
    out.separate_from(whole, shape, same_is_safe);
    if (w) out.separate_from(of_classes, shape_of(*w), false);
    out.separate_from(of_rows, row_shape, false);
    if (gradients) out.separate_from(of_values, value_shape, false);
  };
  if (output) {
    separate(*output, false);
    writes_to_callers = call.reduction == Reduction::none && output->is_callers();
  }
  if (gradients) {
    for (int k = 0; k < gradients->count; ++k) {
      separate(*gradients->output[k], gradients->count == 1);
      writes_to_callers = writes_to_callers || gradients->output[k]->full().is_callers();
    }
  }
  // A caller's array has to stay as it is if a label is bad; anything else written is thrown away then.
  if (indexed && writes_to_callers) indices->check(y, "label");

  Dims inner, outer;
  for (int d = 0, row_d = 0; d < shape.ndim; ++d) {
    std::ptrdiff_t strides[Dims::operands] = {};
    for (std::size_t i = 0; i < inputs.size() && inputs[i] != nullptr; ++i) {
      const Operand& input = *inputs[i];
      if (&input == address(w)) {
        strides[i] = d == class_axis ? input.stride(0) : 0;
      } else {
        strides[i] = broadcast_stride(input, shape, d);
      }
    }
    for (int k = 0; gradients && k < gradients->count; ++k) {
      strides[Dims::gradient + k] = gradients->output[k]->full().stride(d);
    }
    const auto length = static_cast<std::size_t>(shape.length[d]);
    if (d == class_axis) {
      inner.append(length, strides);
      continue;
    }
    if (call.reduction == Reduction::none) {
      if (output) strides[Dims::output] = output->stride(row_d);
      if (gradients) strides[Dims::grad_output] = broadcast_stride(*call.grad_output, row_shape, row_d);
    }
    if (indexed) strides[Dims::labels] = y.stride(row_d);
    if (sample) strides[Dims::sample_weight] = broadcast_stride(*sample, row_shape, row_d);
    outer.append(length, strides);
    ++row_d;
  }
  if (call.reduction == Reduction::none) outer.closest_last(inner);
  with_kernels(dtype, [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    CategoricalJob<T> job(kernels, select(kernels, member), call, inputs, dtype, inner, outer,
                          output ? output->data() : nullptr);
    const bool mean = call.reduction == Reduction::mean;
    if (gradients) {
      for (int k = 0; k < gradients->count; ++k) {
        Output& full = gradients->output[k]->full();
        job.add({gradients->derivative[k], full.data(), full.stride(class_axis)});
      }
    }
    job.prepare();
    if (gradients) {
      Partial shift{0, 0};
      const Partial divisor = mean ? divisor_of(job.weight()) : Partial{1, 0};
      if (job.met_bad_label()) indices->check(y, "label");
      if (mean && w && !indexed && gradients->of_labels) shift = quotient(job.total(), divisor);
      job.scale_gradients(quotient(call.scale, divisor), shift);
    }
    run_without_gil(job.elements(), [&] { job.run(); });
    if (job.met_bad_label()) indices->check(y, "label");
    if (output && call.reduction != Reduction::none) {
      store_total<T>(kernels, job.totals(), call.reduction, call.scale, output->data(), gradients && mean);
    }
  });
  if (!gradients) return output->result();
  return gradient_result(output ? output->result() : py::object(), gradients->output[0]->result(),
                         gradients->count == 2 ? gradients->output[1]->result() : py::object());
}

}  // namespace kullback
