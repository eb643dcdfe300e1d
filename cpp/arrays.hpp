/// NumPy arrays in and out: dtypes, shapes, strides, axes, broadcasting, overlap, out.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "kernels.hpp"

namespace kullback {

namespace py = pybind11;

constexpr int max_dims = 64;

/// Finds NumPy's C API. To be called once, before anything else here.
void initialize_arrays();

/// Copies `rows` rows of n elements: row r to `to + r * to_row`, from `from + r * row_step`, in steps of `step` bytes.
template <class T>
using Gather = void (*)(T* to, std::ptrdiff_t to_row, const char* from, std::ptrdiff_t row_step, std::ptrdiff_t step,
                        std::size_t rows, std::size_t n);

/// How the elements of one dtype and byte order are read. A null pointer: never converted to that type.
struct Source {
  Gather<float> to_float32;
  Gather<double> to_float64;
  Gather<std::int64_t> to_int64;  ///< integers only; the largest unsigned ones come out negative
  bool is_unsigned;
  bool is_int64;  ///< in the machine's order of bytes
};

template <class T>
Gather<T> gather_as(const Source& source);
template <>
inline Gather<float> gather_as(const Source& source) {
  return source.to_float32;
}
template <>
inline Gather<double> gather_as(const Source& source) {
  return source.to_float64;
}

enum class DType { float32, float64 };

/// Dimensions that several arrays run through together; unit ones dropped, neighbours joined where all strides allow.
/// After the kernel's inputs come the outputs. What belongs to a whole row of predictions stands where kernels of such
/// rows have no inputs: up to 80 bytes are copied and cleared in registers.
struct Dims {
  static constexpr int labels = 3, sample_weight = 4;
  static constexpr int output = max_inputs, gradient = output + 1, second_gradient = output + 2;
  static constexpr int grad_output = second_gradient + 1;
  static constexpr int operands = grad_output + 1;
  int count = 0;
  std::size_t length[max_dims];
  std::ptrdiff_t stride[max_dims][operands];

  Dims() {}  // NOLINT(modernize-use-equals-default): the arrays stay uninitialised, they are filled up to count

  void append(std::size_t n, const std::ptrdiff_t (&strides)[operands]);
  std::size_t size() const;

  /// Puts the dimension along which the first array's rows lie closest last, where its rows, over `inner`, are strided.
  void closest_last(const Dims& inner);

  /// Whether an array is contiguous over all of these dimensions.
  bool contiguous(int operand, std::ptrdiff_t item) const {
    return count == 0 || (count == 1 && stride[0][operand] == item);
  }

  /// Calls f(offsets, length) for the runs along the last dimension that make up elements [begin, end) in C order.
  template <class F>
  void for_runs(std::size_t begin, std::size_t end, F&& f) const;
};

/// The runs along the last dimension that make up elements [begin, end) in C order, one after the other.
class Runs {
 public:
  Runs(const Dims& dims, std::size_t begin, std::size_t end);

  /// Of the present one; 0 after the last.
  std::size_t length() const { return length_; }
  /// Bytes from each operand's data to its start.
  const std::ptrdiff_t* offset() const { return offset_; }

  void next();

 private:
  const Dims& dims_;
  std::size_t length_, rest_;
  std::ptrdiff_t offset_[Dims::operands] = {};
  std::size_t index_[max_dims];
};

template <class F>
void Dims::for_runs(std::size_t begin, std::size_t end, F&& f) const {
  for (Runs runs(*this, begin, end); runs.length() > 0; runs.next()) f(runs.offset(), runs.length());
}

/// An array argument.
class Operand {
 public:
  /// Takes any array-like. Throws TypeError, which names the argument, for what is not real numbers.
  /// `scalars_are_weak`: see weak.
  Operand(const char* name, py::handle object, bool scalars_are_weak = true);
  /// The number 1, for an argument that is not given.
  explicit Operand(const char* name);
  Operand(const Operand&) = delete;
  Operand& operator=(const Operand&) = delete;

  const char* name() const { return name_; }
  int ndim() const { return ndim_; }
  py::ssize_t length(int d) const { return shape_[d]; }
  std::ptrdiff_t stride(int d) const { return strides_[d]; }
  const Source& source() const { return *source_; }
  /// The array; null of a Python scalar.
  py::handle array() const { return array_; }
  py::tuple shape() const;

  std::string dtype_name() const;
  bool integer() const { return source_->to_int64 != nullptr; }

  /// A Python scalar, which takes the dtype of the arrays it meets.
  bool weak() const { return weak_; }
  DType dtype() const { return dtype_; }
  bool native(DType dtype) const { return native_ && dtype_ == dtype; }
  const char* data(DType dtype) const;

 private:
  void refer_to(py::handle array);
  void refer_to(double number);

  const char* name_;
  py::object owner_;
  py::handle array_;
  const char* data_ = nullptr;
  int ndim_ = 0;
  const py::ssize_t* shape_ = nullptr;
  const py::ssize_t* strides_ = nullptr;
  const Source* source_ = nullptr;
  DType dtype_ = DType::float64;
  bool weak_ = false;
  bool native_ = false;
  double scalar64_ = 0;
  float scalar32_ = 0;
};

using Operands = const std::array<const Operand*, max_inputs>;

std::string text(py::handle object);

/// Whether an object is that string, of ASCII.
inline bool says(py::handle object, const char* word) {
  return PyUnicode_Check(object.ptr()) && PyUnicode_CompareWithASCIIString(object.ptr(), word) == 0;
}

/// A short repr for messages.
std::string show(py::handle object);

/// The operands' common shape.
struct Shape {
  int ndim = 0;
  py::ssize_t length[max_dims];

  Shape() {}  // NOLINT(modernize-use-equals-default): filled up to ndim
  Shape(const Shape& other) : ndim(other.ndim) { std::copy_n(other.length, ndim, length); }
  Shape& operator=(const Shape& other) {
    ndim = other.ndim;
    std::copy_n(other.length, ndim, length);
    return *this;
  }
};

std::string show(const Shape& shape);
Shape shape_of(const Operand& operand);

/// An operand's dimensions, those with the longest strides first.
std::array<int, max_dims> memory_order(const Operand& operand);

/// Throws unless the operand broadcasts to that shape; `meaning` ends the sentence.
void require_fits(const Operand& operand, const Shape& shape, const char* meaning);

DType result_dtype(Operands& operands);
Shape broadcast_shapes(Operands& operands);

bool has_shape(const Operand& operand, const Shape& shape);

/// The stride of an operand along dimension d of the shape it is broadcast to.
std::ptrdiff_t broadcast_stride(const Operand& operand, const Shape& shape, int d);

/// Those of some operands.
void put_strides(std::ptrdiff_t (&strides)[Dims::operands], Operands& operands, const Shape& shape, int d);

/// Which dimensions an axis argument (None, an int or a tuple of ints) names.
std::array<bool, max_dims> parse_axis(py::handle axis, int ndim);

/// What the arguments axis and keepdims make of a shape.
class ReducedAxes {
 public:
  ReducedAxes(const Shape& shape, py::handle axis, py::handle keepdims);

  Shape result;

  bool reduced(int d) const { return reduced_[static_cast<std::size_t>(d)]; }
  /// Where a dimension that is not reduced stands in the result.
  int result_dim(int d) const {
    return keepdims_ ? d : d - static_cast<int>(std::count(reduced_.begin(), reduced_.begin() + d, true));
  }

 private:
  std::array<bool, max_dims> reduced_;
  bool keepdims_;
};

/// The same of an argument that has to be an int.
int parse_class_axis(py::handle axis, int ndim);

/// 1 / log(base) for the argument base; 1 for None.
Partial parse_base(py::handle base);

/// Where results are written: a new array, the caller's `out`, or memory that is copied there at the end because the
/// caller's overlaps an input.
class Output {
 public:
  /// Throws TypeError or ValueError where out is not None and does not fit. A new array is laid out in memory as the
  /// operand `like` is, or in C order.
  Output(py::handle out, const Shape& shape, DType dtype, const Operand* like = nullptr);

  /// Writes to other memory if out shares some with an operand, unless it is the very same elements and
  /// `same_is_safe`.
  void separate_from(Operands& operands, const Shape& shape, bool same_is_safe);

  char* data() { return data_; }
  std::ptrdiff_t stride(int d) const { return strides_[d]; }

  /// Whether what is written is written to the caller's array at once.
  bool is_callers() const { return out_ && !array_; }

  /// What the call returns: out itself, a new array, or a scalar where that would have no dimensions.
  py::object result();

 private:
  void allocate(const Shape& shape, const Operand* like = nullptr);

  DType dtype_;
  py::object out_;
  py::object array_;
  char* data_ = nullptr;
  const py::ssize_t* strides_ = nullptr;
  double scalar_ = 0;
};

/// Whether a fast call can skip everything above: an exact, aligned, C-contiguous float array in native order with one
/// dimension or more.
std::optional<DType> plain_float_array(py::handle object);

py::object to_scalar(const void* value, DType dtype);

}  // namespace kullback
