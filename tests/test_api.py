"""The promise: every function takes what NumPy's do, says what is wrong with the rest, and documents both."""

from __future__ import annotations

import doctest
import importlib
import inspect
import itertools
import re
import warnings
from typing import Any

import numpy as np
import pytest

import kullback
from kullback import _core


class ArrayLike:
    """Holds its data as a pandas Series does."""

    def __init__(self, data: np.ndarray) -> None:
        self._data = data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._data if dtype is None else self._data.astype(dtype)


class Subclass(np.ndarray):
    pass


def each_argument(measure, bad, good):
    """Arrays and options with `bad` in each place in turn, and the name of the argument that is bad."""
    for i, name in enumerate(measure.inputs):
        arrays = measure.filled(good)
        arrays[i] = bad
        yield name, arrays, {}
    for name in measure.weights if bad is not None else ():
        yield name, measure.filled(good), {name: bad}


def nested(a):
    return tuple(map(nested, a)) if a.ndim else a.item()


# Rule 5: what comes in


@pytest.mark.parametrize(
    "convert",
    [np.ndarray.tolist, nested, list, ArrayLike, lambda a: a.view(Subclass), memoryview],
    ids=["lists", "tuples", "list of arrays", "__array__", "subclass", "buffer"],
)
def test_array_likes(measure, same_bits, convert):
    arrays = measure.arrays("float64", (3, 5))
    got = measure(*(convert(a) for a in arrays))
    assert same_bits(got, measure(*arrays))
    assert type(got) is np.ndarray


@pytest.mark.parametrize(
    "dtype",
    [np.bool_, *np.typecodes["AllInteger"], ">i2", "<i2", ">i4", "<u4", ">u8", "<i8"],
    ids=str,
)
def test_integers_and_bool_are_computed_in_float64(measure, dtype, same_bits):
    arrays = [np.array([[0, 1, 1, 0, 1], [1, 1, 0, 0, 1]]), np.array([[1, 1, 1, 0, 1], [1, 1, 1, 1, 1]])]
    got = measure(*measure.filled(*(a.astype(dtype) for a in arrays)))
    assert got.dtype == np.float64
    assert same_bits(got, measure(*measure.filled(*(a.astype(float) for a in arrays))))


@pytest.mark.parametrize("dtype", np.typecodes["AllInteger"])
def test_the_largest_and_smallest_integers(measure, dtype, same_bits):
    limits = np.iinfo(dtype)
    ints = np.array([[limits.max, 1], [limits.min, 1], [limits.max - 1, 0]], dtype)
    assert same_bits(measure(*measure.filled(ints)), measure(*measure.filled(ints.astype(float))))


@pytest.mark.parametrize("first", ["f4", "f8", ">f4", ">f8", "i4", "u1", "?"])
@pytest.mark.parametrize("second", ["f4", "f8", ">f4", ">f8", "i4", "u1", "?"])
def test_mixed_dtypes(measure, first, second, same_bits):
    arrays = measure.filled(*(np.array([0, 1, 1]).astype(t) for t in (first, second)))
    dtypes = [arrays[i].dtype for i in measure.reals]
    want = np.result_type(*(t.newbyteorder("=") if t.kind == "f" else float for t in dtypes))
    got = measure(*arrays)
    assert got.dtype == want
    assert same_bits(got, measure(*measure.filled(*(a.astype(want) for a in arrays))))


@pytest.mark.parametrize("number", [0.25, 1, 0, True, 0.1])
def test_python_numbers_are_weak(pair, dtype, number, same_bits):
    array = np.array([0.5, 0.25, 0.25], dtype)
    for arrays in ([number, array], [array, number]):
        full = [np.full(3, a, dtype) if a is number else a for a in arrays]
        assert same_bits(pair(*arrays), pair(*full))
    # A NumPy scalar is not.
    assert pair(array, np.float64(number)).dtype == np.float64
    assert pair(np.float32(number), array).dtype == dtype
    # Two of them, or one and integers, are float64.
    assert pair(number, number).dtype == np.float64
    assert pair(np.array([1, 0]), number).dtype == np.float64


@pytest.mark.parametrize(
    "scalar", [0.5, 1, True, np.float32(0.5), np.float64(0.5), np.array(0.5), np.int8(1)], ids=repr
)
def test_scalars_come_back_as_numpy_scalars(measure, scalar):
    if measure.kind in ("categorical", "tokens"):
        with pytest.raises(np.exceptions.AxisError):  # there is no axis of classes
            measure(*[0 if numbers == "classes" else scalar for numbers in measure.numbers])
    else:
        got = measure(*measure.filled(scalar))
        assert type(got) is (np.float32 if np.asarray(scalar).dtype == np.float32 else np.float64)


def test_whole_reductions_come_back_as_numpy_scalars(reduction, dtype):
    for shape, options in [((5,), {}), ((5_000,), {}), ((2, 3), {"axis": None}), ((2, 3), {"axis": (0, 1)})]:
        assert type(reduction(*reduction.arrays(dtype, shape), **options)) is dtype.type
    kept = reduction(*reduction.arrays(dtype, (5,)), keepdims=True)
    assert type(kept) is np.ndarray
    assert kept.shape == (1,)


def test_results_of_one_row_come_back_as_numpy_scalars(by_rows, dtype):
    if not by_rows.keeps_shape:
        for n in (1, 5, 5_000):
            assert type(by_rows(*by_rows.arrays(dtype, n))) is dtype.type


def test_reduced_losses_come_back_as_numpy_scalars(loss, dtype):
    for shape in [(5,), (3, 5), (70, 5_000)]:
        for how in ("sum", "mean"):
            assert type(loss(*loss.arrays(dtype, shape), reduction=how)) is dtype.type


EMPTY = [(0,), (0, 3), (3, 0), (2, 0, 3), (0, 0), (1, 0, 1)]


@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_empty(measure, dtype, shape):
    if measure.takes_classes and np.prod(shape[:-1]) and not shape[-1]:
        with pytest.raises(IndexError, match=r"is out of range for 0 classes$"):
            measure(*measure.arrays(dtype, shape))
        return
    got = measure(*measure.arrays(dtype, shape))
    assert got.dtype == dtype
    assert got.shape == measure.result_shape(shape)
    assert np.all(got == (-np.inf if measure.name == "logsumexp" else 0))


@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_empty_along_any_axes(reduction, dtype, shape):
    arrays = reduction.filled(np.empty(shape, dtype))
    for axis in [*range(-len(shape), len(shape)), None, ()]:
        got, want = reduction(*arrays, axis=axis), np.sum(np.zeros(shape, dtype), axis=axis)
        assert got.dtype == want.dtype
        assert got.shape == want.shape
        assert np.all(got == (-np.inf if reduction.name == "logsumexp" else 0))


@pytest.mark.parametrize(
    "bad",
    [
        np.ones(3, np.complex64),
        np.ones(3, np.complex128),
        1j,
        [1, 2j],
        np.array([1, 0.5], object),
        None,
        [None],
        "0.5",
        ["a", "b"],
        b"0.5",
        np.array([b"x"]),
        np.array(["2026-01-01"], "datetime64[D]"),
        np.ones(3, "timedelta64[s]"),
        np.ones(3, np.float16),
        np.float16(1),
        np.ones(3, np.longdouble),
        np.longdouble(1),
        np.zeros(3, [("a", "f8")]),
        np.zeros(3, "V8"),
        np.ones(3, ">c8"),
        ArrayLike(np.ones(3, np.float16)),
    ],
    ids=lambda x: f"{type(x).__name__} {np.asarray(x).dtype}",
)
def test_refused_dtypes_are_named(measure, bad):
    for name, arrays, options in each_argument(measure, bad, np.ones(3)):
        with pytest.raises(TypeError) as error:
            measure(*arrays, **options)
        text = str(error.value)
        assert text.startswith(f"{name} has dtype {np.asarray(bad).dtype}; expected float32")
        assert "\n" not in text


def test_masked_arrays_are_refused(measure):
    masked = np.ma.masked_array([0.5, 0.5], [False, True])
    for bad in (masked, masked.astype("f4"), np.ma.masked_array(np.ones(2)), np.ma.masked):
        for name, arrays, options in each_argument(measure, bad, np.ones(2)):
            with pytest.raises(TypeError, match=f"^{name} is a masked array"):
                measure(*arrays, **options)


def test_ragged_lists_and_failing_conversions_raise(measure):
    class Failing:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("no data today")

    for _, arrays, options in each_argument(measure, Failing(), [1.0]):
        with pytest.raises(RuntimeError, match="no data today"):
            measure(*arrays, **options)
    for _, arrays, options in each_argument(measure, [[1.0], [1.0, 2.0]], [1.0]):
        with pytest.raises(ValueError, match="inhomogeneous"):
            measure(*arrays, **options)


# axis and keepdims

AXES: list[Any] = [
    0,
    1,
    2,
    -1,
    -2,
    -3,
    None,
    (),
    (0,),
    (0, 1),
    (1, 0),
    (2, 0),
    (-1, 0),
    (0, 1, 2),
    (-1, -3),
    np.int8(1),
]


AXES += [(np.intp(0), np.uint16(2)), np.array(1)]


def axes_last(a, axis):
    """The dimensions that `axis` names as one, at the end, and the numbers of all others."""
    reduced = range(a.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    reduced = sorted(int(d) % a.ndim for d in reduced)
    kept = [d for d in range(a.ndim) if d not in reduced]
    return a.transpose(*kept, *reduced).reshape([a.shape[d] for d in kept] + [-1]), kept, reduced


@pytest.mark.parametrize("axis", AXES, ids=repr)
@pytest.mark.parametrize("keepdims", [False, True])
def test_axis(reduction, dtype, axis, keepdims, same_bits):
    arrays = reduction.arrays(dtype, (3, 4, 5))
    got = reduction(*arrays, axis=axis, keepdims=keepdims)
    want = reduction(*(axes_last(a, axis)[0] for a in arrays))
    if keepdims:
        kept = axes_last(arrays[0], axis)[1]
        want = np.reshape(want, [n if d in kept else 1 for d, n in enumerate((3, 4, 5))])
    assert same_bits(got, want)


@pytest.mark.parametrize("axis", AXES, ids=repr)
def test_axis_of_rows_that_stay(row_map, dtype, axis, same_bits):
    (z,) = row_map.arrays(dtype, (3, 4, 5))
    flat, kept, reduced = axes_last(z, axis)
    want = row_map(flat).reshape([z.shape[d] for d in kept + reduced]).transpose(np.argsort(kept + reduced))
    assert same_bits(row_map(z, axis=axis), want)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3, np.int8(1), np.array(1)], ids=repr)
def test_axis_of_classes(class_wise, dtype, axis, same_bits):
    arrays = class_wise.arrays(dtype, (3, 4, 5))
    moved = [np.moveaxis(a, -1, axis) if i in class_wise.reals else a for i, a in enumerate(arrays)]
    assert same_bits(class_wise(*moved, axis=axis), class_wise(*arrays))


def test_axis_of_a_scalar(any_axes):
    for axis in (0, -1, None, ()):
        for options in [{"keepdims": False}, {"keepdims": True}] if any_axes.reduces else [{}]:
            assert type(any_axes(*any_axes.filled(np.array(0.5)), axis=axis, **options)) is np.float64


@pytest.mark.parametrize("axis", [2, -3, (0, 2), (-3,), np.int64(7), 2**40, 10**30, -(10**30), (10**30,)], ids=repr)
def test_axis_out_of_range(by_rows, axis):
    if not isinstance(axis, tuple) or by_rows.reduces or by_rows.keeps_shape:
        for array in (np.ones((2, 3)), [[1.0, 1.0]]):
            with pytest.raises(
                np.exceptions.AxisError, match=r"^axis -?\d+ is out of bounds for array of dimension 2$"
            ):
                by_rows(*by_rows.filled(array), axis=axis)


@pytest.mark.parametrize("axis", [1, -2, 10**30, (1,)], ids=repr)
def test_axis_out_of_range_for_a_scalar(any_axes, axis):
    with pytest.raises(np.exceptions.AxisError):
        any_axes(*any_axes.filled(-1.0), axis=axis)


@pytest.mark.parametrize("axis", [(0, 0), (1, -1), (0, 1, 0)])
def test_axis_twice(any_axes, axis):
    with pytest.raises(ValueError, match=r"^axis: \(.*\) names a dimension twice$"):
        any_axes(*any_axes.filled(np.ones((2, 3))), axis=axis)


@pytest.mark.parametrize("axis", [0.0, "0", [0], (0, None), (0.0,), 1j, {0}], ids=repr)
def test_axis_of_a_wrong_type(by_rows, axis):
    expected = (
        "None, an int or a tuple of ints"
        if by_rows.reduces or by_rows.keeps_shape
        else "an int, the axis of the classes"
    )
    with pytest.raises(TypeError, match=rf"^axis: expected {expected}, got "):
        by_rows(*by_rows.filled(np.ones((2, 3))), axis=axis)


@pytest.mark.parametrize("axis", [None, (), (0,), (0, 1)], ids=repr)
def test_the_axis_of_classes_is_one(class_wise, axis):
    with pytest.raises(TypeError, match=r"^axis: expected an int, the axis of the classes, got "):
        class_wise(*class_wise.filled(np.ones((2, 3))), axis=axis)


# base


@pytest.mark.parametrize("base", [2, 10, 0.5, 2.0, np.float32(2), np.int64(10), np.array(2.0), np.e, 1e300, 1e-300])
def test_base(in_units, dtype, base):
    rng = np.random.default_rng(1)
    arrays = in_units.filled(*(rng.random((7, 9)).astype(dtype) for _ in in_units.inputs))
    nats, other = in_units(*arrays), in_units(*arrays, base=base)
    assert other.dtype == dtype
    np.testing.assert_allclose(other, nats / np.log(float(base)), rtol=4 * np.finfo(dtype).eps)
    assert np.array_equal(other, in_units(*arrays, base=float(base)), equal_nan=True)


def test_base_of_sums_and_means(loss, dtype):
    arrays = loss.arrays(dtype, (7, 9))
    for how in ("sum", "mean"):
        nats, bits = loss(*arrays, reduction=how), loss(*arrays, reduction=how, base=2)
        np.testing.assert_allclose(bits, nats / np.log(2), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("base", [0, -1, 1, 1.0, -0.0, np.inf, -np.inf, np.nan, np.float32(1), True, False], ids=repr)
def test_base_without_a_logarithm(in_units, base):
    for shape in (5, (2, 5)):
        with pytest.raises(ValueError, match=r"^base: expected None or a finite number > 0 and != 1, got "):
            in_units(*in_units.arrays("f8", shape), base=base)


@pytest.mark.parametrize("base", ["2", b"2", [2], 2j, (), {}], ids=repr)
def test_base_of_a_wrong_type(in_units, base):
    for shape in (5, (2, 5)):
        with pytest.raises(TypeError, match=r"^base: expected None or a finite number > 0 and != 1, got "):
            in_units(*in_units.arrays("f8", shape), base=base)


# out


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (300, 500)], ids=str)
def test_out_is_filled_and_returned(measure, dtype, shape, same_bits):
    arrays = measure.arrays(dtype, shape)
    want = measure(*arrays)
    out = np.full(measure.result_shape(shape), 7, dtype)
    assert measure(*arrays, out=out) is out
    assert same_bits(out, want)
    if measure.reduces:
        out = np.full((*shape[:-1], 1), 7, dtype)
        assert measure(*arrays, keepdims=True, out=out) is out
        assert same_bits(out[..., 0], want)


@pytest.mark.parametrize("offset", [1, 2, 4])
def test_out_unaligned_strided_and_subclassed(measure, dtype, offset, same_bits):
    arrays = measure.arrays(dtype, (6, 5))
    want = measure(*arrays)
    memory = np.zeros(want.nbytes + offset, np.uint8)
    apart = np.zeros([3 * n for n in want.shape], dtype)
    outs = [
        memory[offset:].view(dtype).reshape(want.shape),
        apart[tuple(slice(None, None, 3) for _ in want.shape)],
        apart[tuple(slice(None, None, -3) for _ in want.shape)],
        np.zeros_like(want, order="F"),
        np.zeros_like(want).view(Subclass),
    ]
    for out in outs:
        assert measure(*arrays, out=out) is out
        assert same_bits(out, want)
    assert np.count_nonzero(apart) <= 2 * want.size  # nothing was written between


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda a: a.astype("f4"), TypeError, "out has dtype float32; expected float64"),
        (lambda a: a.astype("i8"), TypeError, "out has dtype int64; expected float64"),
        (lambda a: a.astype(object), TypeError, "out has dtype object; expected float64"),
        (lambda a: a.astype(a.dtype.newbyteorder()), TypeError, "out has dtype [<>]f8; expected float64"),
        (lambda a: a[None], ValueError, r"out has shape \(1, .*\); expected \(4,.*\)"),
        (lambda a: a[:-1], ValueError, r"out has shape \(3,.*\); expected \(4,.*\)"),
        (lambda a: np.float64(1), TypeError, "out: expected a NumPy array or None, got float64"),
        (lambda a: a.tolist(), TypeError, "out: expected a NumPy array or None, got list"),
        (lambda a: (a,), TypeError, "out: expected a NumPy array or None, got tuple"),
        (np.ma.masked_array, TypeError, "out: expected a NumPy array or None, got MaskedArray"),
        (lambda a: np.broadcast_to(a, a.shape), ValueError, "out is read-only; expected a writeable array"),
    ],
    ids=["float32", "int64", "object", "swapped", "more", "fewer", "scalar", "list", "tuple", "masked", "read-only"],
)
def test_out_that_does_not_fit(measure, make, error, message):
    arrays = measure.arrays("f8", (4, 5))
    out = make(np.full(measure.result_shape((4, 5)), 7.0))
    with pytest.raises(error, match=f"^{message}$"):
        measure(*arrays, out=out)
    assert np.all(np.asarray(out) == 7) or np.isscalar(out)


def overlapping_pairs(shape, result, dtype):
    """Views (p, out) of one piece of memory, each in another way."""
    size, needed = int(np.prod(shape)), int(np.prod(result))
    for shift in (0, 1, 3, needed, size - 1):
        memory = np.random.default_rng(1).random(2 * size + needed).astype(dtype)
        yield f"out {shift} after", memory[:size].reshape(shape), memory[shift : shift + needed].reshape(result)
        memory = memory.copy()
        yield f"out {shift} before", memory[shift : shift + size].reshape(shape), memory[:needed].reshape(result)
        memory = memory.copy()
        yield (
            f"{shift}, reversed out",
            memory[:size].reshape(shape),
            memory[shift + needed - 1 :: -1][:needed].reshape(result),
        )
        memory = memory.copy()
        yield (
            f"{shift}, reversed p",
            memory[size - 1 :: -1].reshape(shape),
            memory[shift : shift + needed].reshape(result),
        )
        memory = memory.copy()
        yield f"{shift}, strided out", memory[:size].reshape(shape), memory[shift::2][:needed].reshape(result)
    memory = np.random.default_rng(1).random(size * dtype.itemsize + 8).view(np.uint8)
    p = memory[: size * dtype.itemsize].view(dtype).reshape(shape)
    p[...] = np.random.default_rng(2).random(shape)
    yield "unaligned", p, memory[1 : 1 + needed * dtype.itemsize].view(dtype).reshape(result)


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("shape", [(6, 7), (65, 4_100), (9, 30_000)], ids=str)
def test_out_may_overlap_an_input(measure, dtype, shape, same_bits):
    for name, p, out in overlapping_pairs(shape, measure.result_shape(shape), dtype):
        before, unrelated = p.copy(), np.random.default_rng(3).random(shape).astype(dtype)
        for i in measure.reals:
            p[...] = before
            arrays, copies = measure.filled(unrelated), measure.filled(unrelated)
            arrays[i] = p
            copies[i] = p.copy()  # of what it holds now, for out may have been written to
            want = measure(*copies)
            assert measure(*arrays, out=out) is out
            assert same_bits(out, want), f"{name}, {measure.inputs[i]}"


def test_out_may_overlap_an_input_of_another_dtype_or_layout(measure, same_bits):
    memory = np.arange(1, 65, dtype=np.int64).reshape(8, 8)
    out = memory.view(np.float64) if measure.keeps_shape else memory.view(np.float64)[0]
    want = measure(*measure.filled(memory.copy()))
    assert measure(*measure.filled(memory), out=out) is out
    assert same_bits(out, want)

    square = np.random.default_rng(1).random((8, 8))
    out = square if measure.keeps_shape else square[:, 0]
    want = measure(*measure.filled(square.T.copy()))
    assert measure(*measure.filled(square.T), out=out) is out
    assert same_bits(out, want)


def test_out_may_be_an_input_that_is_broadcast(by_rows, same_bits):
    p = np.random.default_rng(1).random(5)
    rows = np.broadcast_to(p, (5, 5))
    if not by_rows.keeps_shape:
        want = by_rows(*by_rows.filled(rows.copy()))
        assert same_bits(by_rows(*by_rows.filled(rows), out=p), want)


def test_errors_leave_out_untouched(measure):
    out = np.full(measure.result_shape((3, 4)), 7.0)
    good = np.ones((3, 4))
    calls = [(arrays, options) for _, arrays, options in each_argument(measure, good.astype(complex), good)]
    if "base" in measure.options:
        calls += [(measure.filled(good), {"base": 1})]
    if "axis" in measure.options:
        calls += [(measure.filled(good), {"axis": axis}) for axis in (2, 0.5, (0, 0))]
    for arrays, options in calls:
        with pytest.raises((TypeError, ValueError)):
            measure(*arrays, out=out, **options)
        assert np.all(out == 7)


# Rules 6 to 8


def test_inputs_are_never_changed(measure, dtype):
    for shape in [(5,), (3, 70), (3, 5_000), (300, 500)]:
        arrays = measure.arrays(dtype, shape)
        for views in (arrays, [np.asfortranarray(a) for a in arrays], [np.flip(a) for a in arrays]):
            before = [a.tobytes() for a in views]
            measure(*views)
            assert [a.tobytes() for a in views] == before


def test_no_floating_point_warnings(measure, dtype):
    limits = np.finfo(dtype)
    odd = np.array(
        [0, -0.0, 1, -1, 2, np.inf, -np.inf, np.nan, limits.max, limits.tiny, limits.smallest_subnormal], dtype
    )
    pairs = [np.array(x, dtype) for x in zip(*itertools.product(odd, repeat=2), strict=True)]
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        for arrays in (pairs, [p.reshape(-1, 1) for p in pairs], [np.tile(p, 100) for p in pairs]):
            measure(*measure.filled(*arrays))
            if "base" in measure.options:
                measure(*measure.filled(*arrays), base=2)


@pytest.mark.parametrize(
    "shapes", [((3,), (4,)), ((2, 3), (3, 2)), ((2, 3), (2,)), ((0,), (2,)), ((5, 1, 4), (3, 3))], ids=str
)
def test_shapes_that_do_not_broadcast_are_both_named(pair, shapes):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - compared whole below
        pair(*map(np.ones, shapes))
    first, second = (f"{name} of shape {shape}" for name, shape in zip(pair.inputs, shapes, strict=True))
    assert str(error.value) == f"{first} and {second} do not broadcast"


@pytest.mark.parametrize(
    "shapes",
    [((3,), (2, 3)), ((4, 1, 3), (2, 3)), ((2, 3), ()), ((1,), (5,)), ((0, 3), (3,)), ((1, 0), (4, 1))],
    ids=str,
)
def test_broadcasting(pair, dtype, shapes, same_bits):
    rng = np.random.default_rng(1)
    axes = itertools.product((-1, 0, None), (False, True)) if pair.reduces else ()
    for order in (shapes, shapes[::-1]):
        arrays = [rng.random(shape).astype(dtype) for shape in order]
        full = [a.copy() for a in np.broadcast_arrays(*arrays)]
        for options in [{}, *({"axis": axis, "keepdims": keepdims} for axis, keepdims in axes)]:
            assert same_bits(pair(*arrays, **options), pair(*full, **options))


def test_more_dimensions_than_most_arrays_have(measure, dtype, same_bits):
    order = [*range(0, 12, 2), *range(1, 12, 2)]
    arrays = measure.arrays(dtype, (2,) * 12)
    views = [a.transpose(order) if i in measure.reals else a for i, a in enumerate(arrays)]
    assert same_bits(measure(*views), measure(*(v.copy() for v in views)))
    if measure.reduces:
        axis = tuple(range(0, 12, 3))
        assert same_bits(measure(*views, axis=axis), measure(*(v.copy() for v in views), axis=axis))
    deepest = (1,) * 63 + (3,)
    assert measure(*measure.filled(np.full(deepest, 0.5, dtype))).shape == measure.result_shape(deepest)


# Signatures and documentation


def test_all_is_what_there_is():
    assert set(kullback.__all__) >= {"__version__", "reference", "runtime", "testing"}
    assert kullback.__all__ == sorted(kullback.__all__)
    assert dir(kullback) == kullback.__all__
    for name in kullback.__all__:
        assert getattr(kullback, name) is not None
    with pytest.raises(AttributeError, match="module 'kullback' has no attribute 'nonsense'"):
        kullback.nonsense  # noqa: B018


def test_every_kernel_is_public(measure):
    function = getattr(kullback, measure.name)
    assert measure.name in kullback.__all__
    assert measure.name in importlib.import_module(function.__module__).__all__
    assert hasattr(kullback.reference, measure.name)


SIGNATURES = """
self_information(p, *, base, out)
entropy(p, *, axis, base, keepdims, out)
binary_entropy(p, *, base, out)
cross_entropy(p, q, *, axis, base, keepdims, out)
kl_divergence(p, q, *, axis, base, keepdims, out)
js_divergence(p, q, *, axis, base, keepdims, out)
binary_cross_entropy(labels, q, *, weight, pos_weight, label_smoothing, base, reduction, out)
categorical_cross_entropy(
  labels, q, *, axis, weight, sample_weight, ignore_index, label_smoothing, base, reduction, out)
logsumexp(z, *, axis, keepdims, out)
softmax(z, *, axis, out)
log_softmax(z, *, axis, out)
sigmoid(z, *, out)
log_sigmoid(z, *, out)
entropy_from_logits(z, *, axis, base, keepdims, out)
binary_entropy_from_logits(z, *, base, out)
kl_divergence_from_logits(p_logits, q_logits, *, axis, base, keepdims, out)
js_divergence_from_logits(p_logits, q_logits, *, axis, base, keepdims, out)
binary_cross_entropy_from_logits(labels, logits, *, weight, pos_weight, label_smoothing, base, reduction, out)
categorical_cross_entropy_from_logits(
  labels, logits, *, axis, weight, sample_weight, ignore_index, label_smoothing, base, reduction, out)
token_logprobs(logits, tokens, *, axis, base, out)
"""
DEFAULTS = {"axis": -1, "keepdims": False, "label_smoothing": 0.0}  # None for all others


def test_signatures(measure):
    lists = dict(re.findall(r"^(\w+)\(([^)]*)\)$", SIGNATURES, re.MULTILINE))
    assert set(lists) == {name for name, kind in _core.kernels() if kind != "pack"}
    names = lists[measure.name].replace(",", "").split()
    positional, keyword = names[: names.index("*")], names[names.index("*") + 1 :]
    parameters = inspect.signature(getattr(kullback, measure.name)).parameters
    assert list(parameters) == [*positional, *keyword]
    for name, parameter in parameters.items():
        if name in positional:
            assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            assert parameter.default is parameter.empty
        else:
            assert parameter.kind is parameter.KEYWORD_ONLY
            assert parameter.default == DEFAULTS.get(name)


def test_arrays_by_name_and_the_rest_by_keyword_only(measure, same_bits):
    arrays = measure.arrays("f8", (3, 5))
    assert same_bits(measure(**dict(zip(measure.inputs, arrays, strict=True))), measure(*arrays))
    for wrong in ((), arrays[:-1], [*arrays, -1], [*arrays, None]):
        with pytest.raises(TypeError):
            measure(*wrong)
    with pytest.raises(TypeError, match="unexpected keyword"):
        measure(*arrays, weights=None)


MODULES = [
    "probabilities",
    "logits",
    "losses",
    "grad",
    "value_and_grad",
    "runtime",
    "reference",
    "reference.grad",
    "testing",
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module):
    result = doctest.testmod(importlib.import_module(f"kullback.{module}"), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0


def test_docstrings(measure):
    doc = inspect.getdoc(getattr(kullback, measure.name))
    sections = ["Parameters", "Returns", "Raises", "See Also", "Notes", "Examples"]
    places = [doc.find(f"\n{name}\n{'-' * len(name)}\n") for name in sections]
    assert all(place > 0 for place in places)
    assert places == sorted(places)
    assert f">>> kb.{measure.name}(" in doc
    assert ".. math::" in doc


@pytest.mark.parametrize("name", [name for name, kind in _core.kernels() if kind != "pack"])
def test_core_functions_count_their_arguments(name):
    function = getattr(_core, name)
    with pytest.raises(TypeError) as none:
        function()
    expected = int(re.fullmatch(rf"{name}\(\) takes (\d+) positional arguments but 0 were given", str(none.value))[1])
    for count in (expected - 1, expected + 1):
        with pytest.raises(TypeError, match=f"but {count} were given"):
            function(*(1.0,) * count)
    with pytest.raises(TypeError, match="no keyword arguments"):
        function(*(1.0,) * (expected - 1), out=None)


def test_core_functions_pass_exceptions_on():
    class Undecided:
        def __bool__(self) -> bool:
            raise LookupError("undecided")

    with pytest.raises(LookupError, match="undecided"):
        _core.entropy_gradient(np.ones(3), -1, None, False, None, Undecided(), None)
    with pytest.raises(ValueError, match="base"):
        _core.entropy_gradient(np.ones(3), -1, 1.0, False, None, False, None)
