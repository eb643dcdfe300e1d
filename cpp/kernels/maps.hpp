/// What is made element by element: values, gradients, rows of rows. Elements do not meet, so nothing here has an
/// order.

/// Calls f(load, store) for the elements, Width bytes of lanes at a time: `load(from, fill)` gives those of an array,
/// `store(y)` takes the results.
template <int Width, class T, class F>
KULLBACK_INLINE void map_elements(std::size_t n, T* out, F f) {
  for (std::size_t i = 0; i < n; i += Simd<double, Width>::size) {
    f([=](const T* from, T fill) KULLBACK_INLINE_LAMBDA { return load_wide<Width>(from + i, n - i, fill); },
      [=](auto y) KULLBACK_INLINE_LAMBDA { store_wide(out + i, y, n - i); });
  }
}

/// y, but results that drown among the subnormals by a calculation that is magnified.
template <class Op, class... V>
KULLBACK_OUT_OF_LINE Pack<double> mend_drowned(const Setting& setting, Partial scale, Pack<double> y, V... inputs) {
  const auto again = scaled(Op::template of<Working>(setting, magnification, inputs...), scale) * (1 / magnification);
  return select((abs(y) < least_result) & (again - again == 0), again, y);
}
template <class Op, int B, class... V>
KULLBACK_INLINE Simd<double, B> mend_drowned(const Setting& setting, Partial scale, Simd<double, B> y, V... inputs) {
  return {mend_drowned<Op>(setting, scale, y.lower, inputs.lower...),
          mend_drowned<Op>(setting, scale, y.upper, inputs.upper...)};
}

/// The value of elements, in units of `scale`.
template <class Op, class T, class... V>
KULLBACK_INLINE auto value_of(const Setting& setting, Partial scale, V... inputs) {
  using Digits = typename Sum<T>::Digits;
  auto y = scaled(Op::template of<Digits>(setting, 1.0, inputs...), scale);
  if constexpr (same<Digits, Working>) {
    if (!all(abs(y) >= least_result)) y = mend_drowned<Op>(setting, scale, y, inputs...);
  }
  return y + 0;
}

/// The values of a pack of elements or fewer, for those lanes that are not for float32.
template <class Op>
KULLBACK_OUT_OF_LINE Pack<float> map_some_widely(const MapBatch<float>& batch, const Setting& setting, std::size_t i,
                                                 std::size_t count) {
  constexpr int width = 2 * pack_bytes;
  float results[Pack<float>::size];
  with_inputs<Op::inputs>([&](int k) KULLBACK_INLINE_LAMBDA { return load_wide<width>(batch.in[k] + i, count, 1.0F); },
                          [&](auto... inputs) KULLBACK_INLINE_LAMBDA {
                            store_wide(results, value_of<Op, float>(setting, batch.scale, inputs...));
                          });
  return load(results);
}

template <class Op>
KULLBACK_INLINE void map_narrowly(const MapBatch<float>& batch, const Setting& setting) {
  constexpr std::size_t lanes = Pack<float>::size;
  const NarrowScale scale(batch.scale);
  const bool fits = scale.fits && !smooths(setting);
  for (std::size_t i = 0; i < batch.n; i += lanes) {
    const std::size_t count = batch.n - i;
    const auto load_some = [=](int k) KULLBACK_INLINE_LAMBDA {
      return count >= lanes ? load(batch.in[k] + i) : partial_load(batch.in[k] + i, count, narrow_rest<Op>(k));
    };
    auto valid = broadcast(0.0F) == 0;
    auto y = broadcast(0.0F);
    if (fits) {
      y = with_inputs<Op::inputs>(load_some, [&](auto... x) KULLBACK_INLINE_LAMBDA { return Op::narrow(valid, x...); });
      // Adding 0 makes -0 of it 0.
      y = scale.times(y) + 0;
      if (!all(valid)) y = select(valid, y, map_some_widely<Op>(batch, setting, i, count));
    } else {
      y = map_some_widely<Op>(batch, setting, i, count);
    }
    store_some(batch.out + i, y, count);
  }
}

template <class Op, class T>
void map(const MapBatch<T>& batch, const Setting& setting) {
  if constexpr (is_narrow<Op> && same<T, float>) {
    map_narrowly<Op>(batch, setting);
  } else {
    map_elements<group_bytes<Op>>(batch.n, batch.out, [&](auto load, auto store) KULLBACK_INLINE_LAMBDA {
      with_inputs<Op::inputs>([&](int k) KULLBACK_INLINE_LAMBDA { return load(batch.in[k], T{1}); },
                              [&](auto... inputs)
                                  KULLBACK_INLINE_LAMBDA { store(value_of<Op, T>(setting, batch.scale, inputs...)); });
    });
  }
}

/// The sum of an elementwise measure.
template <class Op>
struct SumOf : PlainSum {
  static constexpr int inputs = Op::inputs, logits_from = Op::logits_from;

  template <class Sum, class... V>
  KULLBACK_INLINE static void add(Sum& sum, V... inputs) {
    sum.add(Op::template of<typename Sum::Digits>(sum.setting, sum.one, inputs...));
  }

  template <class V, class... Inputs>
  KULLBACK_INLINE static auto narrow(V& valid, Inputs... inputs) {
    return Op::narrow(valid, inputs...);
  }
};
template <class Op>
constexpr bool is_sum<SumOf<Op>> = true;
template <class Op>
constexpr bool is_narrow<SumOf<Op>> = is_narrow<Op>;
template <class Op>
constexpr int group_bytes<SumOf<Op>> = group_bytes<Op>;

/// A row's element as an operation on rows gives it, in units of 1 / back, a power of two.
template <class V, class Low>
struct Element {
  Pair<V, Low> value;
  V back;
};

/// In units that keep the digits of exponentials down to the smallest subnormal one.
template <class Digits>
constexpr double exponential_unit = same<Digits, Spare> ? 1 : magnification;

template <class V, class Low>
KULLBACK_INLINE Element<V, Low> in_natural_units(Pair<V, Low> y) {
  return {y, broadcast_like<V>(1.0)};
}
template <class Digits, class V, class Low>
KULLBACK_INLINE Element<V, Low> in_exponential_units(Pair<V, Low> y) {
  return {y, broadcast_like<V>(1 / exponential_unit<Digits>)};
}

/// a where the condition holds, b elsewhere: of all lanes or of each. (Of `condition ? a : b` GCC chooses an address,
/// and both go to memory first: gradients took up to three times as long.)
template <class V>
KULLBACK_INLINE V choose(bool condition, V a, V b) {
  if (condition) b = a;
  return b;
}
template <class T, int B>
KULLBACK_INLINE Simd<T, B> choose(Mask<T, B> condition, Simd<T, B> a, Simd<T, B> b) {
  return select(condition, a, b);
}

KULLBACK_INLINE double magnitude(double x) { return __builtin_fabs(x); }
template <class T, int B>
KULLBACK_INLINE Simd<T, B> magnitude(Simd<T, B> x) {
  return abs(x);
}

/// What elements are multiplied by: one factor for all lanes (N is a number, M bool) or one for each.
template <class N, class M>
struct Factor {
  N hi, lo;
  M absent;    ///< 0, even times infinity
  M infinite;  ///< 0 times it is 0, too
  M large;     ///< elements go back to natural units before they are multiplied, not after

  KULLBACK_INLINE Factor(N high, N low)
      : hi(high),
        lo(low),
        absent(high == 0),
        infinite(magnitude(high) == Constants<double>::infinity),
        large(magnitude(high) > 0x1p100) {}

  /// The product, rounded once.
  template <class V>
  KULLBACK_INLINE V times(Element<V, V> x) const {
    const V one = broadcast_like<V>(1.0);
    const V before = choose(large, x.back, one), after = choose(large, one, x.back);
    const V high = choose(absent, one, as_lanes<V>(hi));
    const auto y = product(x.value, Pair<V>{before * high, before * as_lanes<V>(lo)});
    return finished(select(y.hi - y.hi == 0, y.hi + y.lo, y.hi) * after, x.value.hi);
  }
  /// The product with what has no low part to begin with, which leaves out the factor's: at most an ULP more.
  template <class V>
  KULLBACK_INLINE V times(Element<V, Nothing> x) const {
    const V one = broadcast_like<V>(1.0);
    const V before = choose(large, x.back, one), after = choose(large, one, x.back);
    const V high = choose(absent, one, as_lanes<V>(hi));
    return finished(x.value.hi * (before * high) * after, x.value.hi);
  }

 private:
  /// Adding 0 makes -0 of it 0.
  template <class V>
  KULLBACK_INLINE V finished(V y, V element) const {
    y = choose(absent, zero_where(y == y, y), y);
    y = choose(infinite, zero_where(element == 0, y), y);
    return y + 0;
  }
};

/// The results of a row, of what `of` makes of its elements.
template <class Direct, class T, class Of>
KULLBACK_INLINE void direct_map(const T* in, std::size_t n, T high, T low, T* out, Of of) {
  constexpr std::size_t lanes = Pack<T>::size, group = Group<T>::size;
  const auto map = [=](auto x) KULLBACK_INLINE_LAMBDA {
    using V = decltype(x);
    return Direct::map(of(x), broadcast_like<V>(high), broadcast_like<V>(low));
  };
  std::size_t i = 0;
  for (; i + group <= n; i += group) store(out + i, map(load<T, Group<T>::bytes>(in + i)));
  for (; i + lanes <= n; i += lanes) store(out + i, map(load(in + i)));
  if (i < n) partial_store(out + i, n - i, map(partial_load(in + i, n - i, T{0})));
}

/// Those of columns, of what `of(first)` makes of the elements of a pack of columns. Some rows of one pack, the same
/// rows of the next: what belongs to the columns stays in registers, and lines and pages are done with before they are
/// gone.
template <class Direct, class T, class Of>
KULLBACK_INLINE void direct_map_columns(const Direct& direct, const ColumnMapBatch<T>& batch, Of of) {
  constexpr std::size_t lanes = Pack<T>::size, some = 2 * rows_ahead;
  const std::size_t columns = batch.columns, n = batch.n;
  for (std::size_t begin = 0, end = 0; begin < n; begin = end) {
    end = n - begin < some ? n : begin + some;
    const auto look_ahead = [=](const T* at, std::ptrdiff_t step) KULLBACK_INLINE_LAMBDA {
      // Short columns that lie closer were put there just now, or follow one another as the hardware expects.
      const bool ahead = n > longest_short_row ? are_apart(step, columns) : are_on_other_pages<T>(step);
      if (ahead) prefetch_rows(at, step, n, columns, begin + some, end + some);
    };
    // Exponentials were put there just now.
    if (!batch.exponentials) look_ahead(batch.in, batch.in_step);
    look_ahead(batch.out, batch.out_step);
    for (std::size_t first = 0; first < columns; first += lanes) {
      const std::size_t count = columns - first;
      const auto high = load(direct.hi + first), low = load(direct.lo + first);
      const auto of_columns = of(first);
      const T* in = batch.in + first + static_cast<std::ptrdiff_t>(begin) * batch.in_step;
      T* out = batch.out + first + static_cast<std::ptrdiff_t>(begin) * batch.out_step;
      for (std::size_t row = begin; row < end; ++row, in += batch.in_step, out += batch.out_step) {
        const auto x = count >= lanes ? load(in) : partial_load(in, count, T{0});
        store_some(out, Direct::map(of_columns(x), high, low), count);
      }
    }
  }
}

/// Makes exponentials of logits once more, of a row or of columns whose largest ones are `most`.
template <class T, class N>
KULLBACK_INLINE auto exponentials_again(N most) {
  if constexpr (same<T, float>) {
    return [](auto x) KULLBACK_INLINE_LAMBDA { return direct_exp(x); };
  } else {
    const FixedPointScale<N> scale(most);
    return [=](auto x) KULLBACK_INLINE_LAMBDA { return scale.exponential(x); };
  }
}

/// Whether results are made of exponentials or logits by two numbers of the row.
template <class Op, class T>
constexpr bool has_direct_map = !same<DirectOf<Op, T>, Nothing>;

/// Maps a row, given what is known of it. A gradient is multiplied by the row's factor.
template <class Op, class T>
KULLBACK_INLINE void map_row(const T* const* in, std::size_t n, const RowStates* states, const RowFactors* factors,
                             std::size_t row, const Setting& setting, T* out) {
  using Digits = typename Sum<T>::Digits;
  const typename KnownOfRow<Op, Op::reads>::Type known(in, n, states, row);
  const auto of = [&](auto... inputs) KULLBACK_INLINE_LAMBDA {
    if constexpr (Op::reads == Reads::plain) {
      return Op::template of<Digits>(setting, inputs...);
    } else {
      return Op::template of<Digits>(setting, known.group(), inputs...);
    }
  };
  const auto map_with = [&](auto finish) KULLBACK_INLINE_LAMBDA {
    map_elements<small_group_bytes>(n, out, [&](auto load, auto store) KULLBACK_INLINE_LAMBDA {
      with_inputs<Op::inputs>([&](int k) KULLBACK_INLINE_LAMBDA { return load(in[k], T{0}); },
                              [&](auto... inputs) KULLBACK_INLINE_LAMBDA { store(finish(of(inputs...))); });
    });
  };
  if constexpr (Op::is_gradient) {
    const Factor<double, bool> factor(factors->hi[row], factors->lo[row]);
    map_with([&](auto y) KULLBACK_INLINE_LAMBDA { return factor.times(y); });
  } else {
    map_with([](auto y) KULLBACK_INLINE_LAMBDA { return y; });
  }
}

template <class Op, class T>
void map_rows(const RowMapBatch<T>& batch, const Setting& setting) {
  const T* in[max_inputs];
  for (int k = 0; k < Op::inputs; ++k) in[k] = batch.in.in[k];
  T* out = batch.out;
  const RowStates* const known = batch.in.normalizers;
  const auto for_each_row = [&](auto f) KULLBACK_INLINE_LAMBDA {
    for (std::size_t row = 0; row < batch.in.rows; ++row) {
      f(row);
      for (int k = 0; k < Op::inputs; ++k) in[k] += batch.in.row_stride[k];
      out += batch.out_stride;
    }
  };
  const auto map_one = [&](std::size_t row) KULLBACK_INLINE_LAMBDA {
    map_row<Op>(in, batch.in.n, known, batch.factors, row, setting, out);
  };
  if constexpr (has_direct_map<Op, T>) {
    using Direct = DirectOf<Op, T>;
    const Direct direct(*known, batch.factors, batch.in.rows);
    const T* kept = batch.in.keeps_exponentials ? batch.in.results : nullptr;
    for_each_row([&](std::size_t row) KULLBACK_INLINE_LAMBDA {
      const auto map = [&](const T* from, auto of) KULLBACK_INLINE_LAMBDA {
        direct_map<Direct>(from, batch.in.n, direct.hi[row], direct.lo[row], out, of);
      };
      const auto same_again = [](auto x) KULLBACK_INLINE_LAMBDA { return x; };
      if (!direct.fits(row)) {
        map_one(row);
      } else if constexpr (!Direct::of_exponentials) {
        map(in[0], same_again);
      } else if (kept != nullptr) {
        map(kept, same_again);
      } else {
        map(in[0], exponentials_again<T>(known->max[0][row]));
      }
      if (kept != nullptr) kept += batch.in.results_stride;
    });
  } else {
    for_each_row(map_one);
  }
}

/// Columns of results.
template <class Direct, class T>
std::uint64_t map_columns(const ColumnMapBatch<T>& batch) {
  const Direct direct(batch.known, batch.factors, batch.columns);
  // Logits of columns that do not fit are wanted again.
  if (!batch.exponentials && batch.in == batch.out && (~direct.fitting & first_bits(batch.columns)) != 0) return 0;
  if (batch.exponentials || !Direct::of_exponentials) {
    direct_map_columns(direct, batch, [](std::size_t) KULLBACK_INLINE_LAMBDA {
      return [](auto x) KULLBACK_INLINE_LAMBDA { return x; };
    });
  } else if constexpr (Direct::of_exponentials) {
    direct_map_columns(direct, batch, [&](std::size_t first) KULLBACK_INLINE_LAMBDA {
      return exponentials_again<T>(load_wide(batch.known.max[0] + first, batch.columns - first, 0));
    });
  }
  return direct.fitting;
}

/// An elementary function of each element, in lanes of its own type.
template <class Op, class T>
void map_pack(const MapBatch<T>& batch, const Setting&) {
  constexpr std::size_t lanes = Pack<T>::size, group = Group<T>::size;
  const T* in = batch.in[0];
  std::size_t i = 0;
  if constexpr (group > lanes) {
    for (; i + group <= batch.n; i += group) store(batch.out + i, Op::of(load<T, group * sizeof(T)>(in + i)));
  }
  for (; i + lanes <= batch.n; i += lanes) store(batch.out + i, Op::of(load(in + i)));
  if (i < batch.n) partial_store(batch.out + i, batch.n - i, Op::of(partial_load(in + i, batch.n - i, T{1})));
}
