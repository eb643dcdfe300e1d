#include "arrays.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <type_traits>
#include <utility>

#include "dispatch.hpp"
#include "memory.hpp"

namespace kullback {

namespace {

using Api = py::detail::npy_api;

// Found when the module is imported. Found at the first call, by a static of a function, it would make threads whose
// first calls coincide wait for ever: one holds the static's guard and wants the GIL, another the reverse.
const Api* numpy_api = nullptr;

const Api& api() { return *numpy_api; }

const py::detail::PyArray_Proxy* proxy(py::handle array) { return py::detail::array_proxy(array.ptr()); }

const py::detail::PyArrayDescr_Proxy* descriptor(py::handle array) {
  return py::detail::array_descriptor_proxy(proxy(array)->descr);
}

std::string type_name(py::handle object) { return text(py::type::handle_of(object).attr("__name__")); }

const char* dtype_name(DType dtype) { return dtype == DType::float32 ? "float32" : "float64"; }

std::ptrdiff_t item_size(DType dtype) { return dtype == DType::float32 ? sizeof(float) : sizeof(double); }

py::object numpy_descriptor(DType dtype) {
  const int type_num = dtype == DType::float32 ? Api::NPY_FLOAT_ : Api::NPY_DOUBLE_;
  return py::reinterpret_steal<py::object>(api().PyArray_DescrFromType_(type_num));
}

// Reading elements --------------------------------------------------------------------------------------------------

template <class From, bool Swapped>
From read(const char* from) {
  if constexpr (std::is_same_v<From, bool>) return *from != 0;
  From x;
  if constexpr (Swapped && sizeof(From) > 1) {
    char bytes[sizeof(From)];
    std::reverse_copy(from, from + sizeof(From), bytes);
    std::memcpy(&x, bytes, sizeof(From));
  } else {
    std::memcpy(&x, from, sizeof(From));
  }
  return x;
}

template <class T, class From, bool Swapped>
void gather(T* to, std::ptrdiff_t to_row, const char* from, std::ptrdiff_t row_step, std::ptrdiff_t step,
            std::size_t rows, std::size_t n) {
  // The shorter step runs in the inner loop, so that a cache line is used up once it is there.
  if (std::abs(row_step) < std::abs(step)) {
    for (std::size_t i = 0; i < n; ++i, from += step, ++to) {
      const char* source = from;
      T* target = to;
      for (std::size_t r = 0; r < rows; ++r, source += row_step, target += to_row) {
        *target = static_cast<T>(read<From, Swapped>(source));
      }
    }
  } else {
    for (std::size_t r = 0; r < rows; ++r, from += row_step, to += to_row) {
      const char* source = from;
      for (std::size_t i = 0; i < n; ++i, source += step) to[i] = static_cast<T>(read<From, Swapped>(source));
    }
  }
}

template <class From, bool Swapped>
constexpr Source float64_source{nullptr, gather<double, From, Swapped>, nullptr, false, false};

template <bool Swapped>
constexpr Source float32_source{gather<float, float, Swapped>, gather<double, float, Swapped>, nullptr, false, false};

template <class From, bool Swapped>
constexpr Source integer_source{nullptr, gather<double, From, Swapped>, gather<std::int64_t, From, Swapped>,
                                std::is_unsigned_v<From>, std::is_same_v<From, std::int64_t> && !Swapped};

/// How to read that dtype; nullptr for one that is refused.
template <bool Swapped>
const Source* find_source(int type_num) {
  switch (type_num) {
    case Api::NPY_BOOL_:
      return &float64_source<bool, Swapped>;
    case Api::NPY_UBYTE_:
      return &integer_source<unsigned char, Swapped>;
    case Api::NPY_BYTE_:
      return &integer_source<signed char, Swapped>;
    case Api::NPY_SHORT_:
      return &integer_source<short, Swapped>;
    case Api::NPY_USHORT_:
      return &integer_source<unsigned short, Swapped>;
    case Api::NPY_INT_:
      return &integer_source<int, Swapped>;
    case Api::NPY_UINT_:
      return &integer_source<unsigned int, Swapped>;
    case Api::NPY_LONG_:
      return &integer_source<long, Swapped>;
    case Api::NPY_ULONG_:
      return &integer_source<unsigned long, Swapped>;
    case Api::NPY_LONGLONG_:
      return &integer_source<long long, Swapped>;
    case Api::NPY_ULONGLONG_:
      return &integer_source<unsigned long long, Swapped>;
    case Api::NPY_FLOAT_:
      return &float32_source<Swapped>;
    case Api::NPY_DOUBLE_:
      return &float64_source<double, Swapped>;
    default:
      return nullptr;
  }
}

bool is_masked_array(py::handle object) {
  if (Py_TYPE(object.ptr()) == api().PyArray_Type_) return false;
  // Nothing can be one before numpy.ma was imported, or once modules are gone, when the interpreter ends.
  const auto masked = py::reinterpret_steal<py::object>(PyImport_GetModule(py::str("numpy.ma").ptr()));
  if (!masked) {
    PyErr_Clear();
    return false;
  }
  return py::isinstance(object, masked.attr("MaskedArray"));
}

bool is_array(py::handle object) { return api().PyArray_Check_(object.ptr()); }

bool overlap(const char* a_low, const char* a_high, const char* b_low, const char* b_high) {
  return a_low < b_high && b_low < a_high;
}

/// The bytes that an array of that shape reaches: [low, high).
std::pair<const char*, const char*> extent(const char* data, const Shape& shape, const std::ptrdiff_t* strides,
                                           std::ptrdiff_t item) {
  const char* low = data;
  const char* high = data + item;
  for (int d = 0; d < shape.ndim; ++d) {
    if (shape.length[d] == 0) return {data, data};
    const std::ptrdiff_t span = (shape.length[d] - 1) * strides[d];
    (span < 0 ? low : high) += span;
  }
  return {low, high};
}

}  // namespace

void initialize_arrays() {
  numpy_api = &Api::get();
  initialize_memory();
}

std::string text(py::handle object) { return py::cast<std::string>(py::str(object)); }

std::string show(py::handle object) {
  auto shown = py::cast<std::string>(py::repr(object));
  constexpr std::size_t longest = 60;
  if (shown.size() > longest) shown = shown.substr(0, longest) + "...";
  return shown;
}

std::string show(const Shape& shape) {
  py::tuple lengths(shape.ndim);
  for (int d = 0; d < shape.ndim; ++d) lengths[static_cast<std::size_t>(d)] = shape.length[d];
  return text(lengths);
}

Shape shape_of(const Operand& operand) {
  Shape shape;
  shape.ndim = operand.ndim();
  for (int d = 0; d < shape.ndim; ++d) shape.length[d] = operand.length(d);
  return shape;
}

// Dims --------------------------------------------------------------------------------------------------------------

void Dims::append(std::size_t n, const std::ptrdiff_t (&strides)[operands]) {
  if (n == 1) return;
  if (count > 0) {
    const int last = count - 1;
    bool joined = true;
    for (int i = 0; i < operands; ++i) {
      joined = joined && stride[last][i] == strides[i] * static_cast<std::ptrdiff_t>(n);
    }
    if (joined) {
      length[last] *= n;
      for (int i = 0; i < operands; ++i) stride[last][i] = strides[i];
      return;
    }
  }
  length[count] = n;
  for (int i = 0; i < operands; ++i) stride[count][i] = strides[i];
  ++count;
}

std::size_t Dims::size() const {
  std::size_t n = 1;
  for (int d = 0; d < count; ++d) n *= length[d];
  return n;
}

void Dims::closest_last(const Dims& inner) {
  if (count < 2 || inner.count == 0) return;
  const auto distance = [this](int d) {
    const std::ptrdiff_t s = std::abs(stride[d][0]);
    return s == 0 ? PTRDIFF_MAX : s;
  };
  int closest = count - 1;
  for (int d = 0; d < count; ++d) {
    if (distance(d) < distance(closest)) closest = d;
  }
  if (distance(closest) >= std::abs(inner.stride[inner.count - 1][0])) return;
  std::swap(length[closest], length[count - 1]);
  std::swap(stride[closest], stride[count - 1]);
}

Runs::Runs(const Dims& dims, std::size_t begin, std::size_t end)
    : dims_(dims), length_(end > begin ? end - begin : 0), rest_(length_) {
  if (dims.count == 0 || rest_ == 0) return;
  std::size_t rest = begin;
  for (int d = dims.count - 1; d >= 0; --d) {
    index_[d] = rest % dims.length[d];
    rest /= dims.length[d];
    for (int i = 0; i < Dims::operands; ++i) offset_[i] += static_cast<std::ptrdiff_t>(index_[d]) * dims.stride[d][i];
  }
  const int last = dims.count - 1;
  length_ = std::min(dims.length[last] - index_[last], rest_);
}

void Runs::next() {
  rest_ -= length_;
  length_ = rest_;
  if (rest_ == 0) return;
  // Carry: to the start of the next run.
  const auto move = [this](int d, std::ptrdiff_t steps) {
    for (int i = 0; i < Dims::operands; ++i) offset_[i] += steps * dims_.stride[d][i];
  };
  const int last = dims_.count - 1;
  move(last, -static_cast<std::ptrdiff_t>(index_[last]));
  index_[last] = 0;
  for (int d = last - 1; d >= 0; --d) {
    move(d, 1);
    if (++index_[d] < dims_.length[d]) break;
    move(d, -static_cast<std::ptrdiff_t>(dims_.length[d]));
    index_[d] = 0;
  }
  length_ = std::min(dims_.length[last], rest_);
}

// Operand -----------------------------------------------------------------------------------------------------------

Operand::Operand(const char* name) : name_(name) { refer_to(1.0); }

Operand::Operand(const char* name, py::handle object, bool scalars_are_weak) : name_(name) {
  const bool is_scalar =
      PyFloat_CheckExact(object.ptr()) || PyLong_CheckExact(object.ptr()) || PyBool_Check(object.ptr());
  if (is_scalar && scalars_are_weak) {
    const double number = PyFloat_AsDouble(object.ptr());
    if (number == -1.0 && PyErr_Occurred() != nullptr) {
      PyErr_Format(PyExc_OverflowError, "%s: int too large to convert to float64", name);
      throw py::error_already_set();
    }
    refer_to(number);
    return;
  }
  if (Py_TYPE(object.ptr()) == api().PyArray_Type_) {
    refer_to(object);
    return;
  }
  if (is_masked_array(object)) {
    throw py::type_error(std::string(name) +
                         " is a masked array; expected plain data: masks are not applied (use .filled or .compressed)");
  }
  owner_ = py::reinterpret_steal<py::object>(api().PyArray_FromAny_(object.ptr(), nullptr, 0, 0, 0, nullptr));
  if (!owner_) throw py::error_already_set();
  refer_to(owner_);
}

void Operand::refer_to(double number) {
  static constexpr Source scalar{gather<float, float, false>, gather<double, double, false>, nullptr, false, false};
  scalar64_ = number;
  scalar32_ = static_cast<float>(number);
  source_ = &scalar;
  weak_ = native_ = true;
}

void Operand::refer_to(py::handle array) {
  const auto* a = proxy(array);
  const auto* d = descriptor(array);
  const bool swapped = d->byteorder == (PY_LITTLE_ENDIAN ? '>' : '<');
  source_ = swapped ? find_source<true>(d->type_num) : find_source<false>(d->type_num);
  if (source_ == nullptr) {
    throw py::type_error(std::string(name_) + " has dtype " + text(py::handle(a->descr)) +
                         "; expected float32, float64, an integer dtype or bool");
  }
  array_ = array;
  dtype_ = d->type_num == Api::NPY_FLOAT_ ? DType::float32 : DType::float64;
  native_ = !swapped && (d->type_num == Api::NPY_FLOAT_ || d->type_num == Api::NPY_DOUBLE_);
  data_ = a->data;
  ndim_ = a->nd;
  shape_ = a->dimensions;
  strides_ = a->strides;
}

std::string Operand::dtype_name() const { return text(py::handle(proxy(array_)->descr)); }

const char* Operand::data(DType dtype) const {
  if (!weak_) return data_;
  return dtype == DType::float32 ? reinterpret_cast<const char*>(&scalar32_)
                                 : reinterpret_cast<const char*>(&scalar64_);
}

py::tuple Operand::shape() const {
  py::tuple lengths(ndim_);
  for (int d = 0; d < ndim_; ++d) lengths[static_cast<std::size_t>(d)] = shape_[d];
  return lengths;
}

// Shapes and arguments ----------------------------------------------------------------------------------------------

std::array<int, max_dims> memory_order(const Operand& operand) {
  std::array<int, max_dims> order;
  const auto end = order.begin() + operand.ndim();
  std::iota(order.begin(), end, 0);
  const auto before = [&](int a, int b) {
    const auto a_step = std::abs(operand.stride(a)), b_step = std::abs(operand.stride(b));
    return a_step != b_step ? a_step > b_step : a < b;
  };
  if (!std::is_sorted(order.begin(), end, before)) std::sort(order.begin(), end, before);
  return order;
}

void require_fits(const Operand& operand, const Shape& shape, const char* meaning) {
  bool fits = operand.ndim() <= shape.ndim;
  for (int d = 0; fits && d < operand.ndim(); ++d) {
    const py::ssize_t length = shape.length[shape.ndim - operand.ndim() + d];
    fits = operand.length(d) == length || operand.length(d) == 1;
  }
  if (fits) return;
  throw py::value_error(std::string(operand.name()) + " has shape " + show(shape_of(operand)) + "; expected " +
                        show(shape) + meaning);
}

DType result_dtype(Operands& operands) {
  bool float32 = false;
  for (const Operand* operand : operands) {
    if (operand == nullptr || operand->weak()) continue;
    if (operand->dtype() == DType::float64) return DType::float64;
    float32 = true;
  }
  return float32 ? DType::float32 : DType::float64;
}

Shape broadcast_shapes(Operands& operands) {
  Shape shape;
  for (const Operand* operand : operands) {
    if (operand == nullptr || has_shape(*operand, shape)) continue;
    const int missing = std::max(operand->ndim() - shape.ndim, 0);
    std::copy_backward(shape.length, shape.length + shape.ndim, shape.length + shape.ndim + missing);
    std::fill_n(shape.length, missing, 1);
    shape.ndim += missing;
    const int offset = shape.ndim - operand->ndim();
    for (int d = 0; d < operand->ndim(); ++d) {
      py::ssize_t& length = shape.length[offset + d];
      if (operand->length(d) == length || operand->length(d) == 1) continue;
      if (length != 1) {
        std::string shapes;
        for (const Operand* each : operands) {
          if (each == nullptr || each->weak()) continue;
          if (!shapes.empty()) shapes += " and ";
          shapes += std::string(each->name()) + " of shape " + text(each->shape());
        }
        throw py::value_error(shapes + " do not broadcast");
      }
      length = operand->length(d);
    }
  }
  return shape;
}

std::ptrdiff_t broadcast_stride(const Operand& operand, const Shape& shape, int d) {
  const int own = d - (shape.ndim - operand.ndim());
  return own < 0 || operand.length(own) == 1 ? 0 : operand.stride(own);
}

void put_strides(std::ptrdiff_t (&strides)[Dims::operands], Operands& operands, const Shape& shape, int d) {
  for (std::size_t i = 0; i < operands.size() && operands[i] != nullptr; ++i) {
    strides[i] = broadcast_stride(*operands[i], shape, d);
  }
}

bool has_shape(const Operand& operand, const Shape& shape) {
  bool same = operand.ndim() == shape.ndim;
  for (int d = 0; same && d < shape.ndim; ++d) same = operand.length(d) == shape.length[d];
  return same;
}

namespace {

/// `count` axes are there to be named.
int normalize_axis(py::handle axis, int ndim, long count, const char* expected) {
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(axis.ptr()));
  if (!index) {
    PyErr_Clear();
    throw py::type_error(std::string("axis: expected ") + expected + ", got " + show(axis));
  }
  int overflow = 0;
  const long value = PyLong_AsLongAndOverflow(index.ptr(), &overflow);
  if (overflow != 0 || value < -count || value >= count) {
    const py::object error = py::module_::import("numpy.exceptions").attr("AxisError");
    PyErr_SetObject(
        error.ptr(),
        overflow != 0
            ? error("axis " + show(index) + " is out of bounds for array of dimension " + std::to_string(ndim)).ptr()
            : error(value, ndim).ptr());
    throw py::error_already_set();
  }
  return static_cast<int>(value < 0 ? value + count : value);
}

}  // namespace

std::array<bool, max_dims> parse_axis(py::handle axis, int ndim) {
  std::array<bool, max_dims> reduced{};
  const auto normalize = [ndim](py::handle one) {
    // As in NumPy's reductions, a 0-d array has an axis 0.
    return static_cast<std::size_t>(normalize_axis(one, ndim, std::max(ndim, 1), "None, an int or a tuple of ints"));
  };
  if (axis.is_none()) {
    std::fill_n(reduced.begin(), ndim, true);
  } else if (py::isinstance<py::tuple>(axis)) {
    for (const py::handle item : py::reinterpret_borrow<py::tuple>(axis)) {
      bool& flag = reduced[normalize(item)];
      if (flag) throw py::value_error("axis: " + show(axis) + " names a dimension twice");
      flag = true;
    }
  } else {
    reduced[normalize(axis)] = true;
  }
  return reduced;
}

ReducedAxes::ReducedAxes(const Shape& shape, py::handle axis, py::handle keepdims)
    : reduced_(parse_axis(axis, shape.ndim)) {
  const int keep = PyObject_IsTrue(keepdims.ptr());
  if (keep < 0) throw py::error_already_set();
  keepdims_ = keep != 0;
  for (int d = 0; d < shape.ndim; ++d) {
    if (reduced(d) && !keepdims_) continue;
    result.length[result.ndim++] = reduced(d) ? 1 : shape.length[d];
  }
}

int parse_class_axis(py::handle axis, int ndim) {
  return normalize_axis(axis, ndim, ndim, "an int, the axis of the classes");
}

Partial parse_base(py::handle base) {
  if (base.is_none()) return {1.0, 0.0};
  const double value = PyFloat_AsDouble(base.ptr());
  if (value == -1.0 && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    throw py::type_error("base: expected None or a finite number > 0 and != 1, got " + show(base));
  }
  if (!std::isfinite(value) || value <= 0 || value == 1) {
    throw py::value_error("base: expected None or a finite number > 0 and != 1, got " + show(base));
  }
  return active_target().reciprocal_log(value);
}

// Output ------------------------------------------------------------------------------------------------------------

Output::Output(py::handle out, const Shape& shape, DType dtype, const Operand* like) : dtype_(dtype) {
  if (out.is_none()) {
    allocate(shape, like);
    return;
  }
  if (!is_array(out) || is_masked_array(out)) {
    throw py::type_error("out: expected a NumPy array or None, got " + type_name(out));
  }
  const auto* a = proxy(out);
  const auto* d = descriptor(out);
  const int type_num = dtype == DType::float32 ? Api::NPY_FLOAT_ : Api::NPY_DOUBLE_;
  if (d->type_num != type_num || d->byteorder == (PY_LITTLE_ENDIAN ? '>' : '<')) {
    throw py::type_error("out has dtype " + text(py::handle(a->descr)) + "; expected " + dtype_name(dtype));
  }
  if (a->nd != shape.ndim || !std::equal(shape.length, shape.length + shape.ndim, a->dimensions)) {
    throw py::value_error("out has shape " + text(out.attr("shape")) + "; expected " + show(shape));
  }
  if ((a->flags & Api::NPY_ARRAY_WRITEABLE_) == 0)
    throw py::value_error("out is read-only; expected a writeable array");
  out_ = py::reinterpret_borrow<py::object>(out);
  if ((a->flags & Api::NPY_ARRAY_ALIGNED_) == 0) {
    allocate(shape);
    return;
  }
  data_ = a->data;
  strides_ = a->strides;
}

void Output::allocate(const Shape& shape, const Operand* like) {
  if (shape.ndim == 0 && !out_) {
    data_ = reinterpret_cast<char*>(&scalar_);
    return;
  }
  std::ptrdiff_t strides[max_dims];
  bool in_c_order = true;  // NumPy checks strides for longer than it takes to make them
  if (like != nullptr) {
    std::ptrdiff_t step = item_size(dtype_);
    const auto order = memory_order(*like);
    in_c_order = std::is_sorted(order.begin(), order.begin() + shape.ndim);
    for (int i = shape.ndim - 1; i >= 0; --i) {
      const int d = order[static_cast<std::size_t>(i)];
      strides[d] = step;
      step *= shape.length[d];
    }
  }
  std::size_t bytes = static_cast<std::size_t>(item_size(dtype_));
  for (int d = 0; d < shape.ndim; ++d) bytes *= static_cast<std::size_t>(shape.length[d]);
  const ResultMemory memory(bytes);
  array_ = py::reinterpret_steal<py::object>(api().PyArray_NewFromDescr_(
      api().PyArray_Type_, numpy_descriptor(dtype_).release().ptr(), shape.ndim, const_cast<Py_intptr_t*>(shape.length),
      in_c_order ? nullptr : strides, nullptr, 0, nullptr));
  if (!array_) throw py::error_already_set();
  data_ = proxy(array_)->data;
  strides_ = proxy(array_)->strides;
}

void Output::separate_from(Operands& operands, const Shape& shape, bool same_is_safe) {
  if (!out_ || array_) return;
  const auto* a = proxy(out_);
  Shape own;
  own.ndim = a->nd;
  std::copy_n(a->dimensions, a->nd, own.length);
  const auto [low, high] = extent(data_, own, strides_, item_size(dtype_));
  for (const Operand* operand : operands) {
    if (operand == nullptr || operand->weak()) continue;
    std::ptrdiff_t strides[max_dims];
    for (int d = 0; d < shape.ndim; ++d) strides[d] = broadcast_stride(*operand, shape, d);
    // No element is wider than 8 bytes.
    const auto [operand_low, operand_high] = extent(operand->data(dtype_), shape, strides, 8);
    if (!overlap(low, high, operand_low, operand_high)) continue;
    if (same_is_safe && operand->native(dtype_) && operand->data(dtype_) == data_ &&
        std::equal(strides, strides + shape.ndim, strides_)) {
      continue;
    }
    allocate(own);
    return;
  }
}

py::object Output::result() {
  if (!out_) return array_ ? array_ : to_scalar(&scalar_, dtype_);
  if (array_ && api().PyArray_CopyInto_(out_.ptr(), array_.ptr()) != 0) throw py::error_already_set();
  return out_;
}

// Plain arrays ------------------------------------------------------------------------------------------------------

std::optional<DType> plain_float_array(py::handle object) {
  if (Py_TYPE(object.ptr()) != api().PyArray_Type_) return std::nullopt;
  const auto* a = proxy(object);
  constexpr int wanted = Api::NPY_ARRAY_C_CONTIGUOUS_ | Api::NPY_ARRAY_ALIGNED_;
  if ((a->flags & wanted) != wanted || a->nd == 0) return std::nullopt;
  const auto* d = descriptor(object);
  if (d->byteorder == (PY_LITTLE_ENDIAN ? '>' : '<')) return std::nullopt;
  if (d->type_num == Api::NPY_DOUBLE_) return DType::float64;
  if (d->type_num == Api::NPY_FLOAT_) return DType::float32;
  return std::nullopt;
}

py::object to_scalar(const void* value, DType dtype) {
  const auto descr = numpy_descriptor(dtype);
  auto scalar =
      py::reinterpret_steal<py::object>(api().PyArray_Scalar_(const_cast<void*>(value), descr.ptr(), nullptr));
  if (!scalar) throw py::error_already_set();
  return scalar;
}

}  // namespace kullback
