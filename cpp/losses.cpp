/// The calls of binary and categorical losses.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "calls.hpp"
#include "labels.hpp"

namespace kullback {
namespace {

enum class Reduction { none, sum, mean };

Reduction parse_reduction(py::handle reduction) {
  if (reduction.is_none()) return Reduction::none;
  if (PyUnicode_Check(reduction.ptr())) {
    if (PyUnicode_CompareWithASCIIString(reduction.ptr(), "sum") == 0) return Reduction::sum;
    if (PyUnicode_CompareWithASCIIString(reduction.ptr(), "mean") == 0) return Reduction::mean;
  }
  throw py::value_error("reduction: expected None, 'sum' or 'mean', got " + show(reduction));
}

/// The share s of the labels that is spread evenly over all classes.
double parse_smoothing(py::handle smoothing) {
  const double s = PyFloat_AsDouble(smoothing.ptr());
  if (s == -1.0 && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    throw py::type_error("label_smoothing: expected a number in [0, 1], got " + show(smoothing));
  }
  if (!(0 <= s && s <= 1)) {
    throw py::value_error("label_smoothing: expected a number in [0, 1], got " + show(smoothing));
  }
  return s;
}

Setting setting_of(double smoothing, std::size_t classes) {
  const auto count = static_cast<double>(classes);
  Setting setting;
  setting.keep.hi = 1 - smoothing;
  setting.keep.lo = (1 - setting.keep.hi) - smoothing;
  setting.spread.hi = smoothing / count;
  setting.spread.lo = std::fma(-setting.spread.hi, count, smoothing) / count;
  return setting;
}

Partial two_sum(double a, double b) {
  const double hi = a + b;
  const double from_b = hi - a;
  return {hi, (a - (hi - from_b)) + (b - from_b)};
}

Partial product(Partial a, Partial b) {
  const double hi = a.hi * b.hi;
  return {hi, std::fma(a.hi, b.hi, -hi) + (a.hi * b.lo + a.lo * b.hi)};
}

Partial quotient(Partial a, Partial b) {
  const double hi = a.hi / b.hi;
  return {hi, (std::fma(-hi, b.hi, a.hi) + (a.lo - hi * b.lo)) / b.hi};
}

void add(Partial& sum, Partial term) {
  const Partial next = two_sum(sum.hi, term.hi);
  sum = {next.hi, sum.lo + (next.lo + term.lo)};
}

/// What the results of some rows add up to.
struct Totals {
  Partial value{0, 0};
  Partial magnified{0, 0};  ///< of rows that would have drowned
  Partial weight{0, 0};

  void merge(const Totals& next) {
    add(value, next.value);
    add(magnified, next.magnified);
    add(weight, next.weight);
  }
};

/// Adds rows up, row i in lane i mod 8, as elements are added up in a row.
class Accumulator {
 public:
  void add_value(std::size_t row, Partial value, bool magnified) {
    Totals& lane = lanes_[row % lanes];
    add(magnified ? lane.magnified : lane.value, value);
  }
  void add_weight(std::size_t row, Partial weight) { add(lanes_[row % lanes].weight, weight); }

  Totals fold() {
    for (std::size_t half = lanes / 2; half > 0; half /= 2) {
      for (std::size_t lane = 0; lane < half; ++lane) lanes_[lane].merge(lanes_[lane + half]);
    }
    return lanes_[0];
  }

 private:
  static constexpr std::size_t lanes = 8;
  Totals lanes_[lanes];
};

/// Stores the sum or mean of all rows. Warns where a mean is of nothing.
template <class T>
void store_total(const Kernels<T>& kernels, const Totals& totals, Reduction reduction, Partial scale, char* out) {
  Setting setting;
  Partial value = totals.value;
  if (value.hi == 0 && totals.magnified.hi != 0) {
    setting.one = magnification;
    value = totals.magnified;
  } else {
    add(value, {totals.magnified.hi / magnification, totals.magnified.lo / magnification});
  }
  if (reduction == Reduction::mean) {
    const Partial weight = two_sum(totals.weight.hi, totals.weight.lo);
    if (weight.hi == 0 &&
        PyErr_WarnEx(PyExc_RuntimeWarning, "mean of nothing: no row takes part, or their weights sum to 0", 2) != 0) {
      throw py::error_already_set();
    }
    value = weight.hi == 0 ? Partial{std::nan(""), 0} : quotient(value, weight);
  }
  RowStates states;
  states.hi[0][0] = value.hi;
  states.lo[0][0] = value.lo;
  kernels.round(states, 1, scale, setting, reinterpret_cast<T*>(out));
}

std::ptrdiff_t stride_within(const Operand& operand, const Shape& shape, int d) {
  return operand.weak() ? 0 : broadcast_stride(operand, shape, d);
}

/// The sum of an operand's elements, each as often as it occurs in `shape`.
template <class T>
Partial total_of(const Kernels<T>& kernels, const Operand& operand, DType dtype, const Shape& shape) {
  Dims inner;
  const Dims outer;
  for (int d = 0; d < shape.ndim; ++d) {
    inner.append(static_cast<std::size_t>(shape.length[d]), {stride_within(operand, shape, d)});
  }
  Operands operands = {&operand};
  RowJob<T> job(operands, dtype, inner, outer);
  job.prepare();
  RowStates states;
  run_without_gil(job.elements(), [&] {
    job.for_all_tiles([&](const Tile& tile) { job.evaluate(kernels.total, tile, Setting{}, states); });
  });
  return {states.hi[0][0], states.lo[0][0]};
}

/// The class indices of a tile, and what is looked up by them.
struct TileLabels {
  std::int64_t label[tile_rows];
  double prediction[tile_rows];
  double weight[tile_rows];
  std::uint64_t ignored = 0;
};

/// What a call of a categorical loss is made of.
struct CategoricalCall {
  const Operand* predictions;
  const Operand* weight;         ///< or null
  const Operand* sample_weight;  ///< or null
  const Labels* labels;          ///< null where labels are distributions
  std::ptrdiff_t class_stride;   ///< of the predictions
  int predictions_input;         ///< which of the kernel's inputs they are
  Reduction reduction;
  bool smooth;
  Partial scale;
  Setting setting;
};

template <class T>
class CategoricalJob {
 public:
  CategoricalJob(const Kernels<T>& kernels, const CategoricalKernel<T>& kernel, const CategoricalCall& call,
                 Operands& operands, DType dtype, const Dims& inner, const Dims& outer, char* out)
      : kernels_(kernels),
        kernel_(call.labels == nullptr ? (operands[2] == nullptr ? kernel.labelled : kernel.weighted)
                                       : (call.smooth ? kernel.weighted : kernel.indexed)),
        loss_(kernel.loss),
        call_(call),
        job_(operands, dtype, inner, outer),
        predictions_(*call.predictions, dtype),
        weight_(call.weight == nullptr ? *call.predictions : *call.weight, dtype),
        sample_weight_(call.sample_weight == nullptr ? *call.predictions : *call.sample_weight, dtype),
        out_(out) {}

  std::size_t elements() const { return job_.elements(); }

  void prepare() {
    job_.prepare(kernel_.columns == nullptr);
    if (call_.reduction == Reduction::none) return;
    // Rows in a sum: enough for a thread to work on, or, of many rows, so many that the sums stay few.
    constexpr std::size_t most_sums = 1024, elements_in_sum = std::size_t{1} << 14;
    const std::size_t rows = std::max<std::size_t>(job_.rows(), 1);
    const std::size_t length = std::max<std::size_t>(elements() / rows, 1);
    rows_in_sum_ = std::max((rows + most_sums - 1) / most_sums, (elements_in_sum + length - 1) / length);
    sums_.resize((job_.rows() + rows_in_sum_ - 1) / rows_in_sum_);
  }

  void run() {
    if (call_.reduction == Reduction::none) {
      job_.for_all_tiles([&](const Tile& tile) { store(tile); });
      return;
    }
    job_.share(sums_.size(), [&](std::size_t begin, std::size_t end, int thread) {
      for (std::size_t s = begin; s < end; ++s) {
        Accumulator sum;
        const std::size_t first = s * rows_in_sum_, last = std::min(first + rows_in_sum_, job_.rows());
        job_.for_tiles(first, last, thread, [&](const Tile& tile) { accumulate(tile, tile.first - first, sum); });
        sums_[s] = sum.fold();
      }
    });
  }

  bool met_bad_label() const { return bad_label_.load(std::memory_order_relaxed); }

  Totals totals() const {
    Totals all;
    for (const Totals& sum : sums_) all.merge(sum);
    return all;
  }

 private:
  bool weighs() const { return call_.weight != nullptr || call_.sample_weight != nullptr; }

  void look_up(const Tile& tile, TileLabels& found) {
    if (call_.labels == nullptr) return;
    const Labels& labels = *call_.labels;
    labels.read(found.label, tile.at[Dims::labels], tile.step[Dims::labels], tile.rows);
    const int z = call_.predictions_input;
    for (std::size_t r = 0; r < tile.rows; ++r) {
      const std::int64_t label = found.label[r];
      found.prediction[r] = std::nan("");
      found.weight[r] = 1;
      if (labels.ignored(label)) {
        found.ignored |= std::uint64_t{1} << r;
      } else if (!labels.in_range(label)) {
        bad_label_.store(true, std::memory_order_relaxed);
      } else {
        const std::ptrdiff_t row = tile.at[z] + static_cast<std::ptrdiff_t>(r) * tile.step[z];
        found.prediction[r] = predictions_(row + label * call_.class_stride);
        if (call_.weight != nullptr) found.weight[r] = weight_(label * call_.weight->stride(0));
      }
    }
  }

  double sample_weight(const Tile& tile, std::size_t r) const {
    constexpr int w = Dims::sample_weight;
    return sample_weight_(tile.at[w] + static_cast<std::ptrdiff_t>(r) * tile.step[w]);
  }

  /// Calls emit(rows, states, setting, skip) with the losses of a tile's rows.
  template <class Emit>
  void with_losses(const Tile& tile, const TileLabels& found, Emit&& emit) {
    const auto evaluate = [&](const Tile& rows, const Setting& setting, RowStates& states) {
      job_.evaluate(kernel_, rows, setting, states);
      const std::size_t skipped = rows.first - tile.first;
      double weights[tile_rows];
      LossTerms terms{};
      terms.smooth = call_.smooth;
      if (call_.labels != nullptr) {
        terms.at_label = found.prediction + skipped;
        if (call_.weight != nullptr) terms.label_weight = found.weight + skipped;
      }
      if (call_.sample_weight != nullptr) {
        for (std::size_t r = 0; r < rows.rows; ++r) weights[r] = sample_weight(rows, r);
        terms.sample_weight = weights;
      }
      loss_(states, rows.rows, terms, setting);
    };
    with_results<T>(tile, call_.setting, evaluate, emit, {LossSum::labelled, true});
  }

  void store(const Tile& tile) {
    TileLabels found;
    look_up(tile, found);
    with_losses(tile, found, [&](const Tile& rows, RowStates& states, const Setting& setting, std::uint64_t skip) {
      const std::uint64_t ignored = found.ignored >> (rows.first - tile.first);
      for (std::size_t r = 0; r < rows.rows; ++r) {
        if ((ignored >> r & 1) != 0) states.hi[0][r] = states.lo[0][r] = 0;
      }
      store_results<T>(kernels_.round, out_, rows, states, call_.scale, setting, skip);
    });
  }

  void accumulate(const Tile& tile, std::size_t first, Accumulator& sum) {
    TileLabels found;
    look_up(tile, found);
    with_losses(tile, found, [&](const Tile& rows, RowStates& states, const Setting& setting, std::uint64_t skip) {
      const std::size_t skipped = rows.first - tile.first;
      for (std::size_t r = 0; r < rows.rows; ++r) {
        if ((found.ignored >> skipped >> r & 1) != 0) continue;
        const std::size_t row = first + skipped + r;
        const bool magnified = setting.one != 1;
        if ((skip >> r & 1) == 0) sum.add_value(row, {states.hi[0][r], states.lo[0][r]}, magnified);
        // Weights are added row by row, whichever rows are taken again.
        if (magnified || setting.mass_unit != 1) continue;
        if (call_.reduction != Reduction::mean) continue;
        sum.add_weight(row, weighs() ? weight_of(rows, r, found.weight[skipped + r], states) : Partial{1, 0});
      }
    });
  }

  /// What a row counts for in a mean.
  Partial weight_of(const Tile& tile, std::size_t r, double label_weight, const RowStates& states) const {
    Partial weight{label_weight, 0};
    if (call_.labels == nullptr) {
      weight = {1, 0};
      if (call_.weight != nullptr) {
        weight = {states.hi[LossSum::labelled_mass][r], states.lo[LossSum::labelled_mass][r]};
      }
    }
    return call_.sample_weight == nullptr ? weight : product(weight, {sample_weight(tile, r), 0});
  }

  const Kernels<T>& kernels_;
  const RowKernel<T>& kernel_;
  void (*loss_)(RowStates&, std::size_t, const LossTerms&, const Setting&);
  const CategoricalCall& call_;
  RowJob<T> job_;
  Lookup<T> predictions_, weight_, sample_weight_;
  char* out_;
  std::size_t rows_in_sum_ = 1;
  std::vector<Totals> sums_;
  std::atomic<bool> bad_label_{false};
};

[[noreturn]] void throw_label_shape(const Operand& labels, const Operand& predictions, int axis) {
  const Shape shape = shape_of(predictions);
  throw py::value_error("labels has shape " + show(shape_of(labels)) + " and " + predictions.name() + " " +
                        show(shape) + "; expected labels of shape " + show(without(shape, axis)) +
                        " (class indices) or " + show(shape) + " (distributions)");
}

/// Whether labels are class indices. Throws where they are neither those nor distributions.
bool are_indices(const Operand& labels, const Operand& predictions, int axis) {
  if (labels.ndim() == predictions.ndim()) return false;
  const Shape rows = without(shape_of(predictions), axis);
  if (labels.ndim() != rows.ndim) throw_label_shape(labels, predictions, axis);
  if (!labels.integer()) {
    throw py::type_error("labels has dtype " + labels.dtype_name() + "; expected an integer dtype for class indices");
  }
  if (!equal(shape_of(labels), rows)) throw_label_shape(labels, predictions, axis);
  return true;
}

/// The shape of labels that are distributions and predictions together.
Shape common_shape(const Operand& labels, const Operand& predictions, int axis) {
  Shape shape = shape_of(predictions);
  for (int d = 0; d < shape.ndim; ++d) {
    if (labels.length(d) == shape.length[d] || labels.length(d) == 1) continue;
    if (shape.length[d] != 1) throw_label_shape(labels, predictions, axis);
    shape.length[d] = labels.length(d);
  }
  return shape;
}

/// Throws unless the operand broadcasts to that shape.
void require_fits(const Operand& operand, const Shape& rows) {
  bool fits = operand.ndim() <= rows.ndim;
  for (int d = 0; fits && d < operand.ndim(); ++d) {
    const py::ssize_t length = rows.length[rows.ndim - operand.ndim() + d];
    fits = operand.length(d) == length || operand.length(d) == 1;
  }
  if (fits) return;
  throw py::value_error(std::string(operand.name()) + " has shape " + show(shape_of(operand)) + "; expected " +
                        show(rows) + ", one per row, or what broadcasts to it");
}

std::optional<Operand> optional_operand(const char* name, py::handle object, bool scalars_are_weak) {
  if (object.is_none()) return std::nullopt;
  return std::optional<Operand>(std::in_place, name, object, scalars_are_weak);
}

const Operand* address(const std::optional<Operand>& operand) { return operand ? &*operand : nullptr; }

}  // namespace

py::object binary_loss(const Member<BinaryKernel>& member, const char* predictions_name, py::handle labels,
                       py::handle predictions, py::handle weight, py::handle pos_weight, py::handle label_smoothing,
                       py::handle base, py::handle reduction, py::handle out) {
  const Operand y("labels", labels), q(predictions_name, predictions);
  const auto w = optional_operand("weight", weight, true), pos = optional_operand("pos_weight", pos_weight, true);
  const double smoothing = parse_smoothing(label_smoothing);
  const Partial scale = parse_base(base);
  const Reduction how = parse_reduction(reduction);
  const Setting setting = setting_of(smoothing, 2);
  const bool weighted = w || pos || smoothing != 0;
  const Operand ones("weight");
  Operands plain = {&y, &q}, all = {w ? &*w : &ones, pos ? &*pos : &ones, &y, &q};
  Operands& operands = weighted ? all : plain;

  if (how == Reduction::none) {
    const Target& target = active_target();
    const auto& float32 = target.float32.*member.float32;
    const auto& float64 = target.float64.*member.float64;
    return map_elements({weighted ? float32.weighted_map : float32.map, weighted ? float64.weighted_map : float64.map},
                        operands, scale, setting, out);
  }
  const DType dtype = result_dtype(operands);
  const Shape shape = broadcast_shapes(operands);
  Output output(out, Shape(), dtype);
  output.separate_from(operands, shape, false);
  Dims inner;
  const Dims outer;
  for (int d = 0; d < shape.ndim; ++d) {
    std::ptrdiff_t strides[Dims::operands] = {};
    for (std::size_t i = 0; i < operands.size() && operands[i] != nullptr; ++i) {
      strides[i] = stride_within(*operands[i], shape, d);
    }
    inner.append(static_cast<std::size_t>(shape.length[d]), strides);
  }
  with_kernels(dtype, [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    const BinaryKernel<T>& kernel = select(kernels, member);
    RowJob<T> job(operands, dtype, inner, outer);
    job.prepare();
    Totals totals;
    run_without_gil(job.elements(), [&] {
      job.for_all_tiles([&](const Tile& tile) {
        with_results<T>(
            tile, setting,
            [&](const Tile& rows, const Setting& how_far, RowStates& states) {
              job.evaluate(weighted ? kernel.weighted_sum : kernel.sum, rows, how_far, states);
            },
            [&](const Tile&, const RowStates& states, const Setting& how_far, std::uint64_t skip) {
              if (skip != 0) return;
              (how_far.one == 1 ? totals.value : totals.magnified) = {states.hi[0][0], states.lo[0][0]};
            });
      });
    });
    if (how == Reduction::mean) {
      totals.weight = w ? total_of<T>(kernels, *w, dtype, shape) : Partial{static_cast<double>(job.elements()), 0};
    }
    store_total<T>(kernels, totals, how, scale, output.data());
  });
  return output.result();
}

py::object categorical_loss(const Member<CategoricalKernel>& member, const char* predictions_name, py::handle labels,
                            py::handle predictions, py::handle axis, py::handle weight, py::handle sample_weight,
                            py::handle ignore_index, py::handle label_smoothing, py::handle base, py::handle reduction,
                            py::handle out) {
  const Operand y("labels", labels, false), q(predictions_name, predictions, false);
  const int class_axis = parse_class_axis(axis, q.ndim());
  const bool indexed = are_indices(y, q, class_axis);
  const Shape shape = indexed ? shape_of(q) : common_shape(y, q, class_axis);
  const Shape row_shape = without(shape, class_axis);
  const auto classes = static_cast<std::size_t>(shape.length[class_axis]);
  const auto w = optional_operand("weight", weight, false);
  if (w && (w->ndim() != 1 || w->length(0) != shape.length[class_axis])) {
    throw py::value_error("weight has shape " + show(shape_of(*w)) + "; expected (" + std::to_string(classes) +
                          ",), one per class");
  }
  const auto sample = optional_operand("sample_weight", sample_weight, true);
  if (sample) require_fits(*sample, row_shape);
  std::optional<Labels> indices;
  if (indexed) {
    indices.emplace(y, classes);
    indices->ignore(ignore_index);
  } else if (!ignore_index.is_none()) {
    throw py::value_error("ignore_index: expected None, for labels are distributions; got " + show(ignore_index));
  }
  const double smoothing = parse_smoothing(label_smoothing);
  Operands typed = {&q, indexed ? nullptr : &y, address(w), address(sample)};
  const DType dtype = result_dtype(typed);

  CategoricalCall call{};
  call.predictions = &q;
  call.weight = address(w);
  call.sample_weight = address(sample);
  call.labels = indexed ? &*indices : nullptr;
  call.class_stride = q.stride(class_axis);
  call.smooth = smoothing != 0;
  call.scale = parse_base(base);
  call.reduction = parse_reduction(reduction);
  call.setting = setting_of(smoothing, classes);

  // What the kernel reads: [[weight,] labels,] predictions; ones where nothing is given.
  const Operand ones("weight");
  const Operand* weights = w ? &*w : &ones;
  const bool weighted = call.smooth || (w && !indexed);
  const std::array<const Operand*, max_inputs> inputs =
      weighted  ? std::array<const Operand*, max_inputs>{weights, indexed ? &ones : &y, &q}
      : indexed ? std::array<const Operand*, max_inputs>{&q}
                : std::array<const Operand*, max_inputs>{&y, &q};
  call.predictions_input = weighted ? 2 : indexed ? 0 : 1;

  Output output(out, call.reduction == Reduction::none ? row_shape : Shape(), dtype);
  Operands whole = {&q, indexed ? nullptr : &y}, of_classes = {address(w)},
           of_rows = {indexed ? &y : nullptr, address(sample)};
  output.separate_from(whole, shape, false);
  if (w) output.separate_from(of_classes, shape_of(*w), false);
  output.separate_from(of_rows, row_shape, false);
  // A caller's array has to stay as it is if a label is bad; anything else written is thrown away then.
  if (indexed && call.reduction == Reduction::none && output.is_callers()) indices->check(y, "label");

  Dims inner, outer;
  for (int d = 0, row_d = 0; d < shape.ndim; ++d) {
    std::ptrdiff_t strides[Dims::operands] = {};
    for (std::size_t i = 0; i < inputs.size() && inputs[i] != nullptr; ++i) {
      const Operand& input = *inputs[i];
      if (input.weak()) continue;
      if (&input == address(w)) {
        strides[i] = d == class_axis ? input.stride(0) : 0;
      } else {
        strides[i] = broadcast_stride(input, shape, d);
      }
    }
    const auto length = static_cast<std::size_t>(shape.length[d]);
    if (d == class_axis) {
      inner.append(length, strides);
      continue;
    }
    if (call.reduction == Reduction::none) strides[Dims::output] = output.stride(row_d);
    if (indexed) strides[Dims::labels] = y.stride(row_d);
    if (sample) strides[Dims::sample_weight] = stride_within(*sample, row_shape, row_d);
    outer.append(length, strides);
    ++row_d;
  }
  if (call.reduction == Reduction::none) outer.closest_last(inner);
  with_kernels(dtype, [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    CategoricalJob<T> job(kernels, select(kernels, member), call, inputs, dtype, inner, outer, output.data());
    execute(job);
    if (job.met_bad_label()) indices->check(y, "label");
    if (call.reduction != Reduction::none) {
      Totals totals = job.totals();
      store_total<T>(kernels, totals, call.reduction, call.scale, output.data());
    }
  });
  return output.result();
}

}  // namespace kullback
