"""The promise: the losses are good to 2 ULP, with every combination of their options.

The oracle is the definition, at 60 digits: -log p = log(1 + sum of the others' exp(z_k - z_j)), of a label of 0 or a
weight of 0 nothing. All terms are >= 0, so that errors count at the very result. Where there are few rows,
kullback.reference is held to the oracle, too.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import mpmath
import numpy as np
import numpy.typing as npt
import pytest

import kullback
from kullback import _core
from kullback.testing import BOUNDS, assert_matches_reference, ulp_error

Float: TypeAlias = type[np.float32] | type[np.float64]
Array: TypeAlias = npt.NDArray[Any]

mp = mpmath.MPContext()
mp.dps = 60

exp = functools.cache(mp.exp)
log = functools.cache(mp.log)
log1p = functools.cache(mp.log1p)

CATEGORICAL = ["categorical_cross_entropy", "categorical_cross_entropy_from_logits"]
BINARY = ["binary_cross_entropy", "binary_cross_entropy_from_logits"]

both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def test_every_loss_is_in_a_table() -> None:
    assert {name for name, kind in _core.kernels() if kind == "categorical"} == set(CATEGORICAL)
    assert {name for name, kind in _core.kernels() if kind == "binary"} == set(BINARY)


# The oracle


def exp_of(x: Any) -> Any:
    return exp(x) if x > -5000 else mp.zero  # there is no such float


def information_of_logits(z: list[float], counts: list[int] | None = None) -> list[Any]:
    """-log softmax(z), where the logit z[j] occurs counts[j] times."""
    counts = [1] * len(z) if counts is None else counts
    exact = [mp.mpf(x) for x in z]
    most = max(exact)
    winner = exact.index(most)
    mass = [(c - (j == winner)) * exp_of(x - most) for j, (c, x) in enumerate(zip(counts, exact, strict=True))]
    rest = mp.log1p(mp.fsum(mass))
    return [most - x + rest for x in exact]


def information_of_probability(q: float) -> Any:
    return -log(mp.mpf(q)) if q else mp.inf


def softplus(z: float) -> Any:
    return log1p(exp_of(-abs(mp.mpf(z)))) + max(mp.mpf(z), 0)


def informations(loss: str, row: list[float], counts: list[int] | None = None) -> list[Any]:
    if loss.endswith("logits"):
        return information_of_logits(row, counts)
    return [information_of_probability(q) for q in row]


def binary_informations(loss: str, x: float) -> tuple[Any, Any]:
    """Of the event, and of its opposite."""
    if loss.endswith("logits"):
        return softplus(-x), softplus(x)
    return information_of_probability(x), -log1p(-mp.mpf(x)) if x < 1 else mp.inf


def times(information: Any, *factors: Any) -> Any:
    return mp.zero if 0 in factors else mp.fprod([information, *factors])


def smoothed(y: float, smoothing: float, classes: int) -> Any:
    s = mp.mpf(smoothing)
    return (1 - s) * mp.mpf(y) + s / classes


class Result(NamedTuple):
    value: Any
    weight: Any  # in a mean


def reduced(results: list[Result], reduction: str | None, base: float | None) -> list[Any]:
    unit = mp.one if base is None else log(mp.mpf(base))
    values = [result.value / unit for result in results]
    if reduction is None:
        return values
    divisor = mp.fsum(result.weight for result in results) if reduction == "mean" else 1
    return [mp.fsum(values) / divisor if divisor else mp.nan]


# Thousands of generated calls


class Case(NamedTuple):
    """A call: the arguments as they are passed; and, row by row or element by element, what the oracle takes."""

    arguments: tuple[Array, Array]
    options: dict[str, Any]
    rows: list[tuple[Any, ...]]
    dtype: Float


KINDS = {
    "categorical": ["indices", "one-hot", "soft"],
    "binary": ["bool", "int", "soft"],
}
COMMON = {
    "weight": [None, "given", "some zero"],
    "label_smoothing": [0.0, 0.1, 1.0],
    "base": [None, 2],
    "dtype": [np.float32, np.float64],
}
CATEGORICAL_CHOICES = {
    **COMMON,
    "sample_weight": [None, "given"],
    "ignore_index": [None, "in range", -100],
    "axis": ["last", "first", "middle"],
}
BINARY_CHOICES = {
    **COMMON,
    "pos_weight": [None, "given", "some zero"],
    "layout": ["contiguous", "strided", "broadcast"],
}


def choices(loss: str, kind: str) -> list[dict[str, Any]]:
    """Every combination of options."""
    table = dict(CATEGORICAL_CHOICES if loss in CATEGORICAL else BINARY_CHOICES)
    if loss in CATEGORICAL and kind != "indices":
        table["ignore_index"] = [None]
    return [dict(zip(table, values, strict=True)) for values in itertools.product(*table.values())]


def some_logits(rng: np.random.Generator, shape: tuple[int, ...], dtype: Float) -> Array:
    single = dtype is np.float32
    scale = rng.choice([1.0, 10.0, 100.0])
    z = rng.normal(0, scale, shape)
    match rng.integers(6):
        case 0:  # a class or two far before the others
            z = np.where(rng.random(shape) < 0.3, z / scale, z / scale - rng.choice([20, 40, 90 if single else 720]))
        case 1:  # impossible classes
            z = np.where(rng.random(shape) < 0.3, -np.inf, z)
            z[..., 0] = np.where(np.isinf(z).all(-1), 1.0, z[..., 0])
        case 2:  # ties
            z = np.round(z / scale)
        case 3:
            z = z * 10 ** rng.uniform(-30, 30)
    return z.astype(dtype)


def some_probabilities(rng: np.random.Generator, shape: tuple[int, ...], dtype: Float) -> Array:
    info = np.finfo(dtype)
    q = rng.random(shape)
    match rng.integers(5):
        case 0:  # near 1 and near 0
            q = np.where(q < 0.5, 1 - info.eps * rng.integers(0, 50, shape), info.eps * q)
        case 1:
            q = 10 ** rng.uniform(np.log10(float(info.smallest_subnormal)), 0, shape)
        case 2:
            q = np.where(rng.random(shape) < 0.3, rng.choice([0.0, 1.0]), q)
    return np.minimum(q.astype(dtype), dtype(1))


def some_weights(rng: np.random.Generator, what: str | None, shape: tuple[int, ...], dtype: Float) -> Array | None:
    if what is None:
        return None
    w = rng.uniform(0.1, 3, shape) * 10.0 ** rng.choice([0, 0, 8, -8])
    return np.where((rng.random(shape) < 0.5) & (what == "some zero"), 0, w).astype(dtype)


def some_soft_labels(rng: np.random.Generator, shape: tuple[int, ...], dtype: Float) -> Array:
    y = rng.dirichlet(np.ones(shape[-1]), shape[:-1])
    match rng.integers(4):
        case 0:
            y = np.where(rng.random(shape) < 0.4, 0.0, y)
        case 1:  # tiny, huge
            y = y * 10 ** rng.uniform(-30, 30, shape)
    return y.astype(dtype)


def categorical_case(loss: str, kind: str, choice: dict[str, Any], reduction: str | None, seed: int) -> Case:
    rng = np.random.default_rng(seed)
    dtype, smoothing = choice["dtype"], choice["label_smoothing"]
    classes = int(rng.integers(1, 13))
    outer = {"last": (3,), "first": (3,), "middle": (2, 2)}[choice["axis"]]
    axis = {"last": -1, "first": 0, "middle": 1}[choice["axis"]]
    predictions = (some_logits if loss.endswith("logits") else some_probabilities)(rng, (*outer, classes), dtype)

    labels: Array = rng.integers(0, classes, outer)
    ignored = choice["ignore_index"]
    if ignored == "in range":
        ignored = int(rng.integers(classes))
    if ignored is not None:
        labels = np.where(rng.random(outer) < 0.4, ignored, labels)
    if kind == "soft":
        y = some_soft_labels(rng, (*outer, classes), dtype)
    else:
        y = (labels[..., None] == np.arange(classes)).astype(dtype)
    if kind != "indices":
        labels = np.moveaxis(y, -1, axis)
    weight = some_weights(rng, choice["weight"], (classes,), dtype)
    sample_weight = some_weights(rng, choice["sample_weight"], outer, dtype)
    options = {
        "axis": axis,
        "weight": weight,
        "sample_weight": sample_weight,
        "ignore_index": ignored,
        "label_smoothing": smoothing,
        "base": choice["base"],
        "reduction": reduction,
    }
    w = [1.0] * classes if weight is None else weight.tolist()
    rows = []
    for at in np.ndindex(outer):
        out = kind == "indices" and labels[at] == ignored
        v = 1.0 if sample_weight is None else float(sample_weight[at])
        # What the reference takes as label, and what the oracle does.
        label = int(labels[at]) if kind == "indices" else y[at].tolist()
        rows.append((label, predictions[at].tolist(), y[at].tolist(), w, v, out, weight is not None))
    return Case((labels, np.moveaxis(predictions, -1, axis)), options, rows, dtype)


def exact_categorical(loss: str, case: Case) -> Iterator[Result]:
    smoothing = case.options["label_smoothing"]
    for _, row, y, w, v, ignored, weighted in case.rows:
        if ignored:
            yield Result(mp.zero, 0)
            continue
        each = zip(informations(loss, row), w, y, strict=True)
        terms = [times(i, mp.mpf(v), mp.mpf(a), smoothed(b, smoothing, len(row))) for i, a, b in each]
        mass = mp.fsum(mp.mpf(a) * mp.mpf(b) for a, b in zip(w, y, strict=True)) if weighted else 1
        yield Result(mp.fsum(terms), v * mass)


def categorical_reference(loss: str, case: Case) -> Any:
    options = {key: x for key, x in case.options.items() if key not in ("axis", "weight", "sample_weight")}
    labels, rows, _, w, v, _, weighted = zip(*case.rows, strict=True)
    return getattr(kullback.reference, loss)(
        list(labels), list(rows), weight=w[0] if weighted[0] else None, sample_weight=list(v), math=mp, **options
    )


def binary_case(loss: str, kind: str, choice: dict[str, Any], reduction: str | None, seed: int) -> Case:
    rng = np.random.default_rng(seed)
    dtype = choice["dtype"]
    shape = (3, int(rng.integers(1, 4)))
    x = (some_logits if loss.endswith("logits") else some_probabilities)(rng, shape, dtype)
    y = some_probabilities(rng, shape, dtype) if kind == "soft" else rng.random(shape) < 0.5
    labels = y.astype(np.uint8) if kind == "int" else y
    weights = {key: some_weights(rng, choice[key], shape, dtype) for key in ("weight", "pos_weight")}
    if choice["layout"] == "broadcast":
        labels = labels[:, :1]
        weights = {key: w if w is None else w[0] for key, w in weights.items()}
    if choice["layout"] == "strided":
        labels, x = np.asfortranarray(labels), np.repeat(x, 2, axis=1)[::-1, ::2]
    options = {
        **weights,
        "label_smoothing": choice["label_smoothing"],
        "base": choice["base"],
        "reduction": reduction,
    }
    given = [np.ones(1, dtype) if w is None else w for w in weights.values()]
    columns = np.broadcast_arrays(labels, x, *given)
    elements = zip(*(column.ravel().astype(float).tolist() for column in columns), strict=True)
    # A loss of integers and bools has the dtype of its predictions only if those are float64.
    return Case((labels, x), options, list(elements), dtype if kind == "soft" else np.float64)


def exact_binary(loss: str, case: Case) -> Iterator[Result]:
    s = case.options["label_smoothing"]
    for y, x, w, v in case.rows:
        happened, not_happened = binary_informations(loss, x)
        hit, miss = smoothed(y, s, 2), smoothed(1 - mp.mpf(y), s, 2)
        value = times(happened, mp.mpf(w), mp.mpf(v), hit) + times(not_happened, mp.mpf(w), miss)
        yield Result(value, w)


def binary_reference(loss: str, case: Case) -> Any:
    options = {key: x for key, x in case.options.items() if key not in ("weight", "pos_weight")}
    labels, x, weight, pos_weight = (list(column) for column in zip(*case.rows, strict=True))
    return getattr(kullback.reference, loss)(labels, x, weight=weight, pos_weight=pos_weight, math=mp, **options)


MAKE: dict[str, tuple[Callable[..., Case], Callable[..., Iterator[Result]], Callable[..., Any]]] = {
    **dict.fromkeys(CATEGORICAL, (categorical_case, exact_categorical, categorical_reference)),
    **dict.fromkeys(BINARY, (binary_case, exact_binary, binary_reference)),
}
REDUCTIONS = [None, "sum", "mean"]
CALLS = [
    (loss, kind, reduction)
    for loss in (*CATEGORICAL, *BINARY)
    for kind in KINDS["categorical" if loss in CATEGORICAL else "binary"]
    for reduction in REDUCTIONS
]


@pytest.mark.parametrize("loss", [*CATEGORICAL, *BINARY])
def test_there_are_thousands_of_cases(loss: str) -> None:
    assert sum(len(choices(loss, kind)) for name, kind, _ in CALLS if name == loss) >= 2000


def within(a: Any, b: Any, relative: float) -> bool:
    return bool(a == b or (a != a and b != b) or abs(a - b) <= relative * abs(b))


@pytest.mark.parametrize(("loss", "kind", "reduction"), CALLS)
def test_every_combination_of_options(loss: str, kind: str, reduction: str | None) -> None:
    make, oracle, reference = MAKE[loss]
    first = 10_000 * CALLS.index((loss, kind, reduction))
    for seed, choice in enumerate(choices(loss, kind), start=first):
        case = make(loss, kind, choice, reduction, seed)
        exact = reduced(list(oracle(loss, case)), reduction, choice["base"])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            got = np.asarray(getattr(kullback, loss)(*case.arguments, **case.options))
        what = f"seed {seed}, {choice}, {case}"
        assert got.dtype == case.dtype, what
        assert got.size == len(exact), what
        assert bool(caught) == (reduction == "mean" and exact[0] != exact[0]), what  # of nothing
        errors = ulp_error(got.ravel(), exact)
        assert errors.max() <= BOUNDS["row"], f"{errors.max():.4g} ULP of {got}, expected {exact}: {what}"
        textbook = reference(loss, case)
        textbook = textbook if isinstance(textbook, list) else [textbook]
        for a, b in zip(textbook, exact, strict=True):
            assert within(a, b, 1e-40), f"reference {a}, expected {b}: {what}"


# Factors whose product, or whose product with some of the others, is no normal float64; the loss is one

EXTREMES: list[tuple[str, tuple[Any, Any], dict[str, Any]]] = [
    ("binary_cross_entropy", ([1e-310], [0.3]), {"weight": [1e300]}),
    ("binary_cross_entropy", ([1.0], [0.3]), {"weight": [1e300], "pos_weight": [1e-310]}),
    ("binary_cross_entropy", ([1.0], [0.3]), {"weight": [1e-310], "pos_weight": [1e300]}),
    ("binary_cross_entropy_from_logits", ([1e-310], [-30.0]), {"weight": [1e300]}),
    ("categorical_cross_entropy", ([0], [[0.3, 0.7]]), {"weight": [1e-310, 1], "sample_weight": [1e300]}),
    ("categorical_cross_entropy", ([0], [[0.3, 0.7]]), {"weight": [1e300, 1], "sample_weight": [1e-310]}),
    ("categorical_cross_entropy", ([[1e-310, 0]], [[0.3, 0.7]]), {"sample_weight": [1e300]}),
    ("categorical_cross_entropy", ([[1e-200, 0]], [[0.3, 0.7]]), {"weight": [1e-200, 1], "sample_weight": [1e300]}),
    ("categorical_cross_entropy", ([[1e-200, 0]], [[0.0, 0.7]]), {"weight": [1e-200, 1]}),
    ("categorical_cross_entropy_from_logits", ([[1e-200, 0]], [[-np.inf, 0.7]]), {"weight": [1e-200, 1]}),
    ("categorical_cross_entropy_from_logits", ([[1e-310, 0]], [[0, 0.7]]), {"sample_weight": [1e300]}),
    ("categorical_cross_entropy_from_logits", ([[0, 1.0]], [[-745.0, 0]]), {"weight": [1e300, 1e300]}),
    ("categorical_cross_entropy_from_logits", ([[0, 1.0]], [[-745.0, 0]]), {"weight": [1e130, 1e130]}),
    ("categorical_cross_entropy_from_logits", ([1], [[-745.0, 0]]), {"weight": [1e300, 1e300]}),
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("loss", "arguments", "options"), [pytest.param(*case, id=f"{case[0]}{case[1]}{case[2]}") for case in EXTREMES]
)
def test_factors_of_extreme_magnitudes(
    loss: str, arguments: tuple[Any, Any], options: dict[str, Any], reduction: str | None
) -> None:
    if reduction == "mean" and options.get("weight", [1])[0] == 1e-200:
        # What the weights add up to, 1e-400, is no float64 that could divide.
        with pytest.warns(RuntimeWarning, match="mean of nothing"):
            assert np.isnan(getattr(kullback, loss)(*arguments, reduction=reduction, **options))
        return
    assert_matches_reference(loss, *arguments, reduction=reduction, **options)


# Long rows


POOL, BLOCK = 65, 4096
LENGTHS = [*range(1, 18), 33, POOL, BLOCK, BLOCK + 1, 3 * BLOCK + 1, 10**6]


def regimes(dtype: Float) -> dict[str, Array]:
    """Pools of logits. What comes first is met but once in rows longer than the pool."""
    info = np.finfo(dtype)
    rng = np.random.default_rng(5)
    single = dtype is np.float32

    def confident(gap: float) -> Array:
        return np.where(np.arange(POOL) == 0, 0.0, -gap - rng.uniform(0, 3, POOL))

    noise = rng.normal(0, 1, POOL)
    return {
        name: z.astype(dtype)
        for name, z in {
            "uniform noise": rng.uniform(-1, 1, POOL),
            **{f"gaussian, {scale}": scale * rng.normal(0, 1, POOL) for scale in (1, 10, 100)},
            "winner by 20": confident(20),
            "winner by 40": confident(40),
            "winner by 100": confident(100),
            "winner by all there is": confident(100 if single else 740),
            "one ULP apart": 7.3 * (1 + rng.integers(-1, 2, POOL) * float(info.eps)),
            "ties of the maximum": np.round(noise),
            "masked": np.where((noise < 0) & (np.arange(POOL) > 0), -np.inf, noise),
            "largest gaps": rng.choice([-1, 1], POOL) * float(info.max) / 64,
        }.items()
    }


REGIMES = {dtype: regimes(dtype) for dtype in (np.float32, np.float64)}
every_regime = pytest.mark.parametrize("regime", REGIMES[np.float64])


def rows_of_pool(n: int) -> npt.NDArray[np.intp]:
    """For a row of length n, which of the pool each class is."""
    size = min(n, POOL)
    more = np.random.default_rng(n).integers(size // 2, size, n - size)
    return np.roll(np.concatenate([np.arange(size), more]), n // 3)


def assert_close(got: Any, exact: list[Any], what: str) -> None:
    errors = ulp_error(np.atleast_1d(got), exact)
    worst = int(np.argmax(errors))
    assert errors[worst] <= BOUNDS["row"], (
        f"{errors[worst]:.4g} ULP at {worst} of {what}: {got}, expected {exact[worst]}"
    )


def predictions_of(loss: str, z: Array) -> Array:
    """The logits, or the probabilities, unnormalised and at most 1, which is what they are to one another."""
    return z if loss.endswith("logits") else kullback.softmax(z)


@both_types
@every_regime
@pytest.mark.parametrize("loss", CATEGORICAL)
def test_long_rows_with_class_indices(loss: str, regime: str, dtype: Float) -> None:
    for n in LENGTHS:
        index = rows_of_pool(n)
        z = REGIMES[dtype][regime][index]
        row = predictions_of(loss, z)
        positions = np.empty(min(n, POOL), np.intp)
        positions[index] = np.arange(n)
        information = informations(loss, row[positions].tolist(), np.bincount(index).tolist())
        weights = np.random.default_rng(n).uniform(0, 2, positions.size).astype(dtype)
        spread = mp.fsum(
            times(i, c * mp.mpf(w))
            for i, c, w in zip(information, np.bincount(index).tolist(), weights.tolist(), strict=True)
        )
        for k in {0, positions.size // 2, positions.size - 1}:
            label = positions[k]
            assert_close(getattr(kullback, loss)(label, row), [information[k]], f"label {label}, length {n}")
            s = mp.mpf(0.1)
            exact = times(information[k], (1 - s) * mp.mpf(float(weights[k]))) + spread * s / n
            got = getattr(kullback, loss)(label, row, weight=weights[index], label_smoothing=0.1)
            assert_close(got, [exact], f"label {label}, length {n}, weights and smoothing")


def soft_labels(dtype: Float) -> dict[str, Array]:
    rng = np.random.default_rng(9)
    y = rng.dirichlet(np.ones(POOL))
    least = float(np.finfo(dtype).smallest_subnormal)
    tiny = 10 ** rng.uniform(-44 if dtype is np.float32 else -322, 0, POOL)
    return {
        name: x.astype(dtype)
        for name, x in {
            "dirichlet": y,
            "one-hot": (np.arange(POOL) == 1).astype(float),
            "one-hot at the winner": (np.arange(POOL) == 0).astype(float),
            "tiny": np.maximum(tiny, least),
            "huge": y * 1e30,
            "sparse": np.where(y > np.median(y), y, 0),
        }.items()
    }


SOFT = {dtype: soft_labels(dtype) for dtype in (np.float32, np.float64)}


@both_types
@every_regime
@pytest.mark.parametrize("loss", CATEGORICAL)
def test_long_rows_with_soft_labels(loss: str, regime: str, dtype: Float) -> None:
    for n in (1, 2, 7, 8, 17, POOL, BLOCK + 1, 3 * BLOCK + 1, 10**6):
        index = rows_of_pool(n)
        size = min(n, POOL)
        row = predictions_of(loss, REGIMES[dtype][regime][index])
        positions = np.empty(size, np.intp)
        positions[index] = np.arange(n)
        counts = np.bincount(index).tolist()
        information = informations(loss, row[positions].tolist(), counts)
        weights = np.random.default_rng(n).uniform(0, 2, size).astype(dtype)
        for kind, y in SOFT[dtype].items():
            for w, s in ((None, 0.0), (weights, 0.1)) if n < 10**6 or kind == "dirichlet" else ((None, 0.0),):
                factors = [1.0] * size if w is None else w.tolist()
                exact = mp.fsum(
                    times(i, c * mp.mpf(a), smoothed(b, s, n))
                    for i, c, a, b in zip(information, counts, factors, y[:size].tolist(), strict=True)
                )
                weight = None if w is None else w[index]
                got = getattr(kullback, loss)(y[index], row, weight=weight, label_smoothing=s)
                assert_close(got, [exact], f"{kind} labels, length {n}, smoothing {s}")


# Sums of many rows


@both_types
@pytest.mark.parametrize("which", ["all", "one in ten thousand at a loss", "one and the same"])
@pytest.mark.parametrize("gap", [1, 30, 700])
@pytest.mark.parametrize("loss", CATEGORICAL)
def test_sums_of_many_rows(loss: str, gap: float, which: str, dtype: Float) -> None:
    """Losses that differ by many powers of ten, and sums of nothing but tiny ones."""
    n, classes, size = 100_000, 5, 40
    rng = np.random.default_rng(13)
    gap = min(gap, 95) if dtype is np.float32 else gap
    pool = -rng.uniform(gap, gap + 5, (size, classes)).astype(dtype)
    pool[:, 0] = 0
    pool = predictions_of(loss, pool)
    weight = rng.uniform(0.5, 2, classes).astype(dtype)
    chosen, labels = rng.integers(0, size, n), rng.integers(0, classes, n)
    if which != "all":
        labels[rng.random(n) < (0.9999 if which.startswith("one in") else 1.1)] = 0
    if which == "one and the same":
        chosen[:] = 7
    information = [informations(loss, row) for row in pool.tolist()]
    counts = Counter(zip(chosen.tolist(), labels.tolist(), strict=True))
    compute = functools.partial(getattr(kullback, loss), labels, pool[chosen])

    total = mp.fsum(c * information[k][label] for (k, label), c in counts.items())
    assert_close(compute(reduction="sum"), [total], "the sum")
    assert_close(compute(reduction="mean"), [total / n], "the mean")
    w = [mp.mpf(x) for x in weight.tolist()]
    total = mp.fsum(c * times(information[k][label], w[label]) for (k, label), c in counts.items())
    mass = mp.fsum(c * w[label] for (_, label), c in counts.items())
    assert_close(compute(reduction="mean", weight=weight), [total / mass], "the weighted mean")


@both_types
@pytest.mark.parametrize("kind", ["confident", "of all kinds", "all wrong"])
@pytest.mark.parametrize("loss", BINARY)
def test_sums_of_many_elements(loss: str, kind: str, dtype: Float) -> None:
    size = 100
    rng = np.random.default_rng(17)
    y = rng.integers(0, 2, size)
    far = rng.uniform(60, 85 if dtype is np.float32 else 700, size)
    z = np.where(y == (kind == "confident"), far, -far) if kind != "of all kinds" else rng.normal(0, 30, size)
    x = z.astype(dtype) if loss.endswith("logits") else kullback.sigmoid(z.astype(dtype))
    y = y.astype(dtype)
    weight = rng.uniform(0.5, 2, size).astype(dtype)
    each = [binary_informations(loss, a)[int(b == 0)] for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    w = [mp.mpf(a) for a in weight.tolist()]
    for n in (1, 5, 8, 17, 4097, 10**6):
        index = np.random.default_rng(n).integers(0, size, n)
        counts = np.bincount(index, minlength=size).tolist()
        compute = functools.partial(getattr(kullback, loss), y[index], x[index])
        total = mp.fsum(times(i, c) for c, i in zip(counts, each, strict=True))
        assert_close(compute(reduction="sum"), [total], f"the sum of {n}")
        assert_close(compute(reduction="mean"), [total / n], f"the mean of {n}")
        total = mp.fsum(times(i, c, a) for c, i, a in zip(counts, each, w, strict=True))
        mass = mp.fsum(c * a for c, a in zip(counts, w, strict=True))
        assert_close(compute(reduction="mean", weight=weight[index]), [total / mass], f"the weighted mean of {n}")


# Elements of the binary losses, and layouts


@both_types
@pytest.mark.parametrize("loss", BINARY)
def test_elements(loss: str, dtype: Float) -> None:
    info = np.finfo(dtype)
    integer = np.uint32 if dtype is np.float32 else np.uint64
    n = 400
    rng = np.random.default_rng(19)
    last = int(np.array(np.inf if loss.endswith("logits") else 1, dtype).view(integer))
    x = rng.integers(1, last, n).astype(integer).view(dtype)
    if loss.endswith("logits"):
        edge = -np.log(float(info.smallest_subnormal))
        x = np.concatenate([x, rng.uniform(0, edge + 2, n).astype(dtype)]) * rng.choice([-1, 1], 2 * n).astype(dtype)
    else:
        x = np.concatenate([x, rng.random(n).astype(dtype), 1 - info.eps * rng.integers(0, 99, n).astype(dtype)])
    for y in (0.0, 1.0, 0.5, 0.1, float(info.eps), 1 - float(info.eps), float(info.smallest_subnormal)):
        label = dtype(y)
        each = [binary_informations(loss, a) for a in x.tolist()]
        hit, miss = mp.mpf(float(label)), 1 - mp.mpf(float(label))
        exact = [times(a, hit) + times(b, miss) for a, b in each]
        assert_close(getattr(kullback, loss)(label, x), exact, f"label {label}")


@both_types
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("loss", CATEGORICAL)
def test_layouts(loss: str, axis: int, dtype: Float) -> None:
    rng = np.random.default_rng(23)
    whole = rng.dirichlet(np.ones(14), (4, 6)).astype(dtype)
    for q in (whole, whole.transpose(2, 1, 0), whole[::-1, ::2, ::-3], np.broadcast_to(whole[:, :1], whole.shape)):
        x = predictions_of(loss, 30 * q) if loss.endswith("logits") else q
        labels = q.argmin(axis)
        soft = q[::-1]
        for reduction in (None, "mean"):
            assert_matches_reference(loss, labels, x, axis=axis, reduction=reduction)
            assert_matches_reference(loss, soft, x, axis=axis, reduction=reduction, label_smoothing=0.1)


@both_types
@pytest.mark.parametrize("n", [2, 9, 70])
def test_soft_labels_of_confident_predictions(dtype: Float, n: int) -> None:
    # Nothing of a small loss is lost beside logits and labels that are large, in rows and columns.
    rng = np.random.default_rng(n)
    z = (rng.uniform(-25, -15, (40, n)) + 40).astype(dtype)
    y = rng.uniform(0, 1e-9, (40, n)).astype(dtype)
    winners = np.arange(40), rng.integers(0, n, 40)
    z[winners], y[winners] = 40, rng.choice([1, 0.5, 3], 40)
    loss = kullback.categorical_cross_entropy_from_logits
    got = loss(y, z)
    np.testing.assert_array_equal(got, loss(y.T.copy(), z.T.copy(), axis=0))
    for result, labels, row in zip(got, y.tolist(), z.tolist(), strict=True):
        terms = [mp.mpf(label) * x for label, x in zip(labels, information_of_logits(row), strict=True)]
        assert ulp_error(result, mp.fsum(terms)) <= 2
