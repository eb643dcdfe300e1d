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

/// exp(x) 2^64 of x <= 43; that of -131 below.
template <int B>
KULLBACK_INLINE Simd<float, B> direct_exp(Simd<float, B> x) {
  return normal_exp<direct_shift>(max(broadcast<float, B>(direct_lowest), x));
}

/// What is known of lanes 0 to 15, in each of 16 rows or columns: lane by lane, a row or column in each place.
struct DirectLanes {
  static constexpr std::size_t lanes = Pack<float>::size;
  using Wide = Simd<double, 2 * pack_bytes>;
  Pack<float> most[lanes];     ///< the largest logits
  Pack<float> largest[lanes];  ///< the largest exponentials
  Wide sum[lanes];             ///< the sums of all other exponentials

  KULLBACK_INLINE Pack<float> most_of(std::size_t lane) const { return most[lane]; }
  KULLBACK_INLINE Pack<float> largest_of(std::size_t lane) const { return largest[lane]; }
  KULLBACK_INLINE Wide sum_of(std::size_t lane) const { return sum[lane]; }
};

/// The results of `count` rows or columns, of their largest logits and the sums of all exponentials but the largest.
/// One bit tells whether they fit; if not, they mean nothing.
KULLBACK_INLINE std::uint64_t direct_results(Pack<float> most, DirectLanes::Wide sum, std::size_t count,
                                             double* max_out, double* mass_out) {
  using Wide = DirectLanes::Wide;
  const Wide max = widen(most);
  const Wide of_largest = exp_of_gap(Pair<Wide, Nothing>{-max, {}}, 1).hi * from_exponent<double>(-direct_shift);
  const Wide mass = sum * of_largest;
  store_wide(max_out, max, count);
  store_wide(mass_out, mass, count);
  return to_word((max >= direct_least_max) & (broadcast_like<Wide>(direct_largest_max) >= max) &
                 (mass >= direct_least_mass));
}

/// The same of all lanes.
template <class Lanes>
KULLBACK_INLINE std::uint64_t direct_results(const Lanes& state, std::size_t count, double* max_out, double* mass_out) {
  auto most = broadcast(-Constants<float>::infinity), largest = broadcast(0.0F), left_out = broadcast(0.0F);
  for (std::size_t lane = 0; lane < DirectLanes::lanes; ++lane) {
    const auto of_lane = state.largest_of(lane);
    most = max(state.most_of(lane), most);
    // The first lane's that has it.
    left_out = select(of_lane > largest, static_cast<float>(lane), left_out);
    largest = max(of_lane, largest);
  }
  // All but the largest are added after all.
  const auto sum = sum_of_used(DirectLanes::lanes, [&](std::size_t lane) KULLBACK_INLINE_LAMBDA {
    return state.sum_of(lane) + widen(select(left_out == static_cast<float>(lane), 0, state.largest_of(lane)));
  });
  return direct_results(most, sum, count, max_out, mass_out);
}

/// The lanes of one row. `keep(i, count, exponentials)` gets the exponentials of elements [i, i + count).
struct DirectRow {
  using Wide = DirectLanes::Wide;
  Pack<float> most = broadcast(-Constants<float>::infinity);
  Pack<float> largest = broadcast(0.0F);
  Wide sum = broadcast_like<Wide>(0.0);

  template <class Keep>
  KULLBACK_INLINE DirectRow(const float* z, std::size_t n, Keep keep) {
    constexpr std::size_t lanes = Pack<float>::size;
    const auto next_of = [&](std::size_t i) KULLBACK_INLINE_LAMBDA {
      const auto logits = load(z + i);
      const auto exponentials = direct_exp(logits);
      keep(i, lanes, exponentials);
      return next(logits, exponentials);
    };
    std::size_t i = 0;
    for (; i + 2 * lanes <= n; i += 2 * lanes) {
      const auto first = next_of(i);
      sum = sum + widen(first + next_of(i + lanes));
    }
    auto rest = broadcast(0.0F);
    if (i + lanes <= n) {
      rest = next_of(i);
      i += lanes;
    }
    if (i < n) {
      const auto logits = partial_load(z + i, n - i, -Constants<float>::infinity);
      const auto exponentials = select(lane_numbers<float>() < static_cast<float>(n - i), direct_exp(logits), 0);
      keep(i, n - i, exponentials);
      rest = rest + next(logits, exponentials);
    }
    sum = sum + widen(rest);
  }

  /// As direct_results has it.
  KULLBACK_INLINE bool result(double& max_out, double& mass_out) {
    const std::uint64_t equal = to_word(largest == largest_lane(largest));
    const auto left_out = static_cast<float>(__builtin_ctzll(equal | std::uint64_t{1} << (Pack<float>::size - 1)));
    sum = sum + widen(select(lane_numbers<float>() == left_out, 0, largest));
    const auto max = broadcast(double{largest_lane(most)});
    const auto of_largest =
        exp_of_gap(Pair<Pack<double>, Nothing>{-max, {}}, 1).hi * from_exponent<double>(-direct_shift);
    double results[2][Pack<double>::size];
    store(results[0], max);
    store(results[1], broadcast(sum_of_lanes(sum)) * of_largest);
    max_out = results[0][0];
    mass_out = results[1][0];
    return direct_least_max <= max_out && max_out <= direct_largest_max && mass_out >= direct_least_mass;
  }

 private:
  /// The exponential that is not kept out of the sum.
  KULLBACK_INLINE Pack<float> next(Pack<float> logits, Pack<float> exponentials) {
    // Of NaN and a number, min takes the second one here, max the number.
    const auto smaller = min(largest, exponentials);
    most = max(logits, most);
    largest = max(exponentials, largest);
    return smaller;
  }
};

/// The lanes of 16 rows, or fewer.
class DirectRows {
 public:
  static constexpr std::size_t lanes = DirectLanes::lanes;

  KULLBACK_INLINE void put(std::size_t row, const DirectRow& of_row) {
    store(rows_.most[row], of_row.most);
    store(rows_.largest[row], of_row.largest);
    store(rows_.sum[row], of_row.sum);
  }

  /// See direct_results.
  KULLBACK_OUT_OF_LINE std::uint64_t results(std::size_t count, double* max_out, double* mass_out) {
    for (std::size_t row = count; row < lanes; ++row) {
      store(rows_.most[row], broadcast(0.0F));
      store(rows_.largest[row], broadcast(0.0F));
      store(rows_.sum[row], broadcast_like<DirectLanes::Wide>(0.0));
    }
    Numbers columns;
    turn(rows_.most, columns.most);
    turn(rows_.largest, columns.largest);
    turn(rows_.sum, columns.sum);
    return direct_results(columns, count, max_out, mass_out);
  }

 private:
  /// DirectLanes, as rows or as columns.
  struct alignas(pack_bytes) Numbers {
    float most[lanes][lanes], largest[lanes][lanes];
    double sum[lanes][lanes];

    KULLBACK_INLINE Pack<float> most_of(std::size_t lane) const { return load(most[lane]); }
    KULLBACK_INLINE Pack<float> largest_of(std::size_t lane) const { return load(largest[lane]); }
    KULLBACK_INLINE DirectLanes::Wide sum_of(std::size_t lane) const {
      return load<double, sizeof(DirectLanes::Wide)>(sum[lane]);
    }
  };

  template <class T>
  KULLBACK_INLINE static void turn(const T (&rows)[lanes][lanes], T (&columns)[lanes][lanes]) {
    transpose(rows[0], static_cast<std::ptrdiff_t>(lanes), lanes, lanes, columns[0], lanes);
  }

  Numbers rows_;
};

/// Up to 16 columns, some rows at a time.
class DirectColumns {
 public:
  static constexpr std::size_t lanes = DirectLanes::lanes;

  KULLBACK_INLINE void begin(std::size_t n) {
    n_ = n;
    // Of no rows at all, nothing is read.
    short_ = {broadcast(-Constants<float>::infinity), broadcast(0.0F)};
  }

  /// Rows [row, end) of all n, 16 from a multiple of that on or what is left. `load(row)` gives logits,
  /// `keep(row, exponentials)` gets what they become.
  template <class Load, class Keep>
  KULLBACK_INLINE void read(std::size_t row, std::size_t end, Load load, Keep keep) {
    if (n_ <= lanes) return read_short(end, load, keep);
    if (row == 0) {
      for (; row < end; ++row) {
        state_.most[row] = load(row);
        state_.largest[row] = direct_exp(state_.most[row]);
        keep(row, state_.largest[row]);
        // NaN stays.
        waiting_[row] = min(broadcast(0.0F), state_.largest[row]);
        state_.sum[row] = broadcast_like<Wide>(0.0);
      }
      return;
    }
    const auto next = [&](std::size_t lane) KULLBACK_INLINE_LAMBDA {
      const auto logits = load(row + lane);
      const auto exponentials = direct_exp(logits);
      keep(row + lane, exponentials);
      const auto smaller = min(state_.largest[lane], exponentials);
      state_.most[lane] = max(logits, state_.most[lane]);
      state_.largest[lane] = max(exponentials, state_.largest[lane]);
      return smaller;
    };
    const std::size_t rows = end - row;
    if (row / lanes % 2 == 0) {
      for (std::size_t lane = 0; lane < rows; ++lane) waiting_[lane] = next(lane);
    } else {
      for (std::size_t lane = 0; lane < rows; ++lane) {
        state_.sum[lane] = state_.sum[lane] + widen(waiting_[lane] + next(lane));
      }
    }
  }

  /// See direct_results.
  KULLBACK_OUT_OF_LINE std::uint64_t results(std::size_t count, double* max_out, double* mass_out) {
    if (n_ <= lanes) return direct_results(short_.most, sum_of_short(), count, max_out, mass_out);
    // Terms that have no second one: of the last 16 rows or fewer, or of those before them that they do not reach.
    const bool are_last = n_ / lanes % 2 == 0;
    const std::size_t begin = are_last ? 0 : n_ % lanes, end = are_last ? n_ % lanes : lanes;
    for (std::size_t lane = begin; lane < end; ++lane) state_.sum[lane] = state_.sum[lane] + widen(waiting_[lane]);
    return direct_results(state_, count, max_out, mass_out);
  }

 private:
  using Wide = DirectLanes::Wide;

  /// Lanes that hold one element at most: the largest is known once all are read, and its lane.
  template <class Load, class Keep>
  KULLBACK_INLINE void read_short(std::size_t n, Load load, Keep keep) {
    auto most = broadcast(-Constants<float>::infinity), largest = broadcast(0.0F), left_out = broadcast(0.0F);
    for (std::size_t row = 0; row < n; ++row) {
      const auto logits = load(row);
      const auto exponentials = direct_exp(logits);
      keep(row, exponentials);
      state_.largest[row] = exponentials;
      most = max(logits, most);
      left_out = select(exponentials > largest, static_cast<float>(row), left_out);
      largest = max(exponentials, largest);
    }
    short_ = {most, left_out};
  }

  KULLBACK_INLINE Wide sum_of_short() const {
    return sum_of_used(n_, [&](std::size_t lane) KULLBACK_INLINE_LAMBDA {
      return widen(select(short_.left_out == static_cast<float>(lane), 0, state_.largest[lane]));
    });
  }

  struct Short {
    Pack<float> most, left_out;
  };
  Short short_;
  DirectLanes state_;
  Pack<float> waiting_[lanes];  ///< terms that wait for those of 16 rows later
  std::size_t n_;
};

/// sum y and sum y z of labels y, in lanes of elements i mod 16. The products are exact in float64.
struct DirectLabels {
  static constexpr std::size_t lanes = DirectLanes::lanes;
  using Wide = DirectLanes::Wide;
  Wide mass, moment;

  KULLBACK_INLINE void clear() { mass = moment = broadcast_like<Wide>(0.0); }

  KULLBACK_INLINE void add(Pack<float> labels, Pack<float> logits, Mask<float>& valid) {
    valid = valid & (labels >= 0);
    const Wide y = widen(labels);
    mass = mass + y;
    moment = fma(y, widen(logits), moment);
  }

  /// sum y (max z - z), if it is exact enough for what the rest of the loss, at least min(S', 1) / 2 sum y, leaves of
  /// it: of all that is added and taken away, errors are below 2^-45.
  template <class V, class M>
  KULLBACK_INLINE static V information(V max, V mass_of_logits, V mass, V moment, M& fits) {
    constexpr double least_share = 0x1p-17;
    const V information = fma(max, mass, -moment);
    const V rest = 0.5 * min(broadcast_like<V>(1.0), mass_of_logits) * mass;
    fits = fits & (information + rest >= abs(max) * mass * least_share) & (information - information == 0);
    return zero_where(information < 0, information);
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
