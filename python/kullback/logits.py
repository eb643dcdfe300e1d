"""Functions of logits, the unnormalised scores of a model.

Logits stand for the probabilities that softmax or, for two outcomes, sigmoid makes of them; these are formed
where they are the result and nowhere else. A logit of -inf is an impossible class. Results are in nats, or in
the unit that `base` sets.
"""

from __future__ import annotations

from typing import Any, SupportsFloat

import numpy.typing as npt

from . import _core
from ._binding import compiled
from ._types import Axis, FloatArray

__all__ = [
    "binary_entropy_from_logits",
    "entropy_from_logits",
    "js_divergence_from_logits",
    "kl_divergence_from_logits",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "sigmoid",
    "softmax",
    "token_logprobs",
]


@compiled(_core.logsumexp, base=None)
def logsumexp(
    z: npt.ArrayLike,
    *,
    axis: Axis = -1,
    keepdims: bool = False,
    out: FloatArray | None = None,
) -> Any:
    r"""Logarithm of the sum of exponentials of `z`.

    .. math:: \operatorname{lse}(z) = \log \sum_j e^{z_j}

    Parameters
    ----------
    z : array_like
        Logits along `axis`.
    axis : int, tuple of ints or None, default -1
        The axis or axes to sum over; None for all of them. Several axes are summed in C order.
    keepdims : bool, default False
        Leave reduced axes in the result, with length 1.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. It may overlap an input.

    Returns
    -------
    ndarray or scalar
        The shape of `z` without `axis`, in nats. -inf for nothing to sum and where all of it is -inf; +inf
        where one logit is +inf; NaN where several are or where one is NaN.

    Raises
    ------
    TypeError
        If `z` has a dtype other than float32, float64, an integer or bool, or is a masked array; if `out` is
        not an array of the result's dtype; if `axis` is of the wrong type.
    ValueError
        If `out` has the wrong shape or is read-only; if `axis` names a dimension twice.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    See Also
    --------
    log_softmax : The logits less this.
    numpy.logaddexp : Of two numbers.
    scipy.special.logsumexp : Takes factors and signs as well; +inf where several logits are.
    torch.logsumexp : +inf where several logits are.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. Accurate to 2
    ULP for any length, relative to the larger of the largest logit's magnitude and the logarithm that is added
    to it, for these may cancel. P. Blanchard, D. J. Higham and N. J. Higham, "Accurately computing the
    log-sum-exp and softmax functions", IMA Journal of Numerical Analysis 41 (2021).

    Examples
    --------
    >>> import kullback as kb
    >>> kb.logsumexp([[1000.0, 1000.0], [0.0, float("-inf")]])
    array([1000.69314718,    0.        ])
    """


@compiled(_core.softmax)
def softmax(
    z: npt.ArrayLike,
    *,
    axis: Axis = -1,
    out: FloatArray | None = None,
) -> Any:
    r"""Probabilities of the classes whose logits are `z`.

    .. math:: p_j = \frac{e^{z_j}}{\sum_k e^{z_k}}

    Parameters
    ----------
    z : array_like
        Logits along `axis`.
    axis : int, tuple of ints or None, default -1
        The axis or axes of one distribution; None for all of them. Several axes make one distribution in C
        order.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. It may be `z` itself.

    Returns
    -------
    ndarray or scalar
        The shape of `z`. Exactly 0 at -inf; where one logit is +inf, 1 there and 0 elsewhere; the row is NaN
        where several are, where all are -inf and where one is NaN.

    Raises
    ------
    TypeError
        If `z` has a dtype other than float32, float64, an integer or bool, or is a masked array; if `out` is
        not an array of the result's dtype; if `axis` is of the wrong type.
    ValueError
        If `out` has the wrong shape or is read-only; if `axis` names a dimension twice.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    See Also
    --------
    log_softmax : Its logarithm, which keeps its digits where this is near 1.
    scipy.special.softmax : Computes integers in their own dtype, where they wrap; refuses what is empty.
    torch.softmax : NaN where one logit is +inf.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. Accurate to 2
    ULP for any length. J. S. Bridle, "Probabilistic interpretation of feedforward classification network
    outputs", Neurocomputing, NATO ASI Series F 68 (1990).

    Examples
    --------
    >>> import kullback as kb
    >>> kb.softmax([[1000.0, 1000.0], [0.0, float("-inf")]])
    array([[0.5, 0.5],
           [1. , 0. ]])
    """


@compiled(_core.log_softmax)
def log_softmax(
    z: npt.ArrayLike,
    *,
    axis: Axis = -1,
    out: FloatArray | None = None,
) -> Any:
    r"""Logarithms of the probabilities of the classes whose logits are `z`.

    .. math:: \log p_j = z_j - \log \sum_k e^{z_k}

    Parameters
    ----------
    z : array_like
        Logits along `axis`.
    axis : int, tuple of ints or None, default -1
        The axis or axes of one distribution; None for all of them. Several axes make one distribution in C
        order.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. It may be `z` itself.

    Returns
    -------
    ndarray or scalar
        The shape of `z`, in nats. -inf at -inf; where one logit is +inf, 0 there and -inf elsewhere; the row is
        NaN where several are, where all are -inf and where one is NaN.

    Raises
    ------
    TypeError
        If `z` has a dtype other than float32, float64, an integer or bool, or is a masked array; if `out` is
        not an array of the result's dtype; if `axis` is of the wrong type.
    ValueError
        If `out` has the wrong shape or is read-only; if `axis` names a dimension twice.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    See Also
    --------
    token_logprobs : Of chosen classes only.
    categorical_cross_entropy_from_logits : Its negative at the label.
    scipy.special.log_softmax : Exactly 0 where a class is nearly certain, as in the example.
    torch.log_softmax : Exactly 0 there, too.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. Accurate to 2
    ULP for any length, down to the smallest numbers: at the largest logit it is minus log1p of the other
    classes' sum, no digit of which is lost beside that logit. P. Blanchard, D. J. Higham and N. J. Higham, "Accurately computing the
    log-sum-exp and softmax functions", IMA Journal of Numerical Analysis 41 (2021).

    Examples
    --------
    >>> import kullback as kb
    >>> kb.log_softmax([40.0, 0.0])
    array([-4.24835426e-18, -4.00000000e+01])
    """


@compiled(_core.sigmoid, base=None)
def sigmoid(
    z: npt.ArrayLike,
    *,
    out: FloatArray | None = None,
) -> Any:
    r"""Probability of an outcome whose logit is `z`; the logistic function.

    .. math:: \sigma(z) = \frac{1}{1 + e^{-z}}

    Parameters
    ----------
    z : array_like
        Logits, of one outcome against its opposite.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. It may be `z` itself.

    Returns
    -------
    ndarray or scalar
        The shape of `z`. Exactly 0 at -inf and 1 at +inf; NaN at NaN.

    Raises
    ------
    TypeError
        If `z` has a dtype other than float32, float64, an integer or bool, or is a masked array; if `out` is
        not an array of the result's dtype.
    ValueError
        If `out` has the wrong shape or is read-only.

    See Also
    --------
    log_sigmoid : Its logarithm, which keeps its digits where this is near 1.
    scipy.special.expit : 0 already where subnormal numbers could say more.
    torch.sigmoid : Turns integers into float32.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. Accurate to 2
    ULP everywhere. D. R. Cox, "The regression analysis of binary sequences", Journal of the Royal Statistical
    Society B 20 (1958).

    Examples
    --------
    >>> import kullback as kb
    >>> kb.sigmoid([-1000.0, 0.0, 1000.0])
    array([0. , 0.5, 1. ])
    """


@compiled(_core.log_sigmoid, base=None)
def log_sigmoid(
    z: npt.ArrayLike,
    *,
    out: FloatArray | None = None,
) -> Any:
    r"""Logarithm of the probability of an outcome whose logit is `z`.

    .. math:: \log \sigma(z) = -\log(1 + e^{-z})

    Parameters
    ----------
    z : array_like
        Logits, of one outcome against its opposite.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. It may be `z` itself.

    Returns
    -------
    ndarray or scalar
        The shape of `z`, in nats. -inf at -inf and 0 at +inf; NaN at NaN.

    Raises
    ------
    TypeError
        If `z` has a dtype other than float32, float64, an integer or bool, or is a masked array; if `out` is
        not an array of the result's dtype.
    ValueError
        If `out` has the wrong shape or is read-only.

    See Also
    --------
    binary_cross_entropy_from_logits : Its negative where the label is 1.
    scipy.special.log_expit : The same function; its last digits depend on the machine.
    torch.nn.functional.logsigmoid : Takes no integers.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. Accurate to 2
    ULP everywhere. M. Mächler, "Accurately computing log(1 - exp(-|a|))", vignette of the R package Rmpfr
    (2012).

    Examples
    --------
    >>> import kullback as kb
    >>> kb.log_sigmoid([-1000.0, 0.0, 40.0])
    array([-1.00000000e+03, -6.93147181e-01, -4.24835426e-18])
    """


@compiled(_core.entropy_from_logits)
def entropy_from_logits(
    z: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    out: FloatArray | None = None,
) -> Any:
    r"""Shannon entropy of the distribution whose logits are `z`.

    .. math:: H(p) = -\sum_j p_j \log p_j, \qquad p = \operatorname{softmax}(z)

    Parameters
    ----------
    z : array_like
        Logits along `axis`.
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
        The shape of `z` without `axis`. A class at -inf adds 0; 0 for an empty distribution and where one logit
        is +inf; NaN where several are, where all are -inf and where one is NaN.

    Raises
    ------
    TypeError
        If `z` has a dtype other than float32, float64, an integer or bool, or is a masked array; if `out` is
        not an array of the result's dtype; if `axis` or `base` is of the wrong type.
    ValueError
        If `out` has the wrong shape or is read-only; if `axis` names a dimension twice; if `base` is not
        finite, not > 0 or 1.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    See Also
    --------
    entropy : Of probabilities.
    binary_entropy_from_logits : Of two outcomes.
    torch.distributions.Categorical.entropy : Clamps logits of -inf to the least finite number.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. Accurate to 2
    ULP for any length, down to the smallest numbers. The entropy of equation 3 of the lecture "Cross-Entropy
    Loss function", section 3.2 of Microsoft's ai-edu course.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.entropy_from_logits([[0.0, 0.0, 0.0, 0.0], [40.0, 0.0, 0.0, 0.0]], base=2)
    array([2.00000000e+00, 7.53876793e-16])
    """


@compiled(_core.binary_entropy_from_logits)
def binary_entropy_from_logits(
    z: npt.ArrayLike,
    *,
    base: SupportsFloat | None = None,
    out: FloatArray | None = None,
) -> Any:
    r"""Entropy of an outcome whose logit is `z` and its opposite.

    .. math:: h(p) = -p \log p - (1 - p) \log(1 - p), \qquad p = \sigma(z)

    Parameters
    ----------
    z : array_like
        Logits, of one outcome against its opposite.
    base : float, optional
        Base of the logarithm, finite, > 0 and not 1. Default: nats; 2 gives bits.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. It may be `z` itself.

    Returns
    -------
    ndarray or scalar
        The shape of `z`. Exactly 0 at -inf and +inf; NaN at NaN.

    Raises
    ------
    TypeError
        If `z` has a dtype other than float32, float64, an integer or bool, or is a masked array; if `out` is
        not an array of the result's dtype; if `base` is not a number.
    ValueError
        If `out` has the wrong shape or is read-only; if `base` is not finite, not > 0 or 1.

    See Also
    --------
    binary_entropy : Of probabilities.
    entropy_from_logits : Of a distribution over any number of outcomes.
    torch.distributions.Bernoulli.entropy : Loses all digits where the outcome is nearly certain.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. Accurate to 2
    ULP everywhere. The entropy of equation 3 of the lecture "Cross-Entropy Loss function", section 3.2 of
    Microsoft's ai-edu course, for two outcomes.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.binary_entropy_from_logits([0.0, 40.0, float("-inf")], base=2)
    array([1.00000000e+00, 2.51292264e-16, 0.00000000e+00])
    """


@compiled(_core.kl_divergence_from_logits)
def kl_divergence_from_logits(
    p_logits: npt.ArrayLike,
    q_logits: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    out: FloatArray | None = None,
) -> Any:
    r"""Kullback-Leibler divergence of the model `q` from the reference `p`, both given by logits.

    .. math::

        D(p \| q) = \sum_j p_j \log \frac{p_j}{q_j}, \qquad
        p = \operatorname{softmax}(z^p), \; q = \operatorname{softmax}(z^q)

    Parameters
    ----------
    p_logits, q_logits : array_like
        Logits along `axis`, which broadcast against each other.
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
        where p > 0 = q; a logit of +inf makes its class certain. NaN where a row holds several +inf, only -inf,
        or NaN.

    Raises
    ------
    TypeError
        If `p_logits` or `q_logits` has a dtype other than float32, float64, an integer or bool, or is a masked
        array; if `out` is not an array of the result's dtype; if `axis` or `base` is of the wrong type.
    ValueError
        If `out` has the wrong shape or is read-only; if `axis` names a dimension twice; if `base` is not
        finite, not > 0 or 1; if the shapes do not broadcast.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    See Also
    --------
    kl_divergence : Of probabilities.
    js_divergence_from_logits : Symmetric, and bounded.
    torch.nn.functional.kl_div : Takes log q first, then p; NaN where p = q = 0.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. A Python number
    takes the dtype of the array that it meets. Accurate to 2 ULP for any length, relative to the sum of the
    terms' magnitudes, for terms of both signs may cancel. Equation 4 of the lecture "Cross-Entropy Loss
    function", section 3.2 of Microsoft's ai-edu course.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.kl_divergence_from_logits([0.0, 0.0], [[0.0, 0.0], [2.0, 0.0], [0.0, float("-inf")]])
    array([0.        , 0.43378083,        inf])
    """


@compiled(_core.js_divergence_from_logits)
def js_divergence_from_logits(
    p_logits: npt.ArrayLike,
    q_logits: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    out: FloatArray | None = None,
) -> Any:
    r"""Jensen-Shannon divergence of two distributions given by logits; the divergence, not its square root.

    .. math::

        J(p, q) = \tfrac12 D(p \| m) + \tfrac12 D(q \| m), \qquad m = \tfrac12 (p + q), \;
        p = \operatorname{softmax}(z^p), \; q = \operatorname{softmax}(z^q)

    Parameters
    ----------
    p_logits, q_logits : array_like
        Logits along `axis`, which broadcast against each other.
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
        The common shape without `axis`. Exactly +0 where the rows are equal; log 2 for distributions that share
        nothing; a logit of +inf makes its class certain. NaN where a row holds several +inf, only -inf, or NaN.

    Raises
    ------
    TypeError
        If `p_logits` or `q_logits` has a dtype other than float32, float64, an integer or bool, or is a masked
        array; if `out` is not an array of the result's dtype; if `axis` or `base` is of the wrong type.
    ValueError
        If `out` has the wrong shape or is read-only; if `axis` names a dimension twice; if `base` is not
        finite, not > 0 or 1; if the shapes do not broadcast.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    See Also
    --------
    js_divergence : Of probabilities.
    kl_divergence_from_logits : Its two halves.
    scipy.spatial.distance.jensenshannon : The square root, of probabilities, which it normalises.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. A Python number
    takes the dtype of the array that it meets. Accurate to 2 ULP for any length, relative to the sum of the
    magnitudes of p log(p/m) and q log(q/m). J. Lin, "Divergence measures based on the Shannon entropy", IEEE
    Transactions on Information Theory 37 (1991).

    Examples
    --------
    >>> import kullback as kb
    >>> kb.js_divergence_from_logits([1000.0, 0.0], [[0.0, 1000.0], [1000.0, 0.0]], base=2)
    array([1., 0.])
    """


@compiled(_core.token_logprobs)
def token_logprobs(
    logits: npt.ArrayLike,
    tokens: npt.ArrayLike,
    *,
    axis: int = -1,
    base: SupportsFloat | None = None,
    out: FloatArray | None = None,
) -> Any:
    r"""Logarithms of the probabilities of chosen classes, of a language model's tokens for example.

    .. math:: \log p_t = z_t - \log \sum_k e^{z_k}

    Parameters
    ----------
    logits : array_like
        Logits along `axis`.
    tokens : array_like of ints
        Classes, counted from 0: one per row, in the shape of `logits` without `axis`; or any number per row,
        along `axis`, all other lengths as those of `logits`.
    axis : int, default -1
        The axis of the classes.
    base : float, optional
        Base of the logarithm, finite, > 0 and not 1. Default: nats; 2 gives bits.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. It may overlap an input.

    Returns
    -------
    ndarray or scalar
        The shape of `tokens`. -inf at a logit of -inf; where one logit is +inf, 0 there and -inf elsewhere; the
        row is NaN where several are, where all are -inf and where one is NaN.

    Raises
    ------
    TypeError
        If `logits` has a dtype other than float32, float64, an integer or bool, or is a masked array; if
        `tokens` are not integers; if `out` is not an array of the result's dtype; if `axis` is not an int; if
        `base` is not a number.
    ValueError
        If `out` has the wrong shape or is read-only; if `base` is not finite, not > 0 or 1; if `tokens` has
        neither of the two shapes.
    IndexError
        If a token is not one of the classes. `out` is untouched.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    See Also
    --------
    log_softmax : Of every class.
    categorical_cross_entropy_from_logits : Its negative for one token per row; adds up, too.
    torch.gather : After log_softmax it needs a temporary of the size of the logits.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. The dtype of
    `tokens` does not count. Accurate to 2 ULP for any number of classes, down to the smallest numbers. No
    temporary of the size of `logits` is made. P. Blanchard, D. J. Higham and N. J. Higham, "Accurately
    computing the log-sum-exp and softmax functions", IMA Journal of Numerical Analysis 41 (2021).

    Examples
    --------
    >>> import kullback as kb
    >>> kb.token_logprobs([[40.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [0, 1])
    array([-8.49670851e-18, -1.09861229e+00])
    >>> kb.token_logprobs([40.0, 0.0, 0.0], [2, 0])
    array([-4.00000000e+01, -8.49670851e-18])
    """
