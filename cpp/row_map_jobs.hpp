/// Runs kernels that make a row of each row.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "row_jobs.hpp"

namespace kullback {

/// Where the rows go that a kernel makes: straight to an array, or by way of the thread's buffer.
template <class T>
class RowOutput {
 public:
  RowOutput(const Kernels<T>& kernels, const Dims& inner, int output, char* out)
      : transpose_(kernels.transpose),
        columns_to_rows_(kernels.columns_to_rows),
        inner_(inner),
        output_(output),
        out_(out),
        direct_(inner.contiguous(output, item)) {}

  void prepare(int threads) {
    if (!direct_) results_.reset(new T[static_cast<std::size_t>(threads) * results_size]);
  }

  /// Where a row of the tile begins.
  char* row(const Tile& tile, std::size_t r) const {
    return out_ + tile.at[output_] + static_cast<std::ptrdiff_t>(r) * tile.step[output_];
  }

  /// Where the rows of a tile go, if no buffer is needed for them.
  Place<T> place(const Tile& tile) const {
    T* const first = reinterpret_cast<T*>(row(tile, 0));
    if (direct_) return {first, nullptr, row_stride(tile)};
    if (inner_.count == 1 && tile.step[output_] == item && inner_.stride[0][output_] % item == 0) {
      return {nullptr, first, inner_.stride[0][output_] / item};
    }
    return {};
  }

  /// Has make(out, stride) write the blocks of a tile's rows that begin there.
  template <class Make>
  void write(const Tile& tile, std::size_t begin, std::size_t n, int thread, Make&& make) const {
    if (direct_) {
      make(reinterpret_cast<T*>(row(tile, 0)) + begin, row_stride(tile));
      return;
    }
    T* const results = results_.get() + static_cast<std::size_t>(thread) * results_size;
    // Against equal cache sets.
    const std::size_t to_row = n + Inputs<T>::rows_in_line;
    make(results, static_cast<std::ptrdiff_t>(to_row));
    std::size_t r = 0;
    if (inner_.count == 1 && tile.step[output_] == item && inner_.stride[0][output_] > 0) {
      // Whole packs of neighbouring rows; what follows them belongs to other tiles.
      const auto step = static_cast<std::size_t>(inner_.stride[0][output_] / item);
      r = tile.rows / (64 / sizeof(T)) * (64 / sizeof(T));
      if (r != 0) {
        transpose_(results, static_cast<std::ptrdiff_t>(to_row), r, n,
                   reinterpret_cast<T*>(row(tile, 0)) + begin * step, step);
      }
    }
    for (; r < tile.rows; ++r) scatter(inner_, output_, begin, begin + n, results + r * to_row, row(tile, r));
  }

  void write(RowMap<T> map, const Tile& tile, const RowBatch<T>& in, std::size_t begin, int thread,
             const RowFactors* factors, const Setting& setting) const {
    write(tile, begin, in.n, thread,
          [&](T* out, std::ptrdiff_t stride) { map(RowMapBatch<T>{in, factors, out, stride}, setting); });
  }

  /// Maps a tile as columns; tells which rows are done.
  std::uint64_t write_columns(ColumnMap<T> map, const Tile& tile, std::size_t n, const RowStates& known,
                              const RowFactors* factors, const Kept<T>& kept) const {
    const std::uint64_t every = first_bits(tile.rows);
    ColumnMapBatch<T> batch{known,
                            factors,
                            tile.rows,
                            n,
                            kept.columns,
                            kept.step,
                            kept.exponentials,
                            kept.results.columns,
                            kept.results.stride};
    if (kept.results.rows == nullptr) return every & map(batch);
    batch.out = kept.mapped;
    batch.out_step = tile_rows;
    const std::uint64_t done = every & map(batch);
    prefetch_after(row(tile, 0), tile.step[output_], tile.rows, n * sizeof(T));
    columns_to_rows_(kept.mapped, done, n, kept.results.rows, kept.results.stride);
    return done;
  }

 private:
  static constexpr auto item = Inputs<T>::item;
  static constexpr std::size_t results_size = Inputs<T>::buffer_size + tile_rows * Inputs<T>::rows_in_line;

  std::ptrdiff_t row_stride(const Tile& tile) const { return tile.step[output_] / item; }

  decltype(Kernels<T>::transpose) transpose_;
  decltype(Kernels<T>::columns_to_rows) columns_to_rows_;
  const Dims& inner_;
  int output_;
  char* out_;
  bool direct_;
  std::unique_ptr<T[]> results_;
};

/// What a tile's rows let know, in natural units, of the results of some of them.
inline void note_states(RowStates& known, std::size_t to, const RowStates& states, std::size_t rows,
                        const Setting& setting, std::uint64_t skip) {
  constexpr int sums = RowStates::second_result + 1;
  const double natural = 1 / setting.one;
  const auto note = [&](double* kept, const double* from, double by) {
    if (skip == 0 && by == 1) {
      std::copy_n(from, rows, kept + to);
      return;
    }
    for (std::size_t r = 0; r < rows; ++r) {
      if ((skip >> r & 1) == 0) kept[to + r] = from[r] * by;
    }
  };
  for (int k = 0; k < RowStates::max_maxima; ++k) note(known.max[k], states.max[k], 1);
  for (int k = 0; k < sums; ++k) {
    note(known.hi[k], states.hi[k], natural);
    note(known.lo[k], states.lo[k], natural);
  }
}

/// Maps the rows of a tile, or what was kept of them.
template <class T>
void map_tile(RowJob<T>& job, const RowOutput<T>& out, RowMap<T> rows, ColumnMap<T> columns, const Tile& tile,
              const RowStates& known, const RowFactors* factors, const Setting& setting, const Kept<T>& kept) {
  const auto map_rows = [&](const Tile& some, const RowStates& of_some, const RowFactors* by) {
    job.for_blocks(
        some, &of_some,
        [&](const RowBatch<T>& in, std::size_t begin, int thread) {
          out.write(rows, some, in, begin, thread, by, setting);
        },
        kept);
  };
  if (kept.columns == nullptr) return map_rows(tile, known, factors);
  std::uint64_t left = first_bits(tile.rows) & ~out.write_columns(columns, tile, job.length(), known, factors, kept);
  // A column by itself takes as long as several: beyond a few, all of them are mapped again.
  constexpr int few = 4;
  if (kept.results.columns != nullptr && __builtin_popcountll(left) > few) return map_rows(tile, known, factors);
  for (; left != 0; left &= left - 1) {
    const auto r = static_cast<std::size_t>(__builtin_ctzll(left));
    RowStates one;
    copy_row(known, r, one, 0);
    RowFactors factor{};
    if (factors != nullptr) {
      factor.hi[0] = factors->hi[r];
      factor.lo[0] = factors->lo[r];
    }
    map_rows(tile.row(r), one, factors == nullptr ? nullptr : &factor);
  }
}

/// A kernel that makes a row of each row.
template <class T>
class RowMapJob {
 public:
  RowMapJob(const Kernels<T>& kernels, const RowMapKernel<T>& kernel, Operands& operands, DType dtype,
            const Dims& inner, const Dims& outer, char* out)
      : kernel_(kernel), job_(kernels, operands, dtype, inner, outer), out_(kernels, inner, Dims::output, out) {}

  std::size_t elements() const { return job_.elements(); }

  void prepare() {
    job_.prepare(true);
    out_.prepare(job_.threads());
  }

  void run() {
    job_.for_all_tiles([&](const Tile& tile) {
      RowStates known;
      const Place<T> place = out_.place(tile);
      Kept<T> kept;
      // Without them, results are not made of what is kept.
      if (kernel_.columns != nullptr) {
        kept = job_.keep(*kernel_.normalizer, tile, place, kernel_.of_exponentials);
      }
      const auto evaluate = [&](const Tile& rows, const Setting& setting, RowStates& states) {
        job_.evaluate(*kernel_.normalizer, rows, setting, states, rows.rows == tile.rows ? kept : Kept<T>{});
      };
      const auto map = [&](const RowStates& of_all) {
        map_tile(job_, out_, kernel_.rows, kernel_.columns, tile, of_all, nullptr, Setting{}, kept);
      };
      bool mapped = false;
      with_results<T>(tile, Setting{}, evaluate,
                      [&](const Tile& rows, const RowStates& states, const Setting& setting, std::uint64_t skip) {
                        // The last call has all rows, mostly as they are wanted.
                        mapped = rows.rows == tile.rows && setting.one == 1 && skip == 0;
                        if (mapped) return map(states);
                        note_states(known, rows.first - tile.first, states, rows.rows, setting, skip);
                      });
      if (!mapped) map(known);
    });
  }

 private:
  const RowMapKernel<T>& kernel_;
  RowJob<T> job_;
  RowOutput<T> out_;
};

}  // namespace kullback
