/// Runs elementwise kernels over arrays.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>

#include "inputs.hpp"
#include "parallel.hpp"

namespace kullback {

/// One of the elementwise kernels that run over some arrays.
template <class T>
struct MapStep {
  MapKernel<T> kernel;
  std::array<int, max_inputs> inputs;  ///< which of the arrays are the kernel's inputs
  Partial scale;
  char* out;
};

template <class T>
struct MapSteps {
  MapStep<T> step[3];
  int count = 0;

  void add(const MapStep<T>& next) { step[count++] = next; }
};

/// Elementwise kernels over all elements of some arrays, one after the other for each block.
template <class T>
class MapJob {
 public:
  MapJob(const MapSteps<T>& steps, Operands& operands, DType dtype, const Dims& dims, const Dims& none,
         const Setting& setting)
      : steps_(steps), dims_(dims), inputs_(operands, dtype, dims, none), setting_(setting) {
    for (int s = 0; s < steps.count; ++s) out_direct_ = out_direct_ && dims.contiguous(Dims::output + s, item);
  }

  std::size_t elements() const { return dims_.size(); }

  void prepare() {
    threads_ = threads_for(elements());
    inputs_.allocate_buffers(threads_);
    if (!out_direct_) results_.reset(new T[static_cast<std::size_t>(threads_) * block_size]);
  }

  void run() {
    parallel_for(elements(), threads_, [&](std::size_t begin, std::size_t end, int thread) {
      // Without copies there is nothing to keep in a cache.
      const bool whole = inputs_.all_direct() && out_direct_ && steps_.count == 1;
      const std::size_t step = whole ? end - begin : block_size;
      for (; begin < end; begin += step) piece(begin, std::min(begin + step, end), thread);
    });
  }

 private:
  static constexpr auto item = Inputs<T>::item;

  void piece(std::size_t begin, std::size_t end, int thread) const {
    const T* in[max_inputs] = {};
    for (int i = 0; i < inputs_.count(); ++i) in[i] = inputs_.fetch(i, 0, 0, 1, begin, end, 0, thread);
    for (int s = 0; s < steps_.count; ++s) {
      const MapStep<T>& step = steps_.step[s];
      MapBatch<T> batch{};
      for (int i = 0; i < max_inputs; ++i) batch.in[i] = in[step.inputs[static_cast<std::size_t>(i)]];
      batch.n = end - begin;
      batch.scale = step.scale;
      batch.out = out_direct_ ? reinterpret_cast<T*>(step.out) + begin
                              : results_.get() + static_cast<std::size_t>(thread) * block_size;
      step.kernel(batch, setting_);
      if (!out_direct_) scatter(dims_, Dims::output + s, begin, end, batch.out, step.out);
    }
  }

  MapSteps<T> steps_;
  const Dims& dims_;
  Inputs<T> inputs_;
  bool out_direct_ = true;
  Setting setting_;
  int threads_ = 1;
  std::unique_ptr<T[]> results_;
};

}  // namespace kullback
