"""Values and gradients of the functions of `kullback` from one pass, under the same names.

``value_and_grad.f(...)`` is ``(kullback.f(...), kullback.grad.f(...))``, bit for bit, computed together. The pair `out`
takes the two in the same order. `kullback.grad` has the formulas and their limits.
"""

from __future__ import annotations

from typing import Any, SupportsFloat

import numpy.typing as npt

from . import _core
from ._binding import compiled
from ._types import (
    Axis,
    LogitLossWrt,
    LogitPairWrt,
    LossWrt,
    PairOut,
    PairWrt,
    Reduction,
    ValueAndGradientOut,
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


@compiled(_core.entropy_gradient, value=True)
def entropy(
    p: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    grad_output: npt.ArrayLike | None = None,
    out: PairOut = None,
) -> Any:
    """Value and gradient of `kullback.entropy`.

    Parameters
    ----------
    p, axis, base, keepdims
        As in `kullback.entropy`.
    grad_output : array_like, optional
        Factors of the values in the gradient, as in `kullback.grad.entropy`. Default: 1.
    out : pair, optional
        Where to write the value and the gradient, each an ndarray or None.

    Returns
    -------
    value : ndarray or scalar
        As of `kullback.entropy`; `grad_output` does not change it.
    gradient : ndarray or scalar
        As of `kullback.grad.entropy`.

    See Also
    --------
    kullback.entropy : The value alone; says what is refused.
    kullback.grad.entropy : The gradient alone; has the formula.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.value_and_grad.entropy([0.5, 0.25, 0.25], base=2)
    (np.float64(1.5), array([-0.44269504,  0.55730496,  0.55730496]))
    """


@compiled(_core.binary_entropy_gradient, value=True)
def binary_entropy(
    p: npt.ArrayLike,
    *,
    base: SupportsFloat | None = None,
    grad_output: npt.ArrayLike | None = None,
    out: PairOut = None,
) -> Any:
    """Value and derivative of `kullback.binary_entropy`.

    Parameters
    ----------
    p, base
        As in `kullback.binary_entropy`.
    grad_output : array_like, optional
        Factors of the values in the gradient, as in `kullback.grad.binary_entropy`. Default: 1.
    out : pair, optional
        Where to write the value and the gradient, each an ndarray or None.

    Returns
    -------
    value : ndarray or scalar
        As of `kullback.binary_entropy`; `grad_output` does not change it.
    gradient : ndarray or scalar
        As of `kullback.grad.binary_entropy`.

    See Also
    --------
    kullback.binary_entropy : The value alone; says what is refused.
    kullback.grad.binary_entropy : The derivative alone; has the formula.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.value_and_grad.binary_entropy([0.0, 0.2, 0.5], base=2)
    (array([0.        , 0.72192809, 1.        ]), array([inf,  2.,  0.]))
    """


@compiled(_core.cross_entropy_gradient, value=True)
def cross_entropy(
    p: npt.ArrayLike,
    q: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    wrt: PairWrt = "q",
    grad_output: npt.ArrayLike | None = None,
    out: ValueAndGradientOut = None,
) -> Any:
    """Value and gradient of `kullback.cross_entropy`.

    Parameters
    ----------
    p, q, axis, base, keepdims
        As in `kullback.cross_entropy`.
    wrt : {"q", "p", "both"}, default "q"
        What to differentiate by; "both" makes the gradient a pair, `p` first.
    grad_output : array_like, optional
        Factors of the values in the gradient, as in `kullback.grad.cross_entropy`. Default: 1.
    out : pair, optional
        Where to write the value and the gradient, each an ndarray or None, the latter for both another pair.

    Returns
    -------
    value : ndarray or scalar
        As of `kullback.cross_entropy`; `grad_output` does not change it.
    gradient : ndarray or scalar, or a pair of them
        As of `kullback.grad.cross_entropy`.

    See Also
    --------
    kullback.cross_entropy : The value alone; says what is refused.
    kullback.grad.cross_entropy : The gradient alone; has the formula.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.value_and_grad.cross_entropy([0.5, 0.5], [0.25, 0.5], base=2)
    (np.float64(1.5), array([-2.88539008, -1.44269504]))
    """


@compiled(_core.kl_divergence_gradient, value=True)
def kl_divergence(
    p: npt.ArrayLike,
    q: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    wrt: PairWrt = "q",
    grad_output: npt.ArrayLike | None = None,
    out: ValueAndGradientOut = None,
) -> Any:
    """Value and gradient of `kullback.kl_divergence`.

    Parameters
    ----------
    p, q, axis, base, keepdims
        As in `kullback.kl_divergence`.
    wrt : {"q", "p", "both"}, default "q"
        What to differentiate by; "both" makes the gradient a pair, `p` first.
    grad_output : array_like, optional
        Factors of the values in the gradient, as in `kullback.grad.kl_divergence`. Default: 1.
    out : pair, optional
        Where to write the value and the gradient, each an ndarray or None, the latter for both another pair.

    Returns
    -------
    value : ndarray or scalar
        As of `kullback.kl_divergence`; `grad_output` does not change it.
    gradient : ndarray or scalar, or a pair of them
        As of `kullback.grad.kl_divergence`.

    See Also
    --------
    kullback.kl_divergence : The value alone; says what is refused.
    kullback.grad.kl_divergence : The gradient alone; has the formula.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.value_and_grad.kl_divergence([0.5, 0.5, 0.0], [0.25, 0.25, 0.5])
    (np.float64(0.6931471805599453), array([-2., -2.,  0.]))
    """


@compiled(_core.js_divergence_gradient, value=True)
def js_divergence(
    p: npt.ArrayLike,
    q: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    wrt: PairWrt = "q",
    grad_output: npt.ArrayLike | None = None,
    out: ValueAndGradientOut = None,
) -> Any:
    """Value and gradient of `kullback.js_divergence`.

    Parameters
    ----------
    p, q, axis, base, keepdims
        As in `kullback.js_divergence`.
    wrt : {"q", "p", "both"}, default "q"
        What to differentiate by; "both" makes the gradient a pair, `p` first.
    grad_output : array_like, optional
        Factors of the values in the gradient, as in `kullback.grad.js_divergence`. Default: 1.
    out : pair, optional
        Where to write the value and the gradient, each an ndarray or None, the latter for both another pair.

    Returns
    -------
    value : ndarray or scalar
        As of `kullback.js_divergence`; `grad_output` does not change it.
    gradient : ndarray or scalar, or a pair of them
        As of `kullback.grad.js_divergence`.

    See Also
    --------
    kullback.js_divergence : The value alone; says what is refused.
    kullback.grad.js_divergence : The gradient alone; has the formula.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.value_and_grad.js_divergence([1.0, 0.0], [0.5, 0.5])
    (np.float64(0.2157615543388357), array([-0.20273255,  0.34657359]))
    """


@compiled(_core.binary_cross_entropy_gradient, value=True, hessian=False)
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
    out: ValueAndGradientOut = None,
) -> Any:
    """Value and gradient of `kullback.binary_cross_entropy`.

    Parameters
    ----------
    labels, q, weight, pos_weight, label_smoothing, base, reduction
        As in `kullback.binary_cross_entropy`.
    wrt : {"q", "labels", "both"}, default "q"
        What to differentiate by; "both" makes the gradient a pair, `labels` first.
    grad_output : array_like, optional
        Factors of the values in the gradient, as in `kullback.grad.binary_cross_entropy`. Default: 1.
    out : pair, optional
        Where to write the value and the gradient, each an ndarray or None, the latter for both another pair.

    Returns
    -------
    value : ndarray or scalar
        As of `kullback.binary_cross_entropy`; `grad_output` does not change it.
    gradient : ndarray or scalar, or a pair of them
        As of `kullback.grad.binary_cross_entropy`.

    See Also
    --------
    kullback.binary_cross_entropy : The value alone; says what is refused.
    kullback.grad.binary_cross_entropy : The gradient alone; has the formula.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.value_and_grad.binary_cross_entropy([1, 0], [0.6, 0.5])
    (array([0.51082562, 0.69314718]), array([-1.66666667,  2.        ]))
    """


@compiled(_core.categorical_cross_entropy_gradient, value=True, hessian=False)
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
    out: ValueAndGradientOut = None,
) -> Any:
    """Value and gradient of `kullback.categorical_cross_entropy`.

    Parameters
    ----------
    labels, q, axis, weight, sample_weight, ignore_index, label_smoothing, base, reduction
        As in `kullback.categorical_cross_entropy`.
    wrt : {"q", "labels", "both"}, default "q"
        What to differentiate by; "both" makes the gradient a pair, `labels` first.
    grad_output : array_like, optional
        Factors of the values in the gradient, as in `kullback.grad.categorical_cross_entropy`. Default: 1.
    out : pair, optional
        Where to write the value and the gradient, each an ndarray or None, the latter for both another pair.

    Returns
    -------
    value : ndarray or scalar
        As of `kullback.categorical_cross_entropy`; `grad_output` does not change it.
    gradient : ndarray or scalar, or a pair of them
        As of `kullback.grad.categorical_cross_entropy`.

    See Also
    --------
    kullback.categorical_cross_entropy : The value alone; says what is refused.
    kullback.grad.categorical_cross_entropy : The gradient alone; has the formula.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.value_and_grad.categorical_cross_entropy([2], [[0.2, 0.5, 0.3]])
    (array([1.2039728]), array([[ 0.        ,  0.        , -3.33333333]]))
    """


@compiled(_core.logsumexp_gradient, base=None, value=True)
def logsumexp(
    z: npt.ArrayLike,
    *,
    axis: Axis = -1,
    keepdims: bool = False,
    grad_output: npt.ArrayLike | None = None,
    out: PairOut = None,
) -> Any:
    """Value and gradient of `kullback.logsumexp`.

    Parameters
    ----------
    z, axis, keepdims
        As in `kullback.logsumexp`.
    grad_output : array_like, optional
        Factors of the values in the gradient, as in `kullback.grad.logsumexp`. Default: 1.
    out : pair, optional
        Where to write the value and the gradient, each an ndarray or None.

    Returns
    -------
    value : ndarray or scalar
        As of `kullback.logsumexp`; `grad_output` does not change it.
    gradient : ndarray or scalar
        As of `kullback.grad.logsumexp`.

    See Also
    --------
    kullback.logsumexp : The value alone; says what is refused.
    kullback.grad.logsumexp : The gradient alone; has the formula.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.value_and_grad.logsumexp([1000.0, 1000.0])
    (np.float64(1000.6931471805599), array([0.5, 0.5]))
    """


@compiled(_core.entropy_from_logits_gradient, value=True)
def entropy_from_logits(
    z: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    grad_output: npt.ArrayLike | None = None,
    out: PairOut = None,
) -> Any:
    """Value and gradient of `kullback.entropy_from_logits`.

    Parameters
    ----------
    z, axis, base, keepdims
        As in `kullback.entropy_from_logits`.
    grad_output : array_like, optional
        Factors of the values in the gradient, as in `kullback.grad.entropy_from_logits`. Default: 1.
    out : pair, optional
        Where to write the value and the gradient, each an ndarray or None.

    Returns
    -------
    value : ndarray or scalar
        As of `kullback.entropy_from_logits`; `grad_output` does not change it.
    gradient : ndarray or scalar
        As of `kullback.grad.entropy_from_logits`.

    See Also
    --------
    kullback.entropy_from_logits : The value alone; says what is refused.
    kullback.grad.entropy_from_logits : The gradient alone; has the formula.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.value_and_grad.entropy_from_logits([2.0, 0.0, float("-inf")])
    (np.float64(0.3653338550872076), array([-0.20998717,  0.20998717,  0.        ]))
    """


@compiled(_core.binary_entropy_from_logits_gradient, value=True)
def binary_entropy_from_logits(
    z: npt.ArrayLike,
    *,
    base: SupportsFloat | None = None,
    grad_output: npt.ArrayLike | None = None,
    out: PairOut = None,
) -> Any:
    """Value and derivative of `kullback.binary_entropy_from_logits`.

    Parameters
    ----------
    z, base
        As in `kullback.binary_entropy_from_logits`.
    grad_output : array_like, optional
        Factors of the values in the gradient, as in `kullback.grad.binary_entropy_from_logits`. Default: 1.
    out : pair, optional
        Where to write the value and the gradient, each an ndarray or None.

    Returns
    -------
    value : ndarray or scalar
        As of `kullback.binary_entropy_from_logits`; `grad_output` does not change it.
    gradient : ndarray or scalar
        As of `kullback.grad.binary_entropy_from_logits`.

    See Also
    --------
    kullback.binary_entropy_from_logits : The value alone; says what is refused.
    kullback.grad.binary_entropy_from_logits : The derivative alone; has the formula.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.value_and_grad.binary_entropy_from_logits([-2.0, 0.0])
    (array([0.36533386, 0.69314718]), array([0.20998717, 0.        ]))
    """


@compiled(_core.kl_divergence_from_logits_gradient, value=True)
def kl_divergence_from_logits(
    p_logits: npt.ArrayLike,
    q_logits: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    wrt: LogitPairWrt = "q_logits",
    grad_output: npt.ArrayLike | None = None,
    out: ValueAndGradientOut = None,
) -> Any:
    """Value and gradient of `kullback.kl_divergence_from_logits`.

    Parameters
    ----------
    p_logits, q_logits, axis, base, keepdims
        As in `kullback.kl_divergence_from_logits`.
    wrt : {"q_logits", "p_logits", "both"}, default "q_logits"
        What to differentiate by; "both" makes the gradient a pair, `p_logits` first.
    grad_output : array_like, optional
        Factors of the values in the gradient, as in `kullback.grad.kl_divergence_from_logits`. Default: 1.
    out : pair, optional
        Where to write the value and the gradient, each an ndarray or None, the latter for both another pair.

    Returns
    -------
    value : ndarray or scalar
        As of `kullback.kl_divergence_from_logits`; `grad_output` does not change it.
    gradient : ndarray or scalar, or a pair of them
        As of `kullback.grad.kl_divergence_from_logits`.

    See Also
    --------
    kullback.kl_divergence_from_logits : The value alone; says what is refused.
    kullback.grad.kl_divergence_from_logits : The gradient alone; has the formula.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.value_and_grad.kl_divergence_from_logits([0.0, 0.0], [2.0, 0.0], wrt="both")
    (np.float64(0.4337808304830272), (array([-0.5,  0.5]), array([ 0.38079708, -0.38079708])))
    """


@compiled(_core.js_divergence_from_logits_gradient, value=True)
def js_divergence_from_logits(
    p_logits: npt.ArrayLike,
    q_logits: npt.ArrayLike,
    *,
    axis: Axis = -1,
    base: SupportsFloat | None = None,
    keepdims: bool = False,
    wrt: LogitPairWrt = "q_logits",
    grad_output: npt.ArrayLike | None = None,
    out: ValueAndGradientOut = None,
) -> Any:
    """Value and gradient of `kullback.js_divergence_from_logits`.

    Parameters
    ----------
    p_logits, q_logits, axis, base, keepdims
        As in `kullback.js_divergence_from_logits`.
    wrt : {"q_logits", "p_logits", "both"}, default "q_logits"
        What to differentiate by; "both" makes the gradient a pair, `p_logits` first.
    grad_output : array_like, optional
        Factors of the values in the gradient, as in `kullback.grad.js_divergence_from_logits`. Default: 1.
    out : pair, optional
        Where to write the value and the gradient, each an ndarray or None, the latter for both another pair.

    Returns
    -------
    value : ndarray or scalar
        As of `kullback.js_divergence_from_logits`; `grad_output` does not change it.
    gradient : ndarray or scalar, or a pair of them
        As of `kullback.grad.js_divergence_from_logits`.

    See Also
    --------
    kullback.js_divergence_from_logits : The value alone; says what is refused.
    kullback.grad.js_divergence_from_logits : The gradient alone; has the formula.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.value_and_grad.js_divergence_from_logits([0.0, 0.0], [2.0, 0.0])
    (np.float64(0.08954089649801428), array([ 0.06289204, -0.06289204]))
    """


@compiled(_core.binary_cross_entropy_from_logits_gradient, value=True, hessian=False)
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
    out: ValueAndGradientOut = None,
) -> Any:
    """Value and gradient of `kullback.binary_cross_entropy_from_logits`.

    Parameters
    ----------
    labels, logits, weight, pos_weight, label_smoothing, base, reduction
        As in `kullback.binary_cross_entropy_from_logits`.
    wrt : {"logits", "labels", "both"}, default "logits"
        What to differentiate by; "both" makes the gradient a pair, `labels` first.
    grad_output : array_like, optional
        Factors of the values in the gradient, as in `kullback.grad.binary_cross_entropy_from_logits`. Default: 1.
    out : pair, optional
        Where to write the value and the gradient, each an ndarray or None, the latter for both another pair.

    Returns
    -------
    value : ndarray or scalar
        As of `kullback.binary_cross_entropy_from_logits`; `grad_output` does not change it.
    gradient : ndarray or scalar, or a pair of them
        As of `kullback.grad.binary_cross_entropy_from_logits`.

    See Also
    --------
    kullback.binary_cross_entropy_from_logits : The value alone; says what is refused.
    kullback.grad.binary_cross_entropy_from_logits : The gradient alone; has the formula.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.value_and_grad.binary_cross_entropy_from_logits([1, 0], [40.0, 0.0])
    (array([4.24835426e-18, 6.93147181e-01]), array([-4.24835426e-18,  5.00000000e-01]))
    """


@compiled(_core.categorical_cross_entropy_from_logits_gradient, value=True, hessian=False)
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
    out: ValueAndGradientOut = None,
) -> Any:
    """Value and gradient of `kullback.categorical_cross_entropy_from_logits`.

    Parameters
    ----------
    labels, logits, axis, weight, sample_weight, ignore_index, label_smoothing, base, reduction
        As in `kullback.categorical_cross_entropy_from_logits`.
    wrt : {"logits", "labels", "both"}, default "logits"
        What to differentiate by; "both" makes the gradient a pair, `labels` first.
    grad_output : array_like, optional
        Factors of the values in the gradient, as in `kullback.grad.categorical_cross_entropy_from_logits`. Default: 1.
    out : pair, optional
        Where to write the value and the gradient, each an ndarray or None, the latter for both another pair.

    Returns
    -------
    value : ndarray or scalar
        As of `kullback.categorical_cross_entropy_from_logits`; `grad_output` does not change it.
    gradient : ndarray or scalar, or a pair of them
        As of `kullback.grad.categorical_cross_entropy_from_logits`.

    See Also
    --------
    kullback.categorical_cross_entropy_from_logits : The value alone; says what is refused.
    kullback.grad.categorical_cross_entropy_from_logits : The gradient alone; has the formula.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.value_and_grad.categorical_cross_entropy_from_logits([0, 1], [[2.0, 0.0], [0.0, 0.0]], reduction="mean")
    (np.float64(0.4100375958014589), array([[-0.05960146,  0.05960146],
           [ 0.25      , -0.25      ]]))
    """
