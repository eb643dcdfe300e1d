"""Checks of accuracy, in units in the last place (ULP), against the pure-Python reference.

`assert_matches_reference` is how the package tests itself and how users may cross-check it on their own
data; `ulp_error` is the yardstick and `BOUNDS` what it is held to. Nothing here needs more than NumPy.
"""

from __future__ import annotations

import decimal
import functools
import inspect
import math as _math
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

import kullback
from kullback import _core, reference

__all__ = ["BOUNDS", "assert_matches_reference", "ulp_error"]

BOUNDS = {
    "pack": 1.0,  # exp, log, log1p, expm1 of the core, over their whole domain
    "elementwise": 2.0,  # one result per element
    "row": 2.0,  # one result per row of any length, at the sum of the terms' magnitudes
}
"""Largest error in ULP, by kind of function. Every test and every page reads it here."""

_DIGITS = 60


def ulp_error(actual: Any, exact: Any, *, magnitude: Any = None) -> Any:
    r"""Error of `actual` in units in the last place of its own format.

    .. math:: \frac{|\text{actual} - \text{exact}|}{\text{spacing of the format at exact}}

    computed in rational arithmetic, so the figure itself has no rounding error worth the name.

    Parameters
    ----------
    actual : float32 or float64 array or scalar
        What was computed. Its dtype is the format; a Python float is a float64.
    exact : number or nested sequence of numbers
        What should have come out: int, float, Fraction, Decimal or mpmath's mpf, broadcast to `actual`.
    magnitude : number or nested sequence of numbers, optional
        For a result that can cancel: take the spacing at this magnitude (as a rule the sum of the magnitudes
        of the terms) where it is larger than `exact`.

    Returns
    -------
    float or ndarray of float64
        0 where both are NaN or the same infinity, +inf where only one is. An `actual` infinity is also right
        where `exact` rounds to it, that is from half a spacing beyond the largest finite number on. Below the
        smallest normal number the spacing is the smallest subnormal number.

    Examples
    --------
    >>> import numpy as np
    >>> ulp_error(1 + 2**-52, 1)
    1.0
    >>> ulp_error(np.float32([1.0, 2.0, np.inf]), [1 + 2.0**-24, 2, 1])
    array([0.5, 0. , inf])
    """
    got = np.asarray(actual)
    if got.dtype.char not in "fd":
        raise TypeError(f"actual has dtype {got.dtype}, expected float32 or float64")
    want = np.broadcast_to(np.array(exact, dtype=object), got.shape)
    scale = np.broadcast_to(np.array(0 if magnitude is None else magnitude, dtype=object), got.shape)
    errors = np.empty(got.shape)
    for i in np.ndindex(got.shape):
        errors[i] = _ulp_error(float(got[i]), want[i], scale[i], np.finfo(got.dtype))
    return errors if got.ndim else float(errors[()])


def _ulp_error(got: float, exact: Any, magnitude: Any, format: Any) -> float:
    if exact != exact or got != got:
        return 0.0 if exact != exact and got != got else _math.inf
    if abs(exact) == _math.inf:
        return 0.0 if got == exact else _math.inf
    want = _fraction(exact)
    if abs(got) == _math.inf:
        overflow = Fraction(float(format.max)) + _spacing(Fraction(float(format.max)), format) / 2
        return 0.0 if (want if got > 0 else -want) >= overflow else _math.inf
    if abs(magnitude) == _math.inf:
        return 0.0
    error = abs(Fraction(got) - want) / _spacing(max(abs(want), abs(_fraction(magnitude))), format)
    return float(error) if error < 2**1023 else _math.inf


def _fraction(x: Any) -> Fraction:
    if hasattr(x, "man_exp"):  # mpmath's mpf, whose mantissa is without its sign
        man, exp = x.man_exp
        scaled = Fraction(int(man) << exp) if exp >= 0 else Fraction(int(man), 1 << -exp)
        return -scaled if x < 0 else scaled
    return Fraction(x.item() if isinstance(x, np.generic) else x)


def _spacing(x: Fraction, format: Any) -> Fraction:
    exponent = int(format.minexp)
    if x != 0:
        floor = x.numerator.bit_length() - x.denominator.bit_length()
        if x < Fraction(2) ** floor:
            floor -= 1
        exponent = min(max(exponent, floor), int(format.maxexp) - 1)
    return Fraction(2) ** (exponent - int(format.nmant))


def assert_matches_reference(
    function: str | Callable[..., Any],
    *arrays: npt.ArrayLike,
    base: float | None = None,
    axis: int | tuple[int, ...] | None = -1,
    ulp: float | None = None,
    math: Any = None,
    **options: Any,
) -> float:
    """Assert that a measure of these arrays agrees with `kullback.reference`, row by row.

    The reference is computed from the very floats of the arrays at 60 digits: with mpmath if it is
    installed, and if it is not with the standard library's decimal, to the same bound.

    Parameters
    ----------
    function : str or callable
        A measure of `kullback` or its name; or a function to be checked in its place that takes the same
        arguments and has the same ``__name__``.
    *arrays : array_like
        The distributions, logits, labels or tokens, which may broadcast where the measure lets them.
    base, axis
        As the measure takes them. An elementwise measure takes no `axis`, some measures take no `base`.
    ulp : float, optional
        Largest error to let pass; the measure's entry in `BOUNDS` by default. For a row measure in units
        at the sum of its terms' magnitudes, since its terms may cancel.
    math : module-like, optional
        Another arithmetic for the reference, see `kullback.reference`. Python's `math` is much the fastest,
        and good to a few ULP itself: add that to `ulp`.
    **options
        Further keywords of the measure: the weights, `ignore_index`, `label_smoothing` and `reduction` of a loss.

    Returns
    -------
    float
        The worst error met, in ULP; 0 if there was nothing to compare.

    Raises
    ------
    AssertionError
        Naming the function, the dtype and shape, where the worst element is, the inputs there, both
        results, the error and the bound.

    Examples
    --------
    >>> worst = assert_matches_reference("entropy", [[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]], base=2)
    >>> worst <= BOUNDS["row"]
    True
    """
    name = function if isinstance(function, str) else function.__name__
    compute = getattr(kullback, name) if isinstance(function, str) else function
    kind = dict(_core.kernels())[name]
    bound = BOUNDS["elementwise" if kind in _ELEMENTWISE else "row"] if ulp is None else ulp
    arithmetic = _precise() if math is None else math
    names = list(inspect.signature(getattr(reference, name)).parameters)

    inputs = [a if _is_python_number(a) else np.asarray(a) for a in arrays]  # a Python number has no dtype
    keywords = dict(options) if kind in _ELEMENTWISE else {"axis": axis, **options}
    actual = np.asarray(compute(*inputs, **keywords, **({"base": base} if "base" in names else {})))
    dtype = _result_dtype(kind, inputs, options)
    shape, rows = _LAYOUTS[kind]([np.asarray(a) for a in inputs], axis, options)

    where = f"{name} of {' and '.join(f'{np.asarray(a).dtype} {np.shape(a)}' for a in inputs)}"
    where += "".join(f", {key}={_abbreviated(value)}" for key, value in keywords.items())
    where += f", base={base}" if base is not None else ""
    if actual.dtype != dtype or actual.shape != shape:
        raise AssertionError(f"{where}: got {actual.dtype} {actual.shape}, expected {dtype} {shape}")
    if not actual.size:
        return 0.0

    expected = np.empty(actual.size, dtype=object)
    magnitude = np.zeros(actual.size, dtype=object)
    shown: dict[int, tuple[Any, ...]] = {}
    with decimal.localcontext(_DECIMAL_CONTEXT):
        for positions, arguments, row_options in rows:
            values, magnitudes = _reference(kind, name, arguments, row_options, base, arithmetic)
            for i, value, scale in zip(positions, values, magnitudes, strict=True):
                expected[i], magnitude[i], shown[i] = value, scale, arguments
        errors = np.asarray(ulp_error(actual.ravel(), expected, magnitude=magnitude))

    worst = int(np.argmax(errors))
    if not errors[worst] <= bound:
        at = tuple(int(i) for i in np.unravel_index(worst, shape))
        lines = [f"{where}: error {errors[worst]:.4g} ULP at {at}, bound {bound:g}"]
        lines += [f"  {label} = {_abbreviated(x)}" for label, x in zip(names, shown[worst], strict=False)]
        lines += [f"  got      {float(actual.flat[worst])!r}", f"  expected {expected[worst]!s:.40}"]
        raise AssertionError("\n".join(lines))
    return float(errors[worst])


_ELEMENTWISE = ("map1", "binary")


def _is_python_number(x: Any) -> bool:
    return isinstance(x, (bool, int, float)) and not isinstance(x, np.generic)


def _result_dtype(kind: str, inputs: list[Any], options: dict[str, Any]) -> np.dtype[Any]:
    """The common float format: integers count as float64, Python numbers and class indices do not count."""
    index = kind == "categorical" and np.ndim(inputs[0]) < np.ndim(inputs[1])
    counted = inputs[:1] if kind == "tokens" else inputs[1:] if index else inputs
    given = [options.get(key) for key in ("weight", "pos_weight", "sample_weight")]
    types: list[Any] = []
    for x in [*counted, *(w for w in given if w is not None)]:
        kept = _is_python_number(x) or np.asarray(x).dtype.kind == "f"
        types.append((x if _is_python_number(x) else np.asarray(x).dtype) if kept else np.float64)
    dtype = np.result_type(*types)
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


# What each kind of function computes from what. A layout gives the shape of the result and, call by call of the
# reference, the flat positions in the result that the call gives, its arguments and its options.

_Layout = tuple[tuple[int, ...], Iterator[tuple[list[int], tuple[Any, ...], dict[str, Any]]]]


def _layout_of_elements(inputs: list[npt.NDArray[Any]], axis: Any, options: dict[str, Any]) -> _Layout:
    (x,) = inputs
    return x.shape, (([i], (value,), {}) for i, value in enumerate(_floats(x).ravel().tolist()))


def _layout_of_sums(inputs: list[npt.NDArray[Any]], axis: Any, options: dict[str, Any]) -> _Layout:
    rows = _rows(np.broadcast_arrays(*map(_floats, inputs)), axis)
    shape = rows[0].shape[:-1]
    return shape, (([i], tuple(r[at].tolist() for r in rows), {}) for i, at in enumerate(np.ndindex(shape)))


def _layout_of_whole_rows(inputs: list[npt.NDArray[Any]], axis: Any, options: dict[str, Any]) -> _Layout:
    (z,) = inputs
    rows, places = _rows([_floats(z), _positions(z.shape)], axis)
    return z.shape, ((places[at].tolist(), (rows[at].tolist(),), {}) for at in np.ndindex(rows.shape[:-1]))


def _layout_of_tokens(inputs: list[npt.NDArray[Any]], axis: Any, options: dict[str, Any]) -> _Layout:
    logits, tokens = inputs
    chosen = np.expand_dims(tokens, axis) if tokens.ndim < logits.ndim else tokens
    rows, classes, places = (_rows([x], axis)[0] for x in (_floats(logits), chosen, _positions(chosen.shape)))
    indices = np.ndindex(rows.shape[:-1])
    return tokens.shape, ((places[at].tolist(), (rows[at].tolist(), classes[at].tolist()), {}) for at in indices)


def _layout_of_binary(inputs: list[npt.NDArray[Any]], axis: Any, options: dict[str, Any]) -> _Layout:
    weights = {key: options[key] for key in ("weight", "pos_weight") if options.get(key) is not None}
    others = {key: value for key, value in options.items() if key not in ("weight", "pos_weight", "reduction")}
    arrays = np.broadcast_arrays(*map(_floats, [*inputs, *weights.values()]))
    columns = [a.ravel().tolist() for a in arrays]
    if options.get("reduction") is not None:
        reduced = {**others, **dict(zip(weights, columns[2:], strict=True)), "reduction": options["reduction"]}
        return (), iter([([0], (columns[0], columns[1]), reduced)])
    elements = enumerate(zip(*columns, strict=True))
    calls = (([i], (y, q), {**others, **dict(zip(weights, w, strict=True))}) for i, (y, q, *w) in elements)
    return arrays[0].shape, calls


def _layout_of_categorical(inputs: list[npt.NDArray[Any]], axis: Any, options: dict[str, Any]) -> _Layout:
    labels, predictions = inputs[0], _floats(inputs[1])
    if labels.ndim == predictions.ndim:
        soft, predictions = np.broadcast_arrays(_floats(labels), predictions)
        targets, rows = _rows([soft, predictions], axis)
    else:
        targets, (rows,) = labels, _rows([predictions], axis)
    shape = rows.shape[:-1]
    given = {key: value for key, value in options.items() if key not in ("sample_weight", "reduction")}
    if given.get("weight") is not None:
        given["weight"] = _floats(given["weight"]).tolist()
    sample_weight = options.get("sample_weight")
    weights = np.broadcast_to(_floats(1 if sample_weight is None else sample_weight), shape)
    labels_of, rows_of = ([x[at].tolist() for at in np.ndindex(shape)] for x in (targets, rows))
    weights_of = weights.ravel().tolist()
    if options.get("reduction") is None:
        calls = enumerate(zip(labels_of, rows_of, weights_of, strict=True))
        return shape, (([i], ([y], [q]), {**given, "sample_weight": [w]}) for i, (y, q, w) in calls)
    given |= {"sample_weight": weights_of, "reduction": options["reduction"]}
    return (), iter([([0], (labels_of, rows_of), given)])


_LAYOUTS: dict[str, Callable[..., _Layout]] = {
    "map1": _layout_of_elements,
    "sum1": _layout_of_sums,
    "sum2": _layout_of_sums,
    "rowmap": _layout_of_whole_rows,
    "tokens": _layout_of_tokens,
    "binary": _layout_of_binary,
    "categorical": _layout_of_categorical,
}


def _reference(
    kind: str, name: str, arguments: tuple[Any, ...], options: dict[str, Any], base: float | None, math: Any
) -> tuple[list[Any], list[Any]]:
    """What the reference has for one call, and the magnitudes at which the errors count."""
    function = getattr(reference, name)
    if kind in ("sum1", "sum2"):
        terms = reference._terms(name, arguments, math)
        return [reference._total(terms, base, math)], [abs(_magnitude(name, arguments, terms, base, math))]
    if kind in ("binary", "categorical"):
        bound = inspect.signature(function).bind(*arguments, **options, base=base, math=math)
        bound.apply_defaults()
        reduction = {key: bound.arguments.pop(key) for key in ("base", "reduction")}
        rows, weights, single = reference._loss_terms(name, *bound.arguments.values())
        absolute = [[abs(term) for term in row] for row in rows]
        values = reference._reduced(rows, weights, single, **reduction, math=math)
        magnitudes = reference._reduced(absolute, weights, single, **reduction, math=math)
        return _listed(values), [abs(magnitude) for magnitude in _listed(magnitudes)]
    keywords = {"base": base} if base is not None else {}
    values = _listed(function(*arguments, **keywords, math=math))
    return values, [0] * len(values)


def _listed(x: Any) -> list[Any]:
    return x if isinstance(x, list) else [x]


def _magnitude(name: str, rows: tuple[Any, ...], terms: list[Any], base: float | None, math: Any) -> Any:
    """The sum of the terms' magnitudes, but for a maximum and for terms that are themselves differences."""
    magnitudes = [abs(term) for term in terms]
    if name == "logsumexp":
        return max(magnitudes)
    if name == "js_divergence_from_logits":
        p, q = (reference.softmax(row, math=math) for row in rows)
        m = [(x + y) / 2 for x, y in zip(p, q, strict=True)]
        magnitudes = [abs(t) for x in (p, q) for t in reference._terms("kl_divergence", (x, m), math)]
    return reference._total(magnitudes, base, math)


def _floats(x: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.asarray(x).astype(np.float64)


def _positions(shape: tuple[int, ...]) -> npt.NDArray[Any]:
    return np.arange(_math.prod(shape)).reshape(shape)


def _rows(arrays: Sequence[npt.NDArray[Any]], axis: int | tuple[int, ...] | None) -> list[npt.NDArray[Any]]:
    """The arrays, which have one shape, with the axes of `axis` as one axis at the end."""
    ndim = arrays[0].ndim
    chosen = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    reduced = [a % ndim for a in chosen]
    kept = [a for a in range(ndim) if a not in reduced]
    shape = [arrays[0].shape[a] for a in kept]
    length = _math.prod(arrays[0].shape[a] for a in reduced)
    return [a.transpose(kept + reduced).reshape(*shape, length) for a in arrays]


def _abbreviated(x: Any) -> str:
    if isinstance(x, np.ndarray):
        x = x.tolist()
    if not isinstance(x, list):
        return repr(x)
    text = ", ".join(_abbreviated(e) for e in x[:8])
    return f"[{text}]" if len(x) <= 8 else f"[{text}, ... {len(x)} in all]"


# Wide enough that nothing of float64 overflows, and NaN where Python would raise.
_DECIMAL_CONTEXT = decimal.Context(prec=_DIGITS, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[])


class _Decimal:
    """`decimal` as an arithmetic for the reference, inside `_DECIMAL_CONTEXT`."""

    mpf = decimal.Decimal
    inf = decimal.Decimal("inf")
    nan = decimal.Decimal("nan")

    @staticmethod
    def fsum(terms: Iterable[Any]) -> decimal.Decimal:
        with decimal.localcontext() as context:
            context.prec = 2 * _DIGITS  # partial sums, lest they lose what cancels
            total = sum(map(decimal.Decimal, terms), decimal.Decimal(0))
        return +total

    @staticmethod
    def log(x: Any) -> decimal.Decimal:
        return decimal.Decimal(x).ln()

    @staticmethod
    def exp(x: Any) -> decimal.Decimal:
        return decimal.Decimal(x).exp()

    @staticmethod
    def log1p(x: Any) -> decimal.Decimal:
        return _near_zero(decimal.Decimal(x), -1, lambda number: (1 + number).ln())

    @staticmethod
    def expm1(x: Any) -> decimal.Decimal:
        return _near_zero(decimal.Decimal(x), 1, lambda number: number.exp() - 1)


def _near_zero(
    x: decimal.Decimal, sign: int, function: Callable[[decimal.Decimal], decimal.Decimal]
) -> decimal.Decimal:
    """A function that is x + sign x^2/2 near 0, with the digits that it cancels there to spare."""
    if abs(x) < decimal.Decimal(10) ** (-_DIGITS // 2):
        return x + sign * x * x / 2
    with decimal.localcontext() as context:
        context.prec = 2 * _DIGITS
        value = function(x)
    return +value  # rounded to the digits of the arithmetic, as every operation is


@functools.cache
def _precise() -> Any:
    """The arithmetic at `_DIGITS` digits that this installation has, the faster one first."""
    try:
        import mpmath
    except ImportError:
        return _Decimal
    context = mpmath.MPContext()  # of our own: the user's mpmath.mp keeps its precision
    context.dps = _DIGITS
    return context
