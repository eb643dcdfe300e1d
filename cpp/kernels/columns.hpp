/// Sums of rows that lie side by side, with the bits of rows.hpp.

/// The largest element of each column and where it stands first.
template <class V>
struct ColumnMaximum {
  V value = broadcast_like<V>(-Constants<double>::infinity);
  V at = broadcast_like<V>(-1.0);
};

/// Sums `count` columns, as many as a group holds or fewer, from `first` on.
///
/// Columns stand in for lanes: the sum over elements i mod 8 of a column takes the place of lane i mod 8 of a row, and
/// so each column's bits are those of a row.
template <class Op, class T>
KULLBACK_INLINE void read_columns(const ColumnBatch<T>& batch, const Setting& setting, RowStates& states,
                                  std::size_t first, std::size_t count) {
  constexpr std::size_t lanes = Pack<double>::size;
  constexpr int Width = Group<double>::bytes;
  using V = Group<double>;
  using ColumnSum = Sum<T, Width, Op::sums>;
  constexpr int maxima = Op::inputs - Op::logits_from;
  const auto load_columns = [=](const auto* from) KULLBACK_INLINE_LAMBDA { return load_wide<Width>(from, count, 0); };
  const auto store_columns = [=](double* to, V x) KULLBACK_INLINE_LAMBDA { store_wide(to + first, x, count); };
  const auto step = [&](int k, std::size_t row) KULLBACK_INLINE_LAMBDA {
    const T* const columns = batch.in[k] + first;
    prefetch_columns_ahead(columns, batch.step[k], batch.n, row);
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
  for (std::size_t half = lanes / 2; half > 0; half /= 2) {
    for (std::size_t lane = 0; lane < half; ++lane) sums[lane].merge(sums[lane + half]);
  }
  for (int k = 0; k < Op::sums; ++k) {
    store_columns(states.hi[k], sums[0].by_lane(k).hi);
    store_columns(states.lo[k], sums[0].by_lane(k).lo);
  }
  if (batch.n == 0) {
    for (std::size_t i = 0; i < count; ++i) note_empty<Op>(states, first + i);
  }
}

template <class Op>
KULLBACK_OUT_OF_LINE void read_columns_widely(const ColumnBatch<float>& batch, const Setting& setting,
                                              RowStates& states, std::size_t first, std::size_t count) {
  for (std::size_t done = 0; done < count; done += Group<double>::size) {
    const std::size_t rest = count - done;
    read_columns<Op>(batch, setting, states, first + done, rest < Group<double>::size ? rest : Group<double>::size);
  }
}

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

constexpr double no_low_parts[Pack<float>::size] = {};

/// Columns from `first` on, count of them, 16 at most.
template <class Op>
KULLBACK_INLINE void read_columns_directly(const ColumnBatch<float>& batch, const Setting& setting, RowStates& states,
                                           std::size_t first, std::size_t count) {
  double most[Pack<float>::size], mass[Pack<float>::size];
  const std::uint64_t every = (std::uint64_t{1} << count) - 1;
  float* const to = batch.exponentials == nullptr ? nullptr : batch.exponentials + first;
  const auto keep = [=](std::size_t row, Pack<float> y) KULLBACK_INLINE_LAMBDA {
    if (to != nullptr) store(to + row * tile_rows, y);
  };
  const std::uint64_t fitting =
      every & direct_columns(batch.in[0] + first, batch.step[0], batch.n, count, most, mass, keep);
  if (fitting != every) read_columns_widely<Op>(batch, setting, states, first, count);
  keep_fitting(most, fitting, every, states.max[0] + first, count);
  keep_fitting(mass, fitting, every, states.hi[0] + first, count);
  keep_fitting(no_low_parts, fitting, every, states.lo[0] + first, count);
}

/// Columns from `first` on, count of them, 16 at most.
template <class Op>
KULLBACK_INLINE void read_columns_narrowly(const ColumnBatch<float>& batch, const Setting& setting, RowStates& states,
                                           std::size_t first, std::size_t count) {
  const float* in[Op::inputs];
  for (int k = 0; k < Op::inputs; ++k) in[k] = batch.in[k] + first;
  const std::uint64_t every = (std::uint64_t{1} << count) - 1;
  double totals[Pack<float>::size];
  const std::uint64_t fitting = every & read_columns_narrowly<Op>(in, batch.step, batch.n, count, totals);
  if (fitting != every) read_columns_widely<Op>(batch, setting, states, first, count);
  keep_fitting(totals, fitting, every, states.hi[0] + first, count);
  keep_fitting(no_low_parts, fitting, every, states.lo[0] + first, count);
}

/// Columns from `first` on, count of them, 16 at most.
template <class Op>
KULLBACK_INLINE void read_labelled_columns(const ColumnBatch<float>& batch, const Setting& setting, RowStates& states,
                                           std::size_t first, std::size_t count) {
  constexpr std::size_t lanes = DirectLabels::lanes;
  const std::uint64_t every = (std::uint64_t{1} << count) - 1;
  double results[4][lanes] = {};
  DirectLabels labels[lanes];
  auto valid = broadcast(0.0F) == 0;
  const auto add = [&](std::size_t row, Pack<float>) KULLBACK_INLINE_LAMBDA {
    const auto element = [&](int k) KULLBACK_INLINE_LAMBDA {
      const float* const from = batch.in[k] + first + static_cast<std::ptrdiff_t>(row) * batch.step[k];
      return count >= lanes ? load(from) : partial_load(from, count, 0.0F);
    };
    prefetch_columns_ahead(batch.in[0] + first, batch.step[0], batch.n, row);
    if (row < lanes) labels[row].clear();
    labels[row % lanes].add(element(0), element(1), valid);
  };
  const std::uint64_t fit_logits =
      direct_columns(batch.in[1] + first, batch.step[1], batch.n, count, results[0], results[1], add);
  const std::size_t used = batch.n < lanes ? batch.n : lanes;
  if (used == 0) labels[0].clear();
  add_up_lanes(labels, used);
  using Wide = DirectLabels::Wide;
  const Wide mass = labels[0].mass;
  auto fits = mass == mass;
  store(results[2], DirectLabels::information(load<double, sizeof(Wide)>(results[0]),
                                              load<double, sizeof(Wide)>(results[1]), mass, labels[0].moment, fits));
  store(results[3], mass);
  const std::uint64_t fitting = is_plain(setting) ? every & fit_logits & to_word(valid) & to_word(fits) : 0;
  if (fitting != every) read_columns_widely<Op>(batch, setting, states, first, count);
  keep_fitting(results[0], fitting, every, states.max[0] + first, count);
  for (int k = 0; k < 3; ++k) {
    keep_fitting(results[k + 1], fitting, every, states.hi[k] + first, count);
    keep_fitting(no_low_parts, fitting, every, states.lo[k] + first, count);
  }
}

template <class Op, class T>
void columns(const ColumnBatch<T>& batch, const Setting& setting, RowStates& states) {
  if constexpr (has_direct_way<Op, T> || has_narrow_way<Op, T> || has_labelled_way<Op, T>) {
    constexpr std::size_t some = Pack<float>::size;
    for (std::size_t first = 0; first < batch.columns; first += some) {
      const std::size_t count = batch.columns - first < some ? batch.columns - first : some;
      if constexpr (has_direct_way<Op, T>) {
        read_columns_directly<Op>(batch, setting, states, first, count);
      } else if constexpr (has_labelled_way<Op, T>) {
        read_labelled_columns<Op>(batch, setting, states, first, count);
      } else if constexpr (!is_sum<Op>) {
        read_columns_narrowly<Op>(batch, setting, states, first, count);
      }
    }
    return;
  }
  constexpr std::size_t group = Group<double>::size;
  for (std::size_t first = 0; first < batch.columns; first += group) {
    const std::size_t rest = batch.columns - first;
    read_columns<Op>(batch, setting, states, first, rest < group ? rest : group);
  }
}
