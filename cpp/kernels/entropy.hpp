/// Information of one distribution, and cross-entropy. Natural logarithm; 0 log 0 = 0.
///
///   self_information   -log p                             p in [0, inf]; p < 0 and NaN give NaN
///   binary_entropy     -p log p - (1-p) log(1-p)          p in [0, 1]; NaN elsewhere
///   entropy            -sum p log p
///   cross_entropy      -sum p log q                       +inf where p > 0 = q; 0 where p = 0 <= q
///
/// Each term is a product of an input and a logarithm that is good to more than its type's digits; see rows.hpp for the
/// sums. A negative or NaN input makes its row NaN; of the gradient, its own element.
///
/// Gradients: binary_entropy log((1-p)/p); entropy -(log p + 1); cross_entropy -log q of p, -p/q of q.

/// Of an elementwise operation that has none.
struct NoGradient {};

struct SelfInformation {
  using Gradient = NoGradient;
  static constexpr int inputs = 1;

  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> of(const Setting&, double one, V p) {
    const auto log_p = log_pair<Digits>(p);
    return times(log_p, -one);
  }
};

struct BinaryEntropyGradient {
  static constexpr int inputs = 2;

  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> of(const Setting&, double one, V factor, V p) {
    constexpr double infinity = Constants<double>::infinity;
    const auto q = two_sum<Digits>(broadcast_like<V>(1.0), -p);
    auto y = log_ratio_of_positive<Digits>(q.hi, p);
    // q is rounded where it is not near p.
    if constexpr (same<Digits, Working>) y.lo = y.lo + q.lo / q.hi;
    y.hi = select(p == 0, infinity, y.hi);
    y.hi = select(p == 1, -infinity, y.hi);
    y.hi = select((p >= 0) & (q.hi >= 0), y.hi, Constants<double>::nan);
    return multiplied(times(y, one), exactly<Digits>(factor));
  }
};

struct BinaryEntropy {
  using Gradient = BinaryEntropyGradient;
  static constexpr int inputs = 1;

  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> of(const Setting&, double one, V p) {
    // By symmetry for the smaller of p and 1 - p, which is exact; then -b log b is the larger term.
    const V q = 1 - p;
    const V b = select(p > 0.5, q, p);
    const auto c = two_sum<Digits>(broadcast_like<V>(1.0), -b);
    const auto b_term = product(exactly<Digits>(b * one), log_of_positive<Digits>(b));
    const auto c_term = product(times(c, one), log1p_of_finite<Digits>(-b));
    auto sum = -sum_of(b_term, c_term);
    sum.hi = select((p >= 0) & (q >= 0), sum.hi, Constants<double>::nan);
    return sum;
  }
};

/// A gradient that needs to know nothing of its row.
struct PlainGradient {
  using Direct = Nothing;
  static constexpr bool is_gradient = true;
  static constexpr Reads reads = Reads::plain;
};

struct EntropyGradient : PlainGradient {
  static constexpr int inputs = 1;

  template <class Digits, class V>
  KULLBACK_INLINE static auto of(const Setting&, V p) {
    return in_natural_units(-sum_of(exactly<Digits>(broadcast_like<V>(1.0)), log_pair<Digits>(p)));
  }
};

struct Entropy : NegatedSum {
  template <int Input>
  using Gradient = EntropyGradient;
  static constexpr int inputs = 1, logits_from = 1;

  template <class Sum, class V>
  KULLBACK_INLINE static void add(Sum& sum, V p) {
    sum.require(p >= 0);
    sum.add_products(log_of_positive<typename Sum::Digits>(p), p);
  }

  KULLBACK_INLINE static Pack<float> narrow_log(NarrowCheck& check, Pack<float> p) {
    check.require_mass(p);
    return kullback::KULLBACK_TARGET::narrow_log(p);
  }
};
template <>
constexpr bool is_narrow<Entropy> = true;

/// log q of q >= 0, but finite where that would be multiplied by an absent mass.
template <class Digits, class M, class V>
KULLBACK_INLINE PairOf<Digits, V> log_where(M present, V q) {
  constexpr double infinity = Constants<double>::infinity;
  auto log_q = log_of_positive<Digits>(q);
  log_q.hi = select(present & (q == 0), -infinity, log_q.hi);
  log_q.hi = select(present & (q == infinity), infinity, log_q.hi);
  return log_q;
}

/// -log q of q >= 0.
template <class Digits, class V>
KULLBACK_INLINE PairOf<Digits, V> information_of(V q) {
  constexpr double infinity = Constants<double>::infinity;
  auto y = -log_of_positive<Digits>(q);
  y.hi = select(q == 0, infinity, y.hi);
  y.hi = select(q == infinity, -infinity, y.hi);
  return y;
}

/// -p/q; 0 where p = 0 <= q.
template <class Digits, class V, class Low>
KULLBACK_INLINE Element<V, Low> negated_ratio(Pair<V, Low> p, V q, decltype(V() > V()) valid) {
  const auto vanishes = (p.hi == 0) | ((q == Constants<double>::infinity) & (abs(p.hi) < q));
  const auto finished = [&](Pair<V, Low> y, V back) KULLBACK_INLINE_LAMBDA {
    y = zero_where(vanishes, -y);
    y.hi = select(valid, y.hi, Constants<double>::nan);
    return Element<V, Low>{y, back};
  };
  const V one = broadcast_like<V>(1.0);
  if constexpr (same<Digits, Spare>) {
    return finished({p.hi / q, {}}, one);
  } else {
    // No inverse overflows, and ratios near the ends of the range are counted in other units.
    const auto tiny = abs(p.hi) < min(q, broadcast_like<V>(0x1p100)) * 0x1p-800;
    const auto huge = abs(p.hi) > max(min(q, broadcast_like<V>(0x1p100)) * 0x1p800, broadcast_like<V>(0x1p-400));
    const V unit = select(tiny, broadcast_like<V>(magnification), select(huge, 1 / magnification, one));
    const V lens = select(q < 0x1p-900, broadcast_like<V>(0x1p100), one);
    const Pair<V> numerator{p.hi * unit * lens, p.lo * unit * lens};
    return finished(quotient<Digits>(numerator, exactly<Digits>(q * lens)),
                    select(tiny, broadcast_like<V>(1 / magnification), select(huge, magnification, one)));
  }
}

struct NegatedRatio : PlainGradient {
  static constexpr int inputs = 2;

  template <class Digits, class V>
  KULLBACK_INLINE static auto of(const Setting&, V p, V q) {
    return negated_ratio<Digits>(exactly<Digits>(p), q, (p >= 0) & (q >= 0));
  }
};

struct Information : PlainGradient {
  static constexpr int inputs = 2;

  template <class Digits, class V>
  KULLBACK_INLINE static auto of(const Setting&, V p, V q) {
    auto y = information_of<Digits>(q);
    y.hi = select((p >= 0) & (q >= 0), y.hi, Constants<double>::nan);
    return in_natural_units(y);
  }
};

/// One of two types.
template <int Input, class First, class Second>
struct Choice {
  using Type = First;
};
template <class First, class Second>
struct Choice<1, First, Second> {
  using Type = Second;
};

struct CrossEntropy : NegatedSum {
  template <int Input>
  using Gradient = typename Choice<Input, Information, NegatedRatio>::Type;
  static constexpr int inputs = 2, logits_from = 2;

  template <class Sum, class V>
  KULLBACK_INLINE static void add(Sum& sum, V p, V q) {
    sum.require((p >= 0) & (q >= 0));
    sum.add_products(log_where<typename Sum::Digits>(p > 0, q), p);
  }

  KULLBACK_INLINE static Pack<float> narrow_log(NarrowCheck& check, Pack<float> p, Pack<float> q) {
    check.require_mass(p);
    check.require_normal(q);
    return kullback::KULLBACK_TARGET::narrow_log(q);
  }
};
template <>
constexpr bool is_narrow<CrossEntropy> = true;
