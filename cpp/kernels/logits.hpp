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
  const auto natural = times(mass, 1 / one);
  auto y = times(log1p_of_pair(natural), one);
  // Magnified sums may be too small for their logarithm's calculation, but not for its first term.
  if (one != 1) y = select(natural.hi < 0x1p-110, mass, y);
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
    for (int k = 0; k < Inputs; ++k) lanes.store(states, k, log_sum(states, lanes, k, one));
  }

 private:
  template <int K, class Sum, class Known, class V>
  KULLBACK_INLINE static void add_mass(Sum& sum, const Known& known, V z) {
    const auto gap = known.template gap<typename Sum::Digits>(z, K);
    sum.template add<K>(known.leave_out(exp_of_gap(gap, sum.one), K));
  }
};

struct LogSumExp : LogNormalizer<1> {
  KULLBACK_INLINE static void finish(RowStates& states, RowLanes lanes, double one) {
    constexpr double infinity = Constants<double>::infinity;
    const auto most = lanes.load(states.max[0]);
    const auto mass = lanes.load(states.hi[0]);
    auto y = sum_of(exactly<Working>(most * one), log_sum(states, lanes, 0, one));
    y.hi = select(most == -infinity, select(mass == mass, -infinity, mass), y.hi);
    lanes.store(states, 0, y);
  }
};

struct EntropyFromLogits {
  static constexpr Reads reads = Reads::maxima;
  static constexpr int inputs = 1, logits_from = 0, sums = 2;

  template <class Sum, class Known, class V>
  KULLBACK_INLINE static void add(Sum& sum, const Known& known, V z) {
    const auto gap = known.template gap<typename Sum::Digits>(z);
    const auto mass = exp_of_gap(gap, sum.one);
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
    auto y = sum_of(log_sum(states, lanes, 0, one), quotient(lanes.load(states, 1), whole(mass, one)));
    y = zero_where(mass.hi == -1, y);
    lanes.store(states, 0, y);
  }
};

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

  /// Up to here the series in the gap serve.
  static constexpr double near = 0.34;

  /// (exp(x) - 1 - x) for |x| < near.
  KULLBACK_INLINE static PairOf<Digits, V> excess(PairOf<Digits, V> x) {
    const auto square = product(x, x);
    if constexpr (same<Digits, Spare>) {
      return {square.hi * polynomial(Polynomials<float>::exp_tail, x.hi), {}};
    } else {
      const V cubic = square.hi * x.hi * polynomial<1>(Polynomials<double>::exp_tail, x.hi);
      return fast_two_sum(0.5 * square.hi, fma(broadcast_like<V>(0.5), square.lo, cubic));
    }
  }

  /// 1 - ratio.
  KULLBACK_INLINE PairOf<Digits, V> difference() const {
    const auto far = sum_of(exactly<Digits>(broadcast_like<V>(1.0)), -ratio);
    return select(gap.hi < near, sum_of(gap, -excess(-gap)), far);
  }

 private:
  KULLBACK_INLINE static Pair<V> normalized(Pair<V> x) {
    const auto y = two_sum(x.hi, x.lo);
    const auto finite = x.hi - x.hi == 0;
    return {select(finite, y.hi, x.hi), select(finite, y.lo, 0)};
  }
  KULLBACK_INLINE static Pair<V, Nothing> normalized(Pair<V, Nothing> x) { return x; }
};

/// With x = log(q/p), a term q - p + p log(p/q) is p (exp(x) - 1 - x).
struct KlDivergenceFromLogits : PlainSum {
  static constexpr Reads reads = Reads::normalizers;
  static constexpr int inputs = 2, logits_from = 0;

  template <class Sum, class Known, class V>
  KULLBACK_INLINE static void add(Sum& sum, const Known& known, V p_logit, V q_logit) {
    using Digits = typename Sum::Digits;
    const Couple<Digits, V> couple(known, p_logit, q_logit, sum.one);
    const auto x = select(couple.q_larger, couple.gap, -couple.gap);
    const auto p_ratio = select(couple.q_larger, couple.ratio, exactly<Digits>(broadcast_like<V>(1.0)));
    const auto near = product(p_ratio, couple.excess(x));
    // In units of the larger one: (1 - r) - r gap for q > p, gap - (1 - r) for p > q.
    const auto absent_gap = couple.ratio.hi == 0;
    const auto moment = product(couple.ratio, zero_where(absent_gap, couple.gap));
    const auto difference = couple.difference();
    const auto far =
        sum_of(select(couple.q_larger, difference, couple.gap), -select(couple.q_larger, moment, difference));
    const auto term = zero_where(couple.absent, select(couple.gap.hi < couple.near, near, far));
    auto weighted = product(couple.larger, term);
    weighted.hi = select(couple.p_without_q, couple.infinity, weighted.hi);
    sum.add(weighted);
  }
};

struct JsDivergenceFromLogits : PlainSum {
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

/// The logarithm of softmax(z), before it is rounded.
template <class Digits, class V>
KULLBACK_INLINE PairOf<Digits, V> log_probability(const Normalizers<double>& known, V z) {
  return sum_of(known.template gap<Digits>(z), -known.template log_sum<Digits, V>());
}

struct Softmax {
  template <class Digits, class V>
  KULLBACK_INLINE static V of(const Normalizers<double>& known, V z) {
    // Magnified, and so with digits to spare, down to the smallest subnormal.
    constexpr double one = same<Digits, Spare> ? 1 : magnification;
    return value(exp_of_gap(log_probability<Digits>(known, z), one)) * (1 / one);
  }
};

struct LogSoftmax {
  template <class Digits, class V>
  KULLBACK_INLINE static V of(const Normalizers<double>& known, V z) {
    const auto y = log_probability<Digits>(known, z);
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
  static constexpr int inputs = 1;

  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> of(const Setting&, double one, V z) {
    return -Softplus<Digits, V>(z, one).of(-z, one);
  }
};

struct BinaryEntropyFromLogits {
  static constexpr int inputs = 1;

  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> of(const Setting&, double one, V z) {
    const Softplus<Digits, V> softplus(z, one);
    const auto both = sum_of(exactly<Digits>(broadcast_like<V>(1.0)), times(softplus.mass, 1 / one));
    const auto distance = exactly<Digits>(zero_where(softplus.mass.hi == 0, abs(z)));
    return sum_of(softplus.log_sum, quotient<Digits>(product(softplus.mass, distance), both));
  }
};
