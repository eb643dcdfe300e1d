/// Functions of positional arguments, called by CPython's vector protocol: pybind11's dispatch among overloads and the
/// list of arguments that it makes would cost more than a small reduction.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

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

/// What stands behind a built-in function of that signature, which owns it.
template <class F, class... Arguments>
class Function {
 public:
  Function(const char* name, F f) : name_(name), f_(std::move(f)) {}
  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;

  static py::object make(const char* name, F f, py::handle module_name) {
    auto function = std::make_unique<Function>(name, std::move(f));
    PyMethodDef& definition = function->definition_;
    const py::capsule owner(function.get(), [](void* p) { delete static_cast<Function*>(p); });
    function.release();
    auto made = py::reinterpret_steal<py::object>(PyCFunction_NewEx(&definition, owner.ptr(), module_name.ptr()));
    if (!made) throw py::error_already_set();
    return made;
  }

 private:
  static PyObject* invoke(PyObject* owner, PyObject* const* arguments, Py_ssize_t count) {
    const auto& function = *static_cast<const Function*>(PyCapsule_GetPointer(owner, nullptr));
    constexpr auto expected = static_cast<Py_ssize_t>(sizeof...(Arguments));
    if (count != expected) {
      PyErr_Format(PyExc_TypeError, "%s() takes %zd positional arguments but %zd were given", function.name_.c_str(),
                   expected, count);
      return nullptr;
    }
    try {
      return function.call(arguments, std::index_sequence_for<Arguments...>()).release().ptr();
    } catch (py::error_already_set& error) {
      error.restore();
#ifdef __GLIBCXX__
    } catch (abi::__forced_unwind&) {
      throw;
#endif
    } catch (...) {
      py::detail::try_translate_exceptions();
    }
    return nullptr;
  }

  template <std::size_t... I>
  py::object call(PyObject* const* arguments, std::index_sequence<I...>) const {
    return f_(argument<Arguments>(arguments[I])...);
  }

  std::string name_;
  F f_;
  PyMethodDef definition_{name_.c_str(), reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&Function::invoke)),
                          METH_FASTCALL, nullptr};
};

namespace detail {

template <class F, class... Arguments>
void define(py::module_& m, const char* name, F f, py::object (F::*)(Arguments...) const) {
  m.attr(name) = Function<F, Arguments...>::make(name, std::move(f), m.attr("__name__"));
}

}  // namespace detail

/// Adds f, which takes handles and bools, to a module.
template <class F>
void define(py::module_& m, const std::string& name, F f) {
  detail::define(m, name.c_str(), std::move(f), &F::operator());
}

}  // namespace kullback
