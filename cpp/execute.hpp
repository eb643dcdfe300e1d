/// Runs kernels over arrays: gathers what is not contiguous, cuts the work into rows and blocks, spreads it over
/// threads.
///
/// A row that is not contiguous, aligned and of the kernel's type is copied, block by block, into a buffer that the
/// thread reuses, so that every layout meets the same kernel and none costs a copy of the array.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "arrays.hpp"
#include "parallel.hpp"

namespace kullback {

/// What is common to reductions and elementwise kernels: the inputs and where they have to be gathered.
template <class T>
class Inputs {
 public:
  /// Elements of one input's buffer: a few blocks, which stay in the second-level cache.
  static constexpr std::size_t buffer_size = 8 * (block_size + 16);

  Inputs(Operands& operands, DType dtype, const Dims& inner, const Dims& outer) : inner_(inner) {
    for (const Operand* operand : operands) {
      if (operand == nullptr) break;
      const int i = count_++;
      data_[i] = operand->data(dtype);
      gather_[i] = gather_as<T>(operand->source());
      bool strides_fit = reinterpret_cast<std::uintptr_t>(data_[i]) % alignof(T) == 0;
      for (int d = 0; d < outer.count; ++d) strides_fit = strides_fit && outer.stride[i][d] % item == 0;
      readable_[i] = (operand->native(dtype) || operand->weak()) && strides_fit;
      direct_[i] = readable_[i] && inner.contiguous(i, item);
      all_direct_ = all_direct_ && direct_[i];
    }
  }

  static constexpr auto item = static_cast<std::ptrdiff_t>(sizeof(T));

  int count() const { return count_; }
  bool direct(int i) const { return direct_[i]; }
  bool all_direct() const { return all_direct_; }

  /// Whether rows can be read where they are, as columns: neighbours next to each other, elements a fixed step apart.
  bool side_by_side(const Dims& outer) const {
    if (inner_.count != 1 || outer.count == 0) return false;
    for (int i = 0; i < count_; ++i) {
      if (!readable_[i] || outer.stride[i][outer.count - 1] != item || inner_.stride[i][0] % item != 0) return false;
    }
    return true;
  }

  const T* element(int i, std::ptrdiff_t offset) const { return reinterpret_cast<const T*>(data_[i] + offset); }

  void allocate_buffers(int threads) {
    if (!all_direct_) buffers_.reset(new T[static_cast<std::size_t>(threads * count_) * buffer_size]);
  }

  T* buffer(int thread, int i) const {
    return buffers_.get() + static_cast<std::size_t>(thread * count_ + i) * buffer_size;
  }

  /// Elements [begin, end) of `rows` rows: where they are already, or copied to the thread's buffer, `to_row` apart.
  const T* fetch(int i, std::ptrdiff_t offset, std::ptrdiff_t row_step, std::size_t rows, std::size_t begin,
                 std::size_t end, std::ptrdiff_t to_row, int thread) const {
    const char* base = data_[i] + offset;
    if (direct_[i]) return reinterpret_cast<const T*>(base) + begin;
    T* const start = buffer(thread, i);
    T* to = start;
    inner_.for_runs(begin, end, [&](const std::ptrdiff_t* run_offset, std::size_t run) {
      const std::ptrdiff_t step = inner_.count == 0 ? 0 : inner_.stride[i][inner_.count - 1];
      gather_[i](to, to_row, base + run_offset[i], row_step, step, rows, run);
      to += run;
    });
    return start;
  }

 private:
  const Dims& inner_;
  int count_ = 0;
  const char* data_[max_inputs] = {};
  Gather<T> gather_[max_inputs] = {};
  bool readable_[max_inputs] = {};
  bool direct_[max_inputs] = {};
  bool all_direct_ = true;
  std::unique_ptr<T[]> buffers_;
};

/// A reduction of all rows of some arrays.
template <class T>
class RowJob {
 public:
  RowJob(const RowKernel<T>& kernel, Operands& operands, DType dtype, const Dims& inner, const Dims& outer, char* out,
         Partial scale)
      : kernel_(kernel),
        inner_(inner),
        outer_(outer),
        inputs_(operands, dtype, inner, outer),
        out_(out),
        scale_(scale),
        n_(inner.size()),
        rows_(outer.size()) {}

  std::size_t elements() const { return n_ * rows_; }

  /// May throw std::bad_alloc, before anything is written.
  void prepare() {
    if (rows_ == 0) return;
    threads_ = threads_for(elements());
    // Few long rows: the threads share the blocks of each. The order in which blocks are added is the same.
    const int row_threads = threads_for(n_);
    share_rows_ = row_threads > 1 && rows_ < 4 * static_cast<std::size_t>(threads_);
    if (share_rows_) {
      threads_ = row_threads;
      partials_.resize((n_ + block_size - 1) / block_size);
    }
    side_by_side_ = !share_rows_ && !inputs_.all_direct() && inputs_.side_by_side(outer_);
    inputs_.allocate_buffers(threads_);
  }

  void run() {
    if (share_rows_) {
      outer_.for_runs(0, rows_, [&](const std::ptrdiff_t* offset, std::size_t count) {
        for (std::size_t row = 0; row < count; ++row) {
          std::ptrdiff_t at[max_inputs + 1];
          for (int i = 0; i <= max_inputs; ++i) at[i] = offset[i] + static_cast<std::ptrdiff_t>(row) * row_step(i);
          shared_row(at);
        }
      });
      return;
    }
    parallel_for(rows_, threads_, [&](std::size_t begin, std::size_t end, int thread) {
      outer_.for_runs(begin, end, [&](const std::ptrdiff_t* offset, std::size_t count) {
        if (side_by_side_) {
          columns(offset, count, thread);
        } else if (n_ <= block_size) {
          short_rows(offset, count, thread);
        } else {
          long_rows(offset, count, thread);
        }
      });
    });
  }

 private:
  static constexpr auto item = Inputs<T>::item;

  std::ptrdiff_t row_step(int i) const { return outer_.count == 0 ? 0 : outer_.stride[i][outer_.count - 1]; }

  /// Rows that a buffer holds when each takes `length` elements, and a cache line more against equal cache sets.
  std::size_t tile(std::size_t length, std::ptrdiff_t& to_row) const {
    to_row = static_cast<std::ptrdiff_t>(length + 64 / sizeof(T));
    return Inputs<T>::buffer_size / static_cast<std::size_t>(to_row);
  }

  void short_rows(const std::ptrdiff_t* offset, std::size_t count, int thread) const {
    std::ptrdiff_t to_row = 0;
    const std::size_t most = inputs_.all_direct() ? count : tile(n_, to_row);
    for (std::size_t first = 0; first < count; first += most) {
      RowBatch<T> batch{};
      batch.rows = std::min(most, count - first);
      batch.n = n_;
      batch.scale = scale_;
      const auto skip = static_cast<std::ptrdiff_t>(first);
      for (int i = 0; i < inputs_.count(); ++i) {
        const std::ptrdiff_t at = offset[i] + skip * row_step(i);
        batch.in[i] = inputs_.fetch(i, at, row_step(i), batch.rows, 0, n_, to_row, thread);
        batch.row_stride[i] = inputs_.direct(i) ? row_step(i) / item : to_row;
      }
      batch.out = reinterpret_cast<T*>(out_ + offset[Dims::output] + skip * row_step(Dims::output));
      batch.out_stride = row_step(Dims::output) / item;
      kernel_.rows(batch);
    }
  }

  /// Several rows at a time, where they have to be gathered, so that neighbouring columns share cache lines.
  void long_rows(const std::ptrdiff_t* offset, std::size_t count, int thread) const {
    constexpr std::size_t most_rows = 8;
    const auto to_row = static_cast<std::ptrdiff_t>(block_size + 64 / sizeof(T));
    const std::size_t most = inputs_.all_direct() ? 1 : most_rows;
    for (std::size_t first = 0; first < count; first += most) {
      const std::size_t rows = std::min(most, count - first);
      std::ptrdiff_t at[max_inputs + 1];
      for (int i = 0; i <= max_inputs; ++i) at[i] = offset[i] + static_cast<std::ptrdiff_t>(first) * row_step(i);
      Partial totals[most_rows] = {};
      for (std::size_t begin = 0; begin < n_; begin += block_size) {
        const std::size_t end = std::min(begin + block_size, n_);
        const T* in[max_inputs] = {};
        for (int i = 0; i < inputs_.count(); ++i) {
          in[i] = inputs_.fetch(i, at[i], row_step(i), rows, begin, end, to_row, thread);
        }
        for (std::size_t row = 0; row < rows; ++row) {
          totals[row] = combine(totals[row], kernel_.block(in, end - begin, false));
          for (int i = 0; i < inputs_.count(); ++i) in[i] += inputs_.direct(i) ? row_step(i) / item : to_row;
        }
      }
      for (std::size_t row = 0; row < rows; ++row) {
        finish_row(at, totals[row], thread);
        for (int i = 0; i <= max_inputs; ++i) at[i] += row_step(i);
      }
    }
  }

  void columns(const std::ptrdiff_t* offset, std::size_t count, int thread) const {
    constexpr std::size_t most = 64;
    for (std::size_t first = 0; first < count; first += most) {
      std::ptrdiff_t at[max_inputs + 1];
      for (int i = 0; i <= max_inputs; ++i) at[i] = offset[i] + static_cast<std::ptrdiff_t>(first) * row_step(i);
      ColumnBatch<T> batch{};
      batch.columns = std::min(most, count - first);
      Partial totals[most] = {}, partials[most];
      batch.out = partials;
      for (std::size_t begin = 0; begin < n_; begin += block_size) {
        batch.n = std::min(block_size, n_ - begin);
        for (int i = 0; i < inputs_.count(); ++i) {
          batch.step[i] = inner_.stride[i][0] / item;
          batch.in[i] = inputs_.element(i, at[i]) + static_cast<std::ptrdiff_t>(begin) * batch.step[i];
        }
        kernel_.columns(batch);
        for (std::size_t column = 0; column < batch.columns; ++column) {
          totals[column] = n_ <= block_size ? partials[column] : combine(totals[column], partials[column]);
        }
      }
      for (std::size_t column = 0; column < batch.columns; ++column) {
        finish_row(at, totals[column], thread);
        for (int i = 0; i <= max_inputs; ++i) at[i] += row_step(i);
      }
    }
  }

  Partial block(const std::ptrdiff_t* at, std::size_t index, bool magnified, int thread) const {
    const std::size_t begin = index * block_size, end = std::min(begin + block_size, n_);
    const T* in[max_inputs] = {};
    for (int i = 0; i < inputs_.count(); ++i) in[i] = inputs_.fetch(i, at[i], 0, 1, begin, end, 0, thread);
    return kernel_.block(in, end - begin, magnified);
  }

  void shared_row(const std::ptrdiff_t* at) {
    parallel_for(partials_.size(), threads_, [&](std::size_t begin, std::size_t end, int thread) {
      for (std::size_t b = begin; b < end; ++b) partials_[b] = block(at, b, false, thread);
    });
    Partial total{};
    for (const Partial& partial : partials_) total = combine(total, partial);
    finish_row(at, total, 0);
  }

  void finish_row(const std::ptrdiff_t* at, Partial total, int thread) const {
    bool magnified = false;
    if (drowned<T>(total)) {
      Partial again{};
      for (std::size_t b = 0; b * block_size < n_; ++b) again = combine(again, block(at, b, true, thread));
      magnified = __builtin_isfinite(again.hi);
      if (magnified) total = again;
    }
    *reinterpret_cast<T*>(out_ + at[Dims::output]) = kernel_.finish(total, magnified, scale_);
  }

  const RowKernel<T>& kernel_;
  const Dims& inner_;
  const Dims& outer_;
  Inputs<T> inputs_;
  char* out_;
  Partial scale_;
  std::size_t n_, rows_;
  int threads_ = 1;
  bool share_rows_ = false;
  bool side_by_side_ = false;
  std::vector<Partial> partials_;
};

/// An elementwise kernel over all elements of an array.
template <class T>
class MapJob {
 public:
  MapJob(MapKernel<T> kernel, Operands& operands, DType dtype, const Dims& dims, const Dims& none, char* out,
         Partial scale)
      : kernel_(kernel),
        dims_(dims),
        inputs_(operands, dtype, dims, none),
        out_(out),
        out_direct_(dims.contiguous(Dims::output, item)),
        scale_(scale) {}

  std::size_t elements() const { return dims_.size(); }

  void prepare() {
    threads_ = threads_for(elements());
    inputs_.allocate_buffers(threads_);
    if (!out_direct_) results_.reset(new T[static_cast<std::size_t>(threads_) * block_size]);
  }

  void run() {
    parallel_for(elements(), threads_, [&](std::size_t begin, std::size_t end, int thread) {
      // Without copies there is nothing to keep in a cache.
      const std::size_t step = inputs_.all_direct() && out_direct_ ? end - begin : block_size;
      for (; begin < end; begin += step) piece(begin, std::min(begin + step, end), thread);
    });
  }

 private:
  static constexpr auto item = Inputs<T>::item;

  void piece(std::size_t begin, std::size_t end, int thread) const {
    const T* in[max_inputs] = {};
    for (int i = 0; i < inputs_.count(); ++i) in[i] = inputs_.fetch(i, 0, 0, 1, begin, end, 0, thread);
    if (out_direct_) {
      kernel_(in, end - begin, reinterpret_cast<T*>(out_) + begin, scale_);
      return;
    }
    T* results = results_.get() + static_cast<std::size_t>(thread) * block_size;
    kernel_(in, end - begin, results, scale_);
    const std::ptrdiff_t step = dims_.stride[Dims::output][dims_.count - 1];
    dims_.for_runs(begin, end, [&](const std::ptrdiff_t* offset, std::size_t run) {
      char* to = out_ + offset[Dims::output];
      for (std::size_t i = 0; i < run; ++i, to += step) std::memcpy(to, results++, sizeof(T));
    });
  }

  MapKernel<T> kernel_;
  const Dims& dims_;
  Inputs<T> inputs_;
  char* out_;
  bool out_direct_;
  Partial scale_;
  int threads_ = 1;
  std::unique_ptr<T[]> results_;
};

}  // namespace kullback
