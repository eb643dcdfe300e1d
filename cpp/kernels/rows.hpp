/// The loops: over packs of a block, over rows of a batch; and the order of every sum.
///
/// Rows are summed in float64 lanes: element i of a block goes to lane i mod 8. Lanes are added by a fixed tree, lane j
/// and lane j + half, again and again. Blocks are added in order. Nothing else decides the bits of a result.
///
/// float32 data are widened as they are loaded. Their terms then have digits to spare, so that a row is rounded once,
/// when it is stored. It takes fewer operations than float32 lanes do that carry their rounding errors along.
/// float64 products and sums carry their rounding errors along (TwoProduct, TwoSum), so a row is rounded once, too.

constexpr double magnification = 0x1p600;

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

/// The sum of a block's terms, in lanes of Width bytes in all.
template <class T, int Width = pack_bytes>
struct Sum;

template <int Width>
struct Sum<float, Width> : Validity<Width> {
  using Digits = Spare;

  Simd<double, Width> lanes;

  KULLBACK_INLINE explicit Sum(bool /*magnified: float64 products of float32 never drown*/)
      : lanes(broadcast<double, Width>(0.0)) {}

  /// Adds factor times each weight, pack after pack. To be called once for an element: the products of a second call
  /// would follow those of a whole group, and so in an order that depends on the target.
  template <int B, class... V>
  KULLBACK_INLINE void add_products(Pair<Simd<double, B>, Nothing> factor, V... weights) {
    if constexpr (B > Width) {
      add_products(lower(factor), lower(weights)...);
      add_products(upper(factor), upper(weights)...);
    } else {
      ((lanes = fma(weights, factor.hi, lanes)), ...);
    }
  }

  KULLBACK_INLINE Partial total() const {
    if (!all(this->valid)) return {Constants<double>::nan, 0.0};
    const auto by4 = lower(lanes) + upper(lanes);
    const auto by2 = lower(by4) + upper(by4);
    return {by2.v[0] + by2.v[1], 0.0};
  }

  /// Adds another sum lane by lane, as total() adds the lanes of one.
  KULLBACK_INLINE void merge(const Sum& other) {
    lanes = lanes + other.lanes;
    this->valid = this->valid & other.valid;
  }

  /// The sum in each lane.
  KULLBACK_INLINE Pair<Simd<double, Width>> by_lane() const {
    return {select(this->valid, lanes, Constants<double>::nan), broadcast<double, Width>(0.0)};
  }
};

template <int Width>
struct Sum<double, Width> : Validity<Width> {
  using Digits = Working;

  Simd<double, Width> hi, lo;
  double scale;

  KULLBACK_INLINE explicit Sum(bool magnified)
      : hi(broadcast<double, Width>(0.0)), lo(broadcast<double, Width>(0.0)), scale(magnified ? magnification : 1.0) {}

  template <int B, class... V>
  KULLBACK_INLINE void add_products(Pair<Simd<double, B>> factor, V... weights) {
    if constexpr (B > Width) {
      add_products(lower(factor), lower(weights)...);
      add_products(upper(factor), upper(weights)...);
    } else {
      (add_product(factor, weights * scale), ...);
    }
  }

  KULLBACK_INLINE Partial total() const {
    if (!all(this->valid)) return {Constants<double>::nan, 0.0};
    return fold(hi, lo);
  }

  KULLBACK_INLINE void merge(const Sum& other) {
    const auto sum = two_sum(hi, other.hi);
    hi = sum.hi;
    lo = (lo + other.lo) + sum.lo;
    this->valid = this->valid & other.valid;
  }

  KULLBACK_INLINE Pair<Simd<double, Width>> by_lane() const {
    return {select(this->valid, hi, Constants<double>::nan), lo};
  }

 private:
  KULLBACK_INLINE void add_product(Pair<Simd<double, Width>> factor, Simd<double, Width> weight) {
    const auto product = two_product(weight, factor.hi);
    const auto sum = two_sum(hi, product.hi);
    hi = sum.hi;
    lo = lo + (sum.lo + fma(weight, factor.lo, product.lo));
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

/// B bytes of float64 lanes from memory.
template <int B>
KULLBACK_INLINE Simd<double, B> load_wide(const double* from) {
  return load<double, B>(from);
}
template <int B>
KULLBACK_INLINE Simd<double, B> load_wide(const float* from) {
  return widen(load<float, B / 2>(from));
}

/// The first count lanes of a pack, all of them at most; the lanes past the end hold zeros, which add 0 to every
/// measure.
KULLBACK_INLINE Pack<double> load_wide(const double* from, std::size_t count) {
  return count >= Pack<double>::size ? load(from) : partial_load(from, count, 0.0);
}
KULLBACK_INLINE Pack<double> load_wide(const float* from, std::size_t count) {
  return count >= Pack<double>::size ? load_wide<pack_bytes>(from) : widen(lower(partial_load(from, count, 0.0F)));
}

template <class Op, class Sum, class T>
KULLBACK_INLINE void add_group(Sum& sum, const T* const* in, std::size_t i) {
  constexpr int bytes = Group<double>::bytes;
  if constexpr (Op::inputs == 1) {
    Op::add(sum, load_wide<bytes>(in[0] + i));
  } else {
    Op::add(sum, load_wide<bytes>(in[0] + i), load_wide<bytes>(in[1] + i));
  }
}

template <class Op, class Sum, class T>
KULLBACK_INLINE void add_pack(Sum& sum, const T* const* in, std::size_t i, std::size_t count) {
  if constexpr (Op::inputs == 1) {
    Op::add(sum, load_wide(in[0] + i, count));
  } else {
    Op::add(sum, load_wide(in[0] + i, count), load_wide(in[1] + i, count));
  }
}

template <class Op, class T>
KULLBACK_INLINE Partial sum_block(const T* const* in, std::size_t n, bool magnified) {
  constexpr std::size_t lanes = Pack<double>::size, group = Group<double>::size;
  Sum<T> sum(magnified);
  std::size_t i = 0;
  if constexpr (group > lanes) {
    for (; i + group <= n; i += group) add_group<Op>(sum, in, i);
  }
  for (; i < n; i += lanes) add_pack<Op>(sum, in, i, n - i);
  return sum.total();
}

template <class Op, class T>
Partial block(const T* const* in, std::size_t n, bool magnified) {
  return sum_block<Op>(in, n, magnified);
}

/// Sums `count` columns, as many as Width holds or fewer, from `first` on.
///
/// Columns stand in for lanes: the sum over elements i mod 8 of a column takes the place of lane i mod 8 of a row, and
/// so each column's bits are those of a row.
template <class Op, int Width, class T>
KULLBACK_INLINE void sum_columns(const ColumnBatch<T>& batch, std::size_t first, std::size_t count) {
  constexpr std::size_t lanes = Pack<double>::size, width = Simd<double, Width>::size;
  using ColumnSum = Sum<T, Width>;
  static_assert(lanes == 8);
  ColumnSum sums[lanes] = {ColumnSum(false), ColumnSum(false), ColumnSum(false), ColumnSum(false),
                           ColumnSum(false), ColumnSum(false), ColumnSum(false), ColumnSum(false)};
  const T* in[max_inputs] = {};
  for (int i = 0; i < Op::inputs; ++i) in[i] = batch.in[i] + first;
  for (std::size_t row = 0; row < batch.n; ++row) {
    if constexpr (width > lanes) {
      add_group<Op>(sums[row % lanes], in, 0);
    } else {
      add_pack<Op>(sums[row % lanes], in, 0, count);
    }
    for (int i = 0; i < Op::inputs; ++i) in[i] += batch.step[i];
  }
  for (std::size_t half = lanes / 2; half > 0; half /= 2) {
    for (std::size_t lane = 0; lane < half; ++lane) sums[lane].merge(sums[lane + half]);
  }
  double hi[width], lo[width];
  store(hi, sums[0].by_lane().hi);
  store(lo, sums[0].by_lane().lo);
  for (std::size_t column = 0; column < count; ++column) batch.out[first + column] = {hi[column], lo[column]};
}

template <class Op, class T>
void columns(const ColumnBatch<T>& batch) {
  constexpr std::size_t lanes = Pack<double>::size, group = Group<double>::size;
  std::size_t first = 0;
  if constexpr (group > lanes) {
    for (; first + group <= batch.columns; first += group) {
      sum_columns<Op, Group<double>::bytes>(batch, first, group);
    }
  }
  for (; first < batch.columns; first += lanes) {
    sum_columns<Op, pack_bytes>(batch, first, batch.columns - first < lanes ? batch.columns - first : lanes);
  }
}

KULLBACK_INLINE bool is_finite(double x) { return __builtin_fabs(x) <= 0x1.fffffffffffffp+1023; }

/// (hi + lo) * scale, rounded once.
KULLBACK_INLINE double scaled(Partial x, Partial scale) {
  const double hi = x.hi * scale.hi;
  if (!is_finite(hi)) return hi;
  const double error = __builtin_fma(x.hi, scale.hi, -hi);
  return hi + (error + __builtin_fma(x.hi, scale.lo, x.lo * scale.hi));
}

/// What a measure makes of the sum of its terms, in units of `one`: bases of the row measures.
struct PlainSum {
  KULLBACK_INLINE static Partial result(Partial sum, double /*one*/) { return sum; }
};
struct NegatedSum {
  KULLBACK_INLINE static Partial result(Partial sum, double /*one*/) { return {-sum.hi, -sum.lo}; }
};

template <class Op, class T>
KULLBACK_INLINE T finish_row(Partial total, bool magnified, Partial scale) {
  const double x = scaled(Op::result(total, magnified ? magnification : 1.0), scale);
  // Adding 0 makes -0 of it 0.
  return static_cast<T>((magnified ? x * (1 / magnification) : x) + 0.0);
}

template <class Op, class T>
T finish(Partial total, bool magnified, Partial scale) {
  return finish_row<Op, T>(total, magnified, scale);
}

template <class Op, class T>
void rows(const RowBatch<T>& batch) {
  const T* in[max_inputs] = {batch.in[0], batch.in[1]};
  T* out = batch.out;
  for (std::size_t row = 0; row < batch.rows; ++row) {
    Partial total = sum_block<Op>(in, batch.n, false);
    bool magnified = false;
    if (drowned<T>(total)) {
      const Partial again = block<Op>(in, batch.n, true);
      magnified = is_finite(again.hi);
      if (magnified) total = again;
    }
    *out = finish_row<Op, T>(total, magnified, batch.scale);
    out += batch.out_stride;
    for (int i = 0; i < Op::inputs; ++i) in[i] += batch.row_stride[i];
  }
}

/// The unit of results, as a pair of numbers.
template <class T>
struct Unit {
  T hi, lo;
};

/// x * unit, rounded once.
template <class T, int B>
KULLBACK_INLINE Simd<T, B> scaled(Pair<Simd<T, B>> x, Unit<T> unit) {
  const auto product = two_product(x.hi, broadcast<T, B>(unit.hi));
  const auto low = product.lo + fma(x.hi, unit.lo, x.lo * unit.hi);
  const auto finite = product.hi - product.hi == 0;
  // Adding 0 makes -0 of it 0.
  return select(finite, product.hi + low, product.hi) + 0;
}

/// f of each element, a group, a pack and the rest at a time.
template <class T, class F>
KULLBACK_INLINE void map_elements(const T* in, std::size_t n, T* out, F f) {
  constexpr std::size_t lanes = Pack<T>::size, group = Group<T>::size;
  std::size_t i = 0;
  if constexpr (group > lanes) {
    for (; i + group <= n; i += group) store(out + i, f(load<T, group * sizeof(T)>(in + i)));
  }
  for (; i + lanes <= n; i += lanes) store(out + i, f(load(in + i)));
  if (i < n) partial_store(out + i, n - i, f(partial_load(in + i, n - i, T{1})));
}

template <class Op, class T>
void map(const T* const* in, std::size_t n, T* out, Partial scale) {
  const T hi = static_cast<T>(scale.hi);
  const Unit<T> unit{hi, static_cast<T>((scale.hi - double{hi}) + scale.lo)};
  map_elements(in[0], n, out, [=](auto x) KULLBACK_INLINE_LAMBDA { return Op::of(x, unit); });
}

/// An elementary function of each element; there is no unit to scale to.
template <class Op, class T>
void map_pack(const T* const* in, std::size_t n, T* out, Partial /*scale*/) {
  map_elements(in[0], n, out, [](auto x) KULLBACK_INLINE_LAMBDA { return Op::of(x); });
}
