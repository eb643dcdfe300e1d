/// Checks of the kernels that take minutes, without Python; tests/long/run builds and runs it.
///
///   check_math accuracy                   errors of the pack functions, on the fastest target
///   check_math bits [samples] [fastest]   digests of every kernel's output bits, on all targets that run here
///
/// `accuracy` takes every float32 input, and spread float64 inputs, and fails above 1 ULP. Exact values come from the C
/// library's function of the same name in a wider type: their error is below 0.01 ULP of the type that is checked.
/// `bits` fails where targets differ. Its lines can be compared with those of another machine, if samples are the same.
///
/// Kernels come from kernels.def: a new one is checked without a change here.

#include <algorithm>
#include <atomic>
#include <cfloat>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include "dispatch.hpp"
#include "parallel.hpp"

using kullback::BinaryKernel;
using kullback::CategoricalKernel;
using kullback::ColumnBatch;
using kullback::Kernels;
using kullback::LossSum;
using kullback::LossTerms;
using kullback::MapBatch;
using kullback::MapKernel;
using kullback::MapMeasure;
using kullback::Partial;
using kullback::RowBatch;
using kullback::RowFactors;
using kullback::RowKernel;
using kullback::RowMap;
using kullback::RowMapKernel;
using kullback::RowMeasure;
using kullback::RowStates;
using kullback::Setting;
using kullback::Target;

namespace {

constexpr double largest_error = 1.0;
constexpr std::uint64_t float64_inputs = std::uint64_t{1} << 28;
constexpr std::size_t chunk_size = 4096;

static_assert(LDBL_MANT_DIG >= 64, "float64 needs a wider type to be checked against");

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

// Inputs ------------------------------------------------------------------------------------------------------------

/// The finalizer of SplitMix64.
std::uint64_t mix(std::uint64_t x) {
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

// Accuracy ----------------------------------------------------------------------------------------------------------

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

// Bits --------------------------------------------------------------------------------------------------------------

/// Outputs in order, hashed; all NaN are one.
class Digest {
 public:
  void add(std::uint64_t word) { state_ = mix((state_ ^ word) + 0x9e3779b97f4a7c15); }
  template <class T>
  void add_number(T x) {
    add(to_bits(x == x ? x : std::numeric_limits<T>::quiet_NaN()));
  }
  void add_partial(Partial x) {
    add_number(x.hi);
    if (std::isfinite(x.hi)) add_number(x.lo);
  }
  std::uint64_t value() const { return state_; }

 private:
  std::uint64_t state_ = 0;
};

/// Work is done in pieces; these are their lengths, one after the other.
std::vector<std::size_t> piece_lengths() {
  std::vector<std::size_t> lengths;
  for (std::size_t n = 1; n <= 70; ++n) lengths.push_back(n);
  lengths.push_back(1000);
  lengths.push_back(kullback::block_size);
  return lengths;
}

/// The digest of enough pieces for so many samples. piece(number, n, digest) takes n samples.
template <class Piece>
std::uint64_t digest_pieces(std::uint64_t samples, const Piece& piece) {
  const auto lengths = piece_lengths();
  std::uint64_t in_turn = 0;
  for (const std::size_t n : lengths) in_turn += n;
  std::vector<std::uint64_t> digests((samples + in_turn - 1) / in_turn * lengths.size());
  for_each(digests.size(), [&](std::uint64_t i) {
    Digest digest;
    piece(i, lengths[i % lengths.size()], digest);
    digests[i] = digest.value();
  });
  Digest all;
  for (const std::uint64_t digest : digests) all.add(digest);
  return all.value();
}

/// Results in nats and in bits by turns.
Partial scale_of(const Target& target, std::uint64_t piece) {
  return piece / 2 % 2 == 0 ? Partial{1, 0} : target.reciprocal_log(2);
}

/// Elements behind every array: qemu faults where a masked load or store reaches beyond mapped memory, as no CPU does.
constexpr std::size_t padding = 64;

/// The settings of a call, by turns: plain ones, magnified ones, with label smoothing.
Setting setting_of(std::uint64_t piece) {
  Setting setting;
  if (piece % 3 == 1) setting.one = setting.mass_unit = kullback::magnification;
  if (piece % 3 == 2) {
    setting.keep = {0.9, -0x1p-55};
    setting.spread = {0.05, 0x1p-60};
  }
  return setting;
}

/// What an input holds.
enum class Holds { anything, labels };

template <class T>
void digest_map(const Target& target, MapKernel<T> kernel, Holds holds, std::uint64_t piece, std::size_t n,
                Digest& digest) {
  std::vector<T> in[kullback::max_inputs], out(n + padding);
  MapBatch<T> batch{};
  for (std::size_t which = 0; which < kullback::max_inputs; ++which) {
    in[which].resize(n + padding);
    batch.in[which] = in[which].data();
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint64_t index = (piece * kullback::max_inputs + which) * kullback::block_size + i;
      const std::uint64_t choice = mix(~index);
      in[which][i] = choice % 16 == 0 ? edges<T>[choice / 16 % edge_count<T>] : spread_input<T>(index);
      // Most numbers are no label, and would make their loss NaN.
      if (holds == Holds::labels && choice % 8 != 0) {
        in[which][i] = static_cast<T>(static_cast<double>(choice >> 11) * 0x1p-53 * (piece % 2 == 0 ? 1 : 0x1p-30));
      }
    }
  }
  batch.n = n;
  batch.out = out.data();
  batch.scale = scale_of(target, piece);
  Setting setting = setting_of(piece);
  setting.one = setting.mass_unit = 1;
  kernel(batch, setting);
  out.resize(n);
  for (const T x : out) digest.add_number(x);
}

/// A pair of inputs for measures of distributions. Each kind of row is hard in its own way.
template <class T>
void distribution_element(Random& random, std::uint64_t kind, T& p, T& q) {
  constexpr auto range = static_cast<std::uint64_t>(Format<T>::exponent_bias);
  p = static_cast<T>(random.uniform());
  q = static_cast<T>(random.uniform());
  switch (kind) {
    case 0:
      break;
    case 1:  // p near q
      q = random.near(p);
      break;
    case 2:  // all magnitudes below 1
      p = random.small<T>(range);
      q = random.small<T>(range);
      break;
    case 3:  // so small that products are subnormal
      p = random.small<T>(Format<T>::mantissa_bits) * std::numeric_limits<T>::min();
      q = random.small<T>(range);
      break;
    case 4:  // impossible events
      if (random.below(4) == 0) p = 0;
      if (p == 0 && random.below(2) == 0) q = 0;
      break;
    case 5:  // edges, but none that makes the row NaN
      if (random.below(16) == 0) p = std::fabs(edges<T>[random.below(edge_count<T> - 8)]);
      if (random.below(16) == 0) q = std::fabs(edges<T>[random.below(edge_count<T> - 8)]);
      break;
    default:
      if (random.below(128) == 0) p = edges<T>[random.below(edge_count<T>)];
      if (random.below(128) == 0) q = edges<T>[random.below(edge_count<T>)];
  }
}
constexpr std::uint64_t distribution_kinds = 7;

/// Logits, of which the largest matter; each kind of row is hard in its own way.
template <class T>
T logit_element(Random& random, std::uint64_t kind) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  const double x = random.uniform();
  switch (kind) {
    case 0:
      return static_cast<T>(8 * x);
    case 1:  // nearly equal
      return random.near(static_cast<T>(3));
    case 2:  // sums beyond the normal range
      return static_cast<T>(-1500 * x * x);
    case 3:  // confident
      return static_cast<T>(random.below(32) == 0 ? 40 : x);
    case 4:  // impossible classes
      return random.below(2) == 0 ? -infinity : static_cast<T>(x);
    case 5:  // ties, and all magnitudes
      return random.below(2) == 0 ? T{2} : random.small<T>(Format<T>::exponent_bias);
    default:
      return random.below(128) == 0 ? edges<T>[random.below(edge_count<T>)] : static_cast<T>(x);
  }
}

/// Rows of a piece: enough for columns of every width, fewer where they are long.
std::size_t rows_of(std::size_t n) { return n < kullback::block_size ? 43 : 3; }
constexpr std::uint64_t mean_rows = 20;

/// The inputs of some rows, as rows and as columns.
template <class T>
struct RowInputs {
  std::size_t rows, n, stride;
  std::vector<T> by_row[kullback::max_inputs], by_column[kullback::max_inputs];

  /// `what` has a letter for each input: p and q for a pair of distributions, w for weights, z for logits.
  RowInputs(const std::string& what, std::uint64_t piece, std::size_t length)
      : rows(rows_of(length)), n(length), stride(length + piece % 5) {
    Random random(~piece);
    for (std::size_t k = 0; k < what.size(); ++k) {
      by_row[k].resize(rows * stride + padding);
      by_column[k].resize(rows * n + padding);
    }
    for (std::size_t row = 0; row < rows; ++row) {
      const std::uint64_t kind = random.below(distribution_kinds);
      for (std::size_t i = 0; i < n; ++i) {
        T p, q;
        distribution_element(random, kind, p, q);
        for (std::size_t k = 0; k < what.size(); ++k) {
          const T x = what[k] == 'z'   ? logit_element<T>(random, kind)
                      : what[k] == 'q' ? q
                      : what[k] == 'w' ? static_cast<T>(random.uniform() * 4 - 1)
                                       : p;
          by_row[k][row * stride + i] = by_column[k][i * rows + row] = x;
        }
      }
    }
  }

  RowBatch<T> row_batch(std::size_t first, std::size_t count, const RowStates* normalizers) const {
    RowBatch<T> batch{};
    for (std::size_t k = 0; k < kullback::max_inputs; ++k) {
      batch.in[k] = by_row[k].data() + (by_row[k].empty() ? 0 : first * stride);
      batch.row_stride[k] = static_cast<std::ptrdiff_t>(stride);
    }
    batch.rows = count;
    batch.n = n;
    batch.normalizers = normalizers;
    return batch;
  }

  ColumnBatch<T> column_batch(const RowStates* normalizers) const {
    ColumnBatch<T> batch{};
    for (std::size_t k = 0; k < kullback::max_inputs; ++k) {
      batch.in[k] = by_column[k].data();
      batch.step[k] = static_cast<std::ptrdiff_t>(rows);
    }
    batch.columns = rows;
    batch.n = n;
    batch.normalizers = normalizers;
    return batch;
  }
};

/// Finishes some rows' states and takes down what they have become.
template <class T, class Finish>
void digest_finished(const Kernels<T>& kernels, RowStates& states, std::size_t rows, Partial scale,
                     const Setting& setting, const Finish& finish, Digest& digest) {
  finish(states, rows);
  T out[kullback::tile_rows];
  kernels.round(states, rows, scale, setting, out);
  for (std::size_t row = 0; row < rows; ++row) {
    digest.add_partial({states.hi[0][row], states.lo[0][row]});
    digest.add_number(out[row]);
  }
}

/// The finished states of a kernel that reads the inputs first.
template <class T>
void normalize(const RowKernel<T>& kernel, const RowInputs<T>& inputs, RowStates& states) {
  kernel.rows(inputs.row_batch(0, inputs.rows, nullptr), Setting{}, states);
  kernel.finish(states, inputs.rows, Setting{});
}

/// Rows one by one, as columns, and as the blocks of one long row. False where columns are not what rows are.
template <class T, class Finish>
bool digest_rows(const Target& target, const Kernels<T>& kernels, const RowKernel<T>& kernel, const std::string& what,
                 const Finish& finish, std::uint64_t piece, std::size_t n, Digest& digest) {
  const RowInputs<T> inputs(what, piece, n);
  const Setting setting = setting_of(piece);
  const Partial scale = scale_of(target, piece);
  RowStates normalizers;
  if (kernel.normalizer != nullptr) {
    normalize(*kernel.normalizer, inputs, normalizers);
  }

  RowStates states;
  Digest rows, columns;
  kernel.rows(inputs.row_batch(0, inputs.rows, &normalizers), setting, states);
  digest_finished(kernels, states, inputs.rows, scale, setting, finish, rows);
  digest.add(rows.value());
  if (kernel.columns != nullptr) {
    kernel.columns(inputs.column_batch(&normalizers), setting, states);
    digest_finished(kernels, states, inputs.rows, scale, setting, finish, columns);
  }

  // What was normalized by different numbers is not one row.
  RowStates total;
  for (std::size_t row = 0; row < inputs.rows; ++row) {
    RowStates own;
    if (kernel.normalizer != nullptr) {
      for (int k = 0; k < RowStates::max_maxima; ++k) {
        const int sum = RowStates::log_sum + k;
        own.max[k][0] = normalizers.max[k][row];
        own.hi[sum][0] = normalizers.hi[sum][row];
        own.lo[sum][0] = normalizers.lo[sum][row];
      }
    }
    kernel.rows(inputs.row_batch(row, 1, &own), setting, row == 0 ? total : states);
    if (row != 0) kernel.merge(total, states, 1, setting);
  }
  digest_finished(kernels, total, 1, scale, setting, finish, digest);
  return kernel.columns == nullptr || columns.value() == rows.value();
}

/// The rows that a kernel makes of others, given what is known of them.
template <class T>
void digest_mapped(RowMap<T> map, const RowInputs<T>& inputs, const RowStates& known, const RowFactors* factors,
                   const Setting& setting, Digest& digest) {
  std::vector<T> out(inputs.rows * inputs.n + padding);
  map({inputs.row_batch(0, inputs.rows, &known), factors, out.data(), static_cast<std::ptrdiff_t>(inputs.n)}, setting);
  out.resize(inputs.rows * inputs.n);
  for (const T x : out) digest.add_number(x);
}

template <class T>
void digest_row_map(const RowMapKernel<T>& kernel, std::uint64_t piece, std::size_t n, Digest& digest) {
  const RowInputs<T> inputs("z", piece, n);
  RowStates normalizers;
  normalize(*kernel.normalizer, inputs, normalizers);
  digest_mapped(kernel.rows, inputs, normalizers, nullptr, Setting{}, digest);
}

/// Factors of gradients: ordinary ones, a few that are 0, tiny or huge.
RowFactors some_factors(Random& random) {
  RowFactors factors;
  for (std::size_t row = 0; row < kullback::tile_rows; ++row) {
    const double size[] = {1, 1, 1, 0, 0x1p-500, 0x1p200};
    factors.hi[row] = (random.uniform() * 4 - 1) * size[random.below(6)];
    factors.lo[row] = factors.hi[row] * 0x1p-54 * random.uniform();
  }
  return factors;
}

/// `knowledge` makes the states that the gradient needs, or is null.
template <class T>
void digest_gradient(RowMap<T> gradient, const RowKernel<T>* knowledge, const std::string& what, bool of_loss,
                     std::uint64_t piece, std::size_t n, Digest& digest) {
  const RowInputs<T> inputs(what, piece, n);
  RowStates known{};
  if (knowledge != nullptr && of_loss) {
    // Of labels, predictions or of weight, labels, predictions: the predictions are the last.
    RowInputs<T> predictions = inputs;
    predictions.by_row[0] = inputs.by_row[what.size() - 1];
    normalize(*knowledge, predictions, known);
  } else if (knowledge != nullptr) {
    RowStates normalizers;
    if (knowledge->normalizer != nullptr) normalize(*knowledge->normalizer, inputs, normalizers);
    knowledge->rows(inputs.row_batch(0, inputs.rows, &normalizers), Setting{}, known);
    knowledge->finish(known, inputs.rows, Setting{});
    for (int k = 0; knowledge->normalizer != nullptr && k < RowStates::max_maxima; ++k) {
      const int sum = RowStates::log_sum + k;
      for (std::size_t row = 0; row < inputs.rows; ++row) {
        known.max[k][row] = normalizers.max[k][row];
        known.hi[sum][row] = normalizers.hi[sum][row];
        known.lo[sum][row] = normalizers.lo[sum][row];
      }
    }
  }
  Random random(piece);
  const RowFactors factors = some_factors(random);
  for (std::size_t row = 0; of_loss && row < inputs.rows; ++row) {
    known.hi[0][row] = random.uniform() * 2;
    known.lo[0][row] = 0;
  }
  Setting setting = setting_of(piece);
  setting.shift = {random.uniform(), 0};
  digest_mapped(gradient, inputs, known, &factors, setting, digest);
}

/// Gradients at the classes of rows.
template <class T>
void digest_at_label(const CategoricalKernel<T>& kernel, bool logits, std::uint64_t piece, Digest& digest) {
  Random random(piece);
  const RowFactors factors = some_factors(random);
  double prediction[kullback::tile_rows], mass[2][kullback::tile_rows] = {}, target[2][kullback::tile_rows] = {};
  RowStates states;
  for (std::size_t row = 0; row < kullback::tile_rows; ++row) {
    prediction[row] = logits ? 8 * random.uniform() - 8 : random.uniform();
    mass[0][row] = random.uniform() * 2;
    target[0][row] = random.below(2) == 0 ? mass[0][row] : random.uniform();
    states.max[0][row] = random.below(2) == 0 ? prediction[row] : 0;
    const double base[] = {1, 0x1p-60, 0x1p-400};
    states.hi[LossSum::base_kept][row] = random.uniform() * base[random.below(3)];
    states.lo[LossSum::base_kept][row] = 0;
  }
  T out[kullback::tile_rows];
  kernel.gradient.at_label(states, kullback::tile_rows,
                           {prediction, {mass[0], mass[1]}, {target[0], target[1]}, &factors}, Setting{}, out);
  for (const T x : out) digest.add_number(x);
}

/// Of the names of a measure's inputs, what they hold.
template <class... Names>
std::string inputs_of(const Names&... names) {
  std::string what;
  const auto add = [&what](const std::string& name) {
    what += name == "z" || name.find("logits") != std::string::npos ? 'z' : name[0];
  };
  (add(names), ...);
  return what;
}

struct Line {
  std::string name;
  std::uint64_t digest;
  bool consistent = true;  ///< whether columns have the bits of rows
};

template <class T>
class TargetDigests {
 public:
  TargetDigests(const Target& target, const Kernels<T>& kernels, std::uint64_t samples, std::vector<Line>& lines)
      : target_(target), kernels_(kernels), samples_(samples), lines_(lines) {}

  void map(const std::string& name, MapKernel<T> kernel, Holds holds = Holds::anything) {
    add(name, samples_, [&](std::uint64_t piece, std::size_t n, Digest& digest) {
      digest_map<T>(target_, kernel, holds, piece, n, digest);
      return true;
    });
  }

  void map(const std::string& name, const MapMeasure<T>& measure, Holds holds = Holds::anything) {
    map(name, measure.value, holds);
    if (measure.gradient != nullptr) map(name + " gradient", measure.gradient, holds);
  }

  void binary(const std::string& name, const BinaryKernel<T>& kernel, const char* input) {
    map(name, kernel.map, Holds::labels);
    map(name + " weighted", kernel.weighted_map, Holds::labels);
    rows(name + " sum", kernel.sum, inputs_of("p", input));
    rows(name + " weighted sum", kernel.weighted_sum, inputs_of("w", "w", "p", input));
    map(name + " of labels", kernel.of_labels, Holds::labels);
    if (kernel.hessian != nullptr) map(name + " hessian", kernel.hessian, Holds::labels);
  }

  void measure(const std::string& name, const RowMeasure<T>& measure, const std::string& what) {
    rows(name, measure.value, what);
    for (std::size_t k = 0; k < what.size(); ++k) {
      gradient(name + " gradient " + std::to_string(k), measure.gradient[k], measure.knowledge[k], what, false);
    }
  }

  void rows(const std::string& name, const RowKernel<T>& kernel, const std::string& what) {
    rows(name, kernel, what, [&](std::uint64_t piece) {
      return [&, piece](RowStates& states, std::size_t count) { kernel.finish(states, count, setting_of(piece)); };
    });
  }

  void categorical(const std::string& name, const CategoricalKernel<T>& kernel) {
    const bool logits = name.find("logits") != std::string::npos;
    const std::string predictions = logits ? "z" : "q";
    const auto loss_of = [&](const RowKernel<T>& sums, bool indexed) {
      return [&, indexed](std::uint64_t piece) {
        return [&, indexed, piece](RowStates& states, std::size_t count) {
          const Setting setting = setting_of(piece);
          double at_label[kullback::tile_rows], weight[kullback::tile_rows];
          Random random(piece);
          for (std::size_t row = 0; row < count; ++row) {
            at_label[row] = logits ? 8 * random.uniform() - 8 : random.uniform();
            weight[row] = random.uniform() * 4;
          }
          // Only the weighted kernel sums what smoothing spreads.
          const bool smooth = &sums == &kernel.weighted && piece % 3 == 2;
          const LossTerms terms{indexed ? at_label : nullptr, indexed && piece % 2 == 0 ? weight : nullptr,
                                piece % 5 == 0 ? weight : nullptr, smooth};
          sums.finish(states, count, setting);
          kernel.loss(states, count, terms, setting);
        };
      };
    };
    rows(name + " indexed", kernel.indexed, predictions, loss_of(kernel.indexed, true));
    rows(name + " labelled", kernel.labelled, "p" + predictions, loss_of(kernel.labelled, false));
    rows(name + " weighted", kernel.weighted, "wp" + predictions, loss_of(kernel.weighted, false));

    const auto& gradients = kernel.gradient;
    const RowKernel<T>* const knowledge = gradients.of_states ? &kernel.indexed : nullptr;
    const auto add_gradient = [&](const char* what, RowMap<T> row_map, const std::string& inputs) {
      if (row_map != nullptr) gradient(name + " gradient " + what, row_map, knowledge, inputs, true);
    };
    add_gradient("indexed", gradients.indexed, predictions);
    add_gradient("labelled", gradients.labelled, "p" + predictions);
    add_gradient("weighted", gradients.weighted, "wp" + predictions);
    add_gradient("of labels", gradients.of_labels, "wp" + predictions);
    add_gradient("hessian", gradients.hessian, predictions);
    add(name + " gradient at label", samples_ / mean_rows, [&](std::uint64_t piece, std::size_t, Digest& digest) {
      digest_at_label<T>(kernel, logits, piece, digest);
      return true;
    });
  }

  void row_map(const std::string& name, const RowMapKernel<T>& kernel) {
    add(name, samples_ / mean_rows, [&](std::uint64_t piece, std::size_t n, Digest& digest) {
      digest_row_map<T>(kernel, piece, n, digest);
      return true;
    });
  }

 private:
  template <class FinishOf>
  void rows(const std::string& name, const RowKernel<T>& kernel, const std::string& what, const FinishOf& finish_of) {
    add(name, samples_ / mean_rows, [&](std::uint64_t piece, std::size_t n, Digest& digest) {
      return digest_rows<T>(target_, kernels_, kernel, what, finish_of(piece), piece, n, digest);
    });
  }

  void gradient(const std::string& name, RowMap<T> row_map, const RowKernel<T>* knowledge, const std::string& what,
                bool of_loss) {
    add(name, samples_ / mean_rows, [&](std::uint64_t piece, std::size_t n, Digest& digest) {
      digest_gradient<T>(row_map, knowledge, what, of_loss, piece, n, digest);
      return true;
    });
  }

  /// digest_piece(piece, n, digest) tells whether the piece is consistent.
  template <class Piece>
  void add(const std::string& name, std::uint64_t samples, const Piece& digest_piece) {
    std::atomic<bool> same{true};
    const std::uint64_t value = digest_pieces(samples, [&](std::uint64_t piece, std::size_t n, Digest& digest) {
      if (!digest_piece(piece, n, digest)) same = false;
    });
    lines_.push_back({name + ' ' + Format<T>::name, value, same});
  }

  const Target& target_;
  const Kernels<T>& kernels_;
  std::uint64_t samples_;
  std::vector<Line>& lines_;
};

template <class T>
void digest_kernels(const Target& target, const Kernels<T>& kernels, std::uint64_t samples, std::vector<Line>& lines) {
  TargetDigests<T> digests(target, kernels, samples, lines);
#define KULLBACK_ROW(name, operation, ...) digests.measure(#name, kernels.name, inputs_of(__VA_ARGS__));
#define KULLBACK_MAP(name, operation, input) digests.map(#name, kernels.name);
#define KULLBACK_ROW_MAP(name, operation) digests.row_map(#name, kernels.name);
#define KULLBACK_BINARY(name, operation, input) digests.binary(#name, kernels.name, input);
#define KULLBACK_CATEGORICAL(name, operation, input) digests.categorical(#name, kernels.name);
#define KULLBACK_TOKENS(name, operation) digests.rows(#name, kernels.name.normalizer, "z");
#define KULLBACK_PACK(name) digests.map(#name, kernels.name);
#include "kernels.def"
  digests.rows("total", kernels.total, "q");
  digests.rows("products", kernels.products, "wq");
}

std::uint64_t digest_units(const Target& target) {
  Digest digest;
  for (const double base : {2.0, 10.0, 2.718281828459045, 0.5, 256.0, 1 + 0x1p-52, 0x1p-1074, 0x1p1023}) {
    digest.add_partial(target.reciprocal_log(base));
  }
  return digest.value();
}

std::vector<Line> digest_target(const Target& target, std::uint64_t samples) {
  std::vector<Line> lines;
  digest_kernels(target, target.float32, samples, lines);
  digest_kernels(target, target.float64, samples, lines);
  lines.push_back({"reciprocal_log float64", digest_units(target), true});
  for (const Line& line : lines) {
    std::printf("%s %s %016llx\n", target.name, line.name.c_str(), static_cast<unsigned long long>(line.digest));
  }
  std::fflush(stdout);
  return lines;
}

bool bits(const std::vector<const Target*>& targets, std::uint64_t samples) {
  bool passed = true;
  std::vector<Line> first;
  for (const Target* target : targets) {
    const auto lines = digest_target(*target, samples);
    if (first.empty()) first = lines;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (!lines[i].consistent) {
        std::fprintf(stderr, "FAILED: %s: columns differ from rows on %s\n", lines[i].name.c_str(), target->name);
        passed = false;
      }
      if (lines[i].digest != first[i].digest) {
        std::fprintf(stderr, "FAILED: %s: %s differs from %s\n", lines[i].name.c_str(), target->name,
                     targets.front()->name);
        passed = false;
      }
    }
  }
  return passed;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  auto targets = kullback::runnable_targets();
  if (mode == "accuracy" && argc == 2) return accuracy(*targets.front()) ? 0 : 1;
  if (mode == "bits" && argc <= 4) {
    const std::uint64_t samples = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 10'000'000;
    if (argc > 3) targets.resize(1);
    if (samples > 0 && (argc <= 3 || std::string(argv[3]) == "fastest")) return bits(targets, samples) ? 0 : 1;
  }
  std::fprintf(stderr, "usage: check_math accuracy | bits [samples] [fastest]\n");
  return 2;
}
