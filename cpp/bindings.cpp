/// The extension module _core: one function per line of kernels.def, and the run-time settings.
///
/// Arguments come positionally from the Python wrappers and are taken as plain handles: pybind11's own conversions and
/// keywords would cost more than a small reduction.

#include <pybind11/pybind11.h>

#include <string>
#include <tuple>

#include "arrays.hpp"
#include "dispatch.hpp"
#include "execute.hpp"
#include "parallel.hpp"

namespace kullback {
namespace {

/// A call of this size is worth 40 ns to let other Python threads run meanwhile.
constexpr std::size_t release_gil_from = std::size_t{1} << 15;

template <class Job>
void execute(Job&& job) {
  job.prepare();
  if (job.elements() >= release_gil_from) {
    const py::gil_scoped_release release;
    job.run();
  } else {
    job.run();
  }
}

/// The member of both Kernels structs that one line of kernels.def made.
template <template <class> class Kernel>
struct Member {
  Kernel<float> Kernels<float>::* float32;
  Kernel<double> Kernels<double>::* float64;
};

/// Calls f with the kernel of the active target for that dtype.
template <template <class> class Kernel, class F>
void with_kernel(const Member<Kernel>& member, DType dtype, F&& f) {
  const Target& target = active_target();
  if (dtype == DType::float32) {
    f(target.float32.*member.float32, float{});
  } else {
    f(target.float64.*member.float64, double{});
  }
}

/// One contiguous row of a plain array, the commonest small call, without the machinery below.
template <class... Arrays>
py::object plain_row(const Member<RowKernel>& member, py::handle base, Arrays... arrays) {
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
  with_kernel(member, *dtype, [&](const auto& kernel, auto zero) {
    using T = decltype(zero);
    RowBatch<T> batch{};
    for (std::size_t i = 0; i < sizeof...(arrays); ++i) {
      batch.in[i] = reinterpret_cast<const T*>(py::detail::array_proxy(inputs[i].ptr())->data);
    }
    batch.out = reinterpret_cast<T*>(&result);
    batch.rows = 1;
    batch.n = static_cast<std::size_t>(first->dimensions[0]);
    batch.scale = scale;
    kernel.rows(batch);
  });
  return to_scalar(&result, *dtype);
}

bool is_last_axis(py::handle axis) {
  int overflow = 0;
  return PyLong_CheckExact(axis.ptr()) && PyLong_AsLongAndOverflow(axis.ptr(), &overflow) == -1 && overflow == 0;
}

py::object reduce_rows(const Member<RowKernel>& member, Operands& operands, py::handle axis, py::handle base,
                       py::handle keepdims, py::handle out) {
  const DType dtype = result_dtype(operands);
  const Shape shape = broadcast_shapes(operands);
  const auto reduced = parse_axis(axis, shape.ndim);
  const int keep = PyObject_IsTrue(keepdims.ptr());
  if (keep < 0) throw py::error_already_set();
  const Partial scale = parse_base(base);

  Shape result_shape;
  for (int d = 0; d < shape.ndim; ++d) {
    const bool gone = reduced[static_cast<std::size_t>(d)];
    if (!gone || keep != 0) result_shape.length[result_shape.ndim++] = gone ? 1 : shape.length[d];
  }
  Output output(out, result_shape, dtype);
  output.separate_from(operands, shape, false);

  Dims inner, outer;
  int result_dim = 0;
  for (int d = 0; d < shape.ndim; ++d) {
    std::ptrdiff_t strides[max_inputs + 1] = {};
    for (int i = 0; i < max_inputs; ++i) {
      const Operand* operand = operands[static_cast<std::size_t>(i)];
      if (operand != nullptr) strides[i] = broadcast_stride(*operand, shape, d);
    }
    const auto length = static_cast<std::size_t>(shape.length[d]);
    if (reduced[static_cast<std::size_t>(d)]) {
      inner.append(length, strides);
      result_dim += keep;
    } else {
      strides[Dims::output] = output.stride(result_dim++);
      outer.append(length, strides);
    }
  }
  outer.closest_last(inner);
  with_kernel(member, dtype, [&](const auto& kernel, auto zero) {
    execute(RowJob<decltype(zero)>(kernel, operands, dtype, inner, outer, output.data(), scale));
  });
  return output.result();
}

template <class MapMember>
py::object map_elements(const MapMember& member, const char* name, py::handle object, py::handle base, py::handle out) {
  const Operand operand(name, object);
  Operands operands = {&operand, nullptr};
  const DType dtype = result_dtype(operands);
  const Shape shape = broadcast_shapes(operands);
  const Partial scale = parse_base(base);
  Output output(out, shape, dtype, &operand);
  output.separate_from(operands, shape, true);
  Dims dims;
  const Dims none;
  const auto order = memory_order(operand);
  for (int i = 0; i < shape.ndim; ++i) {
    const int d = order[static_cast<std::size_t>(i)];
    dims.append(static_cast<std::size_t>(shape.length[d]), {operand.stride(d), 0, output.stride(d)});
  }
  with_kernel(member, dtype, [&](const auto& kernel, auto zero) {
    execute(MapJob<decltype(zero)>(kernel, operands, dtype, dims, none, output.data(), scale));
  });
  return output.result();
}

/// def name(p, axis, base, keepdims, out), or with q after p.
void define_rows(py::module_& m, const char* name, Member<RowKernel> member, std::integral_constant<int, 1>) {
  m.def(name, [member](py::handle p, py::handle axis, py::handle base, py::handle keepdims, py::handle out) {
    const FloatingPointMode mode;
    if (out.is_none() && keepdims.ptr() == Py_False && is_last_axis(axis)) {
      if (auto result = plain_row(member, base, p)) return result;
    }
    const Operand operand("p", p);
    return reduce_rows(member, {&operand, nullptr}, axis, base, keepdims, out);
  });
}

void define_rows(py::module_& m, const char* name, Member<RowKernel> member, std::integral_constant<int, 2>) {
  m.def(name,
        [member](py::handle p, py::handle q, py::handle axis, py::handle base, py::handle keepdims, py::handle out) {
          const FloatingPointMode mode;
          if (out.is_none() && keepdims.ptr() == Py_False && is_last_axis(axis)) {
            if (auto result = plain_row(member, base, p, q)) return result;
          }
          const Operand first("p", p), second("q", q);
          return reduce_rows(member, {&first, &second}, axis, base, keepdims, out);
        });
}

/// def name(p, base, out)
void define_map(py::module_& m, const char* name, Member<MapKernel> member) {
  m.def(name, [member](py::handle p, py::handle base, py::handle out) {
    const FloatingPointMode mode;
    return map_elements(member, "p", p, base, out);
  });
}

/// def name(x), for the tests of simd/math.hpp
void define_pack(py::module_& m, const char* name, Member<MapKernel> member) {
  m.def(name, [member](py::handle x) {
    const FloatingPointMode mode;
    return map_elements(member, "x", x, py::none(), py::none());
  });
}

void define_kernels(py::module_& m) {
  py::list table;
#define KULLBACK_ROW(inputs, name, operation)                                                                    \
  define_rows(m, #name, {&Kernels<float>::name, &Kernels<double>::name}, std::integral_constant<int, inputs>{}); \
  table.append(py::make_tuple(#name, "sum" #inputs));
#define KULLBACK_MAP(inputs, name, operation)                            \
  define_map(m, #name, {&Kernels<float>::name, &Kernels<double>::name}); \
  table.append(py::make_tuple(#name, "map" #inputs));
#define KULLBACK_PACK(name)                                               \
  define_pack(m, #name, {&Kernels<float>::name, &Kernels<double>::name}); \
  table.append(py::make_tuple(#name, "pack"));
#include "kernels.def"
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
  define_kernels(m);
  define_runtime(m);
}
