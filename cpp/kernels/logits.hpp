/// Measures of softmax(z), which is never formed. With m = max z, taken by the first element that has that value,
///
///     S' = sum of exp(z - m) over all elements but that one,      log sum exp z = m + log1p(S').
///
///   logsumexp               m + log1p(S')
///   entropy                 log1p(S') + sum (m - z) exp(z - m) / (1 + S')      all terms >= 0
///   kl_divergence           sum q - p + p log(p/q), which sums to the same     all terms >= 0
///   js_divergence           as of probabilities
///   softmax, log_softmax    exp(z - m - log1p(S')) and its logarithm
///
/// A logit of -inf is an impossible class, one of +inf a certain one. Rows of -inf alone, with two of +inf or with a
/// NaN have no softmax: their normalizer is NaN.
///
/// Gradients, with respect to z: logsumexp softmax(z); entropy -p (log p + H); kl_divergence q - p of q's logits,
/// p (log(p/q) - KL) of p's; js_divergence p (log(p/m) - KL(p||m)) / 2 of p's and q alike.
///
/// S' and what goes with it are merged from block to block: that with the smaller maximum is scaled down by
/// exp(-gap), gap the difference of the two maxima.

/// What two blocks of rows have to be scaled by before they are added.
struct Rescaling {
  Mask<double> first;         ///< whether the former rows' maximum is the larger one
  Pair<Pack<double>> gap;     ///< the larger maximum - the smaller one
  Pair<Pack<double>> factor;  ///< one * exp(-gap)
  double one;

  KULLBACK_OUT_OF_LINE Rescaling(const RowStates& total, const RowStates& next, RowLanes lanes, int k, double unit)
      : one(unit) {
    const auto a = lanes.load(total.max[k]), b = lanes.load(next.max[k]);
    first = a >= b;
    const auto high = select(first, a, b), low = select(first, b, a);
    gap = zero_where(high == low, two_sum(high, -low));
    gap.lo = zero_where(gap.hi == Constants<double>::infinity, gap.lo);
    factor = exp_of_gap(-gap, one);
  }

  KULLBACK_INLINE Pair<Pack<double>> larger(const RowStates& total, const RowStates& next, RowLanes lanes,
                                            int k) const {
    return select(first, lanes.load(total, k), lanes.load(next, k));
  }
  KULLBACK_INLINE Pair<Pack<double>> smaller(const RowStates& total, const RowStates& next, RowLanes lanes,
                                             int k) const {
    return select(first, lanes.load(next, k), lanes.load(total, k));
  }
};

/// 1 + S' of sum k.
KULLBACK_INLINE Pair<Pack<double>> whole(Pair<Pack<double>> mass, double one) {
  auto y = two_sum(broadcast<double>(1.0), mass.hi * (1 / one));
  y.lo = y.lo + mass.lo * (1 / one);
  return y;
}

/// Merges maximum k and sum k, S' of it.
KULLBACK_OUT_OF_LINE void merge_mass(RowStates& total, const RowStates& next, RowLanes lanes, int k,
                                     const Rescaling& rescaling) {
  const auto rest = product(rescaling.factor, whole(rescaling.smaller(total, next, lanes, k), rescaling.one));
  lanes.store(total, k, sum_of(rescaling.larger(total, next, lanes, k), rest));
  lanes.store(total.max[k], select(rescaling.first, lanes.load(total.max[k]), lanes.load(next.max[k])));
}

/// one * log1p(S') of maximum k and sum k; NaN for rows that have no softmax, 0 for empty ones.
KULLBACK_OUT_OF_LINE Pair<Pack<double>> log_sum(const RowStates& states, RowLanes lanes, int k, double one) {
  constexpr double infinity = Constants<double>::infinity, nan = Constants<double>::nan;
  const auto most = lanes.load(states.max[k]);
  const auto mass = lanes.load(states, k);
  Pair<Pack<double>> y;
  if (lanes.spare) {
    y = {log1p_of_pair(Pair<Pack<double>, Nothing>{mass.hi, {}}).hi, broadcast<double>(0.0)};
  } else {
    const auto natural = times(mass, 1 / one);
    y = times(log1p_of_pair(normalized(natural)), one);
    // Magnified sums may be too small for their logarithm's calculation, but not for its first term.
    if (one != 1) y = select(natural.hi < 0x1p-110, mass, y);
  }
  y.hi = select(most == -infinity, select(mass.hi == -1, 0, nan), y.hi);
  y.lo = zero_where(mass.hi == -1, y.lo);
  y.hi = select(most == infinity, select(mass.hi == 0, mass.hi, nan), y.hi);
  return y;
}

/// The log-normalizers of Inputs arrays of logits.
template <int Inputs>
struct LogNormalizer {
  static constexpr Reads reads = Reads::maxima;
  static constexpr int inputs = Inputs, logits_from = 0, sums = Inputs;

  template <class Sum, class Known, class V>
  KULLBACK_INLINE static void add(Sum& sum, const Known& known, V z) {
    add_mass<0>(sum, known, z);
  }
  template <class Sum, class Known, class V>
  KULLBACK_INLINE static void add(Sum& sum, const Known& known, V z, V other) {
    add_mass<0>(sum, known, z);
    add_mass<1>(sum, known, other);
  }

  KULLBACK_INLINE static void merge(RowStates& total, const RowStates& next, RowLanes lanes, double one) {
    for (int k = 0; k < Inputs; ++k) merge_mass(total, next, lanes, k, Rescaling(total, next, lanes, k, one));
  }

  KULLBACK_INLINE static void finish(RowStates& states, RowLanes lanes, double one) {
    Pair<Pack<double>> sums[Inputs];
    for (int k = 0; k < Inputs; ++k) sums[k] = log_sum(states, lanes, k, one);
    for (int k = 0; k < Inputs; ++k) lanes.store(states, RowStates::log_sum + k, sums[k]);
    lanes.store(states, 0, sums[0]);
  }

 private:
  template <int K, class Sum, class Known, class V>
  KULLBACK_INLINE static void add_mass(Sum& sum, const Known& known, V z) {
    const auto gap = known.template gap<typename Sum::Digits>(z, K);
    if constexpr (Inputs == 1) {
      sum.template add<K>(known.leave_out(rounded_exp_of_gap(gap, sum.one), K));
    } else {
      // The normalizers of two rows may all but cancel.
      sum.template add<K>(known.leave_out(exp_of_gap(gap, sum.one), K));
    }
  }
};

/// A gradient that needs finished states.
struct KnowingGradient {
  using Direct = Nothing;
  static constexpr bool is_gradient = true;
  static constexpr Reads reads = Reads::normalizers;
};

struct LogSumExpGradient : KnowingGradient {
  using Direct = DirectFactors;
  static constexpr int inputs = 1;

  template <class Digits, class V>
  KULLBACK_INLINE static auto of(const Setting&, const Normalizers<double>& known, V z) {
    constexpr double unit = exponential_unit<Digits>;
    return in_exponential_units<Digits>(rounded_exp_of_gap(known.log_probability<Digits>(z), unit));
  }
};

struct LogSumExp : LogNormalizer<1> {
  template <int Input>
  using Gradient = LogSumExpGradient;
  template <int Input>
  using Knowledge = LogSumExp;

  KULLBACK_INLINE static void finish(RowStates& states, RowLanes lanes, double one) {
    constexpr double infinity = Constants<double>::infinity;
    const auto most = lanes.load(states.max[0]);
    const auto mass = lanes.load(states.hi[0]);
    const auto rest = log_sum(states, lanes, 0, one);
    auto y = sum_of(exactly<Working>(most * one), rest);
    y.hi = select(most == -infinity, select(mass == mass, -infinity, mass), y.hi);
    lanes.store(states, 0, y);
    lanes.store(states, RowStates::log_sum, rest);
  }
};

template <>
struct ReadingOf<LogSumExp> {
  using Type = LogNormalizer<1>;
};

/// p times a deviation from a mean.
template <class V, class Low>
KULLBACK_INLINE Element<V, Low> weighted_deviation(Pair<V, Low> log_p, Pair<V, Low> deviation) {
  constexpr double unit = exponential_unit<DigitsOf<Low>>;
  const auto p = exp_of_gap(log_p, unit);
  deviation = zero_where(p.hi == 0, deviation);
  if constexpr (same<Low, Nothing>) {
    return in_natural_units(product(p, deviation));
  } else {
    deviation = normalized(deviation);
    // Of large deviations the product would be beyond the range of numbers in those units.
    const auto large = abs(deviation.hi) > root_of_magnification;
    const V by = select(large, broadcast_like<V>(1 / unit), 1);
    return {product(p, Pair<V>{deviation.hi * by, deviation.lo * by}), select(large, broadcast_like<V>(1.0), 1 / unit)};
  }
}

struct EntropyFromLogitsGradient : KnowingGradient {
  static constexpr int inputs = 1;

  template <class Digits, class V>
  KULLBACK_INLINE static auto of(const Setting&, const Normalizers<double>& known, V z) {
    const auto log_p = known.log_probability<Digits>(z);
    return weighted_deviation(log_p, -sum_of(log_p, known.result<Digits, V>()));
  }
};

struct EntropyFromLogits {
  template <int Input>
  using Gradient = EntropyFromLogitsGradient;
  template <int Input>
  using Knowledge = EntropyFromLogits;
  static constexpr Reads reads = Reads::maxima;
  static constexpr int inputs = 1, logits_from = 0, sums = 2;

  template <class Sum, class Known, class V>
  KULLBACK_INLINE static void add(Sum& sum, const Known& known, V z) {
    const auto gap = known.template gap<typename Sum::Digits>(z);
    const auto mass = rounded_exp_of_gap(gap, sum.one);
    sum.template add<0>(known.leave_out(mass));
    sum.template add<1>(product(mass, zero_where(mass.hi == 0, -gap)));
  }

  KULLBACK_INLINE static void merge(RowStates& total, const RowStates& next, RowLanes lanes, double one) {
    const Rescaling rescaling(total, next, lanes, 0, one);
    // Where the factor is 0, the gap does not matter; but it has to be finite.
    constexpr double enough = 4096;
    const auto near = rescaling.gap.hi < enough;
    const Pair<Pack<double>> gap{select(near, rescaling.gap.hi, enough), select(near, rescaling.gap.lo, 0)};
    const auto moment = times(rescaling.smaller(total, next, lanes, 1), 1 / one);
    const auto shift = product(gap, whole(rescaling.smaller(total, next, lanes, 0), one));
    const auto rest = product(rescaling.factor, sum_of(moment, shift));
    lanes.store(total, 1, sum_of(rescaling.larger(total, next, lanes, 1), rest));
    merge_mass(total, next, lanes, 0, rescaling);
  }

  KULLBACK_INLINE static void finish(RowStates& states, RowLanes lanes, double one) {
    const auto mass = lanes.load(states, 0);
    const auto rest = log_sum(states, lanes, 0, one);
    auto y = sum_of(rest, quotient(lanes.load(states, 1), whole(mass, one)));
    y = zero_where(mass.hi == -1, y);
    lanes.store(states, RowStates::log_sum, rest);
    lanes.store(states, 0, y);
  }
};

template <>
constexpr bool is_moment<EntropyFromLogits> = true;

/// Up to here the series in the gap serve.
constexpr double near_gap = 0.34;

/// exp(x) - 1 - x for |x| < near_gap.
template <class V, class Low>
KULLBACK_INLINE Pair<V, Low> exponential_excess(Pair<V, Low> x) {
  const auto square = product(x, x);
  if constexpr (same<Low, Nothing>) {
    return {square.hi * polynomial(Polynomials<float>::exp_tail, x.hi), {}};
  } else {
    const V cubic = square.hi * x.hi * polynomial<1>(Polynomials<double>::exp_tail, x.hi);
    return fast_two_sum(0.5 * square.hi, fma(broadcast_like<V>(0.5), square.lo, cubic));
  }
}

/// unit (1 - exp(-gap)) of 0 <= gap < near_gap.
template <class V, class Low>
KULLBACK_INLINE Pair<V, Low> one_less_near_exponential(Pair<V, Low> gap, double unit) {
  return times(sum_of(gap, -exponential_excess(-gap)), unit);
}

/// The same of gap >= 0, given unit exp(-gap).
template <class V, class Low>
KULLBACK_INLINE Pair<V, Low> one_less_exponential(Pair<V, Low> gap, Pair<V, Low> exponential, double unit) {
  const auto far = sum_of(exactly<DigitsOf<Low>>(broadcast_like<V>(unit)), -exponential);
  return select(gap.hi < near_gap, one_less_near_exponential(gap, unit), far);
}

/// Two probabilities p and q, by their logits.
template <class Digits, class V>
struct Couple {
  PairOf<Digits, V> larger;  ///< one * max(p, q)
  PairOf<Digits, V> gap;     ///< |log(p/q)|
  PairOf<Digits, V> ratio;   ///< min(p, q) / max(p, q)
  decltype(V() > V()) q_larger;
  decltype(V() > V()) absent;       ///< where both are 0
  decltype(V() > V()) p_without_q;  ///< where q = 0 is impossible and p is not, however small
  V infinity;                       ///< NaN in rows that have no softmax

  template <class Known>
  KULLBACK_INLINE Couple(const Known& known, V p_logit, V q_logit, double one) {
    const auto p_gap = known.template gap<Digits>(p_logit, 0), q_gap = known.template gap<Digits>(q_logit, 1);
    const auto p_sum = known.template log_sum<Digits, V>(0), q_sum = known.template log_sum<Digits, V>(1);
    // Equal logits and normalizers cancel exactly.
    const auto log_ratio = normalized(sum_of(sum_of(q_gap, -p_gap), sum_of(p_sum, -q_sum)));
    q_larger = log_ratio.hi > 0;
    gap = select(q_larger, log_ratio, -log_ratio);
    larger = exp_of_gap(select(q_larger, sum_of(q_gap, -q_sum), sum_of(p_gap, -p_sum)), one);
    absent = larger.hi == 0;
    infinity = (p_sum.hi + q_sum.hi) + Constants<double>::infinity;
    p_without_q = (q_gap.hi == -Constants<double>::infinity) & (p_gap.hi > -Constants<double>::infinity);
    ratio = exp_of_gap(-gap, 1);
  }

  /// 1 - ratio.
  KULLBACK_INLINE PairOf<Digits, V> difference() const { return one_less_exponential(gap, ratio, 1); }

  /// log(max(p, q) / m) of m = (p + q) / 2.
  KULLBACK_INLINE PairOf<Digits, V> log_of_mean() const {
    const auto both = sum_of(exactly<Digits>(broadcast_like<V>(1.0)), ratio);
    return log1p_of_pair(quotient<Digits>(difference(), both));
  }
};

/// q - p of q's logits.
struct ProbabilityDifference : KnowingGradient {
  static constexpr int inputs = 2;

  template <class Digits, class V>
  KULLBACK_INLINE static auto of(const Setting&, const Normalizers<double>& known, V p_logit, V q_logit) {
    const Couple<Digits, V> couple(known, p_logit, q_logit, exponential_unit<Digits>);
    auto difference = zero_where(couple.absent, product(couple.larger, couple.difference()));
    difference.hi = difference.hi + (known.nan_or_zero(0) + known.nan_or_zero(1));
    return in_exponential_units<Digits>(select(couple.q_larger, difference, -difference));
  }
};

/// sum p log(p/q), in which an error that all logarithms share remains: so it cancels in what they differ by.
struct MeanLogRatio : PlainSum {
  static constexpr Reads reads = Reads::normalizers;
  static constexpr int inputs = 2, logits_from = 0;

  template <class Digits, class V, class Known>
  KULLBACK_INLINE static PairOf<Digits, V> log_ratio(const Known& known, V p_logit, V q_logit) {
    return normalized(sum_of(sum_of(known.template gap<Digits>(p_logit, 0), -known.template gap<Digits>(q_logit, 1)),
                             sum_of(known.template log_sum<Digits, V>(1), -known.template log_sum<Digits, V>(0))));
  }

  template <class Sum, class Known, class V>
  KULLBACK_INLINE static void add(Sum& sum, const Known& known, V p_logit, V q_logit) {
    constexpr double infinity = Constants<double>::infinity;
    using Digits = typename Sum::Digits;
    const auto gap = known.template gap<Digits>(p_logit, 0);
    const auto p = exp_of_gap(sum_of(gap, -known.template log_sum<Digits, V>(0)), sum.one);
    auto term = product(p, zero_where(p.hi == 0, log_ratio<Digits>(known, p_logit, q_logit)));
    const auto excluded = known.template gap<Digits>(q_logit, 1).hi == -infinity;
    term.hi = select(excluded & (gap.hi > -infinity), infinity, term.hi);
    sum.add(term);
  }
};

/// p (log(p/q) - KL). Where q excludes a class that p does not, KL is infinite and outweighs what is finite.
struct KlDivergenceFromLogitsGradient : KnowingGradient {
  static constexpr int inputs = 2;

  template <class Digits, class V>
  KULLBACK_INLINE static auto of(const Setting&, const Normalizers<double>& known, V p_logit, V q_logit) {
    constexpr double infinity = Constants<double>::infinity;
    auto log_p = known.log_probability<Digits>(p_logit, 0);
    log_p.hi = log_p.hi + known.nan_or_zero(1);
    if (known.results[0].hi == infinity) {
      const auto excluded = known.gap<Digits>(q_logit, 1).hi == -infinity;
      const V limit = select(excluded, broadcast_like<V>(infinity), -infinity);
      return in_exponential_units<Digits>(exactly<Digits>(zero_where(log_p.hi == -infinity, limit)));
    }
    const auto log_ratio = MeanLogRatio::log_ratio<Digits>(known, p_logit, q_logit);
    return weighted_deviation(log_p, sum_of(log_ratio, -known.result<Digits, V>()));
  }
};

/// With x = log(q/p), a term q - p + p log(p/q) is p (exp(x) - 1 - x).
struct KlDivergenceFromLogits : PlainSum {
  template <int Input>
  using Gradient = typename Choice<Input, KlDivergenceFromLogitsGradient, ProbabilityDifference>::Type;
  template <int Input>
  using Knowledge = typename Choice<Input, MeanLogRatio, LogNormalizer<2>>::Type;
  static constexpr Reads reads = Reads::normalizers;
  static constexpr int inputs = 2, logits_from = 0;

  template <class Sum, class Known, class V>
  KULLBACK_INLINE static void add(Sum& sum, const Known& known, V p_logit, V q_logit) {
    using Digits = typename Sum::Digits;
    const Couple<Digits, V> couple(known, p_logit, q_logit, sum.one);
    const auto x = select(couple.q_larger, couple.gap, -couple.gap);
    const auto p_ratio = select(couple.q_larger, couple.ratio, exactly<Digits>(broadcast_like<V>(1.0)));
    const auto near = product(p_ratio, exponential_excess(x));
    // In units of the larger one: (1 - r) - r gap for q > p, gap - (1 - r) for p > q.
    const auto absent_gap = couple.ratio.hi == 0;
    const auto moment = product(couple.ratio, zero_where(absent_gap, couple.gap));
    const auto difference = couple.difference();
    const auto far =
        sum_of(select(couple.q_larger, difference, couple.gap), -select(couple.q_larger, moment, difference));
    const auto term = zero_where(couple.absent, select(couple.gap.hi < near_gap, near, far));
    auto weighted = product(couple.larger, term);
    weighted.hi = select(couple.p_without_q, couple.infinity, weighted.hi);
    sum.add(weighted);
  }
};

/// Of the gaps a and b of both logits, sum exp(a) (a - b) / sum exp(a) + log sum exp(b) - log sum exp(a). What that
/// sums cancels: small divergences are NaN, and so is log sum exp(a) where it is not good enough for them.
struct FarDivergence {
  static constexpr Reads reads = Reads::maxima;
  static constexpr int inputs = 2, logits_from = 0, sums = 3;
  static constexpr int moment = 2;

  template <class Sum, class Known, class V>
  KULLBACK_INLINE static void add(Sum& sum, const Known& known, V p_logit, V q_logit) {
    using Digits = typename Sum::Digits;
    const auto p_gap = known.template gap<Digits>(p_logit, 0), q_gap = known.template gap<Digits>(q_logit, 1);
    const auto mass = exp_of_gap(p_gap, sum.one);
    sum.template add<0>(known.leave_out(mass, 0));
    sum.template add<1>(known.leave_out(exp_of_gap(q_gap, sum.one), 1));
    sum.template add<moment>(
        product(mass, zero_where(p_gap.hi == -Constants<double>::infinity, sum_of(p_gap, -q_gap))));
  }

  KULLBACK_INLINE static void merge(RowStates& total, const RowStates& next, RowLanes lanes, double one) {
    const Rescaling of_p(total, next, lanes, 0, one), of_q(total, next, lanes, 1, one);
    const auto nothing = exactly<Working>(broadcast<double>(0.0));
    // Of the block with the larger maximum of p's logits, and of the other one.
    const auto moved = [&](const RowStates& states, Pair<Pack<double>> p_gap, Pair<Pack<double>> q_gap) {
      const auto shift = product(sum_of(q_gap, -p_gap), whole(lanes.load(states, 0), one));
      return sum_of(lanes.load(states, moment), shift);
    };
    const auto of_total = moved(total, select(of_p.first, nothing, of_p.gap), select(of_q.first, nothing, of_q.gap));
    const auto of_next = moved(next, select(of_p.first, of_p.gap, nothing), select(of_q.first, of_q.gap, nothing));
    const auto rest = product(of_p.factor, select(of_p.first, of_next, of_total));
    const auto nothing_there = of_p.gap.hi == Constants<double>::infinity;
    const auto sum = sum_of(select(of_p.first, of_total, of_next), zero_where(nothing_there, rest));
    merge_mass(total, next, lanes, 0, of_p);
    merge_mass(total, next, lanes, 1, of_q);
    lanes.store(total, moment, sum);
  }

  KULLBACK_INLINE static void finish(RowStates& states, RowLanes lanes, double one) {
    if (lanes.spare) {
      finish_narrow(states, lanes);
    } else {
      // The exponentials' relative error, 2^-59, counts sum p |a - b| times, and that is at most the divergence + 2 +
      // the difference of the logarithms. It is to stay below half an ULP.
      constexpr double least = 0x1p-2;
      const auto mean = quotient(lanes.load(states, moment), whole(lanes.load(states, 0), one));
      const auto p_sum = log_sum(states, lanes, 0, one), q_sum = log_sum(states, lanes, 1, one);
      const auto difference = sum_of(q_sum, -p_sum);
      auto y = sum_of(mean, difference);
      const auto exact_enough = (y.hi >= (1 + abs(difference.hi)) * least) & (y.hi < Constants<double>::infinity);
      y.hi = select(exact_enough, y.hi, Constants<double>::nan);
      lanes.store(states, 0, y);
      lanes.store(states, RowStates::log_sum, p_sum);
      lanes.store(states, RowStates::log_sum + 1, q_sum);
    }
  }

 private:
  /// Of float32 data, for which the logarithm of a quotient will do.
  KULLBACK_INLINE static void finish_narrow(RowStates& states, RowLanes lanes) {
    constexpr double nan = Constants<double>::nan, infinity = Constants<double>::infinity;
    // The exponentials' relative error, 2^-28, counts, of p, what log(p/q) deviates from its mean and, of q, once; it
    // is to stay below half an ULP. Where divergences are made of logarithms and all terms by themselves, its square
    // does.
    constexpr double least = 0x1p-4, least_known = 0x1p-20;
    const auto p_mass = 1 + lanes.load(states.hi[0]), q_mass = 1 + lanes.load(states.hi[1]);
    const auto difference = log_pair<Spare>(q_mass / p_mass).hi;
    const auto y = lanes.load(states.hi[moment]) / p_mass + difference;
    const auto largest = lanes.load(states.max[0]) + lanes.load(states.max[1]);
    const auto good = (y >= least) & (y < infinity) & (largest - largest == 0);
    Pair<Pack<double>, Nothing> sums[2] = {};
    if (!all(good | (lane_numbers<double>() >= static_cast<double>(lanes.count)))) {
      lanes.spare = false;
      for (int k = 0; k < 2; ++k) sums[k].hi = log_sum(states, lanes, k, 1).hi;
      sums[0].hi = select(y >= least_known, sums[0].hi, nan);
    }
    lanes.store(states, 0, Pair<Pack<double>, Nothing>{select(good, y, nan), {}});
    for (int k = 0; k < 2; ++k) lanes.store(states, RowStates::log_sum + k, sums[k]);
  }
};
template <>
constexpr bool is_near_divergence<KlDivergenceFromLogits> = true;

template <>
struct ShortcutOf<KlDivergenceFromLogits> {
  using Type = FarDivergence;
};
template <>
constexpr bool is_shortcut<FarDivergence> = true;

/// KL(p||m) and KL(q||m), m = (p + q) / 2.
struct DivergencesFromMean {
  static constexpr Reads reads = Reads::normalizers;
  static constexpr int inputs = 2, logits_from = 0, sums = 2;

  template <class Sum, class Known, class V>
  KULLBACK_INLINE static void add(Sum& sum, const Known& known, V p_logit, V q_logit) {
    using Digits = typename Sum::Digits;
    const Couple<Digits, V> couple(known, p_logit, q_logit, sum.one);
    const auto of_larger = couple.log_of_mean();
    const auto vanishes = couple.ratio.hi == 0;
    const auto of_smaller = zero_where(vanishes, sum_of(of_larger, -couple.gap));
    const auto larger = zero_where(couple.absent, product(couple.larger, of_larger));
    const auto smaller = zero_where(couple.absent, product(product(couple.larger, couple.ratio), of_smaller));
    sum.template add<0>(select(couple.q_larger, smaller, larger));
    sum.template add<1>(select(couple.q_larger, larger, smaller));
  }
  KULLBACK_INLINE static void merge(RowStates& total, const RowStates& next, RowLanes lanes, double /*one*/) {
    for (int k = 0; k < sums; ++k) merge_sum(total, next, lanes, k);
  }
  KULLBACK_INLINE static void finish(RowStates& states, RowLanes lanes, double /*one*/) {
    lanes.store(states, RowStates::second_result, lanes.load(states, 1));
  }
};

template <int Input>
struct JsDivergenceFromLogitsGradient : KnowingGradient {
  static constexpr int inputs = 2;

  template <class Digits, class V>
  KULLBACK_INLINE static auto of(const Setting&, const Normalizers<double>& known, V p_logit, V q_logit) {
    const Couple<Digits, V> couple(known, p_logit, q_logit, 1);
    const auto of_larger = couple.log_of_mean(), of_smaller = sum_of(of_larger, -couple.gap);
    const auto log_ratio =
        Input == 0 ? select(couple.q_larger, of_smaller, of_larger) : select(couple.q_larger, of_larger, of_smaller);
    auto log_own = known.log_probability<Digits>(Input == 0 ? p_logit : q_logit, Input);
    log_own.hi = log_own.hi + known.nan_or_zero(1 - Input);
    return weighted_deviation(log_own, times(sum_of(log_ratio, -known.result<Digits, V>(Input)), 0.5));
  }
};

struct JsDivergenceFromLogits : PlainSum {
  template <int Input>
  using Gradient = JsDivergenceFromLogitsGradient<Input>;
  template <int Input>
  using Knowledge = DivergencesFromMean;
  static constexpr Reads reads = Reads::normalizers;
  static constexpr int inputs = 2, logits_from = 0;

  template <class Sum, class Known, class V>
  KULLBACK_INLINE static void add(Sum& sum, const Known& known, V p_logit, V q_logit) {
    using Digits = typename Sum::Digits;
    const Couple<Digits, V> couple(known, p_logit, q_logit, sum.one);
    const auto both = sum_of(exactly<Digits>(broadcast_like<V>(1.0)), couple.ratio);
    const auto g = Jensen::of<Digits, V>(both, couple.difference(), times(couple.ratio, 2));
    const auto term = zero_where(couple.absent, product(both, g));
    sum.add(product(times(couple.larger, 0.25), term));
  }
};

// More than a pack of two rows at a time would be a twentieth faster, and three times the code.
template <>
constexpr int group_bytes<MeanLogRatio> = pack_bytes;
template <>
constexpr int group_bytes<KlDivergenceFromLogits> = pack_bytes;
template <>
constexpr int group_bytes<DivergencesFromMean> = pack_bytes;

/// Not a gradient: the row's elements themselves.
struct RowMapping {
  static constexpr bool is_gradient = false;
  static constexpr Reads reads = Reads::normalizers;
  static constexpr int inputs = 1;
};

struct Softmax : RowMapping {
  using Direct = DirectFactors;

  template <class Digits, class V>
  KULLBACK_INLINE static V of(const Setting&, const Normalizers<double>& known, V z) {
    constexpr double unit = exponential_unit<Digits>;
    return rounded_exp_of_gap(known.log_probability<Digits>(z), unit).hi * (1 / unit);
  }
};

struct LogSoftmax : RowMapping {
  using Direct = DirectShift<float>;

  template <class Digits, class V>
  KULLBACK_INLINE static V of(const Setting&, const Normalizers<double>& known, V z) {
    const auto y = known.log_probability<Digits>(z);
    return select(y.hi - y.hi == 0, value(y), y.hi);
  }
};

// Of two classes, the logits z and 0 ----------------------------------------------------------------------------------

/// one * exp(-|z|) and one * log1p(exp(-|z|)).
template <class Digits, class V>
struct Softplus {
  PairOf<Digits, V> mass, log_sum;

  KULLBACK_INLINE Softplus(V z, double one) {
    mass = exp_of_gap(exactly<Digits>(-abs(z)), one);
    const auto natural = times(mass, 1 / one);
    log_sum = times(log1p_of_pair(natural), one);
    if (one != 1) log_sum = select(natural.hi < 0x1p-110, mass, log_sum);
  }

  /// one * log(1 + exp(z)), the information of the class 0.
  KULLBACK_INLINE PairOf<Digits, V> of(V z, double one) const {
    return sum_of(exactly<Digits>(max(z, broadcast_like<V>(0.0)) * one), log_sum);
  }
};

struct Sigmoid {
  using Gradient = NoGradient;
  static constexpr int inputs = 1;

  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> of(const Setting&, double one, V z) {
    const auto mass = exp_of_gap(exactly<Digits>(-abs(z)), one);
    const auto unit = exactly<Digits>(broadcast_like<V>(one));
    const auto both = sum_of(exactly<Digits>(broadcast_like<V>(1.0)), times(mass, 1 / one));
    return quotient<Digits>(select(z < 0, mass, unit), both);
  }
};

struct LogSigmoid {
  using Gradient = NoGradient;
  static constexpr int inputs = 1;

  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> of(const Setting&, double one, V z) {
    return -Softplus<Digits, V>(z, one).of(-z, one);
  }
};

/// sigmoid(-|z|) and sigmoid(|z|), in units of one.
template <class Digits, class V>
struct Sigmoids {
  PairOf<Digits, V> smaller, larger;

  KULLBACK_INLINE Sigmoids(V z, double one) {
    const auto mass = exp_of_gap(exactly<Digits>(-abs(z)), one);
    const auto both = sum_of(exactly<Digits>(broadcast_like<V>(1.0)), times(mass, 1 / one));
    smaller = quotient<Digits>(mass, both);
    larger = quotient<Digits>(exactly<Digits>(broadcast_like<V>(one)), both);
  }

  /// sigmoid(z).
  KULLBACK_INLINE PairOf<Digits, V> of(V z) const { return select(z < 0, smaller, larger); }
};

/// -z sigmoid(z) sigmoid(-z).
struct BinaryEntropyFromLogitsGradient {
  static constexpr int inputs = 2;

  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> of(const Setting&, double one, V factor, V z) {
    const Sigmoids<Digits, V> sigmoids(z, one);
    const auto variance = product(sigmoids.smaller, times(sigmoids.larger, 1 / one));
    const auto by = exactly<Digits>(zero_where(sigmoids.smaller.hi == 0, -z));
    return multiplied(product(variance, by), exactly<Digits>(factor));
  }
};

struct BinaryEntropyFromLogits {
  using Gradient = BinaryEntropyFromLogitsGradient;
  static constexpr int inputs = 1;

  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> of(const Setting&, double one, V z) {
    const Softplus<Digits, V> softplus(z, one);
    const auto both = sum_of(exactly<Digits>(broadcast_like<V>(1.0)), times(softplus.mass, 1 / one));
    const auto distance = exactly<Digits>(zero_where(softplus.mass.hi == 0, abs(z)));
    return sum_of(softplus.log_sum, quotient<Digits>(product(softplus.mass, distance), both));
  }
};
