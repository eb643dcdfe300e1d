/// The work of a categorical loss, its sums and its gradients: tiles of rows, in which labels and weights are looked
/// up.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "losses.hpp"

namespace kullback {

/// Adds rows up, row i in lane i mod 8, as elements are added up in a row.
class Accumulator {
 public:
  static constexpr std::size_t lanes = 8;

  void add_value(std::size_t row, Partial value, bool magnified) { (magnified ? magnified_ : value_).add(row, value); }
  /// The values of as many rows as there are lanes, the first one's number a multiple of that.
  void add_values(const double* hi, const double* lo) { value_.add(hi, lo); }
  void add_weight(std::size_t row, Partial weight) { weight_.add(row, weight); }
  /// The same of weights of 1.
  void count_rows(std::size_t rows) { rows_ += static_cast<double>(rows); }

  /// What was added, after which it is empty again.
  Totals take() {
    Totals all{value_.fold(), magnified_.fold(), weight_.fold()};
    add(all.weight, {rows_, 0});
    value_.used = magnified_.used = weight_.used = 0;
    rows_ = 0;
    return all;
  }

 private:
  struct Lanes {
    double hi[lanes], lo[lanes];
    std::size_t used = 0;

    Lanes() {}  // NOLINT(modernize-use-equals-default): the lanes stay uninitialised, they are cleared up to `used`

    void use(std::size_t count) {
      for (; used < count; ++used) hi[used] = lo[used] = 0;
    }
    void add(std::size_t row, Partial term) {
      const std::size_t lane = row % lanes;
      use(lane + 1);
      Partial sum{hi[lane], lo[lane]};
      kullback::add(sum, term);
      hi[lane] = sum.hi;
      lo[lane] = sum.lo;
    }
    void add(const double* term_hi, const double* term_lo) {
      use(lanes);
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        const Partial next = two_sum(hi[lane], term_hi[lane]);
        hi[lane] = next.hi;
        lo[lane] += next.lo + term_lo[lane];
      }
    }
    Partial fold() {
      for (std::size_t half = lanes / 2; half > 0; half /= 2) {
        for (std::size_t lane = half; lane < std::min(used, 2 * half); ++lane) add(lane - half, {hi[lane], lo[lane]});
      }
      return used == 0 ? Partial{0, 0} : Partial{hi[0], lo[0]};
    }
  };

  Lanes value_, magnified_, weight_;
  double rows_ = 0;
};

/// The sums that the rows of a tile are added to, so many neighbours to each.
struct RowSums {
  Accumulator* sums;
  std::size_t rows_in_sum;
  std::size_t first;  ///< the tile's first row, counted from the first one of `sums`
};

/// The class indices of a tile, and what is looked up by them.
struct TileLabels {
  std::int64_t label[tile_rows];
  double prediction[tile_rows];
  double weight[tile_rows];
  std::uint64_t ignored = 0;
  std::uint64_t in_range = 0;
};

/// What the rows of a tile let their gradients know.
template <class T>
struct TileKnowledge {
  RowStates states;  ///< of which the first result is sum w y, unless that is 1 of all rows
  RowFactors factors;
  T at_label[tile_rows];  ///< the gradient at each row's class
};

/// sum w y of class indices without weights, as the high and the low parts of numbers.
struct UnitMass {
  double ones[tile_rows] = {}, zeros[tile_rows] = {};

  constexpr UnitMass() {
    for (double& x : ones) x = 1;
  }
};
inline constexpr UnitMass unit_mass;

/// What a call of a categorical loss is made of.
struct CategoricalCall {
  const Operand* predictions;
  const Operand* weight;         ///< or null
  const Operand* sample_weight;  ///< or null
  const Labels* labels;          ///< null where labels are distributions
  std::ptrdiff_t class_stride;   ///< of the predictions
  int predictions_input;         ///< which of the kernel's inputs they are
  Reduction reduction;
  bool smooth;
  Partial scale;
  Setting setting;
  bool value;                            ///< whether it is asked for
  const Operand* grad_output = nullptr;  ///< null where no gradient is asked for
};

enum class Derivative { of_labels, of_predictions, hessian };

/// A gradient that a call asks for.
struct GradientPlan {
  Derivative derivative;
  char* out;
  std::ptrdiff_t class_stride;
};

template <class T>
class CategoricalJob {
 public:
  CategoricalJob(const Kernels<T>& kernels, const CategoricalKernel<T>& kernel, const CategoricalCall& call,
                 Operands& operands, DType dtype, const Dims& inner, const Dims& outer, char* out)
      : kernels_(kernels),
        all_(kernel),
        kernel_(call.labels == nullptr ? (operands[2] == nullptr ? kernel.labelled : kernel.weighted)
                                       : (call.smooth ? kernel.weighted : kernel.indexed)),
        call_(call),
        job_(kernels, operands, dtype, inner, outer),
        predictions_(*call.predictions, dtype),
        weight_(call.weight == nullptr ? *call.predictions : *call.weight, dtype),
        sample_weight_(call.sample_weight == nullptr ? *call.predictions : *call.sample_weight, dtype),
        inner_(inner),
        out_(out) {}

  /// Asks for a gradient.
  void add(const GradientPlan& plan) {
    of_confidence_ = of_confidence_ || plan.derivative != Derivative::of_predictions;
    takes_ones_ = takes_ones_ || (plan.derivative == Derivative::of_labels && call_.predictions_input == 1);
    const int output = Dims::gradient + static_cast<int>(gradients_.size());
    gradients_.push_back({plan, RowOutput<T>(kernels_, inner_, output, plan.out)});
  }

  std::size_t elements() const { return job_.elements(); }

  void prepare() {
    job_.prepare(kernel_.columns == nullptr || makes_gradients());
    for (Gradient& gradient : gradients_) gradient.output.prepare(job_.threads());
    if (takes_ones_) ones_.assign(std::min(job_.length(), block_size), T{1});
  }

  void run() {
    if (call_.reduction == Reduction::none || !call_.value) {
      job_.for_all_tiles([&](const Tile& tile) { work_on(tile, nullptr); });
      return;
    }
    accumulate_tiles([&](const Tile& tile, const RowSums& sums) { work_on(tile, &sums); });
  }

  /// What a mean divides by, before anything is evaluated.
  Partial weight() {
    const bool counts_rows = call_.labels == nullptr || !call_.labels->ignores();
    if (!weighs() && counts_rows) return {static_cast<double>(job_.rows()), 0};
    run_without_gil(job_.elements(),
                    [&] { accumulate_tiles([&](const Tile& tile, const RowSums& sums) { weigh(tile, sums); }); });
    return totals().weight;
  }

  /// The sum of all losses in nats.
  Partial total() {
    run_without_gil(job_.elements(), [&] {
      accumulate_tiles([&](const Tile& tile, const RowSums& sums) {
        TileLabels found;
        look_up(tile, found);
        const auto add = [&](const Tile& rows, RowStates& states, const Setting& setting, std::uint64_t skip) {
          accumulate(rows, rows.first - tile.first, found, states, setting, skip, sums);
        };
        with_losses(tile, found, {}, add);
      });
    });
    return total_of(totals());
  }

  /// What gradients are multiplied by, and what is taken off those with respect to labels.
  void scale_gradients(Partial scale, Partial shift) {
    factors_.emplace(*call_.grad_output, scale);
    shift_ = shift;
  }

  bool met_bad_label() const { return bad_label_.load(std::memory_order_relaxed); }

  Totals totals() const {
    Totals all;
    for (const Totals& sum : sums_) all.merge(sum);
    return all;
  }

 private:
  struct Gradient {
    GradientPlan plan;
    RowOutput<T> output;
  };

  bool makes_gradients() const { return !gradients_.empty(); }
  bool has_unit_mass() const { return call_.labels != nullptr && call_.weight == nullptr && !call_.smooth; }
  bool weighs() const { return call_.weight != nullptr || call_.sample_weight != nullptr; }

  /// Calls f(tile, sums) for all tiles.
  template <class F>
  void accumulate_tiles(F&& f) {
    // Rows in a sum: enough for a thread to work on, or, of many rows, so many that the sums stay few.
    constexpr std::size_t most_sums = 1024, elements_in_sum = std::size_t{1} << 14;
    const std::size_t rows = job_.rows(), length = std::max<std::size_t>(job_.length(), 1);
    std::size_t rows_in_sum = std::max((rows + most_sums - 1) / most_sums, (elements_in_sum + length - 1) / length);
    // As columns, a few rows would take as long as a pack of them.
    constexpr std::size_t some_rows = 32;
    const bool has_few = rows_in_sum <= some_rows / 4;
    if (!has_few) rows_in_sum = (rows_in_sum + some_rows - 1) / some_rows * some_rows;
    sums_.resize((rows + rows_in_sum - 1) / rows_in_sum);
    // A tile has rows of several sums then.
    const std::size_t most_together = has_few ? std::min(tile_rows / rows_in_sum, sums_.size()) : 1;
    std::unique_ptr<Accumulator[]> several;
    if (most_together > 1) several.reset(new Accumulator[static_cast<std::size_t>(job_.threads()) * most_together]);
    job_.share(sums_.size(), [&](std::size_t begin, std::size_t end, int thread) {
      Accumulator one;
      Accumulator* const sums = several ? &several[static_cast<std::size_t>(thread) * most_together] : &one;
      for (std::size_t s = begin, together = 0; s < end; s += together) {
        together = std::min(most_together, end - s);
        const std::size_t first = s * rows_in_sum, last = std::min(first + together * rows_in_sum, rows);
        job_.for_tiles(first, last, thread,
                       [&](const Tile& tile) { f(tile, RowSums{sums, rows_in_sum, tile.first - first}); });
        for (std::size_t i = 0; i < together; ++i) sums_[s + i] = sums[i].take();
      }
    });
  }

  void look_up(const Tile& tile, TileLabels& found) {
    if (call_.labels == nullptr) return;
    const Labels& labels = *call_.labels;
    labels.read(found.label, tile.at[Dims::labels], tile.step[Dims::labels], tile.rows);
    std::fill_n(found.weight, tile.rows, 1.0);
    if (call_.weight == nullptr && !labels.ignores() && labels.all_in_range(found.label, tile.rows)) {
      found.in_range = first_bits(tile.rows);
      return;
    }
    for (std::size_t r = 0; r < tile.rows; ++r) {
      const std::int64_t label = found.label[r];
      found.prediction[r] = std::nan("");
      if (labels.ignored(label)) {
        found.ignored |= std::uint64_t{1} << r;
      } else if (!labels.in_range(label)) {
        bad_label_.store(true, std::memory_order_relaxed);
      } else {
        found.in_range |= std::uint64_t{1} << r;
        if (call_.weight != nullptr) found.weight[r] = weight_(label * call_.weight->stride(0));
      }
    }
  }

  /// To be called once the rows were read, and so are in a cache.
  void look_up_predictions(const Tile& tile, TileLabels& found) const {
    const int z = call_.predictions_input;
    const auto at_label = [&](std::size_t r) {
      return tile.at[z] + static_cast<std::ptrdiff_t>(r) * tile.step[z] + found.label[r] * call_.class_stride;
    };
    if (found.in_range == first_bits(tile.rows)) return predictions_.read(found.prediction, tile.rows, at_label);
    for (std::size_t r = 0; r < tile.rows; ++r) {
      if ((found.in_range >> r & 1) != 0) found.prediction[r] = predictions_(at_label(r));
    }
  }

  double sample_weight(const Tile& tile, std::size_t r) const {
    constexpr int w = Dims::sample_weight;
    return sample_weight_(tile.at[w] + static_cast<std::ptrdiff_t>(r) * tile.step[w]);
  }

  /// Calls emit(rows, states, setting, skip) with the losses of a tile's rows.
  template <class Emit>
  void with_losses(const Tile& tile, TileLabels& found, const Kept<T>& kept, Emit&& emit) {
    const auto evaluate = [&](const Tile& rows, const Setting& setting, RowStates& states) {
      job_.evaluate(kernel_, rows, setting, states, rows.rows == tile.rows ? kept : Kept<T>{});
      const std::size_t skipped = rows.first - tile.first;
      if (rows.rows == tile.rows) look_up_predictions(tile, found);
      double weights[tile_rows];
      LossTerms terms{};
      terms.smooth = call_.smooth;
      if (call_.labels != nullptr) {
        terms.at_label = found.prediction + skipped;
        if (call_.weight != nullptr) terms.label_weight = found.weight + skipped;
      }
      if (call_.sample_weight != nullptr) {
        for (std::size_t r = 0; r < rows.rows; ++r) weights[r] = sample_weight(rows, r);
        terms.sample_weight = weights;
      }
      all_.loss(states, rows.rows, terms, setting);
    };
    with_results<T>(tile, call_.setting, evaluate, emit, {LossSum::labelled, true});
  }

  /// The losses of a tile's rows and their gradients. `sums` is null where losses are stored, or not asked for.
  void work_on(const Tile& tile, const RowSums* sums) {
    TileLabels found;
    look_up(tile, found);
    TileKnowledge<T> known;
    const bool noting = makes_gradients() && all_.gradient.of_states;
    if (makes_gradients()) find_factors(tile, known.factors);
    const Kept<T> kept = keep(tile);
    if (call_.value || noting) {
      const auto emit = [&](const Tile& rows, RowStates& states, const Setting& setting, std::uint64_t skip) {
        if (noting) note(rows, rows.first - tile.first, found, states, setting, skip, known);
        if (!call_.value) return;
        if (sums == nullptr) {
          store(rows, found.ignored >> (rows.first - tile.first), states, setting, skip);
        } else {
          accumulate(rows, rows.first - tile.first, found, states, setting, skip, *sums);
        }
      };
      with_losses(tile, found, kept, emit);
    }
    if (makes_gradients()) {
      if (noting && of_confidence_) note_confidence(tile, known.states);
      make_gradients(tile, found, known, kept);
    }
  }

  /// Whether the gradient is made of nothing but exponentials.
  bool keeps_exponentials() const {
    return gradients_.size() == 1 && &kernel_ == &all_.indexed && all_.gradient.indexed_columns != nullptr &&
           gradients_[0].plan.derivative == Derivative::of_predictions;
  }

  /// Where those of a tile are kept.
  Kept<T> keep(const Tile& tile) const {
    if (!keeps_exponentials()) return {};
    return job_.keep(kernel_, tile, gradients_[0].output.place(tile), true);
  }

  /// What a sure prediction leaves to the other classes is wanted even where the label is one of those, and so nothing
  /// was magnified for the loss.
  void note_confidence(const Tile& tile, RowStates& known) {
    for (std::size_t r = 0; r < tile.rows; ++r) {
      constexpr int sum = RowStates::log_sum;
      if (!drowned<T>(known.hi[sum][r])) continue;
      Setting setting = call_.setting;
      setting.one = setting.mass_unit = magnification;
      RowStates states;
      job_.evaluate(kernel_, tile.row(r), setting, states);
      known.hi[sum][r] = states.hi[LossSum::base][0] / magnification;
      known.lo[sum][r] = states.lo[LossSum::base][0] / magnification;
    }
  }

  void store(const Tile& rows, std::uint64_t ignored, RowStates& states, const Setting& setting, std::uint64_t skip) {
    for (std::size_t r = 0; r < rows.rows; ++r) {
      if ((ignored >> r & 1) != 0) states.hi[0][r] = states.lo[0][r] = 0;
    }
    store_results<T>(kernels_.round, out_, rows, states, call_.scale, setting, skip);
  }

  void accumulate(const Tile& rows, std::size_t skipped, const TileLabels& found, const RowStates& states,
                  const Setting& setting, std::uint64_t skip, const RowSums& sums) {
    const std::size_t first = sums.first + skipped;
    Accumulator* sum = sums.sums + first / sums.rows_in_sum;
    std::size_t row = first % sums.rows_in_sum, done = 0;
    if (skip == 0 && found.ignored == 0 && !weighs() && row % Accumulator::lanes == 0 &&
        row + rows.rows <= sums.rows_in_sum && setting.one == 1 && setting.mass_unit == 1) {
      done = rows.rows / Accumulator::lanes * Accumulator::lanes;
      for (std::size_t r = 0; r < done; r += Accumulator::lanes) sum->add_values(states.hi[0] + r, states.lo[0] + r);
      if (call_.reduction == Reduction::mean) sum->count_rows(done);
      row += done;
    }
    for (std::size_t r = done; r < rows.rows; ++r, ++row) {
      if (row == sums.rows_in_sum) {
        ++sum;
        row = 0;
      }
      if ((found.ignored >> skipped >> r & 1) != 0) continue;
      const bool magnified = setting.one != 1;
      if ((skip >> r & 1) == 0) sum->add_value(row, {states.hi[0][r], states.lo[0][r]}, magnified);
      // Weights are added row by row, whichever rows are taken again.
      if (magnified || setting.mass_unit != 1) continue;
      if (call_.reduction != Reduction::mean) continue;
      if (!weighs()) {
        sum->count_rows(1);
        continue;
      }
      constexpr int mass = LossSum::labelled_mass;
      sum->add_weight(row, weight_of(rows, r, found.weight[skipped + r], {states.hi[mass][r], states.lo[mass][r]}));
    }
  }

  /// Adds up what rows count for in a mean, without looking at predictions.
  void weigh(const Tile& tile, const RowSums& sums) {
    TileLabels found;
    look_up(tile, found);
    RowStates masses;
    const bool soft = call_.labels == nullptr && call_.weight != nullptr;
    if (soft) job_.evaluate(kernels_.products, tile, Setting{}, masses);
    for (std::size_t r = 0; r < tile.rows; ++r) {
      if ((found.ignored >> r & 1) != 0) continue;
      const Partial mass = soft ? Partial{masses.hi[0][r], masses.lo[0][r]} : Partial{1, 0};
      const std::size_t row = sums.first + r;
      sums.sums[row / sums.rows_in_sum].add_weight(row % sums.rows_in_sum, weight_of(tile, r, found.weight[r], mass));
    }
  }

  void find_factors(const Tile& tile, RowFactors& factors) const {
    factors_->of(tile, factors);
    if (call_.sample_weight == nullptr) return;
    for (std::size_t r = 0; r < tile.rows; ++r) {
      const Partial factor = product({factors.hi[r], factors.lo[r]}, {sample_weight(tile, r), 0});
      factors.hi[r] = factor.hi;
      factors.lo[r] = factor.lo;
    }
  }

  Partial smoothed(Partial mass, Partial all) const {
    return call_.smooth ? sum_of(product(mass, call_.setting.keep), product(all, call_.setting.spread)) : mass;
  }

  /// Keeps what gradients need of the states of some rows, and the gradients at their classes.
  void note(const Tile& rows, std::size_t to, const TileLabels& found, const RowStates& states, const Setting& setting,
            std::uint64_t skip, TileKnowledge<T>& known) const {
    constexpr int log_sum = RowStates::log_sum, base = LossSum::base_kept;
    const double natural = 1 / setting.one, natural_mass = 1 / setting.mass_unit;
    if (has_unit_mass() && skip == 0 && natural == 1) {
      std::copy_n(states.max[0], rows.rows, known.states.max[0] + to);
      std::copy_n(states.hi[base], rows.rows, known.states.hi[log_sum] + to);
      std::copy_n(states.lo[base], rows.rows, known.states.lo[log_sum] + to);
      return note_labels(rows, to, found, states, setting, skip, known);
    }
    for (std::size_t r = 0; r < rows.rows; ++r) {
      if ((skip >> r & 1) != 0) continue;
      const auto sum = [&](int k, double unit) { return Partial{states.hi[k][r] * unit, states.lo[k][r] * unit}; };
      const auto keep = [&](int k, Partial x) {
        known.states.hi[k][to + r] = x.hi;
        known.states.lo[k][to + r] = x.lo;
      };
      const Partial labelled =
          call_.labels != nullptr ? Partial{found.weight[to + r], 0} : sum(LossSum::labelled_mass, natural_mass);
      keep(0, smoothed(labelled, sum(LossSum::spread_out_mass, natural_mass)));
      keep(log_sum, sum(base, natural));
      known.states.max[0][to + r] = states.max[0][r];
    }
    if (call_.labels != nullptr) note_labels(rows, to, found, states, setting, skip, known);
  }

  /// The gradients at the classes of some rows.
  void note_labels(const Tile& rows, std::size_t to, const TileLabels& found, const RowStates& states,
                   const Setting& setting, std::uint64_t skip, TileKnowledge<T>& known) const {
    LabelTerms terms{
        found.prediction + to, {unit_mass.ones, unit_mass.zeros}, {unit_mass.ones, unit_mass.zeros}, &known.factors};
    double target[2][tile_rows];
    if (!has_unit_mass()) {
      for (std::size_t r = 0; r < rows.rows; ++r) {
        const Partial at_label = smoothed({found.weight[to + r], 0}, {found.weight[to + r], 0});
        target[0][r] = at_label.hi;
        target[1][r] = at_label.lo;
      }
      for (int k = 0; k < 2; ++k) terms.target[k] = target[k];
      terms.mass[0] = known.states.hi[0] + to;
      terms.mass[1] = known.states.lo[0] + to;
    }
    RowFactors factors;
    if (to != 0) {
      std::copy_n(known.factors.hi + to, rows.rows, factors.hi);
      std::copy_n(known.factors.lo + to, rows.rows, factors.lo);
      terms.factors = &factors;
    }
    if (skip == 0) return all_.gradient.at_label(states, rows.rows, terms, setting, known.at_label + to);
    T results[tile_rows];
    all_.gradient.at_label(states, rows.rows, terms, setting, results);
    for (std::size_t r = 0; r < rows.rows; ++r) {
      if ((skip >> r & 1) == 0) known.at_label[to + r] = results[r];
    }
  }

  void make_gradients(const Tile& tile, TileLabels& found, TileKnowledge<T>& known, const Kept<T>& kept) {
    if (!all_.gradient.of_states && call_.labels != nullptr) {
      look_up_predictions(tile, found);
      const RowStates none;
      note_labels(tile, 0, found, none, Setting{}, 0, known);
    }
    Setting setting = call_.setting;
    setting.shift = shift_;
    // The classes of rows are put in afterwards; until then they get what is spread evenly.
    if (call_.labels != nullptr) setting.keep = {0, 0};
    RowFactors times_mass;
    const RowFactors& by_mass = has_unit_mass() ? known.factors : times_mass;
    for (std::size_t r = 0; all_.gradient.of_states && !has_unit_mass() && r < tile.rows; ++r) {
      const Partial mass{known.states.hi[0][r], known.states.lo[0][r]};
      // 0 silences an infinite mass, but not NaN.
      const bool silent = known.factors.hi[r] == 0 && std::isinf(mass.hi);
      const Partial factor = silent ? Partial{0, 0} : product({known.factors.hi[r], known.factors.lo[r]}, mass);
      times_mass.hi[r] = factor.hi;
      times_mass.lo[r] = factor.lo;
    }
    if (kept) {
      const auto& kernels = all_.gradient;
      map_tile(job_, gradients_[0].output, kernels.indexed, kernels.indexed_columns, tile, known.states, &by_mass,
               setting, kept);
    } else {
      job_.for_blocks(tile, &known.states, [&](const RowBatch<T>& in, std::size_t begin, int thread) {
        for (const Gradient& gradient : gradients_) {
          write(gradient, tile, in, begin, thread, known.factors, by_mass, setting);
        }
      });
    }
    if (call_.labels == nullptr) return;
    for (const Gradient& gradient : gradients_) put_labels(gradient, tile, found, known);
  }

  void write(const Gradient& gradient, const Tile& tile, const RowBatch<T>& in, std::size_t begin, int thread,
             const RowFactors& factors, const RowFactors& by_mass, const Setting& setting) const {
    const auto& kernels = all_.gradient;
    const int z = call_.predictions_input;
    // Kernels take what they read in a row: [[weight,] labels,] predictions.
    RowBatch<T> batch = in;
    const auto shift_inputs = [&](int first) {
      for (int k = first; k <= z; ++k) {
        batch.in[k - first] = in.in[k];
        batch.row_stride[k - first] = in.row_stride[k];
      }
    };
    const auto run = [&](RowMap<T> map, const RowFactors& by) {
      gradient.output.write(map, tile, batch, begin, thread, &by, setting);
    };
    switch (gradient.plan.derivative) {
      case Derivative::hessian:
        shift_inputs(z);
        run(kernels.hessian, by_mass);
        return;
      case Derivative::of_labels:
        if (z == 1) {
          batch.in[0] = ones_.data();
          batch.row_stride[0] = 0;
          for (int k = 0; k < 2; ++k) {
            batch.in[k + 1] = in.in[k];
            batch.row_stride[k + 1] = in.row_stride[k];
          }
        }
        run(kernels.of_labels, factors);
        return;
      case Derivative::of_predictions:
        if (z == 2) return run(kernels.weighted, factors);
        if (z == 1) return run(kernels.labelled, factors);
        return run(kernels.indexed, kernels.of_states ? by_mass : factors);
    }
  }

  /// What differs from the gradients of other classes, and the gradients of ignored rows.
  void put_labels(const Gradient& gradient, const Tile& tile, const TileLabels& found, const TileKnowledge<T>& known) {
    const std::ptrdiff_t step = gradient.plan.class_stride;
    if (gradient.plan.derivative == Derivative::of_predictions) {
      const std::uint64_t in_range = found.in_range;
      // What is stored could be the tile, for all the compiler knows.
      const std::size_t rows = tile.rows;
      char* row = gradient.output.row(tile, 0);
      const std::ptrdiff_t to_next = gradient.output.row(tile, 1) - row;
      for (std::size_t r = 0; r < rows; ++r, row += to_next) {
        if ((in_range >> r & 1) != 0) std::memcpy(row + found.label[r] * step, &known.at_label[r], sizeof(T));
      }
    }
    for (std::uint64_t left = found.ignored; left != 0; left &= left - 1) {
      char* at = gradient.output.row(tile, static_cast<std::size_t>(__builtin_ctzll(left)));
      for (std::size_t j = 0; j < job_.length(); ++j, at += step) std::memset(at, 0, sizeof(T));
    }
  }

  /// What a row counts for in a mean.
  Partial weight_of(const Tile& tile, std::size_t r, double label_weight, Partial labelled_mass) const {
    Partial weight{1, 0};
    if (call_.weight != nullptr) weight = call_.labels == nullptr ? labelled_mass : Partial{label_weight, 0};
    return call_.sample_weight == nullptr ? weight : product(weight, {sample_weight(tile, r), 0});
  }

  const Kernels<T>& kernels_;
  const CategoricalKernel<T>& all_;
  const RowKernel<T>& kernel_;
  const CategoricalCall& call_;
  RowJob<T> job_;
  Lookup<T> predictions_, weight_, sample_weight_;
  const Dims& inner_;
  char* out_;
  std::vector<Gradient> gradients_;
  bool of_confidence_ = false;  ///< whether the logarithm of the likeliest class's probability is wanted
  std::optional<Factors> factors_;
  Partial shift_{0, 0};
  bool takes_ones_ = false;  ///< as weights, which the kernel reads and the call has not
  std::vector<T> ones_;
  std::vector<Totals> sums_;
  std::atomic<bool> bad_label_{false};
};

}  // namespace kullback
