/// The loops over rows of float32 logits, 16 by 16, for what direct.hpp makes of them. What is too extreme for it is
/// left to read_row of rows.hpp.

/// The lanes of a row. `results` is where its exponentials are left or, if they are not kept, what is asked for; or
/// null.
KULLBACK_OUT_OF_LINE DirectRow direct_row(const float* z, std::size_t n, float* results, bool keeps_exponentials) {
  if (results == nullptr) {
    return DirectRow(z, n, [](std::size_t, std::size_t, Pack<float>, Pack<float>) KULLBACK_INLINE_LAMBDA {});
  }
  if (!keeps_exponentials) {
    return DirectRow(z, n, [=](std::size_t i, std::size_t count, Pack<float>, Pack<float>) KULLBACK_INLINE_LAMBDA {
      prefetch_for_later(results + i, count);
    });
  }
  const auto keep = [=](std::size_t i, std::size_t count, Pack<float>, Pack<float> y)
                        KULLBACK_INLINE_LAMBDA { store_some(results + i, y, count); };
  if (n < block_size) return DirectRow(z, n, keep);
  // The exponentials of a long row fill the second level of the cache, where logits that are not read again are not to
  // take their place.
  constexpr std::size_t ahead = 1024;
  return DirectRow(z, n, [=](std::size_t i, std::size_t count, Pack<float> x, Pack<float> y) KULLBACK_INLINE_LAMBDA {
    __builtin_prefetch(z + i + ahead, 0, first_level_once);
    keep(i, count, x, y);
  });
}

/// Up to here, the lanes of rows are added up row by row; of more, together.
constexpr std::size_t few_rows = 6;

/// Calls read_some(first, count), which tells by one bit per row which are done, for 16 rows of a batch and the next.
template <class ReadSome>
KULLBACK_INLINE std::uint64_t read_sixteen_by_sixteen(std::size_t rows, ReadSome read_some) {
  constexpr std::size_t some = DirectRows::lanes;
  std::uint64_t done = 0;
  for (std::size_t first = 0; first < rows; first += some) {
    done |= read_some(first, rows - first < some ? rows - first : some) << first;
  }
  return done;
}

/// Makes results of up to 16 rows. `take_row(row, take)` calls take(lanes) with the lanes of a row, in one place: they
/// are a large loop. One bit per row tells whether it is good.
template <class TakeRow>
KULLBACK_INLINE std::uint64_t fold_rows(std::size_t count, DirectResults out, TakeRow take_row) {
  const bool together = count > few_rows;
  std::uint64_t fitting = 0;
  DirectRows rows;
  for (std::size_t row = 0; row < count; ++row) {
    take_row(row, [&](const DirectRow& lanes) KULLBACK_INLINE_LAMBDA {
      if (together) {
        rows.put(row, lanes);
      } else {
        fitting |= std::uint64_t{lanes.result(out.of_row(row))} << row;
      }
    });
  }
  return together ? rows.results(count, out) : fitting;
}

/// Rows whose logits are too extreme are left to read_row.
KULLBACK_OUT_OF_LINE std::uint64_t read_rows_directly(const RowBatch<float>& batch, RowStates& states) {
  return read_sixteen_by_sixteen(batch.rows, [&](std::size_t first, std::size_t count) KULLBACK_INLINE_LAMBDA {
    const auto row_of = [&](std::size_t row, auto take) KULLBACK_INLINE_LAMBDA {
      const auto r = static_cast<std::ptrdiff_t>(first + row);
      const float* const z = batch.in[0] + r * batch.row_stride[0];
      const int arrays = batch.results == nullptr ? 1 : 2;
      float* const results = arrays == 1 ? nullptr : batch.results + r * batch.results_stride;
      prefetch_ahead(z, batch.row_stride[0], batch.n, arrays);
      if (results != nullptr) prefetch_ahead(results, batch.results_stride, batch.n, arrays);
      take(direct_row(z, batch.n, results, batch.keeps_exponentials));
    };
    const std::uint64_t fitting = fold_rows(count, {states.max[0] + first, states.hi[0] + first}, row_of);
    store_wide(states.lo[0] + first, broadcast<double, 2 * pack_bytes>(0.0), count);
    return fitting;
  });
}

/// sum y (max z - z) and sum y of weights y, of up to 16 rows; one bit per row tells whether these and S' are good.
struct RowMoments {
  DirectState::Wide information, mass;
  std::uint64_t fitting;

  /// `take_row(row, moments, take)` has take(lanes) note those of a row's logits; it tells whether its weights are
  /// good.
  template <class TakeRow>
  KULLBACK_INLINE RowMoments(std::size_t count, DirectResults out, TakeRow take_row) {
    using Wide = DirectState::Wide;
    double masses[DirectRows::lanes], moments[DirectRows::lanes];
    std::uint64_t good = 0;
    fitting = fold_rows(count, out, [&](std::size_t row, auto take) KULLBACK_INLINE_LAMBDA {
      DirectMoments of_row;
      of_row.clear();
      good |= std::uint64_t{take_row(row, of_row, take)} << row;
      masses[row] = sum_of_lanes(of_row.mass);
      moments[row] = sum_of_lanes(of_row.moment);
    });
    const auto load_some = [=](const double* from)
                               KULLBACK_INLINE_LAMBDA { return load_wide<sizeof(Wide)>(from, count, 0); };
    mass = load_some(masses);
    auto fits = mass == mass;
    information = DirectMoments::information(load_some(out.max), load_some(out.mass), mass, load_some(moments), fits);
    fitting &= good & to_word(fits);
  }
};

/// Rows of [weights,] labels and logits, the logits input `z`; one bit per row tells which are done, the others are for
/// read_row: those with weights other than 1 among them.
KULLBACK_OUT_OF_LINE std::uint64_t read_labelled_rows(const RowBatch<float>& batch, int z, RowStates& states) {
  return read_sixteen_by_sixteen(batch.rows, [&](std::size_t first, std::size_t count) KULLBACK_INLINE_LAMBDA {
    const auto take_row = [&](std::size_t row, DirectMoments& moments, auto take) KULLBACK_INLINE_LAMBDA {
      const auto input = [&](int k) KULLBACK_INLINE_LAMBDA {
        const float* const from = batch.in[k] + static_cast<std::ptrdiff_t>(first + row) * batch.row_stride[k];
        prefetch_ahead(from, batch.row_stride[k], batch.n, z + 1);
        return from;
      };
      const float* const weight = z == 1 ? nullptr : input(0);
      const float *const y = input(z - 1), *const logits = input(z);
      auto valid = broadcast(0.0F) == 0;
      take(DirectRow(logits, batch.n,
                     [&](std::size_t i, std::size_t n, Pack<float>, Pack<float>) KULLBACK_INLINE_LAMBDA {
                       const auto some = [=](const float* from, float fill) KULLBACK_INLINE_LAMBDA {
                         return n == Pack<float>::size ? load(from + i) : partial_load(from + i, n, fill);
                       };
                       if (weight != nullptr) valid = valid & (some(weight, 1) == 1);
                       const auto labels = some(y, 0);
                       valid = valid & (labels >= 0);
                       moments.add(labels, some(logits, 0));
                     }));
      return all(valid);
    };
    const RowMoments sums(count, {states.max[0] + first, states.hi[0] + first}, take_row);
    store_wide(states.hi[LossSum::labelled] + first, sums.information, count);
    store_wide(states.hi[LossSum::labelled_mass] + first, sums.mass, count);
    // What smoothing would need besides stays 0.
    const auto nothing = broadcast_like<DirectState::Wide>(0.0);
    for (int k = LossSum::spread_out; k < RowStates::max_sums; ++k) store_wide(states.hi[k] + first, nothing, count);
    for (int k = 0; k < RowStates::max_sums; ++k) store_wide(states.lo[k] + first, nothing, count);
    return sums.fitting;
  });
}

/// S' and sum (max z - z) exp(z - max z) of rows, whose exponentials are the weights.
KULLBACK_OUT_OF_LINE std::uint64_t read_moments(const RowBatch<float>& batch, RowStates& states) {
  using Wide = DirectState::Wide;
  return read_sixteen_by_sixteen(batch.rows, [&](std::size_t first, std::size_t count) KULLBACK_INLINE_LAMBDA {
    const auto take_row = [&](std::size_t row, DirectMoments& moments, auto take) KULLBACK_INLINE_LAMBDA {
      const float* const z = batch.in[0] + static_cast<std::ptrdiff_t>(first + row) * batch.row_stride[0];
      prefetch_ahead(z, batch.row_stride[0], batch.n, 1);
      take(DirectRow(z, batch.n,
                     [&](std::size_t, std::size_t, Pack<float> logits, Pack<float> exponentials)
                         KULLBACK_INLINE_LAMBDA { moments.add(exponentials, not_too_low(logits)); }));
      return true;
    };
    double unit[DirectRows::lanes];
    const RowMoments sums(count, {states.max[0] + first, states.hi[0] + first, unit}, take_row);
    store_wide(states.hi[1] + first, sums.information * load_wide<sizeof(Wide)>(unit, count, 0), count);
    for (int k = 0; k < 2; ++k) store_wide(states.lo[k] + first, broadcast_like<Wide>(0.0), count);
    return sums.fitting;
  });
}

/// The masses of two arrays of logits, and what their divergence is made of; one bit per row tells which are done.
KULLBACK_OUT_OF_LINE std::uint64_t read_divergences(const RowBatch<float>& batch, RowStates& states) {
  using Wide = DirectState::Wide;
  constexpr std::size_t lanes = DirectState::lanes;
  return read_sixteen_by_sixteen(batch.rows, [&](std::size_t first, std::size_t count) KULLBACK_INLINE_LAMBDA {
    DirectDivergences of_rows;
    of_rows.clear();
    std::uint64_t valid = 0;
    for (std::size_t row = 0; row < count; ++row) {
      const auto input = [&](int k) KULLBACK_INLINE_LAMBDA {
        const float* const from = batch.in[k] + static_cast<std::ptrdiff_t>(first + row) * batch.row_stride[k];
        prefetch_ahead(from, batch.row_stride[k], batch.n, 2);
        return from;
      };
      const float *const p = input(0), *const q = input(1);
      DirectDivergence::Range range;
      DirectDivergence of_row;
      of_row.clear();
      std::size_t i = 0;
      for (; i + lanes <= batch.n; i += lanes) of_row.add(load(p + i), load(q + i), range);
      if (i < batch.n) {
        const std::size_t rest = batch.n - i;
        const auto load_rest = [=](const float* from)
                                   KULLBACK_INLINE_LAMBDA { return partial_load(from + i, rest, direct_lowest); };
        of_row.add_rest(load_rest(p), load_rest(q), lane_numbers<float>() < static_cast<float>(rest), range);
      }
      for (int k = 0; k < DirectDivergence::count; ++k) of_rows.sums[k][row] = sum_of_lanes(of_row.sums[k]);
      of_rows.max[0][row] = double{largest_lane(range.p_most)};
      of_rows.max[1][row] = double{largest_lane(range.q_most)};
      valid |= std::uint64_t{all(range.valid)} << row;
    }
    const std::uint64_t fitting = of_rows.finish();
    const auto keep = [=](const double* from, double* to)
                          KULLBACK_INLINE_LAMBDA { store_wide(to + first, load<double, sizeof(Wide)>(from), count); };
    for (int k = 0; k < 2; ++k) keep(of_rows.max[k], states.max[k]);
    for (int k = 0; k < DirectDivergence::count; ++k) {
      keep(of_rows.sums[k], states.hi[k]);
      keep(no_low_parts, states.lo[k]);
    }
    return valid & fitting;
  });
}

/// Divergences of logits that are near to each other, once the normalizers are known: with x = log(q/p),
/// sum p (exp(x) - 1 - x). One bit per row tells which are done.
KULLBACK_OUT_OF_LINE std::uint64_t read_near_divergences(const RowBatch<float>& batch, RowStates& states) {
  constexpr std::size_t lanes = DirectState::lanes;
  const RowStates& known = *batch.normalizers;
  std::uint64_t done = 0;
  for (std::size_t row = 0; row < batch.rows; ++row) {
    const auto input = [&](int k) KULLBACK_INLINE_LAMBDA {
      const float* const from = batch.in[k] + static_cast<std::ptrdiff_t>(row) * batch.row_stride[k];
      prefetch_ahead(from, batch.row_stride[k], batch.n, 2);
      return from;
    };
    const double *const p_log_sum = known.hi[RowStates::log_sum], *const q_log_sum = known.hi[RowStates::log_sum + 1];
    const float *const p = input(0), *const q = input(1);
    NearDivergence of_row(known.max[0][row], known.max[1][row], q_log_sum[row] - p_log_sum[row]);
    std::size_t i = 0;
    for (; i + lanes <= batch.n; i += lanes) of_row.add(load(p + i), load(q + i));
    if (i < batch.n) {
      const std::size_t rest = batch.n - i;
      const auto load_rest = [=](const float* from)
                                 KULLBACK_INLINE_LAMBDA { return partial_load(from + i, rest, direct_lowest); };
      of_row.add_rest(load_rest(p), load_rest(q), lane_numbers<float>() < static_cast<float>(rest));
    }
    states.hi[0][row] = sum_of_lanes(of_row.sum);
    states.lo[0][row] = 0;
    done |= std::uint64_t{of_row.fits(known.max[0][row] + p_log_sum[row])} << row;
  }
  std::uint64_t finite = 0;
  for_rows(batch.rows, [&](RowLanes some) KULLBACK_INLINE_LAMBDA {
    const auto normalizers = some.load(known.max[0]) + some.load(known.hi[RowStates::log_sum]);
    const auto unit = exp_of_gap(exactly<Spare>(-normalizers), 1).hi * from_exponent<double>(-direct_shift);
    const auto sum = some.load(states.hi[0]) * unit;
    finite |= to_word(sum - sum == 0) << some.first;
    some.store(states.hi[0], sum);
  });
  return done & finite;
}
