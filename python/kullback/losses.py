"""Losses of predictions, from probabilities or logits: the labels first, as in the formulas.

Probabilities are used as given: never normalised, never clipped. ``0 log 0`` is 0. Results are in nats, or in
the unit that `base` sets.
"""

from __future__ import annotations

from typing import Any, SupportsFloat

import numpy.typing as npt

from . import _core
from ._binding import compiled
from ._types import FloatArray, Reduction

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_from_logits",
    "categorical_cross_entropy",
    "categorical_cross_entropy_from_logits",
]


@compiled(_core.binary_cross_entropy)
def binary_cross_entropy(
    labels: npt.ArrayLike,
    q: npt.ArrayLike,
    *,
    weight: npt.ArrayLike | None = None,
    pos_weight: npt.ArrayLike | None = None,
    label_smoothing: SupportsFloat = 0.0,
    base: SupportsFloat | None = None,
    reduction: Reduction = None,
    out: FloatArray | None = None,
) -> Any:
    r"""Cross-entropy of labels and predicted probabilities, of an outcome and its opposite.

    .. math::

        L(y, q) = -w \left[ v \, y \log q + (1 - y) \log(1 - q) \right], \qquad
        w = \mathrm{weight}, \; v = \mathrm{pos\_weight}

    Parameters
    ----------
    labels : array_like
        Probabilities of the outcome: 1 or 0 where it is known.
    q : array_like
        Predicted probabilities of the outcome. All arrays broadcast against each other.
    weight : array_like, optional
        Factor of each loss.
    pos_weight : array_like, optional
        Factor of the terms of the outcome, of those with `labels`.
    label_smoothing : float, default 0.0
        A number s from 0 to 1: y becomes (1 - s) y + s/2.
    base : float, optional
        Base of the logarithm, finite, > 0 and not 1. Default: nats; 2 gives bits.
    reduction : {"sum", "mean"}, optional
        Add the losses up. "mean" divides by the sum of `weight` over the losses or, without it, by their
        number. Default: one loss per element.
    out : ndarray, optional
        Where to write the result, of its shape and dtype; 0-d with a `reduction`. It may overlap an input.

    Returns
    -------
    ndarray or scalar
        The common shape, or a scalar with a `reduction`. +inf where something has happened that the prediction
        excluded; a term is 0 where a factor of its logarithm is; NaN where a label or `q` lies outside 0 to 1
        or anything is NaN.

    Raises
    ------
    TypeError
        If an array has a dtype other than float32, float64, an integer or bool, or is a masked array; if `out`
        is not an array of the result's dtype; if `label_smoothing` or `base` is not a number.
    ValueError
        If `out` has the wrong shape or is read-only; if the shapes do not broadcast; if `label_smoothing` is
        not from 0 to 1; if `reduction` is none of those named; if `base` is not finite, not > 0 or 1.

    Warns
    -----
    RuntimeWarning
        If there is nothing to take the mean of, or only weights that sum to 0: it is NaN.

    See Also
    --------
    binary_cross_entropy_from_logits : Of logits; keeps the digits of predictions near 1.
    categorical_cross_entropy : Of any number of classes.
    sklearn.metrics.log_loss : The mean; clips `q`.
    torch.nn.functional.binary_cross_entropy : Takes predictions first; the mean; no logarithm below -100.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. Integer labels
    thus make the losses of float32 predictions float64. A Python number takes the dtype of the array that it
    meets. Accurate to 2 ULP everywhere, relative to the sum of the two terms' magnitudes where `pos_weight` is
    negative. Equations 9, 11 and 12 of the lecture "Cross-Entropy Loss function", section 3.2 of Microsoft's
    ai-edu course, and equation 10 with ``reduction="sum"``. Label smoothing: C. Szegedy, V. Vanhoucke, S.
    Ioffe, J. Shlens and Z. Wojna, "Rethinking the Inception architecture for computer vision", CVPR (2016).

    Examples
    --------
    >>> import kullback as kb
    >>> kb.binary_cross_entropy([1, 1, 0, 1], [0.6, 0.7, 0.0, 0.0])
    array([0.51082562, 0.35667494, 0.        ,        inf])
    >>> round(float(kb.binary_cross_entropy(1, 0.6)), 4)
    0.5108
    """


@compiled(_core.categorical_cross_entropy)
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
    out: FloatArray | None = None,
) -> Any:
    r"""Cross-entropy of labels and predicted probabilities of classes.

    .. math::

        L(y, q) = -v \sum_j w_j y_j \log q_j, \qquad
        w = \mathrm{weight}, \; v = \mathrm{sample\_weight}

    Parameters
    ----------
    labels : array_like
        Classes, integers counted from 0, in the shape of the predictions without `axis`; or distributions over
        the classes, with as many dimensions as the predictions, which broadcast where a length is 1.
    q : array_like
        Predicted probabilities of the classes, along `axis`.
    axis : int, default -1
        The axis of the classes.
    weight : array_like, optional
        Factors of the classes' terms, one per class: of shape (C,).
    sample_weight : array_like, optional
        Factors of the rows' losses, which broadcast to the shape of the predictions without `axis`.
    ignore_index : int, optional
        Rows with this label have the loss 0, whatever their predictions, and take no part in a mean. It need
        not be one of the classes.
    label_smoothing : float, default 0.0
        A number s from 0 to 1: y becomes (1 - s) y + s/C, with C the number of classes.
    base : float, optional
        Base of the logarithm, finite, > 0 and not 1. Default: nats; 2 gives bits.
    reduction : {"sum", "mean"}, optional
        Add the losses up. "mean" divides by the number of rows that took part or, with weights, by the sum of
        theirs: `sample_weight`, times the weight of the label's class where `weight` is given, for a
        distribution the sum of w y before smoothing. Default: one loss per row.
    out : ndarray, optional
        Where to write the result, of its shape and dtype; 0-d with a `reduction`. It may overlap an input.

    Returns
    -------
    ndarray or scalar
        The shape of `q` without `axis`, or a scalar with a `reduction`. A term is 0 where a factor of its
        logarithm is, and +inf where q = 0 otherwise; the row is NaN where its distributions hold a negative
        number or NaN.

    Raises
    ------
    TypeError
        If an array has a dtype other than float32, float64, an integer or bool, or is a masked array; if labels
        with one dimension fewer than `q` are not integers; if `out` is not an array of the result's dtype; if
        `axis` or `ignore_index` is not an int; if `label_smoothing` or `base` is not a number.
    ValueError
        If `out` has the wrong shape or is read-only; if `labels` has neither of the two shapes; if `weight` is
        not of shape (C,); if `sample_weight` does not broadcast to the rows; if `ignore_index` meets
        distributions; if `label_smoothing` is not from 0 to 1; if `reduction` is none of those named; if `base`
        is not finite, not > 0 or 1.
    IndexError
        If a label is neither one of the classes nor `ignore_index`. `out` is untouched.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    Warns
    -----
    RuntimeWarning
        If nothing took part in a mean, or only weights that sum to 0: it is NaN.

    See Also
    --------
    categorical_cross_entropy_from_logits : Of logits; keeps the digits of predictions near 1.
    cross_entropy : Of two distributions, without labels' options.
    sklearn.metrics.log_loss : The mean; clips `q`.
    torch.nn.functional.nll_loss : Takes log q first, with the classes along axis 1; the mean.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. Integer
    distributions thus make the losses of float32 predictions float64. A Python number takes the dtype of the
    array that it meets. The dtype of classes does not count. Accurate to 2 ULP for any number of classes,
    relative to the sum of the terms' magnitudes where q exceeds 1 or a weight is negative. Equation 7 of the
    lecture "Cross-Entropy Loss function", section 3.2 of Microsoft's ai-edu course, and equation 8 with
    ``reduction="sum"``. Label smoothing: C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens and Z. Wojna,
    "Rethinking the Inception architecture for computer vision", CVPR (2016).

    Examples
    --------
    >>> import kullback as kb
    >>> kb.categorical_cross_entropy([2], [[0.2, 0.5, 0.3]])
    array([1.2039728])
    >>> kb.categorical_cross_entropy([[0, 0, 1]], [[0.2, 0.5, 0.3], [0.2, 0.2, 0.6]])
    array([1.2039728 , 0.51082562])
    >>> round(float(kb.categorical_cross_entropy([2, 2], [[0.2, 0.5, 0.3], [0.2, 0.2, 0.6]], reduction="sum")), 4)
    1.7148
    """


@compiled(_core.binary_cross_entropy_from_logits)
def binary_cross_entropy_from_logits(
    labels: npt.ArrayLike,
    logits: npt.ArrayLike,
    *,
    weight: npt.ArrayLike | None = None,
    pos_weight: npt.ArrayLike | None = None,
    label_smoothing: SupportsFloat = 0.0,
    base: SupportsFloat | None = None,
    reduction: Reduction = None,
    out: FloatArray | None = None,
) -> Any:
    r"""Cross-entropy of labels and predicted logits, of an outcome and its opposite.

    .. math::

        L(y, z) = -w \left[ v \, y \log \sigma(z) + (1 - y) \log \sigma(-z) \right], \qquad
        w = \mathrm{weight}, \; v = \mathrm{pos\_weight}

    Parameters
    ----------
    labels : array_like
        Probabilities of the outcome: 1 or 0 where it is known.
    logits : array_like
        Predicted logits of the outcome. All arrays broadcast against each other.
    weight : array_like, optional
        Factor of each loss.
    pos_weight : array_like, optional
        Factor of the terms of the outcome, of those with `labels`.
    label_smoothing : float, default 0.0
        A number s from 0 to 1: y becomes (1 - s) y + s/2.
    base : float, optional
        Base of the logarithm, finite, > 0 and not 1. Default: nats; 2 gives bits.
    reduction : {"sum", "mean"}, optional
        Add the losses up. "mean" divides by the sum of `weight` over the losses or, without it, by their
        number. Default: one loss per element.
    out : ndarray, optional
        Where to write the result, of its shape and dtype; 0-d with a `reduction`. It may overlap an input.

    Returns
    -------
    ndarray or scalar
        The common shape, or a scalar with a `reduction`. At logits of -inf and +inf 0 where the label agrees
        and +inf where not; a term is 0 where a factor of its logarithm is; NaN where a label lies outside 0 to
        1 or anything is NaN.

    Raises
    ------
    TypeError
        If an array has a dtype other than float32, float64, an integer or bool, or is a masked array; if `out`
        is not an array of the result's dtype; if `label_smoothing` or `base` is not a number.
    ValueError
        If `out` has the wrong shape or is read-only; if the shapes do not broadcast; if `label_smoothing` is
        not from 0 to 1; if `reduction` is none of those named; if `base` is not finite, not > 0 or 1.

    Warns
    -----
    RuntimeWarning
        If there is nothing to take the mean of, or only weights that sum to 0: it is NaN.

    See Also
    --------
    binary_cross_entropy : Of probabilities.
    categorical_cross_entropy_from_logits : Of any number of classes.
    log_sigmoid : The loss of the label 1, negative.
    torch.nn.functional.binary_cross_entropy_with_logits : Takes predictions first; the mean; NaN at +-inf.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. Integer labels
    thus make the losses of float32 predictions float64. A Python number takes the dtype of the array that it
    meets. Accurate to 2 ULP everywhere, down to the smallest numbers; relative to the sum of the two terms'
    magnitudes where `pos_weight` is negative. Equations 9, 11 and 12 of the lecture "Cross-Entropy Loss
    function", section 3.2 of Microsoft's ai-edu course, and equation 10 with ``reduction="sum"``. Label
    smoothing: C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens and Z. Wojna, "Rethinking the Inception
    architecture for computer vision", CVPR (2016).

    Examples
    --------
    >>> import kullback as kb
    >>> kb.binary_cross_entropy_from_logits([1, 1, 1], [40.0, 0.0, -1000.0])
    array([4.24835426e-18, 6.93147181e-01, 1.00000000e+03])
    """


@compiled(_core.categorical_cross_entropy_from_logits)
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
    out: FloatArray | None = None,
) -> Any:
    r"""Cross-entropy of labels and predicted logits of classes.

    .. math::

        L(y, z) = -v \sum_j w_j y_j \log \frac{e^{z_j}}{\sum_k e^{z_k}}, \qquad
        w = \mathrm{weight}, \; v = \mathrm{sample\_weight}

    Parameters
    ----------
    labels : array_like
        Classes, integers counted from 0, in the shape of the predictions without `axis`; or distributions over
        the classes, with as many dimensions as the predictions, which broadcast where a length is 1.
    logits : array_like
        Predicted logits of the classes, along `axis`.
    axis : int, default -1
        The axis of the classes.
    weight : array_like, optional
        Factors of the classes' terms, one per class: of shape (C,).
    sample_weight : array_like, optional
        Factors of the rows' losses, which broadcast to the shape of the predictions without `axis`.
    ignore_index : int, optional
        Rows with this label have the loss 0, whatever their predictions, and take no part in a mean. It need
        not be one of the classes.
    label_smoothing : float, default 0.0
        A number s from 0 to 1: y becomes (1 - s) y + s/C, with C the number of classes.
    base : float, optional
        Base of the logarithm, finite, > 0 and not 1. Default: nats; 2 gives bits.
    reduction : {"sum", "mean"}, optional
        Add the losses up. "mean" divides by the number of rows that took part or, with weights, by the sum of
        theirs: `sample_weight`, times the weight of the label's class where `weight` is given, for a
        distribution the sum of w y before smoothing. Default: one loss per row.
    out : ndarray, optional
        Where to write the result, of its shape and dtype; 0-d with a `reduction`. It may overlap an input.

    Returns
    -------
    ndarray or scalar
        The shape of `logits` without `axis`, or a scalar with a `reduction`. A term is 0 where a factor of its
        logarithm is, and +inf at a logit of -inf otherwise; where one logit is +inf its class is certain; the
        row is NaN where several are, where all are -inf, and where a label is negative or anything NaN.

    Raises
    ------
    TypeError
        If an array has a dtype other than float32, float64, an integer or bool, or is a masked array; if labels
        with one dimension fewer than `logits` are not integers; if `out` is not an array of the result's dtype;
        if `axis` or `ignore_index` is not an int; if `label_smoothing` or `base` is not a number.
    ValueError
        If `out` has the wrong shape or is read-only; if `labels` has neither of the two shapes; if `weight` is
        not of shape (C,); if `sample_weight` does not broadcast to the rows; if `ignore_index` meets
        distributions; if `label_smoothing` is not from 0 to 1; if `reduction` is none of those named; if `base`
        is not finite, not > 0 or 1.
    IndexError
        If a label is neither one of the classes nor `ignore_index`. `out` is untouched.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    Warns
    -----
    RuntimeWarning
        If nothing took part in a mean, or only weights that sum to 0: it is NaN.

    See Also
    --------
    categorical_cross_entropy : Of probabilities.
    token_logprobs : Log-probabilities of several classes per row.
    sklearn.metrics.log_loss : Of probabilities, the mean; clips.
    torch.nn.functional.cross_entropy : Takes predictions first, with the classes along axis 1; ignores -100; the
        mean, which for distributions is per row whatever the class weights.

    Notes
    -----
    float32 stays float32 and float64 stays float64; integers and bool are computed in float64. Integer
    distributions thus make the losses of float32 predictions float64. A Python number takes the dtype of the
    array that it meets. The dtype of classes does not count. Accurate to 2 ULP for any number of classes, down
    to the smallest numbers; relative to the sum of the terms' magnitudes where a weight is negative. Equation 7
    of the lecture "Cross-Entropy Loss function", section 3.2 of Microsoft's ai-edu course, and equation 8 with
    ``reduction="sum"``. Label smoothing: C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens and Z. Wojna,
    "Rethinking the Inception architecture for computer vision", CVPR (2016).

    Examples
    --------
    >>> import kullback as kb
    >>> kb.categorical_cross_entropy_from_logits([0, 2], [[40.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    array([8.49670851e-18, 1.09861229e+00])
    >>> kb.categorical_cross_entropy_from_logits([0, -100], [[0.0, 0.0], [1.0, 2.0]], ignore_index=-100)
    array([0.69314718, 0.        ])
    """
