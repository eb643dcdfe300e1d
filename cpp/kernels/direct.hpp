/// The mass of float32 logits in one pass, without their maximum beforehand; and multiples of softmax(z).
///
/// exp(z) of a float32 fits into a float32's range for all logits that are not extreme, once it is scaled by a power of
/// two. So nothing is subtracted from z: its reduction k = round(z / ln 2), r = z - k ln 2 loses nothing, and k goes
/// into the exponent. Each of 16 lanes keeps its largest exponential out of its sum: what is added is the smaller one of
/// that and the next. In the end all of them but the largest are added, so that S' is not what remains of a sum that
/// held a 1.
///
/// Terms are good to 1 ULP of float32 and are added in float64; element i of a block goes to lane i mod 16. It takes
/// half the operations of float64 lanes, and memory is read once. Blocks that hold extreme logits are for those.
///
/// A multiple of softmax(z) is exp(z) times a number of the row, which has two parts, so that the result is rounded
/// once; it is within 1.8 ULP. The exponentials are those of the sum: they may have been kept, and need not be taken
/// again.

struct DirectMass {
  double max;
  double mass;  ///< sum of exp(z - max) without one element that is max
  bool fits;    ///< false: neither of them means anything
};

constexpr int direct_shift = 64;          ///< exponentials are scaled by 2^64
constexpr float direct_lowest = -131.0F;  ///< the least logit whose exponential is normal then; less counts as that
constexpr double direct_least_max = -20, direct_largest_max = 43;
/// Of a smaller mass, what logits below direct_lowest count too much could be a part that matters.
constexpr double direct_least_mass = 0x1p-122;

/// exp(x) 2^64 of x <= 43; that of -131 below.
template <int B>
KULLBACK_INLINE Simd<float, B> direct_exp(Simd<float, B> x) {
  using C = Constants<float>;
  // Rounds to an integer, which stands in the lowest bits then, as the exponent field of the scale.
  constexpr float shift = 0x1.8p23F + direct_shift + Real<float>::exponent_bias;
  x = max(broadcast<float, B>(direct_lowest), x);
  const auto shifted = fma(x, C::log2_e, broadcast<float, B>(shift));
  const auto k = shifted - shift;
  const auto r = fma(k, -C::ln2_lo, fma(k, -C::ln2_hi, x));
  const auto scale = from_bits<float>(shift_left<Real<float>::mantissa_bits>(to_bits(shifted)));
  const auto rest = fma(r * r, polynomial(Polynomials<float>::short_exp_tail, r), r);
  return fma(scale, rest, scale);
}

/// The largest logits and exponentials, and the sums of all other exponentials. V: lanes of float64, twice as wide as
/// the logits'.
template <class V>
struct DirectLanes {
  using Logits = Simd<float, V::bytes / 2>;
  Logits most = broadcast<float, Logits::bytes>(-Constants<float>::infinity);
  Logits largest = broadcast<float, Logits::bytes>(0.0F);
  V sum = broadcast_like<V>(0.0);

  /// The exponential that is not kept out of the sum.
  KULLBACK_INLINE Logits next(Logits z, Logits exponential) {
    // Of NaN and a number, min takes the second one here, max the number.
    const auto smaller = min(largest, exponential);
    most = max(z, most);
    largest = max(exponential, largest);
    return smaller;
  }

  KULLBACK_INLINE void add(Logits terms) { sum = sum + widen(terms); }
};

/// What the sum of exponentials is relative to the largest logit's.
template <class V>
KULLBACK_INLINE V direct_mass_of(V sum, V most) {
  return sum * exp_of_gap(Pair<V, Nothing>{-most, {}}, 1).hi * from_exponent<double>(-direct_shift);
}

/// `keep(i, count, exponentials)` gets the exponentials of elements [i, i + count).
template <class Keep>
KULLBACK_INLINE DirectMass direct_mass(const float* z, std::size_t n, Keep keep) {
  using V = Simd<double, 2 * pack_bytes>;
  constexpr std::size_t lanes = Pack<float>::size;
  DirectLanes<V> state;
  const auto next = [&](std::size_t i) KULLBACK_INLINE_LAMBDA {
    const auto logits = load(z + i);
    const auto exponentials = direct_exp(logits);
    keep(i, lanes, exponentials);
    return state.next(logits, exponentials);
  };
  std::size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto first = next(i);
    state.add(first + next(i + lanes));
  }
  auto rest = broadcast(0.0F);
  if (i + lanes <= n) {
    rest = next(i);
    i += lanes;
  }
  if (i < n) {
    const auto logits = partial_load(z + i, n - i, -Constants<float>::infinity);
    const auto held = lane_numbers<float>() < static_cast<float>(n - i);
    const auto exponentials = select(held, direct_exp(logits), 0);
    keep(i, n - i, exponentials);
    rest = rest + state.next(logits, exponentials);
  }
  state.add(rest);

  const float most = largest_lane(state.most);
  const std::uint64_t equal = to_word(state.largest == largest_lane(state.largest));
  const auto left_out = static_cast<float>(__builtin_ctzll(equal | std::uint64_t{1} << (lanes - 1)));
  state.add(select(lane_numbers<float>() == left_out, 0, state.largest));
  const auto by8 = lower(state.sum) + upper(state.sum);
  const auto by4 = lower(by8) + upper(by8);
  const auto by2 = lower(by4) + upper(by4);
  const auto sum = broadcast(by2.v[0] + by2.v[1]);
  double mass[Pack<double>::size];
  store(mass, direct_mass_of(sum, broadcast(double{most})));
  const bool fits = direct_least_max <= most && most <= direct_largest_max && mass[0] >= direct_least_mass;
  return {double{most}, mass[0], fits};
}

/// The sums of up to 16 columns, by element i mod 16, and the largest elements.
template <class V>
struct DirectColumns {
  static constexpr std::size_t lanes = Pack<float>::size;
  V sum[lanes];
  Pack<float> most;
  std::size_t used;

  template <class Keep>
  KULLBACK_INLINE DirectColumns(const float* z, std::ptrdiff_t step, std::size_t n, std::size_t count, Keep keep)
      : used(n < lanes ? n : lanes) {
    if (n <= lanes) {
      add_short(z, step, n, count, keep);
    } else {
      add_long(z, step, n, count, keep);
    }
  }

  KULLBACK_INLINE V total() {
    if (used == 0) return broadcast_like<V>(0.0);
    for (std::size_t other = lanes / 2; other > 0; other /= 2) {
      for (std::size_t lane = 0; lane < other && lane + other < used; ++lane) sum[lane] = sum[lane] + sum[lane + other];
    }
    return sum[0];
  }

 private:
  KULLBACK_INLINE static Pack<float> load_row(const float* z, std::size_t count) {
    return count >= lanes ? load(z) : partial_load(z, count, -Constants<float>::infinity);
  }

  /// The first lane whose largest exponential is the largest of all.
  KULLBACK_INLINE Pack<float> find_largest(const Pack<float>* largest) const {
    auto all = broadcast(0.0F), at = broadcast(0.0F);
    for (std::size_t lane = 0; lane < used; ++lane) all = max(largest[lane], all);
    for (std::size_t lane = used; lane-- > 0;) at = select(largest[lane] == all, static_cast<float>(lane), at);
    return at;
  }

  /// At most one element in a lane.
  template <class Keep>
  KULLBACK_INLINE void add_short(const float* z, std::ptrdiff_t step, std::size_t n, std::size_t count, Keep keep) {
    Pack<float> largest[lanes];
    most = broadcast(-Constants<float>::infinity);
    for (std::size_t lane = 0; lane < n; ++lane) {
      const auto logits = load_row(z + static_cast<std::ptrdiff_t>(lane) * step, count);
      most = max(logits, most);
      largest[lane] = direct_exp(logits);
      keep(lane, largest[lane]);
    }
    const auto left_out = find_largest(largest);
    for (std::size_t lane = 0; lane < n; ++lane) {
      sum[lane] = widen(select(left_out == static_cast<float>(lane), 0, largest[lane]));
    }
  }

  template <class Keep>
  KULLBACK_INLINE void add_long(const float* z, std::ptrdiff_t step, std::size_t n, std::size_t count, Keep keep) {
    DirectLanes<V> state[lanes];
    Pack<float> first[lanes], largest[lanes];
    for (std::size_t row = 0; row < n; ++row, z += step) {
      const std::size_t lane = row % lanes;
      const auto logits = load_row(z, count);
      const auto exponentials = direct_exp(logits);
      keep(row, exponentials);
      const auto term = state[lane].next(logits, exponentials);
      if (row / lanes % 2 == 0) {
        first[lane] = term;
      } else {
        state[lane].add(first[lane] + term);
      }
    }
    // Terms that have no second one: of the last 16 rows or fewer, or of those before them that they do not reach.
    const bool are_last = n / lanes % 2 == 0;
    for (std::size_t lane = are_last ? 0 : n % lanes; lane < (are_last ? n % lanes : lanes); ++lane) {
      state[lane].add(first[lane]);
    }
    most = state[0].most;
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      largest[lane] = state[lane].largest;
      most = max(state[lane].most, most);
    }
    const auto left_out = find_largest(largest);
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      state[lane].add(select(left_out == static_cast<float>(lane), 0, state[lane].largest));
      sum[lane] = state[lane].sum;
    }
  }
};

/// The same of up to 16 columns. `max` and `mass` take the results; one bit per column tells whether they fit.
template <class Keep>
KULLBACK_INLINE std::uint64_t direct_masses(const float* z, std::ptrdiff_t step, std::size_t n, std::size_t count,
                                            double* max_out, double* mass_out, Keep keep) {
  using V = Simd<double, 2 * pack_bytes>;
  DirectColumns<V> columns(z, step, n, count, keep);
  const V most = widen(columns.most);
  const V mass = direct_mass_of(columns.total(), most);
  store_wide(max_out, most, count);
  store_wide(mass_out, mass, count);
  return to_word((most >= direct_least_max) & (broadcast_like<V>(direct_largest_max) >= most) &
                 (mass >= direct_least_mass));
}

/// What makes multiples of softmax(z) of exponentials in some rows.
struct DirectFactors {
  float hi[tile_rows], lo[tile_rows];
  std::uint64_t fitting = 0;  ///< one bit per row; the others are too extreme

  /// Of rows with those maxima and log sum exp(z - max z), times `factors` or, where that is null, 1.
  KULLBACK_INLINE DirectFactors(const double* most, const double* log_sum, const double* factors, std::size_t rows) {
    using Lanes = Pack<double>;
    // Logits below direct_lowest have results that round to 0 then, and low parts have digits enough.
    constexpr double largest = 0x1p-26, least = 0x1p-120;
    for (std::size_t first = 0; first < rows; first += Lanes::size) {
      const std::size_t count = rows - first;
      const auto m = load_wide(most + first, count, 0), rest = load_wide(log_sum + first, count, 0);
      const auto factor = factors == nullptr ? broadcast<double>(1.0) : load_wide(factors + first, count, 1);
      const auto x =
          exp_of_gap(Pair<Lanes, Nothing>{-(m + rest), {}}, 1).hi * (factor * from_exponent<double>(-direct_shift));
      store_wide(hi + first, x, count);
      store_wide(lo + first, x - load_wide(hi + first, count, 0), count);
      const auto in_range = (abs(x) < largest) & ((abs(x) > least) | (factor == 0));
      // What is certain is to be 1, and exponentials are not exact.
      const auto uncertain = (rest > 0) & (rest < 64);
      fitting |= to_word((broadcast(direct_largest_max) >= abs(m)) & uncertain & in_range) << first;
    }
  }

  KULLBACK_INLINE bool fits(std::size_t row) const { return (fitting >> row & 1) != 0; }

  /// Adding 0 makes -0 of it 0.
  template <class V>
  KULLBACK_INLINE static V times(V exponential, V high, V low) {
    return fma(exponential, high, exponential * low) + 0;
  }
};

/// A row of multiples of softmax(z), of its exponentials, or of its logits where those are null.
KULLBACK_INLINE void direct_softmax(const float* z, const float* exponentials, std::size_t n, float high, float low,
                                    float* out) {
  constexpr std::size_t lanes = Pack<float>::size, group = Group<float>::size;
  const auto map = [&](const float* from, auto exponential) KULLBACK_INLINE_LAMBDA {
    const auto of = [&](auto x) KULLBACK_INLINE_LAMBDA {
      using V = decltype(x);
      return DirectFactors::times(exponential(x), broadcast_like<V>(high), broadcast_like<V>(low));
    };
    std::size_t i = 0;
    for (; i + group <= n; i += group) store(out + i, of(load<float, group * sizeof(float)>(from + i)));
    for (; i + lanes <= n; i += lanes) store(out + i, of(load(from + i)));
    if (i < n) partial_store(out + i, n - i, of(partial_load(from + i, n - i, 0.0F)));
  };
  if (exponentials != nullptr) {
    map(exponentials, [](auto x) KULLBACK_INLINE_LAMBDA { return x; });
  } else {
    map(z, [](auto x) KULLBACK_INLINE_LAMBDA { return direct_exp(x); });
  }
}

/// Columns of them, of columns of exponentials.
KULLBACK_INLINE void direct_softmax_columns(const float* exponentials, std::ptrdiff_t step, std::size_t n,
                                            std::size_t count, const DirectFactors& factors, float* out) {
  constexpr std::size_t lanes = Pack<float>::size;
  for (std::size_t first = 0; first < count; first += lanes) {
    const auto high = load(factors.hi + first), low = load(factors.lo + first);
    for (std::size_t row = 0; row < n; ++row) {
      const auto at = static_cast<std::ptrdiff_t>(row) * step + static_cast<std::ptrdiff_t>(first);
      store(out + at, DirectFactors::times(load(exponentials + at), high, low));
    }
  }
}
