/// What is known of rows, eight of them in lanes.

/// Eight rows' worth of a state, or fewer.
struct RowLanes {
  std::size_t first, count;
  bool spare;  ///< whether a calculation need not be better than float32 results are

  KULLBACK_INLINE Pack<double> load(const double* from, double fill = 0) const {
    return load_wide(from + first, count, fill);
  }
  template <class Digits = Working>
  KULLBACK_INLINE PairOf<Digits, Pack<double>> load(const RowStates& states, int k) const {
    if constexpr (same<Digits, Spare>) {
      return {load(states.hi[k]), {}};
    } else {
      return {load(states.hi[k]), load(states.lo[k])};
    }
  }
  KULLBACK_INLINE void store(double* to, Pack<double> x) const { store_wide(to + first, x, count); }
  KULLBACK_INLINE void store(RowStates& states, int k, Pair<Pack<double>> x) const {
    store(states.hi[k], x.hi);
    store(states.lo[k], x.lo);
  }
  KULLBACK_INLINE void store(RowStates& states, int k, Pair<Pack<double>, Nothing> x) const {
    store(states.hi[k], x.hi);
    store(states.lo[k], broadcast<double>(0.0));
  }
};

template <bool spare = false, class F>
KULLBACK_INLINE void for_rows(std::size_t rows, F f) {
  for (std::size_t first = 0; first < rows; first += Pack<double>::size) f(RowLanes{first, rows - first, spare});
}
