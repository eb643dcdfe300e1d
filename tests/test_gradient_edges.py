"""The promise: gradients at the edges, case by case: the limit's infinity with its sign, 0 where a term is absent.

The odd ones go to the first, a middle and the last place of rows of every length; the others' gradients stay what
they are. kullback.reference.grad has the same edges. Elsewhere, gradients are the slopes of the values.
"""

from __future__ import annotations

import inspect
import itertools
import math
import re
import warnings
from collections.abc import Iterator
from typing import Any, TypeAlias

import mpmath
import numpy as np
import pytest

import kullback as kb
from kullback.reference import grad as reference
from kullback.testing import ulp_error

Float: TypeAlias = type[np.float32] | type[np.float64]

INF, NAN = math.inf, math.nan
LOG2 = math.log(2)
LENGTHS = [1, 5, 8, 16, 17, 40, 5000, 9000]  # packs, parts of them, more than one; two blocks, and three
LOSS = kb.grad.categorical_cross_entropy_from_logits

mp = mpmath.MPContext()
mp.dps = 60

both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def same(got: Any, want: Any) -> bool:
    """Equal, where NaN equals NaN; the sign of 0 does not count."""
    return bool(np.array_equal(got, want, equal_nan=True))


def close(got: Any, want: Any) -> bool:
    got, want = np.broadcast_arrays(got, np.asarray(want, np.asarray(got).dtype))
    odd = ~np.isfinite(want) | (want == 0)
    return same(got[odd], want[odd]) and np.allclose(
        got, want, rtol=8 * np.finfo(got.dtype).eps, atol=0, equal_nan=True
    )


# Gradients of probabilities, element by element

# Function, by what, its arguments, options, gradient. Weights, which have one number here, are those of the element.
PAIRS: list[tuple[str, str, tuple[float, ...], dict[str, float], float]] = [
    *(
        ("entropy", "p", (p,), {}, want)
        for p, want in [(0.0, INF), (-0.0, INF), (1.0, -1.0), (INF, -INF), (-0.5, NAN), (-INF, NAN), (NAN, NAN)]
    ),
    *(
        ("binary_entropy", "p", (p,), {}, want)
        for p, want in [
            *((0.0, INF), (-0.0, INF), (1.0, -INF), (0.5, 0.0), (0.25, math.log(3)), (-0.5, NAN), (1.5, NAN)),
            *((INF, NAN), (-INF, NAN), (NAN, NAN)),
        ]
    ),
    *(
        (name, "q", pair, {}, want)
        for name in ("cross_entropy", "kl_divergence")
        for pair, want in [
            *(((0.0, 0.5), 0.0), ((0.0, 0.0), 0.0), ((-0.0, -0.0), 0.0), ((0.5, 0.0), -INF), ((0.5, 0.25), -2.0)),
            *(((0.0, INF), 0.0), ((0.5, INF), 0.0), ((INF, 0.5), -INF), ((INF, 0.0), -INF)),
            *(((-0.5, 0.5), NAN), ((0.5, -0.5), NAN), ((0.0, -0.5), NAN), ((NAN, 0.5), NAN), ((0.5, NAN), NAN)),
            *(((0.0, NAN), NAN), ((NAN, 0.0), NAN), ((-0.5, 0.0), NAN)),
        ]
    ),
    *(
        ("cross_entropy", "p", pair, {}, want)
        for pair, want in [
            *(((0.0, 0.0), INF), ((0.5, 0.0), INF), ((INF, 0.0), INF), ((0.0, 0.5), LOG2), ((0.5, 1.0), 0.0)),
            *(((0.5, INF), -INF), ((0.0, INF), -INF), ((0.5, -0.5), NAN), ((0.5, NAN), NAN), ((0.0, NAN), NAN)),
            *(((-0.5, 0.5), NAN), ((NAN, 0.5), NAN)),
        ]
    ),
    *(
        ("kl_divergence", "p", pair, {}, want)
        for pair, want in [
            *(((0.0, 0.5), -INF), ((0.5, 0.0), INF), ((0.0, 0.0), 0.0), ((0.5, 0.5), 1.0), ((0.5, 1.0), 1 - LOG2)),
            *(((INF, 0.5), INF), ((0.5, INF), -INF), ((0.0, INF), -INF), ((INF, 0.0), INF)),
            *(((-0.5, 0.5), NAN), ((0.5, -0.5), NAN), ((NAN, 0.5), NAN), ((0.5, NAN), NAN), ((0.0, NAN), NAN)),
        ]
    ),
    *(
        ("js_divergence", wrt, pair[::turn], {}, want)
        for wrt, turn in (("q", 1), ("p", -1))
        for pair, want in [
            *(((0.5, 0.0), -INF), ((0.0, 0.5), LOG2 / 2), ((0.0, 0.0), 0.0), ((0.5, 0.5), 0.0)),
            *(((1.0, 3.0), math.log(1.5) / 2), ((INF, 0.5), -INF), ((0.5, INF), LOG2 / 2), ((0.0, INF), LOG2 / 2)),
            *(((-0.5, 0.5), NAN), ((0.5, -0.5), NAN), ((NAN, 0.5), NAN), ((0.5, NAN), NAN), ((0.0, NAN), NAN)),
        ]
    ),
    *(
        ("binary_cross_entropy", "q", pair, options, want)
        for pair, options, want in [
            *(((0.0, 0.0), {}, 1.0), ((0.0, 1.0), {}, INF), ((1.0, 0.0), {}, -INF), ((1.0, 1.0), {}, -1.0)),
            *(((0.5, 0.0), {}, -INF), ((0.5, 1.0), {}, INF), ((0.5, 0.5), {}, 0.0), ((1.0, 0.25), {}, -4.0)),
            *(((1.0, 1.0), {"label_smoothing": 0.1}, INF), ((0.0, 0.0), {"label_smoothing": 0.1}, -INF)),
            *(((1.0, 0.0), {"weight": 0.0}, 0.0), ((1.0, 0.0), {"pos_weight": 0.0}, 0.0)),
            *(((0.0, 1.0), {"weight": -1.0}, -INF), ((0.0, 1.0), {"pos_weight": 0.0}, INF)),
            *(((1.0, 0.0), {"weight": NAN}, NAN), ((NAN, 0.5), {"weight": 0.0}, NAN)),
            *(((0.5, NAN), {"weight": 0.0}, NAN), ((0.0, NAN), {}, NAN), ((NAN, 0.5), {}, NAN)),
            *(((1.5, 0.5), {}, NAN), ((-0.5, 0.5), {}, NAN), ((0.5, 1.5), {}, NAN), ((0.5, -0.5), {}, NAN)),
        ]
    ),
    *(
        ("binary_cross_entropy", "labels", pair, options, want)
        for pair, options, want in [
            *(((0.5, 0.0), {}, INF), ((0.0, 0.0), {}, INF), ((0.5, 1.0), {}, -INF), ((1.0, 1.0), {}, -INF)),
            *(((0.5, 0.5), {}, 0.0), ((0.0, 0.25), {}, math.log(3))),
            *(((0.5, 0.0), {"label_smoothing": 1.0}, 0.0), ((0.5, 0.0), {"weight": 0.0}, 0.0)),
            *(((0.5, 0.0), {"pos_weight": 0.0}, 0.0), ((0.5, 1.0), {"pos_weight": 0.0}, -INF)),
            *(((0.5, 0.0), {"weight": -1.0}, -INF), ((0.5, NAN), {"label_smoothing": 1.0}, NAN)),
            *(((NAN, 0.5), {}, NAN), ((1.5, 0.5), {}, NAN), ((0.5, 1.5), {}, NAN), ((0.5, -0.5), {}, NAN)),
        ]
    ),
    *(
        ("categorical_cross_entropy", "q", pair, options, want)
        for pair, options, want in [
            *(((0.0, 0.0), {}, 0.0), ((0.0, 0.5), {}, 0.0), ((0.5, 0.0), {}, -INF), ((0.5, 0.25), {}, -2.0)),
            *(((1.0, 0.0), {"weight": 0.0}, 0.0), ((1.0, 0.0), {"sample_weight": 0.0}, 0.0)),
            *(((0.0, 0.0), {"label_smoothing": 0.1}, -INF), ((1.0, 0.0), {"weight": -1.0}, INF)),
            *(((0.5, NAN), {}, NAN), ((0.0, NAN), {}, NAN), ((0.5, -0.5), {}, NAN), ((0.0, -0.5), {}, NAN)),
            *(((0.5, NAN), {"weight": 0.0}, NAN), ((0.5, NAN), {"sample_weight": 0.0}, NAN)),
        ]
    ),
    *(
        ("categorical_cross_entropy", "labels", pair, options, want)
        for pair, options, want in [
            *(((0.5, 0.0), {}, INF), ((0.0, 0.0), {}, INF), ((0.5, 1.0), {}, 0.0), ((0.0, 0.5), {}, LOG2)),
            *(((0.5, 0.0), {"weight": 0.0}, 0.0), ((0.5, 0.0), {"sample_weight": 0.0}, 0.0)),
            *(((0.5, 0.0), {"label_smoothing": 1.0}, 0.0), ((0.5, 0.0), {"weight": -1.0}, -INF)),
            *(((0.5, NAN), {}, NAN), ((0.5, -0.5), {}, NAN), ((0.0, NAN), {}, NAN)),
        ]
    ),
    *(
        ("binary_entropy_from_logits", "z", (z,), {}, want)
        for z, want in [(INF, 0.0), (-INF, 0.0), (0.0, 0.0), (NAN, NAN), (3e38, 0.0), (-3e38, 0.0)]
    ),
    *(
        ("binary_cross_entropy_from_logits", "logits", pair, options, want)
        for pair, options, want in [
            *(((1.0, INF), {}, 0.0), ((0.0, INF), {}, 1.0), ((1.0, -INF), {}, -1.0), ((0.0, -INF), {}, 0.0)),
            *(((0.25, INF), {}, 0.75), ((0.25, -INF), {}, -0.25), ((0.25, 0.0), {}, 0.25), ((1.0, 3e38), {}, 0.0)),
            *(((1.0, -INF), {"pos_weight": 3.0}, -3.0), ((1.0, -INF), {"weight": 0.0}, 0.0)),
            *(((0.0, INF), {"label_smoothing": 0.5}, 0.75), ((0.5, NAN), {"weight": 0.0}, NAN)),
            *(((0.5, NAN), {}, NAN), ((NAN, 0.5), {}, NAN), ((1.5, 0.5), {}, NAN), ((-0.5, INF), {}, NAN)),
        ]
    ),
    *(
        ("binary_cross_entropy_from_logits", "labels", pair, options, want)
        for pair, options, want in [
            *(((0.5, 2.0), {}, -2.0), ((0.5, INF), {}, -INF), ((0.5, -INF), {}, INF), ((0.0, 0.0), {}, 0.0)),
            *(
                ((0.0, 3e38), {}, -3e38),
                ((0.5, 2.0), {"label_smoothing": 0.5}, -1.0),
                ((1.0, 2.0), {"weight": 3.0}, -6.0),
            ),
            *(((0.5, INF), {"label_smoothing": 1.0}, 0.0), ((0.5, -INF), {"weight": 0.0}, 0.0)),
            *(((0.5, -INF), {"pos_weight": 0.0}, 0.0), ((0.5, INF), {"pos_weight": 2.0}, -INF)),
            *(((0.5, NAN), {}, NAN), ((NAN, 0.5), {}, NAN), ((1.5, 0.5), {}, NAN)),
        ]
    ),
    *(
        ("binary_cross_entropy_from_logits", "hessian", pair, options, want)
        for pair, options, want in [
            *(
                ((1.0, INF), {}, 0.0),
                ((0.0, -INF), {}, 0.0),
                ((0.5, 0.0), {}, 0.25),
                ((1.0, 0.0), {"pos_weight": 2.0}, 0.5),
            ),
            *(((0.5, NAN), {}, NAN), ((NAN, 0.5), {}, NAN), ((1.5, 0.5), {}, NAN)),
        ]
    ),
]


def differentiate(name: str, wrt: str, arrays: list[Any], **options: Any) -> Any:
    function = getattr(kb.grad, name)
    if wrt == "hessian":
        return function(*arrays, hessian=True, **options)[1]
    return function(*arrays, **({"wrt": wrt} if len(arrays) > 1 else {}), **options)


@both_types
@pytest.mark.parametrize(
    ("name", "wrt", "numbers", "options", "want"),
    [pytest.param(*case, id=f"{case[0]}, {case[1]}, {case[2]}{case[3] or ''}") for case in PAIRS],
)
def test_element(name: str, wrt: str, numbers: Any, options: dict[str, float], want: float, dtype: Float) -> None:
    for n in LENGTHS:
        for at in sorted({0, n // 2, n - 1}):
            plain = [np.full(n, filler, dtype) for filler in (0.5, 0.75)[-len(numbers) :]]
            odd = [x.copy() for x in plain]
            for x, number in zip(odd, numbers, strict=True):
                x[at] = number
            given = dict(options)
            for key in ("weight", "pos_weight"):
                if key in options:
                    given[key] = np.ones(n, dtype)
                    given[key][at] = options[key]
            scalars = {key: x for key, x in options.items() if key in ("label_smoothing", "sample_weight")}
            got, others = differentiate(name, wrt, odd, **given), differentiate(name, wrt, plain, **scalars)
            assert got.dtype == dtype
            if "label_smoothing" not in options or name != "categorical_cross_entropy":  # s/n depends on the length
                assert close(got[at], want), f"at {at} of {n}: {got[at]}"
            else:
                assert math.isfinite(want) or same(got[at], want), f"at {at} of {n}: {got[at]}"
            if not any(x < 0 for x in numbers) and not any(map(math.isnan, numbers)):
                assert same(np.delete(got, at), np.delete(others, at)), f"beside the one at {at} of {n}"


@pytest.mark.parametrize(
    ("name", "wrt", "numbers", "options", "want"),
    [pytest.param(*case, id=f"{case[0]}, {case[1]}, {case[2]}{case[3] or ''}") for case in PAIRS],
)
def test_element_of_the_reference(name: str, wrt: str, numbers: Any, options: Any, want: float) -> None:
    if name.startswith("binary"):
        arguments, given = list(numbers), options
    else:
        arguments, given = [[x] for x in numbers], {k: [x] if k == "weight" else x for k, x in options.items()}
    assert close(np.ravel(of_reference(name, wrt, arguments, **given)), [want])


def of_reference(name: str, wrt: str, arguments: list[Any], **options: Any) -> Any:
    function = getattr(reference, name)
    if wrt == "hessian":
        return function(*arguments, hessian=True, **options)[1]
    return function(*arguments, **({"wrt": wrt} if len(arguments) > 1 else {}), **options)


# Gradients of rows of logits

# What, rows, by what, gradient. Rows of one array; or of two, labels or logits first.
SEVERAL = [0.0, 1.0, 2.0]
NONE: list[tuple[str, list[float]]] = [
    ("all -inf", [-INF] * 3),
    ("two +inf", [INF, INF, 0.0]),
    ("NaN", [0.0, NAN, 1.0]),
    ("NaN, +inf", [INF, NAN, 1.0]),
]
ROWS: list[tuple[str, str, list[list[float]], list[float]]] = [
    *(("logsumexp", "z", [z], [NAN] * 3) for _, z in NONE),
    ("logsumexp", "z", [[INF, 0, -INF]], [1, 0, 0]),
    ("logsumexp", "z", [[0, 0, -INF]], [0.5, 0.5, 0]),
    ("logsumexp", "z", [[-INF, -5, -INF]], [0, 1, 0]),
    *(("entropy_from_logits", "z", [z], [NAN] * 3) for _, z in NONE),
    ("entropy_from_logits", "z", [[INF, 0, -INF]], [0, 0, 0]),
    ("entropy_from_logits", "z", [[-INF, -5, -INF]], [0, 0, 0]),
    ("entropy_from_logits", "z", [[math.log(3), 0, -INF]], [-0.1875 * math.log(3), 0.1875 * math.log(3), 0]),
    *(
        (name, wrt, pair, [NAN] * 3)
        for name in ("kl_divergence_from_logits", "js_divergence_from_logits")
        for wrt in ("p_logits", "q_logits")
        for _, z in NONE
        for pair in ([z, SEVERAL], [SEVERAL, z], [z, [INF, 0, 0]], [[0, INF, 0], z], [z, [-INF] * 3])
    ),
    ("kl_divergence_from_logits", "q_logits", [[0, 0, -INF], [0, -INF, -INF]], [0.5, -0.5, 0]),
    ("kl_divergence_from_logits", "q_logits", [[INF, 0, 0], [INF, 0, 0]], [0, 0, 0]),
    ("kl_divergence_from_logits", "q_logits", [[INF, 0, 0], [0, INF, 0]], [-1, 1, 0]),
    ("kl_divergence_from_logits", "p_logits", [[0, 0, -INF], [0, -INF, 0]], [-INF, INF, 0]),
    ("kl_divergence_from_logits", "p_logits", [[0, 0, 0], [-INF, -INF, 0]], [INF, INF, -INF]),
    ("kl_divergence_from_logits", "p_logits", [[INF, 0, 0], [0, -INF, 0]], [0, 0, 0]),
    ("kl_divergence_from_logits", "p_logits", [[INF, 0, 0], [-INF, 0, 0]], [INF, 0, 0]),
    ("kl_divergence_from_logits", "p_logits", [[0, -INF, -INF], [0, 0, -INF]], [0, 0, 0]),
    ("kl_divergence_from_logits", "p_logits", [[2, 2, 2], [2, 2, 2]], [0, 0, 0]),
    *(
        ("js_divergence_from_logits", wrt, pair[::turn], want)
        for wrt, turn in (("q_logits", 1), ("p_logits", -1))
        for pair, want in [
            ([[0, 0, -INF], [-INF, 0, -INF]], [0, 0, 0]),
            ([[1, 2, 3], [1, 2, 3]], [0, 0, 0]),
            ([[INF, 0, 0], [INF, 0, 0]], [0, 0, 0]),
            # q = (1/2, 1/2), p = (1, 0): log(q/m) is log 2/3 and log 2.
            ([[0, -INF, -INF], [0, 0, -INF]], [-math.log(3) / 8, math.log(3) / 8, 0]),
        ]
    ),
]
CLASSES: list[tuple[list[float], int, list[float], list[float]]] = [
    # logits, class, gradient, diagonal of the Hessian
    *((z, 0, [NAN] * 3, [NAN] * 3) for _, z in NONE),
    ([0, 0, -INF], 0, [-0.5, 0.5, 0], [0.25, 0.25, 0]),
    ([0, 0, -INF], 2, [0.5, 0.5, -1], [0.25, 0.25, 0]),
    ([INF, 0, -INF], 0, [0, 0, 0], [0, 0, 0]),
    ([INF, 0, -INF], 1, [1, -1, 0], [0, 0, 0]),
    ([-INF, 3, -INF], 1, [0, 0, 0], [0, 0, 0]),
    ([1e5, -1e5, 0], 1, [1, -1, 0], [0, 0, 0]),
]


def check_row(name: str, wrt: str, rows: list[Any], want: list[float], dtype: Float, **options: Any) -> None:
    """Alone, among others, as a column, and with impossible classes between its own."""
    arrays = [np.asarray(row, dtype) if np.ndim(row) else np.asarray(row) for row in rows]
    assert close(differentiate(name, wrt, arrays, **options), want)
    for axis in (0, -1):
        stacked = [np.stack([a] * 3, axis=-1 - axis if a.ndim else 0) for a in arrays]
        got = differentiate(name, wrt, stacked, axis=axis, **options)
        assert close(np.moveaxis(got, axis, -1), want), axis
    if name == "logsumexp" or np.ndim(rows[0]):
        for n in (n for n in LENGTHS if n > 3):
            places = [0, n // 2, n - 1]
            fillers = [0, -INF] if name.startswith("categorical") else [-INF] * len(rows)
            long = [np.full(n, filler, dtype) for filler in fillers]
            for a, row in zip(long, arrays, strict=True):
                a[places] = row
            got = differentiate(name, wrt, long, **options)
            assert close(got[places], want), n
            rest = np.delete(got, places)
            assert same(rest, np.full(n - 3, NAN if np.isnan(want).all() else 0)), n


@both_types
@pytest.mark.parametrize(("name", "wrt", "rows", "want"), ROWS, ids=str)
def test_row(name: str, wrt: str, rows: list[list[float]], want: list[float], dtype: Float) -> None:
    check_row(name, wrt, rows, want, dtype)
    assert close(np.array(of_reference(name, wrt, rows)), want)


@both_types
@pytest.mark.parametrize(("z", "label", "first", "second"), CLASSES, ids=str)
def test_loss(z: list[float], label: int, first: list[float], second: list[float], dtype: Float) -> None:
    one_hot = [float(k == label) for k in range(3)]
    name = "categorical_cross_entropy_from_logits"
    for wrt, want in (("logits", first), ("hessian", second)):
        for labels in (label, one_hot):
            assert close(np.array(of_reference(name, wrt, [labels, z])), want)
            check_row(name, wrt, [labels, z], want, dtype)
            check_row(name, wrt, [labels, z], [0 if x == x else NAN for x in want], dtype, sample_weight=0)
            if wrt == "logits" and not np.isnan(want).any():
                check_row(name, wrt, [labels, z], [2 * x for x in want], dtype, grad_output=2)


@both_types
def test_labels_of_logits(dtype: Float) -> None:
    z = np.array([0, 0, -INF], dtype)
    y = np.array([0.25, 0.75, 0], dtype)
    assert close(LOSS(y, z, wrt="labels"), [LOG2, LOG2, INF])
    assert close(LOSS(y, z, wrt="labels", weight=np.array([1, 2, 0], dtype)), [LOG2, 2 * LOG2, 0])
    assert close(LOSS(y, z, wrt="labels", label_smoothing=1), [0, 0, 0])
    assert close(LOSS(y, z, wrt="labels", sample_weight=-1), [-LOG2, -LOG2, -INF])
    assert close(LOSS(y, np.array([INF, 0, 0], dtype), wrt="labels"), [0, INF, INF])
    for _, row in NONE:
        assert np.isnan(LOSS(y, np.array(row, dtype), wrt="labels")).all()
    # Without pos_weight it is -z, to the bit.
    z = np.random.default_rng(1).normal(0, 30, 999).astype(dtype)
    got = kb.grad.binary_cross_entropy_from_logits(np.full(999, 0.25, dtype), z, wrt="labels")
    np.testing.assert_array_equal(got, -z, strict=True)


@both_types
def test_empty_rows(dtype: Float) -> None:
    for shape, axis in (((3, 0), -1), ((0, 3), 0)):
        z = np.empty(shape, dtype)
        for name in kb.grad.__all__:
            by_rows = "axis" in inspect.signature(getattr(kb.grad, name)).parameters
            arguments = [z] * (2 if "wrt" in inspect.signature(getattr(kb.grad, name)).parameters else 1)
            got = getattr(kb.grad, name)(*arguments, **({"axis": axis} if by_rows else {}))
            np.testing.assert_array_equal(got, z, strict=True)


# Whatever the numbers

# Odd numbers of every kind beside each other.
ODD = [0, -0.0, 0.5, 1, 2, -1, INF, -INF, NAN, 3e38, 2.0**-149, -700]


def odd_arrays(measure: Any, dtype: Any) -> Iterator[list[np.ndarray]]:
    first, second = (np.array(x, dtype) for x in zip(*itertools.product(ODD, repeat=2), strict=True))
    yield measure.filled(first, second)
    yield measure.filled(*(np.stack([x, np.full_like(x, y)], -1) for x, y in ((first, 0.5), (second, 1))))
    yield measure.filled(*(x[:, None] for x in (first, second)))


def test_a_factor_of_0_silences_everything_but_nan(gradient, dtype):
    for arrays in odd_arrays(gradient.measure, dtype):
        plain = gradient(*arrays)
        weights = [{"grad_output": 0}, {"grad_output": -0.0}, *({name: 0.0} for name in gradient.measure.weights[:1])]
        for options in weights:
            if gradient.measure.is_categorical and "weight" in options:
                options = {"sample_weight": 0}
            for got, one in zip(gradient(*arrays, **options), plain, strict=True):
                assert same(got, np.where(np.isnan(one), NAN, 0)), options


def test_no_floating_point_warnings(gradient, dtype):
    with np.errstate(all="raise"):
        for arrays in odd_arrays(gradient.measure, dtype):
            gradient(*arrays, grad_output=2)
            if "hessian" not in gradient.way:
                getattr(kb.value_and_grad, gradient.measure.name)(*arrays, **gradient.way)


# Rows of labels


def test_ignored_rows_are_0():
    z = np.array([[NAN, NAN], [INF, INF], [-INF, -INF], [0, 0]])
    labels = np.array([-100, -100, -100, 0])
    for dtype, how in itertools.product((np.float32, np.float64), (None, "sum", "mean")):
        for name in ("categorical_cross_entropy", "categorical_cross_entropy_from_logits"):
            rows = z.astype(dtype)
            rows[3] = 0.25
            want = [-4.0, 0.0] if name == "categorical_cross_entropy" else [-0.5, 0.5]
            for g in (None, 1.0, INF, NAN) if how is None else (None,):
                g = g if g is None else np.array([g, g, g, 1.0])
                options: dict[str, Any] = {"ignore_index": -100, "reduction": how, "grad_output": g}
                got = getattr(kb.grad, name)(labels, rows, **options)
                assert same(got, [[0, 0]] * 3 + [want]), (name, how, g)
                assert same(getattr(kb.value_and_grad, name)(labels, rows, **options)[1], got)
    got, second = LOSS(labels, z, ignore_index=-100, hessian=True)
    assert same(second, [[0, 0]] * 3 + [[0.25, 0.25]])


@pytest.mark.parametrize("shape", [(6, 10), (400, 1_000), (3, 200_000), (100, 4, 700)], ids=str)
@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("name", ["categorical_cross_entropy", "categorical_cross_entropy_from_logits"])
def test_a_bad_label_leaves_out_as_it_was(name: str, shape: tuple[int, ...], threads: int) -> None:
    labels = np.random.default_rng(1).integers(0, shape[-1], shape[:-1])
    labels.flat[-1] = shape[-1]
    index = tuple(n - 1 for n in shape[:-1])
    message = rf"^label {shape[-1]} at index {re.escape(str(index))} is out of range for {shape[-1]} classes$"
    z = np.random.default_rng(2).random(shape)
    for out in (np.full(shape, 7.0), z, z[::-1]):
        before = out.copy()
        value = np.full(shape[:-1], 7.0)
        with kb.runtime.threads(threads):
            with pytest.raises(IndexError, match=message):
                getattr(kb.grad, name)(labels, z, out=out)
            with pytest.raises(IndexError, match=message):
                getattr(kb.value_and_grad, name)(labels, z, out=(value, out))
        assert same(out, before)
        assert (value == 7).all()


# Means of nothing


NOTHING: list[tuple[Any, Any, dict[str, Any]]] = [
    (np.zeros(0, int), np.ones((0, 3)), {}),
    (np.ones((0, 3)), np.ones((0, 3)), {}),
    ([1, 1], np.ones((2, 3)), {"ignore_index": 1}),
    ([-100, -100], np.full((2, 3), NAN), {"ignore_index": -100}),
    ([1, 0], np.ones((2, 3)), {"ignore_index": 1, "weight": [0, 1, 1]}),
    ([1, 1], np.ones((2, 3)), {"sample_weight": 0}),
    ([1, 1], np.ones((2, 3)), {"sample_weight": [1.0, -1.0]}),
    ([1, 1], np.ones((2, 3)), {"weight": [1, 0, 1]}),
    ([[0, 1, 0.0]], np.ones((2, 3)), {"weight": [1, 0, 1]}),
]


@pytest.mark.parametrize("name", ["categorical_cross_entropy", "categorical_cross_entropy_from_logits"])
@pytest.mark.parametrize(("labels", "q", "options"), NOTHING)
def test_the_mean_of_nothing_warns(name: str, labels: Any, q: Any, options: dict[str, Any]) -> None:
    want = np.full(q.shape, NAN)
    if "ignore_index" in options:
        want[np.equal(labels, options["ignore_index"])] = 0
    for module in (kb.grad, kb.value_and_grad):
        with pytest.warns(RuntimeWarning, match=r"^mean of nothing: ") as caught:
            got = getattr(module, name)(labels, q, reduction="mean", **options)
        if module is kb.value_and_grad:
            assert math.isnan(got[0])
            got = got[1]
        assert same(got, want)
        assert [w.filename for w in caught] == [__file__]
        getattr(module, name)(labels, q, reduction="sum", **options)


def test_the_mean_of_no_binary_losses_warns() -> None:
    cases = [(np.ones(0), {}), (np.ones((3, 0)), {}), (np.ones(3), {"weight": 0}), (np.ones(2), {"weight": [2, -2.0]})]
    for name, module, (y, options) in itertools.product(
        ("binary_cross_entropy", "binary_cross_entropy_from_logits"), (kb.grad, kb.value_and_grad), cases
    ):
        with pytest.warns(RuntimeWarning, match=r"^mean of nothing: ") as caught:
            got = getattr(module, name)(y, y, reduction="mean", **options)
        got = got if module is kb.grad else got[1]
        assert same(got, np.full(y.shape, NAN))
        assert [w.filename for w in caught] == [__file__]


def test_a_warning_made_an_error_leaves_out_as_it_was() -> None:
    z, out, value = np.ones((2, 3)), np.full((2, 3), 7.0), np.array(7.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="mean of nothing"):
            LOSS([1, 1], z, ignore_index=1, reduction="mean", out=out)
        with pytest.raises(RuntimeWarning, match="mean of nothing"):
            kb.value_and_grad.categorical_cross_entropy_from_logits(
                [1, 1], z, ignore_index=1, reduction="mean", out=(value, out)
            )
    assert (out == 7).all()
    assert value == 7


# Derivatives of the values, as a user would check them

OPTIONS: dict[str, list[Any]] = {
    "axis": [0, 1, (0, 2), None],
    "keepdims": [True],
    "base": [2, 0.3],
    "weight": [True],
    "pos_weight": [True],
    "sample_weight": [True],
    "label_smoothing": [0.1, 1.0],
    "reduction": ["sum", "mean"],
    "ignore_index": [1],
}


def some_weights(measure: Any, shape: tuple[int, ...], dtype: Any) -> dict[str, np.ndarray]:
    """All that a loss can be weighted by."""
    rng = np.random.default_rng(2)
    shapes = {"weight": shape, "pos_weight": shape, "sample_weight": shape[:-1]}
    shapes |= {"weight": shape[-1:]} if measure.is_categorical else {}
    return {name: rng.random(shapes[name]).astype(dtype) for name in measure.weights}


def option_sets(measure: Any) -> Iterator[dict[str, Any]]:
    """Each option alone, and all of them."""
    weights = some_weights(measure, (3, 4, 5), float)
    yield {}
    for name in measure.options:
        for value in OPTIONS[name] if name != "out" else []:
            if name == "ignore_index" and not measure.takes_classes:
                continue
            if name != "axis" or isinstance(value, int) or measure.reduces:
                yield {name: weights.get(name, value)}
    if weights:
        for how in ("sum", "mean"):
            yield {**weights, "label_smoothing": 0.1, "base": 2, "reduction": how}


def slope(of: Any, arrays: list[np.ndarray], i: int, k: int) -> Any:
    """Central difference by element k of argument i."""
    ends = []
    for step in (1e-5, -1e-5):
        moved = [a.copy() for a in arrays]
        moved[i].flat[k] += step
        ends.append(of(*moved))
    return (ends[0] - ends[1]) / 2e-5


def test_central_differences(gradient):
    measure, rng = gradient.measure, np.random.default_rng(5)
    for options in option_sets(measure):
        shape = (3, 4, 5)
        if measure.is_categorical and "axis" in options:
            shape = tuple(np.insert((3, 4), options["axis"], 5))
        arrays = [rng.uniform(0.1, 0.9, shape) for _ in measure.inputs]
        if measure.takes_classes:
            arrays[0] = rng.integers(0, 5, (3, 4))
        g = rng.normal(size=np.shape(measure(*arrays, **options)))
        results = gradient(*arrays, grad_output=g, **options)

        for nth, (i, got) in enumerate(zip(gradient.places, results, strict=True)):
            for k in range(0, got.size, 7):
                if "hessian" in gradient.way and nth == 1:
                    first = getattr(kb.grad, measure.name)
                    want = slope(
                        lambda *a, k=k, o=options, g=g, f=first: f(*a, grad_output=g, **o).flat[k], arrays, i, k
                    )
                else:
                    want = slope(lambda *a, o=options, g=g: np.sum(g * measure(*a, **o)), arrays, i, k)
                assert abs(got.flat[k] - want) <= 1e-7 * max(1, abs(want)), (measure.inputs[i], k, options)


# Known numbers


def test_known_numbers():
    z = np.array([40.0, 0.0, 0.0])
    for labels in (0, [1.0, 0.0, 0.0]):
        p = 4.248354255291589e-18
        np.testing.assert_array_equal(LOSS(labels, z), [-8.496708510583178e-18, p, p])
    exact = mpmath.exp(-50) / (1 + mpmath.exp(-50))
    assert ulp_error(kb.grad.binary_cross_entropy_from_logits(0, -50.0), exact) <= 4
    assert kb.grad.binary_cross_entropy_from_logits(0, -50.0) == pytest.approx(1.9287498479639178e-22, rel=1e-15)
    # The lecture's simple subtraction, softmax(z) - y.
    z, y = np.random.default_rng(1).normal(size=(2, 4, 5))
    np.testing.assert_allclose(
        LOSS(abs(y) / abs(y).sum(-1, keepdims=True), z),
        kb.softmax(z) - abs(y) / abs(y).sum(-1, keepdims=True),
        atol=1e-15,
    )


@both_types
def test_tiny_factors_in_a_large_unit(dtype: Float) -> None:
    # Nothing is lost among the subnormals on the way to a result that is none.
    z, y = np.array([-1, 2, -30, 0.5], dtype), np.array([0, 1, 0, 0.25], dtype)
    factors = np.array([1e-3, 0.3, 1e4, 7], dtype) * np.finfo(dtype).smallest_normal
    base = 1 + 2.0**-23
    got = kb.grad.binary_cross_entropy_from_logits(y, z, grad_output=factors, base=base)
    for g, f, a, b in zip(got, factors.tolist(), y.tolist(), z.tolist(), strict=True):
        exact = mp.mpf(f) / mp.log(base) * (1 / (1 + mp.exp(-mp.mpf(b))) - a)
        assert ulp_error(g, exact) <= 4
