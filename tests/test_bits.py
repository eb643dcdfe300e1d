"""The promise: the same values give the same bits, on every target, for any number of threads, in any layout.

``python tests/test_bits.py --write-golden`` rewrites golden.json, for a version whose changelog says "bits
changed: yes".
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import itertools
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kullback
from kullback import _core, runtime

GOLDEN = Path(__file__).with_name("golden.json")
THREADS = [1, 2, 3, 8]

# Every length of a tail, both sides of one block and of two, and rows long enough to be shared between threads.
LENGTHS = [*range(1, 71), 4095, 4096, 4097, 8191, 8193, 300_001]
# (rows, length): work that three threads or eight are woken for, as the shortest rows, short ones, rows of a block and
# a bit, few long ones and a single one.
PARALLEL_SHAPES = [(90_000, 3), (9_000, 59), (65, 4_097), (2, 140_001), (1, 530_011)]
# (rows, length): more rows than fit into the buffer of a thread that gathers them, and work for one thread only.
GATHERED_SHAPES = [(4_000, 1), (2_000, 17), (450, 70), (67, 1_100), (10, 4_096), (19, 4_097), (9, 8_193)]

Call = Callable[..., Any]


def plain(function: Call, arrays: list[np.ndarray], **options: Any) -> np.ndarray:
    """What every other way of computing has to equal: one thread, the first target, contiguous rows."""
    with runtime.threads(1), runtime.target(runtime.info()["targets"][0]):
        return np.asarray(function(*(np.asarray(a, order="C") for a in arrays), **options))


def unaligned(a: np.ndarray) -> np.ndarray:
    memory = np.empty(a.nbytes + 1, np.uint8)[1:]
    view = memory.view(a.dtype).reshape(a.shape)
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


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


def layouts(a: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Views with the values of `a`, each laid out differently in memory."""
    yield "C", a.copy(order="C")
    yield "Fortran", a.copy(order="F")
    for axes in itertools.permutations(range(a.ndim)):
        yield f"transposed {axes}", a.transpose(axes).copy().transpose(np.argsort(axes))
    for axis, step in itertools.product(range(a.ndim), [2, 3, -1, -2]):
        yield f"step {step} along axis {axis}", strided(a, axis, step)
    if a.ndim > 1:
        yield "negative strides", a[::-1, ..., ::-1].copy()[::-1, ..., ::-1]
        yield "rows apart", strided(strided(a, -1, 2), 0, 3)
    yield "unaligned", unaligned(a)
    yield "unaligned Fortran", unaligned(a.T).T
    yield "byte-swapped", a.astype(a.dtype.newbyteorder())
    yield "byte-swapped Fortran", a.astype(a.dtype.newbyteorder(), order="F")
    yield "read-only", read_only(a)


def arrangements(arrays: list[np.ndarray]) -> Iterator[tuple[str, list[np.ndarray]]]:
    """The layouts of one array; of two, those of the first, of the second and of both."""
    for i, a in enumerate(arrays):
        for name, view in layouts(a):
            yield f"{name}, argument {i}", [*arrays[:i], view, *arrays[i + 1 :]]
    if len({a.ndim for a in arrays}) == 1 < len(arrays):
        for each in zip(*(layouts(a) for a in arrays), strict=True):
            yield f"{each[0][0]}, both", [view for _, view in each]


# Rows that try sums hardest: of probabilities and of logits.


def drowned_rows(measure: Any, count: int, length: int) -> list[np.ndarray]:
    """Rows whose float64 results lie below 2**-900, so that they are taken again, magnified, and rows that are not."""
    rng = np.random.default_rng(length)
    winner = np.arange(length) == rng.integers(0, length, (count, 1))
    arrays = []
    for numbers in measure.numbers:
        if numbers == "classes":
            arrays.append(winner.argmax(-1))
        elif numbers == "logits":
            a = rng.standard_normal((count, length))
            a[1::2] -= 655 + 20 * rng.random((count, length))[1::2]
            a[3::4] -= 60  # subnormal exponentials
            a[1::2][winner[1::2]] = 0
            arrays.append(a)
        elif measure.of_logits:  # labels: sure of the winner
            arrays.append(winner.astype(float))
        else:
            a = rng.random((count, length))
            a[1::2] *= 2.0**-1000  # normal numbers, subnormal terms
            a[3::4] *= 2.0**-60  # subnormal numbers
            arrays.append(a)
    if len({a.shape for a in arrays}) == 1:
        arrays[-1][5::6] = arrays[0][5::6]  # divergences of 0
    return arrays


def cancelling_rows(measure: Any, count: int, length: int) -> list[np.ndarray]:
    """Rows whose terms cancel to their rounding errors, so that another order of summation shows in the result."""
    rng = np.random.default_rng(length)
    if measure.of_logits:
        z = rng.standard_normal((count, length))
        z -= np.log(np.exp(z).sum(-1, keepdims=True))  # logsumexp near 0
        near = z * (1 + 2.0**-20 * rng.standard_normal(z.shape))
        first = rng.random((count, length)) if "labels" in measure.inputs else z
        values = {"classes": rng.integers(0, length, count), "probabilities": first, "logits": near}
        arrays = [values[numbers] for numbers in measure.numbers]
        return [first, *arrays[1:]] if measure.numbers[0] != "classes" else arrays
    order = rng.permutation(length)
    small = rng.random((count, (length + 1) // 2)) * 0.9 + 0.05
    large = 1 / small
    two = np.concatenate([small, large], axis=1)[:, :length][:, order]
    if len(measure.inputs) == 2:
        return measure.filled(np.ones((count, length)), two)
    # -x log x of the larger number has to be the opposite of the smaller one's: Newton's method.
    large = 1 - small * np.log(small)
    for _ in range(6):
        large -= (large * np.log(large) + small * np.log(small)) / (np.log(large) + 1)
    return [np.concatenate([small, large], axis=1)[:, :length][:, order]]


def test_threads_can_be_had():
    # Where this fails, OMP_NUM_THREADS hides what the other tests are after.
    with runtime.threads(1000):
        most = runtime.info()["threads"]
    assert most >= 2 or runtime.info()["openmp"] == "none"
    for n in THREADS:
        with runtime.threads(n):
            assert runtime.info()["threads"] == min(n, most)


@pytest.fixture(params=["float32", "drowned", "cancelling"])
def rows(request):
    """Makes rows: ordinary ones in float32, or the two sorts in float64 that try sums hardest."""

    def make(measure: Any, shape: tuple[int, int]) -> list[np.ndarray]:
        if request.param == "drowned":
            return drowned_rows(measure, *shape)
        if request.param == "cancelling":
            return cancelling_rows(measure, *shape)
        return measure.arrays(request.param, shape)

    return make


def test_lengths(by_rows, rows, target, same_bits):
    for n in LENGTHS:
        # Sums of another order round to other bits in one row of a thousand only.
        arrays = rows(by_rows, (300 if n <= 70 else 5 if n < 300_000 else 2, n))
        with runtime.target(target), runtime.threads(1):
            assert same_bits(by_rows(*arrays), plain(by_rows, arrays)), f"{n} elements"


def test_a_row_alone_and_among_others(by_rows, rows, same_bits):
    for n in LENGTHS:
        arrays = rows(by_rows, (7 if n < 300_000 else 2, n))
        many = by_rows(*arrays)
        for i, row in enumerate(zip(*arrays, strict=True)):
            alone = by_rows(*row)
            again = by_rows(*(a[None] for a in row))[0]
            assert same_bits(many[i], alone), f"row {i} of {n} elements"
            assert same_bits(many[i], again), f"row {i} of {n} elements"


def ways(arrays: list[np.ndarray]) -> list[tuple[str, list[np.ndarray]]]:
    """Rows side by side in memory, columns, and rows that have to be copied."""
    return [
        ("C", arrays),
        ("Fortran", [np.asfortranarray(a) for a in arrays]),
        ("step -2, byte-swapped", [strided(a.astype(a.dtype.newbyteorder()), -1, -2) for a in arrays]),
    ]


def assert_same_everywhere(function: Call, arrays: list[np.ndarray], same_bits: Call, first: int = 0) -> None:
    """Every number of threads, every target and every layout: each layout with another of the others, by `first`."""
    want = plain(function, arrays)
    fastest, *others = runtime.info()["targets"]
    settings = [*((fastest, n) for n in THREADS), *((target, 8) for target in others)]
    layouts_in_turn = itertools.islice(itertools.cycle(ways(arrays)), first, None)
    for (target, n), (name, views) in zip(settings, layouts_in_turn, strict=False):
        with runtime.target(target), runtime.threads(n):
            assert same_bits(function(*views), want), f"{name}, {target}, {n} threads"


@pytest.mark.parametrize("shape", PARALLEL_SHAPES, ids=str)
def test_threads_targets_and_layouts(by_rows, rows, shape, same_bits):
    assert_same_everywhere(by_rows, rows(by_rows, shape), same_bits, first=PARALLEL_SHAPES.index(shape))


@pytest.mark.parametrize("shape", [*GATHERED_SHAPES, (3, 5, 67), (2, 3, 4, 5)], ids=str)
def test_layouts(measure, dtype, shape, same_bits):
    arrays = measure.arrays(dtype, shape)
    want = plain(measure, arrays)
    for name, views in arrangements(arrays):
        assert same_bits(measure(*views), want), name


@pytest.mark.parametrize("shape", GATHERED_SHAPES, ids=str)
def test_layouts_of_drowned_rows(by_rows, shape, same_bits):
    arrays = drowned_rows(by_rows, *shape)
    want = plain(by_rows, arrays)
    if str(by_rows) != "categorical_cross_entropy, classes" and shape[1] > 1:  # -log p lies above 2**-54, or is 0
        assert np.any((abs(want) < 2.0**-900) & (want != 0))
    for name, views in arrangements(arrays):
        assert same_bits(by_rows(*views), want), name


def test_layouts_of_short_rows(by_rows, dtype, same_bits):
    for n in range(1, 71):
        arrays = by_rows.arrays(dtype, (9, n), seed=n)
        want = plain(by_rows, arrays)
        for name, views in arrangements(arrays):
            assert same_bits(by_rows(*views), want), f"{n} elements, {name}"


def test_columns_on_other_pages(by_rows, dtype, target, same_bits):
    # Some of their rows are read in turn, in groups of columns of which the last one is not whole.
    for n in (2, 4, 15, 16, 17, 31, 32, 33, 40, 41, 47, 48, 63, 64, 79, 97):
        arrays = by_rows.arrays(dtype, (1_100, n), seed=n)
        with runtime.target(target):
            got = by_rows(*(np.asfortranarray(a) for a in arrays))
        assert same_bits(got, plain(by_rows, arrays)), f"{n} elements"


@pytest.mark.parametrize("shape", [(6, 7, 67), (4, 4_099, 17), (2, 140_001, 2)], ids=str)
@pytest.mark.parametrize("axis", [0, 1, 2, -1, (0, 1), (2, 0), (1, 2), None], ids=str)
def test_axes(reduction, dtype, axis, shape, same_bits):
    arrays = reduction.arrays(dtype, shape)
    reduced = sorted(range(3) if axis is None else np.atleast_1d(axis) % 3)
    kept = [d for d in range(3) if d not in reduced]
    flat = [a.transpose(kept + reduced).reshape([shape[d] for d in kept] + [-1]) for a in arrays]
    want = plain(reduction, flat)
    for n in (1, 8):
        with runtime.threads(n):
            assert same_bits(reduction(*arrays, axis=axis), want), f"{n} threads"
    assert same_bits(reduction(*(np.asfortranarray(a) for a in arrays), axis=axis), want), "Fortran"


@pytest.mark.parametrize("shape", [(6, 7, 67), (4, 4_099, 17), (2, 140_001, 2)], ids=str)
@pytest.mark.parametrize("axis", [0, 1, 2], ids=str)
def test_axes_of_classes_and_of_rows_that_stay(one_axis, dtype, axis, shape, same_bits):
    length = shape[axis]
    arrays = one_axis.arrays(dtype, (*np.delete(shape, axis).tolist(), length))
    want = plain(one_axis, arrays)
    want = np.moveaxis(want, -1, axis) if one_axis.keeps_shape else want
    moved = [np.moveaxis(a, -1, axis).copy() if i in one_axis.reals else a for i, a in enumerate(arrays)]
    for n in (1, 8):
        with runtime.threads(n):
            assert same_bits(one_axis(*moved, axis=axis), want), f"{n} threads"
    assert same_bits(one_axis(*(np.asfortranarray(a) for a in moved), axis=axis), want), "Fortran"


@pytest.mark.parametrize(
    "shapes",
    [
        [(67,), (5, 67)],
        [(5, 67), (67,)],
        [(5, 1, 67), (4, 67)],
        [(5, 67), (5, 1)],
        [(1, 67), (5, 1)],
        [(), (5, 67)],
        [(4097,), (300, 4097)],
        [(3, 1, 9), (3, 10_000, 9)],
        [(1, 300_001), (2, 1)],
    ],
    ids=str,
)
@pytest.mark.parametrize("axis", [-1, 0, None])
def test_broadcasting(reduction, dtype, shapes, axis, same_bits):
    if len(reduction.inputs) == 1:  # a view with strides of zero is all that one array can offer
        arrays = [np.broadcast_to(reduction.arrays(dtype, shapes[0])[0], np.broadcast_shapes(*shapes))]
    else:
        arrays = [reduction.arrays(dtype, shape)[i] for i, shape in enumerate(shapes)]
    want = np.asarray(reduction(*(a.copy() for a in np.broadcast_arrays(*arrays)), axis=axis))
    for n in (1, 8):
        with runtime.threads(n):
            assert same_bits(reduction(*arrays, axis=axis), want), f"{n} threads"


@pytest.mark.parametrize("base", [2, 10, 0.5, 3.7, 1e-300, 1 + 2.0**-52])
def test_bases(in_units, dtype, target, base, same_bits):
    arrays = in_units.arrays(dtype, (5, 67))
    with runtime.target(target):
        assert same_bits(in_units(*arrays, base=base), plain(in_units, arrays, base=base))


# Losses with options


def with_options(loss: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(1)
    wide = {"weight": rng.random(shape).astype(dtype), "pos_weight": rng.random(shape[-1:]).astype(dtype)}
    if loss.is_categorical:
        wide = {"weight": wide["pos_weight"], "sample_weight": rng.random(shape[:-1]).astype(dtype)}
    yield {}
    yield {"label_smoothing": 0.1}
    yield dict([wide.popitem()])
    yield {**wide, "label_smoothing": 0.1}
    if loss.takes_classes:
        yield {"ignore_index": 0}


def in_fortran_order(options: dict[str, Any]) -> dict[str, Any]:
    return {key: np.asfortranarray(x) if isinstance(x, np.ndarray) else x for key, x in options.items()}


@pytest.mark.parametrize("shape", [(9_800, 27), (65, 4_097), (1, 280_001), (40, 7), (9, 4, 67)], ids=str)
@pytest.mark.parametrize("how", [None, "sum", "mean"])
def test_threads_targets_and_layouts_of_losses(loss, dtype, shape, how, same_bits):
    arrays = loss.arrays(dtype, shape)
    for options in with_options(loss, dtype, shape):
        assert_same_everywhere(functools.partial(loss, **options, reduction=how), arrays, same_bits)
        got = loss(*arrays, **in_fortran_order(options), reduction=how)
        assert same_bits(got, plain(loss, arrays, **options, reduction=how)), f"options in Fortran order: {options}"


@pytest.mark.parametrize("how", ["sum", "mean"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sums_along_any_axis(categorical, dtype, axis, how, same_bits):
    arrays = categorical.arrays(dtype, (30, 131, 67))
    moved = [np.moveaxis(a, -1, axis).copy() if i in categorical.reals else a for i, a in enumerate(arrays)]
    for options in with_options(categorical, dtype, (30, 131, 67)):
        want = plain(categorical, arrays, **options, reduction=how)
        for n in THREADS:
            with runtime.threads(n):
                assert same_bits(categorical(*moved, axis=axis, **options, reduction=how), want), f"{n} threads"


@pytest.mark.parametrize("shape", [(2_000, 70), (200, 2_100), (300, 2_500), (140, 5_000), (70, 17_000)], ids=str)
def test_order_of_sums(categorical, dtype, shape, same_bits):
    # Rows cancel in pairs far apart: what is left are rounding errors, which depend on what is added to what.
    half = shape[0] // 2
    arrays = [np.concatenate([a[:half], a[:half]]) for a in categorical.arrays(dtype, shape)]
    rng = np.random.default_rng(1)
    sums = []
    for spread in (10, 30, 60):
        first = rng.standard_normal(half) * 2.0 ** rng.integers(-spread, spread, half)
        call = functools.partial(categorical, sample_weight=np.concatenate([first, -first]), reduction="sum")
        sums.append(plain(call, arrays))
        for (name, views), n in itertools.product(ways(arrays), THREADS):
            with runtime.threads(n):
                assert same_bits(call(*views), sums[-1]), f"{name}, {n} threads, spread {spread}"
    assert any(sums)


@pytest.mark.parametrize("how", ["sum", "mean"])
@pytest.mark.parametrize("shape", [(900, 5), (3_800, 70), (30, 9_000)], ids=str)
def test_sums_of_drowned_rows(categorical, shape, how, same_bits):
    arrays = [a[1::2] for a in drowned_rows(categorical, 2 * shape[0], shape[1])]
    sample_weight = np.random.default_rng(1).standard_normal(shape[0])
    for options in ({}, {"sample_weight": sample_weight}):
        want = plain(categorical, arrays, **options, reduction=how)
        for (name, views), n in itertools.product(ways(arrays), (1, 8)):
            with runtime.threads(n):
                assert same_bits(categorical(*views, **options, reduction=how), want), f"{name}, {n} threads"


def extreme_rows(count: int, length: int, dtype: np.dtype[Any]) -> np.ndarray:
    """Ordinary rows of logits, and between them such as the shorter way of their dtype is not for."""
    rng = np.random.default_rng(length)
    z = rng.standard_normal((count, length)).astype(dtype)
    z[9::37, 0] += 14
    if z.itemsize == 8:
        z[10::41] += 599
        z[11::43] -= 600
        z[12::47, 1:] -= 720
        z[13::53, length // 3 :] -= 745
    z[::7] *= 60
    z[1::13] += 50
    z[2::17] -= 300
    z[3::11, 0] = -np.inf
    z[4::19, -1] = np.inf
    z[5::23, length // 2] = np.nan
    z[6::29] = -np.inf
    z[8::31, 0] += 200
    return z


@pytest.mark.parametrize("few", [False, True], ids=["many", "few"])
@pytest.mark.parametrize("length", [1, 2, 10, 16, 17, 24, 25, 70, 300, 4_096, 4_097, 9_000])
def test_extreme_rows_beside_others(length, few, dtype, target, same_bits):
    count = 200 if length < 4_000 else 65
    z = extreme_rows(count, length, dtype)
    if few:
        z[7:] = np.random.default_rng(2).standard_normal(z[7:].shape)
        z[:4] = z[7:11]
    labels = np.random.default_rng(1).integers(0, length, count)
    one = slice(0, 1)
    with runtime.threads(1), runtime.target(target):
        softmax, log_softmax = (
            np.concatenate([of(row[None]) for row in z]) for of in (kullback.softmax, kullback.log_softmax)
        )
        gradient = functools.partial(kullback.grad.categorical_cross_entropy_from_logits, reduction="sum")
        slopes = np.concatenate([gradient(y[None], row[None]) for y, row in zip(labels, z, strict=True)])
    for n in (1, 2):
        with runtime.threads(n), runtime.target(target):
            for of, want in (
                (kullback.softmax, softmax),
                (kullback.log_softmax, log_softmax),
                (functools.partial(gradient, labels), slopes),
            ):
                assert same_bits(of(z), want)
                in_place = z.copy()
                assert same_bits(of(in_place, out=in_place), want)
                assert same_bits(of(np.asfortranarray(z)), want)
                columns = np.asfortranarray(z)
                assert same_bits(of(columns, out=columns), want)
                crowding = np.empty((length, 2_048), dtype)[:, :count].T
                crowding[...] = z
                assert same_bits(of(crowding, out=columns), want)
                apart = np.empty((count, length + 3), dtype)
                assert same_bits(of(z, out=apart[:, 1:-2]), want)
                assert same_bits(of(z, out=apart[:, 2:][:, :length]), want)
            by_axis = kullback.softmax(np.ascontiguousarray(z.T), axis=0)
            assert same_bits(by_axis.T, softmax)
            assert same_bits(kullback.softmax(z[one]), softmax[one])


@pytest.mark.parametrize("measure", ["kl_divergence_from_logits", "js_divergence_from_logits"])
@pytest.mark.parametrize("length", [1, 2, 10, 16, 17, 25, 70, 300, 4_097, 9_000])
def test_divergences_of_extreme_rows(measure, length, dtype, target, same_bits):
    """Near rows and far ones, masked ones and such as lie far from 0 are each read in a way of their own."""
    count = 200 if length < 4_000 else 65
    p = extreme_rows(count, length, dtype)
    rng = np.random.default_rng(length + 1)
    distances = 2.0 ** rng.uniform(-16, 4, (count, 1))
    q = (p + distances * rng.standard_normal(p.shape)).astype(dtype)
    q[3::5] = p[3::5]
    p[::4, length // 2] = q[::8, length // 2] = -np.inf
    q[5::9, 0] -= 140
    compute = getattr(kullback, measure)
    with runtime.threads(1), runtime.target(target):
        want = np.concatenate([compute(x[None], y[None]) for x, y in zip(p, q, strict=True)])
    for n in (1, 2):
        with runtime.threads(n), runtime.target(target):
            assert same_bits(compute(p, q), want)
            assert same_bits(compute(np.ascontiguousarray(p.T), np.ascontiguousarray(q.T), axis=0), want)
            assert same_bits(compute(p[::-1], np.asfortranarray(q)[::-1]), want[::-1])


@pytest.mark.parametrize("length", [3, 10, 24, 25, 70, 4_096, 4_097, 9_000])
def test_extreme_rows_with_labels(length, dtype, target, same_bits):
    count = 200 if length < 4_000 else 65
    z = extreme_rows(count, length, dtype)
    rng = np.random.default_rng(length)
    y = rng.random((count, length)).astype(dtype)
    y[::3][np.isneginf(z[::3])] = 0
    y[1::3][rng.random(y[1::3].shape) < 0.7] = 0
    y[7::20] = 0
    # float64: of the loss too little is left, beside what cancels, but S' is good.
    z[14::11] = rng.uniform(571, 572, z[14::11].shape)
    z[14::11, 0] = 590
    y[14::11] = np.arange(length) == 0
    loss = kullback.categorical_cross_entropy_from_logits
    heavy = np.where(np.arange(length) < 4_096, 1, 2).astype(dtype)
    with runtime.threads(1), runtime.target(runtime.info()["targets"][0]):
        want, weighted = (
            np.concatenate([loss(a[None], b[None], weight=w) for a, b in zip(y, z, strict=True)]) for w in (None, heavy)
        )
    with runtime.threads(1), runtime.target(target):
        assert same_bits(loss(y, z), want)
        assert same_bits(loss(y, z, weight=np.ones(length, dtype)), want)
        assert same_bits(loss(y[:, ::-1].copy()[:, ::-1], z), want)
        assert same_bits(loss(y.T.copy(), z.T.copy(), axis=0), want)
        assert same_bits(loss(y, z, weight=heavy), weighted)
        assert same_bits(loss(y.T.copy(), z.T.copy(), axis=0, weight=heavy), weighted)


@pytest.mark.parametrize(("length", "axis"), [(1_025, 0), (4_096, 0), (4_097, 0), (4_096, 1), (4_097, 1)])
def test_where_exponentials_are_kept(length, axis, dtype, target, same_bits):
    count = 65
    z = extreme_rows(count, length, dtype)
    z[20:28] = -800 - np.random.default_rng(1).random((8, length))  # drowned beside their winner
    z[20:28, 3] = 0
    labels = np.random.default_rng(2).integers(0, length, count)
    gradient = functools.partial(kullback.grad.categorical_cross_entropy_from_logits, reduction="sum")
    arranged = np.ascontiguousarray(z.T) if axis == 0 else z
    for of in (lambda _, *a, **options: kullback.softmax(*a, **options), gradient):
        with runtime.threads(1), runtime.target(target):
            want = z.copy()
            for label, row in zip(labels, want, strict=True):
                of(label, row, out=row)
            want = want.T if axis == 0 else want
            assert same_bits(of(labels, arranged, axis=axis), want)
            assert same_bits(of(labels, arranged, axis=axis, out=np.empty_like(arranged)), want)
            assert same_bits(of(labels, arranged[::-1].copy()[::-1], axis=axis), want)
            shared = of(np.broadcast_to(labels[:1], labels.shape), np.broadcast_to(z[:1], z.shape))
            assert same_bits(shared, np.broadcast_to(of(labels[0], z[0]), z.shape))


@pytest.mark.parametrize("measure", ["entropy", "cross_entropy", "kl_divergence", "js_divergence"])
@pytest.mark.parametrize("length", [3, 16, 40, 70])
def test_negative_zeros_beside_huge_masses(measure, length, dtype, same_bits):
    rng = np.random.default_rng(length)
    arrays = [rng.random((60, length)).astype(dtype) for _ in range(2)]
    for a in arrays:
        a[rng.random(a.shape) < 0.1] = -0.0
        a[rng.random(a.shape) < 0.05] *= dtype.type(2.0**125)
    function = getattr(kullback, measure)
    arrays = arrays[: 1 if measure == "entropy" else 2]
    rows = np.array([function(*row) for row in zip(*arrays, strict=True)])
    assert same_bits(function(*arrays), rows)
    assert same_bits(function(*(np.ascontiguousarray(a.T) for a in arrays), axis=0), rows)


def test_options_that_change_nothing(loss, dtype, same_bits):
    for shape in [(7,), (5, 67), (3, 5_000)]:
        arrays = loss.arrays(dtype, shape)
        want = loss(*arrays)
        assert same_bits(loss(*arrays, weight=np.ones(shape[-1:], dtype)), want)
        assert same_bits(loss(*arrays, **{loss.weights[1]: np.ones((), dtype)}), want)
        assert same_bits(loss(*arrays, label_smoothing=0), want)
        if loss.takes_classes:
            assert same_bits(loss(*arrays, ignore_index=-100), want)


# Elementwise functions


def bit_patterns(dtype: np.dtype[Any], count: int) -> np.ndarray:
    """Floats of every exponent and sign, infinities and NaN."""
    return random_bits(count, 1, dtype.itemsize * 8).view(dtype)


@pytest.fixture(params=[k for k in _core.kernels() if k[1] in ("map1", "pack")], ids=lambda kernel: kernel[0])
def elementwise(request):
    return function_of(*request.param)


def test_positions(elementwise, dtype, target, same_bits):
    x = np.concatenate([bit_patterns(dtype, 500), uniform(dtype, 500, 2)])
    one_by_one = np.array([elementwise(x[i]) for i in range(x.size)])
    with runtime.target(target):
        for n in [*range(1, 71), 500, 1000]:
            assert same_bits(elementwise(x[-n:]), one_by_one[-n:]), f"{n} elements"


def test_threads_targets_and_layouts_of_elements(elementwise, dtype, same_bits):
    x = np.concatenate([bit_patterns(dtype, 264_000), uniform(dtype, 264_000, 2)]).reshape(1_100, 480)
    for first in range(3):
        assert_same_everywhere(elementwise, [x], same_bits, first)


def test_layouts_of_elements(elementwise, dtype, same_bits):
    for shape in [(1,), (67,), (5_000,), (6, 700), (3, 5, 67)]:
        x = uniform(dtype, int(np.prod(shape)), 3).reshape(shape)
        want = plain(elementwise, [x])
        for name, view in layouts(x):
            assert same_bits(elementwise(view), want), f"{shape}, {name}"


def test_layouts_of_out(measure, dtype, same_bits):
    arrays = measure.arrays(dtype, (3, 5_000) if measure.keeps_shape else (40, 5_000))
    want = plain(measure, arrays)
    for name, out in layouts(np.zeros_like(want)):
        if out.flags.writeable and out.dtype.isnative:
            assert measure(*arrays, out=out) is out
            assert same_bits(out, want), name


# Digests. Their inputs come from integer arithmetic and exactly rounded products alone, never from a library's
# generator or logarithm, whose versions differ.


def random_bits(count: int, seed: int, width: int = 64) -> np.ndarray:
    """The upper bits of SplitMix64's first numbers, as unsigned integers of that width."""
    z = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed << 32)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(64 - width)).astype(f"u{width // 8}")


def uniform(dtype: np.dtype[Any], count: int, seed: int) -> np.ndarray:
    """Multiples of 2**-24 or 2**-53 in [0, 1)."""
    digits = np.finfo(dtype).nmant + 1
    return (random_bits(count, seed) >> np.uint64(64 - digits)).astype(dtype) * dtype.type(2.0**-digits)


def golden_elements(dtype: np.dtype[Any]) -> Iterator[np.ndarray]:
    u, limits = uniform(dtype, 4_000, 4), np.finfo(dtype)
    yield np.array([0, 1, 0.5, 2, np.inf, np.nan, limits.smallest_subnormal, limits.tiny, limits.max, -0.0, -1], dtype)
    yield u
    yield 1 - u * dtype.type(2.0**-12)
    yield (u - dtype.type(0.5)) * dtype.type(2 * 128 if dtype.itemsize == 4 else 2 * 1024)
    yield bit_patterns(dtype, 4_000)


GOLDEN_LENGTHS = [*range(1, 71), 1_000, 4_095, 4_096, 4_097, 8_193, 20_000]


def golden_rows(dtype: np.dtype[Any]) -> Iterator[list[np.ndarray]]:
    """Pairs of rows of probabilities."""
    for n in GOLDEN_LENGTHS:
        u, v = uniform(dtype, n, 5), uniform(dtype, n, 6)
        yield [u, v]
        yield [u * u * u, v]  # a longer tail
        yield [u, u * dtype.type(1 + 2.0**-18)]  # nearly equal
        yield [abs(bit_patterns(dtype, n)), v]  # any magnitude; NaN in long rows
        yield [u * np.finfo(dtype).tiny, v * np.finfo(dtype).tiny]  # subnormal


def golden_logits(dtype: np.dtype[Any]) -> Iterator[list[np.ndarray]]:
    """Pairs of rows of logits."""
    half, masked = dtype.type(0.5), dtype.type(-np.inf)
    for n in GOLDEN_LENGTHS:
        u, v = uniform(dtype, n, 7) - half, uniform(dtype, n, 8) - half
        yield [u * 20, v * 20]
        yield [u * 2000, v * 2000]  # most exponentials underflow
        yield [u, u * dtype.type(1 + 2.0**-18)]  # nearly equal
        yield [np.where(v > 0, u, masked), np.where(v > 0.25, masked, v)]
        confident = [np.where(np.arange(n) == n // 2, 0, 32 * x - 670) for x in (u, v)]
        yield [x.astype(dtype) for x in confident]
        yield [bit_patterns(dtype, n), v]  # any magnitude; NaN in long rows


def golden_binary(dtype: np.dtype[Any], of_logits: bool) -> Iterator[tuple[list[np.ndarray], dict[str, Any]]]:
    weights = {"weight": uniform(dtype, 4_000, 9), "pos_weight": uniform(dtype, 4_000, 10)}
    u = uniform(dtype, 4_000, 11)
    labels = [u, (u < 0.5).astype(dtype)]
    near, wide = uniform(dtype, 4_000, 12), bit_patterns(dtype, 4_000)
    for y, q in itertools.product(labels, [40 * (near - u), wide] if of_logits else [near, abs(wide)]):
        for options in [{}, weights, {**weights, "label_smoothing": 0.1}, {"label_smoothing": 1}]:
            yield [y, q], options
            finite = abs(q) <= 1000 if of_logits else (q > 0) & (q < 1)
            few = {key: x[finite] if isinstance(x, np.ndarray) else x for key, x in options.items()}
            for how in ("sum", "mean"):
                yield [y[finite], q[finite]], {**few, "reduction": how}


def golden_categorical(dtype: np.dtype[Any], of_logits: bool) -> Iterator[tuple[list[np.ndarray], dict[str, Any]]]:
    for rows, n in [(1, 1), (9, 2), (1_000, 3), (300, 17), (70, 70), (5, 4_097), (3, 20_000)]:
        shape, count = (rows, n), rows * n
        u, v = uniform(dtype, count, 13).reshape(shape), uniform(dtype, count, 14).reshape(shape)
        classes = (random_bits(rows, 15) % np.uint64(n)).astype(np.int64)
        confident = np.where(np.arange(n) == classes[:, None], 0, 32 * v - 670).astype(dtype)
        weights = {"weight": uniform(dtype, n, 16), "sample_weight": uniform(dtype, rows, 17)}
        for labels, q in itertools.product([classes, u], [40 * (v - u), confident] if of_logits else [v]):
            every = [{}, weights, {"label_smoothing": 0.1}, {**weights, "label_smoothing": 0.1}]
            every += [{"ignore_index": 0}] if labels is classes else []
            for options, how in itertools.product(every, [None, "sum", "mean"]):
                yield [labels, q], {**options, "reduction": how}


def golden_calls(name: str, kind: str, dtype: np.dtype[Any]) -> Iterator[tuple[list[np.ndarray], dict[str, Any]]]:
    """Arrays and options of the calls whose results are digested, but for the base."""
    names = [] if kind == "pack" else list(inspect.signature(function_of(name, kind)).parameters)
    of_logits = not {"p", "q"} & set(names)
    if kind == "binary":
        yield from golden_binary(dtype, of_logits)
    elif kind == "categorical":
        yield from golden_categorical(dtype, of_logits)
    elif kind == "tokens":
        for z, _ in golden_logits(dtype):
            yield [z, (random_bits(20, 18) % np.uint64(z.size)).astype(np.int64)], {}
    elif kind in ("pack", "map1"):
        yield from (([x], {}) for x in golden_elements(dtype))
    else:
        inputs = {"sum1": 1, "sum2": 2, "rowmap": 1}[kind]
        for arrays in (golden_logits if of_logits else golden_rows)(dtype):
            yield arrays[:inputs], {}


def function_of(name: str, kind: str) -> Call:
    return getattr(_core if kind == "pack" else kullback, name)


def gradients_of(name: str) -> Call:
    """All gradients of a measure, one after another, and the Hessian where there is one."""
    function = getattr(kullback.grad, name)
    parameters = inspect.signature(function).parameters

    def call(*arrays: np.ndarray, **options: Any) -> np.ndarray:
        calls: list[dict[str, Any]] = [{}]
        if "wrt" in parameters and np.ndim(arrays[0]) == np.ndim(arrays[1]):
            calls = [{"wrt": "both"}]
        if "hessian" in parameters:
            calls.append({"hessian": True})
        results = [function(*arrays, **options, **more) for more in calls]
        flat = [np.ravel(a) for r in results for a in (r if isinstance(r, tuple) else (r,))]
        return np.concatenate(flat)

    return call


def digest(name: str, kind: str, dtype: np.dtype[Any], of: Callable[[str], Call] | None = None) -> str:
    """SHA-256 of the bits of a function's results, NaN canonical, lowest byte first."""
    function, sha = function_of(name, kind), hashlib.sha256()
    has_base = kind != "pack" and "base" in inspect.signature(function).parameters
    units: list[dict[str, Any]] = [{}, {"base": 2}, {"base": 10}] if has_base else [{}]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "mean of nothing")  # where the only row is ignored
        for (arrays, options), unit in itertools.product(golden_calls(name, kind, dtype), units):
            result = np.atleast_1d((of(name) if of else function)(*arrays, **options, **unit))
            result[np.isnan(result)] = np.nan
            sha.update(result.astype(dtype.newbyteorder("<")).tobytes())
    return sha.hexdigest()


def digests() -> dict[str, dict[str, str]]:
    dtypes = [np.dtype(np.float32), np.dtype(np.float64)]
    table = _core.kernels()
    values = {name: {t.name: digest(name, kind, t) for t in dtypes} for name, kind in table}
    gradients = {
        f"grad.{name}": {t.name: digest(name, kind, t, gradients_of) for t in dtypes}
        for name, kind in table
        if name in kullback.grad.__all__
    }
    return values | gradients


def test_golden_digests(target):
    with runtime.target(target):
        assert digests() == json.loads(GOLDEN.read_text()), "bits changed; see the top of this file"


if __name__ == "__main__":
    if sys.argv[1:] != ["--write-golden"]:
        sys.exit(__doc__)
    GOLDEN.write_text(json.dumps(digests(), indent=2) + "\n")
