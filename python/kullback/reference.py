"""The measures in plain Python: each written from its formula alone, to be read and to be checked against.

Nothing here is shared with the compiled core, and NumPy is not imported. A row function takes
distributions as lists of numbers, one list each, and returns a number; an elementwise function takes a
number, or a list of numbers, and returns the like.

``math=`` chooses the arithmetic. With Python's `math` module a result is good to a few units in the last
place, though terms below the range of normal floats bring their own rounding each; with ``mpmath.mp`` it is
good to whatever precision is set there. Any object serves that has `log`, `log1p`, `inf` and `nan`, and where
it has them `mpf`, which converts the inputs, and `fsum`, which adds.

The same rules hold throughout. ``0 log 0 = 0``. Numbers are used as given, never normalised and never
clipped. An infinite input gives the limit, or NaN where there is none. A negative number is not a
probability: it and NaN make the whole result NaN. An empty list gives 0. ``base=None`` is nats, 2 is bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

__all__ = [
    "binary_entropy",
    "cross_entropy",
    "entropy",
    "js_divergence",
    "kl_divergence",
    "self_information",
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
    # With m = (a + b)/2 and r = b/a the term is a/2 [log(a/m) + r log(b/m)].
    r = b / a
    if 4 * r < 1:
        log_am = math.log(2) - math.log1p(r)
        return a * ((log_am + (r * (log_am + math.log(r)) if r != 0 else 0)) / 2)
    # Near r = 1 the two logarithms cancel. With u = (a - b)/a and t = (a - b)/(a + b) the same term is
    # a/4 [(1 + r) log(1 - t^2) - u log(1 - u)], where the first logarithm takes but half of the second.
    u = (a - b) / a
    t = u / (1 + r)
    return a * (((1 + r) * math.log1p(-t * t) - u * math.log1p(-u)) / 4)


# What each row measure adds up; the sum of the terms' magnitudes is the scale of its rounding errors.
_TERMS: dict[str, Callable[..., Number]] = {
    "entropy": _entropy_term,
    "cross_entropy": _cross_entropy_term,
    "kl_divergence": _kl_divergence_term,
    "js_divergence": _js_divergence_term,
}


def _terms(measure: str, rows: Sequence[Sequence[Number]], math: Any) -> list[Number]:
    """The terms of a row measure; a single NaN where a number is NaN or negative."""
    number = getattr(math, "mpf", float)
    columns = [[number(x) for x in column] for column in zip(*rows, strict=True)]
    if not all(x >= 0 for column in columns for x in column):
        return [math.nan]
    return [_TERMS[measure](*column, math) for column in columns]


def _total(terms: list[Number], base: float | None, math: Any) -> Number:
    try:
        total = getattr(math, "fsum", sum)(terms)
    except ValueError:  # how Python's fsum refuses inf - inf
        total = math.nan
    except OverflowError:  # of a partial sum, which need not be one of the total
        total = math.fsum(term * 2.0**-64 for term in terms) * 2.0**64
    return _in_base(total, base, math)


def _each(value: Callable[[Number], Number], p: Any, base: float | None, math: Any) -> Any:
    number = getattr(math, "mpf", float)
    if isinstance(p, Sequence):
        return [_in_base(value(number(x)), base, math) for x in p]
    return _in_base(value(number(p)), base, math)


def _in_base(nats: Number, base: float | None, math: Any) -> Number:
    return nats if base is None else nats / math.log(getattr(math, "mpf", float)(base))


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
