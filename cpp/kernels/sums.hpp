/// Sums of a block's terms, in float64 lanes.
///
/// Terms of float32 data have digits to spare. Those of float64 data come as pairs, or rounded where all have one sign;
/// their sums carry the rounding errors along (TwoSum).

/// The sum of all lanes: halves are added until one lane is left.
template <int B>
KULLBACK_INLINE double sum_of_lanes(Simd<double, B> x) {
  if constexpr (B > static_cast<int>(2 * sizeof(double))) {
    return sum_of_lanes(lower(x) + upper(x));
  } else {
    return x.v[0] + x.v[1];
  }
}

/// The same of the first `used` of 16 lanes, one column's in each place; `term(lane)` gives them. Lanes that hold
/// nothing would add 0. Nothing goes by way of memory: GCC copies what is wider than a register in 16-byte pieces,
/// which wider reads then wait for.
template <class Term>
KULLBACK_INLINE auto sum_of_used(std::size_t used, Term term) {
  constexpr std::size_t half = Pack<float>::size / 2;
  decltype(term(0)) sum[half];
#pragma GCC unroll 8
  for (std::size_t lane = 0; lane < half; ++lane) {
    sum[lane] = lane < used ? term(lane) : broadcast_like<decltype(term(0))>(0.0);
    if (lane + half < used) sum[lane] = sum[lane] + term(lane + half);
  }
  return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

/// Notes lanes that hold what no measure allows.
template <int Width>
struct Validity {
  Mask<double, Width> valid = broadcast<double, Width>(0.0) == broadcast<double, Width>(0.0);

  /// The row is NaN unless `condition` holds in every lane.
  template <int B>
  KULLBACK_INLINE void require(Mask<double, B> condition) {
    if constexpr (B > Width) {
      require(condition.lower & condition.upper);
    } else {
      valid = valid & condition;
    }
  }
};

/// Sums of a block's terms, Count of them, in lanes of Width bytes in all. What is added to one of them is to be added
/// in a single call for an element: the terms of a second call would follow those of a whole group, and so in an order
/// that depends on the target.
template <class T, int Width = pack_bytes, int Count = 1>
struct Sum;

template <int Width, int Count>
struct Sum<float, Width, Count> : Validity<Width> {
  using Digits = Spare;

  static constexpr double one = 1, mass_unit = 1;  // float64 products of float32 stay far from the range's ends
  const Setting& setting;
  Simd<double, Width> lanes[Count];

  KULLBACK_INLINE explicit Sum(const Setting& call) : setting(call) {
    for (auto& lane : lanes) lane = broadcast<double, Width>(0.0);
  }

  template <int K = 0, int B>
  KULLBACK_INLINE void add(Pair<Simd<double, B>, Nothing> term) {
    if constexpr (B > Width) {
      add<K>(lower(term));
      add<K>(upper(term));
    } else {
      lanes[K] = lanes[K] + term.hi;
    }
  }

  /// Adds factor times each weight, pack after pack.
  template <int K = 0, int B, class... V>
  KULLBACK_INLINE void add_products(Pair<Simd<double, B>, Nothing> factor, V... weights) {
    if constexpr (B > Width) {
      add_products<K>(lower(factor), lower(weights)...);
      add_products<K>(upper(factor), upper(weights)...);
    } else {
      ((lanes[K] = fma(weights, factor.hi, lanes[K])), ...);
    }
  }

  KULLBACK_INLINE Partial total(int k) const {
    if (!all(this->valid)) return {Constants<double>::nan, 0.0};
    return {sum_of_lanes(lanes[k]), 0.0};
  }

  /// Adds other sums lane by lane, as total() adds the lanes of one.
  KULLBACK_INLINE void merge(const Sum& other) {
    for (int k = 0; k < Count; ++k) lanes[k] = lanes[k] + other.lanes[k];
    this->valid = this->valid & other.valid;
  }

  /// The sum in each lane.
  KULLBACK_INLINE Pair<Simd<double, Width>> by_lane(int k) const {
    return {select(this->valid, lanes[k], Constants<double>::nan), broadcast<double, Width>(0.0)};
  }
};

template <int Width, int Count>
struct Sum<double, Width, Count> : Validity<Width> {
  using Digits = Working;

  const Setting& setting;
  double one, mass_unit;
  Simd<double, Width> hi[Count], lo[Count];

  KULLBACK_INLINE explicit Sum(const Setting& call) : setting(call), one(call.one), mass_unit(call.mass_unit) {
    for (int k = 0; k < Count; ++k) hi[k] = lo[k] = broadcast<double, Width>(0.0);
  }

  template <int K = 0, int B, class Low>
  KULLBACK_INLINE void add(Pair<Simd<double, B>, Low> term) {
    if constexpr (B > Width) {
      add<K>(lower(term));
      add<K>(upper(term));
    } else {
      const auto sum = two_sum(hi[K], term.hi);
      hi[K] = sum.hi;
      lo[K] = lo[K] + (sum.lo + term.lo);
    }
  }

  template <int K = 0, int B, class... V>
  KULLBACK_INLINE void add_products(Pair<Simd<double, B>> factor, V... weights) {
    if constexpr (B > Width) {
      add_products<K>(lower(factor), lower(weights)...);
      add_products<K>(upper(factor), upper(weights)...);
    } else {
      (add_product<K>(factor, weights * mass_unit), ...);
    }
  }

  KULLBACK_INLINE Partial total(int k) const {
    if (!all(this->valid)) return {Constants<double>::nan, 0.0};
    return fold(hi[k], lo[k]);
  }

  KULLBACK_INLINE void merge(const Sum& other) {
    for (int k = 0; k < Count; ++k) {
      const auto sum = two_sum(hi[k], other.hi[k]);
      hi[k] = sum.hi;
      lo[k] = (lo[k] + other.lo[k]) + sum.lo;
    }
    this->valid = this->valid & other.valid;
  }

  KULLBACK_INLINE Pair<Simd<double, Width>> by_lane(int k) const {
    return {select(this->valid, hi[k], Constants<double>::nan), lo[k]};
  }

 private:
  template <int K>
  KULLBACK_INLINE void add_product(Pair<Simd<double, Width>> factor, Simd<double, Width> weight) {
    const auto term = two_product(weight, factor.hi);
    add<K>(Pair<Simd<double, Width>>{term.hi, fma(weight, factor.lo, term.lo)});
  }

  template <int B>
  KULLBACK_INLINE static Partial fold(Simd<double, B> hi, Simd<double, B> lo) {
    const auto sum = two_sum(lower(hi), upper(hi));
    const auto rest = (lower(lo) + upper(lo)) + sum.lo;
    if constexpr (B / 2 == sizeof(double)) {
      return {sum.hi.v[0], rest.v[0]};
    } else {
      return fold(sum.hi, rest);
    }
  }
};

/// Calls f with what `load` gives for each of Count inputs.
template <int Count, class Load, class F>
KULLBACK_INLINE auto with_inputs(Load load, F f) {
  static_assert(1 <= Count && Count <= max_inputs && max_inputs == 5);
  if constexpr (Count == 1) return f(load(0));
  if constexpr (Count == 2) return f(load(0), load(1));
  if constexpr (Count == 3) return f(load(0), load(1), load(2));
  if constexpr (Count == 4) return f(load(0), load(1), load(2), load(3));
  if constexpr (Count == 5) return f(load(0), load(1), load(2), load(3), load(4));
}
