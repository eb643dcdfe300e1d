/// The loops: over packs of a block, over rows of a batch; and the order of every sum.
///
/// Data are worked on in float64 lanes: element i of a block goes to lane i mod 8. Lanes are added by a fixed tree,
/// lane j and lane j + half, again and again. Blocks are merged in order. Nothing else decides the bits of a result.
/// Float32 data that float32 lanes are good enough for have ways of their own, see direct_rows.hpp and narrow.hpp, and
/// the mass of float64 logits has, see fixed_point.hpp.
///
/// float32 data are widened as they are loaded. Their terms then have digits to spare, so that a result is rounded
/// once, when it is stored. It takes fewer operations than float32 lanes do that carry their rounding errors along.
/// float64 products and sums carry their rounding errors along (TwoProduct, TwoSum), so a result is rounded once, too;
/// but exponentials whose sum cannot cancel are rounded before they are added.
///
/// An operation on rows is a struct with
///
///     inputs        how many arrays it takes,
///     logits_from   the first of them that holds logits (inputs where none does),
///     sums          how many sums it makes of a row,
///     reads         Reads::plain: add(sum, inputs...)
///                   Reads::maxima: add(sum, maxima, inputs...), once the largest of each of its logits is known; the
///                   first sums are those of exp(z - max z), one for each input of logits, without the largest
///                   Reads::normalizers: add(sum, normalizers, inputs...), once log sum exp is known as well
///     merge, finish of states, see RowKernel.
///
/// A gradient of one is a struct with inputs, reads (plain or normalizers), Direct (what makes it of exponentials or
/// logits by two numbers of the row, see DirectOf, or Nothing) and of(setting[, known], inputs...), the derivative of
/// the row's result with respect to one of its elements. An elementwise operation has of(setting, one, inputs...), in
/// units of `one`; a gradient's first input is a factor.

enum class Reads { plain, maxima, normalizers };

/// See RowKernel::shortcut.
template <class Op>
struct ShortcutOf {
  using Type = Nothing;
};
template <class Op>
constexpr bool is_shortcut = false;

/// What reads rows for an operation that makes something else of the same sums: one copy serves.
template <class Op>
struct ReadingOf {
  using Type = Op;
};

// What an operation knows of its logits -------------------------------------------------------------------------------

/// The largest logits of a row (N are numbers) or of columns (lanes). One of them, the first, is left out of sums:
/// those that a confident prediction is made of would drown beside its 1.
template <class N, class Left>
struct Maxima {
  N value[RowStates::max_maxima];
  Left left_out[RowStates::max_maxima];

  /// z - max z.
  template <class Digits, class V>
  KULLBACK_INLINE PairOf<Digits, V> gap(V z, int i = 0) const {
    // 0 where max z is infinite as well.
    return zero_where(left_out[i], two_sum<Digits>(z, -as_lanes<V>(value[i])));
  }

  template <class V, class Low>
  KULLBACK_INLINE Pair<V, Low> leave_out(Pair<V, Low> term, int i = 0) const {
    return zero_where(left_out[i], term);
  }
};

/// The largest logits and, of each input, log sum exp(z - max z).
template <class N>
struct Normalizers {
  N max[RowStates::max_maxima], hi[RowStates::max_maxima], lo[RowStates::max_maxima];
  Partial results[2];  ///< of the row's knowledge, for gradients

  template <class Digits, class V>
  KULLBACK_INLINE PairOf<Digits, V> gap(V z, int i = 0) const {
    const V largest = as_lanes<V>(max[i]);
    return zero_where(z == largest, two_sum<Digits>(z, -largest));
  }

  template <class Digits, class V>
  KULLBACK_INLINE PairOf<Digits, V> log_sum(int i = 0) const {
    if constexpr (same<Digits, Spare>) {
      return {as_lanes<V>(hi[i]), {}};
    } else {
      return {as_lanes<V>(hi[i]), as_lanes<V>(lo[i])};
    }
  }

  /// The logarithm of softmax(z).
  template <class Digits, class V>
  KULLBACK_INLINE PairOf<Digits, V> log_probability(V z, int i = 0) const {
    return sum_of(gap<Digits>(z, i), -log_sum<Digits, V>(i));
  }

  /// NaN in rows that have no softmax.
  KULLBACK_INLINE N nan_or_zero(int i) const { return hi[i] - hi[i]; }

  template <class Digits, class V>
  KULLBACK_INLINE PairOf<Digits, V> result(int i = 0) const {
    return exactly<Digits, V>(results[i]);
  }
};

/// Nothing is known of probabilities.
struct PlainRow {
  template <class T>
  KULLBACK_INLINE PlainRow(const T* const*, std::size_t, const RowStates*, std::size_t) {}
  KULLBACK_INLINE bool within(std::size_t, std::size_t) const { return false; }
  KULLBACK_INLINE Nothing group() const { return {}; }
  KULLBACK_INLINE Nothing pack(std::size_t) const { return {}; }
  KULLBACK_INLINE void store(RowStates&, std::size_t) const {}
};

template <class T, int B>
KULLBACK_INLINE Pack<T> largest_pack(Simd<T, B> a) {
  if constexpr (B == pack_bytes) {
    return a;
  } else {
    return largest_pack(max(a.lower, a.upper));
  }
}

/// The largest element, -inf for none; any number where there is a NaN.
template <class T>
KULLBACK_INLINE T largest(const T* z, std::size_t n) {
  constexpr std::size_t lanes = Pack<T>::size, group = Group<T>::size;
  constexpr T least = -Constants<T>::infinity;
  auto best = broadcast<T, pack_bytes>(least);
  std::size_t i = 0;
  if (n >= group && group > lanes) {
    auto wide = load<T, Group<T>::bytes>(z);
    for (i = group; i + group <= n; i += group) wide = max(load<T, Group<T>::bytes>(z + i), wide);
    best = largest_pack(wide);
  }
  for (; i + lanes <= n; i += lanes) best = max(load(z + i), best);
  if (i < n) best = max(partial_load(z + i, n - i, least), best);
  return largest_lane(best);
}

/// Where the first element that equals x is; n for none.
template <class T>
KULLBACK_INLINE std::size_t find(const T* z, std::size_t n, T x) {
  constexpr std::size_t lanes = Pack<T>::size;
  for (std::size_t i = 0; i < n; i += lanes) {
    const auto pack = i + lanes <= n ? load(z + i) : partial_load(z + i, n - i, Constants<T>::nan);
    const std::uint64_t equal = to_word(pack == x);
    if (equal != 0) return i + static_cast<std::size_t>(__builtin_ctzll(equal));
  }
  return n;
}

/// The maxima of the logits among a row's inputs, First and those after it.
template <int First, int Inputs>
struct SearchedRow {
  static constexpr int count = Inputs - First;
  double value[count];
  std::size_t at[count];

  template <class T>
  KULLBACK_INLINE SearchedRow(const T* const* in, std::size_t n, const RowStates*, std::size_t) {
    for (int k = 0; k < count; ++k) {
      const T most = largest(in[First + k], n);
      value[k] = double{most};
      at[k] = find(in[First + k], n, most);
    }
  }

  /// Whether an element that is left out is among [i, i + length).
  KULLBACK_INLINE bool within(std::size_t i, std::size_t length) const {
    bool is = false;
    for (int k = 0; k < count; ++k) is = is || at[k] - i < length;
    return is;
  }

  KULLBACK_INLINE auto group() const {
    Maxima<double, Nothing> maxima{};
    for (int k = 0; k < count; ++k) maxima.value[k] = subtrahend(k);
    return maxima;
  }

  KULLBACK_INLINE auto pack(std::size_t i) const {
    Maxima<double, Mask<double>> maxima;
    for (int k = 0; k < count; ++k) {
      maxima.value[k] = subtrahend(k);
      maxima.left_out[k] = lane_numbers<double>() == static_cast<double>(static_cast<std::ptrdiff_t>(at[k] - i));
    }
    return maxima;
  }

  KULLBACK_INLINE void store(RowStates& states, std::size_t row) const {
    for (int k = 0; k < count; ++k) states.max[k][row] = value[k];
  }

 private:
  // Of -inf nothing can be subtracted: rows of them alone are told by their maximum.
  KULLBACK_INLINE double subtrahend(int k) const { return value[k] == -Constants<double>::infinity ? 0 : value[k]; }
};

struct NormalizedRow {
  Normalizers<double> normalizers;

  template <class T>
  KULLBACK_INLINE NormalizedRow(const T* const*, std::size_t, const RowStates* states, std::size_t row) {
    for (int k = 0; k < RowStates::max_maxima; ++k) {
      normalizers.max[k] = states->max[k][row];
      normalizers.hi[k] = states->hi[RowStates::log_sum + k][row];
      normalizers.lo[k] = states->lo[RowStates::log_sum + k][row];
    }
    normalizers.results[0] = {states->hi[0][row], states->lo[0][row]};
    normalizers.results[1] = {states->hi[RowStates::second_result][row], states->lo[RowStates::second_result][row]};
  }
  KULLBACK_INLINE bool within(std::size_t, std::size_t) const { return false; }
  KULLBACK_INLINE const Normalizers<double>& group() const { return normalizers; }
  KULLBACK_INLINE const Normalizers<double>& pack(std::size_t) const { return normalizers; }
  KULLBACK_INLINE void store(RowStates&, std::size_t) const {}
};

template <class Op, Reads reads>
struct KnownOfRow {
  using Type = PlainRow;
};
template <class Op>
struct KnownOfRow<Op, Reads::maxima> {
  using Type = SearchedRow<Op::logits_from, Op::inputs>;
};
template <class Op>
struct KnownOfRow<Op, Reads::normalizers> {
  using Type = NormalizedRow;
};

/// How far from a row of input k the next one is, or 0 if nothing is to be asked for there. The largest element of a
/// row is looked for before all else, and that waits for the memory: of rows this long, the next one is asked for while
/// one is summed. Of shorter ones the hardware does better by itself.
template <class T>
KULLBACK_INLINE std::ptrdiff_t to_next_row(const RowBatch<T>& batch, int k) {
  constexpr std::size_t long_row = 1024;
  // A row by itself may go on in another block; if not, nothing may follow.
  const bool is_alone = batch.rows == 1;
  if (batch.n < (is_alone ? block_size : long_row)) return 0;
  return is_alone ? static_cast<std::ptrdiff_t>(batch.n) : batch.row_stride[k];
}

// Rows --------------------------------------------------------------------------------------------------------------

/// The least that is worked on together: larger groups of all rows of results would be a tenth faster, and a third of
/// the extension.
constexpr int small_group_bytes = 2 * register_bytes > pack_bytes ? 2 * register_bytes : pack_bytes;

/// Bytes of lanes that are worked on together.
template <class Op>
constexpr int group_bytes = Group<double>::bytes;

template <class Op, class Sum, class Known, class... V>
KULLBACK_INLINE void add_to(Sum& sum, const Known& known, V... inputs) {
  if constexpr (Op::reads == Reads::plain) {
    Op::add(sum, inputs...);
  } else {
    Op::add(sum, known, inputs...);
  }
}

template <class Op, class Sum, class Known, class T>
KULLBACK_INLINE void add_group(Sum& sum, const Known& known, const T* const* in, std::size_t i) {
  with_inputs<Op::inputs>([=](int k) KULLBACK_INLINE_LAMBDA { return load_wide<group_bytes<Op>>(in[k] + i); },
                          [&](auto... inputs) KULLBACK_INLINE_LAMBDA { add_to<Op>(sum, known, inputs...); });
}

/// The lanes past the end hold what adds 0 to every sum: no probability, an impossible class.
template <class Op, class Sum, class Known, class T>
KULLBACK_INLINE void add_pack(Sum& sum, const Known& known, const T* const* in, std::size_t i, std::size_t count) {
  with_inputs<Op::inputs>(
      [=](int k) KULLBACK_INLINE_LAMBDA {
        return load_wide(in[k] + i, count, k < Op::logits_from ? T{0} : -Constants<T>::infinity);
      },
      [&](auto... inputs) KULLBACK_INLINE_LAMBDA { add_to<Op>(sum, known, inputs...); });
}

/// Of an empty row the largest element is left out as well.
template <class Op>
KULLBACK_INLINE void note_empty(RowStates& states, std::size_t row) {
  if constexpr (Op::reads == Reads::maxima) {
    for (int k = 0; k < Op::inputs - Op::logits_from; ++k) states.hi[k][row] = -1;
  }
}

/// Nothing but the row itself is asked for.
constexpr std::ptrdiff_t nowhere[max_inputs] = {};

/// `to_next`: how far what is read after the row lies from each input.
template <class Op, class T>
KULLBACK_OUT_OF_LINE void read_row(const T* const* in, std::size_t n, const RowStates* normalizers,
                                   const Setting& setting, RowStates& states, std::size_t row,
                                   const std::ptrdiff_t* to_next) {
  constexpr std::size_t lanes = Pack<double>::size, group = group_bytes<Op> / sizeof(double);
  const typename KnownOfRow<Op, Op::reads>::Type known(in, n, normalizers, row);
  Sum<T, pack_bytes, Op::sums> sum(setting);
  std::size_t i = 0;
  if constexpr (group > lanes) {
    for (; i + group <= n; i += group) {
      for (int k = 0; Op::reads == Reads::maxima && k < Op::inputs; ++k) {
        prefetch_for_later(in[k] + to_next[k] + i, group);
      }
      if (known.within(i, group)) {
        for (std::size_t end = i + group, j = i; j < end; j += lanes) {
          add_pack<Op>(sum, known.pack(j), in, j, lanes);
        }
      } else {
        add_group<Op>(sum, known.group(), in, i);
      }
    }
  }
  for (; i < n; i += lanes) add_pack<Op>(sum, known.pack(i), in, i, n - i);
  known.store(states, row);
  for (int k = 0; k < Op::sums; ++k) {
    const Partial total = sum.total(k);
    states.hi[k][row] = total.hi;
    states.lo[k][row] = total.lo;
  }
  if (n == 0) note_empty<Op>(states, row);
}

/// read_row of one operation. (A pointer, so that one copy of the rest serves.)
template <class T>
using ReadRow = void (*)(const T* const* in, std::size_t n, const RowStates* normalizers, const Setting& setting,
                         RowStates& states, std::size_t row, const std::ptrdiff_t* to_next);

/// Whether nothing but one mass is asked of logits: then there is a shorter way for most of them. (Divergences of two
/// rows need more digits, for they may be far smaller than what they are made of.)
template <class Op>
constexpr bool is_mass = Op::reads == Reads::maxima && Op::inputs == 1 && Op::sums == 1;
template <class Op, class T>
constexpr bool has_direct_way = is_mass<Op> && same<T, float>;
template <class Op, class T>
constexpr bool has_fixed_point_way = is_mass<Op> && same<T, double>;

/// The sums of all exponentials of a batch's rows, of logits that are input `z`, and S' of them; see
/// fixed_point_masses.
KULLBACK_OUT_OF_LINE std::uint64_t read_masses_at_fixed_point(const RowBatch<double>& batch, int z, RowStates& states) {
  const double* logits = batch.in[z];
  const std::ptrdiff_t to_next = to_next_row(batch, z);
  double* results = batch.results;
  for (std::size_t row = 0; row < batch.rows; ++row) {
    prefetch_ahead(logits, batch.row_stride[z], batch.n, results == nullptr ? z + 1 : z + 2);
    const double most = largest(logits, batch.n);
    const Partial sum = fixed_point_row(logits, batch.n, most, logits + to_next, results, batch.keeps_exponentials);
    states.max[0][row] = most;
    states.hi[0][row] = sum.hi;
    states.lo[0][row] = sum.lo;
    logits += batch.row_stride[z];
    if (results != nullptr) results += batch.results_stride;
  }
  return fixed_point_masses(states, batch.rows, batch.n);
}

/// Rows whose sums are not good enough are left to read_row, and those in units other than natural ones.
KULLBACK_OUT_OF_LINE void read_rows_at_fixed_point(const RowBatch<double>& batch, const Setting& setting,
                                                   RowStates& states, ReadRow<double> read_widely) {
  const std::uint64_t fitting = setting.one == 1 ? read_masses_at_fixed_point(batch, 0, states) : 0;
  for (std::size_t row = 0; row < batch.rows; ++row) {
    const double* const in[] = {batch.in[0] + static_cast<std::ptrdiff_t>(row) * batch.row_stride[0]};
    if ((fitting >> row & 1) == 0) read_widely(in, batch.n, batch.normalizers, setting, states, row, nowhere);
  }
}

/// Whether an operation makes the sums of a loss of labels and logits.
template <class Op>
constexpr bool is_labelled = false;
template <class Op, class T>
constexpr bool has_labelled_way = is_labelled<Op> && same<T, float>;
template <class Op, class T>
constexpr bool has_fixed_point_labels = is_labelled<Op> && same<T, double>;

KULLBACK_INLINE bool is_plain(const Setting& setting) {
  return setting.one == 1 && setting.mass_unit == 1 && !smooths(setting);
}

/// Whether an operation makes S' of logits and sum (max z - z) exp(z - max z), and nothing else.
template <class Op>
constexpr bool is_moment = false;
template <class Op, class T>
constexpr bool has_moment_way = is_moment<Op> && same<T, float>;

/// See DirectDivergence.
template <class Op, class T>
constexpr bool has_divergence_way = is_shortcut<Op> && same<T, float>;

/// Whether an operation makes divergences of logits whose normalizers are known; see NearDivergence.
template <class Op>
constexpr bool is_near_divergence = false;
template <class Op, class T>
constexpr bool has_near_way = is_near_divergence<Op> && same<T, float>;

/// Whether most rows are read in float32 lanes, as logits.
template <class Op, class T>
constexpr bool is_read_directly =
    has_direct_way<Op, T> || has_moment_way<Op, T> || has_labelled_way<Op, T> || has_divergence_way<Op, T>;

/// Rows of [weights,] labels and logits, the logits input `z`. Those that are left to read_row keep S' where it is
/// good: it is to be the same for all sorts of labels.
KULLBACK_OUT_OF_LINE void read_labelled_rows_at_fixed_point(const RowBatch<double>& batch, int z,
                                                            const Setting& setting, RowStates& states,
                                                            ReadRow<double> read_widely) {
  const std::uint64_t good_masses = setting.one == 1 ? read_masses_at_fixed_point(batch, z, states) : 0;
  std::uint64_t fitting = 0;
  const auto input = [&](int k, std::size_t row) KULLBACK_INLINE_LAMBDA {
    const double* const from = batch.in[k] + static_cast<std::ptrdiff_t>(row) * batch.row_stride[k];
    // The logits were read just now.
    if (k < z) prefetch_ahead(from, batch.row_stride[k], batch.n, z + 1);
    return from;
  };
  const bool has_weights = z == 2 && batch.rows != 0 && batch.n != 0 && batch.in[0][0] != 1;
  if (is_plain(setting) && !has_weights) {
    for (std::size_t row = 0; row < batch.rows; ++row) {
      const double* const weight = z == 1 ? nullptr : input(0, row);
      Partial totals[LabelSums::count];
      read_labels(weight, input(z - 1, row), input(z, row), batch.n, setting, totals);
      for (int k = 0; k < LabelSums::count; ++k) {
        states.hi[LossSum::labelled + k][row] = totals[k].hi;
        states.lo[LossSum::labelled + k][row] = totals[k].lo;
      }
      // What smoothing would need besides stays 0.
      for (int k = LossSum::spread_out; k < RowStates::max_sums; ++k) states.hi[k][row] = states.lo[k][row] = 0;
    }
    fitting = good_masses & label_information(states, batch.rows);
  }
  for (std::size_t row = 0; row < batch.rows; ++row) {
    if ((fitting >> row & 1) != 0) continue;
    const double* in[max_inputs];
    for (int k = 0; k <= z; ++k) in[k] = input(k, row);
    const Partial mass{states.hi[LossSum::base][row], states.lo[LossSum::base][row]};
    read_widely(in, batch.n, batch.normalizers, setting, states, row, nowhere);
    if ((good_masses >> row & 1) == 0) continue;
    states.hi[LossSum::base][row] = mass.hi;
    states.lo[LossSum::base][row] = mass.lo;
  }
}

template <class Op, class T>
constexpr bool has_narrow_way = is_narrow<Op> && same<T, float>;

template <class Op, class T>
void rows(const RowBatch<T>& batch, const Setting& setting, RowStates& states) {
  if constexpr (has_fixed_point_way<Op, T>) {
    return read_rows_at_fixed_point(batch, setting, states, read_row<Op, T>);
  }
  if constexpr (has_fixed_point_labels<Op, T>) {
    return read_labelled_rows_at_fixed_point(batch, Op::logits_from, setting, states, read_row<Op, T>);
  }
  std::uint64_t done_before = 0;
  if constexpr (has_direct_way<Op, T>) done_before = read_rows_directly(batch, states);
  if constexpr (has_divergence_way<Op, T>) done_before = read_divergences(batch, states);
  if constexpr (has_near_way<Op, T>) {
    if (setting.one == 1) done_before = read_near_divergences(batch, states);
  }
  if constexpr (has_moment_way<Op, T>) {
    if (is_plain(setting)) done_before = read_moments(batch, states);
  }
  if constexpr (has_labelled_way<Op, T>) {
    const bool has_weights = Op::logits_from == 2 && batch.rows != 0 && batch.n != 0 && batch.in[0][0] != 1;
    if (is_plain(setting) && !has_weights) done_before = read_labelled_rows(batch, Op::logits_from, states);
  }
  const T* in[max_inputs];
  std::ptrdiff_t to_next[max_inputs];
  for (int k = 0; k < Op::inputs; ++k) {
    in[k] = batch.in[k];
    // After a shorter way, few rows are left.
    to_next[k] = is_read_directly<Op, T> ? 0 : to_next_row(batch, k);
  }
  for (std::size_t row = 0; row < batch.rows; ++row) {
    bool done = (done_before >> row & 1) != 0;
    for (int k = 0; !done && k < Op::inputs; ++k) prefetch_ahead(in[k], batch.row_stride[k], batch.n, Op::inputs);
    if constexpr (has_narrow_way<Op, T>) {
      if constexpr (is_sum<Op>) {
        done = !smooths(setting) && add_narrow_terms<Op>(in, batch.n, states.hi[0][row]);
      } else {
        done = read_row_narrowly<Op>(in, batch.n, states.hi[0][row]);
      }
      states.lo[0][row] = 0;
    }
    if (!done) read_row<Op>(in, batch.n, batch.normalizers, setting, states, row, to_next);
    for (int k = 0; k < Op::inputs; ++k) in[k] += batch.row_stride[k];
  }
}

// States of rows ------------------------------------------------------------------------------------------------------

template <class Op>
void merge(RowStates& total, const RowStates& next, std::size_t rows, const Setting& setting) {
  for_rows(rows, [&](RowLanes lanes) KULLBACK_INLINE_LAMBDA { Op::merge(total, next, lanes, setting.one); });
}

template <class Op, class T>
void finish(RowStates& states, std::size_t rows, const Setting& setting) {
  for_rows<is_read_directly<Op, T>>(
      rows, [&](RowLanes lanes) KULLBACK_INLINE_LAMBDA { Op::finish(states, lanes, setting.one); });
}

/// Adds sum k of the next block.
KULLBACK_OUT_OF_LINE void merge_sum(RowStates& total, const RowStates& next, RowLanes lanes, int k) {
  const auto a = lanes.load(total, k), b = lanes.load(next, k);
  const auto sum = two_sum(a.hi, b.hi);
  lanes.store(total, k, {sum.hi, (a.lo + b.lo) + sum.lo});
}

/// Measures whose terms depend on nothing but their elements: one sum, which is the result.
struct PlainSum {
  static constexpr Reads reads = Reads::plain;
  static constexpr int sums = 1;

  KULLBACK_INLINE static void merge(RowStates& total, const RowStates& next, RowLanes lanes, double /*one*/) {
    merge_sum(total, next, lanes, 0);
  }
  KULLBACK_INLINE static void finish(RowStates&, RowLanes, double /*one*/) {}
};

struct NegatedSum : PlainSum {
  KULLBACK_INLINE static void finish(RowStates& states, RowLanes lanes, double /*one*/) {
    lanes.store(states, 0, -lanes.load(states, 0));
  }
};

/// The sum of one input, and of the products of two.
struct Total : PlainSum {
  static constexpr int inputs = 1, logits_from = 1;

  template <class Sum, class V>
  KULLBACK_INLINE static void add(Sum& sum, V x) {
    sum.add_products(exactly<typename Sum::Digits>(broadcast_like<V>(1.0)), x);
  }
};

struct Products : PlainSum {
  static constexpr int inputs = 2, logits_from = 2;

  template <class Sum, class V>
  KULLBACK_INLINE static void add(Sum& sum, V x, V y) {
    sum.add(two_product<typename Sum::Digits>(x, y));
  }
};

/// (hi + lo) * scale, rounded once.
template <class V>
KULLBACK_INLINE V scaled(Pair<V> x, Partial scale) {
  const auto y = product(x, exactly<Working, V>(scale));
  return select(y.hi - y.hi == 0, y.hi + y.lo, y.hi);
}
template <class V>
KULLBACK_INLINE V scaled(Pair<V, Nothing> x, Partial scale) {
  return x.hi * scale.hi;
}

/// Stores results of some rows, in units of `scale`. Adding 0 makes -0 of it 0.
template <class T>
KULLBACK_INLINE void store_result(T* out, RowLanes lanes, Pair<Pack<double>> y, Partial scale, const Setting& setting) {
  store_wide(out + lanes.first, scaled(y, scale) * (1 / setting.one) + 0, lanes.count);
}
template <class T>
KULLBACK_INLINE void store_result(T* out, RowLanes lanes, Pair<Pack<double>, Nothing> y, Partial scale,
                                  const Setting& setting) {
  store_result(out, lanes, {y.hi, broadcast<double>(0.0)}, scale, setting);
}

template <class T>
void round(const RowStates& states, std::size_t rows, Partial scale, const Setting& setting, T* out) {
  for_rows(rows, [&](RowLanes lanes)
                     KULLBACK_INLINE_LAMBDA { store_result(out, lanes, lanes.load(states, 0), scale, setting); });
}
