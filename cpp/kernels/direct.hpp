/// The mass of float32 logits in one pass, without their maximum beforehand.
///
/// exp(z) of a float32 fits into a float32's range for all logits that are not extreme, once it is scaled by a power of
/// two. So nothing is subtracted from z: its reduction k = round(z / ln 2), r = z - k ln 2 loses nothing, and k goes
/// into the exponent. Each of 16 lanes keeps its largest logit out of its sum: what is added is the smaller one of that
/// and the next. In the end all of them but the largest are added, so that S' is not what remains of a sum that held
/// a 1.
///
/// Terms are good to 1 ULP of float32 and are added in float64; element i of a block goes to lane i mod 16. It takes
/// half the operations of float64 lanes, and memory is read once. Blocks that hold extreme logits are for those.
///
/// Likewise, a multiple of softmax(z) is exp(z) times a number of the row. Its exponent and the leading bits of its
/// mantissa go into the scale, the logarithm of what is left goes to r. So the result is rounded once, in a range where
/// nothing is subnormal, and is within 1.7 ULP.

struct DirectMass {
  double max;
  double mass;  ///< sum of exp(z - max) without the first element that is max
  bool fits;    ///< false: neither of them means anything
};

constexpr int direct_shift = 64;          ///< exponentials are scaled by 2^64
constexpr float direct_lowest = -131.0F;  ///< the least logit whose exponential is normal then; less counts as that
constexpr double direct_least_max = -20, direct_largest_max = 43;
/// Of a smaller mass, what logits below direct_lowest count too much could be a part that matters.
constexpr double direct_least_mass = 0x1p-122;

/// factor exp(x + delta) 2^by of a small delta and 1 <= |factor| < 2. The result has to be below 2^128; that of
/// `lowest`, which less counts as, has to be normal. |x| < 350.
template <int B>
KULLBACK_INLINE Simd<float, B> direct_exp(Simd<float, B> x, float by, float lowest, float factor, float delta) {
  using C = Constants<float>;
  // Rounds to an integer, which stands in its lowest bits then.
  const float shift = 0x1.8p23F + by;
  x = max(broadcast<float, B>(lowest), x);
  const auto shifted = fma(x, C::log2_e, broadcast<float, B>(shift));
  const auto k = shifted - shift;
  const auto r = fma(k, -C::ln2_lo, fma(k, -C::ln2_hi, x) + delta);
  const auto scale = power_of_two(shifted, to_bits(broadcast<float, B>(factor)));
  const auto rest = fma(r * r, polynomial(Polynomials<float>::short_exp_tail, r), r);
  return fma(scale, rest, scale);
}

/// exp(x) 2^64 of x <= 43; that of -131 below.
template <int B>
KULLBACK_INLINE Simd<float, B> direct_exp(Simd<float, B> x) {
  using C = Constants<float>;
  // The exponent field of the scale stands in the lowest bits.
  constexpr float shift = 0x1.8p23F + direct_shift + Real<float>::exponent_bias;
  x = max(broadcast<float, B>(direct_lowest), x);
  const auto shifted = fma(x, C::log2_e, broadcast<float, B>(shift));
  const auto k = shifted - shift;
  const auto r = fma(k, -C::ln2_lo, fma(k, -C::ln2_hi, x));
  const auto scale = from_bits<float>(shift_left<Real<float>::mantissa_bits>(to_bits(shifted)));
  const auto rest = fma(r * r, polynomial(Polynomials<float>::short_exp_tail, r), r);
  return fma(scale, rest, scale);
}

/// The largest logits and the sums of all others' exponentials. V: lanes of float64, twice as wide as the logits'.
template <class V>
struct DirectLanes {
  using Logits = Simd<float, V::bytes / 2>;
  Logits largest = broadcast<float, Logits::bytes>(-Constants<float>::infinity);
  V sum = broadcast_like<V>(0.0);

  /// The exponential of what is not kept out of the sum.
  KULLBACK_INLINE Logits next(Logits z) {
    // Of NaN and a number, min takes the second one here, max the number.
    const auto smaller = min(largest, z);
    largest = max(z, largest);
    return direct_exp(smaller);
  }

  KULLBACK_INLINE void add(Logits terms) { sum = sum + widen(terms); }

  KULLBACK_INLINE void add_largest(Mask<float, Logits::bytes> left_out) {
    add(direct_exp(select(left_out, -Constants<float>::infinity, largest)));
  }
};

/// What the sum of exponentials is relative to the largest logit's.
template <class V>
KULLBACK_INLINE V direct_mass_of(V sum, V largest) {
  return sum * exp_of_gap(Pair<V, Nothing>{-largest, {}}, 1).hi * from_exponent<double>(-direct_shift);
}

KULLBACK_INLINE DirectMass direct_mass(const float* z, std::size_t n) {
  using V = Simd<double, 2 * pack_bytes>;
  constexpr std::size_t lanes = Pack<float>::size;
  constexpr float infinity = Constants<float>::infinity;
  DirectLanes<V> state;
  std::size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto first = state.next(load(z + i));
    state.add(first + state.next(load(z + i + lanes)));
  }
  auto rest = broadcast(0.0F);
  for (; i < n; i += lanes) {
    const std::size_t count = n - i < lanes ? n - i : lanes;
    const auto term = state.next(count == lanes ? load(z + i) : partial_load(z + i, count, -infinity));
    rest = rest + select(lane_numbers<float>() < static_cast<float>(count), term, 0);
  }
  state.add(rest);

  const float most = largest_lane(state.largest);
  const std::uint64_t equal = to_word(state.largest == most);
  if (equal == 0) return {0, 0, false};
  const auto left_out = static_cast<float>(__builtin_ctzll(equal));
  state.add_largest(lane_numbers<float>() == left_out);
  const auto by8 = lower(state.sum) + upper(state.sum);
  const auto by4 = lower(by8) + upper(by8);
  const auto by2 = lower(by4) + upper(by4);
  const auto sum = broadcast(by2.v[0] + by2.v[1]);
  double mass[Pack<double>::size];
  store(mass, direct_mass_of(sum, broadcast(double{most})));
  const bool fits = direct_least_max <= most && most <= direct_largest_max && !(mass[0] < direct_least_mass);
  return {double{most}, mass[0], fits};
}

/// The sums of up to 16 columns, by element i mod 16, and the largest elements.
template <class V>
struct DirectColumns {
  static constexpr std::size_t lanes = Pack<float>::size;
  V sum[lanes];
  Pack<float> most;

  KULLBACK_INLINE DirectColumns(const float* z, std::ptrdiff_t step, std::size_t n, std::size_t count) {
    if (n <= lanes) {
      add_short(z, step, n, count);
    } else {
      add_long(z, step, n, count);
    }
  }

  KULLBACK_INLINE V total() {
    for (std::size_t other = lanes / 2; other > 0; other /= 2) {
      for (std::size_t lane = 0; lane < other; ++lane) sum[lane] = sum[lane] + sum[lane + other];
    }
    return sum[0];
  }

 private:
  static constexpr float infinity = Constants<float>::infinity;

  KULLBACK_INLINE static Pack<float> load_row(const float* z, std::size_t count) {
    return count >= lanes ? load(z) : partial_load(z, count, -infinity);
  }

  /// The first lane whose largest element is the largest of all.
  KULLBACK_INLINE Pack<float> find_most(const Pack<float>* largest) {
    most = largest[0];
    for (std::size_t lane = 1; lane < lanes; ++lane) most = max(most, largest[lane]);
    auto at = broadcast(-1.0F);
    for (std::size_t lane = lanes; lane-- > 0;) {
      at = select(largest[lane] == most, static_cast<float>(lane), at);
    }
    return at;
  }

  /// At most one element in a lane: the other term is that of -inf.
  KULLBACK_INLINE void add_short(const float* z, std::ptrdiff_t step, std::size_t n, std::size_t count) {
    Pack<float> element[lanes], largest[lanes];
    const auto none = broadcast(-infinity);
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      element[lane] = lane < n ? load_row(z + static_cast<std::ptrdiff_t>(lane) * step, count) : none;
      largest[lane] = max(element[lane], none);
    }
    const auto left_out = find_most(largest);
    const auto other = direct_exp(none);
    for (std::size_t lane = 0; lane < n; ++lane) {
      const auto x = select(left_out == static_cast<float>(lane), none, largest[lane]);
      sum[lane] = widen(select(element[lane] == element[lane], other, element[lane])) + widen(direct_exp(x));
    }
    for (std::size_t lane = n; lane < lanes; ++lane) sum[lane] = widen(other);
  }

  KULLBACK_INLINE void add_long(const float* z, std::ptrdiff_t step, std::size_t n, std::size_t count) {
    DirectLanes<V> state[lanes];
    Pack<float> first[lanes], largest[lanes];
    for (std::size_t row = 0; row < n; ++row, z += step) {
      const std::size_t lane = row % lanes;
      const auto term = state[lane].next(load_row(z, count));
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
    for (std::size_t lane = 0; lane < lanes; ++lane) largest[lane] = state[lane].largest;
    const auto left_out = find_most(largest);
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      state[lane].add_largest(left_out == static_cast<float>(lane));
      sum[lane] = state[lane].sum;
    }
  }
};

/// The same of up to 16 columns. `max` and `mass` take the results; one bit per column tells whether they fit.
KULLBACK_INLINE std::uint64_t direct_masses(const float* z, std::ptrdiff_t step, std::size_t n, std::size_t count,
                                            double* max_out, double* mass_out) {
  using V = Simd<double, 2 * pack_bytes>;
  DirectColumns<V> columns(z, step, n, count);
  const V largest = widen(columns.most);
  const V mass = direct_mass_of(columns.total(), largest);
  store_wide(max_out, largest, count);
  store_wide(mass_out, mass, count);
  const auto too_small = mass < direct_least_mass;
  return to_word((largest >= direct_least_max) & (broadcast_like<V>(direct_largest_max) >= largest)) &
         ~to_word(too_small);
}

/// The numbers that make multiples of softmax(z) of exp(z) in some rows.
struct DirectFactors {
  struct Row {
    float shift, lowest, factor, delta;  ///< see direct_exp
    bool fits;                           ///< false: too extreme
  };
  Row row[tile_rows];

  /// Of rows with those maxima and log sum exp(z - max z), times `factors` or, where that is null, 1.
  KULLBACK_INLINE DirectFactors(const double* most, const double* log_sum, const double* factors, std::size_t rows) {
    using Lanes = Pack<double>;
    constexpr double largest_max = 64, largest_factor = 0x1p60;
    const Lanes one = broadcast<double>(1.0);
    for (std::size_t first = 0; first < rows; first += Lanes::size) {
      const std::size_t count = rows - first < Lanes::size ? rows - first : Lanes::size;
      const auto m = load_wide(most + first, count, 0), rest = load_wide(log_sum + first, count, 0);
      const auto factor = factors == nullptr ? one : load_wide(factors + first, count, 1);
      double x[Lanes::size];
      store(x, exp_of_gap(Pair<Lanes, Nothing>{-(m + rest), {}}, 1).hi * factor);
      const std::uint64_t fitting = to_word((abs(m) < largest_max) & (rest < largest_max) &
                                            (abs(factor) < largest_factor) & (abs(factor) > 1 / largest_factor));
      for (std::size_t i = 0; i < count; ++i) row[first + i] = row_of(x[i], (fitting >> i & 1) != 0);
    }
  }

 private:
  KULLBACK_INLINE static Row row_of(double x, bool fits) {
    using F = Field<double>;
    constexpr F::Bits exponent_field = F::exponent & ~(F::Bits{1} << 63);
    constexpr double least_exponent = 1 - Real<float>::exponent_bias;
    const auto bits = bit_cast<F::Bits>(x);
    const auto exponent =
        static_cast<double>((bits & exponent_field) >> Real<double>::mantissa_bits) - Real<double>::exponent_bias;
    const double shift = exponent + direct_shift;
    const double mantissa = bit_cast<double>((bits & ~exponent_field) | F::one);
    // Cut off, not rounded: it stays below 2.
    const double leading = bit_cast<double>(bit_cast<F::Bits>(mantissa) & ~((F::Bits{1} << 29) - 1));
    return {static_cast<float>(shift), static_cast<float>((least_exponent - shift + 0.01) * Constants<double>::ln2),
            static_cast<float>(leading), static_cast<float>((mantissa - leading) / leading), fits};
  }
};

/// Multiples of softmax(z).
KULLBACK_INLINE void direct_softmax(const float* z, std::size_t n, const DirectFactors::Row& row, float* out) {
  constexpr std::size_t lanes = Pack<float>::size, pair = 2 * lanes;
  const auto of = [&](auto x) KULLBACK_INLINE_LAMBDA {
    const auto y = direct_exp(x, row.shift, row.lowest, row.factor, row.delta);
    // Adding 0 makes -0 of it 0.
    return fma(y, from_exponent<float>(-direct_shift), broadcast_like<decltype(y)>(0.0F));
  };
  std::size_t i = 0;
  for (; i + pair <= n; i += pair) store(out + i, of(load<float, pair * sizeof(float)>(z + i)));
  for (; i + lanes <= n; i += lanes) store(out + i, of(load(z + i)));
  if (i < n) partial_store(out + i, n - i, of(partial_load(z + i, n - i, 0.0F)));
}
