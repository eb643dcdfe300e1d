"""The promise: gradients have the same bits on every target, for any number of threads, in any layout."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import kullback as kb
from kullback import runtime

THREADS = [1, 2, 3, 8]

# Every length of a tail, both sides of one block and of two, and rows long enough to be shared between threads.
LENGTHS = [*range(1, 71), 4095, 4096, 4097, 8191, 8193, 300_001]
# (rows, length): work that three threads or eight are woken for, as the shortest rows, short ones, rows of a block and
# a bit, and few long ones.
PARALLEL_SHAPES = [(90_000, 3), (9_100, 29), (65, 4_097), (2, 140_001)]
# (rows, length): more rows than fit into the buffer of a thread that gathers them, and work for one thread only.
GATHERED_SHAPES = [(2_000, 1), (1_000, 17), (450, 70), (66, 1_100), (18, 4_097), (5, 8_193)]

Results = tuple[np.ndarray, ...]
Call = Callable[..., Results]


def plain(function: Call, arrays: list[np.ndarray], **options: Any) -> Results:
    """What every other way of computing has to equal: one thread, the first target, contiguous rows."""
    with runtime.threads(1), runtime.target(runtime.info()["targets"][0]):
        return function(*(np.asarray(a, order="C") for a in arrays), **options)


@pytest.fixture(scope="session")
def all_same(same_bits: Callable[[Any, Any], bool]) -> Callable[[Results, Results], bool]:
    return lambda got, want: len(got) == len(want) and all(map(same_bits, got, want))


def unaligned(a: np.ndarray) -> np.ndarray:
    view = np.empty(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def strided(a: np.ndarray, axis: int, step: int) -> np.ndarray:
    shape = list(a.shape)
    shape[axis] *= abs(step)
    index = [slice(None)] * a.ndim
    index[axis] = slice(None, None, step)
    between = np.nan if a.dtype.kind == "f" else np.iinfo(a.dtype).max
    view = np.full(shape, between, a.dtype)[tuple(index)]
    view[...] = a
    return view


def layouts(a: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Views with the values of `a`, each laid out differently in memory."""
    yield "C", a.copy(order="C")
    for axes in itertools.permutations(range(a.ndim)):
        yield f"transposed {axes}", a.transpose(axes).copy().transpose(np.argsort(axes))
    for axis, step in itertools.product(range(a.ndim), [2, -1, -3]):
        yield f"step {step} along axis {axis}", strided(a, axis, step)
    if a.ndim > 1:
        yield "negative strides", a[::-1, ..., ::-1].copy()[::-1, ..., ::-1]
        yield "rows apart", strided(strided(a, -1, 2), 0, 3)
    yield "unaligned", unaligned(a)
    yield "unaligned Fortran", unaligned(a.T).T
    yield "byte-swapped", a.astype(a.dtype.newbyteorder())
    yield "byte-swapped Fortran", a.astype(a.dtype.newbyteorder(), order="F")


def arrangements(arrays: list[np.ndarray]) -> Iterator[tuple[str, list[np.ndarray]]]:
    """The layouts of one array; of two, those of the first, of the second and of both."""
    for i, a in enumerate(arrays):
        for name, view in layouts(a):
            yield f"{name}, argument {i}", [*arrays[:i], view, *arrays[i + 1 :]]
    if len({a.ndim for a in arrays}) == 1 < len(arrays):
        for each in zip(*(layouts(a) for a in arrays), strict=True):
            yield f"{each[0][0]}, both", [view for _, view in each]


def drowned_rows(measure: Any, count: int, length: int) -> list[np.ndarray]:
    """Rows of such certainty that all gradients but one, or all, lie next to 0, down to subnormal numbers."""
    rng = np.random.default_rng(length)
    winner = np.arange(length) == rng.integers(0, length, (count, 1))
    arrays = []
    for numbers in measure.numbers:
        a = rng.random((count, length))
        if numbers == "classes":
            a = winner.argmax(-1)
        elif numbers == "logits":
            a[1::2] -= 655 + 20 * rng.random((count, length))[1::2]
            a[3::4] -= 60  # subnormal exponentials
            a[winner & (np.arange(count)[:, None] % 2 == 1)] = 0
        elif measure.of_logits:  # labels: sure of the winner
            a = winner.astype(float)
        else:
            a[1::2] *= 2.0**-1000
            a[3::4] *= 2.0**-60  # subnormal numbers
        arrays.append(a)
    return arrays


@pytest.fixture(params=["float32", "drowned"])
def rows(request):
    """Makes rows: ordinary ones in float32, or ordinary and hard ones in float64."""

    def make(measure: Any, shape: tuple[int, int]) -> list[np.ndarray]:
        return drowned_rows(measure, *shape) if request.param == "drowned" else measure.arrays(request.param, shape)

    return make


def of_rows(gradient: Any) -> bool:
    return gradient.measure.by_rows


def test_lengths(gradient, rows, target, all_same):
    for n in LENGTHS if of_rows(gradient) else [1, 2, 7, 8, 9, 15, 16, 17, 70, 4097, 300_001]:
        arrays = rows(gradient.measure, (9 if n <= 70 else 3 if n < 300_000 else 1, n))
        with runtime.target(target), runtime.threads(1):
            assert all_same(gradient(*arrays), plain(gradient, arrays)), f"{n} elements"


def test_a_row_alone_and_among_others(gradient, rows, all_same):
    for n in LENGTHS:
        arrays = rows(gradient.measure, (7 if n < 300_000 else 2, n))
        many = gradient(*arrays)
        for i, row in enumerate(zip(*arrays, strict=True)):
            one = tuple(x[i] for x in many)
            assert all_same(gradient(*row), one), f"row {i} of {n} elements"
            again = gradient(*(a[None] for a in row))
            assert all_same(tuple(x[0] for x in again), one), f"row {i} of {n} elements"


def ways(arrays: list[np.ndarray]) -> list[tuple[str, list[np.ndarray]]]:
    """Rows side by side in memory, columns, and rows that have to be copied."""
    return [
        ("C", arrays),
        ("Fortran", [np.asfortranarray(a) for a in arrays]),
        ("step -2, byte-swapped", [strided(a.astype(a.dtype.newbyteorder()), -1, -2) for a in arrays]),
    ]


def assert_same_everywhere(function: Call, arrays: list[np.ndarray], all_same: Any, first: int = 0) -> None:
    """Every number of threads, every target and every layout: each layout with another of the others, by `first`."""
    want = plain(function, arrays)
    fastest, *others = runtime.info()["targets"]
    settings = [*((fastest, n) for n in THREADS), *((target, 8) for target in others)]
    layouts_in_turn = itertools.islice(itertools.cycle(ways(arrays)), first, None)
    for (target, n), (name, views) in zip(settings, layouts_in_turn, strict=False):
        with runtime.target(target), runtime.threads(n):
            assert all_same(function(*views), want), f"{name}, {target}, {n} threads"


@pytest.mark.parametrize("shape", PARALLEL_SHAPES, ids=str)
def test_threads_targets_and_layouts(gradient, rows, shape, all_same):
    if gradient.way.get("wrt") != "both" and (of_rows(gradient) or shape == PARALLEL_SHAPES[1]):
        assert_same_everywhere(gradient, rows(gradient.measure, shape), all_same, PARALLEL_SHAPES.index(shape))


@pytest.mark.parametrize("threads", [5, 8])
def test_many_threads(gradient, threads, all_same):
    arrays = gradient.measure.arrays("f4", (2, 263_001))
    with runtime.threads(threads):
        assert all_same(gradient(*arrays), plain(gradient, arrays))


def values_too(gradient: Any) -> Call:
    def both(*arrays: Any, **options: Any) -> Results:
        value, result = getattr(kb.value_and_grad, gradient.measure.name)(*arrays, **gradient.way, **options)
        return np.asarray(value), *(result if isinstance(result, tuple) else (result,))

    return both


@pytest.mark.parametrize("shape", [(65, 4_097)], ids=str)
def test_values_too(gradient, dtype, shape, all_same):
    if "hessian" not in gradient.way:
        assert_same_everywhere(values_too(gradient), gradient.measure.arrays(dtype, shape), all_same)


@pytest.mark.parametrize("shape", [*GATHERED_SHAPES, (3, 5, 67)], ids=str)
def test_layouts(gradient, dtype, shape, all_same):
    arrays = gradient.measure.arrays(dtype, shape)
    want = plain(gradient, arrays)
    for name, views in arrangements(arrays):
        assert all_same(gradient(*views), want), name


def test_layouts_of_short_rows(gradient, dtype, all_same):
    for n in [*range(1, 18), 31, 32, 33, 63, 65]:
        arrays = gradient.measure.arrays(dtype, (9, n), seed=n)
        want = plain(gradient, arrays)
        for name, views in ways(arrays):
            assert all_same(gradient(*views), want), f"{n} elements, {name}"


@pytest.mark.parametrize("shape", [(6, 7, 67), (3, 4_099, 22)], ids=str)
@pytest.mark.parametrize("axis", [0, 1, -2, (0, 1), (2, 0), None], ids=str)
def test_axes(gradient, dtype, axis, shape, all_same):
    measure = gradient.measure
    if not of_rows(gradient) or not (measure.reduces or isinstance(axis, int)):
        return
    inner = sorted(range(3) if axis is None else np.atleast_1d(axis) % 3)
    outer = [d for d in range(3) if d not in inner]
    back = np.argsort(outer + inner)
    flat = measure.arrays(dtype, (*(shape[d] for d in outer), int(np.prod([shape[d] for d in inner]))))

    def unfolded(a: np.ndarray) -> np.ndarray:
        return a.reshape([shape[d] for d in outer + inner]).transpose(back)

    moved = [unfolded(a).copy() if i in measure.reals else a for i, a in enumerate(flat)]
    want = tuple(map(unfolded, plain(gradient, flat)))
    for n in (1, 8):
        with runtime.threads(n):
            assert all_same(gradient(*moved, axis=axis), want), f"{n} threads"
    assert all_same(gradient(*(np.asfortranarray(a) for a in moved), axis=axis), want), "Fortran"


@pytest.mark.parametrize("base", [2, 10, 0.5, 1e-300])
def test_bases_and_grad_output(gradient, dtype, target, base, all_same):
    measure = gradient.measure
    arrays = measure.arrays(dtype, (5, 67))
    g = np.random.default_rng(1).normal(size=(5,) if measure.by_rows else (5, 67)).astype(dtype)
    options = {"grad_output": g, **({"base": base} if "base" in measure.options else {})}
    with runtime.target(target):
        assert all_same(gradient(*arrays, **options), plain(gradient, arrays, **options))


# Losses with options


def with_options(measure: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(1)
    shapes = {"weight": shape, "pos_weight": shape[-1:]}
    if measure.is_categorical:
        shapes = {"weight": shape[-1:], "sample_weight": shape[:-1]}
    weights = {name: rng.random(shape).astype(dtype) for name, shape in shapes.items()}
    yield {"label_smoothing": 0.1}
    yield {**weights, "label_smoothing": 0.1, "grad_output": 0.3}
    if measure.takes_classes:
        yield {"ignore_index": 0, "sample_weight": weights["sample_weight"]}


@pytest.mark.parametrize("shape", [(9_800, 27), (9, 4, 67)], ids=str)
@pytest.mark.parametrize("how", [None, "mean"])
def test_options_of_losses(gradient, dtype, shape, how, all_same):
    measure = gradient.measure
    if not measure.weights or gradient.way.get("wrt") == "both":
        return
    arrays = measure.arrays(dtype, shape)
    for options in with_options(measure, dtype, shape):
        assert_same_everywhere(functools.partial(gradient, **options, reduction=how), arrays, all_same)
        other = {key: np.asfortranarray(x) if isinstance(x, np.ndarray) else x for key, x in options.items()}
        want = plain(gradient, arrays, **options, reduction=how)
        assert all_same(gradient(*arrays, **other, reduction=how), want), f"options in Fortran order: {options}"


def test_options_that_change_nothing(gradient, dtype, all_same):
    measure = gradient.measure
    for shape in [(7,), (5, 67), (3, 5_000)] if measure.weights else []:
        arrays = measure.arrays(dtype, shape)
        want = gradient(*arrays)
        assert all_same(gradient(*arrays, weight=np.ones(shape[-1:], dtype)), want)
        assert all_same(gradient(*arrays, **{measure.weights[1]: np.ones((), dtype)}), want)
        assert all_same(gradient(*arrays, label_smoothing=0), want)
        if measure.takes_classes:
            assert all_same(gradient(*arrays, ignore_index=-100), want)


# Sums over what was broadcast: one row against many, one number of a row against all, and the other way round


@pytest.mark.parametrize(
    "shapes",
    [
        *([(1, 27), (9_800, 27)], [(9_800, 27), (1, 27)], [(3, 1), (3, 4_097)], [(3, 1, 9), (3, 500, 9)]),
        *([(1, 1), (40, 70)], [(1, 140_001), (2, 1)], [(5, 1, 67), (1, 40, 67)]),
    ],
    ids=str,
)
def test_broadcasting(gradient, dtype, shapes, all_same):
    measure = gradient.measure
    if len(measure.reals) < 2 or gradient.way.get("wrt") == "both":
        return
    rng = np.random.default_rng(1)
    arrays = [rng.uniform(0.1, 0.9, shape).astype(dtype) for shape in shapes]  # few sums are finite otherwise
    assert_same_everywhere(gradient, arrays, all_same)
    want = plain(gradient, arrays)
    full = gradient(*(a.copy() for a in np.broadcast_arrays(*arrays)))
    for i, got, each in zip(gradient.places, want, full, strict=True):
        axes = tuple(d for d, n in enumerate(arrays[i].shape) if n == 1)
        total = each.astype(np.longdouble).sum(axes, keepdims=True)
        magnitude = abs(each.astype(np.longdouble)).sum(axes, keepdims=True)
        assert (abs(got - total) <= 2 * np.finfo(dtype).eps * magnitude).all()
