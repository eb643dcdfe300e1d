"""The promise: every measure is good to 2 ULP, whatever the numbers, the length, the layout and the base.

The oracles are built from the textbook's formulas: of probabilities term by term, at 80 digits; of logits at 400, for
p = exp(z) / sum exp(z) and nothing else. Long rows draw their elements from a pool, so that their exact sum is one of
counts times terms. The losses have a file of their own, test_loss_accuracy.py.
"""

from __future__ import annotations

import functools
import inspect
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

KINDS = dict(_core.kernels())
INPUTS = {name: int(KINDS[name][-1]) for name in FORMULAS}
ELEMENTWISE = [name for name in FORMULAS if KINDS[name].startswith("map")]
ROWS = [name for name in FORMULAS if KINDS[name].startswith("sum")]
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
            assert_row(measure, [x[some] for x in columns], [1] * n, terms[some], BASES[:: 1 if n < 9 else 3])


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
    n = 4 * 10**4 if dtype is np.float64 else 2 * 10**4
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
@pytest.mark.parametrize("measure", ROWS)
def test_rows_of_equal_elements(measure: str, dtype: Float) -> None:
    # A uniform distribution, for one: no rounding error of its terms is made good by another's.
    rng = np.random.default_rng(29)
    values = rng.uniform(0, 1, 100) ** rng.integers(1, 5, 100)
    for p, ratio in zip(values.astype(dtype), rng.uniform(0.6, 1.6, 100).astype(dtype), strict=True):
        row = [p[None], (p * ratio)[None]][: INPUTS[measure]]
        terms = row_terms(measure, *row)
        for n in (17, 32, 33, 64, 1000):
            assert_row(measure, [np.broadcast_to(x, n) for x in row], [n], terms, [None])


@both_types
def test_js_divergence_at_all_ratios(dtype: Float) -> None:
    # From overlapping to disjoint, where one of the two is lost in their sum.
    ratios = np.ldexp(1, -np.arange(120)) * np.random.default_rng(23).uniform(0.5, 1, 120)
    for p, q in zip(np.full(120, 0.7, dtype), ratios.astype(dtype), strict=True):
        assert_row("js_divergence", [p[None], q[None]], [1], row_terms("js_divergence", p[None], q[None]), [None])
        assert kullback.js_divergence(p, q) == kullback.js_divergence(q, p)


# Rows of logits

# Beside 1, exp(-745) and the square of one ULP in it still have 40 digits.
wide = mpmath.MPContext()
wide.dps = 400

exp = functools.cache(wide.exp)


class Softmax:
    """softmax(z) and its logarithm for a row that holds each of some logits so many times."""

    def __init__(self, logits: Array, counts: list[int]) -> None:
        self.z = [wide.mpf(x) for x in logits.tolist()]
        total = wide.fsum(c * exp(x) for c, x in zip(counts, self.z, strict=True))
        self.log_total = wide.log(total)
        self.p = [exp(x) / total for x in self.z]
        self.log_p = [x - self.log_total for x in self.z]


def no_smaller_than_floats(x: Any) -> Any:
    """x, or 0 where its exponent has thousands of digits, so that the yardstick need not write them down."""
    return x if abs(x) > wide.mpf("1e-360") or x == 0 else wide.zero


def times(p: Any, log_ratio: Any) -> Any:
    return p * log_ratio if p else wide.zero


def exact_logsumexp(counts: list[int], p: Softmax) -> tuple[Any, Any]:
    most = max(p.z)
    return p.log_total, max(abs(most), p.log_total - most)


def exact_entropy(counts: list[int], p: Softmax) -> tuple[Any, Any]:
    return wide.fsum(-c * times(x, i) for c, x, i in zip(counts, p.p, p.log_p, strict=True)), 0


def kl_terms(p: list[Any], log_p: list[Any], log_q: list[Any]) -> list[Any]:
    return [times(x, i - j) if x else wide.zero for x, i, j in zip(p, log_p, log_q, strict=True)]


def with_magnitude(counts: list[int], terms: list[Any]) -> tuple[Any, Any]:
    weighted = [c * t for c, t in zip(counts, terms, strict=True)]
    return wide.fsum(weighted), wide.fsum(weighted, absolute=True)


def exact_kl_divergence(counts: list[int], p: Softmax, q: Softmax) -> tuple[Any, Any]:
    return with_magnitude(counts, kl_terms(p.p, p.log_p, q.log_p))


def exact_js_divergence(counts: list[int], p: Softmax, q: Softmax) -> tuple[Any, Any]:
    log_m = [wide.log((x + y) / 2) if x + y else -wide.inf for x, y in zip(p.p, q.p, strict=True)]
    terms = [kl_terms(x.p, x.log_p, log_m) for x in (p, q)]
    return with_magnitude(counts * 2, [t / 2 for half in terms for t in half])


# The value of a row, and the magnitude at which its error counts; and what each class of a row has.
LOGIT_SUMS: dict[str, Callable[..., tuple[Any, Any]]] = {
    "logsumexp": exact_logsumexp,
    "entropy_from_logits": exact_entropy,
    "kl_divergence_from_logits": exact_kl_divergence,
    "js_divergence_from_logits": exact_js_divergence,
}
LOGIT_MAPS: dict[str, Callable[[Softmax], list[Any]]] = {
    "softmax": lambda p: p.p,
    "log_softmax": lambda p: p.log_p,
    "token_logprobs": lambda p: p.log_p,
}


def bases_of(measure: str) -> list[Any]:
    return [None, 3.7] if "base" in inspect.signature(getattr(kullback, measure)).parameters else [None]


def assert_logits(measure: str, pools: list[Array], index: npt.NDArray[np.intp]) -> None:
    """Assert that the measure is right for the row pools[...][index], in which each of the pool occurs."""
    compute = getattr(kullback, measure)
    counts = np.bincount(index).tolist()
    pools = pools[: 1 + (KINDS[measure] == "sum2")]
    rows = [x[index] for x in pools]
    exact = [Softmax(x, counts) for x in pools]
    if measure in LOGIT_SUMS:
        value, magnitude = (no_smaller_than_floats(x) for x in LOGIT_SUMS[measure](counts, *exact))
        values, magnitudes, labels = [value], [magnitude], [f"length {index.size}"]
    else:
        values, magnitudes = [no_smaller_than_floats(x) for x in LOGIT_MAPS[measure](*exact)], [0] * len(counts)
        labels = [f"{x!r} in a row of length {index.size}" for x in pools[0].tolist()]
    positions = np.empty(len(counts), np.intp)
    positions[index] = np.arange(index.size)  # of each of the pool, somewhere
    arguments = [*rows, positions] if measure == "token_logprobs" else rows
    for base in bases_of(measure):
        got = compute(*arguments, **({} if base is None else {"base": base}))
        assert got.dtype == pools[0].dtype
        if KINDS[measure] == "rowmap":  # equal logits have equal probabilities
            np.testing.assert_array_equal(got, got[positions][index])
            got = got[positions]
        assert_within(
            BOUNDS["row"],
            np.atleast_1d(got),
            [in_base(x, base) for x in values],
            [in_base(x, base) for x in magnitudes],
            lambda i, base=base: f"{labels[i]}, base {base}",
        )


LOGIT_POOL = 43
LOGIT_LENGTHS = [1, 2, 5, 8, 9, 17, LOGIT_POOL, BLOCK + 1, 3 * BLOCK + 1, 10**6]


def logit_regimes(dtype: Float) -> dict[str, tuple[Array, Array]]:
    """Pools of pairs of logits. What comes first is met but once in rows longer than the pool."""
    info = np.finfo(dtype)
    rng = np.random.default_rng(29)
    single = dtype is np.float32
    n = LOGIT_POOL

    def normal(scale: float) -> Array:
        return rng.normal(0, scale, n)

    def signs() -> Array:
        return rng.choice([-1.0, 1.0], n)

    def confident(gap: float, winner: int) -> Array:
        return np.where(np.arange(n) == winner, 0.0, -gap - rng.uniform(0, 3, n))

    def masked(share: float) -> Array:
        return np.where((rng.random(n) < share) & (np.arange(n) > 0), -np.inf, normal(10))

    hidden = masked(0.3)
    most, least = float(info.max), float(info.smallest_subnormal)
    near = normal(3).astype(dtype)
    one_ulp = 1 + rng.integers(-1, 2, n) * float(info.eps)
    gaps = [5, 12, 16, 20, 40, 60, 80, 87, 95, 100] if single else [5, 12, 16, 20, 40, 100, 350, 700, 709, 740]
    edge, low, high = (43.0, 80, 110) if single else (600.0, 680, 760)
    nearby = -rng.exponential(1, n)
    nearby[n // 2] = 0
    result = {
        "uniform noise": (rng.uniform(-1, 1, n), rng.uniform(-1, 1, n)),
        **{f"gaussian, {scale}": (normal(scale), normal(scale)) for scale in (1, 10, 100)},
        **{f"winner by {gap}": (confident(gap, 0), confident(gap, 0)) for gap in gaps},
        f"other winners by {gaps[-1]}": (confident(gaps[-1], 0), confident(gaps[-1], 1)),
        "one ULP apart": (7.3 * one_ulp, 7.3 * one_ulp[::-1]),
        "p near q": (near, near.astype(float) * one_ulp),
        "confident, p near q": (confident(30, 0).astype(dtype) + 2, confident(30, 0).astype(dtype) + 2),
        "all equal": (np.full(n, 3.1), np.full(n, -2.7)),
        "ties of the maximum": (rng.choice([-3.0, 0.5, 2.0], n), rng.choice([-1.0, 2.0], n)),
        "far from 0": (1e4 + normal(20), -1e4 + normal(20)),
        "largest near one edge": (nearby + edge * 0.999, nearby + edge * 1.001),
        "largest near the other edge": (nearby - edge * 0.999, nearby - edge * 1.001),
        "some far below": tuple(np.where(rng.random(n) < 0.3, -rng.uniform(low, high, n), nearby) for _ in range(2)),
        "masked": (np.where(hidden == -np.inf, -np.inf, masked(0.3)), hidden),
        "almost all masked": (np.where(np.arange(n) % 16 == 0, normal(1), -np.inf), normal(1)),
        "all magnitudes": tuple(signs() * 10 ** rng.uniform(-40, 37 if single else 300, n) for _ in range(2)),
        "largest gaps": (signs() * most / 2, normal(10)),
        "subnormal": (rng.integers(-99, 99, n) * least, rng.integers(-99, 99, n) * least),
    }
    return {name: (p.astype(dtype), q.astype(dtype)) for name, (p, q) in result.items()}


LOGIT_REGIMES = {dtype: logit_regimes(dtype) for dtype in (np.float32, np.float64)}


@both_types
@pytest.mark.parametrize("regime", LOGIT_REGIMES[np.float64])
@pytest.mark.parametrize("measure", [*LOGIT_SUMS, *LOGIT_MAPS])
def test_rows_of_logits(measure: str, regime: str, dtype: Float) -> None:
    name = list(LOGIT_REGIMES[dtype])[list(LOGIT_REGIMES[np.float64]).index(regime)]  # gaps differ
    pools = LOGIT_REGIMES[dtype][name]
    rng = np.random.default_rng(31)
    for n in LOGIT_LENGTHS:
        size = min(n, LOGIT_POOL)
        index = np.concatenate([np.arange(size), rng.integers(size // 2, size, n - size)])
        assert_logits(measure, [x[:size] for x in pools], np.roll(index, n // 3))


@both_types
def test_what_is_nearly_certain_is_1(dtype: Float) -> None:
    """Just below 1 an ULP is half of what it is above: there, errors of an exponential count twice."""
    rng = np.random.default_rng(61)
    gaps = np.arange(15, 20, 0.1) if dtype is np.float32 else np.arange(35, 45, 0.5)
    winners = rng.uniform(-15, 15, (20_000, 1)).astype(dtype)
    for gap in gaps:
        p = kullback.softmax(np.concatenate([winners, winners - dtype(gap)], axis=1))[:, 0]
        assert np.all(p <= 1)
        some = winners[p == p.max()][:3]
        for logits in np.concatenate([some, some - dtype(gap)], axis=1):
            assert_logits("softmax", [logits], np.arange(2))


@both_types
@pytest.mark.parametrize("measure", ["logsumexp", "entropy_from_logits", *LOGIT_MAPS])
def test_rows_of_few_logits(measure: str, dtype: Float) -> None:
    """Rounding errors of equal exponentials add up, where those of many different ones would cancel."""
    rng = np.random.default_rng(59)
    for _ in range(400):
        logits = rng.choice([0.0, rng.normal(0, 5)]) - np.array([0.0, *rng.exponential(3, 2)])
        index = np.repeat(np.arange(3), [1, *rng.integers(1, 30, 2)])
        assert_logits(measure, [logits.astype(dtype)], index)


@both_types
@pytest.mark.parametrize("kind", ["plain", "few logits", "masked", "shifted", "unlikely", "excluded"])
@pytest.mark.parametrize("measure", ["kl_divergence_from_logits", "js_divergence_from_logits"])
def test_divergences_of_near_and_far_rows(measure: str, kind: str, dtype: Float) -> None:
    """However much of larger terms cancels, 1 ULP is of the result: a way that is not good enough is not taken."""
    rng = np.random.default_rng(53)
    got, exact, labels = [], [], []
    for distance in 2 ** np.arange(-12, 3, 0.125):
        for n in (2, 5, 19, 43):
            z = rng.choice([1.0, 4.0]) * rng.normal(0, 1, n)
            p, q = (x.astype(dtype) for x in (z, z + distance * rng.normal(0, 1, n)))
            if kind == "few logits":
                index = rng.integers(0, 2, n)
                p, q = p[index], q[index]
            elif kind == "masked":
                p[n // 2] = q[n // 2] = -np.inf
            elif kind == "shifted":
                p += dtype(rng.choice([-25, 50]))
                q += dtype(rng.choice([0, 25, 50]))
            elif kind == "unlikely":
                p[0], q[0] = rng.uniform(-300, -100, 2).astype(dtype)
            elif kind == "excluded":
                q[n // 2] = rng.uniform(-300, -100)
            got.append(getattr(kullback, measure)(p, q))
            exact.append(LOGIT_SUMS[measure]([1] * n, *(Softmax(x, [1] * n) for x in (p, q)))[0])
            labels.append(f"distance {distance:.3g}, length {n}")
    assert_within(1, np.array(got), exact, [0] * len(got), lambda i: labels[i])


@both_types
def test_near_rows_that_lie_far_from_0(dtype: Float) -> None:
    """What all logits have in common takes no digits from what they differ by."""
    got, exact = [], []
    cases = [([0, 1e-3], [c, c]) for c in (1, 1e3, 1e6, 1e9, 1e30)] + [
        ([0, d], [c, c]) for d, c in ((1e-6, 1e4), (1e-7, 40))
    ]
    cases += [([-0.1, -19.9], [1e8, 1e8 - 8]), ([-8.1, -39.9], [2e8, 2e8 - 16]), ([-20, -np.inf], [-20, -124])]
    for p, q in cases:
        for counts in ([1, 1], [8, 8], [15, 1], [1, 15]):
            rows = [np.array(x, dtype) for x in (p, q)]
            got.append(kullback.kl_divergence_from_logits(*(np.repeat(x, counts) for x in rows)))
            exact.append(LOGIT_SUMS["kl_divergence_from_logits"](counts, *(Softmax(x, counts) for x in rows))[0])
    assert_within(1, np.array(got), exact, [0] * len(got), lambda i: str(cases[i // 4]))


@both_types
@pytest.mark.parametrize("measure", ["kl_divergence_from_logits", "js_divergence_from_logits"])
def test_huge_logits_of_what_is_unlikely(measure: str, dtype: Float) -> None:
    """What weighs next to nothing may weigh something where it is multiplied by 10^38."""
    for unlikely in (-90.0, -131.0, -133.0, -200.0):
        for n in (30, 4_000, 40_000):
            pools = [np.array(x, dtype) for x in ([-20, -20, unlikely], [-19, -20, -3.4e38])]
            assert_logits(measure, pools, np.repeat(np.arange(3), [1, 1, n]))


def blocks(dtype: Float) -> dict[str, Array]:
    """Rows of three blocks, by what stands out in them."""
    rng = np.random.default_rng(43)
    noise = rng.choice(rng.normal(0, 2, 12).astype(dtype), 2 * BLOCK + 900)
    starts = np.arange(noise.size) // BLOCK
    wide_gap = 1e30 if dtype is np.float32 else 1e300

    def with_(values: Array, *changes: tuple[Any, float]) -> Array:
        values = values.astype(dtype)
        for where, value in changes:
            values[where] = value
        return values

    each = {name: slice(BLOCK * k, BLOCK * (k + 1)) for k, name in enumerate(("first", "second", "last"))}
    return {
        **{f"winner in the {name} block": with_(noise, (some.start + 5, 60.0)) for name, some in each.items()},
        **{f"the {name} block impossible": with_(noise, (some, -np.inf)) for name, some in each.items()},
        **{
            f"all but the {name} block impossible": np.where(starts == k, noise, -np.inf).astype(dtype)
            for k, name in enumerate(each)
        },
        "the maximum in every block": with_(noise, (slice(17, None, BLOCK), 30.0)),
        "two classes": with_(np.full(noise.size, -np.inf), (3, 1.0), (-1, 1.5)),
        "maxima rise": (noise + 50.0 * starts).astype(dtype),
        "maxima fall": (noise - 50.0 * starts).astype(dtype),
        "maxima far apart": with_(noise, (5, -wide_gap), (BLOCK, 1e5), (2 * BLOCK, 2e5)),
    }


BLOCKS = {dtype: blocks(dtype) for dtype in (np.float32, np.float64)}


@both_types
@pytest.mark.parametrize("kind", BLOCKS[np.float64])
@pytest.mark.parametrize("measure", [*LOGIT_SUMS, *LOGIT_MAPS])
def test_blocks_of_logits(measure: str, kind: str, dtype: Float) -> None:
    z = BLOCKS[dtype][kind]
    others = [z]
    if KINDS[measure] == "sum2":
        others = [*BLOCKS[dtype].values()]
    for other in others:
        columns, index = np.unique(np.stack([z, other]), axis=1, return_inverse=True)
        assert_logits(measure, list(columns), index)


@both_types
@pytest.mark.parametrize("measure", [*LOGIT_SUMS, *LOGIT_MAPS])
def test_columns_of_logits(measure: str, dtype: Float) -> None:
    # Columns are read in another way than rows.
    z, other = (np.stack(list(x.values()), axis=1) for x in (BLOCKS[dtype], dict(reversed(BLOCKS[dtype].items()))))
    compute = getattr(kullback, measure)
    if measure == "token_logprobs":
        arguments = [z, np.stack([z.argmax(0), z.argmin(0)])]
    else:
        arguments = [z, other][: 1 + (KINDS[measure] == "sum2")]
    got = compute(*arguments, axis=0)
    rows = compute(*(np.ascontiguousarray(x.T) for x in arguments))
    np.testing.assert_array_equal(got, rows.T)


# Layouts: the same values elsewhere in memory


def layouts(p: Array, q: Array) -> dict[str, tuple[Array, Array, int | tuple[int, ...] | None]]:
    return {
        "contiguous": (p, q, -1),
        "axis 0": (p, q, 0),
        "Fortran order": (np.asfortranarray(p), q, 1),
        "transposed": (p.T, q.T, 0),
        "every second": (p[:, ::2], q[::, ::2], -1),
        "reversed": (p[::-1, ::-1], q, -1),
        "broadcast": (p[0], q, -1),
        "two axes": (p.reshape(3, 4, -1), q.reshape(3, 4, -1), (0, 2)),
        "all axes": (p, q, None),
    }


PROBABILITIES = np.random.default_rng(17).dirichlet(np.ones(37), (2, 12))
LOGITS = np.random.default_rng(17).normal(0, 10, (2, 12, 19))
LAYOUTS = {dtype: layouts(*PROBABILITIES.astype(dtype)) for dtype in (np.float32, np.float64)}
LOGIT_LAYOUTS = {dtype: layouts(*LOGITS.astype(dtype)) for dtype in (np.float32, np.float64)}


@both_types
@pytest.mark.parametrize("layout", LAYOUTS[np.float64])
@pytest.mark.parametrize("measure", ROWS)
def test_layouts(measure: str, layout: str, dtype: Float) -> None:
    *arrays, axis = LAYOUTS[dtype][layout]
    for base in BASES:
        assert_matches_reference(measure, *arrays[: INPUTS[measure]], axis=axis, base=base)


@both_types
@pytest.mark.parametrize("layout", LOGIT_LAYOUTS[np.float64])
@pytest.mark.parametrize("measure", [*LOGIT_SUMS, *LOGIT_MAPS])
def test_layouts_of_logits(measure: str, layout: str, dtype: Float) -> None:
    z, other, axis = LOGIT_LAYOUTS[dtype][layout]
    if measure == "token_logprobs":
        axis = axis if isinstance(axis, int) else -1
        arguments = [z, z.argmax(axis)]
    else:
        arguments = [z, other][: 1 + (KINDS[measure] == "sum2")]
    for base in bases_of(measure):
        assert_matches_reference(measure, *arguments, axis=axis, base=base)


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


# Elements of logits

LOGIT_ELEMENTS: dict[str, Callable[[Any], Any]] = {
    "sigmoid": lambda z: 1 / (1 + exp(-z)),
    "log_sigmoid": lambda z: -wide.log(1 + exp(-z)),
    "binary_entropy_from_logits": lambda z: exact_entropy([1, 1], Softmax(np.array([z, 0]), [1, 1]))[0],
}


def logit_element_regimes(dtype: Float) -> dict[str, Array]:
    info = np.finfo(dtype)
    integer = np.uint32 if dtype is np.float32 else np.uint64
    last = int(np.array(np.inf, dtype).view(integer))
    rng = np.random.default_rng(47)
    n = 200

    def signed(x: Array) -> Array:
        return (x * rng.choice([-1, 1], x.size)).astype(dtype)

    least, most = float(info.smallest_subnormal), float(info.max)
    edge = -np.log(least)
    return {
        "all magnitudes": signed(rng.integers(1, last, n).astype(integer).view(dtype)),
        "near 0": signed(10 ** rng.uniform(-20, 0, n)),
        "uniform": signed(rng.uniform(0, 50, n)),
        "down to subnormal results": signed(rng.uniform(0, edge + 5, n)),
        "subnormal results": signed(rng.uniform(edge - 16, edge + 2, n)),
        "subnormal": signed(rng.integers(1, 1 << info.nmant, n) * least),
        "integers": np.arange(-120, 121).astype(dtype),
        "limits": np.array([x for z in (0, least, info.tiny, 1, most) for x in (z, -z)], dtype),
    }


LOGIT_ELEMENT_REGIMES = {dtype: logit_element_regimes(dtype) for dtype in (np.float32, np.float64)}


@both_types
@pytest.mark.parametrize("regime", LOGIT_ELEMENT_REGIMES[np.float64])
@pytest.mark.parametrize("measure", LOGIT_ELEMENTS)
def test_elements_of_logits(measure: str, regime: str, dtype: Float) -> None:
    z = LOGIT_ELEMENT_REGIMES[dtype][regime]
    exact = [no_smaller_than_floats(LOGIT_ELEMENTS[measure](wide.mpf(x))) for x in z.tolist()]
    for base in bases_of(measure):
        options = {} if base is None else {"base": base}
        got = getattr(kullback, measure)(z, **options)
        assert got.dtype == dtype
        in_units = [in_base(x, base) for x in exact]
        assert_within(BOUNDS["elementwise"], got, in_units, None, lambda i, base=base: f"{z[i]!r}, base {base}")


@both_types
@pytest.mark.parametrize("measure", [*ELEMENTWISE, *LOGIT_ELEMENTS])
def test_elements_of_strided_arrays(measure: str, dtype: Float) -> None:
    p = ELEMENTS[dtype]["uniform"][:120].reshape(10, 12)
    for view in (p.T, p[::-2, ::3], np.broadcast_to(p[:, :1], p.shape), p[0, 0]):
        assert_matches_reference(measure, view, base=bases_of(measure)[-1])


# The tables


def test_every_function_is_in_a_table() -> None:
    # A new kind of kernel needs a test here, or in the file of that kind.
    elsewhere = {"pack": "test_math.py", "binary": "test_loss_accuracy.py", "categorical": "test_loss_accuracy.py"}
    here = {name for name, kind in KINDS.items() if kind not in elsewhere}
    assert here == {*FORMULAS, *LOGIT_ELEMENTS, *LOGIT_SUMS, *LOGIT_MAPS}
