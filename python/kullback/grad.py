"""Gradients of the functions of `kullback`, under the same names.

``grad.f(...)`` differentiates the sum of the values of ``kullback.f(...)`` by one of its arrays. A gradient has the
shape of that array; where the array was broadcast, it is summed up over what the array was broadcast along. Its dtype
is float32 for a float32 array and float64 for any other. `grad_output` weighs the values in the sum, as the vector of
a vector-Jacobian product.

Infinite derivatives have their sign. A gradient is exactly 0 where `grad_output` or a weight is 0; NaN stays NaN.
`kullback.value_and_grad` has the same gradients, bit for bit, together with the values.
"""

from __future__ import annotations

from typing import Any, SupportsFloat

import numpy.typing as npt

from . import _core
from ._binding import compiled
from ._types import (
    Axis,
    FloatArray,
    GradientOut,
    LogitLossWrt,
    LogitPairWrt,
    LossWrt,
    PairWrt,
    Reduction,
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


@compiled(_core.entropy_gradient, value=False)
def entropy(
    p: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    grad_output: npt.ArrayLike | None = None,
    out: FloatArray | None = None,
) -> Any:
    r"""Gradient of `kullback.entropy`.

    .. math:: \frac{\partial H}{\partial p_i} = -(\log p_i + 1)

    Parameters
    ----------
    p, axis, base, keepdims
        As in `kullback.entropy`; `keepdims` matters to the shape of `grad_output` alone.
    grad_output : array_like, optional
        Factors of the values, which broadcast to their shape. Default: 1.
    out : ndarray, optional
        Where to write the gradient, of its shape and dtype. It may overlap an input, and be `p` itself.

    Returns
    -------
    ndarray or scalar
        The shape of `p`. +inf at 0, -inf at +inf; NaN where `p` is negative or NaN, and only there.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `kullback.entropy` does, for `out` if it has not the gradient's shape and dtype; TypeError also if
        `grad_output` is not real, ValueError if it does not broadcast to the values.

    See Also
    --------
    kullback.entropy : The value.
    kullback.value_and_grad.entropy : Both in one pass.

    Notes
    -----
    Accurate to 4 ULP relative to 1 + :math:`|\log p|`, for the two may cancel. The derivative of equation 3 of the
    lecture "Cross-Entropy Loss function", section 3.2 of Microsoft's ai-edu course, with every p on its own: none
    makes the others less.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.grad.entropy([1.0, 0.5, 0.0])
    array([-1.        , -0.30685282,         inf])
    """


@compiled(_core.binary_entropy_gradient, value=False)
def binary_entropy(
    p: npt.ArrayLike,
    *,
    base: SupportsFloat | None = None,
    grad_output: npt.ArrayLike | None = None,
    out: FloatArray | None = None,
) -> Any:
    r"""Derivative of `kullback.binary_entropy`.

    .. math:: \frac{dh}{dp} = \log \frac{1 - p}{p}

    Parameters
    ----------
    p, base
        As in `kullback.binary_entropy`.
    grad_output : array_like, optional
        Factors of the values, which broadcast to their shape. Default: 1.
    out : ndarray, optional
        Where to write the derivative, of its shape and dtype. It may be `p` itself.

    Returns
    -------
    ndarray or scalar
        The shape of `p`. +inf at 0, -inf at 1; NaN outside [0, 1].

    Raises
    ------
    TypeError, ValueError
        As `kullback.binary_entropy` does, for `out` if it has not the derivative's shape and dtype; TypeError also
        if `grad_output` is not real, ValueError if it does not broadcast to the values.

    See Also
    --------
    kullback.binary_entropy : The value.
    kullback.value_and_grad.binary_entropy : Both in one pass.
    scipy.special.logit : Its negative.

    Notes
    -----
    Accurate to 4 ULP, near its zero at 1/2, too. The derivative of the entropy of equation 3 of the lecture
    "Cross-Entropy Loss function", section 3.2 of Microsoft's ai-edu course, for two outcomes.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.grad.binary_entropy([0.0, 0.2, 0.5, 1.0], base=2)
    array([ inf,   2.,   0., -inf])
    """


@compiled(_core.cross_entropy_gradient, value=False)
def cross_entropy(
    p: npt.ArrayLike,
    q: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    wrt: PairWrt = "q",
    grad_output: npt.ArrayLike | None = None,
    out: GradientOut = None,
) -> Any:
    r"""Gradient of `kullback.cross_entropy`.

    .. math:: \frac{\partial H}{\partial q_i} = -\frac{p_i}{q_i}, \qquad \frac{\partial H}{\partial p_i} = -\log q_i

    Parameters
    ----------
    p, q, axis, base, keepdims
        As in `kullback.cross_entropy`; `keepdims` matters to the shape of `grad_output` alone.
    wrt : {"q", "p", "both"}, default "q"
        What to differentiate by; "both" gives a pair, `p` first.
    grad_output : array_like, optional
        Factors of the values, which broadcast to their shape. Default: 1.
    out : ndarray, optional
        Where to write the gradient, of its shape and dtype; for both a pair, in which each may be None. It may
        overlap an input, and be `p` or `q` itself.

    Returns
    -------
    ndarray or scalar, or a pair of them
        The shape of the argument. By `q`: -inf where p > 0 = q, and 0 where p = 0. By `p`: +inf where q = 0. NaN
        where `p` or `q` is negative or NaN, and only there.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `kullback.cross_entropy` does, for `out` if it has not the gradient's shape and dtype; TypeError also if
        `grad_output` is not real, ValueError if it does not broadcast to the values, if `wrt` is none of those
        named, or if the two arrays in `out` share memory.

    See Also
    --------
    kullback.cross_entropy : The value.
    kullback.value_and_grad.cross_entropy : Both in one pass.
    kl_divergence : The same by `q`.

    Notes
    -----
    Accurate to 4 ULP. The derivatives of equations 1 and 6 of the lecture "Cross-Entropy Loss function", section
    3.2 of Microsoft's ai-edu course.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.grad.cross_entropy([0.5, 0.5, 0.0], [0.25, 0.0, 0.0])
    array([ -2., -inf,   0.])
    >>> kb.grad.cross_entropy([0.5, 0.5], [0.25, 0.5], base=2, wrt="p")
    array([2., 1.])
    """


@compiled(_core.kl_divergence_gradient, value=False)
def kl_divergence(
    p: npt.ArrayLike,
    q: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    wrt: PairWrt = "q",
    grad_output: npt.ArrayLike | None = None,
    out: GradientOut = None,
) -> Any:
    r"""Gradient of `kullback.kl_divergence`.

    .. math::

        \frac{\partial D}{\partial q_i} = -\frac{p_i}{q_i}, \qquad
        \frac{\partial D}{\partial p_i} = \log \frac{p_i}{q_i} + 1

    Parameters
    ----------
    p, q, axis, base, keepdims
        As in `kullback.kl_divergence`; `keepdims` matters to the shape of `grad_output` alone.
    wrt : {"q", "p", "both"}, default "q"
        What to differentiate by; "both" gives a pair, `p` first.
    grad_output : array_like, optional
        Factors of the values, which broadcast to their shape. Default: 1.
    out : ndarray, optional
        Where to write the gradient, of its shape and dtype; for both a pair, in which each may be None. It may
        overlap an input, and be `p` or `q` itself.

    Returns
    -------
    ndarray or scalar, or a pair of them
        The shape of the argument. By `q`: -inf where p > 0 = q, and 0 where p = 0. By `p`: +inf where p > 0 = q,
        -inf where p = 0 < q, and 0 where both are 0. NaN where `p` or `q` is negative or NaN, or both are infinite,
        and only there.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `kullback.kl_divergence` does, for `out` if it has not the gradient's shape and dtype; TypeError also if
        `grad_output` is not real, ValueError if it does not broadcast to the values, if `wrt` is none of those
        named, or if the two arrays in `out` share memory.

    See Also
    --------
    kullback.kl_divergence : The value.
    kullback.value_and_grad.kl_divergence : Both in one pass.
    kl_divergence_from_logits : By logits, always finite for the model's.

    Notes
    -----
    Accurate to 4 ULP, by `p` relative to 1 + :math:`|\log(p/q)|`, for the two may cancel. Ratios beyond the range
    of floats do no harm. The derivatives of equation 4 of the lecture "Cross-Entropy Loss function", section 3.2 of
    Microsoft's ai-edu course.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.grad.kl_divergence([0.5, 0.5, 0.0], [0.25, 0.5, 0.25])
    array([-2., -1.,  0.])
    >>> kb.grad.kl_divergence([0.5, 0.5, 0.0], [0.25, 0.0, 0.75], wrt="p")
    array([1.69314718,        inf,       -inf])
    """


@compiled(_core.js_divergence_gradient, value=False)
def js_divergence(
    p: npt.ArrayLike,
    q: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    wrt: PairWrt = "q",
    grad_output: npt.ArrayLike | None = None,
    out: GradientOut = None,
) -> Any:
    r"""Gradient of `kullback.js_divergence`.

    .. math::

        \frac{\partial J}{\partial q_i} = \frac12 \log \frac{2 q_i}{p_i + q_i}, \qquad
        \frac{\partial J}{\partial p_i} = \frac12 \log \frac{2 p_i}{p_i + q_i}

    Parameters
    ----------
    p, q, axis, base, keepdims
        As in `kullback.js_divergence`; `keepdims` matters to the shape of `grad_output` alone.
    wrt : {"q", "p", "both"}, default "q"
        What to differentiate by; "both" gives a pair, `p` first.
    grad_output : array_like, optional
        Factors of the values, which broadcast to their shape. Default: 1.
    out : ndarray, optional
        Where to write the gradient, of its shape and dtype; for both a pair, in which each may be None. It may
        overlap an input, and be `p` or `q` itself.

    Returns
    -------
    ndarray or scalar, or a pair of them
        The shape of the argument. Where this is 0, -inf if the other is not and 0 if it is; log(2)/2 where only
        the other is 0. NaN where `p` or `q` is negative or NaN, or both are infinite, and only there.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `kullback.js_divergence` does, for `out` if it has not the gradient's shape and dtype; TypeError also if
        `grad_output` is not real, ValueError if it does not broadcast to the values, if `wrt` is none of those
        named, or if the two arrays in `out` share memory.

    See Also
    --------
    kullback.js_divergence : The value.
    kullback.value_and_grad.js_divergence : Both in one pass.

    Notes
    -----
    Accurate to 4 ULP, also where p and q are nearly equal and it is nearly 0. J. Lin, "Divergence measures based on
    the Shannon entropy", IEEE Transactions on Information Theory 37 (1991).

    Examples
    --------
    >>> import kullback as kb
    >>> kb.grad.js_divergence([0.5, 0.5, 0.0], [0.5, 0.0, 0.5], base=2)
    array([ 0. , -inf,  0.5])
    """


@compiled(_core.binary_cross_entropy_gradient, value=False, hessian=False)
def binary_cross_entropy(
    labels: npt.ArrayLike,
    q: npt.ArrayLike,
    *,
    weight: npt.ArrayLike | None = None,
    pos_weight: npt.ArrayLike | None = None,
    label_smoothing: SupportsFloat = 0.0,
    base: SupportsFloat | None = None,
    reduction: Reduction = None,
    wrt: LossWrt = "q",
    grad_output: npt.ArrayLike | None = None,
    out: GradientOut = None,
) -> Any:
    r"""Gradient of `kullback.binary_cross_entropy`.

    .. math::

        \frac{\partial L}{\partial q} = w \left[ \frac{1 - y}{1 - q} - \frac{v \, y}{q} \right], \qquad
        \frac{\partial L}{\partial \mathrm{labels}} = (1 - s) \, w \left[ \log(1 - q) - v \log q \right]

    with the weights w and v and the smoothed labels y = (1 - s) `labels` + s/2 of the value.

    Parameters
    ----------
    labels, q, weight, pos_weight, label_smoothing, base, reduction
        As in `kullback.binary_cross_entropy`.
    wrt : {"q", "labels", "both"}, default "q"
        What to differentiate by; "both" gives a pair, `labels` first.
    grad_output : array_like, optional
        Factors of the values, which broadcast to their shape; with a `reduction` one number. Default: 1.
    out : ndarray, optional
        Where to write the gradient, of its shape and dtype; for both a pair, in which each may be None. It may
        overlap an input, and be `labels` or `q` itself.

    Returns
    -------
    ndarray or scalar, or a pair of them
        The shape of the argument. By `q`: -inf where q = 0 < y and +inf where q = 1 > y. By the labels: +inf where
        q = 0 and -inf where q = 1. A term is 0 where a factor of its logarithm is; NaN where a label or `q` lies
        outside 0 to 1 or anything is NaN.

    Raises
    ------
    TypeError, ValueError
        As `kullback.binary_cross_entropy` does, for `out` if it has not the gradient's shape and dtype; TypeError
        also if `grad_output` is not real, ValueError if it does not broadcast to the values, if `wrt` is none of
        those named, or if the two arrays in `out` share memory.

    Warns
    -----
    RuntimeWarning
        If there is nothing to take the mean of, or only weights that sum to 0: the gradient is NaN.

    See Also
    --------
    kullback.binary_cross_entropy : The value.
    kullback.value_and_grad.binary_cross_entropy : Both in one pass.
    binary_cross_entropy_from_logits : Of logits; bounded, for a confident mistake cannot make it infinite.
    torch.nn.functional.binary_cross_entropy : Its gradient is bounded by 1e12, wherever q is 0 or 1.

    Notes
    -----
    Accurate to 4 ULP, relative to the sum of the two terms' magnitudes where they cancel. The derivatives of
    equations 9, 11 and 12 of the lecture "Cross-Entropy Loss function", section 3.2 of Microsoft's ai-edu course.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.grad.binary_cross_entropy([1, 1, 0, 1], [0.5, 0.8, 0.0, 0.0])
    array([-2.  , -1.25,  1.  ,  -inf])
    """


@compiled(_core.categorical_cross_entropy_gradient, value=False, hessian=False)
def categorical_cross_entropy(
    labels: npt.ArrayLike,
    q: npt.ArrayLike,
    *,
    axis: int = -1,
    weight: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: SupportsFloat = 0.0,
    base: SupportsFloat | None = None,
    reduction: Reduction = None,
    wrt: LossWrt = "q",
    grad_output: npt.ArrayLike | None = None,
    out: GradientOut = None,
) -> Any:
    r"""Gradient of `kullback.categorical_cross_entropy`.

    .. math::

        \frac{\partial L}{\partial q_j} = -\frac{v w_j y_j}{q_j}, \qquad
        \frac{\partial L}{\partial \mathrm{labels}_j} = -(1 - s) \, v w_j \log q_j

    with the weights w and v and the smoothed labels y = (1 - s) `labels` + s/C of the value.

    Parameters
    ----------
    labels, q, axis, weight, sample_weight, ignore_index, label_smoothing, base, reduction
        As in `kullback.categorical_cross_entropy`.
    wrt : {"q", "labels", "both"}, default "q"
        What to differentiate by; "both" gives a pair, `labels` first. Only distributions have a gradient.
    grad_output : array_like, optional
        Factors of the values, which broadcast to their shape; with a `reduction` one number. Default: 1.
    out : ndarray, optional
        Where to write the gradient, of its shape and dtype; for both a pair, in which each may be None. It may
        overlap an input, and be `labels` or `q` itself.

    Returns
    -------
    ndarray or scalar, or a pair of them
        The shape of the argument. By `q`: -inf where q = 0 < y, and 0 where y = 0. By the labels: +inf where q = 0,
        or 0 where a weight is. NaN where `q` or the label is negative or NaN, and only there. Exactly 0 in rows of
        `ignore_index`, whatever their predictions.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `kullback.categorical_cross_entropy` does, for `out` if it has not the gradient's shape and dtype;
        TypeError also if `grad_output` is not real, ValueError if it does not broadcast to the values, if `wrt` is
        none of those named or asks for the gradient by classes, or if the two arrays in `out` share memory.

    Warns
    -----
    RuntimeWarning
        If nothing took part in a mean, or only weights that sum to 0: the gradient is NaN, but in ignored rows 0.

    See Also
    --------
    kullback.categorical_cross_entropy : The value.
    kullback.value_and_grad.categorical_cross_entropy : Both in one pass.
    categorical_cross_entropy_from_logits : Of logits; bounded, for a confident mistake cannot make it infinite.

    Notes
    -----
    Accurate to 4 ULP, where the products of weights and labels are normal numbers. With `weight` the mean divides
    by a sum that depends on distributions as labels; the gradient by them takes it into account, and counts at the
    sum of its two terms' magnitudes. The derivatives of equation 7 of the lecture "Cross-Entropy Loss function",
    section 3.2 of Microsoft's ai-edu course.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.grad.categorical_cross_entropy([2, 1], [[0.25, 0.25, 0.5], [0.5, 0.0, 0.5]])
    array([[  0.,   0.,  -2.],
           [  0., -inf,   0.]])
    """


@compiled(_core.logsumexp_gradient, base=None, value=False)
def logsumexp(
    z: npt.ArrayLike,
    *,
    axis: Axis = -1,
    keepdims: bool = False,
    grad_output: npt.ArrayLike | None = None,
    out: FloatArray | None = None,
) -> Any:
    r"""Gradient of `kullback.logsumexp`: the probabilities.

    .. math:: \frac{\partial \operatorname{lse}}{\partial z_j} = p_j, \qquad p = \operatorname{softmax}(z)

    Parameters
    ----------
    z, axis, keepdims
        As in `kullback.logsumexp`; `keepdims` matters to the shape of `grad_output` alone.
    grad_output : array_like, optional
        Factors of the values, which broadcast to their shape. Default: 1.
    out : ndarray, optional
        Where to write the gradient, of its shape and dtype. It may overlap an input, and be `z` itself.

    Returns
    -------
    ndarray or scalar
        The shape of `z`. Exactly 0 at -inf; where one logit is +inf, 1 there and 0 elsewhere; the row is NaN where
        several are, where all are -inf and where one is NaN.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `kullback.logsumexp` does, for `out` if it has not the gradient's shape and dtype; TypeError also if
        `grad_output` is not real, ValueError if it does not broadcast to the values.

    See Also
    --------
    kullback.logsumexp : The value.
    kullback.value_and_grad.logsumexp : Both in one pass.
    kullback.softmax : Without factors.

    Notes
    -----
    Accurate to 4 ULP for any length. P. Blanchard, D. J. Higham and N. J. Higham, "Accurately computing the
    log-sum-exp and softmax functions", IMA Journal of Numerical Analysis 41 (2021).

    Examples
    --------
    >>> import kullback as kb
    >>> kb.grad.logsumexp([[1000.0, 1000.0], [0.0, float("-inf")]], grad_output=[1, 3])
    array([[0.5, 0.5],
           [3. , 0. ]])
    """


@compiled(_core.entropy_from_logits_gradient, value=False)
def entropy_from_logits(
    z: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    grad_output: npt.ArrayLike | None = None,
    out: FloatArray | None = None,
) -> Any:
    r"""Gradient of `kullback.entropy_from_logits`.

    .. math:: \frac{\partial H}{\partial z_j} = -p_j (\log p_j + H), \qquad p = \operatorname{softmax}(z)

    Parameters
    ----------
    z, axis, base, keepdims
        As in `kullback.entropy_from_logits`; `keepdims` matters to the shape of `grad_output` alone.
    grad_output : array_like, optional
        Factors of the values, which broadcast to their shape. Default: 1.
    out : ndarray, optional
        Where to write the gradient, of its shape and dtype. It may overlap an input, and be `z` itself.

    Returns
    -------
    ndarray or scalar
        The shape of `z`. 0 where p = 0 and where one logit is +inf; the row is NaN where several are, where all are
        -inf and where one is NaN.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `kullback.entropy_from_logits` does, for `out` if it has not the gradient's shape and dtype; TypeError
        also if `grad_output` is not real, ValueError if it does not broadcast to the values.

    See Also
    --------
    kullback.entropy_from_logits : The value.
    kullback.value_and_grad.entropy_from_logits : Both in one pass.

    Notes
    -----
    Accurate to 4 ULP for any length, relative to p (:math:`|\log p|` + H), for the two cancel where p is near
    exp(-H). The derivative of the entropy of equation 3 of the lecture "Cross-Entropy Loss function", section 3.2
    of Microsoft's ai-edu course.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.grad.entropy_from_logits([2.0, 0.0, float("-inf")])
    array([-0.20998717,  0.20998717,  0.        ])
    """


@compiled(_core.binary_entropy_from_logits_gradient, value=False)
def binary_entropy_from_logits(
    z: npt.ArrayLike,
    *,
    base: SupportsFloat | None = None,
    grad_output: npt.ArrayLike | None = None,
    out: FloatArray | None = None,
) -> Any:
    r"""Derivative of `kullback.binary_entropy_from_logits`.

    .. math:: \frac{dh}{dz} = -z \, \sigma(z) \, \sigma(-z)

    Parameters
    ----------
    z, base
        As in `kullback.binary_entropy_from_logits`.
    grad_output : array_like, optional
        Factors of the values, which broadcast to their shape. Default: 1.
    out : ndarray, optional
        Where to write the derivative, of its shape and dtype. It may be `z` itself.

    Returns
    -------
    ndarray or scalar
        The shape of `z`. 0 at -inf and +inf; NaN at NaN.

    Raises
    ------
    TypeError, ValueError
        As `kullback.binary_entropy_from_logits` does, for `out` if it has not the derivative's shape and dtype;
        TypeError also if `grad_output` is not real, ValueError if it does not broadcast to the values.

    See Also
    --------
    kullback.binary_entropy_from_logits : The value.
    kullback.value_and_grad.binary_entropy_from_logits : Both in one pass.

    Notes
    -----
    Accurate to 4 ULP everywhere, down to the smallest numbers. The derivative of the entropy of equation 3 of the
    lecture "Cross-Entropy Loss function", section 3.2 of Microsoft's ai-edu course, for two outcomes.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.grad.binary_entropy_from_logits([-2.0, 0.0, 40.0, float("inf")])
    array([ 2.09987171e-01,  0.00000000e+00, -1.69934170e-16,  0.00000000e+00])
    """


@compiled(_core.kl_divergence_from_logits_gradient, value=False)
def kl_divergence_from_logits(
    p_logits: npt.ArrayLike,
    q_logits: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    wrt: LogitPairWrt = "q_logits",
    grad_output: npt.ArrayLike | None = None,
    out: GradientOut = None,
) -> Any:
    r"""Gradient of `kullback.kl_divergence_from_logits`.

    .. math::

        \frac{\partial D}{\partial z^q_j} = q_j - p_j, \qquad
        \frac{\partial D}{\partial z^p_j} = p_j \left( \log \frac{p_j}{q_j} - D \right), \qquad
        p = \operatorname{softmax}(z^p), \; q = \operatorname{softmax}(z^q)

    Parameters
    ----------
    p_logits, q_logits, axis, base, keepdims
        As in `kullback.kl_divergence_from_logits`; `keepdims` matters to the shape of `grad_output` alone.
    wrt : {"q_logits", "p_logits", "both"}, default "q_logits"
        What to differentiate by; "both" gives a pair, `p_logits` first.
    grad_output : array_like, optional
        Factors of the values, which broadcast to their shape. Default: 1.
    out : ndarray, optional
        Where to write the gradient, of its shape and dtype; for both a pair, in which each may be None. It may
        overlap an input, and be `p_logits` or `q_logits` itself.

    Returns
    -------
    ndarray or scalar, or a pair of them
        The shape of the argument. By `q_logits`: finite, also where the divergence is not. By `p_logits`: 0 where
        p = 0; if the divergence is +inf, otherwise +inf where `q_logits` rules the class out and -inf where not.
        NaN where a row holds several +inf, only -inf, or NaN.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `kullback.kl_divergence_from_logits` does, for `out` if it has not the gradient's shape and dtype;
        TypeError also if `grad_output` is not real, ValueError if it does not broadcast to the values, if `wrt` is
        none of those named, or if the two arrays in `out` share memory.

    See Also
    --------
    kullback.kl_divergence_from_logits : The value.
    kullback.value_and_grad.kl_divergence_from_logits : Both in one pass.
    categorical_cross_entropy_from_logits : The same by the logits, with distributions as labels.

    Notes
    -----
    Accurate to 4 ULP for any length, relative to the sum of the terms' magnitudes, for they may cancel. The
    derivatives of equation 4 of the lecture "Cross-Entropy Loss function", section 3.2 of Microsoft's ai-edu
    course; by `q_logits` it is the lecture's "simple subtraction".

    Examples
    --------
    >>> import kullback as kb
    >>> kb.grad.kl_divergence_from_logits([0.0, 0.0], [[0.0, 0.0], [2.0, 0.0], [0.0, float("-inf")]])
    array([[ 0.        ,  0.        ],
           [ 0.38079708, -0.38079708],
           [ 0.5       , -0.5       ]])
    """


@compiled(_core.js_divergence_from_logits_gradient, value=False)
def js_divergence_from_logits(
    p_logits: npt.ArrayLike,
    q_logits: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    wrt: LogitPairWrt = "q_logits",
    grad_output: npt.ArrayLike | None = None,
    out: GradientOut = None,
) -> Any:
    r"""Gradient of `kullback.js_divergence_from_logits`.

    .. math::

        \frac{\partial J}{\partial z^q_j} = \frac12 q_j \left( \log \frac{q_j}{m_j} - D(q \| m) \right), \qquad
        \frac{\partial J}{\partial z^p_j} = \frac12 p_j \left( \log \frac{p_j}{m_j} - D(p \| m) \right), \qquad
        m = \tfrac12 (p + q)

    Parameters
    ----------
    p_logits, q_logits, axis, base, keepdims
        As in `kullback.js_divergence_from_logits`; `keepdims` matters to the shape of `grad_output` alone.
    wrt : {"q_logits", "p_logits", "both"}, default "q_logits"
        What to differentiate by; "both" gives a pair, `p_logits` first.
    grad_output : array_like, optional
        Factors of the values, which broadcast to their shape. Default: 1.
    out : ndarray, optional
        Where to write the gradient, of its shape and dtype; for both a pair, in which each may be None. It may
        overlap an input, and be `p_logits` or `q_logits` itself.

    Returns
    -------
    ndarray or scalar, or a pair of them
        The shape of the argument, and finite. 0 where the class is impossible; NaN where a row holds several +inf,
        only -inf, or NaN.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `kullback.js_divergence_from_logits` does, for `out` if it has not the gradient's shape and dtype;
        TypeError also if `grad_output` is not real, ValueError if it does not broadcast to the values, if `wrt` is
        none of those named, or if the two arrays in `out` share memory.

    See Also
    --------
    kullback.js_divergence_from_logits : The value.
    kullback.value_and_grad.js_divergence_from_logits : Both in one pass.

    Notes
    -----
    Accurate to 4 ULP for any length, relative to the sum of the terms' magnitudes, for they may cancel. J. Lin,
    "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37 (1991).

    Examples
    --------
    >>> import kullback as kb
    >>> kb.grad.js_divergence_from_logits([0.0, 0.0], [[0.0, 0.0], [2.0, 0.0], [0.0, float("-inf")]])
    array([[ 0.        ,  0.        ],
           [ 0.06289204, -0.06289204],
           [ 0.        ,  0.        ]])
    """


@compiled(_core.binary_cross_entropy_from_logits_gradient, value=False)
def binary_cross_entropy_from_logits(
    labels: npt.ArrayLike,
    logits: npt.ArrayLike,
    *,
    weight: npt.ArrayLike | None = None,
    pos_weight: npt.ArrayLike | None = None,
    label_smoothing: SupportsFloat = 0.0,
    base: SupportsFloat | None = None,
    reduction: Reduction = None,
    wrt: LogitLossWrt = "logits",
    grad_output: npt.ArrayLike | None = None,
    hessian: bool = False,
    out: GradientOut = None,
) -> Any:
    r"""Gradient of `kullback.binary_cross_entropy_from_logits`, and its second derivatives.

    .. math::

        \frac{\partial L}{\partial z} = w \left[ (1 - y) \, \sigma(z) - v \, y \, \sigma(-z) \right], \qquad
        \frac{\partial^2 L}{\partial z^2} = w \left[ v \, y + 1 - y \right] \sigma(z) \, \sigma(-z)

        \frac{\partial L}{\partial \mathrm{labels}} = (1 - s) \, w \left[ \log \sigma(-z) - v \log \sigma(z) \right]

    with the weights w and v and the smoothed labels y = (1 - s) `labels` + s/2 of the value.

    Parameters
    ----------
    labels, logits, weight, pos_weight, label_smoothing, base, reduction
        As in `kullback.binary_cross_entropy_from_logits`.
    wrt : {"logits", "labels", "both"}, default "logits"
        What to differentiate by; "both" gives a pair, `labels` first.
    grad_output : array_like, optional
        Factors of the values, which broadcast to their shape; with a `reduction` one number. Default: 1.
    hessian : bool, default False
        Give a pair instead: the gradient and the second derivatives, both by the logits.
    out : ndarray, optional
        Where to write the gradient, of its shape and dtype; for both or the Hessian a pair, in which each may be
        None. It may overlap an input, and be `labels` or `logits` itself.

    Returns
    -------
    ndarray or scalar, or a pair of them
        The shape of the argument. By `logits`: finite, with its limits at -inf and +inf. By the labels: +inf at
        -inf and -inf at +inf. A term is 0 where a factor of it is; NaN where a label lies outside 0 to 1 or
        anything is NaN.

    Raises
    ------
    TypeError, ValueError
        As `kullback.binary_cross_entropy_from_logits` does, for `out` if it has not the gradient's shape and dtype;
        TypeError also if `grad_output` is not real, ValueError if it does not broadcast to the values, if `wrt` is
        none of those named, with `hessian` other than "logits", or if the two arrays in `out` share memory.

    Warns
    -----
    RuntimeWarning
        If there is nothing to take the mean of, or only weights that sum to 0: the gradient is NaN.

    See Also
    --------
    kullback.binary_cross_entropy_from_logits : The value.
    kullback.value_and_grad.binary_cross_entropy_from_logits : Both in one pass.
    torch.nn.functional.binary_cross_entropy_with_logits : Its gradient is 0 for confident right predictions of 1.

    Notes
    -----
    Accurate to 4 ULP, also where the prediction is confident; relative to the sum of the two terms' magnitudes
    where these cancel. By the labels it is exactly -z without weights, smoothing and base. In the lecture
    "Cross-Entropy Loss function", section 3.2 of Microsoft's ai-edu course, it is "a simple subtraction",
    prediction less label; but to subtract a label of 1 from a probability next to 1 leaves no digit, so it is
    computed as the probability of the opposite, negative. The second derivatives are what boosted trees take.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.grad.binary_cross_entropy_from_logits([1, 0, 1, 0], [0.0, 0.0, 40.0, -50.0])
    array([-5.00000000e-01,  5.00000000e-01, -4.24835426e-18,  1.92874985e-22])
    >>> gradient, second = kb.grad.binary_cross_entropy_from_logits([1, 0], [0.0, 2.0], hessian=True)
    >>> second
    array([0.25      , 0.10499359])
    """


@compiled(_core.categorical_cross_entropy_from_logits_gradient, value=False)
def categorical_cross_entropy_from_logits(
    labels: npt.ArrayLike,
    logits: npt.ArrayLike,
    *,
    axis: int = -1,
    weight: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: SupportsFloat = 0.0,
    base: SupportsFloat | None = None,
    reduction: Reduction = None,
    wrt: LogitLossWrt = "logits",
    grad_output: npt.ArrayLike | None = None,
    hessian: bool = False,
    out: GradientOut = None,
) -> Any:
    r"""Gradient of `kullback.categorical_cross_entropy_from_logits`, and its second derivatives.

    .. math::

        \frac{\partial L}{\partial z_j} = v \left( M p_j - w_j y_j \right), \qquad
        \frac{\partial^2 L}{\partial z_j^2} = v M p_j (1 - p_j), \qquad
        M = \sum_k w_k y_k, \; p = \operatorname{softmax}(z)

        \frac{\partial L}{\partial \mathrm{labels}_j} = -(1 - s) \, v w_j \log p_j

    with the weights w and v and the smoothed labels y = (1 - s) `labels` + s/C of the value.

    Parameters
    ----------
    labels, logits, axis, weight, sample_weight, ignore_index, label_smoothing, base, reduction
        As in `kullback.categorical_cross_entropy_from_logits`.
    wrt : {"logits", "labels", "both"}, default "logits"
        What to differentiate by; "both" gives a pair, `labels` first. Only distributions have a gradient.
    grad_output : array_like, optional
        Factors of the values, which broadcast to their shape; with a `reduction` one number. Default: 1.
    hessian : bool, default False
        Give a pair instead: the gradient and the diagonal of the Hessian, both by the logits.
    out : ndarray, optional
        Where to write the gradient, of its shape and dtype; for both or the Hessian a pair, in which each may be
        None. It may overlap an input, and be `labels` or `logits` itself.

    Returns
    -------
    ndarray or scalar, or a pair of them
        The shape of the argument. By `logits`: finite; 0 where a class is impossible and its y is 0; the row is NaN
        where several logits are +inf, where all are -inf, and where a label is negative or anything NaN. By the
        labels: +inf at a logit of -inf, or 0 where a weight is. Exactly 0 in rows of `ignore_index`, whatever their
        logits.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `kullback.categorical_cross_entropy_from_logits` does, for `out` if it has not the gradient's shape and
        dtype; TypeError also if `grad_output` is not real, ValueError if it does not broadcast to the values, if
        `wrt` is none of those named, asks for the gradient by classes or, with `hessian`, is other than "logits",
        or if the two arrays in `out` share memory.

    Warns
    -----
    RuntimeWarning
        If nothing took part in a mean, or only weights that sum to 0: the gradient is NaN, but in ignored rows 0.

    See Also
    --------
    kullback.categorical_cross_entropy_from_logits : The value.
    kullback.value_and_grad.categorical_cross_entropy_from_logits : Both in one pass.
    torch.nn.functional.cross_entropy : Its gradient at the label is 0 for confident right predictions.

    Notes
    -----
    Accurate to 4 ULP for any number of classes: at the label the gradient is minus the sum of the other
    probabilities, which keeps its digits where the prediction is confident. (Below 2e-308 it has fewer, and a
    large factor brings none back.) With distributions as labels, and with smoothing, it is relative to the sum of
    the two terms' magnitudes, for these may cancel. With `weight` the mean divides by a sum that depends on
    distributions as labels; the gradient by them takes it into account. In the lecture "Cross-Entropy Loss
    function", section 3.2 of Microsoft's ai-edu course, the gradient by the logits is "a simple subtraction",
    prediction less label. The second derivatives are what boosted trees take.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.grad.categorical_cross_entropy_from_logits([0, 2], [[40.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    array([[-8.49670851e-18,  4.24835426e-18,  4.24835426e-18],
           [ 3.33333333e-01,  3.33333333e-01, -6.66666667e-01]])
    >>> gradient, diagonal = kb.grad.categorical_cross_entropy_from_logits([0], [[0.0, 0.0]], hessian=True)
    >>> diagonal
    array([[0.25, 0.25]])
    """
