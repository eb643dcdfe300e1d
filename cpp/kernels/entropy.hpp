/// Information of one distribution, and cross-entropy. Natural logarithm; 0 log 0 = 0.
///
///   self_information   -log p                             p in [0, inf]; p < 0 and NaN give NaN
///   binary_entropy     -p log p - (1-p) log(1-p)          p in [0, 1]; NaN elsewhere
///   entropy            -sum p log p
///   cross_entropy      -sum p log q                       +inf where p > 0 = q; 0 where p = 0 <= q
///
/// Each term is a product of an input and a logarithm that is good to more than its type's digits; see rows.hpp for the
/// sums. A negative or NaN input makes its row NaN.

struct SelfInformation {
  template <class T, int B>
  KULLBACK_INLINE static Simd<T, B> of(Simd<T, B> p, Unit<T> unit) {
    const auto log_p = log_pair(p);
    return scaled(Pair<Simd<T, B>>{-log_p.hi, -log_p.lo}, unit);
  }
};

struct BinaryEntropy {
  template <class T, int B>
  KULLBACK_INLINE static Simd<T, B> of(Simd<T, B> p, Unit<T> unit) {
    // By symmetry for the smaller of p and 1 - p, which is exact; then -b log b is the larger term.
    const auto q = 1 - p;
    const auto b = select(p > T{1} / 2, q, p);
    const auto c = fast_two_sum(broadcast<T, B>(T{1}), -b);
    const auto log_b = log_of_positive(b);
    const auto log_c = log1p_of_finite(-b);
    // Magnified, products near the smallest subnormal keep their digits.
    constexpr int shift = Real<T>::exponent_bias / 2;
    constexpr T large = from_exponent<T>(shift), small = from_exponent<T>(-shift);
    const auto tiny = b < small;
    const auto lens = select(tiny, large, T{1});
    const auto b_term = two_product(b * lens, log_b.hi);
    const auto c_term = two_product(c.hi, log_c.hi * lens);
    const auto sum = fast_two_sum(b_term.hi, c_term.hi);
    const auto low = fma(b * lens, log_b.lo, b_term.lo) + fma(c.hi, log_c.lo * lens, fma(c.lo, log_c.hi, c_term.lo));
    const auto inside = (p >= 0) & (q >= 0);
    const Pair<Simd<T, B>> entropy{select(inside, -sum.hi, Constants<T>::nan), -(sum.lo + low)};
    return scaled(entropy, unit) * select(tiny, small, T{1});
  }
};

struct Entropy : NegatedSum {
  static constexpr int inputs = 1;

  template <class Sum, class V>
  KULLBACK_INLINE static void add(Sum& sum, V p) {
    sum.require(p >= 0);
    sum.add_products(log_of_positive<typename Sum::Digits>(p), p);
  }
};

struct CrossEntropy : NegatedSum {
  static constexpr int inputs = 2;

  template <class Sum, class V>
  KULLBACK_INLINE static void add(Sum& sum, V p, V q) {
    constexpr double infinity = Constants<double>::infinity;
    auto log_q = log_of_positive<typename Sum::Digits>(q);
    const auto present = p > 0;
    log_q.hi = select(present & (q == 0), -infinity, log_q.hi);
    log_q.hi = select(present & (q == infinity), infinity, log_q.hi);
    sum.require((p >= 0) & (q >= 0));
    sum.add_products(log_q, p);
  }
};
