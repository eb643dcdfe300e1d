/// The wall between ordinary code and code compiled once per target: plain structs of function pointers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kullback {

/// Rows are cut into blocks of this many elements, and the sums of the blocks are added in order. The bits of every
/// result depend on it.
constexpr std::size_t block_size = 4096;

constexpr int max_inputs = 2;

/// An unevaluated sum hi + lo. Where hi is infinite or NaN, lo has no meaning.
struct Partial {
  double hi;
  double lo;
};

/// Neighbouring rows, each contiguous and at most one block long. Strides count elements.
template <class T>
struct RowBatch {
  const T* in[max_inputs];
  std::ptrdiff_t row_stride[max_inputs];
  T* out;
  std::ptrdiff_t out_stride;
  std::size_t rows;
  std::size_t n;
  Partial scale;  ///< the factor of the unit: 1 for nats, 1/log(base) otherwise
};

/// Rows that lie side by side, one element of each next to the other: columns, at most one block long.
template <class T>
struct ColumnBatch {
  const T* in[max_inputs];
  std::ptrdiff_t step[max_inputs];  ///< elements from one element of a column to the next
  std::size_t n;
  std::size_t columns;
  Partial* out;  ///< one sum per column
};

/// A measure that reduces a row to one value.
template <class T>
struct RowKernel {
  void (*rows)(const RowBatch<T>& batch);
  /// The sum over one block. `magnified` keeps the digits of rows whose sum would otherwise drown among the subnormals.
  Partial (*block)(const T* const* in, std::size_t n, bool magnified);
  /// The same sums as block's, of many columns at once.
  void (*columns)(const ColumnBatch<T>& batch);
  T (*finish)(Partial total, bool magnified, Partial scale);
};

/// A measure of each element; out may be one of the inputs.
template <class T>
using MapKernel = void (*)(const T* const* in, std::size_t n, T* out, Partial scale);

template <class T>
struct Kernels {
#define KULLBACK_ROW(inputs, name, operation) RowKernel<T> name;
#define KULLBACK_MAP(inputs, name, operation) MapKernel<T> name;
#define KULLBACK_PACK(name) MapKernel<T> name;
#include "kernels.def"
};

/// Everything that one compilation of target.cpp exports.
struct Target {
  const char* name;
  Kernels<float> float32;
  Kernels<double> float64;
  /// 1 / log(base) to twice the precision of float64.
  Partial (*reciprocal_log)(double base);
};

/// Adds the sum of the next block.
[[gnu::always_inline]] inline Partial combine(Partial a, Partial b) {
  const double hi = a.hi + b.hi;
  const double from_b = hi - a.hi;
  return {hi, a.lo + b.lo + ((a.hi - (hi - from_b)) + (b.hi - from_b))};
}

/// Whether a row's sum is so small that it has to be taken again, magnified.
template <class T>
[[gnu::always_inline]] inline bool drowned(Partial total) {
  return sizeof(T) == sizeof(double) && __builtin_fabs(total.hi) < 0x1p-900;
}

}  // namespace kullback
