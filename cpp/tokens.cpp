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
      : kernels_(kernels),
        kernel_(kernel),
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
    static_assert(tile_rows <= UINT8_MAX);
    std::size_t count;
    std::ptrdiff_t token_at, token_step, out_at, out_step;  ///< in bytes
    std::uint8_t row[tile_rows];                            ///< each one's, in its tile
  };

  /// Cuts a tile's tokens into runs of one step: all of them where they lie one after the other, or those of a row, or
  /// one of every row.
  template <class F>
  void for_token_runs(const Tile& tile, F f) const {
    const auto rows = static_cast<std::uint8_t>(tile.rows);
    const std::ptrdiff_t of_row = tile.step[Dims::labels], out_of_row = tile.step[Dims::output];
    const auto per_row = static_cast<std::ptrdiff_t>(tokens_per_row_);
    const auto cut = [&](std::ptrdiff_t token, std::ptrdiff_t token_step, std::ptrdiff_t out, std::ptrdiff_t out_step,
                         std::size_t count, auto next_row) {
      Run run;
      for (std::size_t first = 0; first < count; first += tile_rows) {
        const auto done = static_cast<std::ptrdiff_t>(first);
        run.count = std::min(tile_rows, count - first);
        run.token_at = tile.at[Dims::labels] + token + done * token_step;
        run.token_step = token_step;
        run.out_at = tile.at[Dims::output] + out + done * out_step;
        run.out_step = out_step;
        for (std::size_t i = 0; i < run.count; ++i) run.row[i] = next_row();
        f(run);
      }
    };
    if (per_row == 1) {
      cut(0, of_row, 0, out_of_row, tile.rows, [row = std::uint8_t{0}]() mutable { return row++; });
    } else if (of_row == per_row * token_stride_ && out_of_row == per_row * out_stride_) {
      const auto next_row = [this, row = std::uint8_t{0}, k = std::size_t{0}]() mutable {
        if (k == tokens_per_row_) {
          k = 0;
          ++row;
        }
        ++k;
        return row;
      };
      cut(0, token_stride_, 0, out_stride_, tile.rows * tokens_per_row_, next_row);
    } else if (tile.rows < tokens_per_row_) {
      for (std::uint8_t r = 0; r < rows; ++r) {
        cut(r * of_row, token_stride_, r * out_of_row, out_stride_, tokens_per_row_, [r] { return r; });
      }
    } else {
      for (std::ptrdiff_t k = 0; k < per_row; ++k) {
        cut(k * token_stride_, of_row, k * out_stride_, out_of_row, tile.rows,
            [row = std::uint8_t{0}]() mutable { return row++; });
      }
    }
  }

  void work_on(const Tile& tile, const RowStates& states, const Run& run) {
    std::int64_t token[tile_rows];
    tokens_.read(token, run.token_at, run.token_step, run.count);
    double logit[tile_rows];
    if (tokens_.all_in_range(token, run.count)) {
      const std::ptrdiff_t row_step = tile.step[0], class_step = class_stride_;
      logits_.read(logit, run.count,
                   [&, at = tile.at[0]](std::size_t i) { return at + run.row[i] * row_step + token[i] * class_step; });
    } else {
      bad_token_.store(true, std::memory_order_relaxed);
      std::fill_n(logit, run.count, std::nan(""));
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

  void losses_of(const Tile& tile, const RowStates& states, const Run& run, const double* logit, T* results) {
    const auto evaluate = [&](const RowStates& normalizers, const std::uint8_t* row, const double* at,
                              std::size_t count, const Setting& setting, RowStates& losses, T* to) {
      for (std::size_t i = 0; i < count; ++i) {
        losses.max[0][i] = normalizers.max[0][row[i]];
        losses.hi[0][i] = normalizers.hi[0][row[i]];
        // Nothing reads the low parts of float32 losses.
        if constexpr (sizeof(T) == sizeof(double)) losses.lo[0][i] = normalizers.lo[0][row[i]];
      }
      kernel_.loss(losses, count, LossTerms{at, nullptr, nullptr, false}, setting);
      kernels_.round(losses, count, scale_, setting, to);
    };
    RowStates losses;
    evaluate(states, run.row, logit, run.count, Setting{}, losses, results);
    for (std::size_t i = 0; i < run.count; ++i) {
      if (!drowned<T>(losses.hi[0][i])) continue;
      Setting magnified;
      magnified.one = magnified.mass_unit = magnification;
      RowStates again, normalizer;
      job_.evaluate(kernel_.normalizer, tile.row(run.row[i]), magnified, normalizer);
      constexpr std::uint8_t first = 0;
      evaluate(normalizer, &first, logit + i, 1, magnified, again, results + i);
    }
  }

  const Kernels<T>& kernels_;
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
