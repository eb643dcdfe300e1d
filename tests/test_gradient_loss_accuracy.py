"""The promise: gradients of losses are good to 4 ULP, with any labels, weights and options.

As in test_gradient_accuracy.py the oracles, closed forms at 400 digits, are first held to difference quotients of the
textbook's losses, then kullback.grad and kullback.reference.grad to the oracles. Errors count at the sum of the terms'
magnitudes where there are two; at the true class of a single label there is but one, and full relative accuracy.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Iterator
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


# Losses: the textbook's formulas, in any context, to be differentiated numerically


def xlogy(m: Any, x: Any, y: Any) -> Any:
    return x * m.log(y) if x else m.zero


def softmax(m: Any, z: list[Any]) -> list[Any]:
    mass = [m.exp(x) for x in z]
    return [x / m.fsum(mass) for x in mass]


class Options(NamedTuple):
    """Of a loss: weights of classes or of elements, and of rows or of outcomes; which rows count, and how."""

    weight: list[float] | None = None
    other: list[float] | None = None  # sample_weight, pos_weight
    smoothing: float = 0.0
    base: float | None = None
    reduction: str | None = None
    ignored: tuple[int, ...] = ()
    grad_output: list[float] = [1.0]  # noqa: RUF012

    def weights(self, m: Any, n: int, k: int) -> list[list[Any]]:
        return [[m.mpf(x) for x in given or [1.0] * size] for given, size in ((self.weight, n), (self.other, k))]


def categorical_value(m: Any, of_logits: bool, labels: list[Any], rows: list[Any], o: Options) -> Any:
    """Sum of grad_output times the losses; labels are distributions."""
    w, v = o.weights(m, len(rows[0]), len(rows))
    s, losses, divisor = m.mpf(o.smoothing), [], m.zero
    for i, (y, q) in enumerate(zip(labels, rows, strict=True)):
        if i not in o.ignored:
            each = zip(w, y, softmax(m, q) if of_logits else q, strict=True)
            smooth = [(a * ((1 - s) * b + s / len(q)), c) for a, b, c in each]
            losses.append(-v[i] * m.fsum(xlogy(m, a, b) for a, b in smooth))
            divisor += v[i] * (m.fsum(a * b for a, b in zip(w, y, strict=True)) if o.weight else 1)
        else:
            losses.append(m.zero)
    return with_reduction(m, losses, divisor, o)


def binary_value(m: Any, of_logits: bool, labels: list[Any], x: list[Any], o: Options) -> Any:
    w, v = o.weights(m, len(x), len(x))
    s = m.mpf(o.smoothing)
    losses = []
    for y, q, a, b in zip(labels, x, w, v, strict=True):
        q = 1 / (1 + m.exp(-q)) if of_logits else q
        y = (1 - s) * y + s / 2
        losses.append(-a * (b * xlogy(m, y, q) + xlogy(m, 1 - y, 1 - q)))
    return with_reduction(m, losses, m.fsum(w), o)


def with_reduction(m: Any, losses: list[Any], divisor: Any, o: Options) -> Any:
    unit = m.one if o.base is None else m.log(m.mpf(o.base))
    each = itertools.cycle(map(m.mpf, o.grad_output))
    total = m.fsum(a * b for a, b in zip(losses, each, strict=False))
    return total / unit / (divisor if o.reduction == "mean" else 1)


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
        mass = fsum(c * exp(x) for c, x in zip(counts, self.z, strict=True))
        self.p = [exp(x) / mass for x in self.z]
        self.log_p = [x - log(mass) for x in self.z]


def information(q: Any) -> Any:
    return -log(q) if q else inf


def categorical_oracle(
    of_logits: bool, wrt: str, labels: list[Any], rows: list[Any], o: Options, counts: list[int] | None = None
) -> list[list[Exact]]:
    """Row by row; counts: how often each element of every row occurs in it. wrt may be "hessian", too."""
    counts = counts or [1] * len(rows[0])
    w, v = o.weights(wide, len(rows[0]), len(rows))
    n, s = sum(counts), mpf(o.smoothing)
    exact = [Softmax(q, counts) for q in rows] if of_logits else []
    informations = [[-x for x in p.log_p] for p in exact] or [[information(mpf(x)) for x in q] for q in rows]
    masses = [[a * ((1 - s) * mpf(b) + s / n) for a, b in zip(w, y, strict=True)] for y in labels]
    divisor = mpf(1)
    if o.reduction == "mean":
        shares = [fsum(c * a * mpf(b) for c, a, b in zip(counts, w, y, strict=True)) if o.weight else 1 for y in labels]
        divisor = fsum(v[i] * share for i, share in enumerate(shares) if i not in o.ignored)
    unit = divisor * (1 if o.base is None else log(mpf(o.base)))
    loss = mpf(0)  # all of it, on which the gradient by labels of a weighted mean depends
    if wrt == "labels" and o.weight and o.reduction == "mean":
        each = ((i, j) for i in range(len(rows)) for j in range(len(counts)) if i not in o.ignored)
        loss = fsum(counts[j] * times(informations[i][j], masses[i][j], v[i]) for i, j in each)

    def of_row(i: int, g: Any) -> Iterator[Exact]:
        common = v[i] * g / unit
        all_mass = total(*(c * a for c, a in zip(counts, masses[i], strict=True)))
        for j, mass in enumerate(masses[i]):
            if i in o.ignored:
                yield Exact(mpf(0))
            elif wrt == "labels":
                term = times(informations[i][j], 1 - s, w[j], common)
                yield total(term, -loss * w[j] * common / divisor) if loss else Exact(term)
            elif wrt == "q":
                yield Exact(times(-1 / mpf(rows[i][j]) if rows[i][j] else -inf, mass, common))
            elif wrt == "hessian":
                p = exact[i].p[j]
                yield Exact(all_mass.value * p * (1 - p), all_mass.magnitude * p * (1 - p)).times(common)
            elif all_mass.magnitude == abs(mass) and not s:  # the only class that has any
                yield Exact(-mass * (1 - exact[i].p[j])).times(common)
            else:
                p = exact[i].p[j]
                yield Exact(all_mass.value * p - mass, all_mass.magnitude * p + abs(mass)).times(common)

    outputs = itertools.cycle(map(mpf, o.grad_output))
    return [list(of_row(i, g)) for i, g in zip(range(len(rows)), outputs, strict=False)]


def binary_oracle(of_logits: bool, wrt: str, labels: list[Any], x: list[Any], o: Options) -> list[Exact]:
    w, v = o.weights(wide, len(x), len(x))
    s = mpf(o.smoothing)
    unit = (fsum(w) if o.reduction == "mean" else 1) * (1 if o.base is None else log(mpf(o.base)))

    def terms(y: Any, q: Any, pos: Any) -> Exact:
        hit, miss = (1 - s) * y + s / 2, (1 - s) * (1 - y) + s / 2
        if of_logits:
            at, opposite = (1 / (1 + exp(z)) for z in (-q, q))
            if wrt == "labels":
                both = (times(log(1 + exp(-q)), pos), -log(1 + exp(q)))
                return (Exact(-q) if pos == 1 else total(*both)).times(1 - s)
            if wrt == "hessian":
                return total(pos * hit, miss).times(at * opposite)
            return total(miss * at, -pos * hit * opposite)
        if wrt == "labels":
            return total(times(information(q), pos), -information(1 - q)).times(1 - s)
        return total(times(1 / (1 - q) if q < 1 else inf, miss), times(-1 / q if q else -inf, pos, hit))

    outputs = itertools.cycle(map(mpf, o.grad_output))
    columns = zip(*([mpf(a) for a in column] for column in (labels, x)), w, v, outputs, strict=False)
    return [terms(y, q, b).times(a, g, 1 / unit) for y, q, a, b, g in columns]


CATEGORICAL = ["categorical_cross_entropy", "categorical_cross_entropy_from_logits"]
BINARY = ["binary_cross_entropy", "binary_cross_entropy_from_logits"]
LOSSES = [
    *((name, wrt) for name in (CATEGORICAL[0], BINARY[0]) for wrt in ("labels", "q")),
    *((name, wrt) for name in (CATEGORICAL[1], BINARY[1]) for wrt in ("labels", "logits", "hessian")),
]


def inputs(name: str) -> list[str]:
    parameters = inspect.signature(getattr(kullback, name)).parameters.values()
    return [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]


def oracle(name: str, wrt: str, rows: Any, counts: list[int] | None = None, o: Options = Options()) -> list[Exact]:  # noqa: B008
    """Of one row of labels and of predictions, in which each number occurs so many times."""
    rows = [np.asarray(row).tolist() for row in rows]
    if name in BINARY:
        return binary_oracle(name == BINARY[1], wrt, *rows, o)
    return categorical_oracle(name == CATEGORICAL[1], wrt, *([row] for row in rows), o, counts)[0]


def test_every_loss_is_in_a_table() -> None:
    names = [name for name in kullback.grad.__all__ if "binary_cross" in name or "categorical" in name]
    assert {name for name, _ in LOSSES} == set(names)
    for name in names:
        keywords = inspect.signature(getattr(kullback.grad, name)).parameters
        want = [*inputs(name), *(["hessian"] if "hessian" in keywords else [])]
        assert [wrt for loss, wrt in LOSSES if loss == name] == want


# The oracles are derivatives of the losses


def assert_derivatives(value: Any, arguments: list[list[float]], i: int, exact: list[Exact], wrt: str = "") -> None:
    """Assert that the difference quotients by each number of argument i are these, the second ones for "hessian"."""
    least = min(abs(x) for x in [1.0, *itertools.chain(*arguments), *(x.value for x in exact)] if x)
    m = mpmath.MPContext()
    m.dps = 1200 if least < 1e-60 else 300
    columns = [[m.mpf(x) for x in a] for a in arguments]
    for j, (x, want) in enumerate(zip(columns[i], exact, strict=True)):
        step = m.mpf(10) ** -(m.dps // 3) * (x if wrt == "p or q" else 1)
        moved = ([*columns[i][:j], x + k * step, *columns[i][j + 1 :]] for k in (-1, 0, 1))
        low, here, high = (value(m, *columns[:i], column, *columns[i + 1 :]) for column in moved)
        got = (low - 2 * here + high) / step**2 if wrt == "hessian" else (high - low) / (2 * step)
        assert abs(got - want.value) <= 1e-40 * max(want.magnitude, abs(got)), (got, want)


SOME_OPTIONS = [
    Options(),
    Options(grad_output=[-0.75], base=2, smoothing=0.1),
    *(
        Options([0.5, 1.75, 3.0], [2.0, 0.25, 1.5], smoothing, 10, reduction, grad_output=[0.3])
        for smoothing in (0.0, 0.25, 1.0)
        for reduction in (None, "sum", "mean")
    ),
    Options(None, [2.0, 0.25, 1.5], reduction="mean"),
    Options([1e-3, 2.0, 1e8], None, 0.1, reduction="mean"),
    Options([0.5, 1.75, 3.0], [2.0, 0.25, 1.5], grad_output=[1.0, -2.0, 0.5]),
]


@pytest.mark.parametrize(("name", "wrt"), LOSSES)
@pytest.mark.parametrize("options", SOME_OPTIONS, ids=str)
def test_oracles_of_losses_are_derivatives(name: str, wrt: str, options: Options) -> None:
    of_logits, i = name.endswith("logits"), int(wrt != "labels")
    q = [[0.1, 0.6, 0.3], [0.25, 0.5, 0.25], [1e-30, 0.9, 0.1]]
    z = [[40.0, 0.0, 1.0], [0.5, -1.25, 2.0], [-80.0, 3.0, 2.0]]
    x = z if of_logits else q
    if name in BINARY:
        for labels, row in zip([[1.0, 0.0, 0.5], [0.0, 1.0, 1e-20], [0.25, 0.5, 0.75]], x, strict=True):
            exact = binary_oracle(of_logits, wrt, labels, row, options)
            value = functools.partial(lambda m, y, a: binary_value(m, of_logits, y, a, options))
            assert_derivatives(value, [labels, row], i, exact, wrt)
        return
    one_hot, soft = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]], [[0.2, 0.5, 0.3]] * 2 + [[1.0, 1e-20, 0.0]]
    for labels, o in [(one_hot, options), (soft, options), (one_hot, options._replace(ignored=(1,)))]:
        exact = [x for row in categorical_oracle(of_logits, wrt, labels, x, o) for x in row]

        def value(m: Any, y: list[Any], a: list[Any], o: Options = o) -> Any:
            return categorical_value(m, of_logits, *([b[k : k + 3] for k in (0, 3, 6)] for b in (y, a)), o)

        assert_derivatives(
            value, [list(itertools.chain(*a)) for a in (labels, x)], i, exact, "p or q" if wrt == "q" else wrt
        )


# The gradients of long rows, which hold each number of a pool at least once

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
    """By one argument; the last of a pair where wrt is "hessian"."""
    if wrt == "hessian":
        return getattr(kullback.grad, name)(*arrays, hessian=True, **options)[1]
    which = {"wrt": wrt} if len(inputs(name)) > 1 else {}
    return getattr(kullback.grad, name)(*arrays, **which, **options)


BLOCK = 4096  # at which the core cuts long rows
POOL = 31
LENGTHS = [1, 2, 3, 5, 8, 9, 17, POOL, BLOCK + 1, 3 * BLOCK + 1, 10**5]


@functools.cache
def rows_of_pool(n: int) -> npt.NDArray[np.intp]:
    """For a row of length n, which of the pool each element is; the first ones are met but once."""
    size = min(n, POOL)
    more = np.random.default_rng(n).integers(size // 2, size, n - size)
    return np.roll(np.concatenate([np.arange(size), more]), n // 3)


def logits(dtype: Float) -> dict[str, Array]:
    """Pools of logits."""
    info = np.finfo(dtype)
    rng = np.random.default_rng(5)
    single = dtype is np.float32

    def confident(gap: float) -> Array:
        return np.where(np.arange(POOL) == 0, 0.0, -gap - rng.uniform(0, 3, POOL))

    noise = rng.normal(0, 1, POOL)
    result = {
        **{f"gaussian, {scale}": rng.normal(0, scale, POOL) for scale in (1e-3, 1, 10, 100, 300)},
        **{f"winner by {gap}": confident(gap) for gap in (20, 40, 87, 95)},
        "winner by all there is": confident(100 if single else 740),
        "winner by nearly all there is": confident(100 if single else 700),
        "one ULP apart": 7.3 * (1 + rng.integers(-1, 2, POOL) * float(info.eps)),
        "ties of the maximum": np.round(noise),
        "far from 0": 1e4 + 20 * noise,
        "masked": np.where((noise < 0) & (np.arange(POOL) > 0), -np.inf, noise),
        "all magnitudes": np.sign(noise) * 10 ** rng.uniform(-40, 37 if single else 300, POOL),
        "largest gaps": rng.choice([-1, 1], POOL) * float(info.max) / 64,
    }
    return {name: z.astype(dtype) for name, z in result.items()}


LOGITS = {dtype: logits(dtype) for dtype in (np.float32, np.float64)}


def labels_of_kinds(dtype: Float) -> dict[str, Array]:
    rng = np.random.default_rng(9)
    y = rng.dirichlet(np.ones(POOL))
    tiny = 10 ** rng.uniform(-44 if dtype is np.float32 else -322, 0, POOL)
    first, second = (np.arange(POOL) == k for k in (0, 1))  # the first has the largest logit, as a rule
    result = {
        "class 0": first,
        "class 1": second,
        "one-hot": second,
        "one-hot at the winner": first,
        "dirichlet": y,
        "tiny": np.maximum(tiny, float(np.finfo(dtype).smallest_subnormal)),
        "huge": y * 1e30,
        "sparse": np.where(y > np.median(y), y, 0),
    }
    return {name: y.astype(dtype) for name, y in result.items()}


LABELS = {dtype: labels_of_kinds(dtype) for dtype in (np.float32, np.float64)}


@both_types
@pytest.mark.parametrize("regime", LOGITS[np.float64])
@pytest.mark.parametrize(("name", "wrt"), [x for x in LOSSES if x[0] in CATEGORICAL])
def test_losses_of_long_rows(name: str, wrt: str, regime: str, dtype: Float) -> None:
    some = ["class 0", "class 1", "dirichlet"]
    for n, kind in [*itertools.product((1, 2, 5, POOL, BLOCK + 1), LABELS[dtype]), *((10**5, kind) for kind in some)]:
        if (wrt, regime) == ("hessian", "winner by all there is") and (kind == "huge" or n > POOL):
            continue  # 1 - p is subnormal, and has lost its digits to a factor above 1
        size, index = min(n, POOL), rows_of_pool(n)
        pool, y = LOGITS[dtype][regime][:size], LABELS[dtype][kind][:size]
        pool = pool if name.endswith("logits") else kullback.softmax(pool)
        labels: Any = y[index]
        if kind.startswith("class"):
            if wrt == "labels" or not y.any():
                continue
            labels = int(labels.argmax())
        weight = np.random.default_rng(n).uniform(0.1, 2, size).astype(dtype)
        weighted = n in (2, 5, BLOCK + 1)
        o = Options(weight.tolist(), None, 0.1, 2) if weighted else Options()
        options = {"weight": weight[index], "label_smoothing": 0.1, "base": 2} if weighted else {}
        got = gradient(name, wrt, labels, pool[index], **options)
        assert got.dtype == dtype
        exact = oracle(name, wrt, [y, pool], np.bincount(index).tolist(), o)
        assert_close(got, exact, index, f"{kind}, length {n}, {options}")


@both_types
@pytest.mark.parametrize("y", ["0", "1", "0.5", "0.1", "eps", "1 - eps", "least"])
@pytest.mark.parametrize(("name", "wrt"), [x for x in LOSSES if x[0] in BINARY])
def test_many_elements_of_binary_losses(name: str, wrt: str, y: str, dtype: Float) -> None:
    info = np.finfo(dtype)
    label = dtype({"eps": info.eps, "1 - eps": 1 - info.epsneg, "least": info.smallest_subnormal}.get(y, y))
    integer = np.uint32 if dtype is np.float32 else np.uint64
    rng = np.random.default_rng(19)
    last = int(np.array(np.inf if name.endswith("logits") else 1, dtype).view(integer))
    x = rng.integers(1, last, 150).astype(integer).view(dtype)
    if name.endswith("logits"):
        edge = 9 - np.log(float(info.smallest_subnormal))
        limits = [0, info.tiny, info.max, info.smallest_subnormal]
        x = np.concatenate([x, rng.uniform(0, edge, 150), rng.uniform(0, 9, 50), limits]).astype(dtype)
        x *= rng.choice([-1, 1], x.size).astype(dtype)
    else:
        near = [1 - info.epsneg * rng.integers(1, 99, 30), 0.5 + info.eps * np.arange(-9, 9) / 2]
        x = np.concatenate([x, rng.random(150), *near]).astype(dtype)
    labels = np.full(x.size, label)
    got = gradient(name, wrt, labels, x)
    assert_close(got, oracle(name, wrt, [labels, x]), np.arange(x.size), f"{x.tolist()}, label {label}")


# Thousands of generated calls of losses

KINDS = [(name, kind) for name in CATEGORICAL for kind in ("classes", "one-hot", "soft")]
KINDS += [(name, kind) for name in BINARY for kind in ("one-hot", "soft")]


def some_predictions(rng: np.random.Generator, of_logits: bool, shape: tuple[int, ...], dtype: Float) -> Array:
    single = dtype is np.float32
    z = rng.normal(0, rng.choice([1e-3, 1.0, 10.0, 100.0]), shape)
    match rng.integers(4):
        case 0:  # a class or two far before the others
            z = np.where(rng.random(shape) < 0.3, z, z - rng.choice([20, 40, 90 if single else 720]))
        case 1:  # ties
            z = np.round(z)
        case 2:
            z = rng.choice([1.0, -1.0], shape) * 10 ** rng.uniform(-40, 2, shape)
    if not of_logits:
        z = np.clip(kullback.sigmoid(z), np.finfo(dtype).tiny, 1 - np.finfo(dtype).eps)
    return z.astype(dtype)


def some_labels(rng: np.random.Generator, kind: str, shape: tuple[int, ...], dtype: Float) -> Array:
    if kind == "soft":
        y = rng.random(shape) * rng.choice([1.0, 1e-30, 1e-3])
        return np.where(rng.random(shape) < rng.choice([0, 0.4]), 0, y).astype(dtype)
    return (rng.integers(0, shape[-1], shape[:-1])[..., None] == np.arange(shape[-1])).astype(dtype)


def some_weights(rng: np.random.Generator, shape: tuple[int, ...], dtype: Float) -> Array | None:
    w = rng.uniform(0.1, 3, shape) * 10.0 ** rng.choice([0, 0, 8, -8])
    w = np.where(rng.random(shape) < rng.choice([0, 0.4]), 0, w)
    return None if rng.random() < 0.4 else w.astype(dtype)


@pytest.mark.parametrize("reduction", [None, "sum", "mean"])
@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_losses_with_options(name: str, kind: str, reduction: str | None) -> None:
    for seed in range(120):
        rng = np.random.default_rng([seed, KINDS.index((name, kind))])
        dtype = rng.choice([np.float32, np.float64])
        of_logits, categorical = name.endswith("logits"), name in CATEGORICAL
        outer, axis = [((3,), -1), ((3,), 0), ((2, 2), 1)][rng.integers(3)]
        shape = (*outer, int(rng.integers(1, 10)))
        x, y = some_predictions(rng, of_logits, shape, dtype), some_labels(rng, kind, shape, dtype)
        weight = some_weights(rng, shape[-1:] if categorical else shape, dtype)
        other = some_weights(rng, outer if categorical else shape, dtype)
        output_shape = () if reduction else outer if categorical else shape
        g = rng.choice([None, *rng.normal(0, 1, 2)]) if rng.random() < 0.5 else rng.normal(0, 1, output_shape)
        g = g if g is None else np.asarray(g, dtype)
        base, smoothing = rng.choice([None, 2, 0.3]), rng.choice([0.0, 0.1, 1.0])
        options = {"weight": weight, "base": base, "label_smoothing": smoothing, "reduction": reduction}
        options |= {"axis": axis, "sample_weight": other} if categorical else {"pos_weight": other}
        ignored: Array = rng.random(outer) < (0.3 if kind == "classes" else 0)
        labels = y if not categorical else np.moveaxis(y, -1, axis)
        if kind == "classes":
            labels = np.where(ignored, -100, y.argmax(-1))
            options["ignore_index"] = -100
        flat = np.ones(1) if g is None else g if reduction else np.broadcast_to(g, output_shape)
        given = [None if w is None else w.astype(float).ravel().tolist() for w in (weight, other)]
        o = Options(*given, smoothing, base, reduction, tuple(np.flatnonzero(ignored)), flat.ravel().tolist())
        for wrt in (wrt for loss, wrt in LOSSES if loss == name and (wrt, kind) != ("labels", "classes")):
            try:
                if categorical:
                    rows = categorical_oracle(of_logits, wrt, *(a.reshape(-1, shape[-1]).tolist() for a in (y, x)), o)
                    exact = [number for row in rows for number in row]
                else:
                    exact = binary_oracle(of_logits, wrt, y.ravel().tolist(), x.ravel().tolist(), o)
            except ZeroDivisionError:  # the mean of nothing, for which test_gradients.py has tests
                continue
            arguments = (labels, np.moveaxis(x, -1, axis) if categorical else x)
            got = gradient(name, wrt, *arguments, grad_output=g, **options)
            assert got.dtype == dtype
            got = np.moveaxis(got, axis, -1) if categorical else got
            what = f"seed {seed}, {wrt}, {arguments}, {g=}, {options}"
            assert_close(got.ravel(), exact, np.arange(x.size), what)
            if seed % 4 == 0:
                targets = labels.ravel().tolist() if kind == "classes" else y.reshape(-1, shape[-1]).tolist()
                rows = [targets, x.reshape(-1, shape[-1]).tolist()]
                rows = rows if categorical else [list(itertools.chain(*a)) for a in rows]
                assert_is_reference(name, wrt, rows, options, o, exact, what)


def assert_is_reference(
    name: str, wrt: str, rows: list[Any], options: dict[str, Any], o: Options, exact: list[Exact], what: str
) -> None:
    lists = {key: a.ravel().tolist() for key, a in options.items() if isinstance(a, np.ndarray)}
    others = {key: x for key, x in options.items() if key not in ("axis", *lists)}
    which = {"hessian": True} if wrt == "hessian" else {"wrt": wrt}
    g = o.grad_output if len(o.grad_output) > 1 else o.grad_output[0]
    result = getattr(reference, name)(*rows, **lists, **others, **which, grad_output=g, math=wide)
    result = result[1] if wrt == "hessian" else result
    flat = list(itertools.chain(*result)) if name in CATEGORICAL else result
    for got, want in zip(map(no_smaller_than_floats, flat), exact, strict=True):
        value = no_smaller_than_floats(want.value)
        near = got == value or abs(got - value) <= 1e-40 * max(want.magnitude, abs(value))
        assert near, (got, want, what)


# Factors whose product, or whose product with some of the others, is no normal float64; the gradient is one. Of class
# weights, the product with a label has to be a normal number; a subnormal 1 - p has lost its digits to any factor.

EXTREMES: list[tuple[str, str, tuple[Any, Any], dict[str, Any]]] = [
    ("binary_cross_entropy", "q", ([1e-310], [0.3]), {"weight": [1e300]}),
    ("binary_cross_entropy", "q", ([1.0], [0.3]), {"weight": [1e-310], "pos_weight": [1e300]}),
    ("binary_cross_entropy", "q", ([1e-310], [1e-310]), {}),
    ("binary_cross_entropy", "labels", ([0.5], [0.3]), {"weight": [1e300], "grad_output": 1e-310}),
    ("binary_cross_entropy_from_logits", "logits", ([1e-310], [-30.0]), {"weight": [1e300]}),
    ("binary_cross_entropy_from_logits", "hessian", ([1e-310], [740.0]), {"weight": [1e300]}),
    ("categorical_cross_entropy", "q", ([[1e-310, 1]], [[1e-310, 0.7]]), {}),
    ("categorical_cross_entropy_from_logits", "logits", ([[1e-310, 0]], [[0, 0.7]]), {"grad_output": 1e300}),
]


@pytest.mark.parametrize(("name", "wrt", "arguments", "options"), EXTREMES, ids=str)
def test_factors_of_extreme_magnitudes(name: str, wrt: str, arguments: Any, options: dict[str, Any]) -> None:
    o = Options(options.get("weight"), options.get("pos_weight"), grad_output=[options.get("grad_output", 1.0)])
    exact = oracle(name, wrt, [arguments[0], arguments[1]] if name in BINARY else [a[0] for a in arguments], None, o)
    got = np.ravel(gradient(name, wrt, *map(np.array, arguments), **options))
    assert_close(got, exact, np.arange(got.size), "extremes")


# Sums over what was broadcast


@both_types
@pytest.mark.parametrize(("name", "wrt"), LOSSES)
def test_sums_over_what_was_broadcast(name: str, wrt: str, dtype: Float) -> None:
    rng = np.random.default_rng(3)
    i, kinds, n = int(wrt != "labels"), 7, 6
    pools = [rng.dirichlet(np.ones(n), kinds).astype(dtype) for _ in range(2)]
    pools[1] = 5 * np.log(pools[1]) if name.endswith("logits") else pools[1]
    pools[i] = pools[i][:1]
    each = [oracle(name, wrt, [a[k] for a in np.broadcast_arrays(*pools)]) for k in range(kinds)]
    for count in (1, 2, 9, 70, BLOCK + 1, 10**5):
        chosen = rng.integers(0, kinds, count)
        counts = np.bincount(chosen, minlength=kinds).tolist()
        terms = [[exact[j].times(c) for c, exact in zip(counts, each, strict=True)] for j in range(n)]
        exact = [Exact(fsum(x.value for x in row), fsum(x.magnitude or abs(x.value) for x in row)) for row in terms]
        got = gradient(name, wrt, *(pool if k == i else pool[chosen] for k, pool in enumerate(pools)))
        assert_close(got[0], exact, np.arange(n), f"{count} rows")
