/// Inputs of the long checks: random numbers, where they matter most, and threads to work on them.
#pragma once

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "parallel.hpp"

namespace check {

template <class T>
struct Format;

template <>
struct Format<float> {
  using Bits = std::uint32_t;
  using Wide = double;
  static constexpr const char* name = "float32";
  static constexpr int mantissa_bits = 23;
  static constexpr int exponent_bias = 127;
  static constexpr double overflow = 0x1.ffffffp127;  ///< what rounds to infinity
  static constexpr double exponential_range = 106;    ///< exp is 0 or infinite beyond
};

template <>
struct Format<double> {
  using Bits = std::uint64_t;
  using Wide = long double;
  static constexpr const char* name = "float64";
  static constexpr int mantissa_bits = 52;
  static constexpr int exponent_bias = 1023;
  static constexpr long double overflow = 0x1.fffffffffffff8p1023L;
  static constexpr double exponential_range = 750;
};

template <class To, class From>
To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

template <class T>
typename Format<T>::Bits to_bits(T x) {
  return bit_cast<typename Format<T>::Bits>(x);
}

/// Calls body(i) for each i below count, over all threads, in no order.
template <class Body>
void for_each(std::uint64_t count, const Body& body) {
  std::atomic<std::uint64_t> next{0};
  const int threads = kullback::available_threads();
  kullback::parallel_for(static_cast<std::size_t>(threads), threads, [&](std::size_t, std::size_t, int) {
    for (std::uint64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) body(i);
  });
}

/// The finalizer of SplitMix64.
inline std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// SplitMix64: its state steps by a constant, so that any thread can start anywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(mix(seed)) {}

  std::uint64_t bits() { return mix(state_ += 0x9e3779b97f4a7c15); }
  std::uint64_t below(std::uint64_t n) { return (bits() >> 32) * n >> 32; }
  /// In [0, 1).
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  /// A random number between 2^-(depth + 1) and 1, of each exponent equally often.
  template <class T>
  T small(std::uint64_t depth) {
    using F = Format<T>;
    using Bits = typename F::Bits;
    const auto mantissa = static_cast<Bits>(bits()) >> (sizeof(T) * 8 - F::mantissa_bits);
    const auto exponent = static_cast<Bits>(static_cast<Bits>(F::exponent_bias - 1) - static_cast<Bits>(below(depth)));
    return bit_cast<T>(static_cast<Bits>(exponent << F::mantissa_bits | mantissa));
  }
  /// x, moved by a random number of its neighbours, most often few.
  template <class T>
  T near(T x) {
    using Bits = typename Format<T>::Bits;
    const auto steps = static_cast<Bits>(bits() >> (64 - 1 - below(Format<T>::mantissa_bits - 10)));
    return bit_cast<T>(static_cast<Bits>(bits() & 1 ? to_bits(x) + steps : to_bits(x) - steps));
  }

 private:
  std::uint64_t state_;
};

/// Values with a rule of their own.
template <class T>
constexpr T edges[] = {
    T{0},
    -T{0},
    std::numeric_limits<T>::denorm_min(),
    -std::numeric_limits<T>::denorm_min(),
    std::numeric_limits<T>::min() / 2,
    std::numeric_limits<T>::min(),
    -std::numeric_limits<T>::min(),
    std::numeric_limits<T>::max(),
    -std::numeric_limits<T>::max(),
    std::numeric_limits<T>::infinity(),
    -std::numeric_limits<T>::infinity(),
    std::numeric_limits<T>::quiet_NaN(),
    T{0.5},
    T{1},
    T{-1},
    T{2},
};
template <class T>
constexpr std::size_t edge_count = sizeof(edges<T>) / sizeof(T);

/// Where algorithms change their way: limits of the formats, of exp and expm1, and of the reduction of logarithms.
template <class T>
constexpr T thresholds[] = {
    T{0},
    -T{0},
    T(0x1p-126),
    std::numeric_limits<T>::min(),
    std::numeric_limits<T>::max(),
    T{0.5},
    T{0.75},
    T{1},
    T{1.5},
    T{-1},
    T{-0.25},
    T{-0.5},
    T(-17.33),
    T(-36.74),
    T(88.7228),
    T(-87.3365),
    T(-103.9721),
    T(709.7827),
    T(-708.3964),
    T(-745.13),
    T(0x1p-50),
    T(0x1p-108),
};

/// Inputs over the whole domain, most of them where elementary functions are hard.
template <class T>
T spread_input(std::uint64_t index) {
  constexpr double ln2 = 0.693147180559945309;
  Random random(index);
  const T sign = random.bits() & 1 ? T{-1} : T{1};
  switch (index % 8) {
    case 0:  // near 0: log1p, expm1
      return sign * random.small<T>(Format<T>::mantissa_bits + 8);
    case 1:  // near 1: log
      return T{1} + sign * random.small<T>(Format<T>::mantissa_bits);
    case 2:  // near -1: log1p
      return T{-1} + random.small<T>(Format<T>::mantissa_bits);
    case 3:  // the range of exponentials
      return static_cast<T>((2 * random.uniform() - 1) * Format<T>::exponential_range);
    case 4: {  // between two steps of the reduction of exponentials
      const double k = std::floor((2 * random.uniform() - 1) * Format<T>::exponential_range / ln2);
      return random.near(static_cast<T>((k + 0.5) * ln2));
    }
    case 5:
      return random.near(thresholds<T>[random.below(sizeof(thresholds<T>) / sizeof(T))]);
    default:  // all exponents
      return bit_cast<T>(static_cast<typename Format<T>::Bits>(random.bits()));
  }
}

}  // namespace check
