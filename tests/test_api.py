"""The promise: every function takes what NumPy's do, says what is wrong with the rest, and documents both."""

from __future__ import annotations

import doctest
import importlib
import inspect
import itertools
import os
import subprocess
import sys
import threading
import warnings
from typing import Any

import numpy as np
import pytest

import kullback
from kullback import runtime


class ArrayLike:
    """Holds its data as a pandas Series does."""

    def __init__(self, data: np.ndarray) -> None:
        self._data = data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._data if dtype is None else self._data.astype(dtype)


class Subclass(np.ndarray):
    pass


def each_argument(measure, bad, good):
    """Argument lists with `bad` in each place in turn, and the name of the argument that is bad."""
    for i, name in enumerate(measure.inputs):
        arrays = [good] * len(measure.inputs)
        arrays[i] = bad
        yield name, arrays


# Rule 5: what comes in


@pytest.mark.parametrize(
    "convert",
    [np.ndarray.tolist, lambda a: tuple(map(tuple, a)), list, ArrayLike, lambda a: a.view(Subclass), memoryview],
    ids=["lists", "tuples", "list of arrays", "__array__", "subclass", "buffer"],
)
def test_array_likes(measure, inputs, same_bits, convert):
    arrays = inputs(measure, "float64", (3, 5))
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
    arrays = arrays[: len(measure.inputs)]
    got = measure(*(a.astype(dtype) for a in arrays))
    assert got.dtype == np.float64
    assert same_bits(got, measure(*(a.astype(float) for a in arrays)))


@pytest.mark.parametrize("dtype", np.typecodes["AllInteger"])
def test_the_largest_and_smallest_integers(measure, dtype, same_bits):
    limits = np.iinfo(dtype)
    ints = np.array([[limits.max, 1], [limits.min, 1], [limits.max - 1, 0]], dtype)
    arrays = [ints] * len(measure.inputs)
    assert same_bits(measure(*arrays), measure(*(a.astype(float) for a in arrays)))


@pytest.mark.parametrize("first", ["f4", "f8", ">f4", ">f8", "i4", "u1", "?"])
@pytest.mark.parametrize("second", ["f4", "f8", ">f4", ">f8", "i4", "u1", "?"])
def test_mixed_dtypes(measure, first, second, same_bits):
    if len(measure.inputs) == 1:
        second = first
    arrays = [np.array([0, 1, 1]).astype(t) for t in (first, second)[: len(measure.inputs)]]
    floats = [a.dtype.newbyteorder("=") if a.dtype.kind == "f" else np.dtype(float) for a in arrays]
    want = np.result_type(*floats)
    got = measure(*arrays)
    assert got.dtype == want
    assert same_bits(got, measure(*(a.astype(want) for a in arrays)))


@pytest.mark.parametrize("number", [0.25, 1, 0, True, 0.1])
def test_python_numbers_are_weak(reduction, dtype, number, same_bits):
    if len(reduction.inputs) == 1:
        assert same_bits(reduction(number), np.float64(reduction([number])))
        return
    array = np.array([0.5, 0.25, 0.25], dtype)
    for arrays in ([number, array], [array, number]):
        full = [np.full(3, a, dtype) if a is number else a for a in arrays]
        assert same_bits(reduction(*arrays), reduction(*full))
    # A NumPy scalar is not.
    assert reduction(array, np.float64(number)).dtype == np.float64
    assert reduction(np.float32(number), array).dtype == dtype
    # Two of them, or one and integers, are float64.
    assert reduction(number, number).dtype == np.float64
    assert reduction(np.array([1, 0]), number).dtype == np.float64


@pytest.mark.parametrize(
    "scalar", [0.5, 1, True, np.float32(0.5), np.float64(0.5), np.array(0.5), np.int8(1)], ids=repr
)
def test_scalars_come_back_as_numpy_scalars(measure, scalar):
    got = measure(*[scalar] * len(measure.inputs))
    assert type(got) is (np.float32 if np.asarray(scalar).dtype == np.float32 else np.float64)


def test_whole_reductions_come_back_as_numpy_scalars(reduction, dtype, inputs):
    for shape, options in [((5,), {}), ((5_000,), {}), ((2, 3), {"axis": None}), ((2, 3), {"axis": (0, 1)})]:
        assert type(reduction(*inputs(reduction, dtype, shape), **options)) is dtype.type
    kept = reduction(*inputs(reduction, dtype, (5,)), keepdims=True)
    assert type(kept) is np.ndarray
    assert kept.shape == (1,)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3), (0, 0), (1, 0, 1)], ids=str)
def test_empty(measure, dtype, shape):
    arrays = [np.empty(shape, dtype)] * len(measure.inputs)
    options = [{"axis": a} for a in [*range(-len(shape), len(shape)), None, ()]] if measure.reduces else [{}]
    for option in options:
        got = measure(*arrays, **option)
        want = np.sum(np.zeros(shape, dtype), **option) if measure.reduces else arrays[0]
        assert got.dtype == want.dtype
        assert got.shape == want.shape
        assert np.all(got == 0)


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
    for name, arrays in each_argument(measure, bad, np.ones(3)):
        with pytest.raises(TypeError) as error:
            measure(*arrays)
        text = str(error.value)
        assert text.startswith(f"{name} has dtype {np.asarray(bad).dtype}; expected float32")
        assert "\n" not in text


def test_masked_arrays_are_refused(measure):
    masked = np.ma.masked_array([0.5, 0.5], [False, True])
    for bad in (masked, masked.astype("f4"), np.ma.masked_array(np.ones(2)), np.ma.masked):
        for name, arrays in each_argument(measure, bad, np.ones(2)):
            with pytest.raises(TypeError, match=f"^{name} is a masked array"):
                measure(*arrays)


def test_ragged_lists_and_failing_conversions_raise(measure):
    class Failing:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("no data today")

    for _, arrays in each_argument(measure, Failing(), [1.0]):
        with pytest.raises(RuntimeError, match="no data today"):
            measure(*arrays)
    for _, arrays in each_argument(measure, [[1.0], [1.0, 2.0]], [1.0]):
        with pytest.raises(ValueError, match="inhomogeneous"):
            measure(*arrays)


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


@pytest.mark.parametrize("axis", [*AXES, (np.intp(0), np.uint16(2)), np.array(1)], ids=repr)
@pytest.mark.parametrize("keepdims", [False, True])
def test_axis(reduction, dtype, axis, keepdims, inputs, same_bits):
    arrays = inputs(reduction, dtype, (3, 4, 5))
    got = reduction(*arrays, axis=axis, keepdims=keepdims)
    reduced = range(3) if axis is None else [int(a) % 3 for a in (axis if isinstance(axis, tuple) else (axis,))]
    kept = [d for d in range(3) if d not in reduced]
    flat = [a.transpose(*kept, *sorted(reduced)).reshape([a.shape[d] for d in kept] + [-1]) for a in arrays]
    want = reduction(*flat)
    if keepdims:
        want = np.reshape(want, [1 if d in reduced else n for d, n in enumerate((3, 4, 5))])
    assert same_bits(got, want)


def test_axis_of_a_scalar(reduction):
    for axis in (0, -1, None, ()):
        for keepdims in (False, True):
            got = reduction(*[np.array(0.5)] * len(reduction.inputs), axis=axis, keepdims=keepdims)
            assert type(got) is np.float64


@pytest.mark.parametrize("axis", [2, -3, (0, 2), (-3,), np.int64(7), 2**40, 10**30, -(10**30), (10**30,)], ids=repr)
def test_axis_out_of_range(reduction, axis):
    for array in (np.ones((2, 3)), [[1.0, 1.0]]):
        with pytest.raises(np.exceptions.AxisError, match=r"^axis -?\d+ is out of bounds for array of dimension 2$"):
            reduction(*[array] * len(reduction.inputs), axis=axis)


@pytest.mark.parametrize("axis", [1, -2, 10**30, (1,)], ids=repr)
def test_axis_out_of_range_for_a_scalar(reduction, axis):
    with pytest.raises(np.exceptions.AxisError):
        reduction(*[-1.0] * len(reduction.inputs), axis=axis)


@pytest.mark.parametrize("axis", [(0, 0), (1, -1), (0, 1, 0)])
def test_axis_twice(reduction, axis):
    with pytest.raises(ValueError, match=r"^axis: \(.*\) names a dimension twice$"):
        reduction(*[np.ones((2, 3))] * len(reduction.inputs), axis=axis)


@pytest.mark.parametrize("axis", [0.0, "0", [0], (0, None), (0.0,), 1j, {0}], ids=repr)
def test_axis_of_a_wrong_type(reduction, axis):
    with pytest.raises(TypeError, match=r"^axis: expected None, an int or a tuple of ints, got "):
        reduction(*[np.ones((2, 3))] * len(reduction.inputs), axis=axis)


# base


@pytest.mark.parametrize("base", [2, 10, 0.5, 2.0, np.float32(2), np.int64(10), np.array(2.0), np.e, 1e300, 1e-300])
def test_base(measure, dtype, base, inputs):
    arrays = [np.abs(a - 0.25) for a in inputs(measure, dtype, (7, 9))]
    nats, other = measure(*arrays), measure(*arrays, base=base)
    assert other.dtype == dtype
    np.testing.assert_allclose(other, nats / np.log(float(base)), rtol=4 * np.finfo(dtype).eps)
    assert np.array_equal(other, measure(*arrays, base=float(base)), equal_nan=True)


@pytest.mark.parametrize("base", [0, -1, 1, 1.0, -0.0, np.inf, -np.inf, np.nan, np.float32(1), True, False], ids=repr)
def test_base_without_a_logarithm(measure, base, inputs):
    for shape in (5, (2, 5)):
        with pytest.raises(ValueError, match=r"^base: expected None or a finite number > 0 and != 1, got "):
            measure(*inputs(measure, "f8", shape), base=base)


@pytest.mark.parametrize("base", ["2", b"2", [2], 2j, (), {}], ids=repr)
def test_base_of_a_wrong_type(measure, base, inputs):
    for shape in (5, (2, 5)):
        with pytest.raises(TypeError, match=r"^base: expected None or a finite number > 0 and != 1, got "):
            measure(*inputs(measure, "f8", shape), base=base)


# out


def result_shape(measure, shape):
    return shape[:-1] if measure.reduces else shape


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (300, 500)], ids=str)
def test_out_is_filled_and_returned(measure, dtype, shape, inputs, same_bits):
    arrays = inputs(measure, dtype, shape)
    want = measure(*arrays)
    out = np.full(result_shape(measure, shape), 7, dtype)
    assert measure(*arrays, out=out) is out
    assert same_bits(out, want)
    if measure.reduces:
        out = np.full((*shape[:-1], 1), 7, dtype)
        assert measure(*arrays, keepdims=True, out=out) is out
        assert same_bits(out[..., 0], want)


@pytest.mark.parametrize("offset", [1, 2, 4])
def test_out_unaligned_strided_and_subclassed(measure, dtype, offset, inputs, same_bits):
    arrays = inputs(measure, dtype, (6, 5))
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
def test_out_that_does_not_fit(measure, make, error, message, inputs):
    arrays = inputs(measure, "f8", (4, 5))
    out = make(np.full(result_shape(measure, (4, 5)), 7.0))
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


@pytest.mark.parametrize("shape", [(6, 7), (50, 4_100), (7, 30_000)], ids=str)
def test_out_may_overlap_an_input(measure, dtype, shape, same_bits):
    for name, p, out in overlapping_pairs(shape, result_shape(measure, shape), dtype):
        before, unrelated = p.copy(), np.random.default_rng(3).random(shape).astype(dtype)
        for i in range(len(measure.inputs)):
            p[...] = before
            arrays, copies = [unrelated] * len(measure.inputs), [unrelated] * len(measure.inputs)
            arrays[i] = p
            copies[i] = p.copy()  # of what it holds now, for out may have been written to
            want = measure(*copies)
            assert measure(*arrays, out=out) is out
            assert same_bits(out, want), f"{name}, {measure.inputs[i]}"


def test_out_may_overlap_an_input_of_another_dtype_or_layout(measure, same_bits):
    memory = np.arange(1, 65, dtype=np.int64).reshape(8, 8)
    copies = [memory.copy()] * len(measure.inputs)
    out = memory.view(np.float64)[0] if measure.reduces else memory.view(np.float64)
    want = measure(*copies)
    assert measure(*[memory] * len(measure.inputs), out=out) is out
    assert same_bits(out, want)

    square = np.random.default_rng(1).random((8, 8))
    copies = [square.T.copy()] * len(measure.inputs)
    out = square[:, 0] if measure.reduces else square
    want = measure(*copies)
    assert measure(*[square.T] * len(measure.inputs), out=out) is out
    assert same_bits(out, want)


def test_out_may_be_an_input_that_is_broadcast(reduction, same_bits):
    p = np.random.default_rng(1).random(5)
    rows = np.broadcast_to(p, (5, 5))
    want = reduction(*[rows.copy()] * len(reduction.inputs))
    assert same_bits(reduction(*[rows] * len(reduction.inputs), out=p), want)


def test_errors_leave_out_untouched(measure):
    out = np.full(result_shape(measure, (3, 4)), 7.0)
    good = np.ones((3, 4))
    calls = [(arrays, {}) for _, arrays in each_argument(measure, good.astype(complex), good)]
    calls += [([good] * len(measure.inputs), {"base": 1})]
    if measure.reduces:
        calls += [([good] * len(measure.inputs), {"axis": axis}) for axis in (2, 0.5, (0, 0), 0)]
    for arrays, options in calls:
        with pytest.raises((TypeError, ValueError)):
            measure(*arrays, out=out, **options)
        assert np.all(out == 7)


# Rules 6 to 8


def test_inputs_are_never_changed(measure, dtype, inputs):
    for shape in [(5,), (3, 70), (3, 5_000), (300, 500)]:
        arrays = inputs(measure, dtype, shape)
        for views in (arrays, [np.asfortranarray(a) for a in arrays], [a[..., ::-1] for a in arrays]):
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
            measure(*arrays[: len(measure.inputs)])
            measure(*arrays[: len(measure.inputs)], base=2)


@pytest.mark.parametrize(
    "shapes", [((3,), (4,)), ((2, 3), (3, 2)), ((2, 3), (2,)), ((0,), (2,)), ((5, 1, 4), (3, 3))], ids=str
)
def test_shapes_that_do_not_broadcast_are_both_named(reduction, shapes):
    if len(reduction.inputs) == 2:
        with pytest.raises(ValueError) as error:  # noqa: PT011 - compared whole below
            reduction(*map(np.ones, shapes))
        assert str(error.value) == f"p of shape {shapes[0]} and q of shape {shapes[1]} do not broadcast"


@pytest.mark.parametrize(
    "shapes",
    [((3,), (2, 3)), ((4, 1, 3), (2, 3)), ((2, 3), ()), ((1,), (5,)), ((0, 3), (3,)), ((1, 0), (4, 1))],
    ids=str,
)
def test_broadcasting(reduction, dtype, shapes, same_bits):
    if len(reduction.inputs) == 2:
        rng = np.random.default_rng(1)
        for order in (shapes, shapes[::-1]):
            arrays = [rng.random(shape).astype(dtype) for shape in order]
            full = [a.copy() for a in np.broadcast_arrays(*arrays)]
            for axis in (-1, 0, None):
                for keepdims in (False, True):
                    got = reduction(*arrays, axis=axis, keepdims=keepdims)
                    assert same_bits(got, reduction(*full, axis=axis, keepdims=keepdims))


def test_more_dimensions_than_most_arrays_have(reduction, dtype, inputs, same_bits):
    arrays = inputs(reduction, dtype, (2,) * 12)
    views = [a.transpose(*range(0, 12, 2), *range(1, 12, 2)) for a in arrays]
    axis = tuple(range(0, 12, 3))
    assert same_bits(reduction(*views, axis=axis), reduction(*(v.copy() for v in views), axis=axis))
    deepest = [np.full((1,) * 63 + (3,), 0.5, dtype)] * len(reduction.inputs)
    assert reduction(*deepest).shape == (1,) * 63


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
    assert measure.name in kullback.__all__
    assert getattr(kullback, measure.name) is getattr(kullback.probabilities, measure.name)
    assert hasattr(kullback.reference, measure.name)


def test_signatures(measure):
    signature = inspect.signature(getattr(kullback, measure.name))
    arrays = dict.fromkeys(measure.inputs, inspect.Parameter.empty)
    options = (
        {"axis": -1, "base": None, "keepdims": False, "out": None} if measure.reduces else {"base": None, "out": None}
    )
    assert {n: p.default for n, p in signature.parameters.items()} == arrays | options
    for name, parameter in signature.parameters.items():
        assert parameter.kind is (parameter.POSITIONAL_OR_KEYWORD if name in arrays else parameter.KEYWORD_ONLY)


def test_arrays_by_name_and_the_rest_by_keyword_only(measure, inputs, same_bits):
    arrays = inputs(measure, "f8", (3, 5))
    assert same_bits(measure(**dict(zip(measure.inputs, arrays, strict=True))), measure(*arrays))
    for wrong in ((), arrays[:-1], [*arrays, -1], [*arrays, None]):
        with pytest.raises(TypeError):
            measure(*wrong)
    with pytest.raises(TypeError, match="unexpected keyword"):
        measure(*arrays, weights=None)


@pytest.mark.parametrize("module", ["probabilities", "runtime", "reference", "testing"])
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


# Importing and running


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("KULLBACK_")} | environment
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=env
    )


def test_import_is_lean():
    code = """
import sys, numpy
before = set(sys.modules)
import kullback
print(*sorted(set(sys.modules) - before))
kullback.testing, kullback.reference
print("kullback.testing" in sys.modules)
"""
    loaded, lazy = python(code).stdout.splitlines()
    assert "kullback._core" in loaded.split()
    heavy = {"kullback.testing", "kullback.reference", "fractions", "decimal", "mpmath", "numpy.ma", "scipy", "inspect"}
    assert not heavy & set(loaded.split())
    assert lazy == "True"


def test_info():
    info = runtime.info()
    assert set(info) == {"version", "targets", "target", "threads", "openmp", "compiler"}
    assert info["version"] == kullback.__version__
    assert info["targets"]
    assert info["target"] in info["targets"]
    assert set(info["targets"]) <= {"x86-64-v4", "x86-64-v3", "aarch64", "baseline"}
    assert info["threads"] >= 1
    assert isinstance(info["openmp"], str)
    assert isinstance(info["compiler"], str)
    info["targets"].clear()
    assert runtime.info()["targets"]


def settings() -> tuple[str, int]:
    info = runtime.info()
    return info["target"], info["threads"]


def test_settings_nest_and_end(target):
    before = settings()
    with runtime.target(target), runtime.threads(2):
        inside = settings()
        assert inside == (target, min(2, before[1]))
        with runtime.threads(1), runtime.target(runtime.info()["targets"][-1]):
            assert settings() == (runtime.info()["targets"][-1], 1)
        assert settings() == inside
    assert settings() == before


def test_settings_end_with_an_exception(target):
    before = settings()
    with pytest.raises(KeyError), runtime.target(target), runtime.threads(1):
        raise KeyError
    assert settings() == before


def test_a_setting_may_be_used_again_and_inside_itself():
    before, one = settings(), runtime.threads(1)
    for _ in range(2):
        with one:
            with one:
                assert settings()[1] == 1
            assert settings()[1] == 1
        assert settings() == before


def test_settings_hold_for_one_thread_only(target):
    seen = []
    with runtime.target(target), runtime.threads(1):
        thread = threading.Thread(target=lambda: seen.append(settings()))
        thread.start()
        thread.join()
    assert seen == [settings()]


@pytest.mark.parametrize("n", [0, -1, 1 << 16, 1 << 40])
def test_threads_out_of_range(n):
    with pytest.raises(ValueError, match=f"^threads: expected a number from 1 to 65535, got {n}$"):
        runtime.threads(n)


@pytest.mark.parametrize("n", [1.0, "1", None])
def test_threads_of_a_wrong_type(n):
    with pytest.raises(TypeError):
        runtime.threads(n)


@pytest.mark.parametrize("name", ["sse9", "", "X86-64-V4", None, 3])
def test_target_that_cannot_run(name):
    before = settings()
    with pytest.raises(ValueError, match=f"^target {name!r} cannot run here; expected one of .*baseline|aarch64"):
        runtime.target(name)
    assert settings() == before


SETTINGS = "from kullback import runtime; i = runtime.info(); print(i['target'], i['threads'])"


def test_target_from_the_environment(target):
    assert python(SETTINGS, KULLBACK_TARGET=target).stdout.split()[0] == target


@pytest.mark.parametrize(("limit", "openmp", "threads"), [("1", "4", 1), ("3", "4", 3), ("9", "4", 4), ("", "4", 4)])
def test_threads_from_the_environment(limit, openmp, threads):
    got = python(SETTINGS, KULLBACK_NUM_THREADS=limit, OMP_NUM_THREADS=openmp).stdout.split()
    assert got == [runtime.info()["targets"][0], str(threads if runtime.info()["openmp"] != "none" else 1)]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KULLBACK_TARGET", "sse9"),
        *(("KULLBACK_NUM_THREADS", n) for n in ("0", "-1", "two", "1.5", "2x", "99999999999")),
    ],
)
def test_bad_environment(variable, value):
    result = python("import kullback", **{variable: value})
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: {variable}: ")
    assert f"'{value}'" in last
    assert "expected" in last
