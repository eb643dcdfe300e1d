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

/// exp(x) 2^64 of x <= 43; that of -131 below.
template <int B>
KULLBACK_INLINE Simd<float, B> direct_exp(Simd<float, B> x) {
  using C = Constants<float>;
  // Rounds to an integer; in its lowest bits stands the exponent field of the scale then.
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

/// The same of up to 16 columns. `max` and `mass` take the results; one bit per column tells whether they fit.
KULLBACK_INLINE std::uint64_t direct_masses(const float* z, std::ptrdiff_t step, std::size_t n, std::size_t count,
                                            double* max_out, double* mass_out) {
  using V = Simd<double, 2 * pack_bytes>;
  constexpr std::size_t lanes = Pack<float>::size;
  constexpr float infinity = Constants<float>::infinity;
  DirectLanes<V> state[lanes];
  Pack<float> first[lanes];
  for (std::size_t row = 0; row < n; ++row, z += step) {
    const std::size_t lane = row % lanes;
    const auto term = state[lane].next(count >= lanes ? load(z) : partial_load(z, count, -infinity));
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

  auto most = state[0].largest;
  for (std::size_t lane = 1; lane < lanes; ++lane) most = max(most, state[lane].largest);
  auto left_out = broadcast(-1.0F);
  for (std::size_t lane = lanes; lane-- > 0;) {
    left_out = select(state[lane].largest == most, static_cast<float>(lane), left_out);
  }
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    state[lane].add_largest(left_out == static_cast<float>(lane));
  }
  for (std::size_t other = lanes / 2; other > 0; other /= 2) {
    for (std::size_t lane = 0; lane < other; ++lane) state[lane].sum = state[lane].sum + state[lane + other].sum;
  }
  const V largest = widen(most);
  const V mass = direct_mass_of(state[0].sum, largest);
  store_wide(max_out, largest, count);
  store_wide(mass_out, mass, count);
  const auto too_small = mass < direct_least_mass;
  return to_word((largest >= direct_least_max) & (broadcast_like<V>(direct_largest_max) >= largest)) &
         ~to_word(too_small);
}
