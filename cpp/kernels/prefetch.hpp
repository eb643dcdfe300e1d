/// Asks for memory before it is needed, where the hardware does not look ahead by itself. Inlined on every target: GCC
/// deletes calls of functions that do nothing else.

/// Asks for what lies ahead of a short row, one of several in as many arrays that are worked on together: between one
/// and the next too much is done for the hardware to look ahead. More at a time than it can wait for would cost time.
template <class T>
[[gnu::always_inline]] inline void prefetch_ahead(const T* row, std::ptrdiff_t stride, std::size_t n, int arrays) {
  constexpr std::ptrdiff_t line = 64 / sizeof(T), ahead = 2048 / sizeof(T);
  const auto length = static_cast<std::ptrdiff_t>(n);
  const std::ptrdiff_t longest = 4096 / static_cast<std::ptrdiff_t>(sizeof(T)) / arrays;
  if (length > longest || stride > 2 * length) return;
  for (std::ptrdiff_t i = 0; i < stride; i += line) __builtin_prefetch(row + ahead + i);
}

/// The same of columns that are read from row to row, where rows lie on pages of their own: of what is read some rows
/// later, in the neighbouring columns where these end.
template <class T>
[[gnu::always_inline]] inline void prefetch_columns_ahead(const T* columns, std::ptrdiff_t step, std::size_t n,
                                                          std::size_t row) {
  constexpr std::ptrdiff_t page = 4096 / sizeof(T), line = 64 / sizeof(T);
  constexpr std::size_t ahead = 12;
  if (step < page) return;
  const std::size_t later = row + ahead;
  const T* const next = later < n ? columns : columns + line - static_cast<std::ptrdiff_t>(n) * step;
  __builtin_prefetch(next + static_cast<std::ptrdiff_t>(later) * step);
}
