/// What the functions of _core have in common: from a line of kernels.def to the kernel of a call's target and dtype.
#pragma once

#include <pybind11/pybind11.h>

#include "arrays.hpp"
#include "dispatch.hpp"
#include "execute.hpp"
#include "parallel.hpp"

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

struct MapKernels {
  MapKernel<float> float32;
  MapKernel<double> float64;
};

/// An elementwise measure of one or more arrays.
py::object map_elements(const MapKernels& kernels, Operands& operands, Partial scale, const Setting& setting,
                        py::handle out);

/// def name(labels, predictions, weight, pos_weight, label_smoothing, base, reduction, out)
py::object binary_loss(const Member<BinaryKernel>& member, const char* predictions_name, py::handle labels,
                       py::handle predictions, py::handle weight, py::handle pos_weight, py::handle label_smoothing,
                       py::handle base, py::handle reduction, py::handle out);

/// def name(labels, predictions, axis, weight, sample_weight, ignore_index, label_smoothing, base, reduction, out)
py::object categorical_loss(const Member<CategoricalKernel>& member, const char* predictions_name, py::handle labels,
                            py::handle predictions, py::handle axis, py::handle weight, py::handle sample_weight,
                            py::handle ignore_index, py::handle label_smoothing, py::handle base, py::handle reduction,
                            py::handle out);

/// def name(logits, tokens, axis, base, out)
py::object token_logprobs(const Member<TokenKernel>& member, py::handle logits, py::handle tokens, py::handle axis,
                          py::handle base, py::handle out);

}  // namespace kullback
