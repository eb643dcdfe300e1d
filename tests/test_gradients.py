"""The promise: kb.grad and kb.value_and_grad take what the values take, write where they are told to, and agree."""

from __future__ import annotations

import doctest
import importlib
import inspect
import itertools
import math
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import kullback as kb
from kullback import _core

# Functions whose values are arrays to go on with, rather than what is to be made small.
WITHOUT = {"self_information", "softmax", "log_softmax", "sigmoid", "log_sigmoid", "token_logprobs"}


def some_weights(measure: Any, shape: tuple[int, ...], dtype: Any) -> dict[str, np.ndarray]:
    """All that a loss can be weighted by."""
    rng = np.random.default_rng(2)
    shapes = {"weight": shape, "pos_weight": shape, "sample_weight": shape[:-1]}
    shapes |= {"weight": shape[-1:]} if measure.is_categorical else {}
    return {name: rng.random(shapes[name]).astype(dtype) for name in measure.weights}


# Signatures


def test_what_has_gradients():
    names = {name for name, kind in _core.kernels() if kind != "pack" and name in kb.__all__}
    for module in (kb.grad, kb.value_and_grad):
        assert set(module.__all__) == names - WITHOUT
        assert sorted(module.__all__) == module.__all__
        assert module.__name__.removeprefix("kullback.") in kb.__all__


def test_signatures(differentiable):
    name, new = differentiable.name, ["grad_output", "out"]
    values = inspect.signature(getattr(kb, name)).parameters
    if len(differentiable.inputs) > 1:
        new.insert(0, "wrt")
    for module in (kb.grad, kb.value_and_grad):
        parameters = inspect.signature(getattr(module, name)).parameters
        has_hessian = module is kb.grad and name.endswith("cross_entropy_from_logits")
        names = [*new[:-1], "hessian", "out"] if has_hessian else new
        assert list(parameters) == [*(key for key in values if key != "out"), *names]
        for key, parameter in values.items():
            if key != "out":
                assert parameters[key] == parameter  # kind, default and annotation
        defaults = {"hessian": False, "wrt": differentiable.inputs[-1]}
        for key in names:
            assert parameters[key].kind is inspect.Parameter.KEYWORD_ONLY
            assert parameters[key].default == defaults.get(key)


def test_arrays_by_name(gradient, same_bits):
    arrays = gradient.measure.arrays("f8", (3, 5))
    names = dict(zip(gradient.measure.inputs, arrays, strict=True))
    for got, want in zip(gradient(**names), gradient(*arrays), strict=True):
        assert same_bits(got, want)
    for wrong in ((), arrays[:-1], [*arrays, None]):
        with pytest.raises(TypeError):
            gradient(*wrong)


def test_docstrings(differentiable):
    for module in (kb.grad, kb.value_and_grad):
        doc = inspect.getdoc(getattr(module, differentiable.name))
        for section in ("Parameters", "Returns", "See Also", "Examples"):
            assert f"\n{section}\n{'-' * len(section)}\n" in doc


@pytest.mark.parametrize("module", ["grad", "value_and_grad"])
def test_examples_run(module):
    result = doctest.testmod(importlib.import_module(f"kullback.{module}"), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0


# Dtypes and shapes


@pytest.mark.parametrize(
    "given", list(itertools.product(["f4", "f8", "i4", "u1", "?", ">f4", ">f8"], repeat=2)), ids=str
)
def test_dtypes(gradient, given, same_bits):
    arrays = gradient.measure.filled(*(np.array([[1, 0, 1], [0, 1, 1]]).astype(t) for t in given))
    wide = [
        a.astype(np.result_type(*(float if x.dtype.kind != "f" else x.dtype.newbyteorder("=") for x in arrays)))
        for a in arrays
    ]
    wide = [a if i in gradient.measure.reals else arrays[i] for i, a in enumerate(wide)]
    if gradient.measure.takes_classes:
        wide = arrays
    for i, got, full in zip(gradient.places, gradient(*arrays), gradient(*wide), strict=True):
        dtype = np.dtype(np.float32 if arrays[i].dtype.newbyteorder("=") == np.float32 else np.float64)
        assert got.dtype == dtype
        with np.errstate(over="ignore"):
            assert same_bits(got, full.astype(dtype))  # computed as the value is


def test_lists_and_numbers(gradient, same_bits):
    arrays = gradient.measure.arrays("f8", (3, 5))
    for got, want in zip(gradient(*(a.tolist() for a in arrays)), gradient(*arrays), strict=True):
        assert same_bits(got, want)
    single = [a[0, 0] if a.ndim == 2 else a[0] for a in arrays]
    for numbers in (single, [x.item() for x in single], [np.asarray(x) for x in single]):
        if not gradient.measure.by_rows:
            assert {type(x) for x in gradient(*numbers)} == {np.float64}
            assert {type(x) for x in gradient(*(np.float32(x) for x in numbers))} == {np.float32}


def test_a_number_beside_a_float32_array():
    q = np.float32([0.25, 0.5])
    labels, by_q = kb.grad.binary_cross_entropy(1, q, wrt="both")
    assert type(labels) is np.float64
    assert by_q.dtype == np.float32
    np.testing.assert_array_equal(by_q, [-4, -2])
    assert labels == pytest.approx(math.log(3), rel=1e-6)  # log((1 - q)/q), added up


def test_weights_do_not_count_for_the_dtype(gradient):
    if gradient.measure.weights:
        for dtype, other in (("f4", "f8"), ("f8", "f4"), ("f4", "i8")):
            weights = some_weights(gradient.measure, (3, 5), other)
            for got in gradient(*gradient.measure.arrays(dtype, (3, 5)), **weights):
                assert got.dtype == dtype


SHAPES = [((3,), (2, 3)), ((2, 3), (3,)), ((4, 1, 3), (2, 3)), ((2, 3), (1, 1)), ((2, 1), (1, 3)), ((0, 3), (1, 3))]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_gradients_of_broadcast_arguments_are_summed(gradient, shapes):
    measure = gradient.measure
    if len(measure.inputs) == 1 or measure.takes_classes:
        return
    if measure.is_categorical:  # which broadcasts lengths of 1 only
        shapes = [(1,) * (max(map(len, shapes)) - len(shape)) + shape for shape in shapes]
    rng = np.random.default_rng(1)
    arrays = [rng.uniform(0.1, 0.9, shape) for shape in shapes]
    full = np.broadcast_arrays(*arrays)
    for i, got, whole in zip(gradient.places, gradient(*arrays), gradient(*full), strict=True):
        shape = (1,) * (whole.ndim - arrays[i].ndim) + arrays[i].shape
        axes = tuple(d for d, n in enumerate(shape) if n == 1)
        assert got.shape == arrays[i].shape
        np.testing.assert_allclose(got, whole.sum(axes).reshape(got.shape), rtol=1e-13, atol=1e-14)


def test_empty_arrays(gradient):
    for shape in [(0, 3), (3, 0), (0,)]:
        if gradient.measure.takes_classes and shape != (0, 3):
            continue
        arrays = gradient.measure.filled(np.zeros(shape), np.zeros(shape))
        for i, got in zip(gradient.places, gradient(*arrays), strict=True):
            assert got.shape == arrays[i].shape


@pytest.mark.parametrize("bad", ["c16", "O", "U1", "S1", "M8[s]", "f2", "g"])
def test_other_dtypes_are_refused(gradient, bad):
    measure = gradient.measure
    good = measure.arrays("f8", (2, 3))
    value = np.zeros(good[-1].shape if measure.keeps_shape else (2,))
    with pytest.raises(TypeError, match=r"^grad_output has dtype"):
        gradient(*good, grad_output=value.astype(bad))
    for i in measure.reals:
        arrays = [np.zeros((2, 3)).astype(bad) if k == i else a for k, a in enumerate(good)]
        with pytest.raises(TypeError, match=f"^{measure.inputs[i]} has dtype"):
            gradient(*arrays)


# grad_output


@pytest.mark.parametrize("g", [1, 2, -0.5, True, np.float32(2), np.int8(3), [0.25], np.array(0.5)], ids=repr)
def test_grad_output_is_a_factor(gradient, dtype, g):
    shape = (1, 1, 4)
    arrays = gradient.measure.arrays(dtype, shape)
    for plain, got in zip(gradient(*arrays), gradient(*arrays, grad_output=g), strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, plain * np.asarray(g, dtype), rtol=4 * np.finfo(dtype).eps)


def test_grad_output_of_1_changes_no_bits(gradient, dtype, same_bits):
    arrays = gradient.measure.arrays(dtype, (5, 67))
    for g in (1, 1.0, np.ones(5 if gradient.measure.by_rows else (5, 67))):
        for plain, got in zip(gradient(*arrays), gradient(*arrays, grad_output=g), strict=True):
            assert same_bits(got, plain)


def test_grad_output_broadcasts(gradient, dtype, same_bits):
    measure = gradient.measure
    arrays = measure.arrays(dtype, (3, 4, 5))
    of_elements = not measure.by_rows
    value = (3, 4, 5) if of_elements else (3, 4)
    cases: list[tuple[tuple[int, ...], dict[str, Any]]] = [(value, {})]
    cases += [((), {"reduction": "sum"})] if "reduction" in measure.options else []
    cases += [((3, 4, 1), {"keepdims": True}), ((3, 5), {"axis": 1})] if measure.reduces else []
    for value, options in cases:
        for kept in itertools.product((False, True), repeat=len(value)):
            shape = tuple(n if k else 1 for n, k in zip(value, kept, strict=True))
            for fewer in {shape, shape[1:] if shape[:1] == (1,) else shape}:
                g = np.random.default_rng(4).normal(size=fewer).astype(dtype)
                full = np.broadcast_to(g, value).copy()
                every = zip(
                    gradient(*arrays, grad_output=g, **options),
                    gradient(*arrays, grad_output=full, **options),
                    strict=True,
                )
                assert all(same_bits(a, b) for a, b in every), (fewer, options)
        for wrong in [(2,), (7, *value), (1, *value), (*value, 2)]:
            with pytest.raises(ValueError, match=rf"^grad_output has shape {re.escape(str(wrong))}"):
                gradient(*arrays, grad_output=np.ones(wrong), **options)


def test_grad_output_row_by_row(gradient, dtype, same_bits):
    measure = gradient.measure
    arrays = measure.arrays(dtype, (6, 70))
    g = np.random.default_rng(4).normal(size=6).astype(dtype)
    whole = gradient(*arrays, grad_output=g if measure.by_rows else np.broadcast_to(g[:, None], (6, 70)))
    for k in range(6):
        one = gradient(*(a[k] for a in arrays), grad_output=g[k])
        assert all(same_bits(a[k], b) for a, b in zip(whole, one, strict=True))


# wrt and hessian


@pytest.mark.parametrize("bad", ["x", "", "Both", "wrt", None, 0, b"q", ["q"], ("p", "q"), True], ids=repr)
def test_wrt_is_an_argument_or_both(differentiable, bad):
    arrays = differentiable.arrays("f8", (2, 3))
    for module in (kb.grad, kb.value_and_grad):
        function = getattr(module, differentiable.name)
        if len(differentiable.inputs) == 1:
            with pytest.raises(TypeError, match="unexpected keyword"):
                function(*arrays, wrt=bad)
            continue
        first, second = differentiable.inputs
        with pytest.raises(ValueError) as error:  # noqa: PT011 - compared whole below
            function(*arrays, wrt=bad)
        if not differentiable.takes_classes:
            assert str(error.value) == f"wrt: expected {first!r}, {second!r} or 'both', got {bad!r}"


@pytest.mark.parametrize("wrt", ["labels", "both"])
def test_classes_have_no_gradient(categorical, wrt):
    if categorical.takes_classes:
        want = f"wrt: labels are class indices, which have no gradient; expected '{categorical.inputs[1]}'"
        for module in (kb.grad, kb.value_and_grad):
            with pytest.raises(ValueError, match=f"^{want}$"):
                getattr(module, categorical.name)([0, 1], np.ones((2, 3)), wrt=wrt)


def test_both_are_the_two(pair, dtype, same_bits):
    if pair.name in kb.grad.__all__:
        function, arrays = getattr(kb.grad, pair.name), pair.arrays(dtype, (5, 67))
        both = function(*arrays, wrt="both")
        assert type(both) is tuple
        each = [function(*arrays, wrt=name) for name in pair.inputs]
        assert all(same_bits(a, b) for a, b in zip(both, each, strict=True))
        assert same_bits(function(*arrays), each[1])


HESSIANS = ["binary_cross_entropy_from_logits", "categorical_cross_entropy_from_logits"]


@pytest.mark.parametrize("name", HESSIANS)
def test_the_hessian_comes_beside_the_gradient(name, dtype, same_bits):
    function = getattr(kb.grad, name)
    labels, z = np.eye(4, dtype=dtype), np.random.default_rng(1).normal(0, 3, (4, 4)).astype(dtype)
    pair = function(labels, z, hessian=True)
    assert type(pair) is tuple
    assert same_bits(pair[0], function(labels, z))
    assert pair[1].shape == z.shape
    for wrt in ("labels", "both"):
        with pytest.raises(ValueError, match=r"hessian"):
            function(labels, z, wrt=wrt, hessian=True)
    with pytest.raises(TypeError, match="unexpected keyword"):
        getattr(kb.value_and_grad, name)(labels, z, hessian=True)


# Values and gradients in one


def whole(result: Any) -> list[Any]:
    """The value and its gradients."""
    value, gradient = result
    return [value, *(gradient if isinstance(gradient, tuple) else (gradient,))]


@pytest.mark.parametrize("shape", [(5,), (3, 70), (3, 4, 5), (2, 5_000), (200, 300)], ids=str)
def test_value_and_grad_are_the_value_and_the_grad(gradient, dtype, shape, same_bits):
    measure = gradient.measure
    if "hessian" in gradient.way:
        return
    arrays = measure.arrays(dtype, shape)
    both = getattr(kb.value_and_grad, measure.name)
    every: list[dict[str, Any]] = [{}, *({"base": 3.7} for _ in range("base" in measure.options))]
    if measure.reduces:
        every += [{"axis": axis, "keepdims": axis == 0} for axis in (0, None)]
    if measure.weights:
        weights = some_weights(measure, shape, dtype)
        every += [{**weights, "label_smoothing": 0.1, "reduction": how} for how in (None, "sum", "mean")]
        every += [{"reduction": "mean"}]
    for options in every:
        want = [measure(*arrays, **options), *gradient(*arrays, grad_output=0.3, **options)]
        got = both(*arrays, **gradient.way, grad_output=0.3, **options)
        assert type(got) is tuple
        assert len(got) == 2
        assert all(same_bits(a, b) for a, b in zip(whole(got), want, strict=True)), options
        outs = [np.full_like(x, 7) for x in want]
        for given in itertools.product((True, False), repeat=len(outs)):
            value, *rest = (out if wanted else None for out, wanted in zip(outs, given, strict=True))
            out = (value, tuple(rest) if len(rest) > 1 else rest[0])
            got = both(*arrays, **gradient.way, grad_output=0.3, **options, out=out)
            for result, into, wanted, exact in zip(whole(got), outs, given, want, strict=True):
                assert (result is into) == wanted
                assert same_bits(result, exact), (options, given)


# out: what may be written to, also if it is read from


def paired(outs: list[Any]) -> Any:
    """As `out` takes them."""
    return tuple(outs) if len(outs) > 1 else outs[0]


def test_out_is_filled_and_returned(gradient, dtype, same_bits):
    for shape in [(5,), (3, 70), (2, 3, 5), (300, 500)]:
        arrays = gradient.measure.arrays(dtype, shape)
        want = gradient(*arrays)
        for make in (
            lambda x: np.full_like(x, 7),
            lambda x: np.full_like(x, 7, order="F"),
            lambda x: np.full([2 * n for n in x.shape], 7, x.dtype)[tuple(slice(None, None, -2) for _ in x.shape)],
            lambda x: np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape),
        ):
            outs = [make(x) for x in want]
            got = gradient(*arrays, out=paired(outs))
            assert all(a is b for a, b in zip(got, outs, strict=True))
            assert all(same_bits(a, b) for a, b in zip(outs, want, strict=True))
        if len(want) > 1:
            for k in (0, 1):
                outs = [np.full_like(x, 7) if i == k else None for i, x in enumerate(want)]
                got = gradient(*arrays, out=tuple(outs))
                assert got[k] is outs[k]
                assert all(same_bits(a, b) for a, b in zip(got, want, strict=True))
            assert all(same_bits(a, b) for a, b in zip(gradient(*arrays, out=(None, None)), want, strict=True))


UNFIT: list[tuple[Any, Any, str]] = [
    (lambda a: a.astype("f4"), TypeError, "dtype float32"),
    (lambda a: a.astype("i8"), TypeError, "dtype int64"),
    (lambda a: a.astype(a.dtype.newbyteorder()), TypeError, "dtype"),
    (lambda a: a[None], ValueError, "shape"),
    (lambda a: a[:-1], ValueError, "shape"),
    (lambda a: a.tolist(), TypeError, "NumPy array or None"),
    (np.ma.masked_array, TypeError, "NumPy array or None"),
    (lambda a: np.broadcast_to(a, a.shape), ValueError, "read-only"),
]


@pytest.mark.parametrize(("make", "error", "what"), UNFIT)
def test_out_that_does_not_fit(gradient, make, error, what):
    arrays = gradient.measure.arrays("f8", (4, 5))
    good = [np.full((4, 5), 7.0) for _ in gradient.places]
    for k in range(len(good)):
        outs = [make(x) if i == k else x for i, x in enumerate(good)]
        with pytest.raises(error, match=f"^out.*{what}"):
            gradient(*arrays, out=paired(outs))
        if "hessian" not in gradient.way:
            value = np.full((4, 5) if gradient.measure.keeps_shape else 4, 7.0)
            both = getattr(kb.value_and_grad, gradient.measure.name)
            for out in ((value, paired(outs)), (make(value), paired(good))):
                with pytest.raises(error, match=f"^out.*{what}"):
                    both(*arrays, **gradient.way, out=out)
            assert (value == 7).all()
        assert all((x == 7).all() for x in good)


@pytest.mark.parametrize("bad", [(), (None,), (None, None, None), 1, "ou"], ids=repr)
def test_out_that_is_no_pair(gradient, bad):
    arrays = gradient.measure.arrays("f8", (4, 5))
    calls = [lambda: gradient(*arrays, out=bad)] if len(gradient.places) > 1 else []
    if "hessian" not in gradient.way:
        both = getattr(kb.value_and_grad, gradient.measure.name)
        calls.append(lambda: both(*arrays, **gradient.way, out=bad))
        calls += [lambda: both(*arrays, **gradient.way, out=np.zeros((4, 5)))]
        calls += [lambda: both(*arrays, **gradient.way, out=(None, bad))] if len(gradient.places) > 1 else []
    for call in calls:
        with pytest.raises((TypeError, ValueError), match=r"^out"):
            call()


def test_outs_may_not_overlap_each_other(gradient):
    measure = gradient.measure
    arrays = measure.arrays("f8", (4, 5))
    memory = np.full(60, 7.0)
    first = memory[:20].reshape(4, 5)
    others = [first, memory[19:39].reshape(4, 5), memory[:40:2].reshape(4, 5), first[::-1]]
    value = (4, 5) if measure.keeps_shape else (4,)
    for other in others:
        if len(gradient.places) > 1:
            with pytest.raises(ValueError, match=r"^out.*share memory"):
                gradient(*arrays, out=(first, other))
        if "hessian" not in gradient.way:
            gradients = paired([other] + [None] * (len(gradient.places) - 1))
            part = first if measure.keeps_shape else memory[19:23]
            with pytest.raises(ValueError, match=r"^out.*share memory"):
                getattr(kb.value_and_grad, measure.name)(*arrays, **gradient.way, out=(part.reshape(value), gradients))
    assert (memory == 7).all()
    # Neighbours do not overlap, nor do arrays whose elements take turns.
    if len(gradient.places) > 1:
        for pair in ((first, memory[20:40].reshape(4, 5)), (memory[:40:2].reshape(4, 5), memory[1:40:2].reshape(4, 5))):
            assert gradient(*arrays, out=pair)[0] is pair[0]


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("shape", [(6, 7), (65, 4_100), (9, 30_000)], ids=str)
def test_in_place(gradient, dtype, shape, same_bits):
    """Into the inputs themselves, each its own gradient and the other's; and into parts of them."""
    measure = gradient.measure
    want = gradient(*measure.arrays(dtype, shape))
    for places in itertools.product(measure.reals, repeat=len(want)):
        if len(set(places)) == len(places):
            arrays = measure.arrays(dtype, shape)
            got = gradient(*arrays, out=paired([arrays[i] for i in places]))
            assert all(a is arrays[i] for a, i in zip(got, places, strict=True))
            assert all(same_bits(a, b) for a, b in zip(got, want, strict=True)), places
    for i, shift, turned in itertools.product(measure.reals, (1, 3, shape[1]), (False, True)):
        arrays = measure.arrays(dtype, shape)
        size = arrays[i].size
        memory = np.zeros(size + shift, dtype)
        for source, target in ((memory[:size], memory[shift:]), (memory[shift:], memory[:size])):
            source[...] = arrays[i].ravel()
            out = (target[::-1] if turned else target).reshape(shape)
            views = [source.reshape(shape) if k == i else a for k, a in enumerate(arrays)]
            got = gradient(*views, out=paired([out] + [None] * (len(want) - 1)))
            assert all(same_bits(a, b) for a, b in zip(got, want, strict=True)), (i, shift, turned)


def test_in_place_along_other_axes(gradient, dtype, same_bits):
    if not gradient.measure.by_rows:
        return
    measure = gradient.measure
    for shape in [(30, 20, 10), (3, 5_000, 4)]:
        for axis in (0, 1, 2):
            arrays = measure.arrays(dtype, (*np.delete(shape, axis), shape[axis]))
            want = [np.moveaxis(x, -1, axis) for x in gradient(*arrays)]
            i = gradient.places[0]
            for order in "CF":
                moved = [
                    np.array(np.moveaxis(a, -1, axis), order=order) if k in measure.reals else a
                    for k, a in enumerate(arrays)
                ]
                got = gradient(*moved, axis=axis, out=paired([moved[i]] + [None] * (len(want) - 1)))
                assert all(same_bits(a, b) for a, b in zip(got, want, strict=True)), (axis, order)


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("shape", [(6, 7), (65, 4_100)], ids=str)
def test_values_and_gradients_in_place(gradient, dtype, shape, same_bits):
    """The value goes into a part of one input, the gradient into another one; or into that itself where there is one."""
    measure = gradient.measure
    if "hessian" in gradient.way:
        return
    both = getattr(kb.value_and_grad, measure.name)
    want = whole(both(*measure.arrays(dtype, shape), **gradient.way))
    for i in measure.reals:
        arrays = measure.arrays(dtype, shape)
        gradients = paired([arrays[i], None][: len(want) - 1])
        assert all(
            same_bits(a, b)
            for a, b in zip(whole(both(*arrays, **gradient.way, out=(None, gradients))), want, strict=True)
        )
    i, k = measure.reals[0], measure.reals[-1]
    if i != k:
        arrays = measure.arrays(dtype, shape)
        value = arrays[i] if measure.keeps_shape else arrays[i][:, 3]
        gradients = paired([arrays[k], None][: len(want) - 1])
        got = whole(both(*arrays, **gradient.way, out=(value, gradients)))
        assert all(same_bits(a, b) for a, b in zip(got, want, strict=True))


def test_out_may_be_memory_of_the_other_arguments(gradient, dtype, same_bits):
    """Of weights, of grad_output, of classes and of an input in another dtype."""
    measure = gradient.measure
    count = len(gradient.places)
    g = np.random.default_rng(1).normal(size=(5, 5)).astype(dtype)
    given = g if not measure.by_rows else g[2]
    arrays = measure.arrays(dtype, (5, 5))
    want = gradient(*arrays, grad_output=given.copy())
    got = gradient(*arrays, grad_output=given, out=paired([g, None][:count]))
    assert all(same_bits(a, b) for a, b in zip(got, want, strict=True))
    for name, weight in some_weights(measure, (5, 5), dtype).items():
        full = np.resize(weight, (5, 5))
        part = full if weight.ndim == 2 else full[0]
        want = gradient(*arrays, **{name: part.copy()})
        got = gradient(*arrays, **{name: part}, out=paired([full, None][:count]))
        assert all(same_bits(a, b) for a, b in zip(got, want, strict=True)), name
    integers = np.arange(25).reshape(5, 5)
    if measure.takes_classes:
        k, z = integers % 5, np.random.default_rng(1).random((5, 5, 5))
        want = gradient(k, z)
        memory = np.zeros((5, 5, 5))
        classes = memory.view(np.int64)[1]
        classes[...] = k
        got = gradient(classes, z, out=paired([memory, None][:count]))
    else:
        want = gradient(*measure.filled(integers, integers + 1))
        first = integers.copy()
        got = gradient(*measure.filled(first, integers + 1), out=paired([first.view(float), None][:count]))
    assert all(same_bits(a, b) for a, b in zip(got, want, strict=True))


def test_inputs_are_never_changed(gradient, dtype):
    measure = gradient.measure
    for shape in [(5,), (3, 70), (3, 5_000), (300, 500)]:
        arrays = [np.asarray(a) for a in measure.arrays(dtype, shape)]
        weights = some_weights(measure, shape, dtype)
        for views in (arrays, [np.asfortranarray(a) for a in arrays], [np.asarray(np.flip(a)) for a in arrays]):
            for a in (*views, *weights.values()):
                a.flags.writeable = False
            before = [a.tobytes() for a in (*views, *weights.values())]
            gradient(*views, **weights)
            if "hessian" not in gradient.way:
                getattr(kb.value_and_grad, measure.name)(*views, **gradient.way, **weights)
            assert [a.tobytes() for a in (*views, *weights.values())] == before


def test_errors_leave_out_untouched(gradient):
    measure = gradient.measure
    outs = [np.full((3, 4), 7.0) for _ in gradient.places]
    arrays = measure.arrays("f8", (3, 4))
    wrong: list[dict[str, Any]] = [{"grad_output": np.ones(7)}, {"grad_output": 1j}]
    wrong += [{"base": 1}] if "base" in measure.options else []
    wrong += [{"axis": 5}] if "axis" in measure.options else []
    wrong += [{"reduction": "avg"}, {"label_smoothing": 2}] if measure.weights else []
    for options in wrong:
        with pytest.raises((TypeError, ValueError)):
            gradient(*arrays, **options, out=paired(outs))
        assert all((x == 7).all() for x in outs)


# Memory

MEMORY = """
import numpy as np
import kullback as kb

z = np.full((600, 125_000), 0.5, np.float32)  # 300 MB
k = np.zeros(600, int)

def most():  # MiB
    lines = dict(line.split(":") for line in open("/proc/self/status"))
    return int(lines["VmHWM"].split()[0]) / 1024

before = most()
CALL
after = most()
np.ones(20 << 17)  # 20 MiB, which have to show
print(after - before, most() - after)
"""


@pytest.mark.parametrize(
    "call",
    [
        "kb.value_and_grad.categorical_cross_entropy_from_logits(k, z, reduction='mean', out=(None, z))",
        "kb.grad.categorical_cross_entropy_from_logits(k, z, label_smoothing=0.1, out=z)",
        "kb.value_and_grad.categorical_cross_entropy(k, z, reduction='sum', out=(None, z))",
        "kb.value_and_grad.entropy_from_logits(z, out=(None, z))",
    ],
)
def test_in_place_without_a_temporary(call):
    code = MEMORY.replace("CALL", call)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    cost, control = map(float, result.stdout.split())
    assert control > 10
    assert cost < 10
