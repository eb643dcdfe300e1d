/// The calls of binary losses.

#include <algorithm>
#include <array>

#include "losses.hpp"

namespace kullback {
namespace {

/// A call of a binary loss. Inputs: labels and predictions, after weight and pos_weight where it is weighted.
struct BinaryCall {
  Operand y, q;
  std::optional<Operand> w, pos;
  Operand ones;
  Setting setting;
  Partial scale;
  Reduction reduction;
  bool weighted;
  Operands operands;
  DType dtype;
  Shape shape;

  BinaryCall(const char* predictions_name, const BinaryArguments& arguments)
      : y("labels", arguments.labels),
        q(predictions_name, arguments.predictions),
        w(optional_operand("weight", arguments.weight, true)),
        pos(optional_operand("pos_weight", arguments.pos_weight, true)),
        ones("weight"),
        setting(setting_of(parse_smoothing(arguments.label_smoothing), 2)),
        scale(parse_base(arguments.base)),
        reduction(parse_reduction(arguments.reduction)),
        weighted(w || pos || setting.spread.hi != 0),
        operands(inputs(weighted)),
        dtype(result_dtype(operands)),
        shape(broadcast_shapes(operands)) {}

  std::array<const Operand*, max_inputs> inputs(bool with_weights) const {
    if (!with_weights) return {&y, &q};
    return {w ? &*w : &ones, pos ? &*pos : &ones, &y, &q};
  }

  Shape result_shape() const { return reduction == Reduction::none ? shape : Shape(); }
};

/// What a mean of the losses divides by.
Partial weight_of(const BinaryCall& call) {
  Partial weight{1, 0};
  for (int d = 0; d < call.shape.ndim; ++d) weight.hi *= static_cast<double>(call.shape.length[d]);
  if (!call.w) return weight;
  with_kernels(call.dtype, [&](const auto& kernels, auto zero) {
    weight = total_of<decltype(zero)>(kernels, *call.w, call.dtype, call.shape);
  });
  return weight;
}

/// The sum or mean of the losses.
void reduce_binary(const Member<BinaryKernel>& member, const BinaryCall& call, Output& output, bool warned) {
  Dims inner;
  const Dims outer;
  for (int d = 0; d < call.shape.ndim; ++d) {
    std::ptrdiff_t strides[Dims::operands] = {};
    put_strides(strides, call.operands, call.shape, d);
    inner.append(static_cast<std::size_t>(call.shape.length[d]), strides);
  }
  with_kernels(call.dtype, [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    const BinaryKernel<T>& kernel = select(kernels, member);
    RowJob<T> job(kernels, call.operands, call.dtype, inner, outer);
    job.prepare();
    Totals totals;
    run_without_gil(job.elements(), [&] {
      job.for_all_tiles([&](const Tile& tile) {
        with_results<T>(
            tile, call.setting,
            [&](const Tile& rows, const Setting& how_far, RowStates& states) {
              job.evaluate(call.weighted ? kernel.weighted_sum : kernel.sum, rows, how_far, states);
            },
            [&](const Tile&, const RowStates& states, const Setting& how_far, std::uint64_t skip) {
              if (skip != 0) return;
              (how_far.one == 1 ? totals.value : totals.magnified) = {states.hi[0][0], states.lo[0][0]};
            });
      });
    });
    if (call.reduction == Reduction::mean) totals.weight = weight_of(call);
    store_total<T>(kernels, totals, call.reduction, call.scale, output.data(), warned);
  });
}

/// The losses themselves.
MapKernels map_kernels(const Member<BinaryKernel>& member, bool weighted) {
  const Target& target = active_target();
  const auto& float32 = target.float32.*member.float32;
  const auto& float64 = target.float64.*member.float64;
  if (weighted) return {float32.weighted_map.value, float64.weighted_map.value};
  return {float32.map.value, float64.map.value};
}

}  // namespace

py::object binary_loss(const Member<BinaryKernel>& member, const char* predictions_name,
                       const BinaryArguments& arguments) {
  const BinaryCall call(predictions_name, arguments);
  if (call.reduction == Reduction::none) {
    return map_elements(map_kernels(member, call.weighted), call.operands, call.shape, call.dtype, call.scale,
                        call.setting, arguments.out);
  }
  Output output(arguments.out, Shape(), call.dtype);
  output.separate_from(call.operands, call.shape, false);
  reduce_binary(member, call, output, false);
  return output.result();
}

py::object binary_gradient(const Member<BinaryKernel>& member, const char* predictions_name,
                           const BinaryArguments& arguments, const GradientRequest& request) {
  const BinaryCall call(predictions_name, arguments);
  const auto wanted = parse_wrt(request.wrt, "labels", predictions_name);
  require_hessian_alone(request, wanted[0], predictions_name);
  const bool pair = request.hessian || (wanted[0] && wanted[1]);
  const Target& target = active_target();
  const auto& float32 = target.float32.*member.float32;
  const auto& float64 = target.float64.*member.float64;

  GradOutput grad_output(request.grad_output, call.result_shape());
  const auto number = grad_output.number();
  // All derivatives but the prediction's first one are there with weights only.
  const bool weighted = call.weighted || pair || wanted[0];
  const Operand* const g = number ? &call.ones : &grad_output.as(call.dtype);
  const auto inputs = call.inputs(weighted);
  std::array<const Operand*, max_inputs> all = {g};
  std::copy_n(inputs.begin(), max_inputs - 1, all.begin() + 1);
  Operands operands = all;

  const GradientOut outs(arguments.out, request.value, pair ? 2 : 1);
  std::optional<Output> value;
  const Operand* const model = model_of(call.operands, call.shape);
  const bool reduced = call.reduction != Reduction::none;
  if (request.value) {
    value.emplace(outs.value, call.result_shape(), call.dtype, reduced ? nullptr : model);
    value->separate_from(operands, call.shape, false);
  }
  std::optional<GradientOutput> gradients[2];
  const Operand* const arguments_of[] = {wanted[0] ? &call.y : &call.q, &call.q};
  for (int k = 0; k < (pair ? 2 : 1); ++k) {
    gradients[k].emplace(outs.gradient[k], *arguments_of[k], call.shape, call.dtype);
    gradients[k]->separate_from(operands, call.shape, !pair);
  }

  Partial scale = call.scale;
  if (number) scale = product(scale, {*number, 0});
  const bool mean = call.reduction == Reduction::mean;
  if (mean) scale = quotient(scale, divisor_of(weight_of(call)));
  if (request.value && reduced) reduce_binary(member, call, *value, mean);
  MapPlans plans;
  const int first = static_cast<int>(call.inputs(weighted)[2] == nullptr ? 1 : 3);
  if (request.value && !reduced) {
    plans.add({map_kernels(member, call.weighted),
               call.weighted ? std::array<int, max_inputs>{1, 2, 3, 4} : std::array<int, max_inputs>{first, first + 1},
               call.scale, &*value});
  }
  for (int k = 0; k < (pair ? 2 : 1); ++k) {
    MapPlan plan{{float32.map.gradient, float64.map.gradient}, {0, first, first + 1}, scale, &gradients[k]->full()};
    if (call.weighted) plan.kernels = {float32.weighted_map.gradient, float64.weighted_map.gradient};
    if (wanted[0] && k == 0) plan.kernels = {float32.of_labels, float64.of_labels};
    if (request.hessian && k == 1) plan.kernels = {float32.hessian, float64.hessian};
    const bool of_plain = !call.weighted && !(wanted[0] && k == 0) && !(request.hessian && k == 1);
    if (!of_plain) plan.inputs = in_order;
    plans.add(plan);
  }
  map_elements(plans, operands, call.shape, call.dtype, call.setting);
  return gradient_result(value ? value->result() : py::object(), gradients[0]->result(),
                         gradients[1] ? gradients[1]->result() : py::object());
}

}  // namespace kullback
