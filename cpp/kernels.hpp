/// The wall between ordinary code and code compiled once per target: plain structs of function pointers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kullback {

/// Rows are cut into blocks of this many elements, and the sums of the blocks are merged in order. The bits of every
/// result depend on it.
constexpr std::size_t block_size = 4096;

constexpr int max_inputs = 4;

/// At most so many rows are worked on together.
constexpr std::size_t tile_rows = 64;

/// An unevaluated sum hi + lo. Where hi is infinite or NaN, lo has no meaning.
struct Partial {
  double hi;
  double lo;
};

constexpr double magnification = 0x1p600;
constexpr double root_of_magnification = 0x1p300;

/// What holds for a whole call.
struct Setting {
  /// What results are counted in: 1, or `magnification` for rows whose result would otherwise drown among the
  /// subnormals.
  double one = 1;
  /// What sums over masses are counted in: the same, or less where they would overflow.
  double mass_unit = 1;
  /// Label smoothing: y becomes keep y + spread.
  Partial keep{1, 0};
  Partial spread{0, 0};
};

/// What is known of some rows, each in its own column. What a sum stands for is up to the kernel; after `finish` the
/// first one is the result.
struct RowStates {
  static constexpr int max_sums = 5;
  static constexpr int max_maxima = 2;
  double max[max_maxima][tile_rows];
  double hi[max_sums][tile_rows];
  double lo[max_sums][tile_rows];

  RowStates() {}  // NOLINT(modernize-use-equals-default): stays uninitialised; clearing would cost a small call dearly
};

/// Neighbouring rows, each contiguous and at most one block long. Strides count elements.
template <class T>
struct RowBatch {
  const T* in[max_inputs];
  std::ptrdiff_t row_stride[max_inputs];
  std::size_t rows;
  std::size_t n;
  const RowStates* normalizers;  ///< for kernels that have a normalizer: its finished states
};

/// Rows that lie side by side, one element of each next to the other: columns, at most one block long.
template <class T>
struct ColumnBatch {
  const T* in[max_inputs];
  std::ptrdiff_t step[max_inputs];  ///< elements from one element of a column to the next
  std::size_t columns;
  std::size_t n;
  const RowStates* normalizers;
};

/// A measure that reduces a row to a few sums, and those to one value.
template <class T>
struct RowKernel {
  void (*rows)(const RowBatch<T>& batch, const Setting& setting, RowStates& states);
  /// The same states as rows', of rows that lie side by side; null where they are to be gathered.
  void (*columns)(const ColumnBatch<T>& batch, const Setting& setting, RowStates& states);
  /// Adds the states of the rows' next block.
  void (*merge)(RowStates& total, const RowStates& next, std::size_t rows, const Setting& setting);
  void (*finish)(RowStates& states, std::size_t rows, const Setting& setting);
  /// What reads the rows first; its finished states hold the maximum and log sum exp(z - max) of every input.
  const RowKernel* normalizer;
};

/// Maps each row to a row, given its normalizer.
template <class T>
struct RowMapBatch {
  RowBatch<T> in;
  T* out;
  std::ptrdiff_t out_stride;
};

template <class T>
struct RowMapKernel {
  void (*rows)(const RowMapBatch<T>& batch);
  const RowKernel<T>* normalizer;
};

template <class T>
struct MapBatch {
  const T* in[max_inputs];
  std::size_t n;
  T* out;
  Partial scale;  ///< the factor of the unit: 1 for nats, 1/log(base) otherwise
};

/// A measure of each element; out may be one of the inputs.
template <class T>
using MapKernel = void (*)(const MapBatch<T>& batch, const Setting& setting);

/// A loss of each element, or their sum; without and with weights and smoothing.
template <class T>
struct BinaryKernel {
  MapKernel<T> map, weighted_map;
  RowKernel<T> sum, weighted_sum;
};

/// What the sums of a categorical loss stand for, from logits and from probabilities alike. The information of a class
/// is counted from that of the likeliest one, which itself is `base`.
struct LossSum {
  enum Index : int {
    base,             ///< log sum exp(z - max z); 0 of probabilities
    labelled,         ///< sum of w y information
    labelled_mass,    ///< sum of w y
    spread_out,       ///< sum of w information
    spread_out_mass,  ///< sum of w
  };
};

/// What the losses of some rows are made of besides the states of their kernels. A null pointer stands for ones.
struct LossTerms {
  const double* at_label;      ///< the prediction of each row's class; null where labels are distributions
  const double* label_weight;  ///< the weight of each row's class
  const double* sample_weight;
  bool smooth;
};

/// A loss of each row. Its kernels' states go through `loss` for a result.
template <class T>
struct CategoricalKernel {
  RowKernel<T> indexed;   ///< predictions
  RowKernel<T> labelled;  ///< labels, predictions
  RowKernel<T> weighted;  ///< weight, labels, predictions
  /// Makes losses of finished states.
  void (*loss)(RowStates& states, std::size_t rows, const LossTerms& terms, const Setting& setting);
};

/// The log-probabilities of chosen classes: losses of class indices, with the other sign.
template <class T>
struct TokenKernel {
  RowKernel<T> normalizer;
  void (*loss)(RowStates& states, std::size_t rows, const LossTerms& terms, const Setting& setting);
};

template <class T>
struct Kernels {
#define KULLBACK_ROW(name, operation, ...) RowKernel<T> name;
#define KULLBACK_MAP(name, operation, input) MapKernel<T> name;
#define KULLBACK_ROW_MAP(name, operation) RowMapKernel<T> name;
#define KULLBACK_BINARY(name, operation, input) BinaryKernel<T> name;
#define KULLBACK_CATEGORICAL(name, operation, input) CategoricalKernel<T> name;
#define KULLBACK_TOKENS(name, operation) TokenKernel<T> name;
#define KULLBACK_PACK(name) MapKernel<T> name;
#include "kernels.def"
  RowKernel<T> total;  ///< the sum of one input
  /// (hi + lo) * scale / setting.one of finished states, rounded once.
  void (*round)(const RowStates& states, std::size_t rows, Partial scale, const Setting& setting, T* out);
};

/// Everything that one compilation of target.cpp exports.
struct Target {
  const char* name;
  Kernels<float> float32;
  Kernels<double> float64;
  /// 1 / log(base) to twice the precision of float64.
  Partial (*reciprocal_log)(double base);
};

/// Whether a row's result is so small that it has to be taken again, magnified.
template <class T>
[[gnu::always_inline]] inline bool drowned(double result) {
  return sizeof(T) == sizeof(double) && __builtin_fabs(result) < 0x1p-900;
}

}  // namespace kullback
