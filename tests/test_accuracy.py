"""The promise: every measure is good to 2 ULP, whatever the numbers, the length, the layout and the base.

The oracle has 80 digits and is built from the textbook's formulas, term by term. Long rows draw their elements from a
pool of a few thousand, so that their exact sum is one of counts times terms.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import mpmath
import numpy as np
import numpy.typing as npt
import pytest

import kullback
from kullback import _core
from kullback.testing import BOUNDS, assert_matches_reference, ulp_error

Float: TypeAlias = type[np.float32] | type[np.float64]
Array: TypeAlias = npt.NDArray[Any]

# The textbook's forms cancel where p is near q, down to the square of one ULP: 80 digits leave more than 40.
mp = mpmath.MPContext()
mp.dps = 80

log = functools.cache(mp.log)


def xlogy(x: Any, y: Any) -> Any:
    return x * log(y) if x else mp.zero


def binary_entropy(p: Any) -> Any:
    if not 0 <= p <= 1:
        return mp.nan
    return -xlogy(p, p) - ((1 - p) * mp.log1p(-p) if p < 1 else 0)


def js_divergence(p: Any, q: Any) -> Any:
    m = (p + q) / 2
    return (xlogy(p, p) + xlogy(q, q)) / 2 - xlogy(m, m)


# A new measure needs one line: the value of an element, or one term of a row's sum.
FORMULAS: dict[str, Callable[..., Any]] = {
    "self_information": lambda p: -log(p),
    "binary_entropy": binary_entropy,
    "entropy": lambda p: -xlogy(p, p),
    "cross_entropy": lambda p, q: -xlogy(p, q),
    "kl_divergence": lambda p, q: xlogy(p, p) - xlogy(p, q),
    "js_divergence": js_divergence,
}

INPUTS = {name: int(kind[-1]) for name, kind in _core.kernels() if kind != "pack"}
ELEMENTWISE = [name for name, kind in _core.kernels() if kind.startswith("map")]
ROWS = [name for name, kind in _core.kernels() if kind.startswith("sum")]
BASES = [None, 2, 10, 3.7]

BLOCK = 4096  # at which the core cuts long rows
LENGTHS = [*range(1, 66), 1000, BLOCK, BLOCK + 1]
POOL = BLOCK + 1

both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def assert_within(bound: float, got: Array, exact: list[Any], magnitude: Any, label: Callable[[int], str]) -> None:
    """Assert that no error exceeds the bound, naming the worst."""
    errors = ulp_error(got, exact, magnitude=magnitude)
    worst = int(np.argmax(errors))
    assert errors[worst] <= bound, (
        f"{errors[worst]:.4g} ULP at {label(worst)}: got {got[worst]!r}, expected {mp.nstr(exact[worst], 25)}"
    )


def in_base(nats: Any, base: float | None) -> Any:
    return nats if base is None else nats / log(base)


# Rows


def regimes(dtype: Float) -> dict[str, tuple[Array, Array]]:
    """Pools of pairs p, q; a row of any length is drawn from them, or is their beginning."""
    info = np.finfo(dtype)
    eps, least = float(info.eps), float(info.smallest_subnormal)
    rng = np.random.default_rng(7)
    k = np.arange(1.0, POOL + 1)

    def spread(low: float, high: float) -> Array:
        return np.maximum(10 ** rng.uniform(np.log10(low), np.log10(high), POOL), least)

    p, q = rng.dirichlet(np.ones(POOL), 2)
    signs = rng.choice([-1.0, 1.0], POOL)
    huge = 1e30 if dtype is np.float32 else 1e300
    falling = np.maximum(10 ** np.linspace(0, np.log10(least), POOL), least)
    subnormal = rng.integers(1, 1 << info.nmant, POOL) * least
    zeros = rng.random(POOL) < 0.5
    result = {
        "uniform": (np.full(POOL, 1 / POOL), np.full(POOL, 1 / (POOL + 2))),
        "random": (p, q),
        "near one": (np.where(k == 1, 1 - eps, p * eps), np.where(k == 1, 1 - 7 * eps, q * eps)),
        "about one": (1 + signs * spread(eps, 0.1), 1 - signs * spread(eps, 0.1)),
        "near zero": (spread(info.tiny, 1e-3), spread(info.tiny, 1e-3)),
        "power law": (k**-1.1, k**-2.0),
        "falling exponentially": (falling, falling[::-1]),
        "subnormal": (subnormal, np.where(zeros, subnormal[::-1], q)),
        "p near q": (p, p * (1 + signs * spread(eps, 1e-3))),
        "one-hot": (np.where(k == 1, 1.0, 0.0), q),
        "unnormalised": (spread(1, huge), spread(1, huge)),
        "zeros": (np.where(zeros, 0, p), np.where(zeros & (q < np.median(q)), 0, q)),
    }
    return {name: (p.astype(dtype), q.astype(dtype)) for name, (p, q) in result.items()}


REGIMES = {dtype: regimes(dtype) for dtype in (np.float32, np.float64)}
every_regime = pytest.mark.parametrize("regime", REGIMES[np.float64])


def row_terms(measure: str, *row: Array) -> list[Any]:
    """The exact terms of a row's sum."""
    return [FORMULAS[measure](*map(mp.mpf, column)) for column in zip(*(x.tolist() for x in row), strict=True)]


@functools.cache
def pool(measure: str, regime: str, dtype: Float) -> tuple[list[Array], list[Any]]:
    columns = list(REGIMES[dtype][regime][: INPUTS[measure]])
    return columns, row_terms(measure, *columns)


def assert_row(measure: str, row: list[Array], counts: Any, terms: list[Any], bases: list[Any] = BASES) -> None:
    """Assert that the measure of the row is the sum of counts * terms."""
    exact = mp.fsum(int(c) * t for c, t in zip(counts, terms, strict=True))
    scale = mp.fsum(int(c) * abs(t) for c, t in zip(counts, terms, strict=True))
    compute = getattr(kullback, measure)
    got = np.array([compute(*row, base=base) for base in bases])
    assert got.dtype == row[0].dtype
    assert_within(
        BOUNDS["row"],
        got,
        [in_base(exact, base) for base in bases],
        [abs(in_base(scale, base)) for base in bases],
        lambda i: f"length {row[0].size}, base {bases[i]}",
    )


@both_types
@every_regime
@pytest.mark.parametrize("measure", ROWS)
def test_rows_of_every_length(measure: str, regime: str, dtype: Float) -> None:
    columns, terms = pool(measure, regime, dtype)
    for n in LENGTHS:
        # The pool's beginning holds what is special; elsewhere, rows of every alignment.
        for start in {0, 59 * n % (POOL - n + 1)}:
            some = slice(start, start + n)
            assert_row(measure, [x[some] for x in columns], [1] * n, terms[some])


@both_types
@every_regime
@pytest.mark.parametrize("measure", ROWS)
def test_a_million_elements(measure: str, regime: str, dtype: Float) -> None:
    columns, terms = pool(measure, regime, dtype)
    chosen = np.random.default_rng(11).integers(0, POOL, 10**6)
    counts = np.bincount(chosen, minlength=POOL)
    assert_row(measure, [x[chosen] for x in columns], counts, terms, [None, 2])


@both_types
@pytest.mark.parametrize("measure", ROWS)
def test_a_long_row_of_all_different_elements(measure: str, dtype: Float) -> None:
    n = 10**5 if dtype is np.float64 else 2 * 10**4
    row = [x.astype(dtype) for x in np.random.default_rng(13).dirichlet(np.ones(n), INPUTS[measure])]
    assert_row(measure, row, [1] * n, row_terms(measure, *row), [None])


@both_types
@pytest.mark.parametrize("measure", ROWS)
def test_the_error_does_not_grow_with_the_length(measure: str, dtype: Float) -> None:
    # Of equal terms every rounding goes the same way, as far as it goes: some of these values drift fastest.
    for pair in ((1e-7, 3e-8), (0.7296554464299441, 0.9873602570055574), (0.5334585963180015, 0.2400457824170501)):
        row = [np.array([x], dtype) for x in pair[: INPUTS[measure]]]
        terms = row_terms(measure, *row)
        for n in (*(10**k for k in range(8)), BLOCK):
            assert_row(measure, [np.broadcast_to(x, n) for x in row], [n], terms, [None])


@both_types
def test_js_divergence_at_all_ratios(dtype: Float) -> None:
    # From overlapping to disjoint, where one of the two is lost in their sum.
    ratios = np.ldexp(1, -np.arange(120)) * np.random.default_rng(23).uniform(0.5, 1, 120)
    for p, q in zip(np.full(120, 0.7, dtype), ratios.astype(dtype), strict=True):
        assert_row("js_divergence", [p[None], q[None]], [1], row_terms("js_divergence", p[None], q[None]), [None])
        assert kullback.js_divergence(p, q) == kullback.js_divergence(q, p)


# Layouts: the same values elsewhere in memory


def layouts(dtype: Float) -> dict[str, tuple[Array, Array, int | tuple[int, ...] | None]]:
    p, q = np.random.default_rng(17).dirichlet(np.ones(37), (2, 12)).astype(dtype)
    return {
        "contiguous": (p, q, -1),
        "axis 0": (p, q, 0),
        "Fortran order": (np.asfortranarray(p), q, 1),
        "transposed": (p.T, q.T, 0),
        "every second": (p[:, ::2], q[::, ::2], -1),
        "reversed": (p[::-1, ::-1], q, -1),
        "broadcast": (p[0], q, -1),
        "two axes": (p.reshape(3, 4, 37), q.reshape(3, 4, 37), (0, 2)),
        "all axes": (p, q, None),
    }


LAYOUTS = {dtype: layouts(dtype) for dtype in (np.float32, np.float64)}


@both_types
@pytest.mark.parametrize("layout", LAYOUTS[np.float64])
@pytest.mark.parametrize("measure", ROWS)
def test_layouts(measure: str, layout: str, dtype: Float) -> None:
    *arrays, axis = LAYOUTS[dtype][layout]
    for base in BASES:
        assert_matches_reference(measure, *arrays[: INPUTS[measure]], axis=axis, base=base)


# Elements


def element_regimes(dtype: Float) -> dict[str, Array]:
    info = np.finfo(dtype)
    integer = np.uint32 if dtype is np.float32 else np.uint64
    rng = np.random.default_rng(19)
    n = 1500

    def around(x: float) -> Array:
        """The nearest neighbours of x, and numbers at all distances from it."""
        ulps = np.arange(-100, 101)
        near = (np.array(x, dtype).view(integer).astype(np.int64) + ulps).astype(integer).view(dtype)
        far = x * (1 + rng.choice([-1, 1], n) * 10 ** rng.uniform(np.log10(info.eps), 0, n))
        return np.concatenate([near, far.astype(dtype)])

    last = int(np.array(np.inf, dtype).view(integer))
    one = int(np.array(1, dtype).view(integer))
    exponents = np.arange(info.minexp - info.nmant, info.maxexp)
    return {
        "all magnitudes": rng.integers(1, last, n).astype(integer).view(dtype),
        "probabilities of all magnitudes": rng.integers(1, one, n).astype(integer).view(dtype),
        "uniform": rng.random(n).astype(dtype),
        "near one": around(1.0),
        "near a half": around(0.5),
        "subnormal": rng.integers(1, 1 << info.nmant, n).astype(integer).view(dtype),
        "powers of two": np.ldexp(dtype(1), exponents),
        "limits": np.array([0, info.smallest_subnormal, info.tiny, 1, info.max], dtype),
    }


ELEMENTS = {dtype: element_regimes(dtype) for dtype in (np.float32, np.float64)}


@both_types
@pytest.mark.parametrize("regime", ELEMENTS[np.float64])
@pytest.mark.parametrize("measure", ELEMENTWISE)
def test_elements(measure: str, regime: str, dtype: Float) -> None:
    p = ELEMENTS[dtype][regime]
    exact = [FORMULAS[measure](mp.mpf(x)) for x in p.tolist()]
    for base in BASES:
        got = getattr(kullback, measure)(p, base=base)
        assert got.dtype == dtype
        in_units = [in_base(x, base) for x in exact]
        assert_within(BOUNDS["elementwise"], got, in_units, None, lambda i, base=base: f"{p[i]!r}, base {base}")


@both_types
@pytest.mark.parametrize("measure", ELEMENTWISE)
def test_elements_of_strided_arrays(measure: str, dtype: Float) -> None:
    p = ELEMENTS[dtype]["uniform"][:120].reshape(10, 12)
    for view in (p.T, p[::-2, ::3], np.broadcast_to(p[:, :1], p.shape), p[0, 0]):
        assert_matches_reference(measure, view, base=2)
