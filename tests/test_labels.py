"""The promise: labels, weights, smoothing, ignored rows, sums and means do what the formulas say, or say what is wrong."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest

import kullback as kb
from kullback import runtime

BOTH = [kb.categorical_cross_entropy, kb.categorical_cross_entropy_from_logits]
either = pytest.mark.parametrize("function", BOTH, ids=lambda f: f.__name__)

# Where class indices are to be looked up, and what the messages call them.
LOOKUPS = [
    *((lambda z, k, f=f, **options: f(k, z, **options), "label") for f in BOTH),
    (kb.token_logprobs, "token"),
]
lookup = pytest.mark.parametrize(("function", "noun"), LOOKUPS, ids=[*(f.__name__ for f in BOTH), "token_logprobs"])


def predictions(shape: Any, dtype: Any = float, seed: int = 0) -> np.ndarray:
    """Good probabilities, and good logits."""
    return (np.random.default_rng(seed).random(shape) + 0.01).astype(dtype)


def classes(shape: Any, count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, count, shape)


class ArrayLike:
    def __init__(self, data: np.ndarray) -> None:
        self._data = data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._data


def unaligned(a: np.ndarray) -> np.ndarray:
    view = np.empty(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


def spread(a: np.ndarray, step: int) -> np.ndarray:
    """`a`, with numbers between its elements that are no classes."""
    view = np.full([abs(step) * n for n in a.shape], np.iinfo(a.dtype).max, a.dtype)[
        tuple(slice(None, None, step) for _ in a.shape)
    ]
    view[...] = a
    return view


# Labels: shapes and dtypes


@either
@pytest.mark.parametrize(
    ("shape", "axis", "labels"),
    [
        ((4, 6), -1, [(), (6,), (5,), (1,), (5, 6), (4, 5), (4, 6, 1), (1, 4, 6)]),
        ((4, 6), 0, [(), (4,), (5,), (5, 6), (4, 5)]),
        ((4, 5, 6), -1, [(4,), (4, 6), (1, 5), (4, 1), (4, 5, 7), (2, 5, 6), (4, 5, 6, 1)]),
        ((4, 5, 6), 1, [(4, 5), (5, 6), (6, 4), (4, 3, 6)]),
        ((6,), 0, [(1,) * 2, (5,), (2, 6)]),
    ],
    ids=str,
)
def test_labels_of_a_wrong_shape(function, shape, axis, labels):
    name = "logits" if function is BOTH[1] else "q"
    rows = tuple(np.delete(shape, axis).tolist())
    for wrong in labels:
        with pytest.raises(ValueError) as error:  # noqa: PT011 - compared whole below
            function(np.zeros(wrong, int), np.ones(shape), axis=axis)
        assert str(error.value) == (
            f"labels has shape {wrong} and {name} {shape}; "
            f"expected labels of shape {rows} (class indices) or {shape} (distributions)"
        )


@lookup
@pytest.mark.parametrize("dtype", ["f4", "f8", "?", ">f4"])
def test_classes_are_integers(function, noun, dtype):
    with pytest.raises(TypeError, match=f"^{noun}s has dtype {np.dtype(dtype)}; expected an integer dtype"):
        function(np.ones((3, 4)), np.zeros(3, dtype))
    with pytest.raises(TypeError, match=f"^{noun}s has dtype float64; expected an integer dtype"):
        function(np.ones((3, 4)), [0.0, 1.0, 2.0])
    with pytest.raises(TypeError, match=f"^{noun}s has dtype bool; expected an integer dtype"):
        function(np.ones(4), True)


@lookup
@pytest.mark.parametrize("dtype", [*np.typecodes["AllInteger"], ">i2", ">i4", ">i8", ">u2", ">u4", ">u8"])
def test_classes_of_every_integer_dtype(function, noun, dtype, same_bits):
    for shape in [(7, 5), (3, 4, 100), (300, 127)]:
        z, k = predictions(shape), classes(shape[:-1], shape[-1])
        assert same_bits(function(z, k.astype(dtype)), function(z, k))


@lookup
@pytest.mark.parametrize(
    "view",
    [
        *(np.asfortranarray, np.ndarray.tolist, unaligned, read_only, memoryview, ArrayLike),
        *(lambda a: spread(a, 2), lambda a: spread(a, -3), lambda a: a[::-1].copy()[::-1]),
    ],
    ids=["Fortran", "list", "unaligned", "read-only", "buffer", "__array__", "step 2", "step -3", "reversed"],
)
@pytest.mark.parametrize("dtype", ["i8", "i1", ">u4", ">i8"])
def test_classes_in_any_memory(function, noun, view, dtype, same_bits):
    for shape in [(7, 5), (9, 70, 30)]:
        z, k = predictions(shape), classes(shape[:-1], shape[-1]).astype(dtype)
        assert same_bits(function(z, view(k)), function(z, k.astype(int)))


@lookup
def test_one_row_has_one_class(function, noun, same_bits):
    z = predictions(5)
    want = function(z[None], [3])[0]
    for k in (3, np.int8(3), np.array(3), np.array(3, ">u8"), np.uint64(3)):
        assert same_bits(function(z, k), want)
        assert type(function(z, k)) is np.float64


# Labels that are no classes

BAD = [
    (10, "i8"),
    (-1, "i8"),
    (-1, "i1"),
    (-128, "i1"),
    (127, "i1"),
    (255, "u1"),
    (10, ">i4"),
    (-(2**31), ">i4"),
    (-(2**63), "i8"),
    (2**63 - 1, "i8"),
    (2**63, "u8"),
    (2**64 - 1, "u8"),
    (2**64 - 1, ">u8"),
]


@lookup
@pytest.mark.parametrize(("value", "dtype"), BAD, ids=str)
def test_the_first_bad_class_is_named(function, noun, value, dtype):
    for shape, indices in [((7,), [(0,), (3,), (6,)]), ((4, 5), [(0, 3), (2, 0), (3, 4)]), ((2, 3, 4), [(1, 2, 3)])]:
        for index in indices:
            k = classes(shape, 10).astype(dtype)
            k[index] = k.flat[-1] = value
            message = f"^{noun} {value} at index {re.escape(str(index))} is out of range for 10 classes$"
            for labels in (k, np.asfortranarray(k), unaligned(k), k[::-1].copy()[::-1]):
                with pytest.raises(IndexError, match=message):
                    function(predictions((*shape, 10)), labels)


@lookup
def test_the_bad_class_of_one_row(function, noun):
    with pytest.raises(IndexError, match=rf"^{noun} 5 at index \(\) is out of range for 5 classes$"):
        function(np.ones(5), 5)
    with pytest.raises(IndexError, match=rf"^{noun} 0 at index \(0,\) is out of range for 0 classes$"):
        function(np.ones((3, 0)), [0, 0, 0])


@lookup
def test_the_first_bad_class_in_c_order_along_any_axis(function, noun):
    z = predictions((4, 10, 5, 6))
    k = classes((4, 5, 6), 10)
    k[1, 4, 0] = k[1, 2, 3] = k[3, 0, 0] = 10
    for labels in (k, np.asfortranarray(k), k.transpose(2, 0, 1).copy().transpose(1, 2, 0)):
        for each in (z, np.asfortranarray(z), z.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)):
            with pytest.raises(IndexError, match=rf"^{noun} 10 at index \(1, 2, 3\) is out of range for 10 classes$"):
                function(each, labels, axis=1)


def outs(z: np.ndarray, k: np.ndarray) -> list[np.ndarray]:
    """Arrays for the results: of their own, strided, unaligned, and parts of the predictions and of the labels."""
    n = k.size
    own, apart = np.full(k.shape, 7.0), np.full([2 * n for n in k.shape], 7.0)
    return [
        own,
        apart[tuple(slice(None, None, -2) for _ in k.shape)],
        unaligned(own),
        z.ravel()[:n].reshape(k.shape),
        z.ravel()[-n:].reshape(k.shape)[::-1],
        k.view(float),
    ]


@lookup
@pytest.mark.parametrize("shape", [(6, 10), (400, 1_000), (3, 200_000), (100, 4, 700)], ids=str)
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_a_bad_class_leaves_out_as_it_was(function, noun, shape, threads):
    for which in range(6):
        z, k = predictions(shape), classes(shape[:-1], shape[-1])
        k.flat[-1] = shape[-1]
        out = outs(z, k)[which]
        before = out.tobytes()
        with runtime.threads(threads), pytest.raises(IndexError, match=f"^{noun} {shape[-1]} at index"):
            function(z, k, out=out)
        assert out.tobytes() == before


@lookup
def test_a_bad_class_leaves_out_as_it_was_along_axis_1(function, noun):
    z, k = predictions((4, 10, 50, 60)), classes((4, 50, 60), 10)
    k[-1, -1, -1] = -1
    for out in (np.full(k.shape, 7.0), np.full((60, 50, 4), 7.0).T, z[:, 3], k.view(float)):
        before = out.copy()
        with pytest.raises(IndexError, match=rf"^{noun} -1 at index \(3, 49, 59\) is out of range for 10 classes$"):
            function(z, k, axis=1, out=out)
        assert out.tobytes() == before.tobytes()


@pytest.mark.usefixtures("many_threads")
@either
@pytest.mark.parametrize("how", ["sum", "mean"])
@pytest.mark.parametrize("shape", [(6, 10), (400, 1_000), (3, 200_000)], ids=str)
def test_a_bad_class_leaves_the_sum_as_it_was(function, how, shape):
    k, out = classes(shape[:-1], shape[-1]), np.array(7.0)
    k[-1] = shape[-1]
    with pytest.raises(IndexError, match=rf"^label {shape[-1]} at index \({shape[0] - 1},\) is out of range"):
        function(k, predictions(shape), reduction=how, out=out)
    assert out == 7


@pytest.mark.usefixtures("many_threads")
@lookup
@pytest.mark.parametrize("shape", [(6, 10), (400, 1_000), (100, 4, 700)], ids=str)
def test_out_may_overlap_the_classes(function, noun, shape, same_bits):
    z, k = predictions(shape), classes(shape[:-1], shape[-1])
    want = function(z, k)
    for reverse in (False, True):
        labels = k.copy()
        out = labels.view(float)[::-1] if reverse else labels.view(float)
        assert function(z, labels, out=out) is out
        assert same_bits(out, want)


# ignore_index


@either
@pytest.mark.parametrize("how", [None, "sum", "mean"])
@pytest.mark.parametrize(
    ("ignored", "dtype"),
    [
        *((2, "i8"), (0, "u1"), (-100, "i8"), (-100, "i1"), (-1, ">i4"), (255, "u1"), (10, "i8"), (2**63, "u8")),
        *((2**64 - 1, "u8"), (2**64 - 1, ">u8"), (-(2**63), "i8"), (2**63 - 1, "u8"), (np.int8(3), "i8"), (True, "i8")),
    ],
    ids=str,
)
def test_ignored_rows_take_no_part(function, how, ignored, dtype, same_bits):
    for shape in [(40, 10), (700, 10), (90, 5_000)]:
        z, k = predictions(shape), classes(shape[0], 10).astype(dtype)
        k[::3] = ignored
        kept = k != k.dtype.type(ignored)
        assert kept.any()
        z[~kept] = np.nan
        got = function(k, z, ignore_index=ignored, reduction=how)
        if how is None:
            assert same_bits(got[kept], function(k[kept], z[kept]))
            assert same_bits(got[~kept], np.zeros(np.sum(~kept)))
        else:
            np.testing.assert_allclose(got, function(k[kept], z[kept], reduction=how), rtol=2.0**-51)


@either
@pytest.mark.parametrize(
    ("ignored", "dtype"),
    [
        *((-100, "i8"), (10, "i1"), (2**63, "i8"), (2**64 - 1, "i8"), (2**64 + 3, "i8"), (10**30, "i8"), (256, "u1")),
        *((-1, "u1"), (-1, "u8"), (-(2**63), "u8"), (2**64, "u8"), (10**30, "u8"), (-(10**30), "u8")),
    ],
    ids=str,
)
def test_a_label_to_ignore_that_does_not_occur(function, ignored, dtype, same_bits):
    z, k = predictions((40, 10)), classes(40, 10).astype(dtype)
    assert same_bits(function(k, z, ignore_index=ignored), function(k, z))
    # Labels of the same bits, but of another value, are not ignored either.
    largest = np.iinfo(dtype).max
    k[5] = largest
    with pytest.raises(IndexError, match=rf"^label {largest} at index \(5,\) is out of range for 10 classes$"):
        function(k, z, ignore_index=ignored)


@either
def test_another_bad_label_than_the_one_to_ignore(function):
    with pytest.raises(IndexError, match=r"^label -1 at index \(1,\) is out of range for 4 classes$"):
        function([-100, -1, 4], np.ones((3, 4)), ignore_index=-100)


@either
@pytest.mark.parametrize("bad", [1.0, "1", [1], (), 1j, np.float64(1), np.array([1])], ids=repr)
def test_a_label_to_ignore_is_an_int(function, bad):
    with pytest.raises(TypeError, match=r"^ignore_index: expected None or an int, got "):
        function([0, 1, 2], np.ones((3, 4)), ignore_index=bad)


@either
def test_there_is_nothing_to_ignore_in_distributions(function):
    with pytest.raises(ValueError, match=r"^ignore_index: expected None, for labels are distributions; got -100$"):
        function(np.ones((3, 4)), np.ones((3, 4)), ignore_index=-100)


# Values against the formulas, in a wider format. Terms are >= 0, so that 2 ULP of the result are promised.


def categorical_formula(
    function, labels, q, axis=-1, weight=None, sample_weight=1, ignore_index=None, label_smoothing=0.0, reduction=None
):
    z = np.moveaxis(np.asarray(q, np.longdouble), axis, -1)
    count = z.shape[-1]
    if function is kb.categorical_cross_entropy_from_logits:
        z = z - z.max(-1, keepdims=True)
        z = z - np.log(np.exp(z).sum(-1, keepdims=True))
    else:
        z = np.log(z)
    kept = np.ones(z.shape[:-1], bool)
    if labels.ndim < q.ndim:
        kept = kept if ignore_index is None else labels != ignore_index
        y = (np.arange(count) == np.where(kept, labels, 0)[..., None]).astype(np.longdouble)
    else:
        y = np.moveaxis(np.asarray(labels, np.longdouble), axis, -1)
    w = np.ones(count, np.longdouble) if weight is None else np.asarray(weight, np.longdouble)
    v = np.broadcast_to(np.asarray(sample_weight, np.longdouble), kept.shape)
    s = np.longdouble(label_smoothing)
    losses = np.where(kept, v * (w * ((1 - s) * y + s / count) * -z).sum(-1), 0)
    if reduction is None:
        return losses
    shares = v if weight is None else v * (w * y).sum(-1)
    return losses.sum() / (shares[kept].sum() if reduction == "mean" else 1)


def binary_formula(function, labels, q, weight=None, pos_weight=1, label_smoothing=0.0, reduction=None):
    y, z = np.asarray(labels, np.longdouble), np.asarray(q, np.longdouble)
    if function is kb.binary_cross_entropy_from_logits:
        of_true, of_false = np.logaddexp(0, -z), np.logaddexp(0, z)
    else:
        of_true, of_false = -np.log(z), -np.log1p(-z)
    s = np.longdouble(label_smoothing)
    y = (1 - s) * y + s / 2
    losses = np.asarray(pos_weight, np.longdouble) * y * of_true + (1 - y) * of_false
    losses, w = np.broadcast_arrays(losses, np.asarray(1 if weight is None else weight, np.longdouble))
    total = {"sum": 1, "mean": w.sum()}
    return w * losses if reduction is None else (w * losses).sum() / total[reduction]


def assert_is(got: Any, want: Any, dtype: Any = float) -> None:
    np.testing.assert_allclose(got, np.asarray(want, dtype), rtol=2 * np.finfo(dtype).eps)


RNG = np.random.default_rng(5)
CATEGORICAL_OPTIONS: list[dict[str, Any]] = [
    {},
    {"weight": RNG.random(6)},
    {"weight": [0, 1, 2, 0, 0.5, 1]},
    {"sample_weight": RNG.random((4, 5))},
    {"sample_weight": RNG.random((4, 1))},
    {"sample_weight": RNG.random(5)},
    {"sample_weight": 0.25},
    {"label_smoothing": 0.1},
    {"label_smoothing": 1},
    {"weight": RNG.random(6), "sample_weight": RNG.random((4, 5)), "label_smoothing": 0.3},
]


@either
@pytest.mark.parametrize("how", [None, "sum", "mean"])
@pytest.mark.parametrize("options", CATEGORICAL_OPTIONS, ids=lambda o: "+".join(o) or "none")
@pytest.mark.parametrize("kind", ["classes", "ignored", "soft", "unnormalized"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_categorical_losses_are_the_formula(function, how, options, kind, axis):
    z = np.moveaxis(predictions((4, 5, 6)) / 1.1, -1, axis)
    labels = classes((4, 5), 6)
    if kind in ("soft", "unnormalized"):
        labels = predictions((4, 5, 6), seed=3)
        labels = np.moveaxis(labels / labels.sum(-1, keepdims=True) if kind == "soft" else labels, -1, axis)
    ignored = {"ignore_index": 2} if kind == "ignored" else {}
    got = function(labels, z, axis=axis, reduction=how, **ignored, **options)
    assert_is(got, categorical_formula(function, labels, z, axis, reduction=how, **ignored, **options))


BINARY_OPTIONS: list[dict[str, Any]] = [
    {},
    {"weight": RNG.random((4, 5))},
    {"weight": 2},
    {"weight": RNG.random(5)},
    {"pos_weight": RNG.random((4, 1))},
    {"pos_weight": 3.0},
    {"label_smoothing": 0.1},
    {"label_smoothing": 1},
    {"weight": RNG.random((2, 4, 1)), "pos_weight": RNG.random(5), "label_smoothing": 0.3},
]


@pytest.mark.parametrize("how", [None, "sum", "mean"])
@pytest.mark.parametrize("options", BINARY_OPTIONS, ids=lambda o: "+".join(o) or "none")
@pytest.mark.parametrize("shapes", [((4, 5), (4, 5)), ((5,), (4, 5)), ((4, 1), (1, 5)), ((), (4, 5))], ids=str)
def test_binary_losses_are_the_formula(binary, how, options, shapes):
    function = getattr(kb, binary.name)
    y, q = predictions(shapes[0], seed=7) / 1.1, predictions(shapes[1]) / 1.1
    got = binary(y, q, reduction=how, **options)
    assert_is(got, binary_formula(function, y, q, reduction=how, **options))


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("how", ["sum", "mean"])
def test_long_sums_are_the_formula(loss, how, dtype):
    formula = categorical_formula if loss.is_categorical else binary_formula
    for shape in [(100_000, 3), (3, 100_000), (900, 700)]:
        labels = classes(shape[0], shape[1]) if loss.takes_classes else predictions(shape, dtype, 7) / dtype.type(1.1)
        q = predictions(shape, dtype) / dtype.type(1.1)
        assert_is(loss(labels, q, reduction=how), formula(getattr(kb, loss.name), labels, q, reduction=how), dtype)


def test_sums_and_means_by_hand():
    q, y = np.full((4, 2), 0.5), np.array([0, 1, 1, 0])
    log2 = np.log(2)
    assert kb.categorical_cross_entropy(y, q, reduction="sum") == 4 * log2
    assert kb.categorical_cross_entropy(y, q, weight=[1, 3], reduction="sum") == 8 * log2
    assert kb.categorical_cross_entropy(y, q, weight=[1, 3], reduction="mean") == log2
    assert kb.categorical_cross_entropy(y, q, sample_weight=[1, 0, 0, 1], reduction="mean") == log2
    assert kb.categorical_cross_entropy(y, q, ignore_index=1, reduction="sum") == 2 * log2
    assert kb.categorical_cross_entropy(q * 4, q, reduction="mean") == 4 * log2  # of rows that are no distributions
    assert kb.categorical_cross_entropy(q * 4, q, weight=[1, 1], reduction="mean") == log2
    assert kb.binary_cross_entropy(y, q[:, 0], pos_weight=3, reduction="mean") == 2 * log2
    assert kb.binary_cross_entropy(y, q[:, 0], weight=3, reduction="mean") == log2


# Means of nothing


NOTHING: list[tuple[Any, Any, dict[str, Any]]] = [
    (np.zeros(0, int), np.ones((0, 3)), {}),
    (np.ones((0, 3)), np.ones((0, 3)), {}),
    ([1, 1], np.ones((2, 3)), {"ignore_index": 1}),
    ([-100, -100], np.full((2, 3), np.nan), {"ignore_index": -100}),
    ([1, 1], np.ones((2, 3)), {"sample_weight": 0}),
    ([1, 1], np.ones((2, 3)), {"sample_weight": [1.0, -1.0]}),
    ([1, 1], np.ones((2, 3)), {"weight": [1, 0, 1]}),
    ([[0, 1, 0.0]], np.ones((2, 3)), {"weight": [1, 0, 1]}),
]


@either
@pytest.mark.parametrize(("labels", "q", "options"), NOTHING)
def test_the_mean_of_nothing_warns(function, labels, q, options):
    with pytest.warns(RuntimeWarning, match=r"^mean of nothing: ") as caught:
        got = function(labels, q, reduction="mean", **options)
    assert type(got) is np.float64
    assert np.isnan(got)
    assert [w.filename for w in caught] == [__file__]
    assert np.isfinite(function(labels, q, reduction="sum", **options))


def test_the_mean_of_no_binary_losses_warns(binary):
    cases = [(np.ones(0), {}), (np.ones((3, 0)), {}), (np.ones(3), {"weight": 0}), (np.ones(2), {"weight": [2, -2.0]})]
    for y, options in cases:
        with pytest.warns(RuntimeWarning, match=r"^mean of nothing: ") as caught:
            assert np.isnan(getattr(kb, binary.name)(y, y, reduction="mean", **options))
        assert [w.filename for w in caught] == [__file__]
        assert np.isfinite(binary(y, y, reduction="sum", **options))


def test_a_warning_made_an_error_leaves_out_as_it_was(loss):
    shape, out = (0, 3), np.array(7.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="mean of nothing"):
            loss(*loss.arrays(float, shape), reduction="mean", out=out)
    assert out == 7
    with pytest.warns(RuntimeWarning, match="mean of nothing"):
        assert loss(*loss.arrays(float, shape), reduction="mean", out=out) is out
    assert np.isnan(out)


def test_weights_that_nearly_cancel_are_not_nothing(categorical):
    # 10^20 + 1 - 10^20 = 1, wherever the rows are.
    for distance in (1, 2, 4, 8, 64):
        rows = 2 * distance + 1
        weights = np.zeros(rows)
        weights[[0, distance, -1]] = 1e20, 1, -1e20
        q = np.full((rows, 2), 0.5)
        labels = np.zeros(rows, int) if categorical.takes_classes else np.array([[1.0, 0]])
        # An ULP of what cancels here is 10^4.
        mean = categorical(labels, q, sample_weight=weights, reduction="mean")
        np.testing.assert_allclose(mean, np.log(2), rtol=1e-12)


# out


@pytest.mark.parametrize("how", ["sum", "mean"])
def test_out_of_a_sum_is_0_d(loss, dtype, how, same_bits):
    arrays = loss.arrays(dtype, (40, 5))
    want, out = loss(*arrays, reduction=how), np.array(7, dtype)
    assert loss(*arrays, reduction=how, out=out) is out
    assert same_bits(out, want)
    for i in loss.reals:  # a part of an input
        copies = [a.copy() for a in arrays]
        assert same_bits(loss(*copies, reduction=how, out=copies[i][3, 2, ...]), want)
    memory = np.zeros(9, np.uint8)[1:].view(np.uint8)[: dtype.itemsize].view(dtype)[0, ...]
    assert same_bits(loss(*arrays, reduction=how, out=memory), want)
    for shape in [(1,), (40,), (40, 5)]:
        with pytest.raises(ValueError, match=r"^out has shape \(.*\); expected \(\)$"):
            loss(*arrays, reduction=how, out=np.empty(shape, dtype))
    with pytest.raises(TypeError, match=r"^out has dtype int64; expected float"):
        loss(*arrays, reduction=how, out=np.array(7))


def test_out_may_overlap_the_weights(loss, dtype, same_bits):
    arrays = loss.arrays(dtype, (5, 5))
    for name in loss.weights:
        weight = predictions(5, dtype)
        want = loss(*arrays, **{name: weight.copy()})
        out = weight if loss.by_rows else np.lib.stride_tricks.as_strided(np.resize(weight, 25), (5, 5))
        given = out if loss.by_rows else out[0]
        assert same_bits(loss(*arrays, **{name: given}, out=out), want)


# One-hot labels, and broadcasting


@either
@pytest.mark.parametrize("shape", [(5,), (40, 1), (300, 3), (50, 70), (7, 4_097), (2, 20_000)], ids=str)
@pytest.mark.parametrize("confident", [0, 30, 700])
def test_one_hot_labels_give_what_classes_give(function, dtype, shape, confident, same_bits):
    # float64: the very bits. In float32 sums over classes carry fewer digits to spare than what one class is made of.
    z, k = predictions(shape, dtype), classes(shape[:-1], shape[-1])
    one_hot = (np.arange(shape[-1]) == k[..., None]).astype(dtype)
    z = z + dtype.type(confident) * one_hot if function is BOTH[1] else z
    v = predictions(shape[:-1], dtype, seed=9)
    for options in ({}, {"base": 2}, {"sample_weight": v}, {"weight": predictions(shape[-1:], dtype)}):
        of_labels, of_classes = function(one_hot, z, **options), function(k, z, **options)
        if dtype == np.float32:
            np.testing.assert_array_max_ulp(of_labels, of_classes, maxulp=1)
        else:
            assert same_bits(of_labels, of_classes), options


@either
@pytest.mark.parametrize(
    "shapes",
    [
        ((1, 6), (5, 6)),
        ((5, 6), (1, 6)),
        ((5, 1), (5, 6)),
        ((5, 6), (5, 1)),
        ((1, 1), (5, 6)),
        ((4, 1, 6), (1, 5, 6)),
        ((1, 5_000), (70, 5_000)),
        ((0, 6), (1, 6)),
        ((1, 6), (0, 6)),
    ],
    ids=str,
)
def test_distributions_broadcast_where_a_length_is_1(function, dtype, shapes, same_bits):
    y, q = predictions(shapes[0], dtype, seed=3), predictions(shapes[1], dtype)
    full = [a.copy() for a in np.broadcast_arrays(y, q)]
    rows, count = full[0].shape[:-1], full[0].shape[-1]
    weights = {"weight": predictions(count, dtype), "sample_weight": predictions(rows, dtype), "label_smoothing": 0.1}
    for options in ({}, weights, {"reduction": "sum"}, {"axis": 0}):
        assert same_bits(function(y, q, **options), function(*full, **options)), options


# Weights


@either
def test_the_shape_of_class_weights(function):
    for wrong in [(), (4,), (1,), (5, 1), (1, 5), (0,)]:
        message = rf"^weight has shape {re.escape(str(wrong))}; expected \(5,\), one per class$"
        with pytest.raises(ValueError, match=message):
            function([0, 1], np.ones((2, 5)), weight=np.ones(wrong))
    with pytest.raises(ValueError, match=r"^weight has shape \(\); expected \(5,\), one per class$"):
        function([0, 1], np.ones((2, 5)), weight=2.0)
    with pytest.raises(ValueError, match=r"^weight has shape \(2,\); expected \(5,\), one per class$"):
        function(np.ones((2, 5)), np.ones((2, 1)), weight=np.ones(2))


@either
def test_the_shape_of_sample_weights(function, same_bits):
    z, k = predictions((3, 4, 5)), classes((3, 4), 5)
    for shape in [(), (1,), (4,), (1, 4), (3, 1), (1, 1), (3, 4)]:
        v = predictions(shape)
        want = function(k, z, sample_weight=np.broadcast_to(v, (3, 4)).copy())
        assert same_bits(function(k, z, sample_weight=v), want)
    for wrong in [(3,), (5,), (2, 4), (3, 4, 1), (1, 3, 4), (2, 3, 4), (0,)]:
        with pytest.raises(ValueError) as error:  # noqa: PT011 - compared whole below
            function(k, z, sample_weight=np.ones(wrong))
        text = f"sample_weight has shape {wrong}; expected (3, 4), one per row, or what broadcasts to it"
        assert str(error.value) == text
    with pytest.raises(ValueError, match=r"^sample_weight has shape \(2,\); expected \(\), one per row"):
        function(k[0, 0], z[0, 0], sample_weight=[1, 2])


def test_weights_that_do_not_broadcast(binary):
    for name in binary.weights:
        for wrong in [(4,), (3,), (2, 5, 4)]:
            with pytest.raises(ValueError, match=rf"{name} of shape {re.escape(str(wrong))}.* do not broadcast$"):
                binary(np.ones((2, 5)), np.ones((2, 5)), **{name: np.ones(wrong)})


@pytest.mark.parametrize("given", ["f4", "f8", ">f4", ">f8", "i4", "u1", "?", 2, 0.5, True], ids=str)
def test_weights_count_for_the_dtype(loss, dtype, given, same_bits):
    arrays = loss.arrays(dtype, (5, 5))
    for name in loss.weights:
        if isinstance(given, str):
            weight = np.array([1, 0, 1, 1, 0]).astype(given)
            want = np.result_type(dtype, weight.dtype.newbyteorder("=") if weight.dtype.kind == "f" else float)
        elif loss.is_categorical and name == "weight":
            continue  # a number is no weight of classes
        else:
            weight, want = given, dtype
        for how in (None, "sum", "mean"):
            got = loss(*arrays, **{name: weight}, reduction=how)
            assert got.dtype == want
            full = np.array(weight, want)
            wide = [a.astype(want) if i in loss.reals else a for i, a in enumerate(arrays)]
            assert same_bits(got, loss(*wide, **{name: full}, reduction=how))


def test_nan_stays_nan_beside_a_zero(loss):
    """A factor of 0 takes an infinite logarithm away, and nothing else."""
    labels, q = ([0], [[0.0, 1.0]]) if loss.by_rows else ([0.0], [1.0])  # the loss is +inf, and finite from logits
    labels = labels if loss.takes_classes or not loss.by_rows else [[1.0, 0.0]]
    for name, other in (loss.weights, loss.weights[::-1]):
        size = 2 if loss.by_rows and name == "weight" else 1
        others = 2 if loss.by_rows and other == "weight" else 1
        for value in (1.0, 0.0):
            weights = {name: np.full(size, np.nan), other: np.full(others, value)}
            assert np.isnan(loss(labels, q, **weights)).all(), weights


def test_classes_do_not_count_for_the_dtype(dtype):
    for function, _ in LOOKUPS:
        for k in (1, np.uint8(1), np.int64(1), np.array(1, ">u8")):
            assert type(function(predictions(5, dtype), k)) is dtype.type


# Options


@pytest.mark.parametrize("bad", [-0.1, 1.1, 2, -1, np.nan, np.inf, -np.inf, -5e-324, np.float32(1.5)], ids=repr)
def test_smoothing_is_from_0_to_1(loss, bad):
    for how in (None, "sum", "mean"):
        with pytest.raises(ValueError, match=r"^label_smoothing: expected a number in \[0, 1\], got "):
            loss(*loss.arrays(float, (3, 4)), label_smoothing=bad, reduction=how)


@pytest.mark.parametrize("bad", ["0.1", None, [0.1], 1j, (), {}], ids=repr)
def test_smoothing_is_a_number(loss, bad):
    with pytest.raises(TypeError, match=r"^label_smoothing: expected a number in \[0, 1\], got "):
        loss(*loss.arrays(float, (3, 4)), label_smoothing=bad)


@pytest.mark.parametrize("s", [0, 1, True, False, -0.0, np.float32(0.5), np.array(0.5), np.int8(1), 5e-324], ids=repr)
def test_smoothing_of_any_type(loss, s, same_bits):
    arrays = loss.arrays(float, (3, 4))
    assert same_bits(loss(*arrays, label_smoothing=s), loss(*arrays, label_smoothing=float(s)))


@pytest.mark.parametrize(
    "bad", ["none", "Mean", "", "sum ", b"sum", 0, 1, True, False, pytest.param(np.sum, id="np.sum"), ["sum"]], ids=repr
)
def test_reductions_are_three(loss, bad):
    with pytest.raises(ValueError, match=r"^reduction: expected None, 'sum' or 'mean', got "):
        loss(*loss.arrays(float, (3, 4)), reduction=bad)


def test_reductions_by_any_string_of_that_value(loss, same_bits):
    arrays = loss.arrays(float, (3, 4))
    name = type("Name", (str,), {})("sum")
    assert same_bits(loss(*arrays, reduction=name), loss(*arrays, reduction="sum"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["categorical_cross_entropy", "categorical_cross_entropy_from_logits"])
@pytest.mark.parametrize(
    ("labels", "probabilities", "want"),
    [
        ([np.inf], [1], np.nan),
        ([np.inf, 0], [1, 0], np.nan),
        ([np.inf, 0], [0.5, 0.5], np.inf),
        ([0, np.inf], [1, 0], np.inf),
        ([np.inf, 1], [1, 0], np.inf),
        ([np.inf, np.inf], [1, 0], np.inf),
    ],
)
def test_an_infinite_label_of_what_is_certain(name, dtype, labels, probabilities, want):
    # Infinitely often no information is no number; any information, however little, is infinite then.
    q = np.array(probabilities, dtype)
    with np.errstate(divide="ignore"):
        predictions = np.log(q) if name.endswith("logits") else q
    got = getattr(kb, name)(np.array(labels, dtype), predictions)
    np.testing.assert_equal(got, dtype(want))
    np.testing.assert_equal(getattr(kb.reference, name)(labels, predictions.tolist()), want)
