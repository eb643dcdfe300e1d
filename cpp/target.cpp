/// Compiled once per target with that target's -march. Exports one constant, kullback::<target>::kernels.
///
/// Four locks keep its instructions from leaking into code that runs on other CPUs:
///   1. everything lives in a namespace named after the target,
///   2. and in an anonymous one inside it, so that no template instantiation becomes a weak symbol;
///   3. nothing is included but <cstddef>, <cstdint>, <cstring> and the target's intrinsics;
///   4. tests/test_symbols.py reads the object files.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels.hpp"
#include "simd/target.hpp"

#define KULLBACK_INLINE [[gnu::always_inline]] inline
#define KULLBACK_INLINE_LAMBDA __attribute__((always_inline))

namespace kullback::KULLBACK_TARGET {
namespace {

// Each builds on those before it.
// clang-format off
#include "simd/pack.hpp"
#include "simd/math.hpp"
#include "kernels/rows.hpp"
#include "kernels/entropy.hpp"
#include "kernels/divergence.hpp"
// clang-format on

#define KULLBACK_ROW(inputs, name, operation)
#define KULLBACK_MAP(inputs, name, operation)
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

template <class T>
constexpr Kernels<T> kernels_of = {
#define KULLBACK_ROW(inputs, name, operation) \
  {rows<operation, T>, block<operation, T>, columns<operation, T>, finish<operation, T>},
#define KULLBACK_MAP(inputs, name, operation) map<operation, T>,
#define KULLBACK_PACK(name) map_pack<Pack_##name, T>,
#include "kernels.def"
};

}  // namespace

extern const Target kernels;
constexpr Target kernels = {KULLBACK_TARGET_NAME, kernels_of<float>, kernels_of<double>, reciprocal_log};

}  // namespace kullback::KULLBACK_TARGET
