"""The promise: what happens at the edges, case by case, wherever in a row the odd number stands.

Rows are otherwise made of ones, which contribute exactly nothing to any measure, so the result is the odd one's. The
edges of logits have a file of their own, test_logit_edges.py; what a call leaves behind is tested here for all functions.
"""

from __future__ import annotations

import ctypes
import inspect
import math
import mmap
import platform
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import mpmath
import numpy as np
import numpy.typing as npt
import pytest

import kullback as kb
from kullback import _core
from kullback.testing import BOUNDS, assert_matches_reference, ulp_error

Float: TypeAlias = type[np.float32] | type[np.float64]
Array: TypeAlias = npt.NDArray[Any]

INF, NAN = math.inf, math.nan
LENGTHS = [1, 5, 8, 16, 17, 40]  # packs of 8 and 16, parts of them, and more than one

KINDS = {name: kind for name, kind in _core.kernels() if kind != "pack"}
OF_LOGITS = [
    name for name in KINDS if {"z", "logits", "p_logits"} & set(inspect.signature(getattr(kb, name)).parameters)
]
MEASURES = [name for name, kind in KINDS.items() if name not in OF_LOGITS and kind in ("map1", "sum1", "sum2")]
INPUTS = {name: int(KINDS[name][-1]) for name in MEASURES}
ELEMENTWISE = [name for name in MEASURES if KINDS[name] == "map1"]
ROWS = [name for name in MEASURES if KINDS[name] != "map1"]
LOSSES = ["binary_cross_entropy", "categorical_cross_entropy"]

mp = mpmath.MPContext()
mp.dps = 60

both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def at_every_position(measure: str, odd: tuple[float, ...], dtype: Float) -> Iterator[tuple[str, Any]]:
    """The result with the odd numbers first, in the middle and last of ones, for every length."""
    for n in LENGTHS:
        for position in sorted({0, n // 2, n - 1}):
            inputs = [np.ones(n, dtype) for _ in odd]
            for x, value in zip(inputs, odd, strict=True):
                x[position] = value
            result = getattr(kb, measure)(*inputs)
            if measure in ELEMENTWISE:
                assert not np.delete(result, position).any()
                result = result[position]
            assert result.dtype == dtype
            yield f"{measure}{odd} at {position} of {n}", result


def same(got: Any, want: float) -> bool:
    """Equal, where NaN equals NaN but -0 does not equal +0."""
    return bool(got != got if want != want else got == want and np.signbit(got) == np.signbit(want))


LEAST = {np.float32: 2.0**-149, np.float64: 2.0**-1074}

# What, measure, the odd numbers, result: a number, or None for the reference's value, 0 < |value| < inf. "least" is
# the smallest subnormal number.
EDGES: list[tuple[str, str, tuple[Any, ...], float | None]] = [
    ("0 log 0", "entropy", (0.0,), 0.0),
    ("0 log 0, -0", "entropy", (-0.0,), 0.0),
    ("0 log 0 of two outcomes", "binary_entropy", (0.0,), 0.0),
    ("0 log 0 of two outcomes, -0", "binary_entropy", (-0.0,), 0.0),
    ("0 log 0, the certain outcome", "binary_entropy", (1.0,), 0.0),
    ("0 log 0", "cross_entropy", (0.0, 0.0), 0.0),
    ("0 log 0, -0", "cross_entropy", (-0.0, -0.0), 0.0),
    ("0 log q", "cross_entropy", (0.0, 0.25), 0.0),
    ("0 log inf", "cross_entropy", (0.0, INF), 0.0),
    ("0 log 0/0", "kl_divergence", (0.0, 0.0), 0.0),
    ("0 log 0/0, -0", "kl_divergence", (-0.0, 0.0), 0.0),
    ("0 log 0/q", "kl_divergence", (0.0, 0.25), 0.0),
    ("0 log 0/inf", "kl_divergence", (0.0, INF), 0.0),
    ("0 log 0/0", "js_divergence", (0.0, 0.0), 0.0),
    ("0 log 0/0, -0", "js_divergence", (-0.0, 0.0), 0.0),
    ("0 log 0/m", "js_divergence", (0.0, 0.25), None),
    ("0 log 0/m, -0", "js_divergence", (0.25, -0.0), None),
    ("impossible event", "self_information", (0.0,), INF),
    ("impossible event, -0", "self_information", (-0.0,), INF),
    ("certain event", "self_information", (1.0,), 0.0),
    ("p > 0 = q", "cross_entropy", (0.25, 0.0), INF),
    ("p > 0 = q, -0", "cross_entropy", (0.25, -0.0), INF),
    ("p > 0 = q, p subnormal", "cross_entropy", ("least", 0.0), INF),
    ("p > 0 = q, p infinite", "cross_entropy", (INF, 0.0), INF),
    ("p > 0 = q", "kl_divergence", (0.25, 0.0), INF),
    ("p > 0 = q, -0", "kl_divergence", (0.25, -0.0), INF),
    ("p > 0 = q, p subnormal", "kl_divergence", ("least", 0.0), INF),
    ("p > 0 = q, p infinite", "kl_divergence", (INF, 0.0), INF),
    ("infinite p", "self_information", (INF,), -INF),
    ("infinite p", "entropy", (INF,), -INF),
    ("infinite p, q < 1", "cross_entropy", (INF, 0.25), INF),
    ("infinite p, q > 1", "cross_entropy", (INF, 4.0), -INF),
    ("infinite p, q = 1", "cross_entropy", (INF, 1.0), NAN),
    ("infinite q", "cross_entropy", (0.25, INF), -INF),
    ("both infinite", "cross_entropy", (INF, INF), -INF),
    ("infinite p", "kl_divergence", (INF, 0.25), INF),
    ("infinite q", "kl_divergence", (0.25, INF), -INF),
    ("both infinite", "kl_divergence", (INF, INF), NAN),
    ("infinite p", "js_divergence", (INF, 0.25), INF),
    ("infinite p, q = 0", "js_divergence", (INF, 0.0), INF),
    ("infinite q", "js_divergence", (0.25, INF), INF),
    ("both infinite", "js_divergence", (INF, INF), NAN),
    ("beyond 1", "binary_entropy", (1.5,), NAN),
    ("infinite", "binary_entropy", (INF,), NAN),
    ("p/q overflows", "kl_divergence", (4.0, "least"), None),
    ("p/q underflows", "kl_divergence", ("least", 4.0), None),
    ("p/q overflows", "js_divergence", (4.0, "least"), None),
    ("subnormal", "self_information", ("least",), None),
    ("subnormal", "binary_entropy", ("least",), None),
    ("subnormal", "entropy", ("least",), None),
    ("subnormal p", "cross_entropy", ("least", 0.25), None),
    ("subnormal q", "cross_entropy", (0.25, "least"), None),
    ("not normalised", "entropy", (3.0,), None),
    ("not normalised", "cross_entropy", (3.0, 5.0), None),
    ("not normalised", "kl_divergence", (3.0, 5.0), None),
    ("not normalised", "js_divergence", (3.0, 5.0), None),
]


def test_every_function_of_probabilities_is_in_a_table() -> None:
    assert {measure for _, measure, *_ in EDGES} == set(MEASURES)
    assert {name for name in KINDS if name not in OF_LOGITS} == {*MEASURES, *LOSSES}


@both_types
@pytest.mark.parametrize(
    ("measure", "odd", "want"), [pytest.param(*case, id=f"{case[0]} {what}") for what, *case in EDGES]
)
def test_edge(measure: str, odd: tuple[Any, ...], want: float | None, dtype: Float) -> None:
    numbers = tuple(LEAST[dtype] if x == "least" else x for x in odd)
    if want is None:
        lists = numbers if measure in ELEMENTWISE else ([x] for x in numbers)
        exact = getattr(kb.reference, measure)(*lists, math=mp)
        bound = BOUNDS["elementwise" if measure in ELEMENTWISE else "row"]
        assert 0 < abs(exact) < INF
    for where, got in at_every_position(measure, numbers, dtype):
        assert same(got, want) if want is not None else ulp_error(got, exact) <= bound, f"{where}: {got}"


# Numbers that are no probabilities

BAD = {"NaN": NAN, "-1": -1.0, "-least": "least", "-inf": -INF}


@both_types
@pytest.mark.parametrize("other", [0.0, 0.25, INF])
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(("measure", "argument"), [(name, i) for name in INPUTS for i in range(INPUTS[name])])
def test_negative_or_nan_makes_the_row_nan(measure: str, argument: int, bad: str, other: float, dtype: Float) -> None:
    value = -LEAST[dtype] if BAD[bad] == "least" else BAD[bad]
    odd = [other] * INPUTS[measure]
    odd[argument] = value
    for where, got in at_every_position(measure, tuple(odd), dtype):
        assert np.isnan(got), f"{where}: {got}"


@both_types
@pytest.mark.parametrize("measure", ROWS)
def test_only_the_row_itself_is_nan(measure: str, dtype: Float) -> None:
    for axis in (0, 1):
        for n in (*LENGTHS, 5000):
            inputs = [np.full((3, n), 0.25, dtype) for _ in range(INPUTS[measure])]
            inputs[-1][1, n // 2] = NAN
            got = getattr(kb, measure)(*(x if axis else np.ascontiguousarray(x.T) for x in inputs), axis=axis)
            assert np.isnan(got).tolist() == [False, True, False]


# Divergences of what is equal, near or disjoint


def all_magnitudes(dtype: Float) -> Array:
    info = np.finfo(dtype)
    return np.ldexp(dtype(1.37), np.arange(info.minexp - info.nmant, info.maxexp - 20))


@both_types
@pytest.mark.parametrize("measure", ["kl_divergence", "js_divergence"])
def test_equal_rows_are_exactly_zero_apart(measure: str, dtype: Float) -> None:
    p = all_magnitudes(dtype)
    for n in (*LENGTHS, p.size):
        for q in (p[-n:], p[-n:].copy()):
            assert same(getattr(kb, measure)(p[-n:], q), 0.0)
    each = getattr(kb, measure)(p[:, None], p[:, None].copy())
    assert not each.any()
    assert not np.signbit(each).any()


@both_types
@pytest.mark.parametrize("measure", ["kl_divergence", "js_divergence"])
def test_near_rows_keep_relative_accuracy(measure: str, dtype: Float) -> None:
    eps = float(np.finfo(dtype).eps)
    p = np.array([1.0, 100.0, 0.3, 1e-5, 1e-30], dtype)[:, None]
    for distance in (eps, 3 * eps, 1e-6, 1e-5, 1e-3):
        for q in (p * dtype(1 + distance), p * dtype(1 - distance)):
            assert (q != p).all()
            got = getattr(kb, measure)(p, q)
            assert (got > 0).all() if measure == "js_divergence" else (np.sign(got) == np.sign(p - q)[:, 0]).all()
            assert_matches_reference(measure, p, q)


@both_types
def test_js_divergence_is_never_negative(dtype: Float) -> None:
    rng = np.random.default_rng(37)
    p = rng.dirichlet(np.ones(19), 2000).astype(dtype)
    for width in (0, 1e-7, 1e-3, 1):
        q = (p * rng.uniform(1 - width, 1 + width, p.shape)).astype(dtype)
        got = kb.js_divergence(p, q)
        assert (got >= 0).all()
        np.testing.assert_array_equal(got, kb.js_divergence(q, p))


@both_types
def test_disjoint_rows_are_exactly_log_2_apart(dtype: Float) -> None:
    want = dtype(math.log(2))
    for n in (n for n in LENGTHS if n > 1):
        for at in sorted({0, n // 2, n - 1}):
            p, q = np.zeros(n, dtype), np.zeros(n, dtype)
            p[at] = q[at - 1] = 1
            assert kb.js_divergence(p, q) == want
    halves = np.ldexp(dtype(1), -np.array([1, 2, 3, 4, 5, 6, 7, 7]))
    apart = np.concatenate([halves, np.zeros(8, dtype)])
    assert kb.js_divergence(apart, apart[::-1]) == want
    assert kb.js_divergence(apart, apart[::-1], base=2) == 1


def test_ratio_beyond_the_range_of_floats() -> None:
    # scipy.special.kl_div says inf; its formula, which adds q - p, comes to 2835.176...
    got = kb.kl_divergence([4.0], [2.2e-308])
    with mpmath.workdps(50):
        assert ulp_error(got, 4 * mpmath.log(mpmath.mpf(4) / mpmath.mpf(2.2e-308))) <= BOUNDS["row"]
    assert float(got) == pytest.approx(2839.1761825716867, rel=1e-15)


@both_types
def test_rows_are_used_as_given(dtype: Float) -> None:
    p, q = np.array([[0.5, 0.5], [0.3, 0.3]], dtype)
    for measure in ROWS:
        assert_matches_reference(measure, *(p, q)[: INPUTS[measure]])
    assert float(kb.kl_divergence(p, q)) == pytest.approx(math.log(5 / 3), rel=1e-6)  # scipy.stats.entropy: 0


# Empty rows, and numbers that are not floats


@both_types
@pytest.mark.parametrize("measure", ROWS)
def test_empty_rows_are_zero(measure: str, dtype: Float) -> None:
    compute, count = getattr(kb, measure), INPUTS[measure]
    assert same(compute(*[np.empty(0, dtype)] * count), 0.0)
    for shape, axis in (((3, 0), 1), ((0, 3), 0)):
        got = compute(*[np.empty(shape, dtype)] * count, axis=axis)
        np.testing.assert_array_equal(got, np.zeros(3, dtype), strict=True)


@both_types
@pytest.mark.parametrize("measure", ELEMENTWISE)
def test_empty_arrays_stay_empty(measure: str, dtype: Float) -> None:
    got = getattr(kb, measure)(np.empty((3, 0), dtype))
    assert got.shape == (3, 0)
    assert got.dtype == dtype


# Losses of probabilities

# What, y, q, options, result: as in EDGES. An option is a number; "weight" is that of the odd element or class.
BINARY_EDGES: list[tuple[str, Any, Any, dict[str, float], float | None]] = [
    ("right", 1.0, 1.0, {}, 0.0),
    ("right, 0", 0.0, 0.0, {}, 0.0),
    ("right, -0", -0.0, -0.0, {}, 0.0),
    ("wrong", 1.0, 0.0, {}, INF),
    ("wrong, -0", 1.0, -0.0, {}, INF),
    ("wrong, 0", 0.0, 1.0, {}, INF),
    ("undecided, q = 0", 0.5, 0.0, {}, INF),
    ("undecided, q = 1", 0.5, 1.0, {}, INF),
    ("tiny label, q = 0", "least", 0.0, {}, INF),
    ("nearly wrong", 1.0, 1e-30, {}, None),
    ("tiny q", 1.0, "least", {}, None),
    ("tiny q, right", 0.0, "least", {}, None),
    ("tiny label", "least", 0.25, {}, None),
    ("label beyond 1", 1.5, 0.5, {}, NAN),
    ("negative label", -1.0, 0.5, {}, NAN),
    ("label just negative", "-least", 0.5, {}, NAN),
    ("NaN label", NAN, 0.5, {}, NAN),
    ("infinite label", INF, 0.5, {}, NAN),
    ("q beyond 1", 1.0, 1.5, {}, NAN),
    ("q just negative", 0.0, "-least", {}, NAN),
    ("NaN q", 0.0, NAN, {}, NAN),
    ("infinite q", 0.0, INF, {}, NAN),
    ("weight 0", 1.0, 0.0, {"weight": 0.0}, 0.0),
    ("weight 0, NaN", 1.0, NAN, {"weight": 0.0}, NAN),
    ("weight 0, no label", NAN, 0.5, {"weight": 0.0}, NAN),
    ("NaN weight", 1.0, 0.5, {"weight": NAN}, NAN),
    ("negative weight", 1.0, 0.25, {"weight": -2.0}, None),
    ("negative weight, wrong", 1.0, 0.0, {"weight": -2.0}, -INF),
    ("pos_weight 0", 1.0, 0.0, {"pos_weight": 0.0}, 0.0),
    ("pos_weight 0, wrong, 0", 0.0, 1.0, {"pos_weight": 0.0}, INF),
    ("pos_weight", 0.25, 0.5, {"pos_weight": 3.0}, None),
    ("smoothing, right", 1.0, 1.0, {"label_smoothing": 0.1}, INF),
    ("smoothing", 1.0, 0.25, {"label_smoothing": 0.1}, None),
    ("nothing but smoothing", 0.0, 0.25, {"label_smoothing": 1.0}, None),
    ("nothing but smoothing, NaN label", NAN, 0.25, {"label_smoothing": 1.0}, NAN),
]
# Of a class; all others have the label 0, or in rows with smoothing the weight 0.
CATEGORICAL_EDGES: list[tuple[str, Any, Any, dict[str, float], float | None]] = [
    ("right", 1.0, 1.0, {}, 0.0),
    ("p > 0 = q", 1.0, 0.0, {}, INF),
    ("p > 0 = q, -0", 1.0, -0.0, {}, INF),
    ("p > 0 = q, p subnormal", "least", 0.0, {}, INF),
    ("0 log 0", 0.0, 0.0, {}, 0.0),
    ("0 log 0, -0", -0.0, -0.0, {}, 0.0),
    ("0 log inf", 0.0, INF, {}, 0.0),
    ("infinite q", 1.0, INF, {}, -INF),
    ("infinite label", INF, 0.25, {}, INF),
    ("infinite label, q > 1", INF, 4.0, {}, -INF),
    ("infinite label, q = 1", INF, 1.0, {}, NAN),
    ("infinite label and q", INF, INF, {}, -INF),
    ("infinite label, negative weight", INF, 0.25, {"weight": -2.0}, -INF),
    ("infinite label, q > 1, negative weight", INF, 4.0, {"weight": -2.0}, INF),
    ("tiny q", 1.0, "least", {}, None),
    ("tiny label", "least", 0.25, {}, None),
    ("not normalised", 3.0, 5.0, {}, None),
    ("negative q", 1.0, -1.0, {}, NAN),
    ("negative q of no label", 0.0, "-least", {}, NAN),
    ("NaN q of no label", 0.0, NAN, {}, NAN),
    ("negative label", -1.0, 0.5, {}, NAN),
    ("label just negative", "-least", 0.5, {}, NAN),
    ("NaN label", NAN, 0.5, {}, NAN),
    ("weight 0", 1.0, 0.0, {"weight": 0.0}, 0.0),
    ("weight 0, NaN", 1.0, NAN, {"weight": 0.0}, NAN),
    ("weight 0, no label", NAN, 0.5, {"weight": 0.0}, NAN),
    ("negative weight", 1.0, 0.25, {"weight": -2.0}, None),
    ("negative weight, p > 0 = q", 1.0, 0.0, {"weight": -2.0}, -INF),
    ("sample_weight 0", 1.0, 0.0, {"sample_weight": 0.0}, 0.0),
    ("sample_weight 0, NaN", 1.0, NAN, {"sample_weight": 0.0}, NAN),
    ("sample_weight", 1.0, 0.25, {"sample_weight": -0.5}, None),
    ("smoothing", 1.0, 0.25, {"weight": 1.0, "label_smoothing": 0.1}, None),
    ("smoothing, q = 0 of no label", 0.0, 0.0, {"weight": 1.0, "label_smoothing": 0.1}, INF),
    ("smoothing, q = 0, weight 0", 1.0, 0.0, {"weight": 0.0, "label_smoothing": 0.1}, 0.0),
]
LONG = [5000, 9000]  # more than one block, more than two


def number(x: Any, dtype: Float) -> float:
    return {"least": LEAST[dtype], "-least": -LEAST[dtype]}[x] if isinstance(x, str) else x


def with_odd(n: int, filler: float, position: int, odd: float, dtype: Float) -> Array:
    row = np.full(n, filler, dtype)
    row[position] = odd
    return row


def assert_edge(got: Any, want: float | None, exact: Any, where: str) -> None:
    right = same(got, want) if want is not None else ulp_error(got, exact) <= BOUNDS["row"]
    assert right, f"{where}: {got}"


@both_types
@pytest.mark.parametrize(("y", "q", "options", "want"), [pytest.param(*case, id=what) for what, *case in BINARY_EDGES])
def test_edge_of_binary_cross_entropy(y: Any, q: Any, options: dict[str, float], want: Any, dtype: Float) -> None:
    y, q = number(y, dtype), number(q, dtype)
    q = float(dtype(q))
    exact = kb.reference.binary_cross_entropy(y, q, math=mp, **options)
    for n in LENGTHS:
        for at in sorted({0, n // 2, n - 1}):
            labels, predictions = with_odd(n, 1, at, y, dtype), with_odd(n, 1, at, q, dtype)
            arrays = {
                key: x
                if key == "label_smoothing"
                else with_odd(n, 0 if "label_smoothing" in options else 1, at, x, dtype)
                for key, x in options.items()
            }
            if "label_smoothing" in options:
                arrays.setdefault("weight", with_odd(n, 0, at, 1, dtype))
            got = kb.binary_cross_entropy(labels, predictions, **arrays)
            where = f"{y}, {q} at {at} of {n}"
            assert not np.delete(got, at).any(), where
            assert_edge(got[at], want, exact, where)
            total = kb.binary_cross_entropy(labels, predictions, reduction="sum", **arrays)
            assert same(total, got[at]), f"{where}: sum {total}"


@both_types
@pytest.mark.parametrize(
    ("y", "q", "options", "want"), [pytest.param(*case, id=what) for what, *case in CATEGORICAL_EDGES]
)
def test_edge_of_categorical_cross_entropy(y: Any, q: Any, options: dict[str, float], want: Any, dtype: Float) -> None:
    y, q = number(y, dtype), float(dtype(number(q, dtype)))
    loss = kb.categorical_cross_entropy
    smoothing = options.get("label_smoothing", 0.0)
    for n in (*LENGTHS, *LONG):
        for at in sorted({0, n // 2, n - 1}):
            labels, predictions = with_odd(n, 0, at, y, dtype), with_odd(n, 0.5, at, q, dtype)
            arguments: dict[str, Any] = {key: x for key, x in options.items() if key != "weight"}
            if "weight" in options:
                arguments["weight"] = with_odd(n, 0, at, options["weight"], dtype)
            # The only term of the sum.
            factors = [mp.mpf(x) for key, x in options.items() if key != "label_smoothing"]
            mass = (1 - mp.mpf(smoothing)) * mp.mpf(y) + mp.mpf(smoothing) / n
            exact = -mp.log(mp.mpf(q)) * mp.fprod([mass, *factors]) if want is None else want
            where = f"{y}, {q} at {at} of {n}"
            rows, columns = np.tile(predictions, (3, 1)), np.tile(labels, (3, 1))
            results = [
                loss(labels, predictions, **arguments),
                *loss(columns, rows, **arguments),
                *loss(np.asfortranarray(columns).T, np.asfortranarray(rows).T, axis=0, **arguments),
                loss(columns[:1], rows[:1], reduction="sum", **arguments),
            ]
            if y == 1:
                results += [loss(at, predictions, **arguments), *loss([at] * 3, rows, **arguments)]
                results += list(loss([at] * 3, np.ascontiguousarray(rows.T), axis=0, **arguments))
            for got in results:
                assert got.dtype == dtype
                assert_edge(got, want, exact, where)


# An infinite loss of one sign stays one beside an infinite label of a class that is certain.
INFINITE_LABELS: list[tuple[tuple[float, ...], tuple[float, ...], float]] = [
    ((INF, 1.0), (0.25, 1.0), INF),
    ((INF, INF), (0.25, 1.0), INF),
    ((INF, 1.0), (1.0, 0.0), INF),
    ((INF, INF), (1.0, 4.0), -INF),
    ((INF, 1.0), (1.0, INF), -INF),
    ((INF, INF), (0.25, 4.0), NAN),
    ((INF, 1.0), (1.0, 0.25), NAN),
    ((INF, 0.0), (4.0, 0.0), -INF),
]


@both_types
@pytest.mark.parametrize(("y", "q", "want"), INFINITE_LABELS)
def test_infinite_labels_of_two_classes(y: Any, q: Any, want: float, dtype: Float) -> None:
    labels, predictions = np.array([y], dtype), np.array([q], dtype)
    got = kb.categorical_cross_entropy(np.repeat(labels, 20, axis=0), np.repeat(predictions, 20, axis=0))
    assert all(same(x, want) for x in got)
    assert same(kb.reference.categorical_cross_entropy(y, q), want)


@both_types
@pytest.mark.parametrize(("q", "weight", "want"), [(0.25, INF, INF), (4.0, INF, -INF), (0.25, -INF, -INF)])
def test_infinite_weights_of_a_class(q: float, weight: float, want: float, dtype: Float) -> None:
    predictions, weights = np.array([[q, 0.5]], dtype), np.array([weight, 1], dtype)
    for labels in ([0], [[1.0, 0.0]]):
        assert same(kb.categorical_cross_entropy(labels, predictions, weight=weights)[0], want)


@both_types
def test_losses_far_from_certain(dtype: Float) -> None:
    # Clamps and clips give 100, 16.1, 34.5 or 18.0.
    assert float(kb.binary_cross_entropy(1, dtype(1e-30))) == pytest.approx(69.07755278982137, rel=1e-7)
    assert float(kb.categorical_cross_entropy(0, np.array([1e-30, 1], dtype))) == pytest.approx(
        69.07755278982137, rel=1e-7
    )


@both_types
def test_losses_of_no_classes_and_no_rows(dtype: Float) -> None:
    loss = kb.categorical_cross_entropy
    np.testing.assert_array_equal(
        loss(np.empty((3, 0), dtype), np.empty((3, 0), dtype)), np.zeros(3, dtype), strict=True
    )
    assert loss(np.empty(0, np.intp), np.empty((0, 3), dtype)).shape == (0,)
    assert same(loss(np.empty(0, np.intp), np.empty((0, 3), dtype), reduction="sum"), 0.0)
    assert same(kb.binary_cross_entropy(np.empty(0, dtype), np.empty(0, dtype), reduction="sum"), 0.0)
    with pytest.raises(IndexError, match="out of range for 0 classes"):
        loss(np.zeros(3, np.intp), np.empty((3, 0), dtype))


# Numbers that are not floats

# Of two arrays of one shape, what a function of some kind takes.
ARGUMENTS: dict[str, Callable[[Any, Any], list[Any]]] = {
    "map1": lambda p, q: [p],
    "sum1": lambda p, q: [p],
    "rowmap": lambda p, q: [p],
    "sum2": lambda p, q: [p, q],
    "binary": lambda p, q: [p, q],
    "categorical": lambda p, q: [np.broadcast_to(p, q.shape), q],
    "tokens": lambda p, q: [q, np.zeros(q.shape[:-1], np.int8)],
}


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int8, np.int64, np.uint64])
@pytest.mark.parametrize("function", KINDS)
def test_integers_are_computed_in_float64(function: str, dtype: Any) -> None:
    p, q = np.array([[1, 0, 1, 0, 1], [1, 1, 1, 0, 0]], dtype)
    compute, arguments = getattr(kb, function), ARGUMENTS[KINDS[function]]
    got = compute(*arguments(p, q))
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, compute(*arguments(p.astype(np.float64), q.astype(np.float64))))


# What a call leaves behind

NASTY = [0.0, -0.0, 1.0, 0.5, 1e-45, 1e-38, 3e38, 0.1, INF, -INF, NAN, -1.0, -745.0]


def nasty(function: str, dtype: Float) -> list[list[Array]]:
    """Arguments of every layout that meet every pair of nasty numbers."""
    with np.errstate(all="ignore"):
        grid = np.array(NASTY, dtype)
    p, q = (x.copy() for x in np.meshgrid(grid, grid))
    pairs = [(p, q), (p.T, q.T), (p[::-2, ::3], q[::-2, ::3]), (p, p), (p[0], q), (p[:, 5:6], q[:, 5:6])]
    return [list(ARGUMENTS[KINDS[function]](*pair)) for pair in pairs]


@both_types
@pytest.mark.parametrize("function", KINDS)
def test_inputs_are_never_modified(function: str, dtype: Float) -> None:
    for inputs in nasty(function, dtype):
        before = [x.tobytes() for x in inputs]
        getattr(kb, function)(*inputs)
        assert [x.tobytes() for x in inputs] == before
        for x in inputs:
            x.setflags(write=False)
        getattr(kb, function)(*inputs)


@both_types
@pytest.mark.parametrize("function", KINDS)
def test_no_floating_point_warnings(function: str, dtype: Float) -> None:
    arguments = nasty(function, dtype)
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        for inputs in arguments:
            getattr(kb, function)(*inputs)
            getattr(kb, function)(*(x[0] for x in inputs))
            if KINDS[function] not in ("categorical", "tokens"):
                getattr(kb, function)(*(x[0, 0] if x.ndim == 2 else x[0] for x in inputs))


# The caller's floating-point mode

if platform.machine() in ("x86_64", "AMD64"):
    # The mode is a register that only an instruction reaches.
    FUNCTIONS = {"ldmxcsr [rdi]; ret": b"\x0f\xae\x17\xc3", "stmxcsr [rdi]; ret": b"\x0f\xae\x1f\xc3"}
    PAGE = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    PAGE.write(b"".join(FUNCTIONS.values()))
    ADDRESS = ctypes.addressof(ctypes.c_char.from_buffer(PAGE))
    LOAD, STORE = (
        ctypes.PYFUNCTYPE(None, ctypes.POINTER(ctypes.c_uint32))(ADDRESS + 4 * i) for i in range(len(FUNCTIONS))
    )
    MODES = {"flush to zero": 0x8000, "denormals are zero": 0x0040, "both": 0x8040, "round down": 0x2000}
    STATUS = 0x3F

    def mode() -> int:
        word = ctypes.c_uint32()
        STORE(ctypes.byref(word))
        return word.value & ~STATUS

    @contextmanager
    def floating_point_mode(bits: int) -> Iterator[None]:
        former = mode()
        LOAD(ctypes.byref(ctypes.c_uint32(former | bits)))
        try:
            yield
        finally:
            LOAD(ctypes.byref(ctypes.c_uint32(former)))

    def subnormal_arguments(function: str, dtype: Float) -> dict[str, list[Any]]:
        """One for every way through the core: plain rows, gathered ones, rows or blocks shared by threads.

        Probabilities and labels are subnormal; of logits, the probabilities that they make.
        """
        rng = np.random.default_rng(41)
        info = np.finfo(dtype)
        kind = KINDS[function]

        def numbers(shape: tuple[int, ...]) -> list[Array]:
            words = rng.integers(1, 1 << info.nmant, (2, *shape))
            subnormal = words.astype(np.uint32 if dtype is np.float32 else np.uint64).view(dtype)
            low, high = np.log(float(info.smallest_subnormal)), np.log(float(info.tiny))
            logits = np.where(rng.random((2, *shape)) < 0.5, 0, rng.uniform(low, high, (2, *shape))).astype(dtype)
            first = logits if function in OF_LOGITS and kind not in ("binary", "categorical") else subnormal
            second = logits if function in OF_LOGITS else subnormal
            return [first[0], second[1]]

        arguments = {
            "list": [x.tolist() for x in numbers((5,))],
            "row": numbers((21,)),
            "columns": [x.T for x in numbers((7, 30))],
            "swapped bytes": [x.astype(x.dtype.newbyteorder()) for x in numbers((30,))],
            "many rows": numbers((7000, 40)),
            "long row": numbers((300_000,)),
            "long columns": [x.T for x in numbers((200_000, 2))],
        }
        if kind not in ("categorical", "tokens"):
            arguments["scalar"] = [x[0] for x in numbers((1,))]
            arguments["array and number"] = [numbers((9,))[0], numbers((1,))[1][0]]
        arguments = {name: ARGUMENTS[kind](*(np.asarray(x) for x in pair)) for name, pair in arguments.items()}
        arguments["list"] = [x.tolist() for x in arguments["list"]]
        return arguments

    @both_types
    @pytest.mark.parametrize("bits", MODES.values(), ids=list(MODES))
    @pytest.mark.parametrize("function", KINDS)
    def test_the_callers_floating_point_mode(function: str, bits: int, dtype: Float) -> None:
        """Subnormal numbers count in any mode, which is the caller's again after the call.

        A thread of its own gets OpenMP workers of its own, which inherit the mode that it has when they start.
        """
        compute: Callable[..., Any] = getattr(kb, function)
        arguments = subnormal_arguments(function, dtype)
        options = {"base": 3.7} if "base" in inspect.signature(compute).parameters else {}
        want = {name: compute(*inputs, **options) for name, inputs in arguments.items()}
        least = np.array([LEAST[np.float64]])
        got, modes, product = {}, [], np.ones(1)

        def run() -> None:
            with floating_point_mode(bits):
                np.multiply(least, 1.0, out=product)
                for name, inputs in arguments.items():
                    got[name] = compute(*inputs, **options)
                    modes.append(mode())

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        for name in arguments:
            np.testing.assert_array_equal(got[name], want[name], err_msg=name)
        assert set(modes) == {mode() | bits}
        assert (product[0] == 0) == (bits != MODES["round down"])  # or else the mode was never on

    if kb.runtime.info()["openmp"] == "libgomp":

        @both_types
        @pytest.mark.parametrize("function", KINDS)
        def test_the_mode_of_workers_that_others_left(function: str, dtype: Float) -> None:
            """Another library may have set the mode of the OpenMP workers that this thread shares with it."""
            run_in_every_worker = ctypes.CDLL("libgomp.so.1").GOMP_parallel
            compute: Callable[..., Any] = getattr(kb, function)
            arguments = subnormal_arguments(function, dtype)
            want = {name: compute(*inputs) for name, inputs in arguments.items()}
            got = {}

            def run() -> None:
                with floating_point_mode(0):
                    run_in_every_worker(LOAD, ctypes.byref(ctypes.c_uint32(mode() | MODES["both"])), 0, 0)
                got.update({name: compute(*inputs) for name, inputs in arguments.items()})

            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
            for name in arguments:
                np.testing.assert_array_equal(got[name], want[name], err_msg=name)
