"""The promise: what happens at the edges of logits, case by case, wherever in a row the odd ones stand.

The odd logits go to the first, a middle and the last place of rows of every length, two of them into one block of a
long row and into different ones; the row is read alone, as one of a few and of many, and as a column of as many.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

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
LENGTHS = [1, 5, 8, 16, 17, 40, 100, 5000, 9000]  # packs, parts of them, some; two blocks, and three
LEAST = {np.float32: 2.0**-149, np.float64: 2.0**-1074}

mp = mpmath.MPContext()
mp.dps = 60

both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def same(got: Any, want: Any) -> bool:
    """Equal, where NaN equals NaN but -0 does not equal +0."""
    got, want = np.broadcast_arrays(got, want)
    equal = (got == want) & (np.signbit(got) == np.signbit(want)) | np.isnan(got) & np.isnan(want)
    return bool(equal.all())


# Rows


def loss_of_index(z: Array, k: int, axis: int) -> Array:
    rows = np.take(z, 0, axis).shape
    return kb.categorical_cross_entropy_from_logits(np.full(rows, k), z, axis=axis)


def loss_of_one_hot(z: Array, k: int, axis: int) -> Array:
    labels = np.zeros_like(z)
    np.moveaxis(labels, axis, -1)[..., k] = 1
    return kb.categorical_cross_entropy_from_logits(labels, z, axis=axis)


# What is computed of rows of logits z, and of their class k where it is of a class.
COMPUTE: dict[str, Callable[[Array, int, int], Any]] = {
    "logsumexp": lambda z, k, axis: kb.logsumexp(z, axis=axis),
    "softmax": lambda z, k, axis: np.take(kb.softmax(z, axis=axis), k, axis),
    "log_softmax": lambda z, k, axis: np.take(kb.log_softmax(z, axis=axis), k, axis),
    "token_logprobs": lambda z, k, axis: kb.token_logprobs(z, np.full(np.take(z, 0, axis).shape, k), axis=axis),
    "entropy_from_logits": lambda z, k, axis: kb.entropy_from_logits(z, axis=axis),
    "kl_divergence_from_logits": lambda z, k, axis: kb.kl_divergence_from_logits(z, z.copy(), axis=axis),
    "js_divergence_from_logits": lambda z, k, axis: kb.js_divergence_from_logits(z, z.copy(), axis=axis),
    "categorical_cross_entropy_from_logits": loss_of_index,
    "categorical_cross_entropy_from_logits, one-hot": loss_of_one_hot,
}
ELEMENTWISE = ["sigmoid", "log_sigmoid", "binary_entropy_from_logits", "binary_cross_entropy_from_logits"]


def test_every_function_of_logits_is_in_a_table() -> None:
    names = [name for name, kind in _core.kernels() if kind != "pack"]
    of_logits = {n for n in names if {"z", "logits", "p_logits"} & set(inspect.signature(getattr(kb, n)).parameters)}
    assert of_logits == {*(name.split(",")[0] for name in COMPUTE), *ELEMENTWISE}


class Limit(NamedTuple):
    """A row of certain probabilities: those of the odd logits; all others have the probability 0."""

    logsumexp: float
    odd: tuple[float, ...] = ()

    def of(self, function: str, k: int | None) -> float:
        """The result for the k-th odd logit; None is any other class. NaN if there are no probabilities."""
        p = 0.0 if k is None else self.odd[k] if self.odd else NAN
        if not self.odd or any(x != x for x in self.odd):
            return self.logsumexp if function == "logsumexp" else NAN
        if function == "softmax":
            return p
        if function in ("log_softmax", "token_logprobs"):
            return 0.0 if p else -INF
        if function.startswith("categorical"):
            return 0.0 if p else INF
        return self.logsumexp if function == "logsumexp" else 0.0


# What, the row's other logits, the odd ones, the limit. Strings are the least and the largest number of the format.
ROWS: list[tuple[str, Any, tuple[Any, ...], Limit]] = [
    ("all -inf", -INF, (), Limit(-INF)),
    ("one +inf", 0.0, (INF,), Limit(INF, (1.0,))),
    ("one +inf, others -inf", -INF, (INF,), Limit(INF, (1.0,))),
    ("one +inf and one -inf", 0.0, (INF, -INF), Limit(INF, (1.0, 0.0))),
    ("one +inf and the largest", -1.0, (INF, "most"), Limit(INF, (1.0, 0.0))),
    ("two +inf", 0.0, (INF, INF), Limit(NAN)),
    ("two +inf, others -inf", -INF, (INF, INF), Limit(NAN)),
    ("nothing but +inf", INF, (INF, INF), Limit(NAN)),
    ("NaN", 0.0, (NAN,), Limit(NAN)),
    ("NaN beside the winner", 0.0, (1000.0, NAN), Limit(NAN)),
    ("NaN, others -inf", -INF, (NAN,), Limit(NAN)),
    ("NaN and +inf", 0.0, (INF, NAN), Limit(NAN)),
    ("NaN and two +inf", INF, (INF, NAN), Limit(NAN)),
    ("nothing but NaN", NAN, (), Limit(NAN)),
    ("one possible class", -INF, (3.0,), Limit(3.0, (1.0,))),
    ("one possible class, the lowest", -INF, ("-most",), Limit("-most", (1.0,))),
    ("the largest gap", "-most", ("most",), Limit("most", (1.0,))),
]


def number(x: Any, dtype: Float) -> Any:
    most = float(np.finfo(dtype).max)
    return {"most": most, "-most": -most, "least": LEAST[dtype]}[x] if isinstance(x, str) else x


def placed(n: int, filler: Any, odd: tuple[Any, ...], dtype: Float) -> Iterator[tuple[Array, tuple[int, ...]]]:
    """Rows with the odd logits at special places, every order of them; and where they are."""
    places = sorted({0, 1, n // 2, n - 1} if len(odd) == 2 else {0, n // 2, n - 1})
    for at in itertools.permutations(places, len(odd)):
        if max(at, default=0) < n:
            row = np.full(n, number(filler, dtype), dtype)
            row[list(at)] = [number(x, dtype) for x in odd]
            yield row, at


def views(row: Array) -> Iterator[tuple[str, Array, int, Any]]:
    """The row alone, among a few or many rows or columns; and where its result is among theirs."""
    other = np.linspace(-1, 1, row.size).astype(row.dtype)
    few, many = [other, row, other], [other] * 5 + [row] + [other] * 13
    yield "alone", row, -1, ()
    yield "among rows", np.stack(few), -1, 1
    yield "among many rows", np.stack(many), -1, 5
    yield "among columns", np.stack(few, axis=1), 0, 1
    yield "among many columns", np.stack(many, axis=1), 0, 5


@both_types
@pytest.mark.parametrize("function", COMPUTE)
@pytest.mark.parametrize(("filler", "odd", "limit"), [pytest.param(*case, id=what) for what, *case in ROWS])
def test_row(filler: Any, odd: tuple[Any, ...], limit: Limit, function: str, dtype: Float) -> None:
    limit = limit._replace(logsumexp=number(limit.logsumexp, dtype))
    for n in LENGTHS:
        for row, at in placed(n, filler, odd, dtype):
            classes: list[tuple[int, int | None]] = [(k, i) for i, k in enumerate(at)]
            rest = [k for k in (0, n // 2, n - 1) if k not in at]
            classes += [(k, None) for k in rest[:1]]
            for (k, i), (how, z, axis, place) in itertools.product(classes, views(row)):
                result = COMPUTE[function](z, k, axis)
                got = result[place]
                assert got.dtype == dtype
                assert same(got, limit.of(function, i)), f"{how}: {odd} at {at} of {n}, class {k}: {got}"
                assert how == "alone" or np.isfinite(np.delete(result, place)).all(), "a row beside the odd one"


@both_types
@pytest.mark.parametrize("function", ["softmax", "log_softmax"])
def test_every_element_of_a_nan_row_is_nan(function: str, dtype: Float) -> None:
    for n in LENGTHS:
        for row, at in placed(n, 0.25, (NAN,), dtype):
            for how, z, axis, place in views(row):
                got = np.isnan(np.moveaxis(getattr(kb, function)(z, axis=axis), axis, -1))
                assert got[place].all(), f"{how}: {at} of {n}"
                assert how == "alone" or not np.delete(got, place, axis=0).any(), f"{how}: {at} of {n}"


# Rows that have an inner value, held against the reference
FINITE: list[tuple[str, Any, tuple[Any, ...]]] = [
    ("an impossible class", 0.0, (-INF,)),
    ("two possible classes", -INF, (1.0, 1.5)),
    ("equal", 2.5, ()),
    ("equal and largest", "most", ()),
    ("equal and lowest", "-most", ()),
    ("subnormal", 0.0, ("least",)),
    ("winner by 20", 0.0, (20.0,)),
    ("winner by 40", 0.0, (40.0,)),
    ("winner by 103", 0.0, (103.0,)),
    ("winner by 740", 0.0, (740.0,)),
    ("loser by 740", 0.0, (-740.0,)),
    ("ties", 0.0, (40.0, 40.0)),
    ("far from 0", 1e6, (1e6 + 30,)),
]


@both_types
@pytest.mark.parametrize("function", COMPUTE)
@pytest.mark.parametrize(("filler", "odd"), [pytest.param(*case, id=what) for what, *case in FINITE])
def test_finite_row(filler: Any, odd: tuple[Any, ...], function: str, dtype: Float) -> None:
    name = function.split(",")[0]
    for n in (n for n in LENGTHS if n < 50):
        for row, at in placed(n, filler, odd, dtype):
            if name in ("kl_divergence_from_logits", "js_divergence_from_logits"):
                assert_matches_reference(name, row, row[::-1])
            elif name == "token_logprobs":
                assert_matches_reference(name, row, np.arange(n))
            elif function == "categorical_cross_entropy_from_logits":
                for k in {0, *at}:
                    assert_matches_reference(name, k, row)
            elif name == "categorical_cross_entropy_from_logits":
                assert_matches_reference(name, np.eye(n, dtype=dtype)[:3], np.broadcast_to(row, (min(n, 3), n)))
            else:
                assert_matches_reference(name, row)


def test_known_values() -> None:
    z = np.array([40.0, 0.0])
    np.testing.assert_array_equal(kb.log_softmax(z), [-4.248354255291589e-18, -40.0])
    assert kb.token_logprobs(z, 0) == -4.248354255291589e-18
    assert kb.categorical_cross_entropy_from_logits(0, [40.0, 0.0, 0.0]) == 8.496708510583178e-18
    exact = mp.log1p(2 * mp.exp(-20))
    loss = kb.categorical_cross_entropy_from_logits(0, np.float32([20, 0, 0]))
    assert loss > 0
    assert ulp_error(loss, exact) <= BOUNDS["row"]
    assert kb.binary_cross_entropy_from_logits(1, -1000.0) == 1000.0
    assert kb.binary_cross_entropy_from_logits(0, 1000.0) == 1000.0
    assert kb.log_sigmoid(-1000.0) == -1000.0
    assert kb.logsumexp([1000.0, 1000.0]) == 1000 + math.log(2)


@both_types
def test_losses_down_to_the_least_number(dtype: Float) -> None:
    # exp(-gap) of a single loser, the whole of the loss: never lse - z_y, which is 0 from 17 or 37 on.
    for gap in np.arange(0, 103 if dtype is np.float32 else 744, 1.5):
        z = np.array([gap, 0], dtype)
        exact = mp.log1p(mp.exp(-mp.mpf(float(z[0]))))
        for got in (
            kb.categorical_cross_entropy_from_logits(0, z),
            kb.categorical_cross_entropy_from_logits([1.0, 0.0], z).astype(dtype),
            -kb.log_softmax(z)[0],
            -kb.token_logprobs(z, 0),
            -kb.log_sigmoid(z[0]),
            kb.binary_cross_entropy_from_logits(dtype(1), z[0]),
        ):
            assert got > 0
            assert ulp_error(got, exact) <= BOUNDS["row"] if got.dtype == dtype else False, f"{gap}: {got}"


# One hot rows and impossible classes among two arrays


# What, p, q (each filler and odd logit), KL, JS: a number or a function of n. The odd logits are of one class.
PAIRS: list[tuple[str, tuple[Any, Any], tuple[Any, Any], Any, Any]] = [
    ("both certain", (0.0, INF), (0.0, INF), 0.0, 0.0),
    ("certain and the only possible one", (0.0, INF), (-INF, 5.0), 0.0, 0.0),
    ("impossible in both", (1.0, -INF), (2.0, -INF), 0.0, 0.0),
    ("p > 0 = q", (0.0, 0.0), (0.0, -INF), INF, None),
    ("p > 0 = q, p tiny", (0.0, -90.0), (0.0, -INF), INF, None),
    ("p > 0 = q, p tinier", (0.0, -705.0), (0.0, -INF), INF, lambda n: math.exp(-705) / (n - 1) * math.log(2) / 2),
    ("p > 0 = q, p below all floats", (0.0, -1e5), (0.0, -INF), INF, 0.0),
    ("p > 0 = q, p far below", (0.0, -3e38), (0.0, -INF), INF, 0.0),
    ("p > 0 = q where q is certain", (0.0, 0.0), (0.0, INF), INF, None),
    ("p certain", (0.0, INF), (0.0, 0.0), math.log, None),
    ("p = 0", (0.0, -INF), (0.0, 0.0), lambda n: -math.log1p(-1 / n), None),
    ("disjoint", (-INF, 0.0), (0.0, -INF), INF, math.log(2)),
    ("no p", (-INF, -INF), (0.0, 0.0), NAN, NAN),
    ("no q", (0.0, 0.0), (-INF, -INF), NAN, NAN),
    ("neither", (-INF, -INF), (-INF, -INF), NAN, NAN),
    ("NaN in p", (0.0, NAN), (0.0, 0.0), NAN, NAN),
    ("NaN in q", (0.0, 0.0), (0.0, NAN), NAN, NAN),
    ("NaN in q where p = 0", (0.0, -INF), (0.0, NAN), NAN, NAN),
    ("NaN in q, p certain elsewhere", (INF, 0.0), (0.0, NAN), NAN, NAN),
]


@both_types
@pytest.mark.parametrize(("p", "q", "kl", "js"), [pytest.param(*case, id=what) for what, *case in PAIRS])
def test_pair_of_rows(p: tuple[Any, Any], q: tuple[Any, Any], kl: Any, js: Any, dtype: Float) -> None:
    for n in (n for n in LENGTHS if n > 1):
        if p[0] == INF and n > 2:
            continue  # a row of more than one +inf
        for (row, at), (other, _) in zip(placed(n, p[0], p[1:], dtype), placed(n, q[0], q[1:], dtype), strict=True):
            for name, want in (("kl_divergence_from_logits", kl), ("js_divergence_from_logits", js)):
                for axis in (-1, 0):
                    arrays = [np.stack([x, x], axis=1 + axis) for x in (row, other)]
                    for got in (getattr(kb, name)(row, other), *getattr(kb, name)(*arrays, axis=axis)):
                        where = f"{name} at {at} of {n}, axis {axis}: {got}"
                        if want is None:
                            assert 0 < got < INF, where
                        elif callable(want):
                            assert got == pytest.approx(dtype(want(n)), rel=1e-6, abs=0), where
                        else:
                            assert same(got, dtype(want)), where


NO_PROBABILITIES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "all -inf": (-INF, ()),
    "two +inf": (0.0, (INF, INF)),
    "NaN": (0.0, (NAN,)),
}
PROBABILITIES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "equal": (0.0, ()),
    "one +inf": (0.0, (INF,)),
    "one possible": (-INF, (1.0,)),
    "one impossible": (0.0, (-INF,)),
    "confident": (0.0, (1e5,)),
    "as confident as can be": ("-most", (0.0,)),
}


@both_types
@pytest.mark.parametrize("good", PROBABILITIES)
@pytest.mark.parametrize("bad", NO_PROBABILITIES)
def test_divergence_of_a_row_without_probabilities(bad: str, good: str, dtype: Float) -> None:
    for n in (n for n in LENGTHS if n > 1):
        for row, _ in placed(n, *NO_PROBABILITIES[bad], dtype):
            for other, at in placed(n, *PROBABILITIES[good], dtype):
                for name in ("kl_divergence_from_logits", "js_divergence_from_logits"):
                    for pair in ((row, other), (other, row)):
                        got = getattr(kb, name)(*pair)
                        assert np.isnan(got), f"{name} of {n}, {good} at {at}: {got}"
                        got = getattr(kb, name)(*(x[:, None] for x in pair), axis=0)
                        assert np.isnan(got).all(), f"{name} of {n}, column, {good} at {at}: {got}"


@both_types
def test_masked_rows_a_constant_apart_are_equal(dtype: Float) -> None:
    for open_classes in (1, 2, 16):
        for masked in (7, 199, 5_000):
            p = np.full(open_classes + masked, -INF, dtype)
            p[:open_classes] = np.arange(open_classes) % 2 - 20
            for shift in (-7, 7, 64, 1e6):
                assert same(kb.kl_divergence_from_logits(p, p + dtype(shift)), 0.0), f"{masked} masked, shift {shift}"


@both_types
def test_what_is_excluded_makes_any_divergence_infinite(dtype: Float) -> None:
    """However unlikely it was, and however far the other classes are apart."""
    rng = np.random.default_rng(17)
    for distance in (0, 0.01, 0.2, 1, 5):
        for n in (2, 3, 19, 40, 4097):
            for unlikely in (-90, -131, -140, -1e9, -3e38):
                p = rng.normal(0, 1, n).astype(dtype)
                q = (p + distance * rng.normal(0, 1, n)).astype(dtype)
                p[n // 2], q[n // 2] = unlikely, -INF
                assert kb.kl_divergence_from_logits(p, q) == INF, f"{unlikely} among {n}, {distance} apart"
                rows = np.stack([p, p]), np.stack([q, p])
                np.testing.assert_array_equal(kb.kl_divergence_from_logits(*rows), [INF, 0])
                np.testing.assert_array_equal(
                    kb.kl_divergence_from_logits(*(x.T.copy() for x in rows), axis=0), [INF, 0]
                )


@both_types
def test_equal_rows_are_exactly_zero_apart(dtype: Float) -> None:
    rng = np.random.default_rng(3)
    for n in LENGTHS:
        for scale in (0, 1e-30, 1, 30, 1000, float(np.finfo(dtype).max) / 8):
            z = (scale * rng.normal(0, 1, n)).astype(dtype)
            z[1::7] = -INF
            for name in ("kl_divergence_from_logits", "js_divergence_from_logits"):
                for base in (None, 2):
                    assert same(getattr(kb, name)(z, z.copy(), base=base), 0.0), f"{name}, length {n}, scale {scale}"
                    assert same(getattr(kb, name)(np.stack([z, z], 1), z[:, None].copy(), axis=0, base=base), 0.0)


@both_types
def test_divergences_are_never_negative(dtype: Float) -> None:
    rng = np.random.default_rng(37)
    p = rng.normal(0, 5, (2000, 19)).astype(dtype)
    for width in (1e-7, 1e-3, 1):
        q = (p * rng.uniform(1 - width, 1 + width, p.shape)).astype(dtype)
        assert (kb.kl_divergence_from_logits(p, q) >= 0).all()
        assert (kb.js_divergence_from_logits(p, q) >= 0).all()
        np.testing.assert_array_equal(kb.js_divergence_from_logits(p, q), kb.js_divergence_from_logits(q, p))


@both_types
def test_disjoint_rows_are_exactly_log_2_apart(dtype: Float) -> None:
    rng = np.random.default_rng(7)
    for n in (n for n in LENGTHS if n > 1):
        for winners in (1, n // 2):
            p, q = np.full(n, -INF, dtype), np.full(n, -INF, dtype)
            p[:winners], q[winners:] = rng.normal(0, 9, winners), rng.normal(0, 9, n - winners)
            assert kb.js_divergence_from_logits(p, q) == dtype(math.log(2))
            assert kb.js_divergence_from_logits(p, q, base=2) == 1


# Losses of rows

# What, label of the odd class, its logit, options, result for a filler of 0: None is the reference's. "weight" is that
# of the odd class. Filler classes have the label 0, except where there is smoothing.
LOSSES: list[tuple[str, float, float, dict[str, float], float | None]] = [
    ("impossible, no label", 0.0, -INF, {}, 0.0),
    ("impossible, -0", -0.0, -INF, {}, 0.0),
    ("impossible, label", 1.0, -INF, {}, INF),
    ("impossible, tiny label", LEAST[np.float32], -INF, {}, INF),
    ("impossible, label of weight 0", 1.0, -INF, {"weight": 0.0}, 0.0),
    ("impossible, smoothing", 0.0, -INF, {"label_smoothing": 0.1}, INF),
    ("impossible, smoothing, weight 0", 0.0, -INF, {"label_smoothing": 0.1, "weight": 0.0}, None),
    ("impossible, sample_weight 0", 1.0, -INF, {"sample_weight": 0.0}, 0.0),
    ("certain, right", 1.0, INF, {}, 0.0),
    ("certain, right, smoothing", 1.0, INF, {"label_smoothing": 0.1}, INF),
    ("NaN", 0.0, NAN, {}, NAN),
    ("NaN, sample_weight 0", 1.0, NAN, {"sample_weight": 0.0}, NAN),
    ("NaN, weight 0", 1.0, NAN, {"weight": 0.0}, NAN),
    ("NaN label", NAN, 0.0, {}, NAN),
    ("NaN label, weight 0", NAN, 0.0, {"weight": 0.0}, NAN),
    ("negative label", -0.25, 0.0, {}, NAN),
    ("NaN sample_weight", 1.0, 0.0, {"sample_weight": NAN}, NAN),
    ("negative weight", 1.0, 0.0, {"weight": -2.0}, None),
    ("negative weight, impossible", 1.0, -INF, {"weight": -2.0}, -INF),
    ("huge label", 1e30, 1.0, {}, None),
    ("smoothing", 1.0, 5.0, {"label_smoothing": 0.1}, None),
    ("nothing but smoothing", 1.0, 5.0, {"label_smoothing": 1.0}, None),
]


@both_types
@pytest.mark.parametrize(("y", "z", "options", "want"), [pytest.param(*case, id=what) for what, *case in LOSSES])
def test_loss(y: float, z: float, options: dict[str, float], want: float | None, dtype: Float) -> None:
    loss = kb.categorical_cross_entropy_from_logits
    for n in (n for n in LENGTHS if n > 1):
        for row, (at,) in placed(n, 0.0, (z,), dtype):
            labels = np.zeros(n, dtype)
            labels[at] = y
            arguments: dict[str, Any] = {key: x for key, x in options.items() if key != "weight"}
            if "weight" in options:
                arguments["weight"] = np.ones(n, dtype)
                arguments["weight"][at] = options["weight"]
            calls: list[tuple[Any, Array]] = [(labels, row)] + [(at, row)] * (y == 1)
            for label, logits in calls:
                if want is None and n < 50:
                    assert_matches_reference(loss, label, logits, **arguments)
                for axis in (-1, 0):
                    batch = np.stack([logits] * 3, axis=1 + axis)
                    targets = np.full(3, label) if np.ndim(label) == 0 else np.stack([label] * 3, axis=1 + axis)
                    got = np.append(loss(targets, batch, axis=axis, **arguments), loss(label, logits, **arguments))
                    assert got.dtype == dtype
                    assert (got == got[0]).all() if want is None else same(got, want), f"at {at} of {n}: {got}"


@both_types
def test_ignored_rows_are_0(dtype: Float) -> None:
    loss = kb.categorical_cross_entropy_from_logits
    z = np.array([[NAN, NAN], [INF, INF], [-INF, -INF], [0, 0]], dtype)
    for ignored in (1, -100, 2**70):
        labels = np.array([ignored, ignored, ignored, 0]) if ignored < 2**63 else np.zeros(4, np.int64)
        got = loss(labels, z, ignore_index=ignored)
        want = [0, 0, 0] if ignored < 2**63 else [NAN] * 3
        assert same(got, np.array([*want, math.log(2)], dtype))
    labels = np.array([-100, -100, -100, 0])
    assert loss(labels, z, ignore_index=-100, reduction="mean") == dtype(math.log(2))
    assert loss(labels, z, ignore_index=-100, reduction="sum") == dtype(math.log(2))


# Elements

# Function, arguments, options, result: a number, or None for the reference's.
ELEMENTS: list[tuple[str, tuple[Any, ...], dict[str, float], Any]] = [
    ("sigmoid", (INF,), {}, 1.0),
    ("sigmoid", (-INF,), {}, 0.0),
    ("sigmoid", (NAN,), {}, NAN),
    ("sigmoid", (0.0,), {}, 0.5),
    ("sigmoid", (-0.0,), {}, 0.5),
    ("sigmoid", ("most",), {}, 1.0),
    ("sigmoid", ("-most",), {}, 0.0),
    ("sigmoid", (-87.5,), {}, None),
    ("log_sigmoid", (INF,), {}, 0.0),
    ("log_sigmoid", (-INF,), {}, -INF),
    ("log_sigmoid", (NAN,), {}, NAN),
    ("log_sigmoid", (-1000.0,), {}, -1000.0),
    ("log_sigmoid", ("-most",), {}, "-most"),
    ("log_sigmoid", ("most",), {}, 0.0),
    ("log_sigmoid", (40.0,), {}, None),
    ("log_sigmoid", (100.0,), {}, None),
    ("log_sigmoid", ("least",), {}, None),
    ("binary_entropy_from_logits", (INF,), {}, 0.0),
    ("binary_entropy_from_logits", (-INF,), {}, 0.0),
    ("binary_entropy_from_logits", (NAN,), {}, NAN),
    ("binary_entropy_from_logits", (0.0,), {"base": 2}, 1.0),
    ("binary_entropy_from_logits", (-0.0,), {"base": 2}, 1.0),
    ("binary_entropy_from_logits", ("most",), {}, 0.0),
    ("binary_entropy_from_logits", ("-most",), {}, 0.0),
    ("binary_entropy_from_logits", (-100.0,), {}, None),
    *(
        ("binary_cross_entropy_from_logits", arguments, options, want)
        for arguments, options, want in [
            ((1.0, INF), {}, 0.0),
            ((0.0, -INF), {}, 0.0),
            ((-0.0, -INF), {}, 0.0),
            ((1.0, -INF), {}, INF),
            ((0.0, INF), {}, INF),
            ((0.5, INF), {}, INF),
            ((0.5, -INF), {}, INF),
            (("least", -INF), {}, INF),
            ((1.0, -1000.0), {}, 1000.0),
            ((0.0, 1000.0), {}, 1000.0),
            ((1.0, 1000.0), {}, 0.0),
            ((1.0, "-most"), {}, "most"),
            ((0.0, "-most"), {}, 0.0),
            ((1.0, 40.0), {}, None),
            ((0.0, -100.0), {}, None),
            ((0.25, 3.0), {}, None),
            (("least", -3.0), {}, None),
            ((1.0, NAN), {}, NAN),
            ((0.0, NAN), {}, NAN),
            ((NAN, 0.0), {}, NAN),
            ((1.5, 0.0), {}, NAN),
            ((-1.0, 0.0), {}, NAN),
            ((INF, 0.0), {}, NAN),
            ((1.0, -INF), {"weight": 0.0}, 0.0),
            ((1.0, NAN), {"weight": 0.0}, NAN),
            ((NAN, 1.0), {"weight": 0.0}, NAN),
            ((1.0, 1.0), {"weight": NAN}, NAN),
            ((1.0, -INF), {"pos_weight": 0.0}, 0.0),
            ((0.0, INF), {"pos_weight": 0.0}, INF),
            ((0.0, INF), {"weight": -1.0}, -INF),
            ((1.0, -3.0), {"weight": -1.0, "pos_weight": 2.0}, None),
            ((1.0, INF), {"label_smoothing": 0.1}, INF),
            ((0.0, 3.0), {"label_smoothing": 1.0}, None),
        ]
    ),
]


@both_types
@pytest.mark.parametrize(
    ("function", "arguments", "options", "want"),
    [pytest.param(*case, id=f"{case[0]}{case[1]}{case[2] or ''}") for case in ELEMENTS],
)
def test_element(function: str, arguments: tuple[Any, ...], options: dict[str, float], want: Any, dtype: Float) -> None:
    numbers = [number(x, dtype) for x in arguments]
    exact = getattr(kb.reference, function)(*numbers, math=mp, **options) if want is None else number(want, dtype)
    for n in (n for n in LENGTHS if n < 50):
        for at in sorted({0, n // 2, n - 1}):
            arrays = [np.full(n, filler, dtype) for filler in (1.0, 2.0)[-len(numbers) :]]
            for x, value in zip(arrays, numbers, strict=True):
                x[at] = value
            fewer = getattr(kb, function)(*(np.delete(x, at) for x in arrays), **options)
            for got in (
                getattr(kb, function)(*arrays, **options),
                getattr(kb, function)(*(np.repeat(x, 2)[::2] for x in arrays), **options),
            ):
                assert got.dtype == dtype
                np.testing.assert_array_equal(np.delete(got, at), fewer)
                right = same(got[at], exact) if want is not None else ulp_error(got[at], exact) <= BOUNDS["elementwise"]
                assert right, f"at {at} of {n}: {got[at]}, expected {exact}"


# Empty rows, and numbers that are not floats


@both_types
def test_empty_rows(dtype: Float) -> None:
    for z, axis in ((np.empty((3, 0), dtype), -1), (np.empty((0, 3), dtype), 0)):
        np.testing.assert_array_equal(kb.logsumexp(z, axis=axis), np.full(3, -INF, dtype), strict=True)
        zeros = np.zeros(3, dtype)
        np.testing.assert_array_equal(kb.entropy_from_logits(z, axis=axis), zeros, strict=True)
        for name in ("kl_divergence_from_logits", "js_divergence_from_logits", "categorical_cross_entropy_from_logits"):
            np.testing.assert_array_equal(getattr(kb, name)(z, z, axis=axis), zeros, strict=True)
        for name in ("softmax", "log_softmax"):
            np.testing.assert_array_equal(getattr(kb, name)(z, axis=axis), z, strict=True)
        for name in ("categorical_cross_entropy_from_logits", "token_logprobs"):
            arguments = (np.zeros(3, int), z) if name.startswith("c") else (z, np.zeros(3, int))
            with pytest.raises(IndexError, match="out of range for 0 classes"):
                getattr(kb, name)(*arguments, axis=axis)
        assert kb.token_logprobs(z, np.empty_like(z, int), axis=axis).shape == z.shape
    assert same(kb.logsumexp(np.empty(0, dtype)), -INF)
    assert same(kb.entropy_from_logits(np.empty(0, dtype)), 0.0)
    assert same(kb.logsumexp(np.empty((2, 0), dtype), axis=None), -INF)
    for name in ELEMENTWISE[:3]:
        assert getattr(kb, name)(np.empty((3, 0), dtype)).shape == (3, 0)


@both_types
def test_rows_of_one_class(dtype: Float) -> None:
    for x in (0.0, -3.0, float(np.finfo(dtype).max)):
        z = np.array([[x]], dtype)
        assert same(kb.logsumexp(z), x)
        assert same(kb.softmax(z), 1.0)
        assert same(kb.log_softmax(z), 0.0)
        assert same(kb.token_logprobs(z, [0]), 0.0)
        assert same(kb.entropy_from_logits(z), 0.0)
        assert same(kb.categorical_cross_entropy_from_logits([0], z), 0.0)
        assert same(kb.categorical_cross_entropy_from_logits([[1]], z), 0.0)
        for name in ("kl_divergence_from_logits", "js_divergence_from_logits"):
            assert same(getattr(kb, name)(z, np.array([[7]], dtype)), 0.0)


def test_integers_that_would_wrap_around() -> None:
    # SciPy's softmax of uint8 subtracts in uint8: [nan, nan, 0].
    z = np.array([0, 255, 254], np.uint8)
    np.testing.assert_array_equal(kb.softmax(z), kb.softmax(z.astype(float)), strict=True)
    np.testing.assert_array_equal(kb.softmax(z).sum(), 1.0)
    smallest = np.array([-(2**63), 0], np.int64)
    np.testing.assert_array_equal(kb.log_softmax(smallest), [-(2.0**63), 0.0])
