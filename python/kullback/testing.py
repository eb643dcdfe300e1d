"""Checks of accuracy, in units in the last place (ULP), against the pure-Python reference.

`assert_matches_reference` is how the package tests itself and how users may cross-check it on their own
data; `ulp_error` is the yardstick and `BOUNDS` what it is held to. Nothing here needs more than NumPy.
"""

from __future__ import annotations

import decimal
import functools
import math as _math
from collections.abc import Callable
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
        The distributions, which may broadcast.
    base, axis
        As the measure takes them. An elementwise measure takes no `axis`.
    ulp : float, optional
        Largest error to let pass; the measure's entry in `BOUNDS` by default. For a row measure in units
        at the sum of its terms' magnitudes, since its terms may cancel.
    math : module-like, optional
        Another arithmetic for the reference, see `kullback.reference`. Python's `math` is much the fastest,
        and good to a few ULP itself: add that to `ulp`.

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
    elementwise = dict(_core.kernels())[name] == "map1"
    bound = BOUNDS["elementwise" if elementwise else "row"] if ulp is None else ulp
    arithmetic = _precise() if math is None else math

    inputs = [np.asarray(array) for array in arrays]
    dtype = np.result_type(*(a.dtype if a.dtype.kind == "f" else np.float64 for a in inputs))
    options: dict[str, Any] = {} if elementwise else {"axis": axis}
    actual = np.asarray(compute(*inputs, base=base, **options))
    rows = _rows(inputs, () if elementwise else axis)
    shape = rows[0].shape[:-1]

    where = f"{name} of {' and '.join(f'{a.dtype} {a.shape}' for a in inputs)}"
    where += "".join(f", {key}={value}" for key, value in options.items())
    where += f", base={base}" if base is not None else ""
    if actual.dtype != dtype or actual.shape != shape:
        raise AssertionError(f"{where}: got {actual.dtype} {actual.shape}, expected {dtype} {shape}")
    if not actual.size:
        return 0.0

    expected = np.empty(shape, dtype=object)
    magnitude = np.zeros(shape, dtype=object)
    with decimal.localcontext(_DECIMAL_CONTEXT):
        for i in np.ndindex(shape):
            row = [r[i].tolist() for r in rows]
            if name in reference._TERMS:
                terms = reference._terms(name, row, arithmetic)
                expected[i] = reference._total(terms, base, arithmetic)
                magnitude[i] = abs(reference._total([abs(t) for t in terms], base, arithmetic))
            elif elementwise:
                expected[i] = getattr(reference, name)(row[0][0], base=base, math=arithmetic)
            else:
                expected[i] = getattr(reference, name)(*row, base=base, math=arithmetic)
        errors = np.asarray(ulp_error(actual, expected, magnitude=magnitude))

    worst = np.unravel_index(int(np.argmax(errors)), shape)
    if not errors[worst] <= bound:
        at = tuple(int(i) for i in worst)
        lines = [f"{where}: error {errors[at]:.4g} ULP at {at}, bound {bound:g}"]
        lines += [f"  {label} = {_abbreviated(r[at])}" for label, r in zip("pq", rows, strict=False)]
        lines += [f"  got      {float(actual[at])!r}", f"  expected {expected[at]!s:.40}"]
        raise AssertionError("\n".join(lines))
    return float(errors[worst])


def _rows(inputs: list[npt.NDArray[Any]], axis: int | tuple[int, ...] | None) -> list[npt.NDArray[np.float64]]:
    """The arrays as float64, broadcast, with the axes of `axis` as one axis at the end."""
    arrays = np.broadcast_arrays(*(a.astype(np.float64) for a in inputs))
    ndim = arrays[0].ndim
    chosen = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    reduced = [a % ndim for a in chosen]
    kept = [a for a in range(ndim) if a not in reduced]
    shape = [arrays[0].shape[a] for a in kept]
    length = _math.prod(arrays[0].shape[a] for a in reduced)
    return [a.transpose(kept + reduced).reshape(*shape, length) for a in arrays]


def _abbreviated(row: npt.NDArray[np.float64]) -> str:
    text = ", ".join(repr(x) for x in row[:8].tolist())
    return f"[{text}]" if row.size <= 8 else f"[{text}, ... {row.size} in all]"


# Wide enough that nothing of float64 overflows, and NaN where Python would raise.
_DECIMAL_CONTEXT = decimal.Context(prec=_DIGITS, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[])


class _Decimal:
    """`decimal` as an arithmetic for the reference, inside `_DECIMAL_CONTEXT`."""

    mpf = decimal.Decimal
    inf = decimal.Decimal("inf")
    nan = decimal.Decimal("nan")

    @staticmethod
    def log(x: Any) -> decimal.Decimal:
        return decimal.Decimal(x).ln()

    @staticmethod
    def log1p(x: decimal.Decimal) -> decimal.Decimal:
        if abs(x) < decimal.Decimal(10) ** (-_DIGITS // 2):
            return x - x * x / 2
        with decimal.localcontext() as context:
            context.prec = 2 * _DIGITS
            return (1 + x).ln()


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
