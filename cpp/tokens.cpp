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
      for (std::size_t r = 0; r < tile.rows; ++r) tokens_of(tile.row(r), states, r);
    });
  }

 private:
  /// The tokens of one row, of which `states` knows the normalizer in column r.
  void tokens_of(const Tile& row, const RowStates& states, std::size_t r) {
    for (std::size_t first = 0; first < tokens_per_row_; first += tile_rows) {
      const std::size_t count = std::min(tile_rows, tokens_per_row_ - first);
      const auto skip = static_cast<std::ptrdiff_t>(first);
      std::int64_t token[tile_rows];
      tokens_.read(token, row.at[Dims::labels] + skip * token_stride_, token_stride_, count);
      double logit[tile_rows];
      for (std::size_t k = 0; k < count; ++k) {
        const bool good = tokens_.in_range(token[k]);
        if (!good) bad_token_.store(true, std::memory_order_relaxed);
        logit[k] = good ? logits_(row.at[0] + token[k] * class_stride_) : std::nan("");
      }
      T results[tile_rows];
      losses_of(row, states, r, logit, count, results);
      char* out = out_ + row.at[Dims::output] + skip * out_stride_;
      for (std::size_t k = 0; k < count; ++k, out += out_stride_) std::memcpy(out, &results[k], sizeof(T));
    }
  }

  void losses_of(const Tile& row, const RowStates& states, std::size_t r, const double* logit, std::size_t count,
                 T* results) {
    const auto evaluate = [&](const RowStates& normalizer, std::size_t column, const double* at, std::size_t n,
                              const Setting& setting, RowStates& losses, T* to) {
      for (std::size_t k = 0; k < n; ++k) {
        losses.max[0][k] = normalizer.max[0][column];
        losses.hi[0][k] = normalizer.hi[0][column];
        losses.lo[0][k] = normalizer.lo[0][column];
      }
      kernel_.loss(losses, n, LossTerms{at, nullptr, nullptr, false}, setting);
      kernels_.round(losses, n, scale_, setting, to);
    };
    RowStates losses;
    evaluate(states, r, logit, count, Setting{}, losses, results);
    for (std::size_t k = 0; k < count; ++k) {
      if (!drowned<T>(losses.hi[0][k])) continue;
      Setting magnified;
      magnified.one = magnified.mass_unit = magnification;
      RowStates again, normalizer;
      job_.evaluate(kernel_.normalizer, row, magnified, normalizer);
      evaluate(normalizer, 0, logit + k, 1, magnified, again, results + k);
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
  if (!equal(several ? without(shape_of(t), class_axis) : shape_of(t), row_shape)) {
    Shape expected = shape;
    throw py::value_error("tokens has shape " + show(shape_of(t)) + " and logits " + show(expected) +
                          "; expected tokens of shape " + show(row_shape) + ", or with any number of them along axis " +
                          std::to_string(class_axis));
  }
  const Labels classes(t, static_cast<std::size_t>(shape.length[class_axis]));
  const DType dtype = result_dtype({&z});
  const Partial scale = parse_base(base);
  const Shape result_shape = shape_of(t);
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
