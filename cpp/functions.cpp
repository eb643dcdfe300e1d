#include "functions.hpp"

#include <structmember.h>

#include <algorithm>
#include <cstring>
#include <sstream>
#include <stdexcept>

#include "parallel.hpp"

namespace kullback {

namespace {

constexpr char capsule_name[] = "kullback.Function";

}  // namespace

Function::Function(std::string name, const std::string& parameters)
    : name_(std::move(name)),
      definition_{name_.c_str(), reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&Function::invoke)),
                  METH_FASTCALL, nullptr} {
  std::istringstream words(parameters);
  for (std::string word; words >> word;) parameters_.push_back(word);
  if (parameters_.size() > most_parameters) throw std::logic_error(name_ + ": too many parameters");
}

PyObject* Function::operator()(PyObject* const* arguments) const {
  try {
    PyObject* const result = call(arguments).release().ptr();
    note_call();
    return result;
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

py::object Function::make_builtin(std::unique_ptr<Function> function, py::handle module_name) {
  PyMethodDef& definition = function->definition_;
  const py::capsule owner(function.get(), capsule_name, [](void* p) { delete static_cast<Function*>(p); });
  function.release();
  auto made = py::reinterpret_steal<py::object>(PyCFunction_NewEx(&definition, owner.ptr(), module_name.ptr()));
  if (!made) throw py::error_already_set();
  return made;
}

PyObject* Function::invoke(PyObject* owner, PyObject* const* arguments, Py_ssize_t count) {
  const auto& function = *static_cast<const Function*>(PyCapsule_GetPointer(owner, capsule_name));
  const auto expected = static_cast<Py_ssize_t>(function.parameters_.size());
  if (count != expected) {
    PyErr_Format(PyExc_TypeError, "%s() takes %zd positional arguments but %zd were given", function.name_.c_str(),
                 expected, count);
    return nullptr;
  }
  return function(arguments);
}

// Functions with a signature ----------------------------------------------------------------------------------------

namespace {

/// Which argument of a call is which argument of a function.
class Signature {
 public:
  Signature(py::object signature, py::object builtin, const py::tuple& names, std::size_t positional,
            const py::dict& values)
      : signature_(std::move(signature)),
        builtin_(std::move(builtin)),
        function_(function_of(builtin_)),
        positional_(positional) {
    for (const std::string& parameter : function_.parameters()) {
      const py::str name(parameter);
      values_.push_back(values.contains(name) ? py::object(values[name]) : py::object());
      if (!values_.back() && !names.contains(name)) fail(parameter + " has no value");
    }
    const auto& parameters = function_.parameters();
    for (const py::handle item : names) {
      PyObject* name = item.inc_ref().ptr();
      PyUnicode_InternInPlace(&name);
      names_.push_back(py::reinterpret_steal<py::object>(name));
      const auto found = std::find(parameters.begin(), parameters.end(), py::cast<std::string>(item));
      if (found == parameters.end()) fail(py::cast<std::string>(item) + " is no parameter");
      place_.push_back(static_cast<std::size_t>(found - parameters.begin()));
    }
    if (positional_ > names_.size()) fail("there are fewer names");
  }

  PyObject* call(PyObject* const* arguments, std::size_t count, PyObject* keywords) const {
    PyObject* all[Function::most_parameters];
    const std::size_t given = static_cast<std::size_t>(PyVectorcall_NARGS(count));
    if (given > positional_) return refuse(arguments, count, keywords);
    for (std::size_t i = 0; i < values_.size(); ++i) all[i] = values_[i].ptr();
    for (std::size_t i = 0; i < given; ++i) all[place_[i]] = arguments[i];
    const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
    for (Py_ssize_t k = 0; k < named; ++k) {
      const std::size_t i = index_of(PyTuple_GET_ITEM(keywords, k));
      if (i < given || i == names_.size()) return refuse(arguments, count, keywords);
      all[place_[i]] = arguments[given + static_cast<std::size_t>(k)];
    }
    for (std::size_t i = 0; i < values_.size(); ++i) {
      if (all[i] == nullptr) return refuse(arguments, count, keywords);
    }
    return function_(all);
  }

  py::handle python() const { return signature_; }

  int traverse(visitproc visit, void* arg) const {
    Py_VISIT(signature_.ptr());
    Py_VISIT(builtin_.ptr());
    for (const py::object& value : values_) Py_VISIT(value.ptr());
    return 0;
  }

 private:
  static const Function& function_of(const py::object& builtin) {
    PyObject* const owner = PyCFunction_Check(builtin.ptr()) ? PyCFunction_GET_SELF(builtin.ptr()) : nullptr;
    if (owner == nullptr || PyCapsule_IsValid(owner, capsule_name) == 0) fail("expected a function of this module");
    return *static_cast<const Function*>(PyCapsule_GetPointer(owner, capsule_name));
  }

  [[noreturn]] static void fail(const std::string& message) { throw py::type_error("bind: " + message); }

  std::size_t index_of(PyObject* keyword) const {
    std::size_t i = 0;
    while (i < names_.size() && names_[i].ptr() != keyword) ++i;
    if (i < names_.size()) return i;
    // Names in the source of a call are interned, those of **kwargs may not be.
    for (i = 0; i < names_.size() && PyUnicode_Compare(names_[i].ptr(), keyword) != 0;) ++i;
    return i;
  }

  /// Lets the Python function say what is wrong with the arguments.
  PyObject* refuse(PyObject* const* arguments, std::size_t count, PyObject* keywords) const {
    PyObject* const result = PyObject_Vectorcall(signature_.ptr(), arguments, count, keywords);
    if (result == nullptr) return nullptr;
    Py_DECREF(result);
    PyErr_SetString(PyExc_TypeError, "the arguments do not fit");
    return nullptr;
  }

  py::object signature_, builtin_;
  const Function& function_;
  std::size_t positional_;
  std::vector<py::object> names_;   ///< of the signature's parameters
  std::vector<std::size_t> place_;  ///< of each of these among the function's
  std::vector<py::object> values_;  ///< of the function's parameters where a call gives none; null where it has to
};

/// A Python object that is called like the signature.
struct Bound {
  PyObject ob_base;
  vectorcallfunc vectorcall;
  PyObject* attributes;
  PyObject* weak_references;
  Signature* signature;
};

Bound* bound(PyObject* self) { return reinterpret_cast<Bound*>(self); }

PyObject* call_bound(PyObject* self, PyObject* const* arguments, std::size_t count, PyObject* keywords) {
  return bound(self)->signature->call(arguments, count, keywords);
}

int traverse_bound(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(bound(self)->attributes);
  return bound(self)->signature == nullptr ? 0 : bound(self)->signature->traverse(visit, arg);
}

int clear_bound(PyObject* self) {
  Py_CLEAR(bound(self)->attributes);
  return 0;
}

void delete_bound(PyObject* self) {
  PyObject_GC_UnTrack(self);
  PyTypeObject* const type = Py_TYPE(self);
  if (bound(self)->weak_references != nullptr) PyObject_ClearWeakRefs(self);
  clear_bound(self);
  delete bound(self)->signature;
  type->tp_free(self);
  Py_DECREF(type);
}

/// As functions do, it becomes a method where it is a class's.
PyObject* get_bound(PyObject* self, PyObject* instance, PyObject*) {
  if (instance != nullptr && instance != Py_None) return PyMethod_New(self, instance);
  Py_INCREF(self);
  return self;
}

/// Its name, by which pickle finds it again.
PyObject* reduce_bound(PyObject* self, PyObject*) {
  return PyObject_GetAttrString(bound(self)->signature->python().ptr(), "__qualname__");
}

PyObject* show_bound(PyObject* self) {
  PyObject* const name = reduce_bound(self, nullptr);
  if (name == nullptr) return nullptr;
  PyObject* const shown = PyUnicode_FromFormat("<function %S>", name);
  Py_DECREF(name);
  return shown;
}

py::object make_bound_type() {
  static PyMemberDef members[] = {
      {"__vectorcalloffset__", T_PYSSIZET, offsetof(Bound, vectorcall), READONLY, nullptr},
      {"__dictoffset__", T_PYSSIZET, offsetof(Bound, attributes), READONLY, nullptr},
      {"__weaklistoffset__", T_PYSSIZET, offsetof(Bound, weak_references), READONLY, nullptr},
      {nullptr, 0, 0, 0, nullptr}};
  static PyGetSetDef properties[] = {{"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
                                     {nullptr, nullptr, nullptr, nullptr, nullptr}};
  static PyMethodDef methods[] = {{"__reduce__", reduce_bound, METH_NOARGS, nullptr}, {nullptr, nullptr, 0, nullptr}};
  static PyType_Slot slots[] = {{Py_tp_members, members},
                                {Py_tp_getset, properties},
                                {Py_tp_methods, methods},
                                {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                                {Py_tp_traverse, reinterpret_cast<void*>(traverse_bound)},
                                {Py_tp_clear, reinterpret_cast<void*>(clear_bound)},
                                {Py_tp_dealloc, reinterpret_cast<void*>(delete_bound)},
                                {Py_tp_descr_get, reinterpret_cast<void*>(get_bound)},
                                {Py_tp_repr, reinterpret_cast<void*>(show_bound)},
                                {0, nullptr}};
  static PyType_Spec spec = {"kullback._core.Function", sizeof(Bound), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                                 Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                             slots};
  auto type = py::reinterpret_steal<py::object>(PyType_FromSpec(&spec));
  if (!type) throw py::error_already_set();
  return type;
}

}  // namespace

void define_bind(py::module_& m) {
  m.def("bind", [type = make_bound_type()](const py::object& python, const py::object& builtin, const py::tuple& names,
                                           std::size_t positional, const py::dict& values) {
    auto signature = std::make_unique<Signature>(python, builtin, names, positional, values);
    auto made = py::reinterpret_steal<py::object>(PyType_GenericAlloc(reinterpret_cast<PyTypeObject*>(type.ptr()), 0));
    if (!made) throw py::error_already_set();
    bound(made.ptr())->vectorcall = call_bound;
    bound(made.ptr())->signature = signature.release();
    return made;
  });
}

}  // namespace kullback
