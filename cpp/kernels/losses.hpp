/// Cross-entropy of labels y and predictions q, or of predictions that are given by their logits z.
///
///   binary        w [pos_weight y' (-log q) + (1 - y') (-log(1 - q))],          y' = keep y + spread
///                 from logits -log q = log1p(exp(-|z|)) + max(-z, 0), -log(1 - q) = log1p(exp(-|z|)) + max(z, 0)
///   categorical   sum_j w_j y'_j (-log q_j)
///                 from logits -log q_j = (m - z_j) + log1p(S'), see logits.hpp
///
/// All terms are >= 0. A mass of 0 adds 0, whatever is predicted.
///
/// Gradients with respect to predictions:
///
///   binary        w [(1 - y')/(1 - q) - pos_weight y'/q]
///                 from logits w [(1 - y') sigmoid(z) - pos_weight y' sigmoid(-z)]
///   categorical   -w_j y'_j / q_j
///                 from logits M p_j - w_j y'_j = (M - w_j y'_j) - M (1 - p_j), M = sum_j w_j y'_j
///
/// The last form serves where p_j > 1/2, so that nothing cancels where y'_j is the whole mass.

// Binary ------------------------------------------------------------------------------------------------------------

/// -log q and -log(1-q) in units of `root`, and where q is a prediction at all.
template <class Digits, class V>
struct Informations {
  PairOf<Digits, V> of_true, of_false;
  decltype(V() > V()) valid;
};

struct OfProbability {
  static constexpr bool logits = false;

  /// The loss in float32 lanes: see narrow.hpp.
  KULLBACK_INLINE static Pack<float> narrow_loss(Mask<float>& valid, Pack<float> y, Pack<float> q) {
    valid = valid & (q > 0x1p-100F) & (q < 1);
    const auto log_of_false = narrow_log1p(-q);
    const auto opposite = 1 - y;
    const auto term = opposite * log_of_false;
    const auto error = fma((1 - opposite) - y, log_of_false, fma(opposite, log_of_false, -term));
    return -(fma(y, narrow_log(q), term) + error);
  }

  template <class Digits, class V>
  KULLBACK_INLINE static Informations<Digits, V> of(V q, double root) {
    constexpr double infinity = Constants<double>::infinity;
    auto of_true = times(log_of_positive<Digits>(q), -root), of_false = times(log1p_of_finite<Digits>(-q), -root);
    of_true.hi = select(q == 0, infinity, of_true.hi);
    of_false.hi = select(q == 1, infinity, of_false.hi);
    return {of_true, of_false, (q >= 0) & ((1 - q) >= 0)};
  }

  /// pos_weight (-log q) + log(1 - q).
  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> difference(V pos_weight, V q, double one) {
    const auto information = of<Digits>(q, one);
    return sum_of(multiplied(information.of_true, exactly<Digits>(pos_weight)), -information.of_false);
  }

  /// true_mass and false_mass times d/dq of -log q and of -log(1 - q).
  template <class Digits, class V, class M>
  KULLBACK_INLINE static PairOf<Digits, V> derivative(M true_mass, M false_mass, V q, double one) {
    const auto rest = two_sum<Digits>(broadcast_like<V>(1.0), -q);
    // An inverse of q may be beyond the range of numbers; that of 1 - q never is.
    const V lens = select(q < 0x1p-900, broadcast_like<V>(0x1p100), 1);
    const M scaled{true_mass.hi * one * lens, true_mass.lo * one * lens};
    const auto of_true = zero_where(true_mass.hi == 0, quotient<Digits>(scaled, exactly<Digits>(q * lens)));
    const auto of_false = zero_where(false_mass.hi == 0, quotient<Digits>(times(false_mass, one), rest));
    return sum_of(of_false, -of_true);
  }

  template <class V>
  KULLBACK_INLINE static auto valid(V q) {
    return (q >= 0) & ((1 - q) >= 0);
  }
};

/// Two logarithms side by side keep the processor busy: larger groups take up more of the extension, and more time.
template <template <class> class Loss>
constexpr int group_bytes<Loss<OfProbability>> = small_group_bytes;

struct OfLogit {
  static constexpr bool logits = true;
  static constexpr float narrow_limit = 80;  ///< of logits whose exponentials are normal

  KULLBACK_INLINE static Pack<float> narrow_loss(Mask<float>& valid, Pack<float> y, Pack<float> z) {
    const auto size = abs(z);
    valid = valid & (size < narrow_limit);
    return fma(select(z > 0, 1 - y, y), size, narrow_log1p(normal_exp<0>(-size)));
  }

  KULLBACK_INLINE static Pack<float> narrow_derivative(Mask<float>& valid, Pack<float> y, Pack<float> z) {
    const auto size = abs(z);
    valid = valid & (size < narrow_limit);
    const auto exponential = normal_exp<0>(-size);
    const auto larger = 1 / (1 + exponential), smaller = exponential * larger;
    const auto positive = z > 0;
    return fma(1 - y, select(positive, larger, smaller), -(y * select(positive, smaller, larger)));
  }

  template <class Digits, class V>
  KULLBACK_INLINE static Informations<Digits, V> of(V z, double root) {
    // Softplus counts in what exponentials can be magnified by.
    const double one = root * root;
    const Softplus<Digits, V> softplus(z, one);
    return {times(softplus.of(-z, one), 1 / root), times(softplus.of(z, one), 1 / root), z == z};
  }

  /// pos_weight (-log sigmoid(z)) + log sigmoid(-z), which is -z for a weight of 1.
  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> difference(V pos_weight, V z, double one) {
    const V zero = broadcast_like<V>(0.0);
    const auto excess = two_sum<Digits>(pos_weight, broadcast_like<V>(-1.0));
    const auto common = product(Softplus<Digits, V>(z, one).log_sum, excess);
    const auto of_true = multiplied(exactly<Digits>(max(-z, zero) * one), exactly<Digits>(pos_weight));
    return sum_of(sum_of(of_true, -exactly<Digits>(max(z, zero) * one)), common);
  }

  template <class Digits, class V, class M>
  KULLBACK_INLINE static PairOf<Digits, V> derivative(M true_mass, M false_mass, V z, double one) {
    const Sigmoids<Digits, V> sigmoids(z, one);
    return sum_of(product(false_mass, sigmoids.of(z)), -product(true_mass, sigmoids.of(-z)));
  }

  template <class V>
  KULLBACK_INLINE static auto valid(V z) {
    return z == z;
  }
};

KULLBACK_INLINE constexpr double root_of(double one) { return one == 1 ? 1 : root_of_magnification; }

/// With respect to the prediction.
template <class Prediction>
struct BinaryLossGradient {
  static constexpr int inputs = 3;

  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> of(const Setting&, double one, V factor, V y, V q) {
    const auto rest = two_sum<Digits>(broadcast_like<V>(1.0), -y);
    auto loss = Prediction::template derivative<Digits>(exactly<Digits>(y), rest, q, one);
    loss = multiplied(loss, exactly<Digits>(factor));
    loss.hi = select((y >= 0) & (rest.hi >= 0) & Prediction::valid(q), loss.hi, Constants<double>::nan);
    return loss;
  }

  KULLBACK_INLINE static Pack<float> narrow(Mask<float>& valid, Pack<float> factor, Pack<float> y, Pack<float> q) {
    valid = valid & (y >= 0) & (1 - y >= 0);
    const auto product = Prediction::narrow_derivative(valid, y, q) * factor;
    // A small one may have lost digits that its unit, if that is large, would show.
    valid = valid & ((abs(product) >= 0x1p-60F) | (factor == 0));
    return product;
  }
};
template <>
constexpr bool is_narrow<BinaryLossGradient<OfLogit>> = true;

template <class Prediction>
struct BinaryLoss {
  using Gradient = BinaryLossGradient<Prediction>;
  static constexpr int inputs = 2, logits_from = Prediction::logits ? 1 : 2;

  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> of(const Setting&, double one, V y, V q) {
    const double root = root_of(one);
    const auto information = Prediction::template of<Digits>(q, root);
    const auto rest = two_sum<Digits>(broadcast_like<V>(1.0), -y);
    const auto true_term = product(exactly<Digits>(y * root), zero_where(y == 0, information.of_true));
    const auto false_term = product(times(rest, root), zero_where(rest.hi == 0, information.of_false));
    auto loss = sum_of(true_term, false_term);
    loss.hi = select((y >= 0) & (rest.hi >= 0) & information.valid, loss.hi, Constants<double>::nan);
    return loss;
  }

  KULLBACK_INLINE static Pack<float> narrow(Mask<float>& valid, Pack<float> y, Pack<float> q) {
    valid = valid & (y >= 0) & (1 - y >= 0);
    return Prediction::narrow_loss(valid, y, q);
  }
};
template <class Prediction>
constexpr bool is_narrow<BinaryLoss<Prediction>> = true;

/// What weights and smoothing make of the masses of an outcome and of its opposite.
template <class Digits, class V>
struct BinaryMasses {
  PairOf<Digits, V> of_true, of_false;
  decltype(V() > V()) valid;

  KULLBACK_INLINE BinaryMasses(const Setting& setting, V factor, V weight, V pos_weight, V y) {
    const auto rest = two_sum<Digits>(broadcast_like<V>(1.0), -y);
    const auto keep = exactly<Digits, V>(setting.keep), spread = exactly<Digits, V>(setting.spread);
    const auto smooth = [&](PairOf<Digits, V> mass)
                            KULLBACK_INLINE_LAMBDA { return sum_of(product(mass, keep), spread); };
    of_true = weighed(smooth(exactly<Digits>(y)), factor, weight, pos_weight);
    of_false = weighed(smooth(rest), factor, weight, broadcast_like<V>(1.0));
    valid = (y >= 0) & (rest.hi >= 0);
  }

 private:
  /// Small and large factors meet first, so that nothing is lost beyond the normal range.
  KULLBACK_INLINE static PairOf<Digits, V> weighed(PairOf<Digits, V> mass, V a, V b, V c) {
    if constexpr (same<Digits, Spare>) {
      return {mass.hi * a * b * c, {}};
    } else {
      const V least = min(min(abs(a), abs(b)), abs(c)), most = max(max(abs(a), abs(b)), abs(c));
      // The third one: neither of these.
      const V middle = select(abs(a) == least, select(abs(b) == most, c, b),
                              select(abs(a) == most, select(abs(b) == least, c, b), a));
      const V low = select(abs(a) == least, a, select(abs(b) == least, b, c));
      const V high = select(abs(a) == least, select(abs(b) == most, b, c),
                            select(abs(a) == most, a, select(abs(b) == most, b, c)));
      return product(product(product(mass, exactly<Digits>(high)), exactly<Digits>(low)), exactly<Digits>(middle));
    }
  }
};

/// Weights that change nothing: in float32 lanes others would cost more digits than there are to spare.
KULLBACK_INLINE Mask<float> are_ones(Pack<float> weight, Pack<float> pos_weight) {
  return (weight == 1) & (pos_weight == 1);
}

template <class Prediction>
struct WeightedBinaryLossGradient {
  static constexpr int inputs = 5;

  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> of(const Setting& setting, double one, V factor, V weight, V pos_weight, V y,
                                              V q) {
    const BinaryMasses<Digits, V> masses(setting, factor, weight, pos_weight, y);
    auto loss = Prediction::template derivative<Digits>(masses.of_true, masses.of_false, q, one);
    loss.hi = select(masses.valid & Prediction::valid(q), loss.hi, Constants<double>::nan);
    return loss;
  }

  KULLBACK_INLINE static Pack<float> narrow(Mask<float>& valid, Pack<float> factor, Pack<float> weight,
                                            Pack<float> pos_weight, Pack<float> y, Pack<float> q) {
    valid = valid & are_ones(weight, pos_weight);
    return to_word(valid) == 0 ? y : BinaryLossGradient<Prediction>::narrow(valid, factor, y, q);
  }
};
template <>
constexpr bool is_narrow<WeightedBinaryLossGradient<OfLogit>> = true;

/// With respect to the label.
template <class Prediction>
struct BinaryLossLabelGradient {
  static constexpr int inputs = 5;

  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> of(const Setting& setting, double one, V factor, V weight, V pos_weight, V y,
                                              V q) {
    auto loss = Prediction::template difference<Digits>(pos_weight, q, one);
    loss = multiplied(multiplied(loss, exactly<Digits>(weight)), exactly<Digits>(factor));
    loss = multiplied(loss, exactly<Digits, V>(setting.keep));
    loss.hi = select((y >= 0) & (1 - y >= 0) & Prediction::valid(q), loss.hi, Constants<double>::nan);
    return loss;
  }
};

/// The second derivative with respect to a logit, w (pos_weight y' + 1 - y') sigmoid(z) sigmoid(-z).
struct BinaryLossHessian {
  static constexpr int inputs = 5;

  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> of(const Setting& setting, double one, V factor, V weight, V pos_weight, V y,
                                              V z) {
    const BinaryMasses<Digits, V> masses(setting, factor, weight, pos_weight, y);
    const Sigmoids<Digits, V> sigmoids(z, one);
    const auto variance = product(sigmoids.smaller, times(sigmoids.larger, 1 / one));
    auto y2 = product(variance, sum_of(masses.of_true, masses.of_false));
    y2.hi = select(masses.valid & (z == z), y2.hi, Constants<double>::nan);
    return y2;
  }
};

template <class Prediction>
struct WeightedBinaryLoss {
  using Gradient = WeightedBinaryLossGradient<Prediction>;
  static constexpr int inputs = 4, logits_from = Prediction::logits ? 3 : 4;

  template <class Digits, class V>
  KULLBACK_INLINE static PairOf<Digits, V> of(const Setting& setting, double one, V weight, V pos_weight, V y, V q) {
    const double root = root_of(one);
    const auto information = Prediction::template of<Digits>(q, root);
    const auto rest = two_sum<Digits>(broadcast_like<V>(1.0), -y);
    const auto keep = exactly<Digits, V>(setting.keep), spread = exactly<Digits, V>(setting.spread);
    const auto true_mass = sum_of(product(exactly<Digits>(y), keep), spread);
    const auto false_mass = sum_of(product(rest, keep), spread);
    // Of a tiny and a huge weight the product comes first, so that nothing is lost below the normal range.
    const auto mixed = (abs(weight) - 1) * (abs(pos_weight) - 1) < 0;
    const auto both = two_product<Digits>(weight, pos_weight);
    const auto one_by_one = exactly<Digits>(pos_weight);
    const auto first = select(mixed, both, one_by_one);
    const auto second = exactly<Digits>(select(mixed, 1, weight));
    auto loss = sum_of(term(true_mass, information.of_true, root, first, second),
                       term(false_mass, information.of_false, root, exactly<Digits>(weight)));
    loss.hi = select((y >= 0) & (rest.hi >= 0) & information.valid, loss.hi, Constants<double>::nan);
    return loss;
  }

  KULLBACK_INLINE static Pack<float> narrow(Mask<float>& valid, Pack<float> weight, Pack<float> pos_weight,
                                            Pack<float> y, Pack<float> q) {
    valid = valid & are_ones(weight, pos_weight);
    return to_word(valid) == 0 ? y : BinaryLoss<Prediction>::narrow(valid, y, q);
  }

 private:
  /// mass * information * weights, in units of root^2; 0 where a factor is 0 and another infinite.
  template <class V, class Low, class... Weights>
  KULLBACK_INLINE static Pair<V, Low> term(Pair<V, Low> mass, Pair<V, Low> information, double root,
                                           Weights... weights) {
    const auto tiny = abs(mass.hi) < 0x1p-700;
    const V lens = select(tiny, broadcast_like<V>(magnification), 1);
    const V back = select(tiny, broadcast_like<V>(1 / magnification), 1);
    auto y = product(scaled_by(times(mass, root), lens), zero_where(mass.hi == 0, information));
    ((y = product(zero_where((weights.hi == 0) & (abs(y.hi) == Constants<double>::infinity), y), weights)), ...);
    return scaled_by(y, back);
  }

  template <class V, class Low>
  KULLBACK_INLINE static Pair<V, Low> scaled_by(Pair<V, Low> x, V power_of_2) {
    return {x.hi * power_of_2, x.lo * power_of_2};
  }
};

template <class Prediction>
constexpr bool is_narrow<WeightedBinaryLoss<Prediction>> = true;

struct BinaryCrossEntropy {
  using Plain = BinaryLoss<OfProbability>;
  using Weighted = WeightedBinaryLoss<OfProbability>;
  using OfLabels = BinaryLossLabelGradient<OfProbability>;
  using Hessian = NoGradient;
};

struct BinaryCrossEntropyFromLogits {
  using Plain = BinaryLoss<OfLogit>;
  using Weighted = WeightedBinaryLoss<OfLogit>;
  using OfLabels = BinaryLossLabelGradient<OfLogit>;
  using Hessian = BinaryLossHessian;
};

// Categorical -------------------------------------------------------------------------------------------------------

/// Adds what one class, of weight w, adds to the sums.
template <class Sum, class V, class Low>
KULLBACK_INLINE void add_labelled(Sum& sum, V y, Pair<V, Low> information) {
  sum.require(y >= 0);
  // What is as likely as the likeliest class adds nothing here, even where its label is infinite.
  const V counted = zero_where(information.hi == 0, y);
  sum.template add_products<LossSum::labelled>(zero_where(y == 0, information), counted);
  sum.template add<LossSum::labelled_mass>(Pair<V, Nothing>{y * sum.mass_unit, {}});
}

template <class Sum, class V, class Low>
KULLBACK_INLINE void add_weighted(Sum& sum, V w, V y, Pair<V, Low> information) {
  using Digits = typename Sum::Digits;
  sum.require(y >= 0);
  const auto mass = two_product<Digits>(y * sum.mass_unit, w);
  // An infinite information counts even where the product of both masses is too small for a number.
  const auto infinite = abs(information.hi) == Constants<double>::infinity;
  const auto some = select(infinite, exactly<Digits>(zero_where(y == 0, w)), mass);
  const auto counted = zero_where(information.hi == 0, some);
  sum.template add<LossSum::labelled>(product(counted, zero_where(counted.hi == 0, information)));
  sum.template add<LossSum::labelled_mass>(mass);
  sum.template add_products<LossSum::spread_out>(zero_where(w == 0, information), w);
  sum.template add<LossSum::spread_out_mass>(Pair<V, Nothing>{w * sum.mass_unit, {}});
}

/// sum w (m - z), merged: what was counted from the smaller maximum is counted from the larger one.
KULLBACK_OUT_OF_LINE void merge_information(RowStates& total, const RowStates& next, RowLanes lanes, int k,
                                            const Rescaling& rescaling) {
  const auto mass = rescaling.smaller(total, next, lanes, k + 1);
  const auto shift = zero_where(mass.hi == 0, product(rescaling.gap, mass));
  const auto rest = sum_of(rescaling.smaller(total, next, lanes, k), shift);
  lanes.store(total, k, sum_of(rescaling.larger(total, next, lanes, k), rest));
  merge_sum(total, next, lanes, k + 1);
}

struct LabelledLogits {
  static constexpr Reads reads = Reads::maxima;
  static constexpr int inputs = 2, logits_from = 1, sums = 3;

  template <class Sum, class Known, class V>
  KULLBACK_INLINE static void add(Sum& sum, const Known& known, V y, V z) {
    const auto gap = known.template gap<typename Sum::Digits>(z);
    sum.template add<LossSum::base>(known.leave_out(rounded_exp_of_gap(gap, sum.one)));
    add_labelled(sum, y, -gap);
  }
  KULLBACK_INLINE static void merge(RowStates& total, const RowStates& next, RowLanes lanes, double one) {
    const Rescaling rescaling(total, next, lanes, 0, one);
    merge_information(total, next, lanes, LossSum::labelled, rescaling);
    merge_mass(total, next, lanes, LossSum::base, rescaling);
  }
  KULLBACK_INLINE static void finish(RowStates& states, RowLanes lanes, double one) {
    lanes.store(states, LossSum::base, log_sum(states, lanes, LossSum::base, one));
  }
};

template <>
constexpr bool is_labelled<LabelledLogits> = true;

struct WeightedLogits : LabelledLogits {
  static constexpr int inputs = 3, logits_from = 2, sums = 5;

  template <class Sum, class Known, class V>
  KULLBACK_INLINE static void add(Sum& sum, const Known& known, V w, V y, V z) {
    const auto gap = known.template gap<typename Sum::Digits>(z);
    sum.template add<LossSum::base>(known.leave_out(rounded_exp_of_gap(gap, sum.one)));
    add_weighted(sum, w, y, -gap);
  }
  KULLBACK_INLINE static void merge(RowStates& total, const RowStates& next, RowLanes lanes, double one) {
    const Rescaling rescaling(total, next, lanes, 0, one);
    merge_information(total, next, lanes, LossSum::labelled, rescaling);
    merge_information(total, next, lanes, LossSum::spread_out, rescaling);
    merge_mass(total, next, lanes, LossSum::base, rescaling);
  }
};

template <>
constexpr bool is_labelled<WeightedLogits> = true;

/// Sums that are merged by adding them.
template <int Inputs, int Sums>
struct PlainSums {
  static constexpr Reads reads = Reads::plain;
  static constexpr int inputs = Inputs, logits_from = Inputs, sums = Sums;

  KULLBACK_INLINE static void merge(RowStates& total, const RowStates& next, RowLanes lanes, double /*one*/) {
    for (int k = 0; k < Sums; ++k) merge_sum(total, next, lanes, k);
  }
  KULLBACK_INLINE static void finish(RowStates&, RowLanes, double /*one*/) {}
};

/// Whether a row holds probabilities: of a class index nothing else is summed.
struct CheckedProbabilities : PlainSums<1, 1> {
  template <class Sum, class V>
  KULLBACK_INLINE static void add(Sum& sum, V q) {
    sum.require(q >= 0);
  }
};

struct LabelledProbabilities : PlainSums<2, 3> {
  template <class Sum, class V>
  KULLBACK_INLINE static void add(Sum& sum, V y, V q) {
    sum.require(q >= 0);
    add_labelled(sum, y, information_of<typename Sum::Digits>(q));
  }
};

struct WeightedProbabilities : PlainSums<3, 5> {
  template <class Sum, class V>
  KULLBACK_INLINE static void add(Sum& sum, V w, V y, V q) {
    sum.require(q >= 0);
    add_weighted(sum, w, y, information_of<typename Sum::Digits>(q));
  }
};

/// y' = keep y + spread.
template <class Digits, class V>
KULLBACK_INLINE PairOf<Digits, V> smoothed(const Setting& setting, V y) {
  return sum_of(product(exactly<Digits>(y), exactly<Digits, V>(setting.keep)), exactly<Digits, V>(setting.spread));
}

/// w times the information, without the shift of a mean, for gradients with respect to labels.
template <class V, class Low>
KULLBACK_INLINE Element<V, Low> label_gradient(const Setting& setting, V w, Pair<V, Low> information, V y) {
  using Digits = DigitsOf<Low>;
  auto term = sum_of(multiplied(information, exactly<Digits, V>(setting.keep)), -exactly<Digits, V>(setting.shift));
  term = multiplied(term, exactly<Digits>(w));
  term.hi = select(y >= 0, term.hi, Constants<double>::nan);
  return in_natural_units(term);
}

struct CategoricalCrossEntropy {
  /// Of weight, labels, predictions.
  struct WeightedGradient : PlainGradient {
    static constexpr int inputs = 3;

    template <class Digits, class V>
    KULLBACK_INLINE static auto of(const Setting& setting, V w, V y, V q) {
      const auto mass = product(smoothed<Digits>(setting, y), exactly<Digits>(w));
      return negated_ratio<Digits>(mass, q, (y >= 0) & (q >= 0));
    }
  };

  struct LabelGradient : PlainGradient {
    static constexpr int inputs = 3;

    template <class Digits, class V>
    KULLBACK_INLINE static auto of(const Setting& setting, V w, V y, V q) {
      auto information = information_of<Digits>(q);
      information.hi = select(q >= 0, information.hi, Constants<double>::nan);
      return label_gradient(setting, w, information, y);
    }
  };

  /// 0, but for the row's class.
  struct IndexedGradient : PlainGradient {
    static constexpr int inputs = 1;

    template <class Digits, class V>
    KULLBACK_INLINE static auto of(const Setting&, V q) {
      return in_natural_units(exactly<Digits>(select(q >= 0, broadcast_like<V>(0.0), Constants<double>::nan)));
    }
  };

  static constexpr bool gradient_of_states = false;
  using LabelledGradient = NegatedRatio;
  using Hessian = NoGradient;

  /// The gradient of rows at their class, of target mass t.
  template <class Low>
  KULLBACK_INLINE static Element<Pack<double>, Low> at_label(const RowStates&, RowLanes, Pack<double> q,
                                                             Pair<Pack<double>, Low> /*mass*/,
                                                             Pair<Pack<double>, Low> target, double /*one*/) {
    return negated_ratio<DigitsOf<Low>>(target, q, q >= 0);
  }

  using Indexed = CheckedProbabilities;
  using Labelled = LabelledProbabilities;
  using Weighted = WeightedProbabilities;

  /// The information of a row's class, counted as the sums count it.
  template <class Digits>
  KULLBACK_INLINE static PairOf<Digits, Pack<double>> information(const RowStates&, RowLanes, Pack<double> q) {
    auto y = information_of<Digits>(q);
    y.hi = select(q >= 0, y.hi, Constants<double>::nan);
    return y;
  }
};

/// unit (mass p - target) of p = exp(-gap), given unit p. Where p is all but 1 and the target is the mass, what is left
/// is 1 - p, which has its own digits: rest() gives it, called only where a lane is near 1.
template <class V, class Low, class P, class Rest>
KULLBACK_INLINE Pair<V, Low> excess_mass(Pair<V, Low> gap, P p, Rest rest, Pair<V, Low> mass, Pair<V, Low> target,
                                         double unit) {
  const auto far = sum_of(product(p, mass), -times(target, unit));
  const auto is_far = gap.hi >= near_gap;
  if (all(is_far)) return far;
  return select(is_far, far, sum_of(times(sum_of(mass, -target), unit), -product(rest(), mass)));
}

template <class V, class Low>
KULLBACK_INLINE Element<V, Low> softmax_less_labels(const Normalizers<double>& known, V z, Pair<V, Low> target) {
  using Digits = DigitsOf<Low>;
  constexpr double unit = exponential_unit<Digits>;
  const auto log_p = known.log_probability<Digits>(z);
  const auto rest = [=]() KULLBACK_INLINE_LAMBDA { return one_less_near_exponential(-log_p, unit); };
  const auto mass = known.result<Digits, V>();
  return in_exponential_units<Digits>(excess_mass(-log_p, rounded_exp_of_gap(log_p, unit), rest, mass, target, unit));
}

struct CategoricalCrossEntropyFromLogits {
  struct LabelledGradient : KnowingGradient {
    static constexpr int inputs = 2;

    template <class Digits, class V>
    KULLBACK_INLINE static auto of(const Setting&, const Normalizers<double>& known, V y, V z) {
      return softmax_less_labels(known, z, exactly<Digits>(y));
    }
  };

  /// Of weight, labels, logits.
  struct WeightedGradient : KnowingGradient {
    static constexpr int inputs = 3;

    template <class Digits, class V>
    KULLBACK_INLINE static auto of(const Setting& setting, const Normalizers<double>& known, V w, V y, V z) {
      return softmax_less_labels(known, z, product(smoothed<Digits>(setting, y), exactly<Digits>(w)));
    }
  };

  /// Of weight, labels, logits.
  struct LabelGradient : KnowingGradient {
    static constexpr int inputs = 3;

    template <class Digits, class V>
    KULLBACK_INLINE static auto of(const Setting& setting, const Normalizers<double>& known, V w, V y, V z) {
      return label_gradient(setting, w, -known.log_probability<Digits>(z), y);
    }
  };

  /// p (1 - p), to be multiplied by the mass.
  struct Hessian : KnowingGradient {
    static constexpr int inputs = 1;

    template <class Digits, class V>
    KULLBACK_INLINE static auto of(const Setting&, const Normalizers<double>& known, V z) {
      constexpr double unit = exponential_unit<Digits>;
      const auto log_p = known.log_probability<Digits>(z);
      const auto p = exp_of_gap(log_p, unit);
      const auto rest = one_less_exponential(-log_p, p, unit);
      return in_exponential_units<Digits>(product(p, times(rest, 1 / unit)));
    }
  };

  static constexpr bool gradient_of_states = true;
  using IndexedGradient = LogSumExpGradient;

  template <class Low>
  KULLBACK_INLINE static Element<Pack<double>, Low> at_label(const RowStates& states, RowLanes lanes, Pack<double> z,
                                                             Pair<Pack<double>, Low> mass,
                                                             Pair<Pack<double>, Low> target, double one) {
    using Digits = DigitsOf<Low>;
    const auto base = lanes.load<Digits>(states, LossSum::base_kept);
    const auto gap = sum_of(information<Digits>(states, lanes, z), times(base, 1 / one));
    const auto rest = [=]() KULLBACK_INLINE_LAMBDA {
      const auto y = one_less_near_exponential(gap, one);
      // A magnified sum may be too small in natural units.
      return one == 1 ? y : select(gap.hi < 0x1p-110, base, y);
    };
    return {excess_mass(gap, exp_of_gap(-gap, one), rest, mass, target, one), broadcast<double>(1 / one)};
  }

  using Indexed = LogNormalizer<1>;
  using Labelled = LabelledLogits;
  using Weighted = WeightedLogits;

  template <class Digits>
  KULLBACK_INLINE static PairOf<Digits, Pack<double>> information(const RowStates& states, RowLanes lanes,
                                                                  Pack<double> z) {
    const auto most = lanes.load(states.max[0]);
    return zero_where(z == most, two_sum<Digits>(most, -z));
  }
};

/// The loss of finished states, in units of one, and in `labelled` what it is before samples are weighted.
template <class Op, class T>
void loss(RowStates& states, std::size_t rows, const LossTerms& terms, const Setting& setting) {
  const double one = setting.one, unit = setting.mass_unit;
  const bool same_units = unit == one;
  using Digits = typename Sum<T>::Digits;
  using Lanes = Pack<double>;
  for_rows(rows, [&](RowLanes lanes) KULLBACK_INLINE_LAMBDA {
    const auto rest = lanes.load<Digits>(states, LossSum::base);
    // 0 times an infinite mass is nothing beside an infinite information only.
    const auto with_base = [&](auto information, auto mass, auto of_base) KULLBACK_INLINE_LAMBDA {
      constexpr double infinity = Constants<double>::infinity;
      const auto is_nothing = (rest.hi == 0) & ((mass.hi < infinity) | (abs(information.hi) == infinity));
      return sum_of(information, zero_where(is_nothing, of_base));
    };
    const auto total = [&](int k) KULLBACK_INLINE_LAMBDA {
      // Of equal units the product would have one too many.
      const double root = same_units ? root_of(one) : 1;
      const auto mass = lanes.load<Digits>(states, k + 1);
      const auto of_base = product(times(mass, 1 / root), times(rest, 1 / root));
      const auto information = times(lanes.load<Digits>(states, k), same_units ? 1 : one);
      return with_base(information, mass, of_base);
    };
    PairOf<Digits, Lanes> y;
    if (terms.at_label != nullptr) {
      const auto weight = terms.label_weight == nullptr ? broadcast<double>(1.0) : lanes.load(terms.label_weight);
      const auto mass = exactly<Digits>(same_units ? weight : weight * unit);
      const auto information = times(Op::template information<Digits>(states, lanes, lanes.load(terms.at_label)), one);
      y = with_base(product(zero_where(weight == 0, information), mass), mass, product(rest, mass));
    } else {
      y = total(LossSum::labelled);
    }
    if (terms.smooth) {
      const auto kept = setting.keep.hi == 0 ? exactly<Digits>(broadcast<double>(0.0)) : y;
      y = sum_of(product(kept, exactly<Digits, Lanes>(setting.keep)),
                 product(total(LossSum::spread_out), exactly<Digits, Lanes>(setting.spread)));
    }
    if (!same_units) y = times(y, 1 / unit);
    lanes.store(states.hi[LossSum::labelled], y.hi);
    lanes.store(states, LossSum::base_kept, rest);
    if (terms.sample_weight != nullptr) {
      const auto weight = lanes.load(terms.sample_weight);
      const auto infinite = abs(y.hi) == Constants<double>::infinity;
      y = product(zero_where((weight == 0) & infinite, y), exactly<Digits>(weight));
    }
    lanes.store(states, 0, y);
  });
}

/// Losses of chosen classes alone, see TokenKernel: what `loss` and `round` make of them.
template <class Op, class T>
std::uint64_t losses_at(const RowStates& states, std::size_t rows, const double* at_label, Partial scale,
                        const Setting& setting, T* out) {
  using Digits = typename Sum<T>::Digits;
  std::uint64_t drowned = 0;
  for_rows(rows, [&](RowLanes lanes) KULLBACK_INLINE_LAMBDA {
    const auto information = times(Op::template information<Digits>(states, lanes, lanes.load(at_label)), setting.one);
    const auto y = sum_of(information, lanes.load<Digits>(states, LossSum::base));
    store_result(out, lanes, y, scale, setting);
    if constexpr (same<Digits, Working>) drowned |= to_word(abs(y.hi) < least_result) << lanes.first;
  });
  return drowned;
}

/// The gradient of each row at its class.
template <class Op, class T>
void at_label(const RowStates& states, std::size_t rows, const LabelTerms& terms, const Setting& setting, T* out) {
  using Digits = typename Sum<T>::Digits;
  using Lanes = Pack<double>;
  for_rows(rows, [&](RowLanes lanes) KULLBACK_INLINE_LAMBDA {
    const auto z = lanes.load(terms.prediction);
    const auto pair = [&](const double* hi, const double* lo) KULLBACK_INLINE_LAMBDA {
      if constexpr (same<Digits, Spare>) {
        return Pair<Lanes, Nothing>{lanes.load(hi), {}};
      } else {
        return Pair<Lanes>{lanes.load(hi), lanes.load(lo)};
      }
    };
    const auto mass = pair(terms.mass[0], terms.mass[1]), target = pair(terms.target[0], terms.target[1]);
    const auto element = Op::at_label(states, lanes, z, mass, target, setting.one);
    const Factor<Pack<double>, Mask<double>> factor(lanes.load(terms.factors->hi), lanes.load(terms.factors->lo));
    store_wide(out + lanes.first, factor.times(element), lanes.count);
  });
}
