/// The mass of float32 logits in one pass, without their maximum beforehand; and multiples of softmax(z).
///
/// exp(z) of a float32 fits into a float32's range for all logits that are not extreme, once it is scaled by a power of
/// two. So nothing is subtracted from z: its reduction k = round(z / ln 2), r = z - k ln 2 loses nothing, and k goes
/// into the exponent. Each of 16 lanes keeps its largest exponential out of its sum: what is added is the smaller one
/// of that and the next. In the end all of them but the largest are added, so that S' is not what remains of a sum that
/// held a 1.
///
/// Terms are good to 1 ULP of float32 and are added in float64; element i of a block goes to lane i mod 16. It takes
/// half the operations of float64 lanes, and memory is read once. Blocks that hold extreme logits are for those.
///
/// A multiple of softmax(z) is exp(z) times a number of the row, which has two parts, so that the result is rounded
/// once; it is within 1.8 ULP. The exponentials are those of the sum: they may have been kept, and need not be taken
/// again.
///
/// sum y (max z - z) of weights y, labels or the exponentials themselves, is max z sum y - sum y z, products of float32
/// that are exact in float64.

constexpr int direct_shift = 64;          ///< exponentials are scaled by 2^64
constexpr float direct_lowest = -131.0F;  ///< the least logit whose exponential is normal then; less counts as that
constexpr double direct_least_max = -20, direct_largest_max = 43;
/// Of a smaller mass, what logits below direct_lowest count too much could be a part that matters.
constexpr double direct_least_mass = 0x1p-122;

/// exp(x) 2^Shift, if it is a normal number.
template <int Shift, int B>
KULLBACK_INLINE Simd<float, B> normal_exp(Simd<float, B> x) {
  using C = Constants<float>;
  // Rounds to an integer, which stands in the lowest bits then, as the exponent field of the scale.
  constexpr float shift = 0x1.8p23F + Shift + Real<float>::exponent_bias;
  const auto shifted = fma(x, C::log2_e, broadcast<float, B>(shift));
  const auto k = shifted - shift;
  const auto r = fma(k, -C::ln2_lo, fma(k, -C::ln2_hi, x));
  const auto scale = from_bits<float>(shift_left<Real<float>::mantissa_bits>(to_bits(shifted)));
  const auto square = r * r;
  const auto rest = fma(square, short_polynomial(Polynomials<float>::short_exp_tail, r, square), r);
  return fma(scale, rest, scale);
}

/// The same as scale (1 + rest), good to 2^-28: what is rounded to float32 is small beside the scale, a power of
/// 2^(1/16).
template <int B>
struct FineExp {
  Simd<float, B> scale, rest;

  KULLBACK_INLINE Simd<double, 2 * B> value() const { return fma(widen(scale), widen(rest), widen(scale)); }
};
template <int Shift, int B>
KULLBACK_INLINE FineExp<B> fine_exp(Simd<float, B> x) {
  using C = Constants<float>;
  using P = Polynomials<float>;
  constexpr int steps = 16;
  constexpr float shift = 0x1.8p23F + Shift * steps;
  const auto shifted = fma(x, C::log2_e * steps, broadcast<float, B>(shift));
  const auto k = shifted - shift;
  const auto r = fma(k, -C::ln2_lo / steps, fma(k, -C::ln2_hi / steps, x));
  const auto steps_up = to_bits(shifted);
  const auto power = to_bits(look_up<0>(P::powers, steps_up)) + shift_left<Real<float>::mantissa_bits - 4>(steps_up);
  const auto& c = P::fine_exp_tail;
  const auto tail = fma(fma(r, c[0], broadcast<float, B>(c[1])), r, broadcast<float, B>(c[2]));
  const auto power_rest = look_up<0>(P::power_rests, steps_up);
  return {from_bits<float>(power), r + fma(r * r, tail, fma(r, power_rest, power_rest))};
}

/// NaN stays.
template <int B>
KULLBACK_INLINE Simd<float, B> not_too_low(Simd<float, B> x) {
  return max(broadcast<float, B>(direct_lowest), x);
}

/// exp(x) 2^64 of x <= 43; that of -131 below.
template <int B>
KULLBACK_INLINE Simd<float, B> direct_exp(Simd<float, B> x) {
  return normal_exp<direct_shift>(not_too_low(x));
}

/// What is known of the 16 lanes of a row, or of one lane in each of 16 rows or columns. Of rows or columns that hold a
/// NaN, the sum is NaN or the other two are.
struct DirectState {
  using Wide = Simd<double, 2 * pack_bytes>;
  static constexpr std::size_t lanes = Pack<float>::size;
  Pack<float> most;     ///< the largest logits
  Pack<float> largest;  ///< the largest exponentials
  Wide sum;             ///< the sums of all other exponentials

  KULLBACK_INLINE static DirectState of_nothing() {
    return {broadcast(-Constants<float>::infinity), broadcast(0.0F), broadcast_like<Wide>(0.0)};
  }

  /// Takes note of an element of each; returns the exponential that is to be added to the sum.
  KULLBACK_INLINE Pack<float> next(Pack<float> logits, Pack<float> exponentials) {
    // Of NaN and a number, min and max take the second one.
    const auto smaller = min(largest, exponentials);
    most = max(logits, most);
    largest = max(exponentials, largest);
    return smaller;
  }
};

/// What is known of two lanes together. Sums that are 0 anyway need not be added; where b has one, a has.
KULLBACK_INLINE DirectState merged(const DirectState& a, const DirectState& b, bool a_has_sum = true,
                                   bool b_has_sum = true) {
  auto sum = widen(min(b.largest, a.largest));
  if (b_has_sum) {
    sum = (a.sum + b.sum) + sum;
  } else if (a_has_sum) {
    sum = a.sum + sum;
  }
  return {max(a.most, b.most), max(a.largest, b.largest), sum};
}

template <std::size_t Step, bool Odd>
KULLBACK_INLINE DirectState runs_of(const DirectState& a, const DirectState& b) {
  return {runs_of<Step, Odd>(a.most, b.most), runs_of<Step, Odd>(a.largest, b.largest),
          runs_of<Step, Odd>(a.sum, b.sum)};
}

/// Lanes i and i + Step of every 2 * Step together: runs of Step places, of a and of b by turns.
template <std::size_t Step>
KULLBACK_INLINE DirectState folded(const DirectState& a, const DirectState& b) {
  return merged(runs_of<Step, false>(a, b), runs_of<Step, true>(a, b));
}

constexpr double no_low_parts[Pack<float>::size] = {};

/// What results are made of: the largest logit, and the sum of all exponentials but the largest one relative to that.
struct DirectResults {
  double* max;
  double* mass;
  double* unit = nullptr;  ///< what makes exponentials relative to the largest one; or null

  KULLBACK_INLINE DirectResults of_row(std::size_t row) const {
    return {max + row, mass + row, unit == nullptr ? nullptr : unit + row};
  }
};

/// The results of `count` rows or columns. One bit tells whether they fit; if not, they mean nothing.
KULLBACK_INLINE std::uint64_t direct_results(const DirectState& state, std::size_t count, DirectResults out) {
  using Wide = DirectState::Wide;
  const Wide max = widen(state.most);
  const Wide unit = exp_of_gap(Pair<Wide, Nothing>{-max, {}}, 1).hi * from_exponent<double>(-direct_shift);
  const Wide mass = state.sum * unit;
  store_wide(out.max, max, count);
  store_wide(out.mass, mass, count);
  if (out.unit != nullptr) store_wide(out.unit, unit, count);
  return to_word((max >= direct_least_max) & (broadcast_like<Wide>(direct_largest_max) >= max) &
                 (mass >= direct_least_mass));
}

/// The lanes of one row. `keep(i, count, logits, exponentials)` gets elements [i, i + count).
struct DirectRow {
  using Wide = DirectState::Wide;
  DirectState state = DirectState::of_nothing();

  template <class Keep>
  KULLBACK_INLINE DirectRow(const float* z, std::size_t n, Keep keep) {
    constexpr std::size_t lanes = DirectState::lanes;
    const auto next_of = [&](std::size_t i) KULLBACK_INLINE_LAMBDA {
      const auto logits = load(z + i);
      const auto exponentials = direct_exp(logits);
      keep(i, lanes, logits, exponentials);
      return state.next(logits, exponentials);
    };
    std::size_t i = 0;
    for (; i + 2 * lanes <= n; i += 2 * lanes) {
      const auto first = next_of(i);
      state.sum = state.sum + widen(first + next_of(i + lanes));
    }
    auto rest = broadcast(0.0F);
    if (i + lanes <= n) {
      rest = next_of(i);
      i += lanes;
    }
    if (i < n) {
      const auto logits = partial_load(z + i, n - i, -Constants<float>::infinity);
      const auto exponentials = select(lane_numbers<float>() < static_cast<float>(n - i), direct_exp(logits), 0);
      keep(i, n - i, logits, exponentials);
      rest = rest + state.next(logits, exponentials);
    }
    state.sum = state.sum + widen(rest);
  }

  /// As direct_results has it.
  KULLBACK_INLINE bool result(DirectResults out) const {
    static_assert(DirectState::lanes == 16);
    const DirectState eight = folded<8>(state, state), four = folded<4>(eight, eight);
    const DirectState two = folded<2>(four, four), all = folded<1>(two, two);
    const auto max = widen(lower(all.most));
    const auto unit = exp_of_gap(Pair<Pack<double>, Nothing>{-max, {}}, 1).hi * from_exponent<double>(-direct_shift);
    double results[3][Pack<double>::size];
    store(results[0], max);
    store(results[1], lower(all.sum) * unit);
    store(results[2], unit);
    *out.max = results[0][0];
    *out.mass = results[1][0];
    if (out.unit != nullptr) *out.unit = results[2][0];
    return direct_least_max <= *out.max && *out.max <= direct_largest_max && *out.mass >= direct_least_mass;
  }
};

/// The lanes of 16 rows, or fewer.
class DirectRows {
 public:
  static constexpr std::size_t lanes = DirectState::lanes;

  KULLBACK_INLINE void put(std::size_t row, const DirectRow& of_row) { put(row, of_row.state); }

  /// See direct_results.
  KULLBACK_OUT_OF_LINE std::uint64_t results(std::size_t count, DirectResults out) {
    for (std::size_t row = count; row < lanes; ++row) put(row, DirectState::of_nothing());
    return direct_results(fold<1>(0), count, out);
  }

 private:
  KULLBACK_INLINE void put(std::size_t row, const DirectState& state) {
    store(most_[row], state.most);
    store(largest_[row], state.largest);
    store(sum_[row], state.sum);
  }

  /// Rows row, row + Step, row + 2 * Step and so on, a run of Step lanes of each.
  template <std::size_t Step>
  KULLBACK_INLINE DirectState fold(std::size_t row) const {
    if constexpr (Step == lanes) {
      return {load(most_[row]), load(largest_[row]), load<double, sizeof(DirectState::Wide)>(sum_[row])};
    } else {
      return folded<Step>(fold<2 * Step>(row), fold<2 * Step>(row + Step));
    }
  }

  alignas(pack_bytes) float most_[lanes][lanes], largest_[lanes][lanes];
  alignas(pack_bytes) double sum_[lanes][lanes];
};

/// Lanes lane, lane + Step, lane + 2 * Step and so on of n elements; those that hold one element have no sum.
template <std::size_t Step, class StateOf>
KULLBACK_INLINE DirectState folded_lanes(std::size_t n, std::size_t lane, StateOf state_of) {
  if constexpr (Step == DirectState::lanes) {
    return state_of(lane);
  } else {
    DirectState state = folded_lanes<2 * Step>(n, lane, state_of);
    if (lane + Step < n) {
      const DirectState other = folded_lanes<2 * Step>(n, lane + Step, state_of);
      state = merged(state, other, lane + 2 * Step < n, lane + 3 * Step < n);
    }
    return state;
  }
}

/// Up to 16 columns, some rows at a time.
class DirectColumns {
 public:
  static constexpr std::size_t lanes = DirectState::lanes;

  KULLBACK_INLINE void begin(std::size_t n) { n_ = n; }

  /// Rows [row, end) of all n, 16 from a multiple of that on or what is left. `load(row)` gives logits,
  /// `keep(row, logits, exponentials)` gets them and what they become.
  template <class Load, class Keep>
  KULLBACK_INLINE void read(std::size_t row, std::size_t end, Load load, Keep keep) {
    if (row == 0) {
      for (; row < end; ++row) {
        const auto logits = load(row);
        const auto exponentials = direct_exp(logits);
        keep(row, logits, exponentials);
        state_[row].most = logits;
        state_[row].largest = exponentials;
        // Of two and more that end here, folding reads no sums.
        if (1 < n_ && n_ <= lanes) continue;
        state_[row].sum = broadcast_like<DirectState::Wide>(0.0);
        // NaN stays.
        waiting_[row] = min(broadcast(0.0F), exponentials);
      }
      return;
    }
    const auto next = [&](std::size_t lane) KULLBACK_INLINE_LAMBDA {
      const auto logits = load(row + lane);
      const auto exponentials = direct_exp(logits);
      keep(row + lane, logits, exponentials);
      return state_[lane].next(logits, exponentials);
    };
    const std::size_t rows = end - row;
    if (row / lanes % 2 == 0) {
      for (std::size_t lane = 0; lane < rows; ++lane) waiting_[lane] = next(lane);
    } else {
      for (std::size_t lane = 0; lane < rows; ++lane) {
        state_[lane].sum = state_[lane].sum + widen(waiting_[lane] + next(lane));
      }
    }
  }

  /// See direct_results.
  KULLBACK_OUT_OF_LINE std::uint64_t results(std::size_t count, DirectResults out) {
    const auto state_of = [&](std::size_t lane) KULLBACK_INLINE_LAMBDA { return state_[lane]; };
    if (n_ == 0) return direct_results(DirectState::of_nothing(), count, out);
    if (n_ <= lanes) return direct_results(folded_lanes<1>(n_, 0, state_of), count, out);
    // Terms that have no second one: of the last 16 rows or fewer, or of those before them that they do not reach.
    const bool are_last = n_ / lanes % 2 == 0;
    const std::size_t begin = are_last ? 0 : n_ % lanes, end = are_last ? n_ % lanes : lanes;
    for (std::size_t lane = begin; lane < end; ++lane) {
      state_[lane].sum = state_[lane].sum + widen(waiting_[lane]);
    }
    constexpr std::size_t many = 4 * lanes;
    return direct_results(folded_lanes<1>(many, 0, state_of), count, out);
  }

 private:
  DirectState state_[lanes];
  Pack<float> waiting_[lanes];  ///< terms that wait for those of 16 rows later
  std::size_t n_;
};

/// sum y and sum y z of weights y >= 0, in lanes of elements i mod 16. The products are exact in float64.
struct DirectMoments {
  using Wide = DirectState::Wide;
  Wide mass, moment;

  KULLBACK_INLINE void clear() { mass = moment = broadcast_like<Wide>(0.0); }

  /// The first ones.
  KULLBACK_INLINE void begin(Pack<float> weights, Pack<float> logits) {
    // Of -0 a sum that begins with 0 makes 0.
    mass = widen(weights) + 0;
    moment = fma(mass, widen(logits), 0);
  }
  KULLBACK_INLINE void add(Pack<float> weights, Pack<float> logits) {
    const Wide y = widen(weights);
    mass = mass + y;
    moment = fma(y, widen(logits), moment);
  }

  /// sum y (max z - z), if it is exact enough for what the rest of the result, at least min(S', 1) / 2 sum y, leaves of
  /// it: of all that is added and taken away, errors are below 2^-45. What exponentials of logits below direct_lowest
  /// weigh too much counts up to 2^8 times then: S' has to be larger.
  template <class V, class M>
  KULLBACK_INLINE static V information(V max, V mass_of_logits, V mass, V moment, M& fits) {
    constexpr double least_share = 0x1p-17, least_mass = direct_least_mass * 0x1p10;
    const V information = fma(max, mass, -moment);
    const V rest = 0.5 * min(broadcast_like<V>(1.0), mass_of_logits) * mass;
    fits = fits & (information + rest >= abs(max) * mass * least_share) & (information - information == 0) &
           (mass_of_logits >= least_mass);
    return zero_where(information < 0, information);
  }
};

/// What the divergence of two arrays of logits is made of: sum exp(p), sum exp(q) and sum exp(p) (p - q), in lanes of
/// elements i mod 16.
struct DirectDivergence {
  using Wide = DirectState::Wide;
  static constexpr int count = 3;
  Wide sums[count];

  /// The largest logits; and where no logit of q is below direct_lowest or, if p's is, below that: such weigh nothing.
  struct Range {
    Pack<float> p_most = broadcast(-Constants<float>::infinity), q_most = p_most;
    Mask<float> valid = broadcast(0.0F) == 0;
  };

  KULLBACK_INLINE void clear() { sums[0] = sums[1] = sums[2] = broadcast_like<Wide>(0.0); }

  /// The first ones.
  KULLBACK_INLINE void begin(Pack<float> p, Pack<float> q, Range& range) {
    const Terms terms(p, q, range);
    sums[0] = terms.p.value();
    sums[1] = terms.q.value();
    sums[2] = fma(sums[0], terms.difference, 0);
  }
  KULLBACK_INLINE void add(Pack<float> p, Pack<float> q, Range& range) { add(Terms(p, q, range)); }
  /// Of the last elements of a row, `there` tells which lanes hold one.
  KULLBACK_INLINE void add_rest(Pack<float> p, Pack<float> q, Mask<float> there, Range& range) {
    Terms terms(p, q, range);
    terms.p.scale = select(there, terms.p.scale, 0);
    terms.q.scale = select(there, terms.q.scale, 0);
    add(terms);
  }

 private:
  struct Terms {
    FineExp<pack_bytes> p, q;
    Wide difference;

    KULLBACK_INLINE Terms(Pack<float> p_logits, Pack<float> q_logits, Range& range) {
      range.p_most = max(p_logits, range.p_most);
      range.q_most = max(q_logits, range.q_most);
      range.valid = range.valid & (q_logits >= min(broadcast(direct_lowest), p_logits));
      p_logits = not_too_low(p_logits);
      q_logits = not_too_low(q_logits);
      p = fine_exp<direct_shift>(p_logits);
      q = fine_exp<direct_shift>(q_logits);
      difference = widen(p_logits) - widen(q_logits);
    }
  };

  KULLBACK_INLINE void add(const Terms& terms) {
    const Wide weights = terms.p.value();
    sums[0] = sums[0] + weights;
    sums[1] = sums[1] + terms.q.value();
    sums[2] = fma(weights, terms.difference, sums[2]);
  }
};

/// Of 16 rows or columns, or fewer: their sums; then S' of both and sum exp(p - max p) (p - max p - q + max q), as
/// FarDivergence has them.
struct DirectDivergences {
  static constexpr std::size_t rows = DirectState::lanes;
  double sums[DirectDivergence::count][rows], max[2][rows];

  KULLBACK_INLINE void clear() {
    for (auto& sum : sums) store(sum, broadcast_like<DirectState::Wide>(0.0));
    for (auto& most : max) store(most, broadcast_like<DirectState::Wide>(0.0));
  }

  /// Makes results; one bit per row tells whether they are good.
  KULLBACK_OUT_OF_LINE std::uint64_t finish() {
    std::uint64_t fitting = 0;
    for_rows(rows, [&](RowLanes lanes) KULLBACK_INLINE_LAMBDA {
      auto fits = broadcast(0.0) == 0;
      const auto moment = fma(lanes.load(max[1]) - lanes.load(max[0]), lanes.load(sums[0]), lanes.load(sums[2]));
      lanes.store(sums[2], moment);
      for (int k = 1; k >= 0; --k) {
        const auto most = lanes.load(max[k]), mass = lanes.load(sums[k]);
        const auto unit = exp_of_gap(exactly<Spare>(-most), 1).hi * from_exponent<double>(-direct_shift);
        fits = fits & (most >= direct_least_max) & (broadcast(direct_largest_max) >= most) & (mass == mass);
        lanes.store(sums[k], fma(mass, unit, -1));
        if (k == 0) lanes.store(sums[2], moment * unit);
      }
      fitting |= to_word(fits) << lanes.first;
    });
    return fitting;
  }
};

/// exp(x) - 1 - x of |x| <= 8, good to 2^-27.
template <class V>
KULLBACK_INLINE V exponential_excess_of_float(V x) {
  x = 0.25 * x;
  const V square = x * x;
  V y = square * two_chain_polynomial(Polynomials<double>::excess_tail, x, square);
  for (int i = 0; i < 2; ++i) {
    // With e = exp(x) - 1, exp(2 x) - 1 - 2 x is e^2 + 2 (e - x).
    const V e = y + x;
    y = fma(e, e, y + y);
    x = x + x;
  }
  return y;
}

/// See read_near_divergences.
struct NearDivergence {
  using Wide = DirectState::Wide;
  Wide sum = broadcast_like<Wide>(0.0);
  Pack<float> least = broadcast(Constants<float>::infinity), most = -least;  ///< of q - p
  Mask<float> valid = broadcast(0.0F) == 0;
  double p_max, q_max, shift;  ///< the largest logits; how much more log sum exp(q - max q) is than that of p

  KULLBACK_INLINE NearDivergence(double max_of_p, double max_of_q, double difference)
      : p_max(max_of_p), q_max(max_of_q), shift(difference) {}

  KULLBACK_INLINE void add(Pack<float> p, Pack<float> q) { add(Terms(p, q, *this)); }
  /// Of the last elements of a row, `there` tells which lanes hold one; the others hold what none is below.
  KULLBACK_INLINE void add_rest(Pack<float> p, Pack<float> q, Mask<float> there) {
    Terms terms(p, q, *this);
    terms.weights.scale = select(there, terms.weights.scale, 0);
    add(terms);
  }

  /// Whether the sum is good, in a row with that log sum exp(p).
  KULLBACK_INLINE bool fits(double log_sum) const {
    // With less, impossible classes that count as exp(direct_lowest) would not vanish among subnormals; beside larger
    // differences the largest log(q/p) is not known well enough.
    constexpr double least_log_sum = -2, largest_difference = 0x1p16, furthest = 7.99;
    const double difference = (q_max - p_max) + shift;
    return all(valid) && least_log_sum <= log_sum && p_max <= direct_largest_max &&
           __builtin_fabs(difference) <= largest_difference && double{largest_lane(most)} - difference <= furthest &&
           double{largest_lane(-least)} + difference <= furthest;
  }

 private:
  struct Terms {
    FineExp<pack_bytes> weights;
    Wide difference;

    KULLBACK_INLINE Terms(Pack<float> p, Pack<float> q, NearDivergence& row) {
      row.valid = row.valid & (q >= min(broadcast(direct_lowest), p));
      p = not_too_low(p);
      q = not_too_low(q);
      row.least = min(q - p, row.least);
      row.most = max(q - p, row.most);
      weights = fine_exp<direct_shift>(p);
      // Gaps are exact, where q - p need not be.
      difference = ((widen(q) - row.q_max) - (widen(p) - row.p_max)) - row.shift;
    }
  };

  KULLBACK_INLINE void add(const Terms& terms) {
    sum = fma(terms.weights.value(), exponential_excess_of_float(terms.difference), sum);
  }
};

/// Of numbers of that many rows, one at least, whole packs are read.
template <class T>
KULLBACK_INLINE void clear_last_pack(T (&hi)[tile_rows], T (&lo)[tile_rows], std::size_t rows) {
  const std::size_t last = (rows - 1) / Pack<T>::size * Pack<T>::size;
  store(hi + last, broadcast(T{0}));
  store(lo + last, broadcast(T{0}));
}

/// What makes multiples of softmax(z) of exponentials in some rows.
struct DirectFactors {
  static constexpr bool of_exponentials = true;
  float hi[tile_rows], lo[tile_rows];
  std::uint64_t fitting = 0;  ///< one bit per row; the others are too extreme

  /// Of rows whose largest logits and log sum exp(z - max z) are known, times `factors` or, where that is null, 1.
  KULLBACK_OUT_OF_LINE DirectFactors(const RowStates& known, const RowFactors* factors, std::size_t rows) {
    // Logits below direct_lowest have results that round to 0 then, and low parts have digits enough.
    constexpr double largest = 0x1p-26, least = 0x1p-120, one_ulp = 0x1p-24;
    clear_last_pack(hi, lo, rows);
    for_rows(rows, [&](RowLanes lanes) KULLBACK_INLINE_LAMBDA {
      const auto m = lanes.load(known.max[0]), rest = lanes.load(known.hi[RowStates::log_sum]);
      const auto factor = factors == nullptr ? broadcast<double>(1.0) : lanes.load(factors->hi, 1);
      const auto x = exp_of_gap(exactly<Spare>(-(m + rest)), 1).hi * (factor * from_exponent<double>(-direct_shift));
      store_wide(hi + lanes.first, x, lanes.count);
      store_wide(lo + lanes.first, x - rounded_to_float(x), lanes.count);
      const auto in_range = (abs(x) < largest) & ((abs(x) > least) | (factor == 0));
      // What is as good as certain is to be 1, and exponentials are not exact.
      const auto uncertain = (rest >= one_ulp) & (rest < 64);
      fitting |= to_word((broadcast(direct_largest_max) >= abs(m)) & uncertain & in_range) << lanes.first;
    });
  }

  KULLBACK_INLINE bool fits(std::size_t row) const { return (fitting >> row & 1) != 0; }

  /// Adding 0 makes -0 of it 0.
  template <class V>
  KULLBACK_INLINE static V map(V exponential, V high, V low) {
    return fma(exponential, high, exponential * low) + 0;
  }
};

/// What makes log_softmax(z) of logits in some rows: log sum exp(z), in two parts.
template <class T>
struct DirectShift {
  static constexpr bool of_exponentials = false;
  T hi[tile_rows], lo[tile_rows];
  std::uint64_t fitting = 0;  ///< one bit per row; of the others the sum would lose digits

  KULLBACK_OUT_OF_LINE DirectShift(const RowStates& known, const RowFactors*, std::size_t rows) {
    constexpr bool narrow = same<T, float>;
    constexpr double largest = 0x1p100, least = 0x1p-100, least_share = narrow ? 0x1p-25 : 0x1p-50;
    clear_last_pack(hi, lo, rows);
    for_rows(rows, [&](RowLanes lanes) KULLBACK_INLINE_LAMBDA {
      const auto m = lanes.load(known.max[0]), rest = lanes.load(known.hi[RowStates::log_sum]);
      if constexpr (narrow) {
        const auto x = m + rest;
        store_wide(hi + lanes.first, x, lanes.count);
        store_wide(lo + lanes.first, x - rounded_to_float(x), lanes.count);
      } else {
        const auto x = normalized(sum_of(exactly<Working>(m), lanes.load(known, RowStates::log_sum)));
        lanes.store(hi, x.hi);
        lanes.store(lo, x.lo);
      }
      const auto fits = (broadcast(largest) >= abs(m)) & (rest >= least) & (rest >= abs(m) * least_share);
      fitting |= to_word(fits) << lanes.first;
    });
  }

  KULLBACK_INLINE bool fits(std::size_t row) const { return (fitting >> row & 1) != 0; }

  template <class V>
  KULLBACK_INLINE static V map(V logit, V high, V low) {
    if constexpr (same<T, float>) {
      return (logit - high) - low;
    } else {
      const auto y = two_sum(logit, -high);
      return select(y.hi - y.hi == 0, y.hi + (y.lo - low), y.hi);
    }
  }
};
