/// The wall between ordinary code and code compiled once per target: plain structs of function pointers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kullback {

/// Rows are cut into blocks of this many elements, and the sums of the blocks are merged in order. The bits of every
/// result depend on it.
constexpr std::size_t block_size = 4096;

constexpr int max_inputs = 5;

/// At most so many rows are worked on together.
constexpr std::size_t tile_rows = 64;

/// No kernel reads longer rows as columns that lie one after the other.
constexpr std::size_t longest_short_row = 40;

/// An unevaluated sum hi + lo. Where hi is infinite or NaN, lo has no meaning.
struct Partial {
  double hi;
  double lo;
};

constexpr double magnification = 0x1p600;
constexpr double root_of_magnification = 0x1p300;
/// Results of float64 that are nearer to 0 are taken in those units.
constexpr double least_result = 0x1p-900;

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
  /// What gradients with respect to labels are less than `keep` times the information: a mean may depend on labels.
  Partial shift{0, 0};
};

/// What is known of some rows, each in its own column. What a sum stands for is up to the kernel. After `finish` the
/// first one is the result and, of kernels that read logits, those after it are log sum exp(z - max z) of each input.
struct RowStates {
  static constexpr int max_sums = 5;
  static constexpr int max_maxima = 2;
  static constexpr int log_sum = 1;
  static constexpr int second_result = log_sum + max_maxima;
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
  std::size_t rows = 0;
  std::size_t n = 0;
  const RowStates* normalizers = nullptr;  ///< for kernels that have a normalizer: its finished states
  /// Where results are to be, or null. A kernel that takes exponentials of what it reads leaves them there, or, where
  /// results are not made of those, asks for it in time.
  T* results = nullptr;
  std::ptrdiff_t results_stride = 0;
  bool keeps_exponentials = false;

  RowBatch() {}  // NOLINT(modernize-use-equals-default): as in RowStates, for arrays as far as there are inputs
};

/// Rows that lie side by side, one element of each next to the other: columns, at most one block long.
template <class T>
struct ColumnBatch {
  const T* in[max_inputs];
  std::ptrdiff_t step[max_inputs];  ///< elements from one element of a column to the next
  std::size_t columns = 0;
  std::size_t n = 0;
  const RowStates* normalizers = nullptr;
  T* kept = nullptr;  ///< where logits or their exponentials are left, in columns that are `tile_rows` apart; or null
  bool keeps_exponentials = false;

  ColumnBatch() {}  // NOLINT(modernize-use-equals-default): as in RowStates
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
  /// What reads the rows first: the kernel needs its finished states.
  const RowKernel* normalizer;
  /// Makes the same in natural units, and sooner, of most rows; NaN of those it is not exact enough for, whose first
  /// logarithm of a sum is NaN, too, unless it is good enough to go on with. Or null.
  const RowKernel* shortcut;
  /// Rows up to this length that lie one after the other are faster read as columns, all of them together.
  std::size_t short_row;
  /// Of rows up to this length, in natural units, it leaves the exponentials where RowBatch says.
  std::size_t keeps_up_to;
};

/// What the gradients of some rows are multiplied by.
struct RowFactors {
  double hi[tile_rows];
  double lo[tile_rows];
};

/// Maps each row to a row, given what is known of it. Where exponentials were kept, `in` has them; `out` may be they.
template <class T>
struct RowMapBatch {
  RowBatch<T> in;
  const RowFactors* factors;  ///< for gradients
  T* out;
  std::ptrdiff_t out_stride;
};

template <class T>
using RowMap = void (*)(const RowMapBatch<T>& batch, const Setting& setting);

/// The same of columns, which `in` holds or, where they were kept, their exponentials.
template <class T>
struct ColumnMapBatch {
  const RowStates& known;
  const RowFactors* factors;
  std::size_t columns, n;
  const T* in;
  std::ptrdiff_t in_step;
  bool exponentials;
  T* out;  ///< or `in`
  std::ptrdiff_t out_step;
};

/// One bit per column tells which results mean something. Logits in the place of others are still there.
template <class T>
using ColumnMap = std::uint64_t (*)(const ColumnMapBatch<T>& batch);

template <class T>
struct RowMapKernel {
  RowMap<T> rows;
  ColumnMap<T> columns;  ///< or null
  bool of_exponentials;  ///< whether it takes those that the normalizer kept, or logits
  const RowKernel<T>* normalizer;
};

/// A measure of rows and its gradients with respect to each input.
template <class T>
struct RowMeasure {
  RowKernel<T> value;
  RowMap<T> gradient[2];
  /// Whose finished states a gradient needs, or null; it may be `value`, unless that is not exact enough. What the
  /// first one knows, the second does.
  const RowKernel<T>* knowledge[2];
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

/// A measure of each element and its gradient, which is null where there is none. Gradients have another input before
/// the value's, a factor.
template <class T>
struct MapMeasure {
  MapKernel<T> value, gradient;
};

/// A loss of each element, or their sum; without and with weights and smoothing.
template <class T>
struct BinaryKernel {
  MapMeasure<T> map, weighted_map;
  RowKernel<T> sum, weighted_sum;
  MapKernel<T> of_labels;  ///< the gradient with respect to the labels, weighted
  MapKernel<T> hessian;    ///< the second derivative, weighted; null where there is none
};

/// What the sums of a categorical loss stand for, from logits and from probabilities alike. The information of a class
/// is counted from that of the likeliest one, which itself is `base`. Once the loss is there, the first sum is the
/// loss, `labelled` what it is before samples are weighted, and `base_kept` the former `base`.
struct LossSum {
  enum Index : int {
    base,             ///< log sum exp(z - max z); 0 of probabilities
    labelled,         ///< sum of w y information
    labelled_mass,    ///< sum of w y
    spread_out,       ///< sum of w information
    spread_out_mass,  ///< sum of w
    base_kept = spread_out,
  };
};

/// What the losses of some rows are made of besides the states of their kernels. A null pointer stands for ones.
struct LossTerms {
  const double* at_label;      ///< the prediction of each row's class; null where labels are distributions
  const double* label_weight;  ///< the weight of each row's class
  const double* sample_weight;
  bool smooth;
};

/// What the gradients of some rows at their class are made of.
struct LabelTerms {
  const double* prediction;  ///< of the class
  const double* mass[2];     ///< hi and lo of sum_j w_j y_j
  const double* target[2];   ///< hi and lo of w y of the class
  const RowFactors* factors;
};

/// The gradients of a categorical loss. Those with respect to predictions need the states of the rows if they are
/// `of_states`; sum w y is their first result, which class indices without weights leave out.
template <class T>
struct CategoricalGradient {
  bool of_states;
  RowMap<T> indexed;  ///< of predictions; without the class
  ColumnMap<T> indexed_columns;
  RowMap<T> labelled;   ///< of labels, predictions
  RowMap<T> weighted;   ///< of weight, labels, predictions
  RowMap<T> of_labels;  ///< with respect to labels, of weight, predictions
  RowMap<T> hessian;    ///< the diagonal, of predictions; null where there is none
  /// The gradient of each row at its class, of states whose sums are a loss's.
  void (*at_label)(const RowStates& states, std::size_t rows, const LabelTerms& terms, const Setting& setting, T* out);
};

/// A loss of each row. Its kernels' states go through `loss` for a result.
template <class T>
struct CategoricalKernel {
  RowKernel<T> indexed;   ///< predictions
  RowKernel<T> labelled;  ///< labels, predictions
  RowKernel<T> weighted;  ///< weight, labels, predictions
  /// Makes losses of finished states.
  void (*loss)(RowStates& states, std::size_t rows, const LossTerms& terms, const Setting& setting);
  CategoricalGradient<T> gradient;
};

/// The log-probabilities of chosen classes: losses of class indices, with the other sign.
template <class T>
struct TokenKernel {
  RowKernel<T> normalizer;
  /// The results, in units of `scale`, of one class each of some rows, whose states are finished, and whose predictions
  /// for that class are `at_label`. One bit per row tells whether its result drowns; those after them mean nothing.
  std::uint64_t (*losses)(const RowStates& states, std::size_t rows, const double* at_label, Partial scale,
                          const Setting& setting, T* out);
};

template <class T>
struct Kernels {
#define KULLBACK_ROW(name, operation, ...) RowMeasure<T> name;
#define KULLBACK_MAP(name, operation, input) MapMeasure<T> name;
#define KULLBACK_ROW_MAP(name, operation) RowMapKernel<T> name;
#define KULLBACK_BINARY(name, operation, input) BinaryKernel<T> name;
#define KULLBACK_CATEGORICAL(name, operation, input) CategoricalKernel<T> name;
#define KULLBACK_TOKENS(name, operation) TokenKernel<T> name;
#define KULLBACK_PACK(name) MapKernel<T> name;
#include "kernels.def"
  RowKernel<T> total;     ///< the sum of one input
  RowKernel<T> products;  ///< the sum of the products of two
  /// (hi + lo) * scale / setting.one of finished states, rounded once.
  void (*round)(const RowStates& states, std::size_t rows, Partial scale, const Setting& setting, T* out);
  /// Rows to columns, `step` apart. As many rows as fill 64 bytes are written, whether they are there or not.
  void (*transpose)(const T* in, std::ptrdiff_t row_stride, std::size_t rows, std::size_t n, T* out, std::size_t step);
  /// Back to rows, those of `which`, from columns that are `tile_rows` apart.
  void (*columns_to_rows)(const T* in, std::uint64_t which, std::size_t n, T* out, std::ptrdiff_t row_stride);
};

/// Everything that one compilation of target.cpp exports.
struct Target {
  const char* name;
  Kernels<float> float32;
  Kernels<double> float64;
  /// 1 / log(base) to twice the precision of float64.
  Partial (*reciprocal_log)(double base);
};

/// One bit for each of that many rows of a tile.
constexpr std::uint64_t first_bits(std::size_t rows) { return ~std::uint64_t{0} >> (tile_rows - rows); }

/// Whether a row's result is so small that it has to be taken again, magnified.
template <class T>
[[gnu::always_inline]] inline bool drowned(double result) {
  return sizeof(T) == sizeof(double) && __builtin_fabs(result) < least_result;
}

}  // namespace kullback
