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
  static constexpr int inputs = 1;

  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> of(const Setting&, double one, V p) {
    const auto log_p = log_pair<Digits>(p);
    return times(log_p, -one);
  }
};

struct BinaryEntropy {
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

struct Entropy : NegatedSum {
  static constexpr int inputs = 1, logits_from = 1;

  template <class Sum, class V>
  KULLBACK_INLINE static void add(Sum& sum, V p) {
    sum.require(p >= 0);
    sum.add_products(log_of_positive<typename Sum::Digits>(p), p);
  }
};

/// log q of q >= 0, but finite where that would be multiplied by an absent mass.
template <class Digits, class M, class V>
KULLBACK_INLINE PairOf<Digits, V> log_where(M present, V q) {
  constexpr double infinity = Constants<double>::infinity;
  auto log_q = log_of_positive<Digits>(q);
  log_q.hi = select(present & (q == 0), -infinity, log_q.hi);
  log_q.hi = select(present & (q == infinity), infinity, log_q.hi);
  return log_q;
}

struct CrossEntropy : NegatedSum {
  static constexpr int inputs = 2, logits_from = 2;

  template <class Sum, class V>
  KULLBACK_INLINE static void add(Sum& sum, V p, V q) {
    sum.require((p >= 0) & (q >= 0));
    sum.add_products(log_where<typename Sum::Digits>(p > 0, q), p);
  }
};
