/// Sums of rows that lie side by side, with the bits of rows.hpp.

/// The largest element of each column and where it stands first.
template <class V>
struct ColumnMaximum {
  V value = broadcast_like<V>(-Constants<double>::infinity);
  V at = broadcast_like<V>(-1.0);
};

/// Whether memory is asked for ahead. Short rows that lie close together were put there just now, or follow one another
/// as the hardware expects.
template <int Inputs, class T>
KULLBACK_INLINE bool looks_ahead(const ColumnBatch<T>& batch) {
  if (batch.n > longest_short_row) return true;
  for (int k = 0; k < Inputs; ++k) {
    if (are_on_other_pages<T>(batch.step[k])) return true;
  }
  return false;
}

/// Adds the sums that stand in for lanes, as a row's lanes are added.
template <class ColumnSum, std::size_t Lanes>
KULLBACK_INLINE const ColumnSum& merged(ColumnSum (&sums)[Lanes]) {
  for (std::size_t half = Lanes / 2; half > 0; half /= 2) {
    for (std::size_t lane = 0; lane < half; ++lane) sums[lane].merge(sums[lane + half]);
  }
  return sums[0];
}

/// Bytes of columns that are worked on together: fewer where most columns have a shorter way.
template <class Op, class T>
constexpr int column_bytes =
    is_mass<Op> || is_moment<Op> || is_labelled<Op> || has_divergence_way<Op, T> || has_narrow_way<Op, T>
        ? small_group_bytes
        : Group<double>::bytes;

/// Sums `count` columns, column_bytes of lanes or fewer, from `first` on.
///
/// Columns stand in for lanes: the sum over elements i mod 8 of a column takes the place of lane i mod 8 of a row, and
/// so each column's bits are those of a row.
template <class Op, class T>
KULLBACK_INLINE void read_columns(const ColumnBatch<T>& batch, const Setting& setting, RowStates& states,
                                  std::size_t first, std::size_t count) {
  constexpr std::size_t lanes = Pack<double>::size;
  constexpr int Width = column_bytes<Op, T>;
  using V = Simd<double, Width>;
  using ColumnSum = Sum<T, Width, Op::sums>;
  constexpr int maxima = Op::inputs - Op::logits_from;
  const auto load_columns = [=](const auto* from) KULLBACK_INLINE_LAMBDA { return load_wide<Width>(from, count, 0); };
  const auto store_columns = [=](double* to, V x) KULLBACK_INLINE_LAMBDA { store_wide(to + first, x, count); };
  const bool ahead = looks_ahead<Op::inputs>(batch);
  const auto step = [&](int k, std::size_t row) KULLBACK_INLINE_LAMBDA {
    const T* const columns = batch.in[k] + first;
    if (ahead) prefetch_rows_ahead(columns, batch.step[k], batch.n, count, row);
    return columns + static_cast<std::ptrdiff_t>(row) * batch.step[k];
  };

  ColumnMaximum<V> most[maxima > 0 ? maxima : 1];
  V subtrahend[maxima > 0 ? maxima : 1];
  if constexpr (Op::reads == Reads::maxima) {
    for (int k = 0; k < maxima; ++k) {
      for (std::size_t row = 0; row < batch.n; ++row) {
        const V z = load_columns(step(Op::logits_from + k, row));
        const auto larger = z > most[k].value;
        most[k].value = select(larger, z, most[k].value);
        most[k].at = select(larger, static_cast<double>(row), most[k].at);
      }
      subtrahend[k] = zero_where(most[k].value == -Constants<double>::infinity, most[k].value);
      store_columns(states.max[k], most[k].value);
    }
  }
  Normalizers<V> normalizers;
  if constexpr (Op::reads == Reads::normalizers) {
    for (int k = 0; k < maxima; ++k) {
      normalizers.max[k] = load_columns(batch.normalizers->max[k] + first);
      normalizers.hi[k] = load_columns(batch.normalizers->hi[RowStates::log_sum + k] + first);
      normalizers.lo[k] = load_columns(batch.normalizers->lo[RowStates::log_sum + k] + first);
    }
  }

  static_assert(lanes == 8);
  ColumnSum sums[lanes] = {ColumnSum(setting), ColumnSum(setting), ColumnSum(setting), ColumnSum(setting),
                           ColumnSum(setting), ColumnSum(setting), ColumnSum(setting), ColumnSum(setting)};
  for (std::size_t row = 0; row < batch.n; ++row) {
    with_inputs<Op::inputs>([&](int k) KULLBACK_INLINE_LAMBDA { return load_columns(step(k, row)); },
                            [&](auto... inputs) KULLBACK_INLINE_LAMBDA {
                              if constexpr (Op::reads == Reads::maxima) {
                                Maxima<V, Mask<double, Width>> known;
                                for (int k = 0; k < maxima; ++k) {
                                  known.value[k] = subtrahend[k];
                                  known.left_out[k] = most[k].at == static_cast<double>(row);
                                }
                                add_to<Op>(sums[row % lanes], known, inputs...);
                              } else {
                                add_to<Op>(sums[row % lanes], normalizers, inputs...);
                              }
                            });
  }
  const ColumnSum& sum = merged(sums);
  for (int k = 0; k < Op::sums; ++k) {
    store_columns(states.hi[k], sum.by_lane(k).hi);
    store_columns(states.lo[k], sum.by_lane(k).lo);
  }
  if (batch.n == 0) {
    for (std::size_t i = 0; i < count; ++i) note_empty<Op>(states, first + i);
  }
}

template <class Op, class T>
KULLBACK_OUT_OF_LINE void read_columns_widely(const ColumnBatch<T>& batch, const Setting& setting, RowStates& states,
                                              std::size_t first, std::size_t count) {
  constexpr std::size_t some = column_bytes<Op, T> / sizeof(double);
  for (std::size_t done = 0; done < count; done += some) {
    const std::size_t rest = count - done;
    read_columns<Op>(batch, setting, states, first + done, rest < some ? rest : some);
  }
}

/// What reads the columns that a shorter way is not good enough for. (A pointer, so that one copy of the rest serves.)
template <class T>
using ReadWidely = void (*)(const ColumnBatch<T>& batch, const Setting& setting, RowStates& states, std::size_t first,
                            std::size_t count);

/// Copies those of up to 16 numbers whose bit is set.
KULLBACK_INLINE void keep_fitting(const double* from, std::uint64_t fitting, std::uint64_t every, double* to,
                                  std::size_t count) {
  if (fitting == every) {
    store_wide(to, load<double, 2 * pack_bytes>(from), count);
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    if ((fitting >> i & 1) != 0) to[i] = from[i];
  }
}

// What reads up to 16 columns: begin; read of rows [row, end), 16 from a multiple of that on or what is left; finish.
// Of `inputs` arrays the rows are asked for ahead.

/// Where 16 columns, or `count`, of an input start.
struct ColumnInput {
  const float* from;
  std::ptrdiff_t step;
  std::size_t count;

  KULLBACK_INLINE Pack<float> row(std::size_t at, float fill) const {
    const float* const there = from + static_cast<std::ptrdiff_t>(at) * step;
    return count >= Pack<float>::size ? load(there) : partial_load(there, count, fill);
  }
};

KULLBACK_INLINE void keep(float* to, bool keeps_exponentials, Pack<float> logits, Pack<float> exponentials) {
  if (keeps_exponentials) {
    store(to, exponentials);
  } else {
    store(to, logits);
  }
}

/// Keeps the results of up to 16 columns of logits that fit.
KULLBACK_INLINE void keep_direct(const ColumnBatch<float>& batch, const Setting& setting, RowStates& states,
                                 std::size_t first, std::size_t count, std::uint64_t fitting, DirectResults results,
                                 ReadWidely<float> read_widely) {
  const std::uint64_t every = (std::uint64_t{1} << count) - 1;
  fitting &= every;
  if (fitting != every) read_widely(batch, setting, states, first, count);
  keep_fitting(results.max, fitting, every, states.max[0] + first, count);
  keep_fitting(results.mass, fitting, every, states.hi[0] + first, count);
  keep_fitting(no_low_parts, fitting, every, states.lo[0] + first, count);
}

/// Logits.
class DirectPart {
 public:
  static constexpr int inputs = 1;

  KULLBACK_INLINE void begin(const ColumnBatch<float>& batch, std::size_t first, std::size_t count) {
    first_ = first;
    count_ = count;
    columns_.begin(batch.n);
  }
  KULLBACK_INLINE void read(const ColumnBatch<float>& batch, std::size_t row, std::size_t end) {
    const ColumnInput logits{batch.in[0] + first_, batch.step[0], count_};
    float* const to = batch.kept == nullptr ? nullptr : batch.kept + first_;
    const bool keeps_exponentials = batch.keeps_exponentials;
    columns_.read(
        row, end, [=](std::size_t at) KULLBACK_INLINE_LAMBDA { return logits.row(at, -Constants<float>::infinity); },
        [=](std::size_t at, Pack<float> z, Pack<float> exponentials) KULLBACK_INLINE_LAMBDA {
          if (to != nullptr) keep(to + at * tile_rows, keeps_exponentials, z, exponentials);
        });
  }
  KULLBACK_INLINE void finish(const ColumnBatch<float>& batch, const Setting& setting, RowStates& states,
                              ReadWidely<float> read_widely) {
    double most[Pack<float>::size], mass[Pack<float>::size];
    const DirectResults results{most, mass};
    const std::uint64_t fitting = columns_.results(count_, results);
    keep_direct(batch, setting, states, first_, count_, fitting, results, read_widely);
  }

 private:
  DirectColumns columns_;
  std::size_t first_, count_;
};

/// Columns of up to 16 rows, which are folded as they are read.
KULLBACK_OUT_OF_LINE void read_short_columns_directly(const ColumnBatch<float>& batch, const Setting& setting,
                                                      RowStates& states, ReadWidely<float> read_widely) {
  constexpr std::size_t some = Pack<float>::size;
  for (std::size_t first = 0; first < batch.columns; first += some) {
    const std::size_t count = batch.columns - first < some ? batch.columns - first : some;
    const ColumnInput in{batch.in[0] + first, batch.step[0], count};
    float* const to = batch.kept == nullptr ? nullptr : batch.kept + first;
    const auto state_of = [=](std::size_t row) KULLBACK_INLINE_LAMBDA {
      const auto logits = in.row(row, -Constants<float>::infinity);
      const auto exponentials = direct_exp(logits);
      if (to != nullptr) keep(to + row * tile_rows, batch.keeps_exponentials, logits, exponentials);
      return DirectState{logits, exponentials, broadcast_like<DirectState::Wide>(0.0)};
    };
    double most[some], mass[some];
    const DirectResults results{most, mass};
    const std::uint64_t fitting = direct_results(folded_lanes<1>(batch.n, 0, state_of), count, results);
    keep_direct(batch, setting, states, first, count, fitting, results, read_widely);
  }
}

template <int Inputs>
struct ColumnInputs {
  ColumnInput in[Inputs];

  KULLBACK_INLINE ColumnInputs(const ColumnBatch<float>& batch, std::size_t first, std::size_t count) {
    for (int k = 0; k < Inputs; ++k) in[k] = {batch.in[k] + first, batch.step[k], count};
  }
  KULLBACK_INLINE Pack<float> operator()(int k, std::size_t row) const { return in[k].row(row, narrow_fill[k]); }
};

KULLBACK_INLINE void keep_narrow(const ColumnBatch<float>& batch, const Setting& setting, RowStates& states,
                                 std::size_t first, std::size_t count, std::uint64_t fitting, const double* totals,
                                 ReadWidely<float> read_widely) {
  const std::uint64_t every = (std::uint64_t{1} << count) - 1;
  fitting &= every;
  if (fitting != every) read_widely(batch, setting, states, first, count);
  keep_fitting(totals, fitting, every, states.hi[0] + first, count);
  keep_fitting(no_low_parts, fitting, every, states.lo[0] + first, count);
}

/// Columns of up to 16 rows, in a function of their own: 1.3 times as fast.
template <class Op>
KULLBACK_OUT_OF_LINE void read_short_columns_narrowly(const ColumnBatch<float>& batch, const Setting& setting,
                                                      RowStates& states) {
  constexpr std::size_t some = Pack<float>::size;
  for (std::size_t first = 0; first < batch.columns; first += some) {
    const std::size_t count = batch.columns - first < some ? batch.columns - first : some;
    double totals[some];
    const std::uint64_t fitting =
        NarrowColumns<Op>::results_of_short(batch.n, ColumnInputs<Op::inputs>(batch, first, count), count, totals);
    keep_narrow(batch, setting, states, first, count, fitting, totals, read_columns_widely<Op, float>);
  }
}

/// Probabilities.
template <class Op>
class NarrowPart {
 public:
  static constexpr int inputs = Op::inputs;

  KULLBACK_INLINE void begin(const ColumnBatch<float>& batch, std::size_t first, std::size_t count) {
    first_ = first;
    count_ = count;
    columns_.begin(batch.n);
  }
  KULLBACK_INLINE void read(const ColumnBatch<float>& batch, std::size_t row, std::size_t end) {
    columns_.read(row, end, ColumnInputs<Op::inputs>(batch, first_, count_));
  }
  KULLBACK_INLINE void finish(const ColumnBatch<float>& batch, const Setting& setting, RowStates& states,
                              ReadWidely<float> read_widely) {
    double totals[Pack<float>::size];
    const std::uint64_t fitting = columns_.results(count_, totals);
    keep_narrow(batch, setting, states, first_, count_, fitting, totals, read_widely);
  }

 private:
  NarrowColumns<Op> columns_;
  std::size_t first_, count_;
};

/// sum y (max z - z), relative to the largest exponential if `logits` has that unit, and sum y of 16 columns of n
/// elements; one bit per column tells whether they are good.
KULLBACK_OUT_OF_LINE std::uint64_t moment_results(const DirectMoments* moments, std::size_t n, DirectResults logits,
                                                  double* information, double* mass) {
  using Wide = DirectState::Wide;
  const auto load_all = [](const double* from) KULLBACK_INLINE_LAMBDA { return load<double, sizeof(Wide)>(from); };
  const std::size_t used = n < DirectState::lanes ? n : DirectState::lanes;
  const Wide y = sum_of_used(used, [&](std::size_t i) KULLBACK_INLINE_LAMBDA { return moments[i].mass; });
  const Wide yz = sum_of_used(used, [&](std::size_t i) KULLBACK_INLINE_LAMBDA { return moments[i].moment; });
  auto fits = y == y;
  const Wide sum = DirectMoments::information(load_all(logits.max), load_all(logits.mass), y, yz, fits);
  store(information, logits.unit == nullptr ? sum : sum * load_all(logits.unit));
  store(mass, y);
  return to_word(fits);
}

/// Labels and logits; or logits alone, whose exponentials stand in for labels.
template <int Inputs>
class MomentPart {
 public:
  static constexpr int inputs = Inputs;

  KULLBACK_INLINE void begin(const ColumnBatch<float>& batch, std::size_t first, std::size_t count) {
    first_ = first;
    count_ = count;
    valid_ = broadcast(0.0F) == 0;
    columns_.begin(batch.n);
  }
  KULLBACK_INLINE void read(const ColumnBatch<float>& batch, std::size_t row, std::size_t end) {
    const ColumnInputs<Inputs> in(batch, first_, count_);
    columns_.read(
        row, end,
        [=](std::size_t at) KULLBACK_INLINE_LAMBDA { return in.in[Inputs - 1].row(at, -Constants<float>::infinity); },
        [&](std::size_t at, Pack<float> logits, Pack<float> exponentials) KULLBACK_INLINE_LAMBDA {
          const auto add = [=](Pack<float> weights, Pack<float> finite_logits) KULLBACK_INLINE_LAMBDA {
            if (at < lanes) {
              moments_[at].begin(weights, finite_logits);
            } else {
              moments_[at % lanes].add(weights, finite_logits);
            }
          };
          if constexpr (Inputs == 1) {
            add(exponentials, not_too_low(logits));
          } else {
            const auto labels = in.in[0].row(at, 0);
            valid_ = valid_ & (labels >= 0);
            add(labels, in.in[1].row(at, 0));
          }
        });
  }
  KULLBACK_INLINE void finish(const ColumnBatch<float>& batch, const Setting& setting, RowStates& states,
                              ReadWidely<float> read_widely) {
    const std::uint64_t every = (std::uint64_t{1} << count_) - 1;
    double most[lanes] = {}, sums[3][lanes] = {}, unit[lanes] = {};
    const std::uint64_t fit_logits = columns_.results(count_, {most, sums[0], unit});
    const std::uint64_t fit_moments =
        moment_results(moments_, batch.n, {most, sums[0], Inputs == 1 ? unit : nullptr}, sums[1], sums[2]);
    const std::uint64_t fitting = is_plain(setting) ? every & fit_logits & fit_moments & to_word(valid_) : 0;
    if (fitting != every) read_widely(batch, setting, states, first_, count_);
    keep_fitting(most, fitting, every, states.max[0] + first_, count_);
    for (int k = 0; k < 1 + Inputs; ++k) {
      keep_fitting(sums[k], fitting, every, states.hi[k] + first_, count_);
      keep_fitting(no_low_parts, fitting, every, states.lo[k] + first_, count_);
    }
  }

 private:
  static constexpr std::size_t lanes = DirectState::lanes;
  DirectColumns columns_;
  DirectMoments moments_[lanes];
  Mask<float> valid_;
  std::size_t first_, count_;
};

/// Two arrays of logits.
class DivergencePart {
 public:
  static constexpr int inputs = 2;

  KULLBACK_INLINE void begin(const ColumnBatch<float>& /*batch*/, std::size_t first, std::size_t count) {
    first_ = first;
    count_ = count;
    range_ = {};
  }
  KULLBACK_INLINE void read(const ColumnBatch<float>& batch, std::size_t row, std::size_t end) {
    const ColumnInputs<inputs> in(batch, first_, count_);
    DirectDivergence::Range range = range_;
    if (row == 0) {
      for (; row < end; ++row) of_lane_[row].begin(in.in[0].row(row, 0), in.in[1].row(row, 0), range);
    } else {
      for (; row < end; ++row) of_lane_[row % lanes].add(in.in[0].row(row, 0), in.in[1].row(row, 0), range);
    }
    range_ = range;
  }
  KULLBACK_INLINE void finish(const ColumnBatch<float>& batch, const Setting& setting, RowStates& states,
                              ReadWidely<float> read_widely) {
    DirectDivergences of_columns;
    for (int k = 0; k < DirectDivergence::count; ++k) {
      const auto sum_of_lane = [=](std::size_t lane) KULLBACK_INLINE_LAMBDA { return of_lane_[lane].sums[k]; };
      store(of_columns.sums[k], sum_of_used(used(batch.n), sum_of_lane));
    }
    store(of_columns.max[0], widen(range_.p_most));
    store(of_columns.max[1], widen(range_.q_most));
    const std::uint64_t every = (std::uint64_t{1} << count_) - 1;
    const std::uint64_t fitting = every & of_columns.finish() & to_word(range_.valid);
    if (fitting != every) read_widely(batch, setting, states, first_, count_);
    for (int k = 0; k < 2; ++k) keep_fitting(of_columns.max[k], fitting, every, states.max[k] + first_, count_);
    for (int k = 0; k < DirectDivergence::count; ++k) {
      keep_fitting(of_columns.sums[k], fitting, every, states.hi[k] + first_, count_);
      keep_fitting(no_low_parts, fitting, every, states.lo[k] + first_, count_);
    }
  }

 private:
  static constexpr std::size_t lanes = DirectState::lanes;
  KULLBACK_INLINE static std::size_t used(std::size_t n) { return n < lanes ? n : lanes; }

  DirectDivergence of_lane_[lanes];
  DirectDivergence::Range range_;
  std::size_t first_, count_;
};

/// Reads all columns, part by part, or where memory is asked for ahead all parts together: some rows of one, the same
/// rows of the next. What lies on the lines and pages of these rows is used before it is gone.
template <class Part>
KULLBACK_OUT_OF_LINE void read_parts(const ColumnBatch<float>& batch, const Setting& setting, RowStates& states,
                                     ReadWidely<float> read_widely) {
  constexpr std::size_t some = Pack<float>::size;
  Part parts[tile_rows / some];
  const bool ahead = looks_ahead<Part::inputs>(batch);
  // Parts that need not wait for memory stay in the first level of the cache one by one.
  const std::size_t all = (batch.columns + some - 1) / some, together = ahead ? all : 1;
  for (std::size_t done = 0; done < all; done += together) {
    for (std::size_t i = 0; i < together; ++i) {
      const std::size_t first = (done + i) * some, rest = batch.columns - first;
      parts[i].begin(batch, first, rest < some ? rest : some);
    }
    for (std::size_t row = 0; row < batch.n; row += some) {
      const std::size_t end = batch.n - row < some ? batch.n : row + some;
      for (std::size_t i = 0; i < together; ++i) {
        const auto share = [=](std::size_t k)
                               KULLBACK_INLINE_LAMBDA { return row + some + (end - row) * k / together; };
        for (int k = 0; ahead && k < Part::inputs; ++k) {
          prefetch_rows(batch.in[k], batch.step[k], batch.n, batch.columns, share(i), share(i + 1));
        }
        parts[i].read(batch, row, end);
      }
    }
    for (std::size_t i = 0; i < together; ++i) parts[i].finish(batch, setting, states, read_widely);
  }
}

/// Calls f(first, count) for groups of a batch's columns.
template <class F>
KULLBACK_INLINE void for_column_groups(const ColumnBatch<double>& batch, F f) {
  constexpr std::size_t group = Group<double>::size;
  for (std::size_t first = 0; first < batch.columns; first += group) {
    const std::size_t rest = batch.columns - first;
    f(first, rest < group ? rest : group);
  }
}

/// A row of a group of neighbouring columns of an input, which is asked for ahead.
struct GroupedInput {
  const double* columns;
  std::ptrdiff_t step;
  std::size_t n, count;
  bool ahead;

  KULLBACK_INLINE GroupedInput(const ColumnBatch<double>& batch, int k, bool looks_ahead, std::size_t first,
                               std::size_t columns_of_group)
      : columns(batch.in[k] + first), step(batch.step[k]), n(batch.n), count(columns_of_group), ahead(looks_ahead) {}

  KULLBACK_INLINE Group<double> operator[](std::size_t row) const {
    if (ahead) prefetch_rows_ahead(columns, step, n, count, row);
    return load_wide<Group<double>::bytes>(columns + static_cast<std::ptrdiff_t>(row) * step, count, 0);
  }
};

/// As read_masses_at_fixed_point of rows.
KULLBACK_OUT_OF_LINE std::uint64_t read_masses_at_fixed_point(const ColumnBatch<double>& batch, int z, bool ahead,
                                                              RowStates& states) {
  using V = Group<double>;
  constexpr std::size_t lanes = Pack<double>::size;
  for_column_groups(batch, [&](std::size_t first, std::size_t count) KULLBACK_INLINE_LAMBDA {
    const GroupedInput logits(batch, z, ahead, first, count);
    V most = broadcast_like<V>(-Constants<double>::infinity);
    double* const kept = batch.kept == nullptr ? nullptr : batch.kept + first;
    double* const logits_to = batch.keeps_exponentials ? nullptr : kept;
    double* const exponentials_to = batch.keeps_exponentials ? kept : nullptr;
    for (std::size_t row = 0; row < batch.n; ++row) {
      const V some = logits[row];
      most = max(some, most);
      if (logits_to != nullptr) store(logits_to + row * tile_rows, some);
    }
    const FixedPointScale<V> scale(most);
    FixedPointSum<V::bytes> sums[lanes];
    for (std::size_t row = 0; row < batch.n; ++row) {
      const V exponentials = scale.exponential(logits[row]);
      if (exponentials_to != nullptr) store(exponentials_to + row * tile_rows, exponentials);
      sums[row % lanes].add(exponentials);
    }
    const auto sum = merged(sums).total();
    store_wide(states.max[0] + first, most, count);
    store_wide(states.hi[0] + first, sum.hi, count);
    store_wide(states.lo[0] + first, sum.lo, count);
  });
  return fixed_point_masses(states, batch.columns, batch.n);
}

/// Has read_widely read the groups of columns in which some are not fitting, and copies these, but not good masses.
template <int Sums>
KULLBACK_INLINE void read_others(const ColumnBatch<double>& batch, const Setting& setting, RowStates& states,
                                 std::uint64_t fitting, std::uint64_t good_masses, ReadWidely<double> read_widely) {
  for_column_groups(batch, [&](std::size_t first, std::size_t count) KULLBACK_INLINE_LAMBDA {
    const std::uint64_t left = ~fitting >> first & first_bits(count);
    if (left == 0) return;
    RowStates others;
    read_widely(batch, setting, others, first, count);
    for (std::size_t i = first; i < first + count; ++i) {
      if ((left >> (i - first) & 1) == 0) continue;
      states.max[0][i] = others.max[0][i];
      for (int k = (good_masses >> i & 1) != 0 ? 1 : 0; k < Sums; ++k) {
        states.hi[k][i] = others.hi[k][i];
        states.lo[k][i] = others.lo[k][i];
      }
    }
  });
}

/// Columns of float64 logits.
KULLBACK_OUT_OF_LINE void read_columns_at_fixed_point(const ColumnBatch<double>& batch, const Setting& setting,
                                                      RowStates& states, ReadWidely<double> read_widely) {
  const std::uint64_t fitting = read_masses_at_fixed_point(batch, 0, looks_ahead<1>(batch), states);
  read_others<1>(batch, setting, states, fitting, fitting, read_widely);
}

/// Columns of labels and logits.
KULLBACK_OUT_OF_LINE void read_labelled_columns_at_fixed_point(const ColumnBatch<double>& batch, const Setting& setting,
                                                               RowStates& states, ReadWidely<double> read_widely) {
  constexpr std::size_t lanes = Pack<double>::size;
  const bool ahead = looks_ahead<2>(batch);
  const std::uint64_t good_masses = read_masses_at_fixed_point(batch, 1, ahead, states);
  std::uint64_t fitting = 0;
  if (is_plain(setting)) {
    for_column_groups(batch, [&](std::size_t first, std::size_t count) KULLBACK_INLINE_LAMBDA {
      const GroupedInput y(batch, 0, ahead, first, count), z(batch, 1, ahead, first, count);
      using Labels = Sum<double, Group<double>::bytes, LabelSums::count>;
      static_assert(lanes == 8);
      Labels labels[lanes] = {Labels(setting), Labels(setting), Labels(setting), Labels(setting),
                              Labels(setting), Labels(setting), Labels(setting), Labels(setting)};
      for (std::size_t row = 0; row < batch.n; ++row) LabelSums::add(labels[row % lanes], y[row], z[row]);
      const Labels& total = merged(labels);
      for (int k = 0; k < LabelSums::count; ++k) {
        const auto sum = total.by_lane(k);
        store_wide(states.hi[LossSum::labelled + k] + first, sum.hi, count);
        store_wide(states.lo[LossSum::labelled + k] + first, sum.lo, count);
      }
    });
    fitting = good_masses & label_information(states, batch.columns);
  }
  read_others<1 + LabelSums::count>(batch, setting, states, fitting, good_masses, read_widely);
}

template <class Op, class T>
void columns(const ColumnBatch<T>& batch, const Setting& setting, RowStates& states) {
  if constexpr (has_direct_way<Op, T>) {
    if (batch.n > 0 && batch.n <= Pack<T>::size && !looks_ahead<1>(batch)) {
      read_short_columns_directly(batch, setting, states, read_columns_widely<Op, T>);
    } else {
      read_parts<DirectPart>(batch, setting, states, read_columns_widely<Op, T>);
    }
  } else if constexpr (has_moment_way<Op, T> || has_labelled_way<Op, T>) {
    read_parts<MomentPart<Op::inputs>>(batch, setting, states, read_columns_widely<Op, T>);
  } else if constexpr (has_divergence_way<Op, T>) {
    read_parts<DivergencePart>(batch, setting, states, read_columns_widely<Op, T>);
  } else if constexpr (has_narrow_way<Op, T>) {
    if (batch.n <= Pack<T>::size && !looks_ahead<Op::inputs>(batch)) {
      read_short_columns_narrowly<Op>(batch, setting, states);
    } else {
      read_parts<NarrowPart<Op>>(batch, setting, states, read_columns_widely<Op, T>);
    }
  } else {
    if constexpr (has_fixed_point_way<Op, T>) {
      if (setting.one == 1) {
        return read_columns_at_fixed_point(batch, setting, states, read_columns_widely<Op, T>);
      }
    }
    if constexpr (has_fixed_point_labels<Op, T>) {
      if (setting.one == 1) {
        return read_labelled_columns_at_fixed_point(batch, setting, states, read_columns_widely<Op, T>);
      }
    }
    read_columns_widely<Op>(batch, setting, states, 0, batch.columns);
  }
}
