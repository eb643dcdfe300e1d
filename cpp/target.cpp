/// Compiled once per target with that target's -march. Exports one constant, kullback::<target>::kernels.
///
/// Four locks keep its instructions from leaking into code that runs on other CPUs:
///   1. everything lives in a namespace named after the target,
///   2. and in an anonymous one inside it, so that no template instantiation becomes a weak symbol;
///   3. nothing is included but <cstddef>, <cstdint>, <cstring> and the target's intrinsics;
///   4. tests/long/objects.py reads the object files.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels.hpp"
#include "simd/target.hpp"

#if KULLBACK_AVX512 || KULLBACK_AVX2 || KULLBACK_NEON
#define KULLBACK_INLINE [[gnu::always_inline]] inline
#else
// Nothing makes the calls of fma fast: inlined at every use they would be half of the extension's size.
#define KULLBACK_INLINE inline
#endif
/// Of what runs once for some rows or blocks, one copy serves.
#define KULLBACK_OUT_OF_LINE [[gnu::noinline]]
#define KULLBACK_INLINE_LAMBDA __attribute__((always_inline))

namespace kullback::KULLBACK_TARGET {
namespace {

// Each builds on those before it.
// clang-format off
#include "simd/pack.hpp"
#include "simd/coefficients.hpp"
#include "simd/math.hpp"
#include "kernels/prefetch.hpp"
#include "kernels/sums.hpp"
#include "kernels/transpose.hpp"
#include "kernels/states.hpp"
#include "kernels/direct.hpp"
#include "kernels/direct_rows.hpp"
#include "kernels/fixed_point.hpp"
#include "kernels/narrow.hpp"
#include "kernels/rows.hpp"
#include "kernels/columns.hpp"
#include "kernels/maps.hpp"
#include "kernels/entropy.hpp"
#include "kernels/divergence.hpp"
#include "kernels/logits.hpp"
#include "kernels/losses.hpp"
// clang-format on

#define KULLBACK_ROW(name, operation, ...)
#define KULLBACK_MAP(name, operation, input)
#define KULLBACK_ROW_MAP(name, operation)
#define KULLBACK_BINARY(name, operation, input)
#define KULLBACK_CATEGORICAL(name, operation, input)
#define KULLBACK_TOKENS(name, operation)
#define KULLBACK_PACK(name)            \
  struct Pack_##name {                 \
    template <class V>                 \
    KULLBACK_INLINE static V of(V x) { \
      return name(x);                  \
    }                                  \
  };
#include "kernels.def"

Partial reciprocal_log(double base) {
  const auto log_base = log_of_positive(broadcast(base));
  double hi[Pack<double>::size], lo[Pack<double>::size];
  store(hi, log_base.hi);
  store(lo, log_base.lo);
  const double inverse = 1 / hi[0];
  const double error = __builtin_fma(-inverse, lo[0], __builtin_fma(-inverse, hi[0], 1.0));
  return {inverse, error * inverse};
}

/// Up to which length rows are done sooner as columns: measured.
template <class Op, class T>
constexpr std::size_t short_row() {
  if constexpr (is_read_directly<Op, T>) return longest_short_row;
  if constexpr (Op::reads == Reads::normalizers) return 0;
  return Op::reads == Reads::maxima || has_narrow_way<Op, T> || sizeof(T) == sizeof(double) ? 24 : 15;
}

/// Exponentials that were made relative to something of a block are of no use to other blocks.
template <class Op, class T>
constexpr std::size_t keeps_up_to() {
  if constexpr (has_direct_way<Op, T>) return ~std::size_t{0};
  return has_fixed_point_way<Op, T> ? block_size : 0;
}

template <class Op>
using Reading = typename ReadingOf<Op>::Type;

template <class Op, class T>
constexpr RowKernel<T> row_kernel = {
    rows<Reading<Op>, T>, columns<Reading<Op>, T>, merge<Reading<Op>>, finish<Op, T>, nullptr, nullptr,
    short_row<Op, T>(),   keeps_up_to<Op, T>()};

/// Never read as columns: the sum of everything has no neighbours, class weights are the same for all rows.
template <class Op, class T>
constexpr RowKernel<T> rows_alone = {rows<Op, T>, nullptr, merge<Op>, finish<Op, T>, nullptr, nullptr, 0, 0};

/// The kernel that reads the rows before Op does.
template <class Op, class T>
constexpr const RowKernel<T>* normalizer_of() {
  if constexpr (Op::reads == Reads::normalizers) {
    return &row_kernel<LogNormalizer<Op::inputs>, T>;
  } else {
    return nullptr;
  }
}

template <class Op, class T>
constexpr const RowKernel<T>* shortcut_of() {
  using Shortcut = typename ShortcutOf<Op>::Type;
  if constexpr (same<Shortcut, Nothing>) {
    return nullptr;
  } else {
    return &row_kernel<Shortcut, T>;
  }
}

/// Of the larger ones, copies for columns would take more room than they are worth: their rows are gathered.
template <class Op, class T>
constexpr auto columns_of() {
  if constexpr (Op::reads == Reads::normalizers) {
    return nullptr;
  } else {
    return columns<Reading<Op>, T>;
  }
}

template <class Op, class T>
constexpr RowKernel<T> kernel_of = {rows<Reading<Op>, T>, columns_of<Op, T>(),    merge<Reading<Op>>,
                                    finish<Op, T>,        normalizer_of<Op, T>(), shortcut_of<Op, T>(),
                                    short_row<Op, T>(),   keeps_up_to<Op, T>()};

template <class Op, int Input, class T>
constexpr const RowKernel<T>* knowledge_of() {
  if constexpr (Op::template Gradient<Input>::reads == Reads::normalizers) {
    return &kernel_of<typename Op::template Knowledge<Input>, T>;
  } else {
    return nullptr;
  }
}

template <class Op, int Input, class T>
constexpr RowMap<T> gradient_of() {
  if constexpr (Input < Op::inputs) {
    return map_rows<typename Op::template Gradient<Input>, T>;
  } else {
    return nullptr;
  }
}

template <class Op, class T>
constexpr RowMeasure<T> measure = {kernel_of<Op, T>,
                                   {gradient_of<Op, 0, T>(), gradient_of<Op, 1, T>()},
                                   {knowledge_of<Op, 0, T>(), knowledge_of<Op, 1, T>()}};

/// Null for NoGradient.
template <class Op, class T>
constexpr MapKernel<T> map_of() {
  if constexpr (same<Op, NoGradient>) {
    return nullptr;
  } else {
    return map<Op, T>;
  }
}
template <class Op, class T>
constexpr RowMap<T> row_map_of() {
  if constexpr (same<Op, NoGradient>) {
    return nullptr;
  } else {
    return map_rows<Op, T>;
  }
}

template <class Op, class T>
constexpr ColumnMap<T> column_map_of() {
  if constexpr (has_direct_map<Op, T>) {
    return map_columns<DirectOf<Op, T>, T>;
  } else {
    return nullptr;
  }
}

template <class Op, class T>
constexpr MapMeasure<T> map_measure = {map<Op, T>, map_of<typename Op::Gradient, T>()};

template <class Op, class T>
constexpr CategoricalGradient<T> categorical_gradient = {Op::gradient_of_states,
                                                         map_rows<typename Op::IndexedGradient, T>,
                                                         column_map_of<typename Op::IndexedGradient, T>(),
                                                         map_rows<typename Op::LabelledGradient, T>,
                                                         map_rows<typename Op::WeightedGradient, T>,
                                                         map_rows<typename Op::LabelGradient, T>,
                                                         row_map_of<typename Op::Hessian, T>(),
                                                         at_label<Op, T>};

template <class T>
constexpr Kernels<T> kernels_of = {
#define KULLBACK_ROW(name, operation, ...) measure<operation, T>,
#define KULLBACK_MAP(name, operation, input) map_measure<operation, T>,
#define KULLBACK_ROW_MAP(name, operation)                                                     \
  {map_rows<operation, T>, column_map_of<operation, T>(), operation::Direct::of_exponentials, \
   &row_kernel<LogNormalizer<1>, T>},
#define KULLBACK_BINARY(name, operation, input)                                       \
  {map_measure<operation::Plain, T>,       map_measure<operation::Weighted, T>,       \
   rows_alone<SumOf<operation::Plain>, T>, rows_alone<SumOf<operation::Weighted>, T>, \
   map_of<operation::OfLabels, T>(),       map_of<operation::Hessian, T>()},
#define KULLBACK_CATEGORICAL(name, operation, input)                                                          \
  {row_kernel<operation::Indexed, T>, row_kernel<operation::Labelled, T>, rows_alone<operation::Weighted, T>, \
   loss<operation, T>, categorical_gradient<operation, T>},
#define KULLBACK_TOKENS(name, operation) {row_kernel<operation::Indexed, T>, losses_at<operation, T>},
#define KULLBACK_PACK(name) map_pack<Pack_##name, T>,
#include "kernels.def"
    rows_alone<Total, T>, rows_alone<Products, T>, round<T>, transpose<T>, columns_to_rows<T>,
};

}  // namespace

extern const Target kernels;
constexpr Target kernels = {KULLBACK_TARGET_NAME, kernels_of<float>, kernels_of<double>, reciprocal_log};

}  // namespace kullback::KULLBACK_TARGET
