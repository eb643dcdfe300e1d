/// Errors of the pack functions, against wider types.

#include <algorithm>
#include <cfloat>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <mutex>
#include <vector>

#include "checks.hpp"
#include "inputs.hpp"

using kullback::Kernels;
using kullback::MapBatch;
using kullback::MapKernel;
using kullback::Setting;
using kullback::Target;

namespace check {
namespace {

constexpr double largest_error = 1.0;
constexpr std::uint64_t float64_inputs = std::uint64_t{1} << 28;
constexpr std::size_t chunk_size = 4096;

static_assert(LDBL_MANT_DIG >= 64, "float64 needs a wider type to be checked against");

/// 1 / the spacing of T at exact.
double per_spacing(double exact) {
  using F = Format<float>;
  constexpr std::uint64_t bias = 1023, subnormal = bias - F::exponent_bias + 1;
  const std::uint64_t exponent = std::max(bit_cast<std::uint64_t>(exact) >> 52 & 0x7ff, subnormal);
  return bit_cast<double>((2 * bias + F::mantissa_bits - exponent) << 52);
}
long double per_spacing(long double exact) {
  using F = Format<double>;
  return std::scalbn(1.0L, F::mantissa_bits - std::max(std::ilogb(exact), 1 - F::exponent_bias));
}

/// The error in ULP; infinite where NaN, infinity or the sign of a zero is wrong.
template <class T>
double ulp_error(T got, typename Format<T>::Wide exact) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (exact != exact) return got != got ? 0 : infinity;
  if (std::fabs(exact) >= Format<T>::overflow) {
    return std::isinf(got) && std::signbit(got) == std::signbit(exact) ? 0 : infinity;
  }
  if (exact == 0) return got == 0 && std::signbit(got) == std::signbit(exact) ? 0 : infinity;
  const auto error = static_cast<double>(std::fabs(got - exact) * per_spacing(exact));
  return error == error ? error : infinity;
}

template <class T>
struct PackFunction {
  const char* name;
  MapKernel<T> kernel;
  typename Format<T>::Wide (*exact)(typename Format<T>::Wide);
};

template <class T>
std::vector<PackFunction<T>> pack_functions(const Kernels<T>& kernels) {
  using Wide = typename Format<T>::Wide;
  return {
#define KULLBACK_ROW(name, operation, ...)
#define KULLBACK_MAP(name, operation, input)
#define KULLBACK_ROW_MAP(name, operation)
#define KULLBACK_BINARY(name, operation, input)
#define KULLBACK_CATEGORICAL(name, operation, input)
#define KULLBACK_TOKENS(name, operation)
#define KULLBACK_PACK(name) {#name, kernels.name, [](Wide x) -> Wide { return std::name(x); }},
#include "kernels.def"
  };
}

template <class T>
struct Worst {
  double error = -1;
  std::uint64_t index = 0;
  T input = 0;
  T got = 0;

  /// Of equal errors the first, so that threads don't matter.
  bool operator<(const Worst& other) const { return error != other.error ? error < other.error : index > other.index; }
};

/// Checks input(i) for each i below count, a multiple of chunk_size.
template <class T, class Input>
bool check_accuracy(const PackFunction<T>& function, std::uint64_t count, Input input) {
  const auto start = std::chrono::steady_clock::now();
  Worst<T> worst;
  std::mutex lock;
  for_each(count / chunk_size, [&](std::uint64_t chunk) {
    T in[chunk_size], got[chunk_size];
    const std::uint64_t first = chunk * chunk_size;
    for (std::size_t i = 0; i < chunk_size; ++i) in[i] = input(first + i);
    function.kernel(MapBatch<T>{{in}, chunk_size, got, {1, 0}}, Setting{});
    Worst<T> here;
    for (std::size_t i = 0; i < chunk_size; ++i) {
      const double error = ulp_error(got[i], function.exact(in[i]));
      if (error > here.error) here = {error, first + i, in[i], got[i]};
    }
    const std::lock_guard<std::mutex> guard(lock);
    if (worst < here) worst = here;
  });
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const bool passed = worst.error <= largest_error;
  std::printf("%-8s %-8s %11llu %8.4f   %-24.17g %-24a %-24a %5.1f s%s\n", function.name, Format<T>::name,
              static_cast<unsigned long long>(count), worst.error, double{worst.input}, double{worst.input},
              double{worst.got}, seconds.count(), passed ? "" : "  FAILED");
  std::fflush(stdout);
  return passed;
}

}  // namespace

bool accuracy(const Target& target) {
  std::printf("target %s, at most %g ULP\n", target.name, largest_error);
  std::printf("%-8s %-8s %11s %8s   %-24s %-24s %-24s %s\n", "function", "dtype", "inputs", "ULP", "worst input",
              "the same", "its result", "   time");
  bool passed = true;
  for (const auto& function : pack_functions(target.float32)) {
    const auto every = [](std::uint64_t i) { return bit_cast<float>(static_cast<std::uint32_t>(i)); };
    passed &= check_accuracy(function, std::uint64_t{1} << 32, every);
  }
  for (const auto& function : pack_functions(target.float64)) {
    passed &= check_accuracy(function, float64_inputs, spread_input<double>);
  }
  return passed;
}

}  // namespace check
