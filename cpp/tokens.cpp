/// token_logprobs: the log-probabilities of chosen classes.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "calls.hpp"
#include "labels.hpp"

namespace kullback {

namespace {

template <class T>
class TokenJob {
 public:
  TokenJob(const Kernels<T>& kernels, const TokenKernel<T>& kernel, const Operand& logits, const Labels& tokens,
           std::size_t tokens_per_row, std::ptrdiff_t token_stride, std::ptrdiff_t out_stride,
           std::ptrdiff_t class_stride, Partial scale, DType dtype, const Dims& inner, const Dims& outer, char* out)
      : kernel_(kernel),
        operands_{&logits},
        job_(kernels, operands_, dtype, inner, outer),
        logits_(logits, dtype),
        tokens_(tokens),
        tokens_per_row_(tokens_per_row),
        token_stride_(token_stride),
        out_stride_(out_stride),
        class_stride_(class_stride),
        scale_{-scale.hi, -scale.lo},
        out_(out) {}

  std::size_t elements() const { return job_.elements(); }
  void prepare() { job_.prepare(); }
  bool met_bad_token() const { return bad_token_.load(std::memory_order_relaxed); }

  void run() {
    job_.for_all_tiles([&](const Tile& tile) {
      RowStates states;
      job_.evaluate(kernel_.normalizer, tile, Setting{}, states);
      for_token_runs(tile, [&](const Run& run) { work_on(tile, states, run); });
    });
  }

 private:
  /// Tokens that are worked on together, and their results.
  struct Run {
    std::size_t count;
    std::ptrdiff_t token_at, token_step, out_at, out_step;  ///< in bytes
    std::size_t row;                                        ///< the first token's, in its tile
    std::size_t left;                                       ///< how many of its tokens are left
    std::size_t per_row;                                    ///< and how many there are in the rows after it
  };

  /// Cuts a tile's tokens into runs of one step: all of them where they lie one after the other, or those of a row, or
  /// one of every row.
  template <class F>
  void for_token_runs(const Tile& tile, F f) const {
    const std::ptrdiff_t of_row = tile.step[Dims::labels], out_of_row = tile.step[Dims::output];
    const auto per_row = static_cast<std::ptrdiff_t>(tokens_per_row_);
    // Of `row` and those after it, `of_each` tokens of each.
    const auto cut = [&](std::size_t row, std::size_t of_each, std::ptrdiff_t token, std::ptrdiff_t token_step,
                         std::ptrdiff_t out, std::ptrdiff_t out_step, std::size_t count) {
      Run run;
      run.token_step = token_step;
      run.out_step = out_step;
      run.per_row = of_each;
      for (std::size_t first = 0; first < count; first += tile_rows) {
        const auto done = static_cast<std::ptrdiff_t>(first);
        run.count = std::min(tile_rows, count - first);
        run.token_at = tile.at[Dims::labels] + token + done * token_step;
        run.out_at = tile.at[Dims::output] + out + done * out_step;
        run.row = row + first / of_each;
        run.left = of_each - first % of_each;
        f(run);
      }
    };
    if (per_row == 1) {
      cut(0, 1, 0, of_row, 0, out_of_row, tile.rows);
    } else if (of_row == per_row * token_stride_ && out_of_row == per_row * out_stride_) {
      cut(0, tokens_per_row_, 0, token_stride_, 0, out_stride_, tile.rows * tokens_per_row_);
    } else if (tile.rows < tokens_per_row_) {
      for (std::size_t r = 0; r < tile.rows; ++r) {
        const auto row = static_cast<std::ptrdiff_t>(r);
        cut(r, tokens_per_row_, row * of_row, token_stride_, row * out_of_row, out_stride_, tokens_per_row_);
      }
    } else {
      for (std::ptrdiff_t k = 0; k < per_row; ++k) {
        cut(0, 1, k * token_stride_, of_row, k * out_stride_, out_of_row, tile.rows);
      }
    }
  }

  /// Calls f(row, begin, end) for the rows of a run's tokens.
  template <class F>
  static void for_rows(const Run& run, F f) {
    std::size_t begin = 0, end = std::min(run.left, run.count);
    for (std::size_t row = run.row; begin < run.count; ++row) {
      f(row, begin, end);
      begin = end;
      end = std::min(begin + run.per_row, run.count);
    }
  }

  void work_on(const Tile& tile, const RowStates& states, const Run& run) {
    std::int64_t token[tile_rows];
    tokens_.read(token, run.token_at, run.token_step, run.count);
    double logit[tile_rows];
    if (!tokens_.all_in_range(token, run.count)) {
      bad_token_.store(true, std::memory_order_relaxed);
      std::fill_n(logit, run.count, std::nan(""));
    } else if (run.per_row == 1) {
      const std::ptrdiff_t at = tile.at[0], step = tile.step[0], class_step = class_stride_;
      logits_.read(logit, run.count,
                   [&](std::size_t i) { return at + static_cast<std::ptrdiff_t>(i) * step + token[i] * class_step; });
    } else {
      for_rows(run, [&](std::size_t row, std::size_t begin, std::size_t end) {
        const std::ptrdiff_t at = tile.at[0] + static_cast<std::ptrdiff_t>(row) * tile.step[0];
        logits_.read(logit + begin, end - begin, [&](std::size_t i) { return at + token[begin + i] * class_stride_; });
      });
    }
    T results[tile_rows];
    losses_of(tile, states, run, logit, results);
    char* out = out_ + run.out_at;
    if (run.out_step == static_cast<std::ptrdiff_t>(sizeof(T))) {
      std::memcpy(out, results, run.count * sizeof(T));
      return;
    }
    for (std::size_t i = 0; i < run.count; ++i, out += run.out_step) std::memcpy(out, &results[i], sizeof(T));
  }

  /// Elements [begin, end) become x; those after them may as well. Eight at a time, there is less to store.
  static void repeat(double (&to)[tile_rows], double x, std::size_t begin, std::size_t end) {
    constexpr std::size_t some = 8;
    for (; begin < end; begin += some) {
      if (begin > tile_rows - some) return std::fill(to + begin, to + end, x);
      std::fill_n(to + begin, some, x);
    }
  }

  void losses_of(const Tile& tile, const RowStates& states, const Run& run, const double* logit, T* results) {
    std::uint64_t drowned = first_bits(run.count);
    if (run.per_row == 1) {
      // One of each row.
      drowned &= kernel_.losses(states, run.count, logit, scale_, Setting{}, results);
    } else {
      RowStates chosen;
      for_rows(run, [&](std::size_t row, std::size_t begin, std::size_t end) {
        repeat(chosen.max[0], states.max[0][row], begin, end);
        repeat(chosen.hi[0], states.hi[0][row], begin, end);
        // Nothing reads the low parts of float32 losses.
        if constexpr (sizeof(T) == sizeof(double)) repeat(chosen.lo[0], states.lo[0][row], begin, end);
      });
      drowned &= kernel_.losses(chosen, run.count, logit, scale_, Setting{}, results);
    }
    if (sizeof(T) != sizeof(double) || drowned == 0) return;
    for_rows(run, [&](std::size_t row, std::size_t begin, std::size_t end) {
      const std::uint64_t of_row = drowned & first_bits(end) & ~(first_bits(begin + 1) >> 1);
      if (of_row == 0) return;
      Setting magnified;
      magnified.one = magnified.mass_unit = magnification;
      RowStates again;
      job_.evaluate(kernel_.normalizer, tile.row(row), magnified, again);
      for (std::uint64_t left = of_row; left != 0; left &= left - 1) {
        const int i = __builtin_ctzll(left);
        kernel_.losses(again, 1, logit + i, scale_, magnified, results + i);
      }
    });
  }

  const TokenKernel<T>& kernel_;
  const std::array<const Operand*, max_inputs> operands_;
  RowJob<T> job_;
  Lookup<T> logits_;
  const Labels& tokens_;
  std::size_t tokens_per_row_;
  std::ptrdiff_t token_stride_, out_stride_, class_stride_;
  Partial scale_;
  char* out_;
  std::atomic<bool> bad_token_{false};
};

}  // namespace

py::object token_logprobs(const Member<TokenKernel>& member, py::handle logits, py::handle tokens, py::handle axis,
                          py::handle base, py::handle out) {
  const Operand z("logits", logits, false), t("tokens", tokens, false);
  const int class_axis = parse_class_axis(axis, z.ndim());
  const Shape shape = shape_of(z), row_shape = without(shape, class_axis);
  const bool several = t.ndim() == z.ndim();
  if (!t.integer()) {
    throw py::type_error("tokens has dtype " + t.dtype_name() + "; expected an integer dtype");
  }
  Shape result_shape = several ? shape : row_shape;
  if (several) result_shape.length[class_axis] = t.length(class_axis);
  if (!has_shape(t, result_shape)) {
    throw py::value_error("tokens has shape " + show(shape_of(t)) + " and logits " + show(shape) +
                          "; expected tokens of shape " + show(row_shape) + ", or with any number of them along axis " +
                          std::to_string(class_axis));
  }
  const Labels classes(t, static_cast<std::size_t>(shape.length[class_axis]));
  const DType dtype = result_dtype({&z});
  const Partial scale = parse_base(base);
  Output output(out, result_shape, dtype);
  Operands of_logits = {&z}, of_tokens = {&t};
  output.separate_from(of_logits, shape, false);
  output.separate_from(of_tokens, result_shape, false);
  if (output.is_callers()) classes.check(t, "token");

  Dims inner, outer;
  for (int d = 0, row_d = 0; d < shape.ndim; ++d) {
    std::ptrdiff_t strides[Dims::operands] = {};
    strides[0] = z.stride(d);
    const auto length = static_cast<std::size_t>(shape.length[d]);
    if (d == class_axis) {
      inner.append(length, strides);
      if (several) ++row_d;
      continue;
    }
    strides[Dims::output] = output.stride(row_d);
    strides[Dims::labels] = t.stride(row_d);
    outer.append(length, strides);
    ++row_d;
  }
  outer.closest_last(inner);
  const auto per_row = several ? static_cast<std::size_t>(t.length(class_axis)) : std::size_t{1};
  with_kernels(dtype, [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    TokenJob<T> job(kernels, select(kernels, member), z, classes, per_row, several ? t.stride(class_axis) : 0,
                    several ? output.stride(class_axis) : 0, z.stride(class_axis), scale, dtype, inner, outer,
                    output.data());
    if (per_row != 0) execute(job);
    if (job.met_bad_token()) classes.check(t, "token");
  });
  return output.result();
}

}  // namespace kullback
