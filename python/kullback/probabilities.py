"""Information measures of probabilities.

Probabilities are used as given: never normalised, never clipped. ``0 log 0`` is 0. Results are in nats, or in
the unit that `base` sets.
"""

from __future__ import annotations

from typing import Any, SupportsFloat

import numpy.typing as npt

from . import _core
from ._binding import compiled
from ._types import Axis, FloatArray

__all__ = [
    "binary_entropy",
    "cross_entropy",
    "entropy",
    "js_divergence",
    "kl_divergence",
    "self_information",
]


@compiled(_core.self_information)
def self_information(
    p: npt.ArrayLike,
    *,
    base: SupportsFloat | None = None,
    out: FloatArray | None = None,
) -> Any:
    r"""Information of an event of probability `p`, its surprisal.

    .. math:: I(p) = -\log p

    Parameters
    ----------
    p : array_like
        Probabilities.
    base : float, optional
        Base of the logarithm, finite, > 0 and not 1. Default: nats; 2 gives bits.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. It may be `p` itself.

    Returns
    -------
    ndarray or scalar
        The shape of `p`. +inf at 0, +0 at 1, negative beyond 1; NaN where `p` is negative or NaN.

    Raises
    ------
    TypeError
        If `p` has a dtype other than float32, float64, an integer or bool, or is a masked array; if `out` is
        not an array of the result's dtype; if `base` is not a number.
    ValueError
        If `out` has the wrong shape or is read-only; if `base` is not finite, not > 0 or 1.

    See Also
    --------
    entropy : Its expected value.
    numpy.log : The logarithm itself; its last digits depend on the machine.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. A Python
    number takes the dtype of the array that it meets. Accurate to 2 ULP everywhere. Equation 2 of the lecture
    "Cross-Entropy Loss function", section 3.2 of Microsoft's ai-edu course.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.self_information([1.0, 0.5, 0.25], base=2)
    array([0., 1., 2.])
    """


@compiled(_core.binary_entropy)
def binary_entropy(
    p: npt.ArrayLike,
    *,
    base: SupportsFloat | None = None,
    out: FloatArray | None = None,
) -> Any:
    r"""Entropy of an event of probability `p` and its opposite.

    .. math:: h(p) = -p \log p - (1 - p) \log(1 - p)

    Parameters
    ----------
    p : array_like
        Probabilities.
    base : float, optional
        Base of the logarithm, finite, > 0 and not 1. Default: nats; 2 gives bits.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. It may be `p` itself.

    Returns
    -------
    ndarray or scalar
        The shape of `p`. Exactly 0 at 0 and 1; NaN outside [0, 1].

    Raises
    ------
    TypeError
        If `p` has a dtype other than float32, float64, an integer or bool, or is a masked array; if `out` is
        not an array of the result's dtype; if `base` is not a number.
    ValueError
        If `out` has the wrong shape or is read-only; if `base` is not finite, not > 0 or 1.

    See Also
    --------
    entropy : Of a distribution over any number of outcomes.
    scipy.special.entr : One of the two terms.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. A Python
    number takes the dtype of the array that it meets. Accurate to 2 ULP everywhere. The entropy of equation 3
    of the lecture "Cross-Entropy Loss function", section 3.2 of Microsoft's ai-edu course, for two outcomes.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.binary_entropy([0.0, 0.5, 1.0], base=2)
    array([0., 1., 0.])
    """


@compiled(_core.entropy)
def entropy(
    p: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    out: FloatArray | None = None,
) -> Any:
    r"""Shannon entropy of `p`.

    .. math:: H(p) = -\sum_i p_i \log p_i

    Parameters
    ----------
    p : array_like
        Distributions along `axis`.
    axis : int, tuple of ints or None, default -1
        The axis or axes of one distribution; None for all of them. Several axes are summed in C order.
    base : float, optional
        Base of the logarithm, finite, > 0 and not 1. Default: nats; 2 gives bits.
    keepdims : bool, default False
        Leave reduced axes in the result, with length 1.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. It may overlap an input.

    Returns
    -------
    ndarray or scalar
        The shape of `p` without `axis`. 0 for an empty distribution; -inf where it holds +inf; NaN where it
        holds a negative number or NaN.

    Raises
    ------
    TypeError
        If `p` has a dtype other than float32, float64, an integer or bool, or is a masked array; if `out`
        is not an array of the result's dtype; if `axis` or `base` is of the wrong type.
    ValueError
        If `out` has the wrong shape or is read-only; if `axis` names a dimension twice; if `base` is not
        finite, not > 0 or 1.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    See Also
    --------
    binary_entropy : Of two outcomes.
    scipy.stats.entropy : Normalises its input silently.
    torch.distributions.Categorical.entropy : Normalises, and clamps.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. A Python
    number takes the dtype of the array that it meets. Accurate to 2 ULP for any length. Equation 3 of the
    lecture "Cross-Entropy Loss function", section 3.2 of Microsoft's ai-edu course.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.entropy([[0.5, 0.5], [0.25, 0.75]], base=2)
    array([1.        , 0.81127812])
    >>> round(float(kb.entropy([0.7, 0.2, 0.1])), 4)
    0.8018
    """


@compiled(_core.cross_entropy)
def cross_entropy(
    p: npt.ArrayLike,
    q: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    out: FloatArray | None = None,
) -> Any:
    r"""Cross-entropy of the model `q` relative to the reference `p`.

    .. math:: H(p, q) = -\sum_i p_i \log q_i

    Parameters
    ----------
    p, q : array_like
        Distributions along `axis`, which broadcast against each other.
    axis : int, tuple of ints or None, default -1
        The axis or axes of one distribution; None for all of them. Several axes are summed in C order.
    base : float, optional
        Base of the logarithm, finite, > 0 and not 1. Default: nats; 2 gives bits.
    keepdims : bool, default False
        Leave reduced axes in the result, with length 1.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. It may overlap an input.

    Returns
    -------
    ndarray or scalar
        The common shape without `axis`. A term is 0 where p = 0 and +inf where p > 0 = q; the row is NaN where
        it holds a negative number or NaN.

    Raises
    ------
    TypeError
        If `p` or `q` has a dtype other than float32, float64, an integer or bool, or is a masked array; if `out`
        is not an array of the result's dtype; if `axis` or `base` is of the wrong type.
    ValueError
        If `out` has the wrong shape or is read-only; if `axis` names a dimension twice; if `base` is not
        finite, not > 0 or 1; if the shapes do not broadcast.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    See Also
    --------
    kl_divergence : What remains of it when the entropy of `p` is taken off.
    torch.nn.functional.cross_entropy : Takes predictions first, and logits.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. A Python
    number takes the dtype of the array that it meets. Accurate to 2 ULP for any length, relative to the sum
    of the terms' magnitudes where q exceeds 1. Equations 1 and 6 of the lecture "Cross-Entropy Loss
    function", section 3.2 of Microsoft's ai-edu course.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.cross_entropy([0.5, 0.5], [0.25, 0.5], base=2)
    np.float64(1.5)
    >>> kb.cross_entropy([1.0, 0.0], [[0.5, 0.5], [0.0, 1.0]], base=2)
    array([ 1., inf])
    """


@compiled(_core.kl_divergence)
def kl_divergence(
    p: npt.ArrayLike,
    q: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    out: FloatArray | None = None,
) -> Any:
    r"""Kullback-Leibler divergence of the model `q` from the reference `p`.

    .. math:: D(p \| q) = \sum_i p_i \log \frac{p_i}{q_i}

    Parameters
    ----------
    p, q : array_like
        Distributions along `axis`, which broadcast against each other.
    axis : int, tuple of ints or None, default -1
        The axis or axes of one distribution; None for all of them. Several axes are summed in C order.
    base : float, optional
        Base of the logarithm, finite, > 0 and not 1. Default: nats; 2 gives bits.
    keepdims : bool, default False
        Leave reduced axes in the result, with length 1.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. It may overlap an input.

    Returns
    -------
    ndarray or scalar
        The common shape without `axis`. Exactly +0 where the rows are equal; a term is 0 where p = 0 and +inf
        where p > 0 = q; the row is NaN where it holds a negative number or NaN.

    Raises
    ------
    TypeError
        If `p` or `q` has a dtype other than float32, float64, an integer or bool, or is a masked array; if `out`
        is not an array of the result's dtype; if `axis` or `base` is of the wrong type.
    ValueError
        If `out` has the wrong shape or is read-only; if `axis` names a dimension twice; if `base` is not
        finite, not > 0 or 1; if the shapes do not broadcast.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    See Also
    --------
    js_divergence : Symmetric, and bounded.
    scipy.special.rel_entr : Its terms; overflows where p/q does.
    scipy.stats.entropy : With two arguments; normalises silently.
    torch.nn.functional.kl_div : Takes log q first, then p.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. A Python
    number takes the dtype of the array that it meets. Accurate to 2 ULP for any length, relative to the sum
    of the terms' magnitudes, for terms of both signs may cancel. Ratios beyond the range of floats do no
    harm. Equation 4 of the lecture "Cross-Entropy Loss function", section 3.2 of Microsoft's ai-edu course.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.kl_divergence([0.5, 0.5, 0.0], [0.25, 0.25, 0.5], base=2)
    np.float64(1.0)
    >>> kb.kl_divergence([[0.5, 0.5]], [[0.5, 0.5], [1.0, 0.0]])
    array([ 0., inf])
    """


@compiled(_core.js_divergence)
def js_divergence(
    p: npt.ArrayLike,
    q: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    out: FloatArray | None = None,
) -> Any:
    r"""Jensen-Shannon divergence of `p` and `q`; the divergence, not its square root.

    .. math:: J(p, q) = \tfrac12 D(p \| m) + \tfrac12 D(q \| m), \qquad m = \tfrac12 (p + q)

    Parameters
    ----------
    p, q : array_like
        Distributions along `axis`, which broadcast against each other.
    axis : int, tuple of ints or None, default -1
        The axis or axes of one distribution; None for all of them. Several axes are summed in C order.
    base : float, optional
        Base of the logarithm, finite, > 0 and not 1. Default: nats; 2 gives bits.
    keepdims : bool, default False
        Leave reduced axes in the result, with length 1.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. It may overlap an input.

    Returns
    -------
    ndarray or scalar
        The common shape without `axis`. Exactly +0 where the rows are equal and never negative; log 2 for
        distributions that share nothing; +inf where one of two numbers is infinite, NaN where both are; the
        row is NaN where it holds a negative number or NaN.

    Raises
    ------
    TypeError
        If `p` or `q` has a dtype other than float32, float64, an integer or bool, or is a masked array; if `out`
        is not an array of the result's dtype; if `axis` or `base` is of the wrong type.
    ValueError
        If `out` has the wrong shape or is read-only; if `axis` names a dimension twice; if `base` is not
        finite, not > 0 or 1; if the shapes do not broadcast.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    See Also
    --------
    kl_divergence : Its two halves.
    scipy.spatial.distance.jensenshannon : The square root; normalises.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. A Python
    number takes the dtype of the array that it meets. Accurate to 2 ULP for any length: every term is
    positive. J. Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information
    Theory 37 (1991).

    Examples
    --------
    >>> import kullback as kb
    >>> kb.js_divergence([1.0, 0.0], [[0.0, 1.0], [1.0, 0.0]], base=2)
    array([1., 0.])
    """
