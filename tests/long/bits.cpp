/// Digests of every kernel's output bits.

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "checks.hpp"
#include "inputs.hpp"

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

namespace check {
namespace {

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
    const auto add_gradient = [&](const char* what, RowMap<T> derivative, const std::string& inputs) {
      if (derivative != nullptr) gradient(name + " gradient " + what, derivative, knowledge, inputs, true);
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

  void gradient(const std::string& name, RowMap<T> derivative, const RowKernel<T>* knowledge, const std::string& what,
                bool of_loss) {
    add(name, samples_ / mean_rows, [&](std::uint64_t piece, std::size_t n, Digest& digest) {
      digest_gradient<T>(derivative, knowledge, what, of_loss, piece, n, digest);
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

}  // namespace

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

}  // namespace check
