/// Elementwise calls.

#include <numeric>

#include "calls.hpp"

namespace kullback {
namespace {

template <class T>
MapKernel<T> kernel_of(const MapKernels& kernels);
template <>
MapKernel<float> kernel_of(const MapKernels& kernels) {
  return kernels.float32;
}
template <>
MapKernel<double> kernel_of(const MapKernels& kernels) {
  return kernels.float64;
}

template <class T>
void run(const MapPlans& plans, Operands& operands, DType dtype, const Dims& dims, const Setting& setting) {
  MapSteps<T> steps;
  for (int i = 0; i < plans.count; ++i) {
    const MapPlan& plan = plans.plan[i];
    steps.add({kernel_of<T>(plan.kernels), plan.inputs, plan.scale, plan.output->data()});
  }
  const Dims none;
  execute(MapJob<T>(steps, operands, dtype, dims, none, setting));
}

}  // namespace

const Operand* model_of(Operands& operands, const Shape& shape) {
  const Operand* model = nullptr;
  for (const Operand* operand : operands) {
    if (operand != nullptr && has_shape(*operand, shape)) model = operand;
  }
  return model;
}

void map_elements(const MapPlans& plans, Operands& operands, const Shape& shape, DType dtype, const Setting& setting) {
  std::array<int, max_dims> order;
  if (const Operand* model = model_of(operands, shape)) {
    order = memory_order(*model);
  } else {
    std::iota(order.begin(), order.begin() + shape.ndim, 0);
  }
  Dims dims;
  for (int i = 0; i < shape.ndim; ++i) {
    const int d = order[static_cast<std::size_t>(i)];
    std::ptrdiff_t strides[Dims::operands] = {};
    put_strides(strides, operands, shape, d);
    for (int p = 0; p < plans.count; ++p) strides[Dims::output + p] = plans.plan[p].output->stride(d);
    dims.append(static_cast<std::size_t>(shape.length[d]), strides);
  }
  if (dtype == DType::float32) {
    run<float>(plans, operands, dtype, dims, setting);
  } else {
    run<double>(plans, operands, dtype, dims, setting);
  }
}

py::object map_elements(const MapKernels& kernels, Operands& operands, const Shape& shape, DType dtype, Partial scale,
                        const Setting& setting, py::handle out) {
  Output output(out, shape, dtype, model_of(operands, shape));
  output.separate_from(operands, shape, true);
  MapPlans plans;
  plans.add({kernels, in_order, scale, &output});
  map_elements(plans, operands, shape, dtype, setting);
  return output.result();
}

}  // namespace kullback
