/// Rows are turned into columns in blocks of as many rows and elements as a register has lanes. Pairs that stand
/// `Step` apart exchange every other run of `Step` lanes, for all powers of two below.

template <std::size_t... I>
struct Indices {};

/// In a vector of a's lanes followed by b's: a's runs at even places, b's after them; or those at odd places.
template <std::size_t Step, bool Odd, class Register, std::size_t... I>
KULLBACK_INLINE Register runs_of(Register a, Register b, Indices<I...>) {
  constexpr std::size_t size = sizeof...(I), shift = Odd ? Step : 0;
  return __builtin_shufflevector(a, b, (I / Step % 2 == 0 ? I + shift : size + I - Step + shift)...);
}

template <std::size_t Step, bool Odd, class T, int B>
KULLBACK_INLINE Simd<T, B> runs_of(Simd<T, B> a, Simd<T, B> b) {
  if constexpr (Simd<T, B>::leaf) {
    return {runs_of<Step, Odd>(a.v, b.v, Indices<__integer_pack(Simd<T, B>::size)...>{})};
  } else if constexpr (Step == Simd<T, B>::size / 2) {
    if constexpr (Odd) {
      return {a.upper, b.upper};
    } else {
      return {a.lower, b.lower};
    }
  } else {
    return {runs_of<Step, Odd>(a.lower, b.lower), runs_of<Step, Odd>(a.upper, b.upper)};
  }
}

template <std::size_t Step, class V, std::size_t Size>
KULLBACK_INLINE void transpose_block(V (&block)[Size]) {
#pragma GCC unroll 16
  for (std::size_t i = 0; i < Size; ++i) {
    if ((i & Step) != 0) continue;
    const V even = runs_of<Step, false>(block[i], block[i + Step]);
    block[i + Step] = runs_of<Step, true>(block[i], block[i + Step]);
    block[i] = even;
  }
  if constexpr (Step > 1) transpose_block<Step / 2>(block);
}

/// The lanes of one register. As many rows of them are turned at a time: a larger block would not stay in registers.
template <class T>
using RegisterOf = Simd<T, (register_bytes < pack_bytes ? register_bytes : pack_bytes)>;

/// Calls store_column(j, column) for the columns of as many rows as there are lanes; `load_row(r)` gives one.
template <class T, class Load, class Store>
KULLBACK_INLINE void transpose_rows(Load load_row, Store store_column) {
  constexpr std::size_t lanes = RegisterOf<T>::size;
  RegisterOf<T> block[lanes];
#pragma GCC unroll 16
  for (std::size_t r = 0; r < lanes; ++r) block[r] = load_row(r);
  transpose_block<lanes / 2>(block);
#pragma GCC unroll 16
  for (std::size_t j = 0; j < lanes; ++j) store_column(j, block[j]);
}

/// Calls f(begin, count) for the blocks of n elements, `lanes` each. The last one begins before its turn so that it is
/// whole, unless it is the only one.
template <std::size_t lanes, class F>
KULLBACK_INLINE void for_whole_blocks(std::size_t n, F f) {
  if (n < lanes) return f(0, n);
  for (std::size_t begin = 0; begin < n; begin += lanes) f(begin + lanes <= n ? begin : n - lanes, lanes);
}

/// Element j of row r goes to out[j * step + r]; what is beyond the last row, up to the next multiple of a pack's
/// lanes, is written as well.
template <class T>
void transpose(const T* in, std::ptrdiff_t row_stride, std::size_t rows, std::size_t n, T* out, std::size_t step) {
  using V = RegisterOf<T>;
  constexpr std::size_t lanes = V::size, at_once = Pack<T>::size;
  const auto row_at = [=](std::size_t row) { return static_cast<std::ptrdiff_t>(row) * row_stride; };
  const auto highest = [=](std::size_t begin, std::size_t end) { return row_at(row_stride < 0 ? begin : end - 1); };
  for (std::size_t first = 0; first < (rows + at_once - 1) / at_once * at_once; first += lanes) {
    // Short rows are loaded with what follows them, which is not stored, up to where the array ends: for rows that run
    // backwards, that is the first one's end. Between rows that are less than a page apart all pages are theirs.
    const bool all_rows = first + lanes <= rows;
    const bool whole = all_rows && (n >= lanes || (!are_on_other_pages<T>(row_stride) &&
                                                   highest(first, first + lanes) + static_cast<std::ptrdiff_t>(lanes) <=
                                                       highest(0, rows) + static_cast<std::ptrdiff_t>(n)));
    for_whole_blocks<lanes>(n, [&](std::size_t begin, std::size_t count) KULLBACK_INLINE_LAMBDA {
      T* const to = out + begin * step + first;
      const auto store_column = [=](std::size_t j, V column) KULLBACK_INLINE_LAMBDA {
        if (j < count) store(to + j * step, column);
      };
      if (whole) {
        const T* next = in + row_at(first) + begin;
        const auto load_row = [&](std::size_t r) KULLBACK_INLINE_LAMBDA {
          const auto row = load<T, V::bytes>(next);
          if (r + 1 < lanes) next += row_stride;
          return row;
        };
        transpose_rows<T>(load_row, store_column);
      } else {
        const auto load_row = [&](std::size_t r) KULLBACK_INLINE_LAMBDA {
          if (first + r >= rows) return broadcast<T, V::bytes>(0);
          const T* const row = in + row_at(first + r) + begin;
          return count == lanes ? load<T, V::bytes>(row) : partial_load<T, V::bytes>(row, count, 0);
        };
        transpose_rows<T>(load_row, store_column);
      }
    });
  }
}

/// The way back, for the rows whose bit is set: element j of row r comes from in[j * tile_rows + r]. Nothing else is
/// written.
template <class T>
void columns_to_rows(const T* in, std::uint64_t which, std::size_t n, T* out, std::ptrdiff_t row_stride) {
  using V = RegisterOf<T>;
  constexpr std::size_t lanes = V::size;
  for (std::size_t first = 0; first < tile_rows; first += lanes) {
    const std::uint64_t here = which >> first & ((std::uint64_t{1} << lanes) - 1);
    if (here == 0) continue;
    for_whole_blocks<lanes>(n, [&](std::size_t begin, std::size_t count) KULLBACK_INLINE_LAMBDA {
      const T* const from = in + begin * tile_rows + first;
      T* const to = out + static_cast<std::ptrdiff_t>(first) * row_stride + begin;
      const auto load_column = [=](std::size_t j) KULLBACK_INLINE_LAMBDA {
        return load<T, V::bytes>(from + (j < count ? j : 0) * tile_rows);
      };
      transpose_rows<T>(load_column, [=](std::size_t r, V row) KULLBACK_INLINE_LAMBDA {
        if ((here >> r & 1) == 0) return;
        T* const place = to + static_cast<std::ptrdiff_t>(r) * row_stride;
        if (count == lanes) {
          store(place, row);
        } else {
          partial_store(place, count, row);
        }
      });
    });
  }
}
