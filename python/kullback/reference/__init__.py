"""The measures in plain Python: each written from its formula alone, to be read and to be checked against.

Nothing here is shared with the compiled core, and NumPy is not imported. A row function takes
distributions or logits as lists of numbers, one list each, and returns a number; `softmax`, `log_softmax`
and `token_logprobs` return a list. An elementwise function takes a number, or a list of numbers, and
returns the like. A categorical loss takes one row, or a list of rows. Their gradients are in `grad`.

``math=`` chooses the arithmetic. With Python's `math` module a result is good to a few units in the last
place, though terms below the range of normal floats bring their own rounding each; with ``mpmath.mp`` it is
good to whatever precision is set there. Any object serves that has `log`, `log1p`, `inf` and `nan`, for logits
`exp` and `expm1`, and where it has them `mpf`, which converts the inputs, and `fsum`, which adds.

The same rules hold throughout. ``0 log 0 = 0``. Numbers are used as given, never normalised and never
clipped. An infinite input gives the limit, or NaN where there is none. A negative number is not a
probability: it and NaN make the whole result NaN. An empty list gives 0. ``base=None`` is nats, 2 is bits.
A logit of -inf is an impossible class, of probability exactly 0; one of +inf, if it is the only one, a certain
class; two of them, NaN, or nothing but -inf make a row NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

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
    "grad",
    "js_divergence",
    "js_divergence_from_logits",
    "kl_divergence",
    "kl_divergence_from_logits",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "self_information",
    "sigmoid",
    "softmax",
    "token_logprobs",
]

Number: TypeAlias = Any  # float, mpf or Decimal: whatever `math` computes with


# Elementwise measures


def self_information(p: Number | Sequence[Number], *, base: float | None = None, math: Any = math) -> Any:
    r"""Information of an event of probability `p`.

    .. math:: I(p) = -\log p

    Parameters
    ----------
    p : number or list of numbers
    base : number, optional
        Base of the logarithm; nats by default.
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    number or list of numbers
        +inf at 0, -inf at +inf, NaN for a negative `p`.

    Examples
    --------
    >>> self_information([1.0, 0.5, 0.0], base=2)
    [0.0, 1.0, inf]
    """

    def value(p: Number) -> Number:
        return 0 - _log(p, math) if p >= 0 else math.nan  # 0 - x and not -x: log 1 gives +0

    return _each(value, p, base, math)


def binary_entropy(p: Number | Sequence[Number], *, base: float | None = None, math: Any = math) -> Any:
    r"""Entropy of an event of probability `p` and its opposite.

    .. math:: h(p) = -p \log p - (1 - p) \log(1 - p)

    Parameters
    ----------
    p : number or list of numbers
    base : number, optional
        Base of the logarithm; nats by default.
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    number or list of numbers
        Exactly 0 at 0 and 1, NaN outside [0, 1].

    Examples
    --------
    >>> binary_entropy([0.0, 0.5, 1.5], base=2)
    [0.0, 1.0, nan]
    """

    def value(p: Number) -> Number:
        if not 0 <= p <= 1:
            return math.nan
        if p == 0 or p == 1:
            return 0 * p
        return -p * math.log(p) - (1 - p) * math.log1p(-p)

    return _each(value, p, base, math)


def sigmoid(z: Number | Sequence[Number], *, math: Any = math) -> Any:
    r"""Probability of the logit `z`.

    .. math:: \sigma(z) = \frac{1}{1 + e^{-z}}

    Parameters
    ----------
    z : number or list of numbers
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    number or list of numbers
        1 at +inf, 0 at -inf.

    Examples
    --------
    >>> sigmoid([0.0, float("inf"), float("-inf")])
    [0.5, 1.0, 0.0]
    """
    return _each(lambda z: _sigmoid(z, math), z, None, math)


def log_sigmoid(z: Number | Sequence[Number], *, math: Any = math) -> Any:
    r"""Logarithm of the probability of the logit `z`.

    .. math:: \log \sigma(z) = -\log(1 + e^{-z})

    Parameters
    ----------
    z : number or list of numbers
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    number or list of numbers
        0 at +inf, -inf at -inf.

    Examples
    --------
    >>> log_sigmoid([-1000.0, 40.0])
    [-1000.0, -4.248354255291589e-18]
    """
    return _each(lambda z: 0 - _softplus(-z, math), z, None, math)


def binary_entropy_from_logits(z: Number | Sequence[Number], *, base: float | None = None, math: Any = math) -> Any:
    r"""Entropy of an event of logit `z` and its opposite.

    .. math:: h(\sigma(z)) = \log(1 + e^{-|z|}) + |z| \, \sigma(-|z|)

    Parameters
    ----------
    z : number or list of numbers
    base : number, optional
        Base of the logarithm; nats by default.
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    number or list of numbers
        Exactly 0 at both infinities.

    Examples
    --------
    >>> binary_entropy_from_logits([0.0, float("inf")], base=2)
    [1.0, 0.0]
    """

    def value(z: Number) -> Number:
        return _softplus(-abs(z), math) + _product(abs(z), _sigmoid(-abs(z), math))

    return _each(value, z, base, math)


def _sigmoid(z: Number, math: Any) -> Number:
    e = _exp_minus(abs(z), math)
    return (e if z < 0 else 1) / (1 + e)


def _softplus(z: Number, math: Any) -> Number:
    """log(1 + exp(z)): minus the logarithm of sigmoid(-z)."""
    return max(z, 0) + math.log1p(_exp_minus(abs(z), math))


# Row measures: the sum of a term over the elements of a row


def entropy(p: Sequence[Number], *, base: float | None = None, math: Any = math) -> Any:
    r"""Shannon entropy of `p`.

    .. math:: H(p) = -\sum_i p_i \log p_i

    Parameters
    ----------
    p : list of numbers
    base : number, optional
        Base of the logarithm; nats by default.
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    number
        -inf where a number is +inf.

    Examples
    --------
    >>> entropy([0.5, 0.25, 0.25, 0.0], base=2)
    1.5
    """
    return _total(_terms("entropy", (p,), math), base, math)


def cross_entropy(p: Sequence[Number], q: Sequence[Number], *, base: float | None = None, math: Any = math) -> Any:
    r"""Cross-entropy of `q` relative to `p`.

    .. math:: H(p, q) = -\sum_i p_i \log q_i

    Parameters
    ----------
    p, q : lists of numbers, of one length
        The reference and the model.
    base : number, optional
        Base of the logarithm; nats by default.
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    number
        +inf where p > 0 meets q = 0; where p = 0 the term is 0, whatever q.

    Examples
    --------
    >>> cross_entropy([0.5, 0.5], [0.25, 0.5], base=2)
    1.5
    >>> cross_entropy([1.0, 0.0], [0.0, 1.0])
    inf
    """
    return _total(_terms("cross_entropy", (p, q), math), base, math)


def kl_divergence(p: Sequence[Number], q: Sequence[Number], *, base: float | None = None, math: Any = math) -> Any:
    r"""Kullback-Leibler divergence of `p` from `q`, the relative entropy.

    .. math:: D(p \| q) = \sum_i p_i \log \frac{p_i}{q_i}

    Parameters
    ----------
    p, q : lists of numbers, of one length
        The reference and the model.
    base : number, optional
        Base of the logarithm; nats by default.
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    number
        Exactly 0 where p = q; +inf where p > 0 meets q = 0, and where p is +inf and q is not.

    Examples
    --------
    >>> kl_divergence([0.5, 0.5, 0.0], [0.25, 0.25, 0.5], base=2)
    1.0
    >>> round(kl_divergence([4.0], [2.2e-308]), 1)
    2839.2
    """
    return _total(_terms("kl_divergence", (p, q), math), base, math)


def js_divergence(p: Sequence[Number], q: Sequence[Number], *, base: float | None = None, math: Any = math) -> Any:
    r"""Jensen-Shannon divergence of `p` and `q`; the divergence, not its square root.

    .. math:: J(p, q) = \tfrac12 D(p \| m) + \tfrac12 D(q \| m), \qquad m = \tfrac12 (p + q)

    Parameters
    ----------
    p, q : lists of numbers, of one length
    base : number, optional
        Base of the logarithm; nats by default.
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    number
        Exactly 0 where p = q and never negative; log 2 for distributions that share nothing. +inf where one
        of the two numbers is +inf, NaN where both are.

    Examples
    --------
    >>> js_divergence([1.0, 0.0], [0.0, 1.0], base=2)
    1.0
    """
    return _total(_terms("js_divergence", (p, q), math), base, math)


def _entropy_term(p: Number, math: Any) -> Number:
    return _cross_entropy_term(p, p, math)


def _cross_entropy_term(p: Number, q: Number, math: Any) -> Number:
    return -p * _log(q, math) if p != 0 else 0


def _kl_divergence_term(p: Number, q: Number, math: Any) -> Number:
    return p * _log_ratio(p, q, math) if p != 0 else 0


def _js_divergence_term(p: Number, q: Number, math: Any) -> Number:
    a, b = max(p, q), min(p, q)
    if a == 0:
        return 0
    if a == math.inf:
        return a - b
    return a * _js_divergence_of_ratio(b / a, (a - b) / a, math)


def _js_divergence_of_ratio(r: Number, u: Number, math: Any) -> Number:
    """The term of a = 1 and b = r, given u = 1 - r."""
    # With m = (a + b)/2 the term is 1/2 [log(a/m) + r log(b/m)].
    if 4 * r < 1:
        log_am = math.log(2) - math.log1p(r)
        return (log_am + (r * (log_am + math.log(r)) if r != 0 else 0)) / 2
    # Near r = 1 the two logarithms cancel. With t = (a - b)/(a + b) = u/(1 + r) the same term is
    # 1/4 [(1 + r) log(1 - t^2) - u log(1 - u)], where the first logarithm takes but half of the second.
    t = u / (1 + r)
    return ((1 + r) * math.log1p(-t * t) - u * math.log1p(-u)) / 4


# Row functions of logits


def logsumexp(z: Sequence[Number], *, math: Any = math) -> Any:
    r"""Logarithm of the sum of exponentials.

    .. math:: \log \sum_j e^{z_j} = m + \log \sum_j e^{z_j - m}, \qquad m = \max_j z_j

    Parameters
    ----------
    z : list of numbers
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    number
        -inf for an empty list and for nothing but -inf, +inf for one +inf.

    Examples
    --------
    >>> logsumexp([1000.0, 1000.0]) == 1000 + math.log(2)
    True
    >>> logsumexp([])
    -inf
    """
    return _total(_terms("logsumexp", (z,), math), None, math)


def softmax(z: Sequence[Number], *, math: Any = math) -> Any:
    r"""Probabilities of the logits `z`.

    .. math:: p_j = \frac{e^{z_j}}{\sum_k e^{z_k}}

    Parameters
    ----------
    z : list of numbers
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    list of numbers

    Examples
    --------
    >>> softmax([1000.0, 1000.0, float("-inf")])
    [0.5, 0.5, 0.0]
    """
    return _softmax(_numbers(z, math), math)[0]


def log_softmax(z: Sequence[Number], *, math: Any = math) -> Any:
    r"""Logarithms of the probabilities of the logits `z`.

    .. math:: \log p_j = z_j - \log \sum_k e^{z_k}

    Parameters
    ----------
    z : list of numbers
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    list of numbers
        Of full relative accuracy also where a probability is next to 1.

    Examples
    --------
    >>> log_softmax([40.0, 0.0])
    [-4.248354255291589e-18, -40.0]
    """
    return [0 - loss for loss in _losses_of_logits(_numbers(z, math), math)]


def token_logprobs(
    logits: Sequence[Number], tokens: int | Sequence[int], *, base: float | None = None, math: Any = math
) -> Any:
    r"""Logarithms of the probabilities of chosen classes, the tokens of a language model.

    .. math:: \log p_t = z_t - \log \sum_k e^{z_k}

    Parameters
    ----------
    logits : list of numbers
    tokens : int or list of ints
        The classes, counted from 0.
    base : number, optional
        Base of the logarithm; nats by default.
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    number or list of numbers
        One for each token.

    Raises
    ------
    IndexError
        If a token is not a class.

    Examples
    --------
    >>> token_logprobs([0.0, 0.0, 40.0], [2, 0])
    [-8.496708510583178e-18, -40.0]
    """
    losses = _losses_of_logits(_numbers(logits, math), math)

    def value(token: int, *index: int) -> Number:
        _check_class("token", token, index, len(losses))
        return _in_base(0 - losses[token], base, math)

    return [value(t, i) for i, t in enumerate(tokens)] if isinstance(tokens, Sequence) else value(tokens)


def entropy_from_logits(z: Sequence[Number], *, base: float | None = None, math: Any = math) -> Any:
    r"""Shannon entropy of the probabilities of `z`.

    .. math:: H(p) = -\sum_j p_j \log p_j, \qquad p = \operatorname{softmax}(z)

    Parameters
    ----------
    z : list of numbers
    base : number, optional
        Base of the logarithm; nats by default.
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    number

    Examples
    --------
    >>> entropy_from_logits([7.0, 7.0, float("-inf")], base=2)
    1.0
    """
    return _total(_terms("entropy_from_logits", (z,), math), base, math)


def kl_divergence_from_logits(
    p_logits: Sequence[Number], q_logits: Sequence[Number], *, base: float | None = None, math: Any = math
) -> Any:
    r"""Kullback-Leibler divergence of the probabilities of two lists of logits.

    .. math:: D(p \| q) = \sum_j p_j \log \frac{p_j}{q_j}

    Parameters
    ----------
    p_logits, q_logits : lists of numbers, of one length
        The reference and the model.
    base : number, optional
        Base of the logarithm; nats by default.
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    number
        Exactly 0 where the logits are equal; +inf where a class impossible in q, a logit of -inf, is not so in p.

    Examples
    --------
    >>> kl_divergence_from_logits([1.0, 2.0], [1.0, 2.0])
    0.0
    >>> kl_divergence_from_logits([0.0, 0.0], [0.0, float("-inf")])
    inf
    """
    return _total(_terms("kl_divergence_from_logits", (p_logits, q_logits), math), base, math)


def js_divergence_from_logits(
    p_logits: Sequence[Number], q_logits: Sequence[Number], *, base: float | None = None, math: Any = math
) -> Any:
    r"""Jensen-Shannon divergence of the probabilities of two lists of logits.

    .. math:: J(p, q) = \tfrac12 D(p \| m) + \tfrac12 D(q \| m), \qquad m = \tfrac12 (p + q)

    Parameters
    ----------
    p_logits, q_logits : lists of numbers, of one length
    base : number, optional
        Base of the logarithm; nats by default.
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    number
        Exactly 0 where the logits are equal and never negative.

    Examples
    --------
    >>> js_divergence_from_logits([0.0, float("-inf")], [float("-inf"), 0.0], base=2)
    1.0
    """
    return _total(_terms("js_divergence_from_logits", (p_logits, q_logits), math), base, math)


def _logsumexp_terms(z: list[Number], math: Any) -> list[Number]:
    if all(x == -math.inf for x in z):
        return [-math.inf]
    return [max(z), _softmax(z, math)[1][0][-1]]


def _entropy_from_logits_terms(z: list[Number], math: Any) -> list[Number]:
    p, information = _softmax(z, math)
    return [_product(_sum(i, math), x) for x, i in zip(p, information, strict=True)]


def _kl_divergence_from_logits_terms(z_p: list[Number], z_q: list[Number], math: Any) -> list[Number]:
    p, _, log_ratios = _log_ratios(z_p, z_q, math)
    # Where a class is impossible in q the term is that of the logarithm, +inf or 0, though exp may have lost a tiny p.
    gone = _impossible(z_q, math)
    return [r if impossible else _product(r, x) for x, r, impossible in zip(p, log_ratios, gone, strict=True)]


def _js_divergence_from_logits_terms(z_p: list[Number], z_q: list[Number], math: Any) -> list[Number]:
    def term(p: Number, q: Number, log_ratio: Number) -> Number:
        r = abs(log_ratio)
        return max(p, q) * _js_divergence_of_ratio(_exp_minus(r, math), -math.expm1(-r), math)

    return [term(*x) for x in zip(*_log_ratios(z_p, z_q, math), strict=True)]


Parts: TypeAlias = tuple[Number, ...]  # a number as an unevaluated sum, with more digits than one number holds


def _softmax(z: list[Number], math: Any) -> tuple[list[Number], list[Parts]]:
    """softmax(z) = p and -log p, the latter in parts; both keep their digits wherever they tend to 0.

    With m = max z and the gaps d_j = m - z_j, p_j = exp(-d_j) / (1 + rest) and -log p_j = d_j + log(1 + rest),
    where rest is the sum of exp(-d_j) over all classes but the winner, whose 1 would swallow it. If m is +inf
    the gaps are infinite too, and NaN where a second class has it.
    """
    if not z:
        return [], []
    m = max(z)
    if any(x != x for x in z) or m == -math.inf:
        return [math.nan] * len(z), [(math.nan,)] * len(z)
    winner = z.index(m)
    gaps = [(0, 0) if j == winner else _difference(m, x, math) for j, x in enumerate(z)]
    exps = [e - e * low for e, low in ((_exp_minus(d, math), low) for d, low in gaps)]
    rest = _sum(exps[:winner] + exps[winner + 1 :], math)
    return [e / (1 + rest) for e in exps], [(*gap, math.log1p(rest)) for gap in gaps]


def _impossible(z: list[Number], math: Any) -> list[bool]:
    """Which classes have the probability 0, not just a small one."""
    m = max(z, default=0)
    return [x < m and math.inf in (m, -x) for x in z]


def _losses_of_logits(z: list[Number], math: Any) -> list[Number]:
    return [_sum(parts, math) for parts in _softmax(z, math)[1]]


def _log_ratios(z_p: list[Number], z_q: list[Number], math: Any) -> tuple[list[Number], list[Number], list[Number]]:
    """p, q and log(p/q), the last of errors that are small beside the mean of |log(p/q)|."""
    p, p_parts = _softmax(z_p, math)
    q, q_parts = _softmax(z_q, math)
    parts = list(zip(p_parts, q_parts, strict=True))
    possible = [not a[0] == b[0] == math.inf for a, b in parts]  # of one of the two at least
    rough = [_sum([*b, *(-x for x in a)], math) if ok else 0 for ok, (a, b) in zip(possible, parts, strict=True)]
    # The two logarithms in the parts are rounded. As the p of q exp(log(p/q)) sum to 1, what they lack shows.
    excess = [y * math.expm1(r) if abs(r) < 1 else x - y for x, y, r in zip(p, q, rough, strict=True)]
    lack = math.log1p(_sum(excess, math))
    return p, q, [r - lack if ok else r for ok, r in zip(possible, rough, strict=True)]


# Losses: for each row or element a list of terms, which add up to its value, and its weight in the mean


def binary_cross_entropy(
    labels: Number | Sequence[Number],
    q: Number | Sequence[Number],
    *,
    weight: Number | Sequence[Number] | None = None,
    pos_weight: Number | Sequence[Number] | None = None,
    label_smoothing: float = 0.0,
    base: float | None = None,
    reduction: str | None = None,
    math: Any = math,
) -> Any:
    r"""Cross-entropy of the probabilities `q` of events that `labels` says to have happened or not.

    .. math:: L = -w [v y \log q + (1 - y) \log(1 - q)]

    with y = (1 - s) `labels` + s/2, where s is `label_smoothing`.

    Parameters
    ----------
    labels, q : number or list of numbers, of one length
    weight, pos_weight : number or list of numbers, optional
        The w and the v of the formula, 1 by default.
    label_smoothing : number, optional
        From 0, none, to 1.
    base : number, optional
        Base of the logarithm; nats by default.
    reduction : {"sum", "mean"}, optional
        Add the elements up; "mean" divides the sum by that of `weight`, or by their number.
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    number or list of numbers
        NaN where a label or a probability is outside [0, 1]. A factor of 0 leaves 0 also of an infinite
        logarithm. The mean is NaN where there is nothing to divide by.

    Examples
    --------
    >>> binary_cross_entropy([1, 0], [0.25, 0.0], base=2)
    [2.0, 0.0]
    >>> binary_cross_entropy([1, 0], [0.25, 0.5], base=2, reduction="sum")
    3.0
    """
    terms = _loss_terms("binary_cross_entropy", labels, q, weight, pos_weight, label_smoothing, math)
    return _reduced(*terms, base, reduction, math)


def binary_cross_entropy_from_logits(
    labels: Number | Sequence[Number],
    logits: Number | Sequence[Number],
    *,
    weight: Number | Sequence[Number] | None = None,
    pos_weight: Number | Sequence[Number] | None = None,
    label_smoothing: float = 0.0,
    base: float | None = None,
    reduction: str | None = None,
    math: Any = math,
) -> Any:
    r"""`binary_cross_entropy` of the probabilities of `logits`.

    .. math:: L = w [v y \log(1 + e^{-z}) + (1 - y) \log(1 + e^z)]

    Parameters
    ----------
    labels, logits : number or list of numbers, of one length
    weight, pos_weight, label_smoothing, base, reduction, math : optional
        As in `binary_cross_entropy`.

    Returns
    -------
    number or list of numbers
        At an infinite logit 0 or +inf, as the label says.

    Examples
    --------
    >>> binary_cross_entropy_from_logits([1, 1, 0], [-1000.0, 40.0, float("-inf")])
    [1000.0, 4.248354255291589e-18, 0.0]
    """
    terms = _loss_terms("binary_cross_entropy_from_logits", labels, logits, weight, pos_weight, label_smoothing, math)
    return _reduced(*terms, base, reduction, math)


def categorical_cross_entropy(
    labels: int | Sequence[Any],
    q: Sequence[Any],
    *,
    weight: Sequence[Number] | None = None,
    sample_weight: Number | Sequence[Number] | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    base: float | None = None,
    reduction: str | None = None,
    math: Any = math,
) -> Any:
    r"""Cross-entropy of the probabilities `q` of classes relative to `labels`.

    .. math:: L = -v \sum_j w_j y_j \log q_j

    with y = (1 - s) `labels` + s/C, where s is `label_smoothing` and C the number of classes. The label k, an
    int, stands for the distribution that is 1 at k.

    Parameters
    ----------
    labels : int or list of numbers; with rows list of ints or list of lists of numbers
        The class or the distribution of the one row, or one of them for each row.
    q : list of numbers, or list of such rows
    weight : list of numbers, optional
        The w of the formula, one for each class, 1 by default.
    sample_weight : number, or with rows list of numbers, optional
        The v of the formula, one for each row, 1 by default.
    ignore_index : int, optional
        Rows of this label have the value 0 and do not count in the mean.
    label_smoothing : number, optional
        From 0, none, to 1.
    base : number, optional
        Base of the logarithm; nats by default.
    reduction : {"sum", "mean"}, optional
        Add the rows up; "mean" divides the sum by the weight of the labels: sample_weight times w_k, or
        sum w_j `labels`_j, or 1 without `weight`.
    math : module-like, optional
        The arithmetic, see `kullback.reference`.

    Returns
    -------
    number or list of numbers
        One for each row, or a number where there is but one row or a reduction. A negative number or NaN in a
        row makes it NaN. A factor of 0 leaves 0 also of an infinite logarithm. The mean is NaN where there is
        nothing to divide by.

    Raises
    ------
    IndexError
        If a label is neither a class nor `ignore_index`.

    Examples
    --------
    >>> categorical_cross_entropy(1, [0.5, 0.25, 0.25], base=2)
    2.0
    >>> categorical_cross_entropy([1, [0.5, 0.5]], [[0.5, 0.5], [0.25, 0.25]], base=2)
    [1.0, 2.0]
    """
    terms = _loss_terms(
        "categorical_cross_entropy", labels, q, weight, sample_weight, ignore_index, label_smoothing, math
    )
    return _reduced(*terms, base, reduction, math)


def categorical_cross_entropy_from_logits(
    labels: int | Sequence[Any],
    logits: Sequence[Any],
    *,
    weight: Sequence[Number] | None = None,
    sample_weight: Number | Sequence[Number] | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    base: float | None = None,
    reduction: str | None = None,
    math: Any = math,
) -> Any:
    r"""`categorical_cross_entropy` of the probabilities of `logits`.

    .. math:: L = v \sum_j w_j y_j \left( \log \sum_k e^{z_k} - z_j \right)

    Parameters
    ----------
    labels : int or list of numbers; with rows list of ints or list of lists of numbers
    logits : list of numbers, or list of such rows
    weight, sample_weight, ignore_index, label_smoothing, base, reduction, math : optional
        As in `categorical_cross_entropy`.

    Returns
    -------
    number or list of numbers
        Of full relative accuracy however confident the right prediction is.

    Examples
    --------
    >>> categorical_cross_entropy_from_logits(0, [40.0, 0.0, 0.0])
    8.496708510583178e-18
    """
    terms = _loss_terms(
        "categorical_cross_entropy_from_logits",
        labels,
        logits,
        weight,
        sample_weight,
        ignore_index,
        label_smoothing,
        math,
    )
    return _reduced(*terms, base, reduction, math)


def _losses(q: list[Number], math: Any) -> list[Number]:
    return [0 - _log(x, math) for x in q] if all(x >= 0 for x in q) else [math.nan] * len(q)


def _binary_losses(q: Number, math: Any) -> tuple[Number, Number]:
    """The losses where the event happened and where it did not."""
    if not 0 <= q <= 1:
        return math.nan, math.nan
    return 0 - _log(q, math), 0 - math.log1p(-q) if q != 1 else math.inf


def _binary_losses_of_logits(z: Number, math: Any) -> tuple[Number, Number]:
    return _softplus(-z, math), _softplus(z, math)


class _Event(NamedTuple):
    """What a binary loss makes of one prediction and its label."""

    prediction: Number
    weight: Number  # the w of the formula
    pos_weight: Number  # its v
    hit: Number  # its y, smoothed
    miss: Number  # its 1 - y


class _Row(NamedTuple):
    """What a categorical loss makes of one row of predictions and its label."""

    predictions: list[Number]
    weights: list[Number]  # the w of the formula
    smoothed: list[Number]  # its y
    sample_weight: Number  # its v
    mean_weight: Number  # what the row counts in the mean
    ignored: bool = False


Terms: TypeAlias = tuple[list[list[Number]], list[Number], bool]  # of each row; weights; whether it is one number


def _binary_terms(losses: Callable[..., tuple[Number, Number]], *arguments: Any) -> Terms:
    events, single = _events(*arguments)
    math, terms = arguments[-1], []
    for event in events:
        happened, not_happened = losses(event.prediction, math)
        hit = _product(happened, event.weight, event.pos_weight, event.hit)
        terms.append([hit, _product(not_happened, event.weight, event.miss)])
    return terms, [event.weight for event in events], single


def _categorical_terms(losses: Callable[..., list[Number]], *arguments: Any) -> Terms:
    rows, single = _rows(*arguments)
    math = arguments[-1]
    terms = [[] if row.ignored else _terms_of_row(row, losses(row.predictions, math)) for row in rows]
    return terms, [row.mean_weight for row in rows], single


def _terms_of_row(row: _Row, losses: list[Number]) -> list[Number]:
    columns = list(zip(losses, row.weights, row.smoothed, strict=True))
    terms = [_product(loss, row.sample_weight, *factors) for loss, *factors in columns]
    # An infinite loss of either sign stays one beside an infinite label of a class that is certain, whose loss of 0 makes
    # it NaN.
    numbers = [row.sample_weight, *(x for column in columns for x in column)]
    infinite = {x for x in terms if abs(x) == math.inf}
    if len(infinite) == 1 and all(x == x for x in numbers):
        return [*infinite]
    return terms


def _events(
    labels: Any, predictions: Any, weight: Any, pos_weight: Any, label_smoothing: Any, math: Any
) -> tuple[list[_Event], bool]:
    s = _smoothing(label_smoothing, math)
    arguments = [labels, predictions, 1 if weight is None else weight, 1 if pos_weight is None else pos_weight]
    lengths = {len(x) for x in arguments if isinstance(x, Sequence)}
    if len(lengths) > 1:
        raise ValueError(f"lists of {' and '.join(map(str, sorted(lengths)))} numbers, expected one length")
    n = max(lengths, default=1)
    columns = [_numbers(x if isinstance(x, Sequence) else [x] * n, math) for x in arguments]

    events = []
    for y, prediction, w, v in zip(*columns, strict=True):
        hit, miss = ((1 - s) * y + s / 2, (1 - s) * (1 - y) + s / 2) if 0 <= y <= 1 else (math.nan, math.nan)
        events.append(_Event(prediction, w, v, hit, miss))
    return events, not lengths


def _rows(
    labels: Any,
    predictions: Any,
    weight: Any,
    sample_weight: Any,
    ignore_index: int | None,
    label_smoothing: Any,
    math: Any,
) -> tuple[list[_Row], bool]:
    s = _smoothing(label_smoothing, math)
    single = not isinstance(labels, Sequence) or (len(predictions) > 0 and not isinstance(predictions[0], Sequence))
    if single:
        labels, predictions = [labels], [predictions]
    if not isinstance(sample_weight, Sequence):
        sample_weight = [1 if sample_weight is None else sample_weight] * len(labels)

    rows = []
    for i, (label, row, v) in enumerate(zip(labels, predictions, _numbers(sample_weight, math), strict=True)):
        soft = isinstance(label, Sequence)
        if soft and ignore_index is not None:
            raise ValueError("ignore_index needs class indices")
        if not soft and label == ignore_index:
            rows.append(_Row(_numbers(row, math), [], [], v, 0, ignored=True))
            continue
        if not soft:
            _check_class("label", label, () if single else (i,), len(row))
        y = _numbers(label if soft else [int(j == label) for j in range(len(row))], math)
        w = _numbers([1] * len(row) if weight is None else weight, math)
        smoothed = [(1 - s) * x + s / len(y) if x >= 0 else math.nan for x in y]
        mass = 1 if weight is None else _sum([_product(*x) for x in zip(w, y, strict=True)], math)
        rows.append(_Row(_numbers(row, math), w, smoothed, v, v * mass))
    return rows, single


def _reduced(
    terms: list[list[Number]], weights: list[Number], single: bool, base: float | None, reduction: str | None, math: Any
) -> Any:
    divisor = _divisor(weights, reduction, math)
    if reduction is None:
        values = [_total(row, base, math) for row in terms]
        return values[0] if single else values
    return _total([term for row in terms for term in row], base, math) / divisor


def _divisor(weights: list[Number], reduction: str | None, math: Any) -> Number:
    if reduction not in (None, "sum", "mean"):
        raise ValueError(f"reduction={reduction!r}, expected None, 'sum' or 'mean'")
    divisor = _sum(weights, math) if reduction == "mean" else 1
    return divisor if divisor != 0 else math.nan


def _smoothing(label_smoothing: Any, math: Any) -> Number:
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing={label_smoothing!r}, expected a number from 0 to 1")
    return _numbers([label_smoothing], math)[0]


def _check_class(what: str, k: int, index: tuple[int, ...], classes: int) -> None:
    if isinstance(k, float):
        raise TypeError(f"{what} {k} at index {index} is a float, expected an int")
    if not 0 <= k < classes:
        raise IndexError(f"{what} {k} at index {index} is out of range for {classes} classes")


# What each measure adds up; the sum of the terms' magnitudes is the scale of its rounding errors.
_TERMS: dict[str, Callable[..., Number]] = {
    "entropy": _entropy_term,
    "cross_entropy": _cross_entropy_term,
    "kl_divergence": _kl_divergence_term,
    "js_divergence": _js_divergence_term,
}
_TERMS_OF_LOGITS: dict[str, Callable[..., list[Number]]] = {
    "logsumexp": _logsumexp_terms,
    "entropy_from_logits": _entropy_from_logits_terms,
    "kl_divergence_from_logits": _kl_divergence_from_logits_terms,
    "js_divergence_from_logits": _js_divergence_from_logits_terms,
}
_LOSSES: dict[str, tuple[Callable[..., Terms], Callable[..., Any]]] = {
    "binary_cross_entropy": (_binary_terms, _binary_losses),
    "binary_cross_entropy_from_logits": (_binary_terms, _binary_losses_of_logits),
    "categorical_cross_entropy": (_categorical_terms, _losses),
    "categorical_cross_entropy_from_logits": (_categorical_terms, _losses_of_logits),
}


def _terms(measure: str, rows: Sequence[Sequence[Number]], math: Any) -> list[Number]:
    """The terms of a row measure; of probabilities a single NaN where a number is NaN or negative."""
    numbers = [_numbers(row, math) for row in rows]
    if measure in _TERMS_OF_LOGITS:
        return _TERMS_OF_LOGITS[measure](*numbers, math)
    columns = list(zip(*numbers, strict=True))
    if not all(x >= 0 for row in numbers for x in row):
        return [math.nan]
    return [_TERMS[measure](*column, math) for column in columns]


def _loss_terms(measure: str, *arguments: Any) -> Terms:
    build, losses = _LOSSES[measure]
    return build(losses, *arguments)


def _total(terms: Sequence[Number], base: float | None, math: Any) -> Number:
    return _in_base(_sum(terms, math), base, math)


def _sum(terms: Sequence[Number], math: Any) -> Number:
    try:
        return getattr(math, "fsum", sum)(terms)
    except ValueError:  # how Python's fsum refuses inf - inf
        return math.nan
    except OverflowError:  # of a partial sum, which need not be one of the total
        return math.fsum(term * 2.0**-64 for term in terms) * 2.0**64


def _product(x: Number, *factors: Number) -> Number:
    """The product, where a factor of 0 leaves nothing even of an infinite `x`; NaN stays."""
    if 0 in factors and all(factor == factor for factor in (x, *factors)):
        return 0
    for factor in factors:
        x = x * factor
    return x


def _difference(a: Number, b: Number, math: Any) -> tuple[Number, Number]:
    """The difference a - b as it is rounded, and what the rounding took away."""
    d = a - b
    return d, (_sum([a, -b, -d], math) if abs(d) != math.inf else 0 / d)


def _exp_minus(x: Number, math: Any) -> Number:
    """exp(-x) for x >= 0; far below every float 0, for mpmath's exponents know no end."""
    return 0 / x if x > 10_000 else math.exp(-x)


def _numbers(xs: Sequence[Number], math: Any) -> list[Number]:
    number = getattr(math, "mpf", float)
    return [number(x) for x in xs]


def _each(value: Callable[[Number], Number], p: Any, base: float | None, math: Any) -> Any:
    values = [_in_base(value(x), base, math) for x in _numbers(p if isinstance(p, Sequence) else [p], math)]
    return values if isinstance(p, Sequence) else values[0]


def _in_base(nats: Number, base: float | None, math: Any) -> Number:
    return nats if base is None else nats / math.log(_numbers([base], math)[0])


def _log(x: Number, math: Any) -> Number:
    return math.log(x) if x != 0 else -math.inf


def _log_ratio(p: Number, q: Number, math: Any) -> Number:
    """log(p/q) for p > 0: accurate near 1, and finite where p/q leaves the range of floats."""
    if q == 0:
        return math.inf
    if q / 2 <= p <= 2 * q:
        return math.log1p((p - q) / q)  # the difference is exact
    if 1e-300 < p / q < 1e300:
        return math.log(p / q)
    return math.log(p) - math.log(q)


from . import grad  # last, for it is made of the above
