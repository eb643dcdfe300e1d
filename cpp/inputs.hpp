/// Brings arrays to kernels and results back: gathers what is not contiguous.
///
/// A row that is not contiguous, aligned and of the kernel's type is copied, block by block, into a buffer that the
/// thread reuses, so that every layout meets the same kernel and none costs a copy of the array.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "arrays.hpp"

namespace kullback {

/// What is common to reductions and elementwise kernels: the inputs and where they have to be gathered.
template <class T>
class Inputs {
 public:
  /// Elements of one input's buffer: blocks of as many rows as share a cache line where they lie side by side.
  static constexpr std::size_t rows_in_line = 64 / sizeof(T), buffer_size = rows_in_line * (block_size + rows_in_line);

  Inputs(Operands& operands, DType dtype, const Dims& inner, const Dims& outer) : inner_(inner) {
    for (const Operand* operand : operands) {
      if (operand == nullptr) break;
      const int i = count_++;
      data_[i] = operand->data(dtype);
      gather_[i] = gather_as<T>(operand->source());
      bool strides_fit = reinterpret_cast<std::uintptr_t>(data_[i]) % alignof(T) == 0;
      for (int d = 0; d < outer.count; ++d) strides_fit = strides_fit && outer.stride[d][i] % item == 0;
      readable_[i] = (operand->native(dtype) || operand->weak()) && strides_fit;
      direct_[i] = readable_[i] && inner.contiguous(i, item);
      constant_[i] = operand->weak() && !direct_[i];
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
      if (!readable_[i] || outer.stride[outer.count - 1][i] != item || inner_.stride[0][i] % item != 0) return false;
    }
    return true;
  }

  const T* element(int i, std::ptrdiff_t offset) const { return reinterpret_cast<const T*>(data_[i] + offset); }

  void allocate_buffers(int threads) {
    if (all_direct_) return;
    // Small arrays need less, and a large allocation takes its time.
    own_size_ = std::min(buffer_size, (std::min(inner_.size(), block_size) + rows_in_line) * tile_rows);
    buffers_.reset(new T[static_cast<std::size_t>(threads * count_) * own_size_]);
    for (int i = 0; i < count_; ++i) {
      if (!constant_[i]) continue;
      for (int thread = 0; thread < threads; ++thread) {
        gather_[i](buffer(thread, i), 0, data_[i], 0, 0, 1, std::min(block_size, inner_.size()));
      }
    }
  }

  /// Elements from one row of what `fetch` gives to the next.
  std::ptrdiff_t row_stride(int i, std::ptrdiff_t row_step, std::ptrdiff_t to_row) const {
    return constant_[i] ? 0 : direct_[i] ? row_step / item : to_row;
  }

  T* buffer(int thread, int i) const {
    return buffers_.get() + static_cast<std::size_t>(thread * count_ + i) * own_size_;
  }

  /// Elements [begin, end) of `rows` rows: where they are already, or copied to the thread's buffer, `to_row` apart; at
  /// most a block of them. What is the same everywhere stands there already.
  const T* fetch(int i, std::ptrdiff_t offset, std::ptrdiff_t row_step, std::size_t rows, std::size_t begin,
                 std::size_t end, std::ptrdiff_t to_row, int thread) const {
    const char* base = data_[i] + offset;
    if (direct_[i]) return reinterpret_cast<const T*>(base) + begin;
    T* const start = buffer(thread, i);
    if (constant_[i]) return start;
    T* to = start;
    inner_.for_runs(begin, end, [&](const std::ptrdiff_t* run_offset, std::size_t run) {
      const std::ptrdiff_t step = inner_.count == 0 ? 0 : inner_.stride[inner_.count - 1][i];
      gather_[i](to, to_row, base + run_offset[i], row_step, step, rows, run);
      to += run;
    });
    return start;
  }

 private:
  const Dims& inner_;
  int count_ = 0;
  const char* data_[max_inputs];
  Gather<T> gather_[max_inputs];
  bool constant_[max_inputs];
  bool readable_[max_inputs];
  bool direct_[max_inputs];
  bool all_direct_ = true;
  std::size_t own_size_ = 0;
  std::unique_ptr<T[]> buffers_;
};

/// Elements [begin, end) of an output, which `from` holds side by side.
template <class T>
void scatter(const Dims& dims, int output, std::size_t begin, std::size_t end, const T* from, char* out) {
  const std::ptrdiff_t step = dims.count == 0 ? 0 : dims.stride[dims.count - 1][output];
  dims.for_runs(begin, end, [&](const std::ptrdiff_t* offset, std::size_t run) {
    char* to = out + offset[output];
    for (std::size_t i = 0; i < run; ++i, to += step) std::memcpy(to, from++, sizeof(T));
  });
}

}  // namespace kullback
