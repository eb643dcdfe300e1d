/// Runs kernels over the rows of arrays: cuts the work into tiles and blocks, spreads it over threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "inputs.hpp"
#include "parallel.hpp"

namespace kullback {

/// Neighbouring rows that are worked on together.
struct Tile {
  std::ptrdiff_t at[Dims::operands];    ///< bytes from each operand's data to what belongs to the first row
  std::ptrdiff_t step[Dims::operands];  ///< and from one row to the next
  std::size_t first;                    ///< the first row's number
  std::size_t rows;
  int thread;

  Tile part(std::size_t r, std::size_t count) const {
    Tile some = *this;
    for (int i = 0; i < Dims::operands; ++i) some.at[i] += static_cast<std::ptrdiff_t>(r) * step[i];
    some.first += r;
    some.rows = count;
    return some;
  }
  Tile row(std::size_t r) const { return part(r, 1); }
};

/// Takes log sum exp(z - max z) again, magnified, of rows where it is too small for a sum in natural units.
/// `evaluate_again(row, setting, states)` makes the finished states of one row.
template <class T, class Evaluate>
void refine_normalizers(RowStates& normalizers, std::size_t rows, Evaluate&& evaluate_again) {
  if (sizeof(T) != sizeof(double)) return;
  constexpr int first = RowStates::log_sum, end = first + RowStates::max_maxima;
  for (std::size_t r = 0; r < rows; ++r) {
    if (!(normalizers.hi[first][r] < least_result || normalizers.hi[end - 1][r] < least_result)) continue;
    Setting setting;
    setting.one = magnification;
    RowStates again;
    evaluate_again(r, setting, again);
    for (int sum = first; sum < end; ++sum) {
      if (!(normalizers.hi[sum][r] < least_result)) continue;
      normalizers.hi[sum][r] = again.hi[sum][0] / magnification;
      normalizers.lo[sum][r] = again.lo[sum][0] / magnification;
    }
  }
}

/// What is known of one row.
inline void copy_row(const RowStates& from, std::size_t from_row, RowStates& to, std::size_t to_row) {
  for (int k = 0; k < RowStates::max_maxima; ++k) to.max[k][to_row] = from.max[k][from_row];
  for (int k = 0; k < RowStates::max_sums; ++k) {
    to.hi[k][to_row] = from.hi[k][from_row];
    to.lo[k][to_row] = from.lo[k][from_row];
  }
}

/// Asks for what follows the rows of a tile, of `length` bytes each, a tile ahead and far enough for memory to answer,
/// unless rows lie far apart. Short rows come and go a few lines at a time, between which too much is done for the
/// hardware to look ahead. The second level of the cache is where they wait, results too: the first has no room beside
/// what is worked on. Inlined, for to GCC a function that does nothing else has no effect, and its calls none either.
[[gnu::always_inline]] inline void prefetch_after(const char* rows, std::ptrdiff_t step, std::size_t count,
                                                  std::size_t length) {
  if (step > 2 * static_cast<std::ptrdiff_t>(length)) return;
  constexpr std::ptrdiff_t line = 64, nearest = 4096;
  constexpr int second_level = 2;
  const std::ptrdiff_t bytes = static_cast<std::ptrdiff_t>(count) * step, ahead = bytes < nearest ? nearest : bytes;
  for (std::ptrdiff_t b = ahead; b < ahead + bytes; b += line) __builtin_prefetch(rows + b, 0, second_level);
}

/// Where the rows of a tile are, or are to be: one after the other, side by side, or elsewhere.
template <class T>
struct Place {
  T* rows = nullptr;
  T* columns = nullptr;
  std::ptrdiff_t stride = 0;  ///< from row to row, or from one element of a column to the next
};

/// What the results of a tile are made of, besides the states of its rows: exponentials, kept in rows where the results
/// will be or as columns in a buffer of the thread's, or logits.
template <class T>
struct Kept {
  Place<T> results;
  bool exponentials = false;
  T* buffer = nullptr;         ///< where columns are left
  const T* columns = nullptr;  ///< what is mapped, if columns are
  std::ptrdiff_t step = 0;     ///< from one element of a column to the next
  T* mapped = nullptr;         ///< columns that are to be turned into rows

  explicit operator bool() const { return results.rows != nullptr || results.columns != nullptr; }
};

/// All rows of some arrays, a tile at a time.
///
/// The states of a row are the same whatever else is in its tile, and however the tile is read: row by row, as columns
/// or by several threads.
template <class T>
class RowJob {
 public:
  RowJob(const Kernels<T>& kernels, Operands& operands, DType dtype, const Dims& inner, const Dims& outer)
      : inner_(inner),
        outer_(outer),
        inputs_(operands, dtype, inner, outer),
        transpose_(kernels.transpose),
        n_(inner.size()),
        rows_(outer.size()) {}

  static constexpr auto item = Inputs<T>::item;

  std::size_t elements() const { return n_ * rows_; }
  std::size_t rows() const { return rows_; }
  std::size_t length() const { return n_; }
  int threads() const { return threads_; }

  /// To be called before anything else. `again`: whether rows may be read more than once.
  void prepare(bool again = false) {
    if (rows_ == 0) return;
    threads_ = threads_for(elements());
    // Few long rows: the threads share the blocks of each. The order in which blocks are merged is the same.
    const int row_threads = static_cast<int>(std::min(useful_threads(n_), static_cast<std::size_t>(threads_)));
    share_rows_ = row_threads > 1 && rows_ < 4 * static_cast<std::size_t>(threads_);
    if (share_rows_) {
      threads_ = row_threads;
      blocks_.resize((n_ + block_size - 1) / block_size);
    }
    const bool gathers = !inputs_.all_direct();
    side_by_side_ = !share_rows_ && gathers && inputs_.side_by_side(outer_);
    to_row_ = to_gathered_row(std::min(n_, block_size));
    most_gathered_ = std::min(tile_rows, Inputs<T>::buffer_size / static_cast<std::size_t>(to_row_));
    if (share_rows_ || (!gathers && n_ > block_size)) {
      most_rows_ = 1;
    } else {
      most_rows_ = gathers && !side_by_side_ ? most_gathered_ : tile_rows;
    }
    // Rows that are read again are to come from the second-level cache then. Of those that lie side by side, fewer
    // would be parts of lines.
    constexpr std::size_t tile_elements = std::size_t{1} << 15;
    if (again && !side_by_side_) {
      most_rows_ = std::clamp<std::size_t>(tile_elements / std::max<std::size_t>(n_, 1), 1, most_rows_);
    }
    inputs_.allocate_buffers(threads_);
    // Short rows are worked on together, as columns: a row by itself would take longer than its elements.
    constexpr std::size_t enough_rows = 8;
    transposes_ = !share_rows_ && !gathers && 2 <= n_ && n_ <= longest_short_row && rows_ >= enough_rows;
    // What is kept and, of rows that are read as columns, these. Of longer columns it would leave the caches.
    const bool keeps_columns = again && side_by_side_ && n_ <= block_size;
    arrays_of_columns_ = transposes_ ? 1 + inputs_.count() : keeps_columns ? 1 : 0;
    const auto arrays = static_cast<std::size_t>(threads_ * arrays_of_columns_);
    if (arrays != 0) columns_.reset(new T[arrays * n_ * tile_rows]);
  }

  /// Where the exponentials can be kept that the kernel takes of a tile, whose results go to that place; or where its
  /// logits are found as columns; or that place, for it to be asked for while rows are read.
  Kept<T> keep(const RowKernel<T>& kernel, const Tile& tile, const Place<T>& results, bool of_exponentials) const {
    T* const buffer = columns_ ? columns(tile.thread, 0) : nullptr;
    if (transposes(kernel)) {
      // Logits are rows already: those of a pack and more are mapped sooner as they are, and where some rows may be
      // read again, in the place of these columns, all.
      const bool as_rows = n_ >= 64 / sizeof(T) || sizeof(T) == sizeof(double);
      if (results.rows == nullptr || (!of_exponentials && as_rows)) return {};
      if (!of_exponentials) return {results, false, nullptr, columns(tile.thread, 1), tile_rows, buffer};
      return {results, true, buffer, buffer, tile_rows, buffer};
    }
    // Results that go where the logits are have to wait for these.
    const T* const logits = inputs_.element(0, tile.at[0]);
    const bool in_place = results.rows == logits || results.columns == logits;
    const bool keeps = of_exponentials && !in_place && n_ <= kernel.keeps_up_to;
    if (side_by_side_ && results.columns != nullptr) {
      // Logits whose addresses differ in high bits alone crowd each other out of the caches: others are read again.
      constexpr std::size_t cache = std::size_t{1} << 19;
      const std::ptrdiff_t step = inner_.stride[0][0];
      const bool crowd = n_ * static_cast<std::size_t>(step & -step) > cache;
      const bool copies = !of_exponentials && !in_place && crowd;
      if ((keeps || copies) && buffer != nullptr && reads_columns(kernel, tile)) {
        return {results, keeps, buffer, buffer, tile_rows};
      }
      return {results, false, nullptr, logits, step / item};
    }
    // What is asked for while a row is read is to be in some cache still when it is written.
    constexpr std::size_t longest_asked_for = (std::size_t{1} << 20) / sizeof(T);
    const bool asks = !of_exponentials && !in_place && n_ <= longest_asked_for;
    Kept<T> kept;
    if ((keeps || asks) && inputs_.all_direct() && results.rows != nullptr) {
      kept.results = results;
      kept.exponentials = keeps;
    }
    return kept;
  }

  /// Calls f(begin, end, thread) for shares of [0, count); a share is the work of one thread.
  template <class F>
  void share(std::size_t count, F&& f) {
    parallel_for(count, share_rows_ ? 1 : threads_, f);
  }

  /// Calls f(tile) for the tiles that make up rows [begin, end).
  template <class F>
  void for_tiles(std::size_t begin, std::size_t end, int thread, F&& f) {
    Tile tile;
    tile.thread = thread;
    tile.first = begin;
    if (outer_.count == 0) {
      std::fill_n(tile.step, Dims::operands, 0);
    } else {
      std::memcpy(tile.step, outer_.stride[outer_.count - 1], sizeof(tile.step));
    }
    outer_.for_runs(begin, end, [&](const std::ptrdiff_t* offset, std::size_t count) {
      std::memcpy(tile.at, offset, sizeof(tile.at));
      for (std::size_t done = 0; done < count; done += tile.rows) {
        tile.rows = std::min(most_rows_, count - done);
        f(tile);
        tile.first += tile.rows;
        for (int i = 0; i < Dims::operands; ++i) tile.at[i] += static_cast<std::ptrdiff_t>(tile.rows) * tile.step[i];
      }
    });
  }

  /// Calls f(tile) for all tiles.
  template <class F>
  void for_all_tiles(F&& f) {
    share(rows_, [&](std::size_t begin, std::size_t end, int thread) { for_tiles(begin, end, thread, f); });
  }

  /// The finished states of a tile's rows, with what their normalizer knows.
  void evaluate(const RowKernel<T>& kernel, const Tile& tile, const Setting& setting, RowStates& states,
                const Kept<T>& kept = {}) {
    if (kernel.normalizer == nullptr) {
      read(kernel, tile, setting, nullptr, states, kept);
      kernel.finish(states, tile.rows, setting);
      return;
    }
    if (kernel.shortcut != nullptr && setting.one == 1) return evaluate_shortly(kernel, tile, setting, states);
    RowStates normalizers;
    read(*kernel.normalizer, tile, Setting{}, nullptr, normalizers);
    kernel.normalizer->finish(normalizers, tile.rows, Setting{});
    evaluate_normalized(kernel, tile, setting, normalizers, states);
  }

  /// Calls f(batch, begin, thread) for the blocks of a tile's rows, elements [begin, begin + batch.n), in any order.
  template <class F>
  void for_blocks(const Tile& tile, const RowStates* normalizers, F&& f, const Kept<T>& kept = {}) {
    // Shorter ones have room for all of a tile's columns.
    const std::size_t length = side_by_side_ ? gathered_length : block_size;
    const std::size_t count = std::max<std::size_t>((n_ + length - 1) / length, 1);
    parallel_for(count, share_rows_ ? threads_ : 1, [&](std::size_t first, std::size_t last, int thread) {
      for (std::size_t b = first; b < last; ++b) {
        const std::size_t begin = b * length, end = std::min(begin + length, n_);
        const int worker = share_rows_ ? thread : tile.thread;
        f(keeping(fetch(tile, begin, end, normalizers, worker), kept, begin), begin, worker);
      }
    });
  }

 private:
  /// How much of columns is gathered at a time where nothing has to be in blocks: all of a tile's stay in a cache.
  static constexpr std::size_t gathered_length = 2048 / sizeof(T);

  /// A cache line more between gathered rows, against equal cache sets.
  static std::ptrdiff_t to_gathered_row(std::size_t n) {
    return static_cast<std::ptrdiff_t>(n + Inputs<T>::rows_in_line);
  }

  /// Whether the rows of a tile are read side by side. A few would take as long as a pack of them: they are gathered.
  bool reads_columns(const RowKernel<T>& kernel, const Tile& tile) const {
    constexpr std::size_t few = 8;
    return side_by_side_ && kernel.columns != nullptr && tile.rows > few;
  }

  bool transposes(const RowKernel<T>& kernel) const { return transposes_ && n_ <= kernel.short_row; }

  /// One row of one block, to be merged when its turn comes.
  struct BlockState {
    double max[RowStates::max_maxima];
    Partial sums[RowStates::max_sums];

    void keep(const RowStates& states) {
      for (int k = 0; k < RowStates::max_maxima; ++k) max[k] = states.max[k][0];
      for (int k = 0; k < RowStates::max_sums; ++k) sums[k] = {states.hi[k][0], states.lo[k][0]};
    }
    void restore(RowStates& states) const {
      for (int k = 0; k < RowStates::max_maxima; ++k) states.max[k][0] = max[k];
      for (int k = 0; k < RowStates::max_sums; ++k) {
        states.hi[k][0] = sums[k].hi;
        states.lo[k][0] = sums[k].lo;
      }
    }
  };

  RowBatch<T> fetch(const Tile& tile, std::size_t begin, std::size_t end, const RowStates* normalizers,
                    int thread) const {
    RowBatch<T> batch{};
    batch.rows = tile.rows;
    batch.n = end - begin;
    batch.normalizers = normalizers;
    for (int i = 0; i < inputs_.count(); ++i) {
      if (side_by_side_) {
        batch.in[i] = inputs_.buffer(thread, i);
        batch.row_stride[i] = to_gathered_row(batch.n);
        const std::ptrdiff_t step = inner_.stride[0][i] / item;
        transpose_(inputs_.element(i, tile.at[i]) + static_cast<std::ptrdiff_t>(begin) * step, step, batch.n, tile.rows,
                   inputs_.buffer(thread, i), static_cast<std::size_t>(batch.row_stride[i]));
        continue;
      }
      batch.in[i] = inputs_.fetch(i, tile.at[i], tile.step[i], tile.rows, begin, end, to_row_, thread);
      batch.row_stride[i] = inputs_.row_stride(i, tile.step[i], to_row_);
    }
    return batch;
  }

  /// The states of a tile's rows, of all their blocks.
  void read(const RowKernel<T>& kernel, const Tile& tile, const Setting& setting, const RowStates* normalizers,
            RowStates& states, const Kept<T>& kept = {}) {
    if (share_rows_) {
      read_shared(kernel, tile, setting, normalizers, states, kept);
      return;
    }
    if (side_by_side_ && !reads_columns(kernel, tile) && tile.rows > most_gathered_) {
      return read_parts(kernel, tile, setting, normalizers, states);
    }
    std::size_t begin = 0;
    do {
      const std::size_t end = std::min(begin + block_size, n_);
      RowStates next;
      RowStates& block = begin == 0 ? states : next;
      if (transposes(kernel)) {
        read_transposed(kernel, tile, setting, normalizers, states, kept);
      } else if (reads_columns(kernel, tile)) {
        ColumnBatch<T> batch{};
        batch.columns = tile.rows;
        batch.n = end - begin;
        batch.normalizers = normalizers;
        for (int i = 0; i < inputs_.count(); ++i) {
          batch.step[i] = inner_.stride[0][i] / item;
          batch.in[i] = inputs_.element(i, tile.at[i]) + static_cast<std::ptrdiff_t>(begin) * batch.step[i];
        }
        if (kept.buffer != nullptr) batch.kept = kept.buffer + begin * tile_rows;
        batch.keeps_exponentials = kept.exponentials;
        kernel.columns(batch, setting, block);
      } else {
        kernel.rows(keeping(fetch(tile, begin, end, normalizers, tile.thread), kept, begin), setting, block);
      }
      if (begin != 0) kernel.merge(states, next, tile.rows, setting);
      begin = end;
    } while (begin < n_);
  }

  /// As many rows at a time as there is room for, whole blocks of which have to be gathered.
  void read_parts(const RowKernel<T>& kernel, const Tile& tile, const Setting& setting, const RowStates* normalizers,
                  RowStates& states) {
    for (std::size_t first = 0; first < tile.rows; first += most_gathered_) {
      const Tile part = tile.part(first, std::min(most_gathered_, tile.rows - first));
      RowStates known, of_part;
      for (std::size_t r = 0; normalizers != nullptr && r < part.rows; ++r) copy_row(*normalizers, first + r, known, r);
      read(kernel, part, setting, normalizers == nullptr ? nullptr : &known, of_part);
      for (std::size_t r = 0; r < part.rows; ++r) copy_row(of_part, r, states, first + r);
    }
  }

  /// Short rows, as columns.
  void read_transposed(const RowKernel<T>& kernel, const Tile& tile, const Setting& setting,
                       const RowStates* normalizers, RowStates& states, const Kept<T>& kept) {
    ColumnBatch<T> batch{};
    batch.columns = tile.rows;
    batch.n = n_;
    batch.normalizers = normalizers;
    batch.kept = kept.buffer;
    batch.keeps_exponentials = kept.exponentials;
    for (int i = 0; i < inputs_.count(); ++i) {
      T* const to = columns(tile.thread, 1 + i);
      prefetch_after(reinterpret_cast<const char*>(inputs_.element(i, tile.at[i])), tile.step[i], tile.rows,
                     n_ * sizeof(T));
      transpose_(inputs_.element(i, tile.at[i]), tile.step[i] / item, tile.rows, n_, to, tile_rows);
      batch.in[i] = to;
      batch.step[i] = tile_rows;
    }
    kernel.columns(batch, setting, states);
  }

  T* columns(int thread, int i) const {
    return columns_.get() + static_cast<std::size_t>(thread * arrays_of_columns_ + i) * n_ * tile_rows;
  }

  void evaluate_normalized(const RowKernel<T>& kernel, const Tile& tile, const Setting& setting, RowStates& normalizers,
                           RowStates& states) {
    refine_normalizers<T>(normalizers, tile.rows, [&](std::size_t r, const Setting& magnified, RowStates& again) {
      read(*kernel.normalizer, tile.row(r), magnified, nullptr, again);
      kernel.normalizer->finish(again, 1, magnified);
    });
    read(kernel, tile, setting, &normalizers, states);
    kernel.finish(states, tile.rows, setting);
    for (int k = 0; k < RowStates::max_maxima; ++k) {
      const int sum = RowStates::log_sum + k;
      std::copy_n(normalizers.max[k], tile.rows, states.max[k]);
      for (std::size_t r = 0; r < tile.rows; ++r) {
        states.hi[sum][r] = normalizers.hi[sum][r] * setting.one;
        states.lo[sum][r] = normalizers.lo[sum][r] * setting.one;
      }
    }
  }

  /// By the shortcut, which knows what the normalizer does, and those rows it is not made for as others are.
  void evaluate_shortly(const RowKernel<T>& kernel, const Tile& tile, const Setting& setting, RowStates& states) {
    read(*kernel.shortcut, tile, setting, nullptr, states);
    kernel.shortcut->finish(states, tile.rows, setting);
    std::size_t left = 0;
    for (std::size_t r = 0; r < tile.rows; ++r) left += std::isnan(states.hi[0][r]);
    if (left == 0) return;
    RowStates normalizers, full;
    const bool few = left < tile.rows / 8;
    if (!few) {
      normalizers = states;
      complete(kernel, tile, normalizers);
      evaluate_normalized(kernel, tile, setting, normalizers, full);
    }
    for (std::size_t r = 0; r < tile.rows; ++r) {
      if (!std::isnan(states.hi[0][r])) continue;
      if (few) {
        copy_row(states, r, normalizers, 0);
        complete(kernel, tile.row(r), normalizers);
        evaluate_normalized(kernel, tile.row(r), setting, normalizers, full);
      }
      copy_row(full, few ? 0 : r, states, r);
    }
  }

  /// Has the normalizer find what the shortcut left unknown.
  void complete(const RowKernel<T>& kernel, const Tile& tile, RowStates& normalizers) {
    const double* const known = normalizers.hi[RowStates::log_sum];
    if (std::none_of(known, known + tile.rows, [](double log_sum) { return std::isnan(log_sum); })) return;
    RowStates all;
    read(*kernel.normalizer, tile, Setting{}, nullptr, all);
    kernel.normalizer->finish(all, tile.rows, Setting{});
    for (std::size_t r = 0; r < tile.rows; ++r) {
      if (std::isnan(known[r])) copy_row(all, r, normalizers, r);
    }
  }

  static RowBatch<T> keeping(RowBatch<T> batch, const Kept<T>& kept, std::size_t begin) {
    const bool in_rows = kept.columns == nullptr && kept.results.rows != nullptr;
    batch.results = in_rows ? kept.results.rows + begin : nullptr;
    batch.results_stride = kept.results.stride;
    batch.keeps_exponentials = kept.exponentials;
    return batch;
  }

  /// One row, whose blocks the threads share.
  void read_shared(const RowKernel<T>& kernel, const Tile& tile, const Setting& setting, const RowStates* normalizers,
                   RowStates& states, const Kept<T>& kept) {
    parallel_for(blocks_.size(), threads_, [&](std::size_t first, std::size_t last, int thread) {
      RowStates block;
      for (std::size_t b = first; b < last; ++b) {
        const std::size_t begin = b * block_size, end = std::min(begin + block_size, n_);
        kernel.rows(keeping(fetch(tile, begin, end, normalizers, thread), kept, begin), setting, block);
        blocks_[b].keep(block);
      }
    });
    blocks_[0].restore(states);
    for (std::size_t b = 1; b < blocks_.size(); ++b) {
      RowStates next;
      blocks_[b].restore(next);
      kernel.merge(states, next, 1, setting);
    }
  }

  const Dims& inner_;
  const Dims& outer_;
  Inputs<T> inputs_;
  decltype(Kernels<T>::transpose) transpose_;
  std::size_t n_, rows_;
  std::size_t most_rows_ = 1;
  std::size_t most_gathered_ = 1;
  std::ptrdiff_t to_row_ = 0;
  int threads_ = 1;
  bool share_rows_ = false;
  bool side_by_side_ = false;
  bool transposes_ = false;
  int arrays_of_columns_ = 0;  ///< for each thread
  std::unique_ptr<T[]> columns_;
  std::vector<BlockState> blocks_;
};

struct Units {
  double one, mass_unit;
};

/// Calls emit with the result of one row in other units; false where it is not finite in them.
template <class Evaluate, class Emit>
bool emit_again(const Tile& row, Setting setting, Units units, Evaluate&& evaluate, Emit&& emit) {
  setting.one = units.one;
  setting.mass_unit = units.mass_unit;
  RowStates states;
  evaluate(row, setting, states);
  if (!std::isfinite(states.hi[0][0])) return false;
  emit(row, states, setting, std::uint64_t{0});
  return true;
}

/// What there is to know of results besides their values.
struct Results {
  int decisive = 0;             ///< the sum of the states that drowns or overflows
  bool know_mass_unit = false;  ///< whether they are right in any mass_unit, and so can be rescued by another one
};

/// Takes all rows of a tile again, magnified, and calls emit with those that drowned; tells which of these are done.
template <class T, class Evaluate, class Emit>
std::uint64_t emit_magnified(const Tile& tile, Setting setting, std::uint64_t drowned_rows, Evaluate&& evaluate,
                             Emit&& emit) {
  setting.one = setting.mass_unit = magnification;
  RowStates states;
  evaluate(tile, setting, states);
  std::uint64_t done = 0;
  for (std::size_t r = 0; r < tile.rows; ++r) {
    const std::uint64_t bit = std::uint64_t{1} << r;
    if ((drowned_rows & bit) != 0 && std::isfinite(states.hi[0][r])) done |= bit;
  }
  if (done != 0) emit(tile, states, setting, ~done);
  return done;
}

/// Calls emit(tile, states, setting, skip) with the results of a tile's rows. Those that drown among the subnormals, or
/// overflow before their last step, are taken again in other units, many of them together, few in tiles of their own;
/// their bits are set in `skip` then. `evaluate(tile, setting, states)` makes results.
template <class T, class Evaluate, class Emit>
void with_results(const Tile& tile, const Setting& setting, Evaluate&& evaluate, Emit&& emit, Results results = {}) {
  RowStates states;
  evaluate(tile, setting, states);
  static_assert(tile_rows <= 64);
  const double* const value = states.hi[results.decisive];
  std::uint64_t skip = 0, drowned_rows = 0, overflowed_rows = 0;
  for (std::size_t r = 0; r < tile.rows; ++r) {
    drowned_rows |= std::uint64_t{drowned<T>(value[r])} << r;
    overflowed_rows |= std::uint64_t{results.know_mass_unit && std::isinf(value[r])} << r;
  }
  constexpr int many = 4;
  if (__builtin_popcountll(drowned_rows) >= many) {
    skip = emit_magnified<T>(tile, setting, drowned_rows, evaluate, emit);
  }
  for (std::uint64_t left = (drowned_rows | overflowed_rows) & ~skip; left != 0; left &= left - 1) {
    const auto r = static_cast<std::size_t>(__builtin_ctzll(left));
    const auto again = [&](Units units) { return emit_again(tile.row(r), setting, units, evaluate, emit); };
    const bool done = (drowned_rows >> r & 1) != 0 ? again({magnification, magnification}) ||
                                                         (results.know_mass_unit && again({magnification, 1}))
                                                   : again({1, 1 / magnification});
    if (done) skip |= std::uint64_t{1} << r;
  }
  emit(tile, states, setting, skip);
}

/// Stores the results of a tile's rows, in units of `scale`.
template <class T, class Round>
void store_results(Round round, char* out, const Tile& tile, const RowStates& states, Partial scale,
                   const Setting& setting, std::uint64_t skip) {
  T results[tile_rows];
  round(states, tile.rows, scale, setting, results);
  out += tile.at[Dims::output];
  if (skip == 0 && tile.step[Dims::output] == static_cast<std::ptrdiff_t>(sizeof(T))) {
    std::memcpy(out, results, tile.rows * sizeof(T));
    return;
  }
  for (std::size_t r = 0; r < tile.rows; ++r, out += tile.step[Dims::output]) {
    if ((skip >> r & 1) == 0) std::memcpy(out, &results[r], sizeof(T));
  }
}

}  // namespace kullback
