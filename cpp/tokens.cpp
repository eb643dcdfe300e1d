/// token_logprobs: the log-probabilities of chosen classes.

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
      if (tile.rows < tokens_per_row_) {
        for (std::size_t r = 0; r < tile.rows; ++r) {
          for (std::size_t first = 0; first < tokens_per_row_; first += tile_rows) {
            work_on(tile, states, {{r, 0}, {first, 1}, std::min(tile_rows, tokens_per_row_ - first)});
          }
        }
      } else {
        for (std::size_t k = 0; k < tokens_per_row_; ++k) work_on(tile, states, {{0, 1}, {k, 0}, tile.rows});
      }
    });
  }

 private:
  struct Walk {
    std::size_t first, step;

    std::size_t operator[](std::size_t i) const { return first + i * step; }
    /// In bytes, where neighbours are that far apart.
    std::ptrdiff_t offset(std::ptrdiff_t stride) const { return static_cast<std::ptrdiff_t>(first) * stride; }
    std::ptrdiff_t step_of(std::ptrdiff_t stride) const { return static_cast<std::ptrdiff_t>(step) * stride; }
  };

  /// Tokens that are worked on together: one of each row of a tile, or some of one row.
  struct Run {
    Walk row, token;
    std::size_t count;
  };

  void work_on(const Tile& tile, const RowStates& states, const Run& run) {
    constexpr int t = Dims::labels, o = Dims::output;
    std::int64_t token[tile_rows];
    tokens_.read(token, tile.at[t] + run.row.offset(tile.step[t]) + run.token.offset(token_stride_),
                 run.row.step_of(tile.step[t]) + run.token.step_of(token_stride_), run.count);
    double logit[tile_rows];
    for (std::size_t i = 0; i < run.count; ++i) {
      const bool good = tokens_.in_range(token[i]);
      if (!good) bad_token_.store(true, std::memory_order_relaxed);
      const std::ptrdiff_t row = tile.at[0] + static_cast<std::ptrdiff_t>(run.row[i]) * tile.step[0];
      logit[i] = good ? logits_(row + token[i] * class_stride_) : std::nan("");
    }
    T results[tile_rows];
    losses_of(tile, states, run, logit, results);
    char* out = out_ + tile.at[o] + run.row.offset(tile.step[o]) + run.token.offset(out_stride_);
    const std::ptrdiff_t out_step = run.row.step_of(tile.step[o]) + run.token.step_of(out_stride_);
    for (std::size_t i = 0; i < run.count; ++i, out += out_step) std::memcpy(out, &results[i], sizeof(T));
  }

  void losses_of(const Tile& tile, const RowStates& states, const Run& run, const double* logit, T* results) {
    const auto evaluate = [&](const RowStates& normalizers, Walk row, const double* at, std::size_t count,
                              const Setting& setting, RowStates& losses, T* to) {
      for (std::size_t i = 0; i < count; ++i) {
        losses.max[0][i] = normalizers.max[0][row[i]];
        losses.hi[0][i] = normalizers.hi[0][row[i]];
        losses.lo[0][i] = normalizers.lo[0][row[i]];
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
      evaluate(normalizer, {0, 0}, logit + i, 1, magnified, again, results + i);
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
