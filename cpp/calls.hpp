/// What the functions of _core have in common: from a line of kernels.def to the kernel of a call's target and dtype.
#pragma once

#include <pybind11/pybind11.h>

#include <array>

#include "arrays.hpp"
#include "dispatch.hpp"
#include "map_jobs.hpp"
#include "parallel.hpp"
#include "row_jobs.hpp"
#include "row_map_jobs.hpp"

namespace kullback {

/// A call of this size is worth 40 ns to let other Python threads run meanwhile.
constexpr std::size_t release_gil_from = std::size_t{1} << 15;

/// Calls f(), which works on that many elements.
template <class F>
void run_without_gil(std::size_t elements, F&& f) {
  if (elements >= release_gil_from) {
    const py::gil_scoped_release release;
    f();
  } else {
    f();
  }
}

template <class Job>
void execute(Job&& job) {
  job.prepare();
  run_without_gil(job.elements(), [&] { job.run(); });
}

/// The member of both Kernels structs that one line of kernels.def made.
template <template <class> class Kernel>
struct Member {
  Kernel<float> Kernels<float>::* float32;
  Kernel<double> Kernels<double>::* float64;
};

/// Calls f with the active target's kernels for that dtype and a zero of their type.
template <class F>
void with_kernels(DType dtype, F&& f) {
  const Target& target = active_target();
  if (dtype == DType::float32) {
    f(target.float32, float{});
  } else {
    f(target.float64, double{});
  }
}

template <template <class> class Kernel>
const Kernel<float>& select(const Kernels<float>& kernels, const Member<Kernel>& member) {
  return kernels.*member.float32;
}
template <template <class> class Kernel>
const Kernel<double>& select(const Kernels<double>& kernels, const Member<Kernel>& member) {
  return kernels.*member.float64;
}

/// One kernel in both types.
struct MapKernels {
  MapKernel<float> float32;
  MapKernel<double> float64;
};

/// Which of the arrays are a kernel's inputs, where it takes the first of them in order.
constexpr std::array<int, max_inputs> in_order = {0, 1, 2, 3, 4};

/// What one elementwise kernel makes of some arrays.
struct MapPlan {
  MapKernels kernels;
  std::array<int, max_inputs> inputs;
  Partial scale;
  Output* output;
};

/// A few of them: a value, its gradients.
struct MapPlans {
  MapPlan plan[3];
  int count = 0;

  void add(const MapPlan& next) { plan[count++] = next; }
};

/// The operand whose memory order new results of that shape take, as NumPy's do; null if there is none.
const Operand* model_of(Operands& operands, const Shape& shape);

void map_elements(const MapPlans& plans, Operands& operands, const Shape& shape, DType dtype, const Setting& setting);

/// The same of one kernel and a new result.
py::object map_elements(const MapKernels& kernels, Operands& operands, const Shape& shape, DType dtype, Partial scale,
                        const Setting& setting, py::handle out);

/// What a call of a gradient asks for besides the value's arguments.
struct GradientRequest {
  bool value;
  py::handle wrt;  ///< null where there is no choice
  py::handle grad_output;
  bool hessian;
};

/// def name(labels, predictions, weight, pos_weight, label_smoothing, base, reduction, out)
/// def name_gradient(labels, predictions, weight, pos_weight, label_smoothing, base, reduction, wrt, grad_output,
/// value, hessian, out)
struct BinaryArguments {
  py::handle labels, predictions, weight, pos_weight, label_smoothing, base, reduction, out;
};
py::object binary_loss(const Member<BinaryKernel>& member, const char* predictions_name,
                       const BinaryArguments& arguments);
py::object binary_gradient(const Member<BinaryKernel>& member, const char* predictions_name,
                           const BinaryArguments& arguments, const GradientRequest& request);

/// def name(labels, predictions, axis, weight, sample_weight, ignore_index, label_smoothing, base, reduction, out)
/// def name_gradient(labels, predictions, axis, weight, sample_weight, ignore_index, label_smoothing, base, reduction,
/// wrt, grad_output, value, hessian, out)
struct CategoricalArguments {
  py::handle labels, predictions, axis, weight, sample_weight, ignore_index, label_smoothing, base, reduction, out;
};
/// `request` is null where only the value is asked for.
py::object categorical_loss(const Member<CategoricalKernel>& member, const char* predictions_name,
                            const CategoricalArguments& arguments, const GradientRequest* request = nullptr);

/// def name_gradient(p, base, grad_output, value, out)
py::object map_gradient(const Member<MapMeasure>& member, const char* name, py::handle p, py::handle base,
                        const GradientRequest& request, py::handle out);

/// def name_gradient(p[, q], axis, base, keepdims[, wrt], grad_output, value, out)
py::object row_gradient(const Member<RowMeasure>& member, Operands& operands, py::handle axis, py::handle base,
                        py::handle keepdims, const GradientRequest& request, py::handle out);

/// def name(logits, tokens, axis, base, out)
py::object token_logprobs(const Member<TokenKernel>& member, py::handle logits, py::handle tokens, py::handle axis,
                          py::handle base, py::handle out);

}  // namespace kullback
