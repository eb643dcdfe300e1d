"""The gradients in plain Python: each the derivative of its measure in `kullback.reference`, written out.

A function takes what the measure of its name takes, and returns the derivative of the measure's value by one
argument, or of the sum of its values, in the shape of that argument: a number for a number, a list for a list.

``wrt=`` names the argument, by default the last; "both" gives a pair. ``grad_output=``, 1 by default, is a factor of
the value, or a list of factors where the value is a list. ``hessian=True`` adds the second derivatives by each logit.

A derivative that is infinite has its sign. It is exactly 0 where the value does not depend on the argument: where
a probability is 0 that stands before the logarithm, a weight, a factor in `grad_output`; but NaN stays NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from . import (
    Number,
    _divisor,
    _Event,
    _events,
    _impossible,
    _in_base,
    _kl_divergence_from_logits_terms,
    _log,
    _log_ratio,
    _log_ratios,
    _losses,
    _losses_of_logits,
    _numbers,
    _product,
    _Row,
    _rows,
    _sigmoid,
    _smoothing,
    _softmax,
    _softplus,
    _sum,
    _terms_of_row,
)

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_from_logits",
    "binary_entropy",
    "binary_entropy_from_logits",
    "categorical_cross_entropy",
    "categorical_cross_entropy_from_logits",
    "cross_entropy",
    "entropy",
    "entropy_from_logits",
    "js_divergence",
    "js_divergence_from_logits",
    "kl_divergence",
    "kl_divergence_from_logits",
    "logsumexp",
]


# Of probabilities


def binary_entropy(p: Any, *, base: float | None = None, grad_output: Any = None, math: Any = math) -> Any:
    r"""Derivative of `kullback.reference.binary_entropy`.

    .. math:: h'(p) = \log \frac{1 - p}{p}

    +inf at 0, -inf at 1.

    Examples
    --------
    >>> binary_entropy([0.0, 0.2, 0.5, 1.0], base=2)
    [inf, 2.0, 0.0, -inf]
    """

    def derivative(p: Number) -> Number:
        if not 0 <= p <= 1:
            return math.nan
        if p == 1:
            return -math.inf
        if 4 * p > 1 and 3 * p < 2:
            return math.log1p((1 - 2 * p) / p)  # the difference is exact
        return math.log1p(-p) - _log(p, math)

    return _each(derivative, p, base, grad_output, math)


def entropy(p: Sequence[Number], *, base: float | None = None, grad_output: Any = None, math: Any = math) -> Any:
    r"""Gradient of `kullback.reference.entropy`.

    .. math:: \frac{\partial H}{\partial p_i} = -(\log p_i + 1)

    +inf at 0, -inf at +inf.

    Examples
    --------
    >>> entropy([1.0, 0.0])
    [-1.0, inf]
    """
    return _columns(lambda p: 0 - _log(p, math) - 1, (p,), base, grad_output, math)


def cross_entropy(
    p: Sequence[Number],
    q: Sequence[Number],
    *,
    base: float | None = None,
    wrt: str = "q",
    grad_output: Any = None,
    math: Any = math,
) -> Any:
    r"""Gradient of `kullback.reference.cross_entropy`.

    .. math:: \frac{\partial H}{\partial q_i} = -\frac{p_i}{q_i}, \qquad \frac{\partial H}{\partial p_i} = -\log q_i

    Where q = 0, by p +inf; by q -inf, or 0 if p = 0.

    Examples
    --------
    >>> cross_entropy([0.5, 0.5, 0.0], [0.25, 0.0, 0.0])
    [-2.0, -inf, 0.0]
    >>> cross_entropy([0.5, 0.0], [0.25, 0.0], base=2, wrt="p")
    [2.0, inf]
    """

    def by(derivative: Callable[[Number, Number], Number]) -> Any:
        return _columns(derivative, (p, q), base, grad_output, math)

    return _chosen(
        wrt, {"p": lambda: by(lambda p, q: 0 - _log(q, math)), "q": lambda: by(lambda p, q: 0 - _over(p, q, math))}
    )


def kl_divergence(
    p: Sequence[Number],
    q: Sequence[Number],
    *,
    base: float | None = None,
    wrt: str = "q",
    grad_output: Any = None,
    math: Any = math,
) -> Any:
    r"""Gradient of `kullback.reference.kl_divergence`.

    .. math::

        \frac{\partial D}{\partial q_i} = -\frac{p_i}{q_i}, \qquad
        \frac{\partial D}{\partial p_i} = \log \frac{p_i}{q_i} + 1

    Where q = 0 < p, by p +inf and by q -inf; where p = 0 < q, by p -inf; where both are 0, 0.

    Examples
    --------
    >>> kl_divergence([0.5, 0.5, 0.0], [0.25, 0.0, 0.0])
    [-2.0, -inf, 0.0]
    >>> kl_divergence([0.5, 0.5, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0], wrt="p")
    [1.0, inf, -inf, 0.0]
    """

    def by(derivative: Callable[[Number, Number], Number]) -> Any:
        return _columns(derivative, (p, q), base, grad_output, math)

    def by_p(p: Number, q: Number) -> Number:
        if p == 0:
            return -math.inf if q > 0 else 0
        return _log_ratio(p, q, math) + 1

    return _chosen(wrt, {"p": lambda: by(by_p), "q": lambda: by(lambda p, q: 0 - _over(p, q, math))})


def js_divergence(
    p: Sequence[Number],
    q: Sequence[Number],
    *,
    base: float | None = None,
    wrt: str = "q",
    grad_output: Any = None,
    math: Any = math,
) -> Any:
    r"""Gradient of `kullback.reference.js_divergence`; by p it is the same formula with p and q exchanged.

    .. math:: \frac{\partial J}{\partial q_i} = \tfrac12 \log \frac{2 q_i}{p_i + q_i}

    -inf where q = 0 < p; 0 where both are 0.

    Examples
    --------
    >>> js_divergence([0.5, 0.5, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0], base=2)
    [0.0, -inf, 0.5, 0.0]
    """

    def by(first: Sequence[Number], second: Sequence[Number]) -> Any:
        return _columns(lambda p, q: _log_over_mean(q, p, math) / 2, (first, second), base, grad_output, math)

    return _chosen(wrt, {"p": lambda: by(q, p), "q": lambda: by(p, q)})


def _log_over_mean(q: Number, p: Number, math: Any) -> Number:
    """log(q/m), where m = (p + q)/2."""
    if p == q:
        return 0 * p
    if q == 0:
        return -math.inf
    if q / 2 <= p <= 2 * q:
        return math.log1p((q - p) / q / (1 + p / q))  # the difference is exact
    if p < q:
        return math.log(2) - math.log1p(p / q)
    return math.log(2) - math.log1p(q / p) - _log_ratio(p, q, math)


# Of logits


def logsumexp(z: Sequence[Number], *, grad_output: Any = None, math: Any = math) -> Any:
    r"""Gradient of `kullback.reference.logsumexp`: the probabilities.

    .. math:: \frac{\partial \operatorname{lse}}{\partial z_j} = p_j, \qquad p = \operatorname{softmax}(z)

    Examples
    --------
    >>> logsumexp([1000.0, 1000.0])
    [0.5, 0.5]
    """
    return _scaled(_softmax(_numbers(z, math), math)[0], grad_output, None, math)


def entropy_from_logits(
    z: Sequence[Number], *, base: float | None = None, grad_output: Any = None, math: Any = math
) -> Any:
    r"""Gradient of `kullback.reference.entropy_from_logits`.

    .. math:: \frac{\partial H}{\partial z_j} = -p_j (\log p_j + H), \qquad p = \operatorname{softmax}(z)

    Examples
    --------
    >>> entropy_from_logits([7.0, 7.0, float("-inf")])
    [0.0, 0.0, 0.0]
    """
    p, parts = _softmax(_numbers(z, math), math)
    information = [_sum(i, math) for i in parts]
    h = _sum([_product(i, x) for i, x in zip(information, p, strict=True)], math)
    return _scaled([_product(i - h, x) for i, x in zip(information, p, strict=True)], grad_output, base, math)


def binary_entropy_from_logits(z: Any, *, base: float | None = None, grad_output: Any = None, math: Any = math) -> Any:
    r"""Derivative of `kullback.reference.binary_entropy_from_logits`.

    .. math:: \frac{dh}{dz} = -z \, \sigma(z) \, \sigma(-z)

    Examples
    --------
    >>> binary_entropy_from_logits([0.0, 4.0, float("inf")])
    [0.0, -0.07065082485316446, 0.0]
    """
    return _each(lambda z: _product(0 - z, _sigmoid(-z, math), _sigmoid(z, math)), z, base, grad_output, math)


def kl_divergence_from_logits(
    p_logits: Sequence[Number],
    q_logits: Sequence[Number],
    *,
    base: float | None = None,
    wrt: str = "q_logits",
    grad_output: Any = None,
    math: Any = math,
) -> Any:
    r"""Gradient of `kullback.reference.kl_divergence_from_logits`.

    .. math::

        \frac{\partial D}{\partial z^q_j} = q_j - p_j, \qquad
        \frac{\partial D}{\partial z^p_j} = p_j \left( \log \frac{p_j}{q_j} - D \right)

    By p it is 0 where p = 0. If D = +inf it is otherwise +inf where q = 0, and -inf where q > 0.

    Examples
    --------
    >>> kl_divergence_from_logits([0.0, 0.0], [0.0, float("-inf")])
    [0.5, -0.5]
    >>> kl_divergence_from_logits([0.0, 0.0], [0.0, float("-inf")], wrt="p_logits")
    [-inf, inf]
    """
    z_p, z_q = _numbers(p_logits, math), _numbers(q_logits, math)
    p, q, log_ratios = _log_ratios(z_p, z_q, math)

    def by_p() -> Any:
        kl = _sum(_kl_divergence_from_logits_terms(z_p, z_q, math), math)
        if kl == math.inf:  # also of a class whose tiny p exp may have lost
            columns = zip(_impossible(z_p, math), _impossible(z_q, math), strict=True)
            return _scaled(
                [0 if no_p else math.inf if no_q else -kl for no_p, no_q in columns], grad_output, base, math
            )
        gradient = [_product(r - kl, x) for r, x in zip(log_ratios, p, strict=True)]
        return _scaled(gradient, grad_output, base, math)

    def by_q() -> Any:
        return _scaled([y - x for x, y in zip(p, q, strict=True)], grad_output, base, math)

    return _chosen(wrt, {"p_logits": by_p, "q_logits": by_q})


def js_divergence_from_logits(
    p_logits: Sequence[Number],
    q_logits: Sequence[Number],
    *,
    base: float | None = None,
    wrt: str = "q_logits",
    grad_output: Any = None,
    math: Any = math,
) -> Any:
    r"""Gradient of `kullback.reference.js_divergence_from_logits`; by p it is the same with p and q exchanged.

    .. math::

        \frac{\partial J}{\partial z^q_j} = \tfrac12 q_j \left( \log \frac{q_j}{m_j} - D(q \| m) \right), \qquad
        m = \tfrac12 (p + q)

    Examples
    --------
    >>> js_divergence_from_logits([0.0, 0.0], [0.0, float("-inf")])
    [0.0, 0.0]
    """

    def by(first: Sequence[Number], second: Sequence[Number]) -> Any:
        _, q, log_ratios = _log_ratios(_numbers(first, math), _numbers(second, math), math)
        logs = [_log_over_mean_of_log_ratio(r, math) for r in log_ratios]
        kl = _sum([_product(x, y) for x, y in zip(logs, q, strict=True)], math)
        return _scaled([_product(x - kl, y) / 2 for x, y in zip(logs, q, strict=True)], grad_output, base, math)

    return _chosen(wrt, {"p_logits": lambda: by(q_logits, p_logits), "q_logits": lambda: by(p_logits, q_logits)})


def _log_over_mean_of_log_ratio(r: Number, math: Any) -> Number:
    """log(q/m), where m = (p + q)/2 and r = log(p/q)."""
    return min(-r, 0) - math.log1p(math.expm1(-abs(r)) / 2)


# Of losses


def binary_cross_entropy(
    labels: Any,
    q: Any,
    *,
    weight: Any = None,
    pos_weight: Any = None,
    label_smoothing: float = 0.0,
    base: float | None = None,
    reduction: str | None = None,
    wrt: str = "q",
    grad_output: Any = None,
    math: Any = math,
) -> Any:
    r"""Gradient of `kullback.reference.binary_cross_entropy`.

    .. math::

        \frac{\partial L}{\partial q} = w \left[ \frac{1 - y}{1 - q} - \frac{v y}{q} \right], \qquad
        \frac{\partial L}{\partial \mathrm{labels}} = (1 - s) w \left[ \log(1 - q) - v \log q \right]

    -inf where q = 0 < y, +inf where q = 1 > y; by the labels +inf at 0 and -inf at 1.

    Examples
    --------
    >>> binary_cross_entropy([1, 0, 1], [0.25, 0.5, 0.0])
    [-4.0, 2.0, -inf]
    >>> binary_cross_entropy([1, 0], 0.5)
    0.0
    >>> binary_cross_entropy(1, 0.2, base=2, wrt="labels")
    2.0
    """
    events, _ = _events(labels, q, weight, pos_weight, label_smoothing, math)

    def by_q(e: _Event) -> Number:
        against = _over(_product(e.miss, e.weight), 1 - e.prediction, math)
        return against - _over(_product(e.hit, e.weight, e.pos_weight), e.prediction, math)

    def by_labels(e: _Event) -> Number:
        if not (0 <= e.prediction <= 1 and e.hit == e.hit):
            return math.nan
        happened = _product(0 - _log(e.prediction, math), e.weight, e.pos_weight)
        return happened + _product(math.log1p(-e.prediction) if e.prediction != 1 else -math.inf, e.weight)

    keep = 1 - _smoothing(label_smoothing, math)
    options = (base, reduction, grad_output, math)
    return _chosen(
        wrt,
        {
            "labels": lambda: _of_events(labels, events, lambda e: _product(by_labels(e), keep), *options),
            "q": lambda: _of_events(q, events, by_q, *options),
        },
    )


def binary_cross_entropy_from_logits(
    labels: Any,
    logits: Any,
    *,
    weight: Any = None,
    pos_weight: Any = None,
    label_smoothing: float = 0.0,
    base: float | None = None,
    reduction: str | None = None,
    wrt: str = "logits",
    grad_output: Any = None,
    hessian: bool = False,
    math: Any = math,
) -> Any:
    r"""Gradient of `kullback.reference.binary_cross_entropy_from_logits`, and second derivatives.

    .. math::

        \frac{\partial L}{\partial z} = w [(1 - y) \sigma(z) - v y \sigma(-z)], \qquad
        \frac{\partial L}{\partial \mathrm{labels}} = (1 - s) w [\log \sigma(-z) - v \log \sigma(z)]

        \frac{\partial^2 L}{\partial z^2} = w [v y + 1 - y] \sigma(z) \sigma(-z)

    The first is the lecture's "simple subtraction", sigmoid(z) - y, if nothing is weighted.

    Examples
    --------
    >>> binary_cross_entropy_from_logits([0, 1, 0], [0.0, 0.0, -50.0])
    [0.5, -0.5, 1.9287498479639178e-22]
    >>> binary_cross_entropy_from_logits(1, 0.0, hessian=True)
    (-0.5, 0.25)
    """
    _check_hessian(hessian, wrt)
    events, _ = _events(labels, logits, weight, pos_weight, label_smoothing, math)

    def by_logits(e: _Event) -> Number:
        against = _product(_sigmoid(e.prediction, math), e.miss, e.weight)
        return against - _product(_sigmoid(-e.prediction, math), e.hit, e.weight, e.pos_weight)

    def by_labels(e: _Event) -> Number:
        z, w, v = e.prediction, e.weight, e.pos_weight
        if e.hit != e.hit:
            return math.nan
        if v == 1:
            return _product(0 - z, w)
        return _product(_softplus(-z, math), w, v) - _product(_softplus(z, math), w)

    def twice_by_logits(e: _Event) -> Number:
        mass = _product(e.weight, e.pos_weight * e.hit + e.miss)
        return _product(_sigmoid(e.prediction, math), _sigmoid(-e.prediction, math), mass)

    keep = 1 - _smoothing(label_smoothing, math)
    options = (base, reduction, grad_output, math)
    gradient = _chosen(
        wrt,
        {
            "labels": lambda: _of_events(labels, events, lambda e: _product(by_labels(e), keep), *options),
            "logits": lambda: _of_events(logits, events, by_logits, *options),
        },
    )
    return (gradient, _of_events(logits, events, twice_by_logits, *options)) if hessian else gradient


def categorical_cross_entropy(
    labels: Any,
    q: Any,
    *,
    weight: Sequence[Number] | None = None,
    sample_weight: Any = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    base: float | None = None,
    reduction: str | None = None,
    wrt: str = "q",
    grad_output: Any = None,
    math: Any = math,
) -> Any:
    r"""Gradient of `kullback.reference.categorical_cross_entropy`.

    .. math::

        \frac{\partial L}{\partial q_j} = -v \frac{w_j y_j}{q_j}, \qquad
        \frac{\partial L}{\partial \mathrm{labels}_j} = -(1 - s) v w_j \log q_j

    -inf where q = 0 < y, by the labels +inf where q = 0; 0 in rows of `ignore_index`. A mean that divides by the
    labels' weight D adds to the latter -(mean) v w_j / D.

    Examples
    --------
    >>> categorical_cross_entropy([1, 0], [[0.5, 0.5], [0.0, 1.0]])
    [[0.0, -2.0], [-inf, 0.0]]
    >>> categorical_cross_entropy([0.0, 1.0], [0.5, 0.25], base=2, wrt="labels")
    [1.0, 2.0]
    """
    rows, single = _rows(labels, q, weight, sample_weight, ignore_index, label_smoothing, math)

    def by_q(row: _Row) -> list[Number]:
        columns = zip(row.predictions, row.weights, row.smoothed, strict=True)
        return [0 - _over(_product(row.sample_weight, w, y), x, math) for x, w, y in columns]

    def losses(row: _Row) -> list[Number]:
        return [loss for x in row.predictions for loss in _losses([x], math)]

    keep, weighted = 1 - _smoothing(label_smoothing, math), weight is not None
    options = (base, reduction, grad_output, math)
    return _chosen(
        wrt,
        {
            "labels": lambda: _of_labels(labels, rows, single, "q", losses, keep, weighted, *options),
            "q": lambda: _of_rows(rows, single, by_q, *options),
        },
    )


def categorical_cross_entropy_from_logits(
    labels: Any,
    logits: Any,
    *,
    weight: Sequence[Number] | None = None,
    sample_weight: Any = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    base: float | None = None,
    reduction: str | None = None,
    wrt: str = "logits",
    grad_output: Any = None,
    hessian: bool = False,
    math: Any = math,
) -> Any:
    r"""Gradient of `kullback.reference.categorical_cross_entropy_from_logits`, and second derivatives.

    .. math::

        \frac{\partial L}{\partial z_j} = v (M p_j - w_j y_j), \qquad M = \sum_k w_k y_k, \;
        p = \operatorname{softmax}(z)

        \frac{\partial^2 L}{\partial z_j^2} = v M p_j (1 - p_j), \qquad
        \frac{\partial L}{\partial \mathrm{labels}_j} = -(1 - s) v w_j \log p_j

    The first is the lecture's "simple subtraction", softmax(z) - y, if nothing is weighted. It is computed as
    p_j (M - w_j y_j) - w_j y_j (1 - p_j), which keeps its digits where p_j is next to 1.

    Examples
    --------
    >>> categorical_cross_entropy_from_logits(0, [40.0, 0.0, 0.0])
    [-8.496708510583178e-18, 4.248354255291589e-18, 4.248354255291589e-18]
    >>> categorical_cross_entropy_from_logits([0.5, 0.5], [0.0, 0.0], hessian=True)
    ([0.0, 0.0], [0.25, 0.25])
    """
    _check_hessian(hessian, wrt)
    rows, single = _rows(labels, logits, weight, sample_weight, ignore_index, label_smoothing, math)

    def parts(row: _Row) -> tuple[list[tuple[Number, Number, Number]], Number, Number]:
        """Of each class w y, p and 1 - p; then M, and what its rounding took away."""
        masses = [_product(w, y) for w, y in zip(row.weights, row.smoothed, strict=True)]
        total = _sum(masses, math)
        p, information = _softmax(row.predictions, math)
        others = [-math.expm1(-_sum(i, math)) for i in information]
        return list(zip(masses, p, others, strict=True)), total, _sum([*masses, -total], math)

    def by_logits(row: _Row) -> list[Number]:
        columns, total, lack = parts(row)
        gradient = [p * (total - mass + lack) - mass * others for mass, p, others in columns]
        return [_product(x, row.sample_weight) for x in gradient]

    def twice_by_logits(row: _Row) -> list[Number]:
        columns, total, _ = parts(row)
        return [_product(p * others, total, row.sample_weight) for _, p, others in columns]

    def losses(row: _Row) -> list[Number]:
        return _losses_of_logits(row.predictions, math)

    keep, weighted = 1 - _smoothing(label_smoothing, math), weight is not None
    options = (base, reduction, grad_output, math)
    gradient = _chosen(
        wrt,
        {
            "labels": lambda: _of_labels(labels, rows, single, "logits", losses, keep, weighted, *options),
            "logits": lambda: _of_rows(rows, single, by_logits, *options),
        },
    )
    return (gradient, _of_rows(rows, single, twice_by_logits, *options)) if hessian else gradient


# What they share


def _chosen(wrt: str, gradients: dict[str, Callable[[], Any]]) -> Any:
    if wrt == "both":
        return tuple(gradient() for gradient in gradients.values())
    if wrt not in gradients:
        raise ValueError(f"wrt: expected {', '.join(map(repr, gradients))} or 'both', got {wrt!r}")
    return gradients[wrt]()


def _check_hessian(hessian: bool, wrt: str) -> None:
    if hessian and wrt != "logits":
        raise ValueError(f"wrt: expected 'logits' with hessian=True, got {wrt!r}")


def _scaled(
    gradient: Sequence[Number], grad_output: Any, base: float | None, math: Any, divisor: Number = 1
) -> list[Number]:
    """Times the factor or factors of `grad_output`, where 0 leaves nothing even of an infinite derivative."""
    if not isinstance(grad_output, Sequence):
        grad_output = [1 if grad_output is None else grad_output] * len(gradient)
    pairs = zip(_numbers(gradient, math), _numbers(grad_output, math), strict=True)
    return _numbers([_in_base(_product(x, g), base, math) / divisor for x, g in pairs], math)


def _each(derivative: Callable[[Number], Number], p: Any, base: float | None, grad_output: Any, math: Any) -> Any:
    numbers = _numbers(p if isinstance(p, Sequence) else [p], math)
    values = _scaled([derivative(x) for x in numbers], grad_output, base, math)
    return values if isinstance(p, Sequence) else values[0]


def _columns(
    derivative: Callable[..., Number],
    rows: Sequence[Sequence[Number]],
    base: float | None,
    grad_output: Any,
    math: Any,
) -> list[Number]:
    """Of a measure that is a sum of terms: of each term alone, NaN where a number in it is none or negative."""
    columns = zip(*(_numbers(row, math) for row in rows), strict=True)
    gradient = [derivative(*column) if all(x >= 0 for x in column) else math.nan for column in columns]
    return _scaled(gradient, grad_output, base, math)


def _over(p: Number, q: Number, math: Any) -> Number:
    """p/q, where 0 stays 0 even over 0; NaN for a q that is no probability."""
    if not q >= 0:
        return math.nan
    if p == 0:
        return 0
    return p / q if q != 0 else p * math.inf


def _of_events(
    argument: Any,
    events: list[_Event],
    derivative: Callable[[_Event], Number],
    base: float | None,
    reduction: str | None,
    grad_output: Any,
    math: Any,
) -> Any:
    """Of a binary loss; summed up for an argument that is one number for all events."""
    divisor = _divisor([e.weight for e in events], reduction, math)
    gradient = _scaled([derivative(e) for e in events], grad_output, base, math, divisor)
    return gradient if isinstance(argument, Sequence) else _sum(gradient, math)


def _of_rows(
    rows: list[_Row],
    single: bool,
    gradient: Callable[[_Row], list[Number]],
    base: float | None,
    reduction: str | None,
    grad_output: Any,
    math: Any,
) -> Any:
    """Of a categorical loss."""
    divisor = _divisor([row.mean_weight for row in rows], reduction, math)
    factors = grad_output if isinstance(grad_output, Sequence) else [grad_output] * len(rows)
    result = [
        _numbers([0] * len(row.predictions), math) if row.ignored else _scaled(gradient(row), g, base, math, divisor)
        for row, g in zip(rows, factors, strict=True)
    ]
    return result[0] if single else result


def _of_labels(
    labels: Any,
    rows: list[_Row],
    single: bool,
    name: str,
    losses: Callable[[_Row], list[Number]],
    keep: Number,
    weighted: bool,
    base: float | None,
    reduction: str | None,
    grad_output: Any,
    math: Any,
) -> Any:
    """Of a categorical loss by its labels, `keep` of which smoothing left; `losses` are the -log p_j."""
    if not all(isinstance(label, Sequence) for label in ([labels] if single else labels)):
        raise ValueError(f"wrt: labels are class indices, which have no gradient; expected {name!r}")
    mean = 0
    if weighted and reduction == "mean":  # the divisor depends on the labels, too
        total = _sum([term for row in rows for term in _terms_of_row(row, losses(row))], math)
        mean = total / _divisor([row.mean_weight for row in rows], reduction, math)

    def gradient(row: _Row) -> list[Number]:
        columns = zip(losses(row), row.weights, row.smoothed, strict=True)
        terms = [[_product(loss, keep, w), _product(-mean, w)] if y == y else [y] for loss, w, y in columns]
        return [_product(_sum(x, math), row.sample_weight) for x in terms]

    return _of_rows(rows, single, gradient, base, reduction, grad_output, math)
