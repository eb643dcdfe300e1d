/// The mass of float64 logits in half the operations of TwoSum, and multiples of softmax(z).
///
/// Exponentials are scaled by 2^-k, about the largest one's inverse. So nothing is subtracted from z: its reduction
/// j = round(z / ln 2), r = z - j ln 2 loses nothing, and j - k goes into the exponent. Each of 8 lanes adds them to a
/// number so large that its last digit stays where it is: what is cut off of a term is known exactly, and is added to a
/// second sum. The first sums are exact, so that the largest exponential can be taken off in the end, for S'.
///
/// Rows are left to read_row whose S' is so small that rounding errors of the second sum could matter to it, or whose
/// logits are extreme.
///
/// A multiple of softmax(z) is an exponential times a number of the row, which has two parts, so that the result is
/// rounded once; it is within 1.9 ULP. The exponentials of a row of one block are those of the sum: they may have been
/// kept, and need not be taken again.

/// The largest exponential is made about 2^64, so that those whose results are subnormal numbers are normal.
constexpr int fixed_point_shift = 64;
/// Logits that are further below the largest count as that. Their results round to 0, unless factors are larger.
constexpr double fixed_point_range = 750, fixed_point_largest_factor = 64;
/// exp(-max z - log sum exp(z - max z)) is nothing that exp_of_gap lets vanish.
constexpr double fixed_point_largest_max = 600, fixed_point_largest_log_sum = 64;
/// Any sum of a block's exponentials and this has the same last digit, 2^25.
constexpr double fixed_point_pivot = 0x1p77;
static_assert(block_size * 1.5 * from_exponent<double>(fixed_point_shift) < fixed_point_pivot);

/// The least S' that is good. What is cut off of a term is at most 2^24: a lane's second sum of n / 8 of them is below
/// n 2^21, its errors are together below n^2 2^-35, those of all lanes below n^2 2^-32, and those of adding up the
/// lanes below 3 n 2^-29. The largest exponential is at least 2^63.5, so that is 2^-55 of this.
KULLBACK_INLINE double fixed_point_least_mass(std::size_t n) {
  const double length = static_cast<double>(n);
  return length * (length + 16) * 0x1p-39;
}

/// What the logits of a row (N is a number) or of columns (lanes) are taken relative to.
template <class N>
struct FixedPointScale {
  N least;  ///< less counts as that
  N shift;  ///< rounds to an integer, which then stands in the lowest bits, as the exponent field of the scale

  KULLBACK_INLINE explicit FixedPointScale(N most)
      : least(most - fixed_point_range), shift(rounding + fixed_point_shift + bias - exponent_of(most)) {}

  /// exp(z) 2^(64 - k).
  template <class V>
  KULLBACK_INLINE V exponential(V z) const {
    using C = Constants<double>;
    const V unit = as_lanes<V>(shift);
    // NaN stays.
    const V x = max(as_lanes<V>(least), z);
    const V shifted = fma(x, C::log2_e, unit);
    const V j = shifted - unit;
    const V r = fma(j, -C::ln2_lo, fma(j, -C::ln2_hi, x));
    const V scale = power_of_two(shifted);
    const V square = r * r;
    const V rest = fma(square, two_chain_polynomial(Polynomials<double>::exp_tail, r, square), r);
    return fma(scale, rest, scale);
  }

  /// exp(x) 2^(k - 64) of x near -max z that exp_of_gap does not let vanish.
  KULLBACK_INLINE static Pair<N> inverse(Pair<N> x, N most) {
    const auto y = exp_of_gap(x, 1);
    const N scale = power_of_two(exponent_of(most) + (rounding - fixed_point_shift + bias));
    return {y.hi * scale, y.lo * scale};
  }

 private:
  static constexpr double rounding = 0x1.8p52, bias = Real<double>::exponent_bias;

  /// k.
  KULLBACK_INLINE static N exponent_of(N most) { return (most * Constants<double>::log2_e + rounding) - rounding; }

  /// The number that has its exponent field in the lowest bits of another.
  template <class V>
  KULLBACK_INLINE static V power_of_two(V field) {
    return from_bits<double>(shift_left<Real<double>::mantissa_bits>(to_bits(field)));
  }
};

/// A sum of such exponentials in each lane.
template <int Width>
struct FixedPointSum {
  using V = Simd<double, Width>;
  V hi = broadcast<double, Width>(fixed_point_pivot);  ///< and the pivot
  V lo = broadcast<double, Width>(0.0);

  template <int B>
  KULLBACK_INLINE void add(Simd<double, B> term) {
    if constexpr (B > Width) {
      add(term.lower);
      add(term.upper);
    } else {
      const V before = hi;
      hi = before + term;
      lo = lo + (term - (hi - before));
    }
  }

  KULLBACK_INLINE void merge(const FixedPointSum& other) {
    hi = hi + (other.hi - fixed_point_pivot);
    lo = lo + other.lo;
  }
  KULLBACK_INLINE Pair<V> total() const { return {hi - fixed_point_pivot, lo}; }
};

/// The sum of a row's exponentials. `keep(i, count, exponentials)` gets those of elements [i, i + count). What follows
/// `next` is read after them.
template <class Keep>
KULLBACK_INLINE Partial fixed_point_row(const double* z, std::size_t n, double most, const double* next, Keep keep) {
  constexpr std::size_t lanes = Pack<double>::size, group = Group<double>::size;
  const FixedPointScale<double> scale(most);
  FixedPointSum<pack_bytes> sum;
  const auto add = [&](std::size_t i, auto logits) KULLBACK_INLINE_LAMBDA {
    prefetch_for_later(next + i, decltype(logits)::size);
    const auto exponentials = scale.exponential(logits);
    keep(i, decltype(logits)::size, exponentials);
    sum.add(exponentials);
  };
  std::size_t i = 0;
  if constexpr (group > lanes) {
    for (; i + group <= n; i += group) add(i, load<double, Group<double>::bytes>(z + i));
  }
  for (; i + lanes <= n; i += lanes) add(i, load(z + i));
  if (i < n) {
    const auto exponentials = scale.exponential(partial_load(z + i, n - i, most));
    keep(i, n - i, exponentials);
    sum.add(select(lane_numbers<double>() < static_cast<double>(n - i), exponentials, 0));
  }
  const auto total = sum.total();
  return {sum_of_lanes(total.hi), sum_of_lanes(total.lo)};
}

/// The same. `results` is where the exponentials are left or, if they are not kept, what is asked for; or null.
KULLBACK_OUT_OF_LINE Partial fixed_point_row(const double* z, std::size_t n, double most, const double* next,
                                             double* results, bool keeps_exponentials) {
  if (results == nullptr) {
    return fixed_point_row(z, n, most, next, [](std::size_t, std::size_t, auto) KULLBACK_INLINE_LAMBDA {});
  }
  if (!keeps_exponentials) {
    return fixed_point_row(z, n, most, next, [=](std::size_t i, std::size_t count, auto) KULLBACK_INLINE_LAMBDA {
      prefetch_for_later(results + i, count);
    });
  }
  return fixed_point_row(z, n, most, next, [=](std::size_t i, std::size_t count, auto y) KULLBACK_INLINE_LAMBDA {
    store_wide(results + i, y, count);
  });
}

/// Makes S' of the sums of all exponentials of some rows of n elements, whose largest logits are known. One bit per row
/// tells whether it is good; if not, it means nothing.
KULLBACK_OUT_OF_LINE std::uint64_t fixed_point_masses(RowStates& states, std::size_t rows, std::size_t n) {
  // Twice as many as for_rows would take: each waits long for its operations.
  constexpr int width = 2 * pack_bytes;
  using V = Simd<double, width>;
  const double least = fixed_point_least_mass(n);
  std::uint64_t fitting = 0;
  for (std::size_t first = 0; first < rows; first += V::size) {
    const std::size_t count = rows - first;
    const auto load_some = [=](const double* from)
                               KULLBACK_INLINE_LAMBDA { return load_wide<width>(from + first, count, 0); };
    const V most = load_some(states.max[0]);
    const V largest = FixedPointScale<V>(most).exponential(most);
    const Pair<V> sum{load_some(states.hi[0]), load_some(states.lo[0])};
    const auto others = normalized(sum_of(sum, -exactly<Working>(largest)));
    const auto mass = normalized(product(others, FixedPointScale<V>::inverse(-exactly<Working>(most), most)));
    store_wide(states.hi[0] + first, mass.hi, count);
    store_wide(states.lo[0] + first, mass.lo, count);
    const auto fits = (broadcast_like<V>(fixed_point_largest_max) >= abs(most)) & (mass.hi >= least);
    fitting |= to_word(fits) << first;
  }
  return fitting;
}

/// Sums that a loss of labels is made of, besides S': sum y z and sum y, where LossSum has `labelled` and after it.
struct LabelSums {
  enum Index : int { moment, mass, count };

  template <class Sum, class V>
  KULLBACK_INLINE static void add(Sum& sum, V y, V z) {
    sum.require(y >= 0);
    // An impossible class may have no label.
    sum.template add<moment>(two_product(y, zero_where(y == 0, z)));
    sum.template add<mass>(Pair<V, Nothing>{y, {}});
  }
};

/// Those of a row; NaN where weights are not 1. Without any `weight` is null.
KULLBACK_OUT_OF_LINE void read_labels(const double* weight, const double* y, const double* z, std::size_t n,
                                      const Setting& setting, Partial (&totals)[LabelSums::count]) {
  Sum<double, pack_bytes, LabelSums::count> sum(setting);
  for (std::size_t i = 0; i < n; i += Pack<double>::size) {
    if (weight != nullptr) sum.require(load_wide(weight + i, n - i, 1) == 1);
    LabelSums::add(sum, load_wide(y + i, n - i, 0), load_wide(z + i, n - i, 0));
  }
  for (int k = 0; k < LabelSums::count; ++k) totals[k] = sum.total(k);
}

/// Makes sum y (max z - z) of the moments in some rows, whose S' and sum y are known. One bit per row tells whether it
/// is exact enough for what the rest of the loss, at least min(S', 1) / 2 sum y, leaves of it: a lane adds 512 products
/// or fewer, so of |max z| sum y + sum y |z|, which is at most 2 |max z| sum y and this, errors are below 2^-88.
KULLBACK_OUT_OF_LINE std::uint64_t label_information(RowStates& states, std::size_t rows) {
  constexpr double least_share = 0x1p-32, least_mass = 0x1p-900;
  std::uint64_t fitting = 0;
  for_rows(rows, [&](RowLanes lanes) KULLBACK_INLINE_LAMBDA {
    const auto most = lanes.load(states.max[0]);
    const auto mass = lanes.load(states, LossSum::labelled_mass);
    const auto y = normalized(sum_of(product(exactly<Working>(most), mass), -lanes.load(states, LossSum::labelled)));
    const auto information = zero_where(y.hi < 0, y);
    lanes.store(states, LossSum::labelled, information);
    const auto rest = 0.5 * min(broadcast(1.0), lanes.load(states.hi[0])) * mass.hi;
    const auto fits = (y.hi + rest >= abs(most) * mass.hi * least_share) & (y.hi - y.hi == 0) & (mass.hi >= least_mass);
    fitting |= to_word(fits) << lanes.first;
  });
  return fitting;
}

/// What makes multiples of softmax(z) of exponentials in some rows.
struct FixedPointFactors {
  static constexpr bool of_exponentials = true;
  double hi[tile_rows], lo[tile_rows];
  std::uint64_t fitting = 0;  ///< one bit per row; the others are too extreme

  /// Of rows whose largest logits and log sum exp(z - max z) are known, times `factors` or, where that is null, 1.
  KULLBACK_OUT_OF_LINE FixedPointFactors(const RowStates& known, const RowFactors* factors, std::size_t rows) {
    using V = Pack<double>;
    // Low parts have digits enough then.
    constexpr double least = 0x1p-400, one_ulp = 0x1p-53;
    clear_last_pack(hi, lo, rows);
    for_rows(rows, [&](RowLanes lanes) KULLBACK_INLINE_LAMBDA {
      const V most = lanes.load(known.max[0]);
      const auto log_sum = lanes.load(known, RowStates::log_sum);
      const auto inverse = FixedPointScale<V>::inverse(-sum_of(exactly<Working>(most), log_sum), most);
      Pair<V> factor = exactly<Working>(broadcast<double>(1.0));
      if (factors != nullptr) factor = {lanes.load(factors->hi), lanes.load(factors->lo)};
      const auto x = product(inverse, factor);
      lanes.store(hi, x.hi);
      lanes.store(lo, x.lo);
      const auto in_range =
          (broadcast(fixed_point_largest_factor) >= abs(factor.hi)) & ((abs(factor.hi) >= least) | (factor.hi == 0));
      // What is as good as certain is to be 1, and exponentials are not exact.
      const auto uncertain = (log_sum.hi >= one_ulp) & (log_sum.hi < fixed_point_largest_log_sum);
      fitting |= to_word((broadcast(fixed_point_largest_max) >= abs(most)) & uncertain & in_range) << lanes.first;
    });
  }

  KULLBACK_INLINE bool fits(std::size_t row) const { return (fitting >> row & 1) != 0; }

  template <class V>
  KULLBACK_INLINE static V map(V exponential, V high, V low) {
    return DirectFactors::map(exponential, high, low);
  }
};

/// What makes results of elements by two numbers of the row, of data of type T: nothing, or Direct.
template <class Direct, class T>
struct DirectFor {
  using Type = Nothing;
};
template <class Direct>
struct DirectFor<Direct, float> {
  using Type = Direct;
};
template <>
struct DirectFor<DirectFactors, double> {
  using Type = FixedPointFactors;
};
template <>
struct DirectFor<DirectShift<float>, double> {
  using Type = DirectShift<double>;
};
template <class Op, class T>
using DirectOf = typename DirectFor<typename Op::Direct, T>::Type;
