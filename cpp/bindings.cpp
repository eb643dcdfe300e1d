/// The extension module _core: one function per line of kernels.def, and the run-time settings.
///
/// Arguments come positionally from the Python wrappers and are taken as plain handles.

#include <pybind11/pybind11.h>

#include <cmath>
#include <string>

#include "calls.hpp"
#include "functions.hpp"

namespace kullback {
namespace {

/// The finished state of a row that is no longer than a block.
template <class T>
void evaluate_row(const RowKernel<T>& kernel, RowBatch<T> batch, const Setting& setting, RowStates& states) {
  RowStates normalizers;
  if (kernel.normalizer != nullptr) {
    const auto normalize = [&](std::size_t, const Setting& how_far, RowStates& row) {
      kernel.normalizer->rows(batch, how_far, row);
      kernel.normalizer->finish(row, 1, how_far);
    };
    bool known = false;
    if (kernel.shortcut != nullptr && setting.one == 1) {
      kernel.shortcut->rows(batch, setting, normalizers);
      kernel.shortcut->finish(normalizers, 1, setting);
      if (!std::isnan(normalizers.hi[0][0])) return copy_row(normalizers, 0, states, 0);
      known = !std::isnan(normalizers.hi[RowStates::log_sum][0]);
    }
    if (!known) normalize(0, Setting{}, normalizers);
    refine_normalizers<T>(normalizers, 1, normalize);
    batch.normalizers = &normalizers;
  }
  kernel.rows(batch, setting, states);
  kernel.finish(states, 1, setting);
}

/// One contiguous row of a plain array, the commonest small call, without the machinery below.
template <class... Arrays>
py::object plain_row(const Member<RowMeasure>& member, py::handle base, Arrays... arrays) {
  const py::handle inputs[] = {arrays...};
  const auto dtype = plain_float_array(inputs[0]);
  const auto* first = py::detail::array_proxy(inputs[0].ptr());
  if (!dtype || first->nd != 1 || first->dimensions[0] > static_cast<py::ssize_t>(block_size)) return {};
  for (const py::handle input : inputs) {
    const auto* a = py::detail::array_proxy(input.ptr());
    if (plain_float_array(input) != dtype || a->nd != 1 || a->dimensions[0] != first->dimensions[0]) return {};
  }
  const Partial scale = parse_base(base);
  double result = 0;
  with_kernels(*dtype, [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    const RowKernel<T>& kernel = select(kernels, member).value;
    RowBatch<T> batch{};
    for (std::size_t i = 0; i < sizeof...(arrays); ++i) {
      batch.in[i] = reinterpret_cast<const T*>(py::detail::array_proxy(inputs[i].ptr())->data);
      batch.row_stride[i] = 0;
    }
    batch.rows = 1;
    batch.n = static_cast<std::size_t>(first->dimensions[0]);
    Setting setting;
    RowStates states;
    evaluate_row(kernel, batch, setting, states);
    T* const to = reinterpret_cast<T*>(&result);
    kernels.round(states, 1, scale, setting, to);
    if (drowned<T>(states.hi[0][0])) {
      setting.one = setting.mass_unit = magnification;
      evaluate_row(kernel, batch, setting, states);
      if (std::isfinite(states.hi[0][0])) kernels.round(states, 1, scale, setting, to);
    }
  });
  return to_scalar(&result, *dtype);
}

/// A reduction of all rows of some arrays.
template <class T>
class ReductionJob {
 public:
  ReductionJob(const Kernels<T>& kernels, const RowKernel<T>& kernel, Operands& operands, DType dtype,
               const Dims& inner, const Dims& outer, char* out, Partial scale)
      : kernels_(kernels), kernel_(kernel), job_(kernels, operands, dtype, inner, outer), out_(out), scale_(scale) {}

  std::size_t elements() const { return job_.elements(); }
  void prepare() { job_.prepare(kernel_.columns == nullptr); }

  void run() {
    const auto evaluate = [&](const Tile& tile, const Setting& setting, RowStates& states) {
      job_.evaluate(kernel_, tile, setting, states);
    };
    const auto store = [&](const Tile& tile, const RowStates& states, const Setting& setting, std::uint64_t skip) {
      store_results<T>(kernels_.round, out_, tile, states, scale_, setting, skip);
    };
    job_.for_all_tiles([&](const Tile& tile) {
      prefetch_after(out_ + tile.at[Dims::output], tile.step[Dims::output], tile.rows, sizeof(T));
      with_results<T>(tile, Setting{}, evaluate, store);
    });
  }

 private:
  const Kernels<T>& kernels_;
  const RowKernel<T>& kernel_;
  RowJob<T> job_;
  char* out_;
  Partial scale_;
};

bool is_last_axis(py::handle axis) {
  int overflow = 0;
  return PyLong_CheckExact(axis.ptr()) && PyLong_AsLongAndOverflow(axis.ptr(), &overflow) == -1 && overflow == 0;
}

py::object reduce_rows(const Member<RowMeasure>& member, Operands& operands, py::handle axis, py::handle base,
                       py::handle keepdims, py::handle out) {
  const DType dtype = result_dtype(operands);
  const Shape shape = broadcast_shapes(operands);
  const ReducedAxes reduction(shape, axis, keepdims);
  const Partial scale = parse_base(base);
  Output output(out, reduction.result, dtype);
  output.separate_from(operands, shape, false);
  Dims inner, outer;
  for (int d = 0; d < shape.ndim; ++d) {
    std::ptrdiff_t strides[Dims::operands] = {};
    put_strides(strides, operands, shape, d);
    if (!reduction.reduced(d)) strides[Dims::output] = output.stride(reduction.result_dim(d));
    (reduction.reduced(d) ? inner : outer).append(static_cast<std::size_t>(shape.length[d]), strides);
  }
  outer.closest_last(inner);
  with_kernels(dtype, [&](const auto& kernels, auto zero) {
    execute(ReductionJob<decltype(zero)>(kernels, select(kernels, member).value, operands, dtype, inner, outer,
                                         output.data(), scale));
  });
  return output.result();
}

std::string gradient_name(const char* name) { return std::string(name) + "_gradient"; }

/// def name(inputs..., axis, base, keepdims, out), and its gradient
void define_rows(py::module_& m, const char* name, Member<RowMeasure> member, const char* input) {
  const std::string names = input;
  define(m, name, names + " axis base keepdims out",
         [=](py::handle p, py::handle axis, py::handle base, py::handle keepdims, py::handle out) {
           const FloatingPointMode mode;
           if (out.is_none() && keepdims.ptr() == Py_False && is_last_axis(axis)) {
             if (auto result = plain_row(member, base, p)) return result;
           }
           const Operand operand(input, p);
           return reduce_rows(member, {&operand}, axis, base, keepdims, out);
         });
  define(m, gradient_name(name), names + " axis base keepdims grad_output value out",
         [=](py::handle p, py::handle axis, py::handle base, py::handle keepdims, py::handle grad_output, bool value,
             py::handle out) {
           const FloatingPointMode mode;
           const Operand operand(input, p);
           return row_gradient(member, {&operand}, axis, base, keepdims, {value, {}, grad_output, false}, out);
         });
}

void define_rows(py::module_& m, const char* name, Member<RowMeasure> member, const char* first_input,
                 const char* second_input) {
  const std::string names = std::string(first_input) + ' ' + second_input;
  define(m, name, names + " axis base keepdims out",
         [=](py::handle p, py::handle q, py::handle axis, py::handle base, py::handle keepdims, py::handle out) {
           const FloatingPointMode mode;
           if (out.is_none() && keepdims.ptr() == Py_False && is_last_axis(axis)) {
             if (auto result = plain_row(member, base, p, q)) return result;
           }
           const Operand first(first_input, p), second(second_input, q);
           return reduce_rows(member, {&first, &second}, axis, base, keepdims, out);
         });
  define(m, gradient_name(name), names + " axis base keepdims wrt grad_output value out",
         [=](py::handle p, py::handle q, py::handle axis, py::handle base, py::handle keepdims, py::handle wrt,
             py::handle grad_output, bool value, py::handle out) {
           const FloatingPointMode mode;
           const Operand first(first_input, p), second(second_input, q);
           return row_gradient(member, {&first, &second}, axis, base, keepdims, {value, wrt, grad_output, false}, out);
         });
}

/// def name(z, axis, out)
void define_row_map(py::module_& m, const char* name, Member<RowMapKernel> member) {
  define(m, name, "z axis out", [member](py::handle z, py::handle axis, py::handle out) {
    const FloatingPointMode mode;
    const Operand operand("z", z);
    Operands operands = {&operand};
    const DType dtype = result_dtype(operands);
    const Shape shape = shape_of(operand);
    const auto reduced = parse_axis(axis, shape.ndim);
    Output output(out, shape, dtype, &operand);
    output.separate_from(operands, shape, true);
    Dims inner, outer;
    for (int d = 0; d < shape.ndim; ++d) {
      std::ptrdiff_t strides[Dims::operands] = {operand.stride(d)};
      strides[Dims::output] = output.stride(d);
      (reduced[static_cast<std::size_t>(d)] ? inner : outer).append(static_cast<std::size_t>(shape.length[d]), strides);
    }
    outer.closest_last(inner);
    with_kernels(dtype, [&](const auto& kernels, auto zero) {
      execute(
          RowMapJob<decltype(zero)>(kernels, select(kernels, member), operands, dtype, inner, outer, output.data()));
    });
    return output.result();
  });
}

/// def name(p, base, out), and its gradient
void define_map(py::module_& m, const char* name, Member<MapMeasure> member, const char* input) {
  const std::string names = input;
  define(m, name, names + " base out", [=](py::handle p, py::handle base, py::handle out) {
    const FloatingPointMode mode;
    const Operand operand(input, p);
    const Target& target = active_target();
    return map_elements({(target.float32.*member.float32).value, (target.float64.*member.float64).value}, {&operand},
                        shape_of(operand), result_dtype({&operand}), parse_base(base), Setting{}, out);
  });
  if ((active_target().float32.*member.float32).gradient == nullptr) return;
  define(m, gradient_name(name), names + " base grad_output value out",
         [=](py::handle p, py::handle base, py::handle grad_output, bool value, py::handle out) {
           const FloatingPointMode mode;
           return map_gradient(member, input, p, base, {value, {}, grad_output, false}, out);
         });
}

/// def name(x), for the tests of simd/math.hpp
void define_pack(py::module_& m, const char* name, Member<MapKernel> member) {
  define(m, name, "x", [member](py::handle x) {
    const FloatingPointMode mode;
    const Operand operand("x", x);
    const Target& target = active_target();
    return map_elements({target.float32.*member.float32, target.float64.*member.float64}, {&operand}, shape_of(operand),
                        result_dtype({&operand}), {1, 0}, Setting{}, py::none());
  });
}

void define_binary(py::module_& m, const char* name, Member<BinaryKernel> member, const char* input) {
  const std::string names = std::string("labels ") + input + " weight pos_weight label_smoothing base reduction";
  define(m, name, names + " out",
         [=](py::handle labels, py::handle predictions, py::handle weight, py::handle pos_weight,
             py::handle label_smoothing, py::handle base, py::handle reduction, py::handle out) {
           const FloatingPointMode mode;
           return binary_loss(member, input,
                              {labels, predictions, weight, pos_weight, label_smoothing, base, reduction, out});
         });
  define(m, gradient_name(name), names + " wrt grad_output value hessian out",
         [=](py::handle labels, py::handle predictions, py::handle weight, py::handle pos_weight,
             py::handle label_smoothing, py::handle base, py::handle reduction, py::handle wrt, py::handle grad_output,
             bool value, bool hessian, py::handle out) {
           const FloatingPointMode mode;
           return binary_gradient(member, input,
                                  {labels, predictions, weight, pos_weight, label_smoothing, base, reduction, out},
                                  {value, wrt, grad_output, hessian});
         });
}

void define_categorical(py::module_& m, const char* name, Member<CategoricalKernel> member, const char* input) {
  const std::string names =
      std::string("labels ") + input + " axis weight sample_weight ignore_index label_smoothing base reduction";
  define(
      m, name, names + " out",
      [=](py::handle labels, py::handle predictions, py::handle axis, py::handle weight, py::handle sample_weight,
          py::handle ignore_index, py::handle label_smoothing, py::handle base, py::handle reduction, py::handle out) {
        const FloatingPointMode mode;
        return categorical_loss(
            member, input,
            {labels, predictions, axis, weight, sample_weight, ignore_index, label_smoothing, base, reduction, out});
      });
  define(m, gradient_name(name), names + " wrt grad_output value hessian out",
         [=](py::handle labels, py::handle predictions, py::handle axis, py::handle weight, py::handle sample_weight,
             py::handle ignore_index, py::handle label_smoothing, py::handle base, py::handle reduction, py::handle wrt,
             py::handle grad_output, bool value, bool hessian, py::handle out) {
           const FloatingPointMode mode;
           const GradientRequest request{value, wrt, grad_output, hessian};
           return categorical_loss(
               member, input,
               {labels, predictions, axis, weight, sample_weight, ignore_index, label_smoothing, base, reduction, out},
               &request);
         });
}

void define_tokens(py::module_& m, const char* name, Member<TokenKernel> member) {
  define(m, name, "logits tokens axis base out",
         [member](py::handle logits, py::handle tokens, py::handle axis, py::handle base, py::handle out) {
           const FloatingPointMode mode;
           return token_logprobs(member, logits, tokens, axis, base, out);
         });
}

template <class... Names>
constexpr std::size_t count_of(const Names&...) {
  return sizeof...(Names);
}

void define_kernels(py::module_& m) {
  py::list table;
  const auto add = [&table](const char* name, const std::string& kind) { table.append(py::make_tuple(name, kind)); };
#define KULLBACK_MEMBER(name) {&Kernels<float>::name, &Kernels<double>::name}
#define KULLBACK_ROW(name, operation, ...)                   \
  define_rows(m, #name, KULLBACK_MEMBER(name), __VA_ARGS__); \
  add(#name, "sum" + std::to_string(count_of(__VA_ARGS__)));
#define KULLBACK_MAP(name, operation, input)          \
  define_map(m, #name, KULLBACK_MEMBER(name), input); \
  add(#name, "map1");
#define KULLBACK_ROW_MAP(name, operation)          \
  define_row_map(m, #name, KULLBACK_MEMBER(name)); \
  add(#name, "rowmap");
#define KULLBACK_BINARY(name, operation, input)          \
  define_binary(m, #name, KULLBACK_MEMBER(name), input); \
  add(#name, "binary");
#define KULLBACK_CATEGORICAL(name, operation, input)          \
  define_categorical(m, #name, KULLBACK_MEMBER(name), input); \
  add(#name, "categorical");
#define KULLBACK_TOKENS(name, operation)          \
  define_tokens(m, #name, KULLBACK_MEMBER(name)); \
  add(#name, "tokens");
#define KULLBACK_PACK(name)                     \
  define_pack(m, #name, KULLBACK_MEMBER(name)); \
  add(#name, "pack");
#include "kernels.def"
#undef KULLBACK_MEMBER
  m.def("kernels", [table] { return table.attr("copy")(); });
}

void define_runtime(py::module_& m) {
  m.def("info", [] {
    py::list targets;
    for (const Target* target : runnable_targets()) targets.append(target->name);
    py::dict info;
    info["version"] = KULLBACK_VERSION;
    info["targets"] = targets;
    info["target"] = active_target().name;
    info["threads"] = available_threads();
    info["openmp"] = openmp_runtime();
    info["compiler"] = KULLBACK_COMPILER;
    return info;
  });
  m.def("swap_target", [](const py::object& name) {
    const Target* former = set_target(name.is_none() ? nullptr : find_target(py::cast<std::string>(name)));
    return former == nullptr ? py::object(py::none()) : py::object(py::str(former->name));
  });
  m.def("swap_threads", set_thread_limit);
}

}  // namespace
}  // namespace kullback

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  using namespace kullback;
  try {
    initialize_targets();
    initialize_threads();
    initialize_arrays();
  } catch (const std::invalid_argument& error) {
    throw py::import_error(error.what());
  }
  define_bind(m);
  define_kernels(m);
  define_runtime(m);
}
