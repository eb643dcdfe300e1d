/// Functions of objects, called by CPython's vector protocol: pybind11's dispatch among overloads and the list of
/// arguments that it makes would cost more than a small reduction.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace kullback {

namespace py = pybind11;

template <class T>
T argument(PyObject* object);
template <>
inline py::handle argument(PyObject* object) {
  return object;
}
template <>
inline bool argument(PyObject* object) {
  const int truth = PyObject_IsTrue(object);
  if (truth < 0) throw py::error_already_set();
  return truth != 0;
}

/// A function and the names of its parameters.
class Function {
 public:
  static constexpr std::size_t most_parameters = 16;

  /// `parameters`: separated by spaces.
  Function(std::string name, const std::string& parameters);
  virtual ~Function() = default;
  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;

  const std::vector<std::string>& parameters() const { return parameters_; }

  /// Calls it with one argument for each parameter. Null, and a Python error set, where it throws.
  PyObject* operator()(PyObject* const* arguments) const;

  /// A built-in function of positional arguments, which owns `function`.
  static py::object make_builtin(std::unique_ptr<Function> function, py::handle module_name);

 private:
  virtual py::object call(PyObject* const* arguments) const = 0;

  static PyObject* invoke(PyObject* owner, PyObject* const* arguments, Py_ssize_t count);

  std::string name_;
  std::vector<std::string> parameters_;
  PyMethodDef definition_;
};

namespace detail {

template <class F, class... Arguments>
class FunctionOf final : public Function {
 public:
  FunctionOf(const std::string& name, const std::string& parameters, F f)
      : Function(name, parameters), f_(std::move(f)) {}

 private:
  py::object call(PyObject* const* arguments) const override {
    return call(arguments, std::index_sequence_for<Arguments...>());
  }
  template <std::size_t... I>
  py::object call(PyObject* const* arguments, std::index_sequence<I...>) const {
    return f_(argument<Arguments>(arguments[I])...);
  }

  F f_;
};

template <class F, class... Arguments>
void define(py::module_& m, const std::string& name, const std::string& parameters, F f,
            py::object (F::*)(Arguments...) const) {
  auto function = std::make_unique<FunctionOf<F, Arguments...>>(name, parameters, std::move(f));
  if (function->parameters().size() != sizeof...(Arguments)) throw std::logic_error(name + ": parameters");
  m.attr(name.c_str()) = Function::make_builtin(std::move(function), m.attr("__name__"));
}

}  // namespace detail

/// Adds f, which takes handles and bools, to a module.
template <class F>
void define(py::module_& m, const std::string& name, const std::string& parameters, F f) {
  detail::define(m, name, parameters, std::move(f), &F::operator());
}

/// Adds bind, by which a function gets a signature of Python's:
/// bind(signature, builtin, names, positional, values): calls f(...) of the Python function `signature`, whose
/// parameters are `names`, the first `positional` of them not by keyword alone, go to `builtin`, parameter by
/// parameter of the same name. What a call does not give is in the dict `values`.
void define_bind(py::module_& m);

}  // namespace kullback
