/// Sums of masses times logarithms, of float32 data in float32 lanes.
///
/// Logarithms are good to about an ULP. Their products are added in float64 lanes: those of elements i and i + 16 of
/// each 32 together, in lane i mod 16, once the first one's rounding error was put aside; what is left of a row goes by
/// itself, its products exact. It takes half the operations of float64 lanes.
///
/// Nothing special is looked for in the loop: a number is noted that tells, in the end, whether a block holds what is
/// near an end of the range. Such blocks, and those whose sum is tiny, are for float64 lanes.
///
/// An operation that can do this is named in `is_narrow` and has narrow_log(check, inputs...), what the first input is
/// multiplied by.

template <class Op>
constexpr bool is_narrow = false;
/// Whether an operation on rows is the sum of an elementwise one.
template <class Op>
constexpr bool is_sum = false;

struct NarrowCheck {
  static constexpr std::uint32_t margin = 2 * Field<float>::unit, limit = 0x7f800000U - 3 * Field<float>::unit;
  Simd<std::uint32_t, pack_bytes> most = to_bits(broadcast(0.0F));

  /// Zero is a number; what is subnormal counts for the least normal one, which matters in tiny sums alone.
  KULLBACK_INLINE void require_mass(Pack<float> p) { most = max(most, to_bits(p)); }
  KULLBACK_INLINE void require_normal(Pack<float> q) { most = max(most, to_bits(q) - margin); }

  /// Whether nothing else was met, -0 among it.
  KULLBACK_INLINE Mask<float> fits() const {
    return from_bits<float>(max(most, broadcast(limit))) == bit_cast<float>(limit);
  }

  /// Whether a sum is what it should be.
  template <class V>
  KULLBACK_INLINE static auto fits(V total) {
    return ((abs(total) >= 0x1p-90) | (total == 0)) & (total - total == 0);
  }
};

struct NarrowSum {
  using Wide = Simd<double, 2 * pack_bytes>;
  Wide terms;
  Pack<float> errors;

  KULLBACK_INLINE void clear() {
    terms = broadcast_like<Wide>(0.0);
    errors = broadcast(0.0F);
  }

  /// The first of a pair's products; its rounding error is put aside. `load(k, i)` gives elements of input k from i on.
  template <class Op, class Load>
  KULLBACK_INLINE Pack<float> first_term(NarrowCheck& check, Load load, std::size_t i) {
    const auto p = load(0, i), log_p = log_of<Op>(check, load, i, p), term = p * log_p;
    errors = errors + fma(p, log_p, -term);
    return term;
  }
  /// Adds the pair.
  template <class Op, class Load>
  KULLBACK_INLINE void add_second(NarrowCheck& check, Load load, std::size_t i, Pack<float> first_term) {
    const auto p = load(0, i);
    terms = terms + widen(fma(p, log_of<Op>(check, load, i, p), first_term));
  }

  template <class Op, class Load>
  KULLBACK_INLINE void add(NarrowCheck& check, Load load, std::size_t i) {
    const auto p = load(0, i);
    terms = fma(widen(p), widen(log_of<Op>(check, load, i, p)), terms);
  }

  KULLBACK_INLINE Wide total() const { return terms + widen(errors); }

 private:
  template <class Op, class Load>
  KULLBACK_INLINE static Pack<float> log_of(NarrowCheck& check, Load load, std::size_t i, Pack<float> p) {
    if constexpr (Op::inputs == 1) {
      return Op::narrow_log(check, p);
    } else {
      return Op::narrow_log(check, p, load(1, i));
    }
  }
};

/// What no operation notices.
constexpr float narrow_fill[] = {0.0F, 1.0F};

/// False where the row is for float64 lanes.
template <class Op>
KULLBACK_INLINE bool read_row_narrowly(const float* const* in, std::size_t n, double& total) {
  constexpr std::size_t lanes = Pack<float>::size;
  NarrowCheck check;
  NarrowSum narrow;
  narrow.clear();
  const auto whole = [=](int k, std::size_t i) KULLBACK_INLINE_LAMBDA { return load(in[k] + i); };
  std::size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    narrow.add_second<Op>(check, whole, i + lanes, narrow.first_term<Op>(check, whole, i));
  }
  if (i + lanes <= n) {
    narrow.add<Op>(check, whole, i);
    i += lanes;
  }
  if (i < n) {
    const auto rest = [=](int k, std::size_t from)
                          KULLBACK_INLINE_LAMBDA { return partial_load(in[k] + from, n - from, narrow_fill[k]); };
    narrow.add<Op>(check, rest, i);
  }
  const auto sum = narrow.total();
  total = sum_of_lanes(sum);
  return all(check.fits()) && all(NarrowCheck::fits(broadcast(total)));
}

/// The totals of `count` columns, given what their first `used` lanes sum; one bit tells whether a column fits.
KULLBACK_OUT_OF_LINE std::uint64_t narrow_results(const NarrowCheck& check, const NarrowSum::Wide* sum,
                                                  std::size_t used, std::size_t count, double* totals) {
  const auto total = sum_of_used(used, [=](std::size_t lane) KULLBACK_INLINE_LAMBDA { return sum[lane]; });
  store_wide(totals, total, count);
  return to_word(check.fits()) & to_word(NarrowCheck::fits(total));
}

/// The same of up to 16 columns, some rows at a time.
template <class Op>
class NarrowColumns {
 public:
  static constexpr std::size_t lanes = Pack<float>::size;

  KULLBACK_INLINE void begin(std::size_t n) {
    n_ = n;
    used_ = n < lanes ? n : lanes;
    check_ = {};
    for (std::size_t lane = 0; lane < used_; ++lane) narrow_[lane].clear();
  }

  /// Rows [row, end) of all n, 16 from a multiple of that on or what is left. `load(k, row)` gives those of input k.
  template <class Load>
  KULLBACK_INLINE void read(std::size_t row, std::size_t end, Load load) {
    NarrowCheck check = check_;
    if (end > n_ - n_ % (2 * lanes)) {
      for (; row < end; ++row) narrow_[row % lanes].template add<Op>(check, load, row);
    } else if (row / lanes % 2 == 0) {
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        first_terms_[lane] = narrow_[lane].template first_term<Op>(check, load, row + lane);
      }
    } else {
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        narrow_[lane].template add_second<Op>(check, load, row + lane, first_terms_[lane]);
      }
    }
    check_ = check;
  }

  /// One bit per column tells whether it fits.
  KULLBACK_INLINE std::uint64_t results(std::size_t count, double* totals) {
    NarrowSum::Wide sum[lanes];
    for (std::size_t lane = 0; lane < used_; ++lane) sum[lane] = narrow_[lane].total();
    return narrow_results(check_, sum, used_, count, totals);
  }

  /// The same of columns of up to 16 rows, sooner.
  template <class Load>
  KULLBACK_INLINE static std::uint64_t results_of_short(std::size_t n, Load load, std::size_t count, double* totals) {
    NarrowCheck check;
    NarrowSum::Wide sum[lanes];
    for (std::size_t row = 0; row < n; ++row) {
      NarrowSum one;
      one.clear();
      one.template add<Op>(check, load, row);
      sum[row] = one.terms;
    }
    return narrow_results(check, sum, n, count, totals);
  }

 private:
  NarrowCheck check_;
  NarrowSum narrow_[lanes];
  Pack<float> first_terms_[lanes];  ///< of pairs whose second element is 16 rows later
  std::size_t n_, used_;
};

// Elementwise operations ----------------------------------------------------------------------------------------------

/// Of such an operation, narrow(valid, inputs...) gives results that are good where `valid` is left; the other lanes
/// are for float64. What a lane gets depends on nothing but itself.

/// Smoothed labels are for float64 lanes.
KULLBACK_INLINE bool smooths(const Setting& setting) { return setting.keep.hi != 1 || setting.spread.hi != 0; }

/// What results are multiplied by, in two parts, so that they are rounded once.
struct NarrowScale {
  float hi, lo;
  bool fits;

  KULLBACK_INLINE explicit NarrowScale(Partial scale)
      : hi(static_cast<float>(scale.hi)),
        lo(static_cast<float>(scale.hi - double{hi})),
        fits(__builtin_fabs(scale.hi) > 0x1p-60 && __builtin_fabs(scale.hi) < 0x1p60) {}

  template <class V>
  KULLBACK_INLINE V times(V x) const {
    return fma(x, broadcast_like<V>(hi), x * lo);
  }
};

/// What stands in for element i of input k where there is none: weights of 1, then labels and predictions.
template <class Op>
KULLBACK_INLINE constexpr float narrow_rest(int k) {
  return k < Op::inputs - 2 ? 1.0F : 0.5F;
}

/// Sums terms in float64 lanes; false where one of them is for float64.
template <class Op>
KULLBACK_INLINE bool add_narrow_terms(const float* const* in, std::size_t n, double& total) {
  constexpr std::size_t lanes = Pack<float>::size;
  NarrowSum::Wide sum = broadcast_like<NarrowSum::Wide>(0.0);
  auto valid = broadcast(0.0F) == 0;
  const auto terms = [&](std::size_t i) KULLBACK_INLINE_LAMBDA {
    return with_inputs<Op::inputs>([=](int k) KULLBACK_INLINE_LAMBDA { return load(in[k] + i); },
                                   [&](auto... x) KULLBACK_INLINE_LAMBDA { return Op::narrow(valid, x...); });
  };
  std::size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto first = terms(i);
    sum = sum + widen(first + terms(i + lanes));
    if (!all(valid)) return false;
  }
  if (i + lanes <= n) {
    sum = sum + widen(terms(i));
    i += lanes;
  }
  if (i < n) {
    const auto rest = with_inputs<Op::inputs>(
        [=](int k) KULLBACK_INLINE_LAMBDA { return partial_load(in[k] + i, n - i, narrow_rest<Op>(k)); },
        [&](auto... x) KULLBACK_INLINE_LAMBDA { return Op::narrow(valid, x...); });
    sum = sum + widen(select(lane_numbers<float>() < static_cast<float>(n - i), rest, 0));
  }
  total = sum_of_lanes(sum);
  return all(valid);
}
