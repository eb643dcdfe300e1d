/// Asks for memory before it is needed, where the hardware does not look ahead by itself. GCC deletes calls of
/// functions that do nothing else: they are inlined on every target, or pretend to do more.

/// Where what is asked for waits, as __builtin_prefetch counts: in the second level of the cache, or in none but the
/// first, and there only until it is read.
constexpr int second_level = 2, first_level_once = 0;

/// Asks for what lies ahead of a short row, one of several in as many arrays that are worked on together: between one
/// and the next too much is done for the hardware to look ahead. More at a time than it can wait for would cost time.
template <class T>
[[gnu::always_inline]] inline void prefetch_ahead(const T* row, std::ptrdiff_t stride, std::size_t n, int arrays) {
  constexpr std::ptrdiff_t line = 64 / sizeof(T), ahead = 2048 / sizeof(T);
  const auto length = static_cast<std::ptrdiff_t>(n);
  if (length > ahead / (arrays * arrays) || stride > 2 * length) return;
  for (std::ptrdiff_t i = 0; i < stride; i += line) __builtin_prefetch(row + ahead + i);
}

/// Asks for what is read or written when all of a row or of some rows is done: they may be more than the first level of
/// the cache holds.
template <class T>
[[gnu::always_inline]] inline void prefetch_for_later(const T* at, std::size_t count) {
  constexpr std::size_t line = 64 / sizeof(T);
  for (std::size_t i = 0; i < count; i += line) __builtin_prefetch(at + i, 0, second_level);
}

/// Where columns are read without others beside them: so many rows are asked for at a time, as many ahead.
constexpr std::size_t rows_ahead = 8;

/// Whether rows of columns, `step` elements apart, lie on pages of their own.
template <class T>
KULLBACK_INLINE bool are_on_other_pages(std::ptrdiff_t step) {
  constexpr std::ptrdiff_t page = 4096 / sizeof(T);
  return step >= page || step <= -page;
}

/// Whether rows of columns, `step` elements apart, are further from each other than the hardware expects.
KULLBACK_INLINE bool are_apart(std::ptrdiff_t step, std::size_t count) {
  const auto length = static_cast<std::ptrdiff_t>(count);
  return step > 2 * length || step < -2 * length;
}

/// Asks for rows [row, end) of n of some neighbouring columns; beyond the last row, of as many columns that follow, and
/// so on. They are put into the second level of the cache: the first, which holds what is worked on, has no room for as
/// much as is asked for, least of all where rows fall into the same sets of it.
template <class T>
KULLBACK_OUT_OF_LINE void prefetch_rows(const T* columns, std::ptrdiff_t step, std::size_t n, std::size_t count,
                                        std::size_t row, std::size_t end) {
  constexpr std::size_t line = 64 / sizeof(T);
  for (; row < end; ++row) {
    for (; row >= n; row -= n, end -= n) columns += count;
    const T* const from = columns + static_cast<std::ptrdiff_t>(row) * step;
    for (std::size_t i = 0; i < count; i += line) __builtin_prefetch(from + i, 0, second_level);
    // Columns may begin within a line.
    __builtin_prefetch(from + count - 1, 0, second_level);
  }
  __asm__ volatile("");
}

/// The same, as row after row is read.
template <class T>
KULLBACK_INLINE void prefetch_rows_ahead(const T* columns, std::ptrdiff_t step, std::size_t n, std::size_t count,
                                         std::size_t row) {
  if (row % rows_ahead != 0) return;
  const std::size_t first = row + rows_ahead, rest = n - row;
  prefetch_rows(columns, step, n, count, first, first + (rest < rows_ahead ? rest : rows_ahead));
}
