"""The promise: the same values give the same bits, on every target, for any number of threads, in any layout.

``python tests/test_bits.py --write-golden`` rewrites golden.json, for a version whose changelog says "bits
changed: yes".
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
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
# (rows, length): work for eight threads as the shortest rows, short ones, rows of a block and a bit, few long ones
# and a single one.
PARALLEL_SHAPES = [(180_000, 3), (9_000, 59), (129, 4_097), (2, 300_001), (1, 530_011)]
# (rows, length): more rows than fit into the buffer of a thread that gathers them, and work for one thread only.
GATHERED_SHAPES = [(4_000, 1), (2_000, 17), (450, 70), (10, 4_096), (19, 4_097), (9, 8_193)]

Call = Callable[..., Any]


def plain(function: Call, arrays: list[np.ndarray], **options: Any) -> np.ndarray:
    """What every other way of computing has to equal: one thread, the first target, contiguous rows."""
    with runtime.threads(1), runtime.target(runtime.info()["targets"][0]):
        return np.asarray(function(*(np.ascontiguousarray(a) for a in arrays), **options))


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
    view = np.full(shape, np.nan, a.dtype)[tuple(index)]
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
    for each in zip(*(layouts(a) for a in arrays), strict=True):
        name, views = each[0][0], [view for _, view in each]
        yield name, views
        if len(arrays) == 2:
            yield f"{name}, p alone", [views[0], arrays[1]]
            yield f"{name}, q alone", [arrays[0], views[1]]


def drowned_rows(count: int, length: int) -> list[np.ndarray]:
    """Rows whose float64 sums lie below 2**-900, so that they are taken again, magnified, and rows that are not."""
    rng = np.random.default_rng(length)
    arrays = [rng.random((count, length)) for _ in range(2)]
    for a in arrays:
        a[1::2] *= 2.0**-1000  # normal numbers, subnormal terms
        a[3::4] *= 2.0**-60  # subnormal numbers
    arrays[1][5::6] = arrays[0][5::6]  # divergences of 0
    return arrays


def cancelling_rows(count: int, length: int) -> list[np.ndarray]:
    """Rows whose terms cancel to their rounding errors, so that another order of summation shows in the result."""
    rng = np.random.default_rng(length)
    order = rng.permutation(length)
    small = rng.random((count, (length + 1) // 2)) * 0.9 + 0.05
    large = 1 / small
    two = np.concatenate([small, large], axis=1)[:, :length][:, order]
    # -x log x of the larger number has to be the opposite of the smaller one's: Newton's method.
    large = 1 - small * np.log(small)
    for _ in range(6):
        large -= (large * np.log(large) + small * np.log(small)) / (np.log(large) + 1)
    one = np.concatenate([small, large], axis=1)[:, :length][:, order]
    return [one, two]


def test_threads_can_be_had():
    # Where this fails, OMP_NUM_THREADS hides what the other tests are after.
    most = runtime.info()["threads"]
    assert most >= 2 or runtime.info()["openmp"] == "none"
    for n in THREADS:
        with runtime.threads(n):
            assert runtime.info()["threads"] == min(n, most)


@pytest.fixture(params=["float32", "float64", "drowned", "cancelling"])
def rows(request, inputs):
    """Makes the inputs of a reduction: ordinary rows, or the two sorts that try its sums hardest."""

    def make(measure: Any, shape: tuple[int, int]) -> list[np.ndarray]:
        if request.param == "drowned":
            return drowned_rows(*shape)[: len(measure.inputs)]
        if request.param == "cancelling":
            one, two = cancelling_rows(*shape)
            return [one] if len(measure.inputs) == 1 else [np.ones(shape), two]
        return inputs(measure, request.param, shape)

    return make


def test_lengths(reduction, rows, target, same_bits):
    for n in LENGTHS:
        # Sums of another order round to other bits in one row of a thousand only.
        arrays = rows(reduction, (300 if n <= 70 else 5 if n < 300_000 else 2, n))
        with runtime.target(target), runtime.threads(1):
            assert same_bits(reduction(*arrays), plain(reduction, arrays)), f"{n} elements"


def test_a_row_alone_and_among_others(reduction, rows, same_bits):
    for n in LENGTHS:
        arrays = rows(reduction, (7 if n < 300_000 else 2, n))
        many = reduction(*arrays)
        for i, row in enumerate(zip(*arrays, strict=True)):
            alone = reduction(*row)
            again = reduction(*(a[None] for a in row))[0]
            assert same_bits(many[i], alone), f"row {i} of {n} elements"
            assert same_bits(many[i], again), f"row {i} of {n} elements"


@pytest.mark.parametrize("shape", PARALLEL_SHAPES, ids=str)
def test_threads_targets_and_layouts(reduction, rows, target, shape, same_bits):
    arrays = rows(reduction, shape)
    want = plain(reduction, arrays)
    ways = [
        ("C", arrays),
        ("Fortran", [np.asfortranarray(a) for a in arrays]),
        ("step -2, byte-swapped", [strided(a.astype(a.dtype.newbyteorder()), -1, -2) for a in arrays]),
    ]
    for (name, views), n in itertools.product(ways, THREADS):
        with runtime.target(target), runtime.threads(n):
            assert same_bits(reduction(*views), want), f"{name}, {n} threads"


@pytest.mark.parametrize("shape", [*GATHERED_SHAPES, (3, 5, 67), (2, 3, 4, 5)], ids=str)
def test_layouts(measure, dtype, shape, inputs, same_bits):
    arrays = inputs(measure, dtype, shape)
    want = plain(measure, arrays)
    for name, views in arrangements(arrays):
        assert same_bits(measure(*views), want), name


@pytest.mark.parametrize("shape", GATHERED_SHAPES, ids=str)
def test_layouts_of_drowned_rows(reduction, shape, same_bits):
    arrays = drowned_rows(*shape)[: len(reduction.inputs)]
    want = plain(reduction, arrays)
    assert np.any(abs(want) < 2.0**-900)
    for name, views in arrangements(arrays):
        assert same_bits(reduction(*views), want), name


def test_layouts_of_short_rows(reduction, dtype, inputs, same_bits):
    for n in range(1, 71):
        arrays = inputs(reduction, dtype, (9, n), seed=n)
        want = plain(reduction, arrays)
        for name, views in arrangements(arrays):
            assert same_bits(reduction(*views), want), f"{n} elements, {name}"


@pytest.mark.parametrize("shape", [(6, 7, 67), (3, 4_099, 17), (2, 300_001, 2)], ids=str)
@pytest.mark.parametrize("axis", [0, 1, 2, -1, (0, 1), (2, 0), (1, 2), None], ids=str)
def test_axes(reduction, dtype, axis, shape, inputs, same_bits):
    arrays = inputs(reduction, dtype, shape)
    reduced = sorted(range(3) if axis is None else np.atleast_1d(axis) % 3)
    kept = [d for d in range(3) if d not in reduced]
    flat = [a.transpose(kept + reduced).reshape([shape[d] for d in kept] + [-1]) for a in arrays]
    want = plain(reduction, flat)
    for n in THREADS:
        with runtime.threads(n):
            assert same_bits(reduction(*arrays, axis=axis), want), f"{n} threads"
    assert same_bits(reduction(*(np.asfortranarray(a) for a in arrays), axis=axis), want), "Fortran"


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
        [(3, 1, 9), (3, 5000, 9)],
        [(1, 300_001), (2, 1)],
    ],
    ids=str,
)
@pytest.mark.parametrize("axis", [-1, 0, None])
def test_broadcasting(reduction, dtype, shapes, axis, inputs, same_bits):
    if len(reduction.inputs) == 1:  # a view with strides of zero is all that one array can offer
        arrays = [np.broadcast_to(inputs(reduction, dtype, shapes[0])[0], np.broadcast_shapes(*shapes))]
    else:
        arrays = [inputs(reduction, dtype, shape)[i] for i, shape in enumerate(shapes)]
    want = np.asarray(reduction(*(a.copy() for a in np.broadcast_arrays(*arrays)), axis=axis))
    for n in (1, 8):
        with runtime.threads(n):
            assert same_bits(reduction(*arrays, axis=axis), want), f"{n} threads"


@pytest.mark.parametrize("base", [2, 10, 0.5, 3.7, 1e-300, 1 + 2.0**-52])
def test_bases(measure, dtype, target, base, inputs, same_bits):
    arrays = inputs(measure, dtype, (5, 67))
    with runtime.target(target):
        assert same_bits(measure(*arrays, base=base), plain(measure, arrays, base=base))


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


def test_threads_and_layouts_of_elements(elementwise, dtype, target, same_bits):
    x = np.concatenate([bit_patterns(dtype, 264_000), uniform(dtype, 264_000, 2)]).reshape(1_100, 480)
    want = plain(elementwise, [x])
    ways = [
        ("C", x),
        ("Fortran", np.asfortranarray(x)),
        ("step -2, byte-swapped", strided(x.astype(dtype.newbyteorder()), -1, -2)),
    ]
    for (name, view), n in itertools.product(ways, THREADS):
        with runtime.target(target), runtime.threads(n):
            assert same_bits(elementwise(view), want), f"{name}, {n} threads"


def test_layouts_of_elements(elementwise, dtype, same_bits):
    for shape in [(1,), (67,), (5_000,), (6, 700), (3, 5, 67)]:
        x = uniform(dtype, int(np.prod(shape)), 3).reshape(shape)
        want = plain(elementwise, [x])
        for name, view in layouts(x):
            assert same_bits(elementwise(view), want), f"{shape}, {name}"


def test_layouts_of_out(measure, dtype, inputs, same_bits):
    arrays = inputs(measure, dtype, (40, 5_000) if measure.reduces else (3, 5_000))
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


def golden_rows(dtype: np.dtype[Any], inputs: int) -> Iterator[list[np.ndarray]]:
    for n in [*range(1, 71), 1_000, 4_095, 4_096, 4_097, 8_193, 20_000]:
        u, v = uniform(dtype, n, 5), uniform(dtype, n, 6)
        yield [u, v][:inputs]
        yield [u * u * u, v][:inputs]  # a longer tail
        yield [u, u * dtype.type(1 + 2.0**-18)][:inputs]  # nearly equal
        yield [abs(bit_patterns(dtype, n)), v][:inputs]  # any magnitude; NaN in long rows
        yield [u * np.finfo(dtype).tiny, v * np.finfo(dtype).tiny][:inputs]  # subnormal


def function_of(name: str, kind: str) -> Call:
    return getattr(_core if kind == "pack" else kullback, name)


def digest(name: str, kind: str, dtype: np.dtype[Any]) -> str:
    """SHA-256 of the bits of a function's results, NaN canonical, lowest byte first."""
    function, sha = function_of(name, kind), hashlib.sha256()
    rows = golden_rows(dtype, int(kind[-1])) if kind.startswith("sum") else ([x] for x in golden_elements(dtype))
    for arrays in rows:
        for options in [{}] if kind == "pack" else [{}, {"base": 2}, {"base": 10}]:
            result = np.atleast_1d(function(*arrays, **options))
            result[np.isnan(result)] = np.nan
            sha.update(result.astype(dtype.newbyteorder("<")).tobytes())
    return sha.hexdigest()


def digests() -> dict[str, dict[str, str]]:
    dtypes = [np.dtype(np.float32), np.dtype(np.float64)]
    return {name: {t.name: digest(name, kind, t) for t in dtypes} for name, kind in _core.kernels()}


def test_golden_digests(target):
    with runtime.target(target):
        assert digests() == json.loads(GOLDEN.read_text()), "bits changed; see the top of this file"


if __name__ == "__main__":
    if sys.argv[1:] != ["--write-golden"]:
        sys.exit(__doc__)
    GOLDEN.write_text(json.dumps(digests(), indent=2) + "\n")
