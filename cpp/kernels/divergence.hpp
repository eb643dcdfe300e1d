/// Divergences of two distributions. Natural logarithm; 0 log(0/q) = 0 log(0/0) = 0.
///
///   kl_divergence   sum p log(p/q)                                  +inf where p > 0 = q
///   js_divergence   sum [p log(p/m) + q log(q/m)] / 2, m = (p+q)/2  every term >= 0, 0 only at p = q
///
/// Ratios never overflow and keep relative accuracy near 1 (log_ratio_of_positive). A negative or NaN input makes its
/// row NaN; of the gradients, its own element.
///
/// Gradients: kl_divergence log(p/q) + 1 of p, -p/q of q; js_divergence log(p/m) / 2 of p and log(q/m) / 2 of q.

struct LogRatioAndOne : PlainGradient {
  static constexpr int inputs = 2;

  template <class Digits, class V>
  KULLBACK_INLINE static auto of(const Setting&, V p, V q) {
    constexpr double infinity = Constants<double>::infinity;
    auto y = sum_of(log_ratio_of_positive<Digits>(p, q), exactly<Digits>(broadcast_like<V>(1.0)));
    y.hi = select((p == 0) | (q == infinity), -infinity, y.hi);
    y.hi = select((q == 0) | (p == infinity), infinity, y.hi);
    y = zero_where((p == 0) & (q == 0), y);
    y.hi = select((p >= 0) & (q >= 0), y.hi, Constants<double>::nan);
    y.hi = select((p == infinity) & (q == infinity), Constants<double>::nan, y.hi);
    return in_natural_units(y);
  }
};

struct KlDivergence : PlainSum {
  template <int Input>
  using Gradient = typename Choice<Input, LogRatioAndOne, NegatedRatio>::Type;
  static constexpr int inputs = 2, logits_from = 2;

  template <class Sum, class V>
  KULLBACK_INLINE static void add(Sum& sum, V p, V q) {
    constexpr double infinity = Constants<double>::infinity;
    auto log_ratio = log_ratio_of_positive<typename Sum::Digits>(p, q);
    const auto present = p > 0;
    log_ratio.hi = select(present & (q == 0), infinity, log_ratio.hi);
    // -inf where p is finite, NaN where it is not.
    log_ratio.hi = select(present & (q == infinity), p - q, log_ratio.hi);
    sum.require((p >= 0) & (q >= 0));
    sum.add_products(log_ratio, p);
  }

  KULLBACK_INLINE static Pack<float> narrow_log(NarrowCheck& check, Pack<float> p, Pack<float> q) {
    check.require_mass(p);
    check.require_normal(q);
    return narrow_log_ratio(p, q);
  }
};
template <>
constexpr bool is_narrow<KlDivergence> = true;

/// g(x) = (1+x) log(1+x) + (1-x) log(1-x) = x^2 + x^4 J(x^2) >= 0 of x = (a-b)/(a+b): what two masses a >= b add to the
/// divergence is (a+b)/4 g(x). `w` is a + b, `d` a - b and `twice_b` 2b, all by the same factor.
///
/// The series serves up to x = 1/3; beyond, the logarithms cancel to a sixth at most, which their low parts make good.
struct Jensen {
  template <class Digits, class V, class D, class B>
  KULLBACK_INLINE static PairOf<Digits, V> of(PairOf<Digits, V> w, D d, B twice_b) {
    if constexpr (same<Digits, Spare>) {
      return {of_float32(1 / w.hi, leading(d), leading(twice_b)), {}};
    } else {
      return of_pairs<Digits, V>(w, d, twice_b);
    }
  }

 private:
  template <class V>
  KULLBACK_INLINE static V leading(V x) {
    return x;
  }
  template <class V, class Low>
  KULLBACK_INLINE static V leading(Pair<V, Low> x) {
    return x.hi;
  }

  /// With digits to spare the larger term is a polynomial.
  template <class V>
  KULLBACK_INLINE static V of_float32(V inverse, V d, V twice_b) {
    const V x = d * inverse, y = twice_b * inverse, z = x * x;
    const V near = fma(z * z, polynomial(Polynomials<float>::jensen_tail, z), z);
    const V upper_term = polynomial(Polynomials<double>::jensen_upper, x - 2.0 / 3);
    const V far = fma(y, value(log_of_positive<Spare>(y)), upper_term);
    return select(x > 1.0 / 3, far, near);
  }

  template <class Digits, class V, class D, class B>
  KULLBACK_INLINE static PairOf<Digits, V> of_pairs(PairOf<Digits, V> w, D d, B twice_b) {
    const auto x = quotient<Digits>(d, w);
    const auto z = two_product<Digits>(x.hi, x.hi);
    const auto z_lo = fma(x.hi + x.hi, x.lo, z.lo);
    const V z_tail = z.hi * z.hi * polynomial(PolynomialsOf<Digits, double>::jensen_tail, z.hi);

    // 1 - x = 2b/(a+b), which keeps its digits where b is far smaller than a.
    auto above = fast_two_sum<Digits>(broadcast_like<V>(1.0), x.hi);
    above.lo = above.lo + x.lo;
    const auto upper_term = x_log_x<Digits>(above);
    const auto lower_term = x_log_x<Digits>(quotient<Digits>(twice_b, w));
    const auto far = two_sum<Digits>(upper_term.hi, lower_term.hi);
    const auto far_lo = far.lo + (upper_term.lo + lower_term.lo);

    const auto is_far = x.hi > 1.0 / 3;
    const auto g = fast_two_sum<Digits>(select(is_far, far.hi, z.hi), select(is_far, 0, z_tail));
    return {g.hi, g.lo + select(is_far, far_lo, z_lo)};
  }

  /// x log x of x >= 0.
  template <class Digits, class V, class Low>
  KULLBACK_INLINE static PairOf<Digits, V> x_log_x(Pair<V, Low> x) {
    const auto log_x = log_of_positive<Digits>(x.hi);
    // (x + lo) log(x + lo) = x log x + lo (1 + log x) + ...
    const auto y = two_product<Digits>(x.hi, log_x.hi);
    return {y.hi, y.lo + fma(x.hi, log_x.lo, fma(x.lo, log_x.hi, x.lo))};
  }
};

/// With x = |p - q| / (p + q), log(p/m) is log1p(x) where p is the larger one, and log(p/q) less of q.
template <int Input>
struct JsDivergenceGradient;

struct JsDivergence : PlainSum {
  template <int Input>
  using Gradient = JsDivergenceGradient<Input>;
  static constexpr int inputs = 2, logits_from = 2;

  template <class Sum, class V>
  KULLBACK_INLINE static void add(Sum& sum, V p, V q) {
    using Digits = typename Sum::Digits;
    constexpr double infinity = Constants<double>::infinity, nan = Constants<double>::nan;
    const V a = max(p, q), b = min(p, q);
    const V unit = same<Digits, Spare> ? broadcast_like<V>(1.0) : middle_range(a);
    auto w = fast_two_sum<Digits>(a * unit, b * unit);
    w.hi = select(w.hi == 0, 1, w.hi);
    auto g = Jensen::of<Digits, V>(w, fast_two_sum<Digits>(a * unit, -(b * unit)), 2 * (b * unit));
    // Infinite mass is infinitely far from finite mass, and nowhere from infinite mass.
    g.hi = select(a == infinity, 1, g.hi);
    g.hi = select(b == infinity, nan, g.hi);
    sum.require((p >= 0) & (q >= 0));
    sum.add_products(PairOf<Digits, V>{0.25 * g.hi, 0.25 * g.lo}, a, b);
  }

  /// A power of two that brings a to where neither a + b nor its inverse leaves the normal range.
  template <class V>
  KULLBACK_INLINE static V middle_range(V a) {
    constexpr int edge = Real<double>::exponent_bias / 2;
    constexpr double low = from_exponent<double>(-edge), high = from_exponent<double>(edge);
    constexpr double up = from_exponent<double>(edge + Real<double>::mantissa_bits);
    return select(a < low, up, select(a > high, low, broadcast_like<V>(1.0)));
  }
};

template <int Input>
struct JsDivergenceGradient : PlainGradient {
  static constexpr int inputs = 2;

  template <class Digits, class V>
  KULLBACK_INLINE static auto of(const Setting&, V p, V q) {
    constexpr double infinity = Constants<double>::infinity, nan = Constants<double>::nan;
    const V own = Input == 0 ? p : q, other = Input == 0 ? q : p;
    const V a = max(p, q), b = min(p, q);
    const V unit = JsDivergence::middle_range(a);
    auto w = fast_two_sum<Digits>(a * unit, b * unit);
    w.hi = select(w.hi == 0, 1, w.hi);
    auto y = log1p_of_pair(quotient<Digits>(fast_two_sum<Digits>(a * unit, -(b * unit)), w));
    y.hi = select(a == infinity, Constants<double>::ln2, y.hi);
    if constexpr (same<Digits, Working>) y.lo = select(a == infinity, Constants<double>::ln2_low, y.lo);
    y = select(own < other, sum_of(y, log_ratio_of_positive<Digits>(own, other)), y);
    y.hi = select((own < other) & ((own == 0) | (other == infinity)), -infinity, y.hi);
    y.hi = select(((p >= 0) & (q >= 0)) & (b < infinity), y.hi, nan);
    return in_natural_units(times(y, 0.5));
  }
};
