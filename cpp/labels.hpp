/// Class indices: reading them from arrays of any integer dtype, checking them, looking up what they refer to.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "arrays.hpp"

namespace kullback {

/// One element after another of an array that some rows refer to, as float64.
template <class T>
class Lookup {
 public:
  Lookup(const Operand& operand, DType dtype)
      : data_(operand.data(dtype)),
        gather_(gather_as<T>(operand.source())),
        native_(operand.native(sizeof(T) == sizeof(float) ? DType::float32 : DType::float64)) {}

  double operator()(std::ptrdiff_t offset) const {
    T x;
    if (native_) {
      std::memcpy(&x, data_ + offset, sizeof(T));
    } else {
      gather_(&x, 0, data_ + offset, 0, 0, 1, 1);
    }
    return double{x};
  }

  /// Several elements, of those offsets.
  template <class Offset>
  void read(double* to, std::size_t count, Offset offset) const {
    if (!native_) {
      for (std::size_t i = 0; i < count; ++i) to[i] = (*this)(offset(i));
      return;
    }
    for (std::size_t i = 0; i < count; ++i) {
      T x;
      std::memcpy(&x, data_ + offset(i), sizeof(T));
      to[i] = double{x};
    }
  }

 private:
  const char* data_;
  Gather<T> gather_;
  bool native_;
};

/// Class indices.
class Labels {
 public:
  Labels(const Operand& operand, std::size_t classes)
      : data_(operand.data(DType::float64)),
        gather_(operand.source().to_int64),
        is_unsigned_(operand.source().is_unsigned),
        is_int64_(operand.source().is_int64),
        classes_(classes) {}

  /// Rows with that label are to be ignored. Throws TypeError for what is no int.
  void ignore(py::handle label) {
    if (label.is_none()) return;
    const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(label.ptr()));
    if (!index) {
      PyErr_Clear();
      throw py::type_error("ignore_index: expected None or an int, got " + show(label));
    }
    int overflow = 0;
    ignored_ = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
    ignores_ = overflow == 0 && !(is_unsigned_ && ignored_ < 0);
    if (overflow > 0 && is_unsigned_) {
      const unsigned long long large = PyLong_AsUnsignedLongLong(index.ptr());
      ignores_ = PyErr_Occurred() == nullptr;
      PyErr_Clear();
      ignored_ = static_cast<std::int64_t>(large);
    }
  }

  void read(std::int64_t* to, std::ptrdiff_t offset, std::ptrdiff_t step, std::size_t count) const {
    if (is_int64_ && step == static_cast<std::ptrdiff_t>(sizeof(std::int64_t))) {
      std::memcpy(to, data_ + offset, count * sizeof(std::int64_t));
    } else {
      gather_(to, 0, data_ + offset, 0, step, 1, count);
    }
  }
  bool all_in_range(const std::int64_t* label, std::size_t count) const {
    return std::all_of(label, label + count, [this](std::int64_t x) { return in_range(x); });
  }
  bool ignores() const { return ignores_; }
  bool ignored(std::int64_t label) const { return ignores_ && label == ignored_; }
  bool in_range(std::int64_t label) const { return static_cast<std::uint64_t>(label) < classes_; }
  bool good(std::int64_t label) const { return in_range(label) || ignored(label); }

  /// Throws IndexError for the first bad label of an array of that shape, if there is one.
  void check(const Operand& operand, const char* noun) const {
    const Shape shape = shape_of(operand);
    Dims dims;
    for (int d = 0; d < shape.ndim; ++d) {
      dims.append(static_cast<std::size_t>(shape.length[d]), {operand.stride(d)});
    }
    std::size_t position = 0;
    bool found = false;
    std::int64_t bad = 0;
    dims.for_runs(0, dims.size(), [&](const std::ptrdiff_t* offset, std::size_t run) {
      const std::ptrdiff_t step = dims.count == 0 ? 0 : dims.stride[dims.count - 1][0];
      std::int64_t some[tile_rows];
      for (std::size_t i = 0; i < run && !found; i += tile_rows) {
        const std::size_t count = std::min(tile_rows, run - i);
        read(some, offset[0] + static_cast<std::ptrdiff_t>(i) * step, step, count);
        const std::int64_t* const first = std::find_if_not(some, some + count, [this](auto x) { return good(x); });
        position += static_cast<std::size_t>(first - some);
        found = first != some + count;
        if (found) bad = *first;
      }
    });
    if (!found) return;
    py::tuple index(shape.ndim);
    for (int d = shape.ndim - 1; d >= 0; --d) {
      const auto length = static_cast<std::size_t>(shape.length[d]);
      index[static_cast<std::size_t>(d)] = position % length;
      position /= length;
    }
    const std::string value = is_unsigned_ ? std::to_string(static_cast<std::uint64_t>(bad)) : std::to_string(bad);
    throw py::index_error(std::string(noun) + " " + value + " at index " + text(index) + " is out of range for " +
                          std::to_string(classes_) + " classes");
  }

 private:
  const char* data_;
  Gather<std::int64_t> gather_;
  bool is_unsigned_, is_int64_;
  std::size_t classes_;
  bool ignores_ = false;
  std::int64_t ignored_ = 0;
};

/// A shape without one of its dimensions.
inline Shape without(const Shape& shape, int axis) {
  Shape rest;
  for (int d = 0; d < shape.ndim; ++d) {
    if (d != axis) rest.length[rest.ndim++] = shape.length[d];
  }
  return rest;
}

}  // namespace kullback
