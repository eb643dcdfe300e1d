"""The promise: gradients are good to 4 ULP, whatever the numbers and the length of a row.

The oracles are closed forms at 400 digits, of the very floats that go in. They are themselves held to difference
quotients of the values' textbook formulas, at up to 1200 digits. Where a gradient is a sum of terms of both signs, its
error counts at the sum of their magnitudes; there is no other allowance. kullback.reference.grad is held to the
oracles, too. The losses have a file of their own, test_gradient_loss_accuracy.py.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import mpmath
import numpy as np
import numpy.typing as npt
import pytest

import kullback
from kullback.reference import grad as reference
from kullback.testing import ulp_error

Float: TypeAlias = type[np.float32] | type[np.float64]
Array: TypeAlias = npt.NDArray[Any]

BOUND = 4.0  # ULP

# Beside 1, exp(-745) and the square of one ULP in it still have 40 digits.
wide = mpmath.MPContext()
wide.dps = 400

mpf, fsum, inf = wide.mpf, wide.fsum, wide.inf
exp, log = functools.cache(wide.exp), functools.cache(wide.log)

both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])


# Values: the textbook's formulas, in any context, to be differentiated numerically


def xlogy(m: Any, x: Any, y: Any) -> Any:
    return x * m.log(y) if x else m.zero


def softmax(m: Any, z: list[Any]) -> list[Any]:
    mass = [m.exp(x) for x in z]
    return [x / m.fsum(mass) for x in mass]


def entropy(m: Any, p: list[Any]) -> Any:
    return cross_entropy(m, p, p)


def cross_entropy(m: Any, p: list[Any], q: list[Any]) -> Any:
    return -m.fsum(xlogy(m, x, y) for x, y in zip(p, q, strict=True))


def kl_divergence(m: Any, p: list[Any], q: list[Any]) -> Any:
    return cross_entropy(m, p, q) - cross_entropy(m, p, p)


def js_divergence(m: Any, p: list[Any], q: list[Any]) -> Any:
    middle = [(x + y) / 2 for x, y in zip(p, q, strict=True)]
    return (kl_divergence(m, p, middle) + kl_divergence(m, q, middle)) / 2


def binary_entropy(m: Any, p: list[Any]) -> Any:
    return m.fsum(entropy(m, [x, 1 - x]) for x in p)


# Of a row; of an elementwise function, the sum over the row.
VALUES: dict[str, Callable[..., Any]] = {
    "entropy": entropy,
    "cross_entropy": cross_entropy,
    "kl_divergence": kl_divergence,
    "js_divergence": js_divergence,
    "binary_entropy": binary_entropy,
    "logsumexp": lambda m, z: m.log(m.fsum(m.exp(x) for x in z)),
    "entropy_from_logits": lambda m, z: entropy(m, softmax(m, z)),
    "kl_divergence_from_logits": lambda m, a, b: kl_divergence(m, softmax(m, a), softmax(m, b)),
    "js_divergence_from_logits": lambda m, a, b: js_divergence(m, softmax(m, a), softmax(m, b)),
    "binary_entropy_from_logits": lambda m, z: binary_entropy(m, [1 / (1 + m.exp(-x)) for x in z]),
}


# Oracles: each element's gradient and the magnitude at which its error counts


class Exact(NamedTuple):
    value: Any
    magnitude: Any = 0

    def times(self, *factors: Any) -> Exact:
        """A factor of 0 silences an infinity."""
        if 0 in factors:
            return Exact(wide.zero)
        by = wide.fprod(factors)
        return Exact(self.value * by, self.magnitude * abs(by))


def total(*terms: Any) -> Exact:
    return Exact(fsum(terms), fsum(terms, absolute=True))


def times(x: Any, *factors: Any) -> Any:
    return Exact(x).times(*factors).value


class Softmax:
    """softmax(z) and its logarithm for a row that holds each of some logits so many times."""

    def __init__(self, logits: list[Any], counts: list[int]) -> None:
        self.z = [mpf(x) for x in logits]
        self.counts = counts
        mass = fsum(c * exp(x) for c, x in zip(counts, self.z, strict=True))
        self.p = [exp(x) / mass for x in self.z]
        self.log_p = [x - log(mass) for x in self.z]


def of_entropy(p: Softmax) -> list[Exact]:
    entropy = -fsum(c * times(i, x) for c, x, i in zip(p.counts, p.p, p.log_p, strict=True))
    return [total(-i, -entropy).times(x) for x, i in zip(p.p, p.log_p, strict=True)]


def minus_its_mean(p: Softmax, ratios: list[Any]) -> list[Exact]:
    """p_j (r_j - sum of p_k r_k)"""
    terms = [c * times(r, x) for c, x, r in zip(p.counts, p.p, ratios, strict=True)]
    mean = total(*terms)
    return [Exact(r - mean.value, abs(r) + mean.magnitude).times(x) for x, r in zip(p.p, ratios, strict=True)]


def of_kl(p: Softmax, q: Softmax) -> list[Exact]:
    return minus_its_mean(p, [a - b if x else wide.zero for x, a, b in zip(p.p, p.log_p, q.log_p, strict=True)])


def of_js(p: Softmax, q: Softmax) -> list[Exact]:
    ratios = [log(2 * y / (x + y)) if y else wide.zero for x, y in zip(p.p, q.p, strict=True)]
    return [x.times(mpf(0.5)) for x in minus_its_mean(q, ratios)]


# Of a row of logits, as a whole.
OF_LOGITS: dict[tuple[str, str], Callable[..., list[Exact]]] = {
    ("logsumexp", "z"): lambda p: list(map(Exact, p.p)),
    ("entropy_from_logits", "z"): of_entropy,
    ("kl_divergence_from_logits", "p_logits"): of_kl,
    ("kl_divergence_from_logits", "q_logits"): lambda p, q: [total(y, -x) for x, y in zip(p.p, q.p, strict=True)],
    ("js_divergence_from_logits", "p_logits"): lambda p, q: of_js(q, p),
    ("js_divergence_from_logits", "q_logits"): of_js,
}
# Of an element of a row of probabilities, or of an elementwise function.
OF_ELEMENTS: dict[tuple[str, str], Callable[..., Exact]] = {
    ("entropy", "p"): lambda p: total(-log(p), -1),
    ("cross_entropy", "p"): lambda p, q: Exact(-log(q)),
    ("cross_entropy", "q"): lambda p, q: Exact(-p / q),
    ("kl_divergence", "p"): lambda p, q: total(log(p) - log(q), 1),
    ("kl_divergence", "q"): lambda p, q: Exact(-p / q),
    ("js_divergence", "p"): lambda p, q: Exact(log(2 * p / (p + q)) / 2),
    ("js_divergence", "q"): lambda p, q: Exact(log(2 * q / (p + q)) / 2),
    ("binary_entropy", "p"): lambda p: Exact(log((1 - p) / p)),
    ("binary_entropy_from_logits", "z"): lambda z: Exact(-z * exp(-abs(z)) / (1 + exp(-abs(z))) ** 2),
}


def inputs(name: str) -> list[str]:
    parameters = inspect.signature(getattr(kullback, name)).parameters.values()
    return [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]


def oracle(name: str, wrt: str, rows: Any, counts: list[int] | None = None) -> list[Exact]:
    """Of one row of each argument, in which each number occurs so many times."""
    rows = [np.asarray(row).tolist() for row in rows]
    if (name, wrt) in OF_LOGITS:
        return OF_LOGITS[name, wrt](*(Softmax(z, counts or [1] * len(z)) for z in rows))
    return [OF_ELEMENTS[name, wrt](*map(mpf, column)) for column in zip(*rows, strict=True)]


def test_every_gradient_is_in_a_table() -> None:
    names = [name for name in kullback.grad.__all__ if "binary_cross" not in name and "categorical" not in name]
    assert {*OF_LOGITS, *OF_ELEMENTS} == {(name, wrt) for name in names for wrt in inputs(name)}


# The oracles are derivatives of the values


def assert_derivatives(value: Any, arguments: list[list[float]], i: int, exact: list[Exact], relative: bool) -> None:
    """Assert that the difference quotients by each number of argument i are these."""
    least = min(abs(x) for x in [1.0, *itertools.chain(*arguments), *(x.value for x in exact)] if x)
    m = mpmath.MPContext()
    m.dps = 1200 if least < 1e-60 else 300
    columns = [[m.mpf(x) for x in a] for a in arguments]
    for j, (x, want) in enumerate(zip(columns[i], exact, strict=True)):
        step = m.mpf(10) ** -(m.dps // 3) * (x if relative else 1)
        moved = ([*columns[i][:j], x + k * step, *columns[i][j + 1 :]] for k in (-1, 1))
        low, high = (value(m, *columns[:i], column, *columns[i + 1 :]) for column in moved)
        got = (high - low) / (2 * step)
        assert abs(got - want.value) <= 1e-40 * max(want.magnitude, abs(got)), (got, want)


TINY = 2.0**-1074
PROBABILITIES = [
    [[0.2, 0.5, 0.3], [0.3, 0.6, 0.1]],
    [[0.25, 1 - 2.0**-53, 0.7], [0.25 + 2.0**-54, 1 - 2.0**-52, 0.7 - 2.0**-53]],
    [[TINY, 1e-30, 0.9], [0.9, TINY, 1e-300]],
]
LOGITS = [
    [[0.5, -1.25, 2.0, 0.5], [0.1, 2.5, -0.75, 2.0]],
    [[1e-3, -2e-3, 0.0, 5e-4], [1e-3, -2e-3, 0.0, 5e-4 + 2.0**-60]],
    [[40.0, 0.0, 1.0, -7.5], [41.0, 1.0, 3.0, -100.0]],
    [[300.0, -80.0, 299.0, -350.0], [-80.0, 40.0, -3.0, -90.0]],
    [[740.0, 0.0, 5.0, -1.0], [740.0, 0.0, 5.5, -2.0]],
]


@pytest.mark.parametrize(("name", "wrt"), [*OF_ELEMENTS, *OF_LOGITS])
def test_oracles_of_rows_are_derivatives(name: str, wrt: str) -> None:
    i = inputs(name).index(wrt)
    of_logits = name.endswith("logits") or name == "logsumexp"
    for rows in LOGITS if of_logits else PROBABILITIES:
        rows = rows[: len(inputs(name))]
        exact = oracle(name, wrt, rows)
        assert_derivatives(VALUES[name], rows, i, exact, not of_logits)


# The gradients: pools of numbers, of which a row of any length holds each at least once

LEAST = mpf("1e-360")


def no_smaller_than_floats(x: Any) -> Any:
    """x, or 0 where its exponent has thousands of digits, so that the yardstick need not write them down."""
    return wide.zero if -LEAST < x < LEAST else x


def assert_close(got: Any, exact: list[Exact], index: Any, what: str) -> None:
    """Of a row that has the exact gradient exact[index]: the largest and the least float where each one is due."""
    got = np.atleast_1d(got)
    extremes = np.full((2, len(exact)), [[np.inf], [-np.inf]], got.dtype)
    np.minimum.at(extremes[0], index, got)
    np.maximum.at(extremes[1], index, got)
    values, magnitudes = ([no_smaller_than_floats(x) for x in column] for column in zip(*exact, strict=True))
    for each in extremes[: 1 if np.array_equal(*extremes) else 2]:
        errors = ulp_error(each, values, magnitude=magnitudes)
        worst = int(np.argmax(errors))
        assert errors[worst] <= BOUND, (
            f"{errors[worst]:.4g} ULP, number {worst} of {what}: got {each[worst]!r}, "
            f"expected {wide.nstr(values[worst], 25)}, magnitude {wide.nstr(magnitudes[worst], 5)}"
        )


def gradient(name: str, wrt: str, *arrays: Any, **options: Any) -> Any:
    which = {"wrt": wrt} if len(inputs(name)) > 1 else {}
    return getattr(kullback.grad, name)(*arrays, **which, **options)


def units(name: str, dtype: Float) -> list[dict[str, Any]]:
    """Some base and grad_output, where there is a base."""
    has_base = "base" in inspect.signature(getattr(kullback, name)).parameters
    return [{}, {"grad_output": dtype(-0.37), **({"base": 3.7} if has_base else {})}]


def in_units(exact: list[Exact], unit: dict[str, Any]) -> list[Exact]:
    g, base = mpf(float(unit.get("grad_output", 1))), unit.get("base")
    return [x.times(g, 1 if base is None else 1 / log(mpf(base))) for x in exact]


def assert_is_reference(name: str, wrt: str, rows: list[Array], exact: list[Exact]) -> None:
    which = {"wrt": wrt} if len(rows) > 1 else {}
    result = getattr(reference, name)(*(x.tolist() for x in rows), **which, math=wide)
    for got, want in zip(map(no_smaller_than_floats, result), exact, strict=True):
        value = no_smaller_than_floats(want.value)
        assert abs(got - value) <= 1e-40 * max(want.magnitude, abs(value)), (rows, got, want)


BLOCK = 4096  # at which the core cuts long rows
POOL = 31
LENGTHS = [1, 2, 3, 5, 8, 9, 17, POOL, BLOCK + 1, 3 * BLOCK + 1, 10**5]


@functools.cache
def rows_of_pool(n: int) -> npt.NDArray[np.intp]:
    """For a row of length n, which of the pool each element is; the first ones are met but once."""
    size = min(n, POOL)
    more = np.random.default_rng(n).integers(size // 2, size, n - size)
    return np.roll(np.concatenate([np.arange(size), more]), n // 3)


def probabilities(dtype: Float) -> dict[str, tuple[Array, Array]]:
    """Pools of pairs p, q > 0."""
    info = np.finfo(dtype)
    eps, least = float(info.eps), float(info.smallest_subnormal)
    rng = np.random.default_rng(7)
    n = 10 * POOL

    def spread(low: float, high: float) -> Array:
        return np.maximum(10 ** rng.uniform(np.log10(low), np.log10(high), n), least)

    p, q = rng.dirichlet(np.ones(n), 2)
    signs = rng.choice([-1.0, 1.0], n)
    subnormal = rng.integers(1, 1 << info.nmant, n) * least
    huge = 1e30 if dtype is np.float32 else 1e300
    result = {
        "flat": (np.full(n, 1 / n), np.full(n, 1 / (n + 2))),
        "random": (p, q),
        "uniform": (rng.random(n), rng.random(n)),
        "near one": (1 - eps * rng.integers(0, 99, n), 1 - eps * rng.integers(0, 99, n)),
        "about one": (1 + signs * spread(eps, 0.1), 1 - signs * spread(eps, 0.1)),
        "near 1/e": (np.exp(-1) * (1 + signs * spread(eps, 0.1)), rng.random(n)),
        "near zero": (spread(info.tiny, 1e-3), spread(info.tiny, 1e-3)),
        "all magnitudes": (spread(least, 1), spread(least, 1)),
        "subnormal": (subnormal, np.where(rng.random(n) < 0.5, subnormal[::-1], q)),
        "p near q": (p, p * (1 + signs * spread(eps, 1e-3))),
        "unnormalised": (spread(1, huge), spread(1, huge)),
    }
    return {
        name: (np.maximum(p, least).astype(dtype), np.maximum(q, least).astype(dtype))
        for name, (p, q) in result.items()
    }


PROBABILITY_REGIMES = {dtype: probabilities(dtype) for dtype in (np.float32, np.float64)}


@both_types
@pytest.mark.parametrize("regime", PROBABILITY_REGIMES[np.float64])
@pytest.mark.parametrize(("name", "wrt"), [x for x in OF_ELEMENTS if not x[0].startswith("binary")])
def test_probabilities(name: str, wrt: str, regime: str, dtype: Float) -> None:
    pools = PROBABILITY_REGIMES[dtype][regime][: len(inputs(name))]
    exact = oracle(name, wrt, pools)
    assert_is_reference(name, wrt, pools, exact)
    for n in (1, 2, 5, 8, 17, BLOCK + 1, 10**5):
        index = np.random.default_rng(n).permutation(np.arange(max(n, pools[0].size)) % pools[0].size)[:n]
        for unit in units(name, dtype) if n != 10**5 else [{}]:
            got = gradient(name, wrt, *(x[index] for x in pools), **unit)
            assert got.dtype == dtype
            kept = np.unique(index)
            want = in_units([exact[i] for i in kept], unit)
            assert_close(got, want, np.searchsorted(kept, index), f"length {n}, {unit}")


def elements(dtype: Float) -> dict[str, Array]:
    info = np.finfo(dtype)
    integer = np.uint32 if dtype is np.float32 else np.uint64
    rng = np.random.default_rng(19)
    n = 300
    one, last = (int(np.array(x, dtype).view(integer)) for x in (1, np.inf))
    edge, signs = -np.log(float(info.smallest_subnormal)), rng.choice([-1.0, 1.0], n)
    near = 0.5 * (1 + signs * 10 ** rng.uniform(np.log10(info.eps), 0, n))
    return {
        "p, all magnitudes": rng.integers(1, one, n).astype(integer).view(dtype),
        "p, uniform": rng.random(n).astype(dtype),
        "p, near a half": np.concatenate([near, 0.5 + info.eps * np.arange(-9, 9) / 2]).astype(dtype),
        "p, near 1": (1 - info.epsneg * rng.integers(1, 99, n)).astype(dtype),
        "z, all magnitudes": signs.astype(dtype) * rng.integers(1, last, n).astype(integer).view(dtype),
        "z, uniform": rng.uniform(-50, 50, n).astype(dtype),
        "z, down to the smallest numbers": (signs * rng.uniform(0, edge + 9, n)).astype(dtype),
        "z, down to subnormal numbers": (signs * rng.uniform(edge - 16, edge + 9, n)).astype(dtype),
        "z, limits": np.array([0, info.smallest_subnormal, info.tiny, info.max, -info.max, 1], dtype),
    }


ELEMENTS = {dtype: elements(dtype) for dtype in (np.float32, np.float64)}


@both_types
@pytest.mark.parametrize("regime", ELEMENTS[np.float64])
def test_elements(regime: str, dtype: Float) -> None:
    x = ELEMENTS[dtype][regime]
    name, wrt = ("binary_entropy", "p") if regime.startswith("p") else ("binary_entropy_from_logits", "z")
    exact = oracle(name, wrt, [x])
    assert_is_reference(name, wrt, [x], exact)
    for unit in units(name, dtype):
        got = gradient(name, wrt, x, **unit)
        assert got.dtype == dtype
        assert_close(got, in_units(exact, unit), np.arange(x.size), f"{x}, {unit}")


def logits(dtype: Float) -> dict[str, tuple[Array, Array]]:
    """Pools of pairs of logits."""
    info = np.finfo(dtype)
    rng = np.random.default_rng(29)
    single = dtype is np.float32
    n = POOL

    def normal(scale: float) -> Array:
        return rng.normal(0, scale, n)

    def confident(gap: float, winner: int) -> Array:
        return np.where(np.arange(n) == winner, 0.0, -gap - rng.uniform(0, 3, n))

    signs = rng.choice([-1.0, 1.0], (3, n))
    hidden = (rng.random(n) < 0.3) & (np.arange(n) > 0)
    more = hidden | ((rng.random(n) < 0.3) & (np.arange(n) > 0))
    most, least, span = float(info.max), float(info.smallest_subnormal), 37 if single else 300
    near = normal(3).astype(dtype)
    one_ulp = 1 + rng.integers(-1, 2, n) * float(info.eps)
    gaps = [5, 20, 40, 87, 95, 100] if single else [20, 40, 350, 700, 709, 740]
    result = {
        **{f"gaussian, {scale}": (normal(scale), normal(scale)) for scale in (1e-3, 1, 10, 100, 300)},
        **{f"winner by gap {k}": (confident(gap, 0), confident(gap, 0)) for k, gap in enumerate(gaps)},
        "other winners": (confident(gaps[-1], 0), confident(gaps[-1], 1)),
        "one ULP apart": (7.3 * one_ulp, 7.3 * one_ulp[::-1]),
        "p near q": (near, near.astype(float) * one_ulp),
        "all equal": (np.full(n, 3.1), np.full(n, -2.7)),
        "ties of the maximum": (rng.choice([-3.0, 0.5, 2.0], n), rng.choice([-1.0, 2.0], n)),
        "far from 0": (1e4 + normal(20), -1e4 + normal(20)),
        "masked": (np.where(more, -np.inf, normal(10)), np.where(hidden, -np.inf, normal(10))),
        "almost all masked": (np.where(np.arange(n) % 16 == 0, normal(1), -np.inf), normal(1)),
        "all magnitudes": tuple(signs[k] * 10 ** rng.uniform(-40, span, n) for k in (0, 1)),
        "largest gaps": (signs[2] * most / 64, normal(10)),
        "subnormal": (rng.integers(-99, 99, n) * least, rng.integers(-99, 99, n) * least),
    }
    return {name: (p.astype(dtype), q.astype(dtype)) for name, (p, q) in result.items()}


LOGIT_REGIMES = {dtype: logits(dtype) for dtype in (np.float32, np.float64)}
every_regime = pytest.mark.parametrize("regime", LOGIT_REGIMES[np.float64])


@both_types
@every_regime
@pytest.mark.parametrize(("name", "wrt"), OF_LOGITS)
def test_rows_of_logits(name: str, wrt: str, regime: str, dtype: Float) -> None:
    for n in LENGTHS:
        index = rows_of_pool(n)
        pools = [x[: min(n, POOL)] for x in LOGIT_REGIMES[dtype][regime][: len(inputs(name))]]
        exact = oracle(name, wrt, pools, np.bincount(index).tolist())
        if n == 5:
            assert_is_reference(name, wrt, pools, exact)
        for unit in units(name, dtype) if n < 10 else [{}]:
            got = gradient(name, wrt, *(x[index] for x in pools), **unit)
            assert got.dtype == dtype
            assert_close(got, in_units(exact, unit), index, f"length {n}, {unit}")


@both_types
def test_large_and_small_factors(dtype: Float) -> None:
    """What is too small beside 1 may count beside a large factor, and an impossible class never does."""
    single = dtype is np.float32
    largest, far = (38, 100.0) if single else (300, 745.0)
    z = np.array([1.5, 0.25, -3.0, 1.5 - far / 2, 1.5 - far, -np.inf], dtype)
    oracle_of = oracle("logsumexp", "z", [z])
    for factor in [*(10.0**k for k in range(-largest, largest + 1, 6 if single else 20)), 63.9, 64.1, -1e20]:
        unit = {"grad_output": dtype(factor)}
        assert_close(gradient("logsumexp", "z", z, **unit), in_units(oracle_of, unit), np.arange(z.size), f"{unit}")
        assert gradient("logsumexp", "z", z, **unit)[-1] == 0


# Sums over what was broadcast


@both_types
@pytest.mark.parametrize(("name", "wrt"), [x for x in (*OF_ELEMENTS, *OF_LOGITS) if len(inputs(x[0])) > 1])
def test_sums_over_what_was_broadcast(name: str, wrt: str, dtype: Float) -> None:
    rng = np.random.default_rng(3)
    i, kinds, n = inputs(name).index(wrt), 7, 6
    pools = [rng.dirichlet(np.ones(n), count).astype(dtype) for count in (kinds, kinds)]
    pools = [5 * np.log(a) for a in pools] if name.endswith("logits") else pools
    pools[i] = pools[i][:1]
    each = [oracle(name, wrt, [a[k] for a in np.broadcast_arrays(*pools)]) for k in range(kinds)]
    for count in (1, 2, 9, 70, BLOCK + 1, 10**5):
        chosen = rng.integers(0, kinds, count)
        counts = np.bincount(chosen, minlength=kinds).tolist()
        terms = [[exact[j].times(c) for c, exact in zip(counts, each, strict=True)] for j in range(n)]
        exact = [Exact(fsum(x.value for x in row), fsum(x.magnitude or abs(x.value) for x in row)) for row in terms]
        got = gradient(name, wrt, *(pool if k == i else pool[chosen] for k, pool in enumerate(pools)))
        assert_close(got[0], exact, np.arange(n), f"{count} rows")
