/// Elementary functions on packs.
///
/// Logarithms come as an unevaluated pair hi + lo, because the measures multiply them before they round. All of them
/// rest on one polynomial T: with s = d / w, d = a - b and w = a + b,
///
///     log(a / b) = 2 atanh(s) = 2 s + s^3 T(s^2),
///
/// after a and b were scaled by powers of two to 2/3 <= a/b <= 3/2, so that d is exact (Sterbenz) and |s| <= 1/5.
///
/// Errors in ULP over the whole domain, and the inputs that reach them, are printed by tests/long/run:
///
///     function   float32   float64
///     exp        0.76      0.76      among subnormal results, which are rounded twice; 0.59 elsewhere
///     expm1      0.86      0.89
///     log        0.62      0.59
///     log1p      0.62      0.60
///
/// The coefficients are in coefficients.hpp.

/// ln 2 in two parts; k * ln2_hi is exact for every exponent difference k that two numbers of the type can have.
template <class T>
struct Constants;

template <>
struct Constants<float> {
  static constexpr float ln2_hi = 0x1.62e4p-1f;
  static constexpr float ln2_lo = 0x1.7f7d1cp-20f;
  static constexpr float log2_e = 0x1.715476p+0f;
  static constexpr float min_normal = 0x1p-126f;
  static constexpr float infinity = __builtin_inff();
  static constexpr float nan = __builtin_nanf("");
  static constexpr float exp_low = -104.0f;
  static constexpr float exp_high = 89.0f;
};

template <>
struct Constants<double> {
  static constexpr double ln2 = 0x1.62e42fefa39efp-1, ln2_low = 0x1.abc9e3b39803fp-56;
  static constexpr double ln2_hi = 0x1.62e42fefap-1;
  static constexpr double ln2_lo = 0x1.cf79abc9e3b398p-40;
  static constexpr double log2_e = 0x1.71547652b82fep+0;
  static constexpr double min_normal = 0x1p-1022;
  static constexpr double infinity = __builtin_inf();
  static constexpr double nan = __builtin_nan("");
  static constexpr double exp_low = -746.0;
  static constexpr double exp_high = 710.0;
};

/// How many digits a calculation carries beyond those of its lanes. Working: twice as many, as pairs hi + lo, for a
/// result that is rounded once. Spare: none, for float32 data in float64 lanes, which are wide enough by themselves.
struct Working {};
struct Spare {};

/// The low part that Spare calculations do without: adds nothing, costs nothing.
struct Nothing {};

/// An unevaluated sum; lo is no larger than a rounding error of hi. Where hi is infinite or NaN, lo has no meaning.
template <class V, class Low = V>
struct Pair {
  V hi;
  Low lo;
};

template <class Digits, class V>
struct PairFor {
  using Type = Pair<V>;
};
template <class V>
struct PairFor<Spare, V> {
  using Type = Pair<V, Nothing>;
};
template <class Digits, class V>
using PairOf = typename PairFor<Digits, V>::Type;

/// The digits of a pair with that low part.
template <class Low>
struct DigitsFor {
  using Type = Working;
};
template <>
struct DigitsFor<Nothing> {
  using Type = Spare;
};
template <class Low>
using DigitsOf = typename DigitsFor<Low>::Type;

template <class V>
KULLBACK_INLINE V operator+(V a, Nothing) {
  return a;
}
KULLBACK_INLINE Nothing operator-(Nothing) { return {}; }
template <class V>
KULLBACK_INLINE Nothing operator*(V, Nothing) {
  return {};
}
template <class V>
KULLBACK_INLINE Nothing operator*(Nothing, V) {
  return {};
}
template <class A, class V>
KULLBACK_INLINE V fma(A, Nothing, V c) {
  return c;
}
template <class A, class B>
KULLBACK_INLINE Nothing fma(A, B, Nothing) {
  return {};
}
template <class A>
KULLBACK_INLINE Nothing fma(A, Nothing, Nothing) {
  return {};
}
template <class B, class V>
KULLBACK_INLINE V fma(Nothing, B, V c) {
  return c;
}
template <class M>
KULLBACK_INLINE Nothing select(M, Nothing, Nothing) {
  return {};
}

template <class V>
KULLBACK_INLINE V value(Pair<V> a) {
  return a.hi + a.lo;
}
template <class V>
KULLBACK_INLINE V value(Pair<V, Nothing> a) {
  return a.hi;
}

KULLBACK_INLINE Nothing lower(Nothing) { return {}; }
KULLBACK_INLINE Nothing upper(Nothing) { return {}; }

template <class V, class Low>
KULLBACK_INLINE auto lower(Pair<V, Low> a) {
  return Pair<decltype(lower(a.hi)), decltype(lower(a.lo))>{lower(a.hi), lower(a.lo)};
}
template <class V, class Low>
KULLBACK_INLINE auto upper(Pair<V, Low> a) {
  return Pair<decltype(upper(a.hi)), decltype(upper(a.lo))>{upper(a.hi), upper(a.lo)};
}

/// a + b with its rounding error, for |a| >= |b| or a = 0.
template <class Digits = Working, class V>
KULLBACK_INLINE PairOf<Digits, V> fast_two_sum(V a, V b) {
  const V sum = a + b;
  if constexpr (same<Digits, Spare>) {
    return {sum, {}};
  } else {
    return {sum, b - (sum - a)};
  }
}

/// a + b with its rounding error, for a, b >= 0.
template <class Digits = Working, class V>
KULLBACK_INLINE PairOf<Digits, V> positive_two_sum(V a, V b) {
  if constexpr (same<Digits, Spare>) {
    return {a + b, {}};
  } else {
    return fast_two_sum(max(a, b), min(a, b));
  }
}

/// a + b with its rounding error.
template <class Digits = Working, class V>
KULLBACK_INLINE PairOf<Digits, V> two_sum(V a, V b) {
  const V sum = a + b;
  if constexpr (same<Digits, Spare>) {
    return {sum, {}};
  } else {
    const V from_b = sum - a;
    return {sum, (a - (sum - from_b)) + (b - from_b)};
  }
}

/// a * b with its rounding error, barring underflow.
template <class Digits = Working, class V>
KULLBACK_INLINE PairOf<Digits, V> two_product(V a, V b) {
  const V product = a * b;
  if constexpr (same<Digits, Spare>) {
    return {product, {}};
  } else {
    return {product, fma(a, b, -product)};
  }
}

/// d / w with its rounding error. |d| <= |w|, neither w nor its inverse subnormal.
template <class Digits = Working, class V, class Low>
KULLBACK_INLINE PairOf<Digits, V> quotient(V d, Pair<V, Low> w) {
  if constexpr (same<Digits, Spare>) {
    return {d / w.hi, {}};
  } else {
    const V inverse = 1 / w.hi;
    const V s = d * inverse;
    return {s, inverse * fma(-s, w.lo, fma(-s, w.hi, d))};
  }
}

template <class Digits = Working, class V, class Low>
KULLBACK_INLINE PairOf<Digits, V> quotient(Pair<V, Low> d, Pair<V, Low> w) {
  if constexpr (same<Digits, Spare>) {
    return {d.hi / w.hi, {}};
  } else {
    const V inverse = 1 / w.hi;
    const V s = d.hi * inverse;
    return {s, inverse * (fma(-s, w.lo, fma(-s, w.hi, d.hi)) + d.lo)};
  }
}

/// a * b.
template <class V, class LowA, class LowB>
KULLBACK_INLINE auto product(Pair<V, LowA> a, Pair<V, LowB> b) {
  if constexpr (same<LowA, Nothing> && same<LowB, Nothing>) {
    return Pair<V, Nothing>{a.hi * b.hi, {}};
  } else {
    const auto y = two_product(a.hi, b.hi);
    return Pair<V>{y.hi, fma(a.hi, b.lo, fma(a.lo, b.hi, y.lo))};
  }
}

/// a + b. Not normalized: where a and b cancel, lo may come out as large as hi.
template <class V, class Low>
KULLBACK_INLINE Pair<V, Low> sum_of(Pair<V, Low> a, Pair<V, Low> b) {
  if constexpr (same<Low, Nothing>) {
    return {a.hi + b.hi, {}};
  } else {
    const auto y = two_sum(a.hi, b.hi);
    return {y.hi, y.lo + (a.lo + b.lo)};
  }
}

/// x, with a low part that is no more than a rounding error of the other.
template <class V>
KULLBACK_INLINE Pair<V> normalized(Pair<V> x) {
  const auto y = two_sum(x.hi, x.lo);
  const auto finite = x.hi - x.hi == 0;
  return {select(finite, y.hi, x.hi), select(finite, y.lo, 0)};
}
template <class V>
KULLBACK_INLINE Pair<V, Nothing> normalized(Pair<V, Nothing> x) {
  return x;
}

/// a * b, but 0 where b is 0 and a infinite.
template <class V, class Low>
KULLBACK_INLINE Pair<V, Low> multiplied(Pair<V, Low> a, Pair<V, Low> b) {
  return product(zero_where((b.hi == 0) & (abs(a.hi) == Constants<double>::infinity), a), b);
}

/// a * b of a power of two.
template <class V, class Low>
KULLBACK_INLINE Pair<V, Low> times(Pair<V, Low> a, double power_of_2) {
  const V b = broadcast_like<V>(power_of_2);
  return {a.hi * b, a.lo * b};
}

template <class V, class Low>
KULLBACK_INLINE Pair<V, Low> operator-(Pair<V, Low> a) {
  return {-a.hi, -a.lo};
}

template <class M, class V, class Low>
KULLBACK_INLINE Pair<V, Low> select(M mask, Pair<V, Low> a, Pair<V, Low> b) {
  return {select(mask, a.hi, b.hi), select(mask, a.lo, b.lo)};
}

/// x where the mask is false, 0 elsewhere.
template <class M, class T, int B>
KULLBACK_INLINE Simd<T, B> zero_where(M mask, Simd<T, B> x) {
  if constexpr (same<M, Nothing>) {
    return x;
  } else {
    return select(mask, 0, x);
  }
}
template <class M>
KULLBACK_INLINE Nothing zero_where(M, Nothing) {
  return {};
}
template <class M, class V, class Low>
KULLBACK_INLINE Pair<V, Low> zero_where(M mask, Pair<V, Low> x) {
  return {zero_where(mask, x.hi), zero_where(mask, x.lo)};
}

/// A number, or lanes, as lanes.
template <class V>
KULLBACK_INLINE V as_lanes(double x) {
  return broadcast_like<V>(x);
}
template <class V>
KULLBACK_INLINE V as_lanes(V x) {
  return x;
}

/// A number as a pair.
template <class Digits, class V>
KULLBACK_INLINE PairOf<Digits, V> exactly(V x) {
  if constexpr (same<Digits, Spare>) {
    return {x, {}};
  } else {
    return {x, broadcast_like<V>(0)};
  }
}
template <class Digits, class V>
KULLBACK_INLINE PairOf<Digits, V> exactly(Partial x) {
  if constexpr (same<Digits, Spare>) {
    return {broadcast_like<V>(x.hi), {}};
  } else {
    return {broadcast_like<V>(x.hi), broadcast_like<V>(x.lo)};
  }
}

/// Horner's scheme, over all coefficients but the last Skip.
template <std::size_t Skip = 0, class C, class T, int B, std::size_t N>
KULLBACK_INLINE Simd<T, B> polynomial(const C (&coefficients)[N], Simd<T, B> x) {
  auto y = fma(broadcast<T, B>(coefficients[0]), x, T{coefficients[1]});
  for (std::size_t i = 2; i < N - Skip; ++i) y = fma(y, x, T{coefficients[i]});
  return y;
}

/// The same of five coefficients, given x^2, by the shortest chain of operations.
template <class C, class T, int B>
KULLBACK_INLINE Simd<T, B> short_polynomial(const C (&coefficients)[5], Simd<T, B> x, Simd<T, B> square) {
  const auto& c = coefficients;
  const auto high = fma(square, T{c[0]}, fma(x, T{c[1]}, broadcast<T, B>(c[2])));
  return fma(high, square, fma(x, T{c[3]}, broadcast<T, B>(c[4])));
}

/// The same of any number of coefficients, given x^2: even powers and odd ones apart, so that chains are half as long.
template <class C, class T, int B, std::size_t N>
KULLBACK_INLINE Simd<T, B> two_chain_polynomial(const C (&coefficients)[N], Simd<T, B> x, Simd<T, B> square) {
  const auto next = [&](Simd<T, B> y, std::size_t i)
                        KULLBACK_INLINE_LAMBDA { return fma(y, square, T{coefficients[i]}); };
  auto former = next(broadcast<T, B>(coefficients[0]), 2), last = next(broadcast<T, B>(coefficients[1]), 3);
#pragma GCC unroll 8
  for (std::size_t i = 4; i + 1 < N; i += 2) {
    former = next(former, i);
    last = next(last, i + 1);
  }
  if constexpr (N % 2 == 0) return fma(former, x, last);
  return fma(last, x, next(former, N - 1));
}

/// The polynomials that give a calculation its digits: float32's are good to 2^-28.
template <class Digits, class T>
struct PolynomialsFor {
  using Type = Polynomials<T>;
};
template <class T>
struct PolynomialsFor<Spare, T> {
  using Type = Polynomials<float>;
};
template <class Digits, class T>
using PolynomialsOf = typename PolynomialsFor<Digits, T>::Type;

/// 2^n, for normal results.
template <class T>
constexpr T from_exponent(int n) {
  T x = 1;
  for (; n > 0; --n) x *= 2;
  for (; n < 0; ++n) x /= 2;
  return x;
}

// Logarithms --------------------------------------------------------------------------------------------------------

/// The exponent field of a word.
template <class T>
struct Field {
  using Bits = typename Real<T>::Bits;
  static constexpr Bits unit = Bits{1} << Real<T>::mantissa_bits;
  static constexpr Bits mantissa = unit - 1;
  static constexpr Bits exponent = ~mantissa;
  static constexpr Bits one = Bits{Real<T>::exponent_bias} << Real<T>::mantissa_bits;
};

/// Scales subnormal x into the normal range; k, to which sign times x's exponent will be added, makes up for it. This
/// and all exponents k below count in exponent_unit.
/// float32 data are never subnormal in float64 lanes.
template <class Digits, class T, int B>
KULLBACK_INLINE Simd<T, B> normalize(Simd<T, B> x, T sign, Simd<T, B>& k) {
  if constexpr (same<Digits, Spare>) return x;
  constexpr int shift = Real<T>::mantissa_bits + 1;
  constexpr T scale = static_cast<T>(std::uint64_t{1} << shift);
  const auto subnormal = x < Constants<T>::min_normal;
  k = select(subnormal, k - sign * shift * exponent_unit<T>, k);
  return select(subnormal, x * scale, x);
}

/// k plus the exponent that `exponent` holds; k is 0 to begin with where nothing was normalized.
template <class Digits, class T, int B>
KULLBACK_INLINE Simd<T, B> add_exponent(Simd<T, B> k, Simd<typename Real<T>::Bits, B> exponent) {
  if constexpr (same<Digits, Spare>) {
    return exponent_to_real<T>(exponent);
  } else {
    return k + exponent_to_real<T>(exponent);
  }
}

/// x = m 2^k with 3/4 <= m < 3/2, for positive finite x; `exponent` holds k in its exponent field. Zero and infinity
/// give a finite m and k.
template <class Digits, class T, int B>
KULLBACK_INLINE Simd<T, B> split(Simd<T, B> x, Simd<T, B>& k, Simd<typename Real<T>::Bits, B>& exponent) {
  using F = Field<T>;
  k = broadcast<T, B>(T{0});
  const auto bits = to_bits(normalize<Digits>(x, T{1}, k));
  exponent = (bits - (F::one - F::unit / 2)) & F::exponent;
  k = add_exponent<Digits>(k, exponent);
  return from_bits<T>(bits - exponent);
}

/// k ln 2 + 2 atanh(s), |s| <= 1/5.
template <class Digits, class T, int B, class Low>
KULLBACK_INLINE PairOf<Digits, Simd<T, B>> log_from_quotient(Pair<Simd<T, B>, Low> s, Simd<T, B> k) {
  using C = Constants<T>;
  const auto z = s.hi * s.hi;
  const auto tail = polynomial(PolynomialsOf<Digits, T>::atanh_tail, z);
  if constexpr (same<Digits, Spare>) {
    return {fma(k, C::ln2 / exponent_unit<T>, s.hi * fma(z, tail, T{2})), {}};
  } else {
    // |2 s| < ln 2, so the exponent's part is the larger one, or 0.
    const auto sum = fast_two_sum(k * (C::ln2_hi / exponent_unit<T>), s.hi + s.hi);
    const auto low = fma(k, C::ln2_lo / exponent_unit<T>, sum.lo + (s.lo + s.lo));
    return fast_two_sum(sum.hi, fma(s.hi * z, tail, low));
  }
}

/// log x of positive finite x; finite at 0 and infinity, meaningless elsewhere.
template <class Digits = Working, class T, int B>
KULLBACK_INLINE PairOf<Digits, Simd<T, B>> log_of_positive(Simd<T, B> x) {
  Simd<T, B> k;
  Simd<typename Real<T>::Bits, B> exponent;
  const auto m = split<Digits>(x, k, exponent);
  const auto w = fast_two_sum<Digits>(broadcast<T, B>(T{1}), m);
  return log_from_quotient<Digits>(quotient<Digits>(m - 1, w), k);
}

/// log(a / b) of positive finite a and b, without overflow, and with relative accuracy near a = b;
/// finite where either is 0 or infinite, meaningless elsewhere.
template <class Digits = Working, class T, int B>
KULLBACK_INLINE PairOf<Digits, Simd<T, B>> log_ratio_of_positive(Simd<T, B> a, Simd<T, B> b) {
  using F = Field<T>;
  auto k = broadcast<T, B>(T{0});
  const auto a_bits = to_bits(normalize<Digits>(a, T{1}, k));
  const auto b_bits = to_bits(normalize<Digits>(b, T{-1}, k));
  // x / y = a / b 2^-k between 2/3 and 3/2: the difference of the words is the logarithm, to within 0.09, in units of
  // the exponent field.
  const auto difference = a_bits - b_bits;
  const auto exponent = (difference + F::unit / 2) & F::exponent;
  const auto y_bits = (b_bits & F::mantissa) | F::one;
  const auto y = from_bits<T>(y_bits);
  const auto x = from_bits<T>(difference - exponent + y_bits);
  const auto w = positive_two_sum<Digits>(x, y);
  return log_from_quotient<Digits>(quotient<Digits>(x - y, w), add_exponent<Digits>(k, exponent));
}

/// log(1 + x) of finite x > -1, with Spare digits of x <= 1 that is a float32 where it is negative; finite at -1,
/// meaningless elsewhere.
template <class Digits = Working, class T, int B>
KULLBACK_INLINE PairOf<Digits, Simd<T, B>> log1p_of_finite(Simd<T, B> x) {
  using F = Field<T>;
  const auto u = two_sum(broadcast<T, B>(T{1}), x);
  if constexpr (same<Digits, Spare>) {
    // 1 + x is inexact only where it is near 1, or large beside its error.
    return {log_of_positive<Spare>(u.hi).hi + u.lo, {}};
  } else {
    Simd<T, B> k;
    Simd<typename Real<T>::Bits, B> exponent;
    const auto m = split<Working>(u.hi, k, exponent);
    // 2^-k, which is no number for the largest exponents; there u.lo is far below the result's last digit.
    const auto scale = from_bits<T>(F::one - exponent);
    const auto r = fast_two_sum(m - 1, select(u.hi < from_exponent<T>(Real<T>::exponent_bias), u.lo * scale, 0));
    auto w = fast_two_sum(broadcast<T, B>(T{2}), r.hi);
    w.lo = w.lo + r.lo;
    auto y = log_from_quotient<Working>(quotient(r, w), k);
    // The quotient of a tiny x would lose digits among the subnormals.
    constexpr T tiny = from_exponent<T>(-2 * Real<T>::mantissa_bits - 4);
    const auto is_tiny = abs(x) < tiny;
    y.hi = select(is_tiny, x, y.hi);
    y.lo = select(is_tiny, -T{0}, y.lo);
    return y;
  }
}

/// log(1 + x) of a pair x >= 0, or NaN.
template <class V, class Low>
KULLBACK_INLINE Pair<V, Low> log1p_of_pair(Pair<V, Low> x) {
  using Digits = DigitsOf<Low>;
  auto y = log1p_of_finite<Digits>(x.hi);
  y.hi = select(x.hi == x.hi, y.hi, x.hi);
  if constexpr (same<Digits, Working>) y.lo = y.lo + x.lo / (1 + x.hi);
  return y;
}

/// log x for every x.
template <class Digits = Working, class T, int B>
KULLBACK_INLINE PairOf<Digits, Simd<T, B>> log_pair(Simd<T, B> x) {
  constexpr T infinity = Constants<T>::infinity;
  auto y = log_of_positive<Digits>(x);
  y.hi = select(x == 0, -infinity, y.hi);
  y.hi = select(x == infinity, infinity, y.hi);
  y.hi = select(x >= 0, y.hi, Constants<T>::nan);
  return y;
}

template <class T, int B>
KULLBACK_INLINE Simd<T, B> log(Simd<T, B> x) {
  return value(log_pair(x));
}

template <class T, int B>
KULLBACK_INLINE Simd<T, B> log1p(Simd<T, B> x) {
  constexpr T infinity = Constants<T>::infinity;
  auto y = value(log1p_of_finite(x));
  y = select(x == -1, -infinity, y);
  y = select(x == infinity, infinity, y);
  return select(x >= -1, y, Constants<T>::nan);
}

// Logarithms in float32 lanes alone: half the operations of float64 lanes, and about an ULP --------------------------

/// What selects an eighth of [1, 2), around a multiple of 1/8: the three bits below the exponent field.
template <int B>
KULLBACK_INLINE Simd<std::uint32_t, B> eighth_of(Simd<float, B> x) {
  using F = Field<float>;
  return to_bits(x) - (F::one - 7 * (F::unit / 16));
}

/// k ln 2 + log m of r = c m - 1, where c is the inverse of m's eighth. k counts in exponent_unit.
template <int B>
KULLBACK_INLINE Simd<float, B> log_from_eighth(Simd<float, B> k, Simd<float, B> r, Simd<std::uint32_t, B> eighth) {
  using C = Constants<float>;
  using P = Polynomials<float>;
  constexpr float unit = exponent_unit<float>;
  const auto leading = fma(k, C::ln2_hi / unit, look_up<Real<float>::mantissa_bits - 3>(P::logarithms, eighth));
  const auto square = r * r;
  const auto rest = fma(k, C::ln2_lo / unit, fma(square, short_polynomial(P::log1p_tail, r, square), r));
  return leading + rest;
}

/// log x of normal x; a number for all others.
template <int B>
KULLBACK_INLINE Simd<float, B> narrow_log(Simd<float, B> x) {
  using P = Polynomials<float>;
  const auto eighth = eighth_of(x);
  const auto exponent = eighth & Field<float>::exponent;
  const auto m = from_bits<float>(to_bits(x) - exponent);
  const auto c = look_up<Real<float>::mantissa_bits - 3>(P::inverses, eighth);
  return log_from_eighth(exponent_to_real<float>(exponent), fma(m, c, -1.0F), eighth);
}

/// log(1 + x) of -1 < x <= 1, where 1 + x is normal.
template <int B>
KULLBACK_INLINE Simd<float, B> narrow_log1p(Simd<float, B> x) {
  const auto eighth = eighth_of(x + 1);
  // 1 + x = m 2^k: what c belongs to is m. No number here is rounded but r.
  const auto exponent = eighth & Field<float>::exponent;
  const auto c = look_up<Real<float>::mantissa_bits - 3>(Polynomials<float>::inverses, eighth);
  const auto by = from_bits<float>(to_bits(c) - exponent);
  return log_from_eighth(exponent_to_real<float>(exponent), fma(x, by, by - 1), eighth);
}

/// log(a / b) of normal a and 2^-125 <= b < 2^125, with relative accuracy near a = b; a number for other a.
template <int B>
KULLBACK_INLINE Simd<float, B> narrow_log_ratio(Simd<float, B> a, Simd<float, B> b) {
  using F = Field<float>;
  using C = Constants<float>;
  constexpr float unit = exponent_unit<float>;
  // a = x 2^k with 2/3 <= x / b <= 3/2, see log_ratio_of_positive.
  const auto exponent = (to_bits(a) - to_bits(b) + F::unit / 2) & F::exponent;
  const auto x = from_bits<float>(to_bits(a) - exponent);
  const auto k = exponent_to_real<float>(exponent);
  const auto w = x + b;
  const auto s = (x - b) / w;
  // (x - b) / w is s - excess / w. An inverse to within an eighth serves for that: the word of 1 / w is about the
  // negative of w's.
  const auto excess = fma(s, b - (w - x), fma(s, w, b - x));
  const auto minus_two_by_w = from_bits<float>(0xff7311c7U - to_bits(w));
  const auto z = s * s;
  const auto rest = fma(s * z, polynomial(Polynomials<float>::atanh_tail, z), excess * minus_two_by_w);
  return fma(k, C::ln2_hi / unit, (s + s) + fma(k, C::ln2_lo / unit, rest));
}

// Exponentials ------------------------------------------------------------------------------------------------------

/// exp(x) = 2^k (1 + r + tail).
template <class V>
struct ReducedExponential {
  V shifted;  ///< k in its lowest bits
  V k, r, tail;
};

template <class T, int B>
KULLBACK_INLINE ReducedExponential<Simd<T, B>> reduce_exponential(Simd<T, B> x) {
  // Adding this leaves no bits below the unit, so that k is rounded to nearest.
  constexpr T shift = static_cast<T>(std::uint64_t{3} << (Real<T>::mantissa_bits - 1));
  const auto shifted = fma(x, Constants<T>::log2_e, broadcast<T, B>(shift));
  const auto k = shifted - shift;
  const auto r = fast_two_sum(fma(-k, Constants<T>::ln2_hi, x), k * -Constants<T>::ln2_lo);
  return {shifted, k, r.hi, fma(r.hi * r.hi, polynomial(Polynomials<T>::exp_tail, r.hi), fma(r.hi, r.lo, r.lo))};
}

/// Clamps to where the result is at its limit anyhow; NaN stays.
template <class T, int B>
KULLBACK_INLINE Simd<T, B> clamp(Simd<T, B> x, T low, T high) {
  return select(x < low, low, select(x > high, high, x));
}

/// 2^(k + offset), which must be normal, of an offset in the exponent field over the bits of 1.
template <class T, int B>
KULLBACK_INLINE Simd<T, B> power_of_two(Simd<T, B> shifted, Simd<typename Real<T>::Bits, B> offset) {
  return from_bits<T>(shift_left<Real<T>::mantissa_bits>(to_bits(shifted)) + offset);
}

template <class T, int B>
KULLBACK_INLINE Simd<T, B> exp(Simd<T, B> x) {
  const auto e = reduce_exponential(clamp(x, Constants<T>::exp_low, Constants<T>::exp_high));
  const auto sum = fast_two_sum(broadcast<T, B>(T{1}), e.r);
  const auto y = sum.hi + (sum.lo + e.tail);
  // The scale goes on in two factors, the first normal, so that only the second can round: to a subnormal result.
  constexpr int bias = Real<T>::exponent_bias;
  constexpr T up = from_exponent<T>(bias / 2 + 1), down = from_exponent<T>(-bias / 2 - 1);
  const auto tiny = e.k < T{-(bias / 2)};
  const auto first = to_bits(select(tiny, up, T{1} / 2));
  return y * power_of_two(e.shifted, first) * select(tiny, down, T{2});
}

template <class T, int B>
KULLBACK_INLINE Simd<T, B> expm1(Simd<T, B> x) {
  using F = Field<T>;
  // Below, the result rounds to -1; there the scale 2^(k - 1) is still normal.
  const auto e = reduce_exponential(clamp(x, T{-Real<T>::mantissa_bits}, Constants<T>::exp_high));
  // (2^k - 1) + 2^k (r + tail), halved so that the largest k fits.
  const auto scale = power_of_two(e.shifted, broadcast<typename F::Bits, B>(F::one - F::unit));
  const auto leading = two_sum(scale, broadcast<T, B>(T{-1} / 2));
  const auto sum = two_sum(leading.hi, scale * e.r);
  const auto half = sum.hi + (sum.lo + fma(scale, e.tail, leading.lo));
  return select(e.k == 0, select(x == 0, x, e.r + e.tail), half + half);
}

/// one * exp(x) = scale * exp(r).
template <class V, class Low>
struct ReducedGap {
  Pair<V, Low> r;
  V scale;
  decltype(V() < V()) vanishes;
};

/// Of x < 700, mostly x <= 0, that vanishes where exp(x) is far below what a sum that does not drown can notice.
/// `one` is 1 or `magnification`.
template <class V, class Low>
KULLBACK_INLINE ReducedGap<V, Low> reduce_gap(Pair<V, Low> x, double one) {
  using C = Constants<double>;
  constexpr double shift = 0x1.8p52;
  const V shifted = fma(x.hi, C::log2_e, broadcast_like<V>(shift));
  const V k = shifted - shift;
  const auto bits = bit_cast<Real<double>::Bits>(one);
  const V scale = power_of_two(shifted, broadcast_like<decltype(to_bits(shifted))>(bits));
  const auto vanishes = x.hi < (one == 1 ? -700.0 : -1100.0);
  if constexpr (same<Low, Nothing>) {
    return {{fma(-k, C::ln2, x.hi), {}}, scale, vanishes};
  } else {
    return {fast_two_sum(fma(-k, C::ln2_hi, x.hi), fma(k, -C::ln2_lo, x.lo)), scale, vanishes};
  }
}

/// one * exp(x), see reduce_gap, with the digits of x.
template <class V, class Low>
KULLBACK_INLINE Pair<V, Low> exp_of_gap(Pair<V, Low> x, double one) {
  const auto [r, scale, vanishes] = reduce_gap(x, one);
  if constexpr (same<Low, Nothing>) {
    const V rest = fma(r.hi * r.hi, polynomial(Polynomials<float>::exp_tail, r.hi), r.hi);
    return {zero_where(vanishes, fma(scale, rest, scale)), {}};
  } else {
    // 1 + r + r^2 / 2 as pairs: what cancels in a divergence needs a few digits more than a float64.
    const V half = 0.5 * r.hi;
    const auto square = two_product(r.hi, half);
    const auto linear = fast_two_sum(broadcast_like<V>(1.0), r.hi);
    const auto sum = fast_two_sum(linear.hi, square.hi);
    const V cubic = square.hi * (r.hi + r.hi) * polynomial<1>(Polynomials<double>::exp_tail, r.hi);
    const V low = (linear.lo + sum.lo) + (square.lo + (fma(r.lo, r.hi, r.lo) + cubic));
    const auto y = fast_two_sum(sum.hi, low);
    return {zero_where(vanishes, y.hi * scale), zero_where(vanishes, y.lo * scale)};
  }
}

/// The same, rounded, to within 0.9 ULP: for terms of one sign, whose sum loses no more than they do.
template <class V, class Low>
KULLBACK_INLINE Pair<V, Nothing> rounded_exp_of_gap(Pair<V, Low> x, double one) {
  if constexpr (same<Low, Nothing>) {
    return exp_of_gap(x, one);
  } else {
    const auto [r, scale, vanishes] = reduce_gap(x, one);
    const V rest = r.hi + fma(r.hi * r.hi, polynomial(Polynomials<double>::exp_tail, r.hi), r.lo);
    return {zero_where(vanishes, fma(scale, rest, scale)), {}};
  }
}
