"""The promise: `kullback.testing` measures errors rightly, and what does not match the reference is found and named."""

from __future__ import annotations

import decimal
import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

import kullback
from kullback import reference, testing
from kullback.testing import BOUNDS, assert_matches_reference, ulp_error

INF, NAN = math.inf, math.nan
ELEMENTWISE = ["self_information", "binary_entropy"]
TWO_ROWS = ["cross_entropy", "kl_divergence", "js_divergence"]
ROW_MEASURES = ["entropy", *TWO_ROWS]
PAIRS_OF_LOGITS = ["kl_divergence_from_logits", "js_divergence_from_logits"]
ELEMENTS_OF_LOGITS = ["sigmoid", "log_sigmoid", "binary_entropy_from_logits"]


# ulp_error

MAX32, MAX64 = float(np.finfo(np.float32).max), float(np.finfo(np.float64).max)


@pytest.mark.parametrize(
    ("actual", "exact", "error"),
    [
        (1.0, 1, 0),
        (1 + 2.0**-52, 1, 1),
        (1 - 2.0**-53, 1, 0.5),
        (1.0, 1 - Fraction(1, 2**53), 1),  # below a power of two the spacing is half
        (2.0, 2 + Fraction(1, 2**52), 0.5),
        (0.3, 0.3, 0),
        (np.float64(0.1), Fraction(1, 10), 0.4),
        (np.float32(1), 1 + 2.0**-23, 1),
        (np.float32(1), 1 + 2.0**-24, 0.5),
        (np.float32(0.1), np.float32(0.1), 0),
        (-1.0, 1, 2.0**53),
        (0.0, 0, 0),
        (5e-324, 0, 1),
        (0.0, 5e-324, 1),
        (0.0, Fraction(5e-324) / 4, 0.25),
        (2.0**-1022, 2.0**-1022 + 5e-324, 1),
        (np.float32(0), 2.0**-150, 0.5),
        (NAN, NAN, 0),
        (NAN, 1, INF),
        (1.0, NAN, INF),
        (INF, INF, 0),
        (-INF, -INF, 0),
        (INF, -INF, INF),
        (1.0, INF, INF),
        (INF, NAN, INF),
        (1.0, 0, INF),  # 2^1074 is more than a float holds
        (INF, 1, INF),
        (INF, MAX64, INF),
        (INF, Fraction(2) ** 1024, 0),
        (INF, Fraction(2) ** 1024 - Fraction(2) ** 970, 0),
        (INF, Fraction(2) ** 1024 - Fraction(2) ** 970 - 1, INF),
        (-INF, -(Fraction(2) ** 1024), 0),
        (INF, -(Fraction(2) ** 1024), INF),
        (MAX64, Fraction(2) ** 1024, 1),
        (np.float32(INF), 2.0**128 - 2.0**103, 0),
        (np.float32(INF), MAX32, INF),
        (1.0, mpmath.mpf(1) + mpmath.mpf(2) ** -52, 1),
        (-1.0, mpmath.mpf(-1) - mpmath.mpf(2) ** -52, 1),
        (4.0, mpmath.mpf(4), 0),
        (0.0, mpmath.mpf(0), 0),
        (INF, mpmath.inf, 0),
        (-INF, mpmath.inf, INF),
        (NAN, mpmath.nan, 0),
        (1.0, decimal.Decimal(1), 0),
        (NAN, decimal.Decimal("nan"), 0),
        (INF, decimal.Decimal("inf"), 0),
    ],
)
def test_ulp_error(actual: Any, exact: Any, error: float) -> None:
    got = ulp_error(actual, exact)
    assert type(got) is float
    assert got == pytest.approx(error, rel=1e-15, abs=0)


def test_ulp_error_knows_more_digits_than_the_format() -> None:
    with mpmath.workdps(60):
        assert ulp_error(2 / 3, mpmath.mpf(2) / 3) == pytest.approx(1 / 3)


def test_ulp_error_at_a_magnitude() -> None:
    assert ulp_error(2.0**-52, 0, magnitude=1) == 1
    assert ulp_error(2.0**-52, 0, magnitude=mpmath.mpf(4)) == 0.25
    assert ulp_error(1 + 2.0**-52, 1, magnitude=0) == 1
    assert ulp_error(1 + 2.0**-52, 1, magnitude=1e-5) == 1
    assert ulp_error(NAN, NAN, magnitude=NAN) == 0
    np.testing.assert_array_equal(ulp_error([2.0**-52] * 2, [0, 0], magnitude=[1, 2]), [1, 0.5])


def test_ulp_error_of_arrays() -> None:
    actual = np.array([[1, 2], [4, np.nan]], np.float32)
    got = ulp_error(actual, [[mpmath.mpf(1), 2 + 2.0**-22], [Fraction(4), 0]])
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, [[0, 1], [0, INF]])
    np.testing.assert_array_equal(ulp_error(np.array([1.0, 2.0]), 1), [0, 2.0**52])


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.complex128, np.longdouble])
def test_ulp_error_refuses_other_formats(dtype: Any) -> None:
    with pytest.raises(TypeError, match=rf"{np.dtype(dtype)}, expected float32 or float64"):
        ulp_error(dtype(1), 1)


# assert_matches_reference


@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 2), (-1, -2), None])
@pytest.mark.parametrize("measure", ROW_MEASURES)
def test_matching_measures_pass(measure: str, axis: Any) -> None:
    rng = np.random.default_rng(4)
    p, q = rng.random((3, 4, 5)), rng.random((4, 1))
    arrays = (p, q) if measure in TWO_ROWS else (p,)
    assert 0 <= assert_matches_reference(measure, *arrays, axis=axis, base=2) <= BOUNDS["row"]
    assert_matches_reference(getattr(kullback, measure), *(a.astype(np.float32) for a in arrays), axis=axis)


@pytest.mark.parametrize("measure", ELEMENTWISE)
def test_matching_elementwise_measures_pass(measure: str) -> None:
    p = np.random.default_rng(5).random((3, 4))
    assert 0 <= assert_matches_reference(measure, p) <= BOUNDS["elementwise"]
    assert_matches_reference(measure, p.astype(np.float32), base=10)
    assert assert_matches_reference(measure, np.empty((0, 3))) == 0


def test_lists_integers_and_empty_rows_pass() -> None:
    assert_matches_reference("entropy", [1, 2, 3])
    assert_matches_reference("kl_divergence", [True, False], np.array([1, 2], np.uint8))
    assert_matches_reference("entropy", np.empty((2, 0)))


@pytest.mark.parametrize("measure", ELEMENTWISE + ROW_MEASURES)
def test_a_wrong_result_is_named(measure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = getattr(kullback, measure)

    def wrong(*args: Any, **kwargs: Any) -> Any:
        result = np.array(right(*args, **kwargs))
        result.flat[1] += 64 * np.spacing(result.flat[1])
        return result

    monkeypatch.setattr(kullback, measure, wrong)
    p = np.array([[0.2, 0.8], [0.375, 0.625]])
    arrays = (p, p[::-1] * 0.1) if measure in TWO_ROWS else (p,)
    with pytest.raises(AssertionError) as caught:
        assert_matches_reference(measure, *arrays)
    message = str(caught.value)
    worst, shown = ("(0, 1)", "0.8") if measure in ELEMENTWISE else ("(1,)", "[0.375, 0.625]")
    for part in [measure, "float64", "(2, 2)", worst, shown, "64", "ULP", "bound 2", "got", "expected"]:
        assert part in message
    assert_matches_reference(measure, *arrays, ulp=70)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_nan_inf_and_zero_do_not_slip_through(bad: float) -> None:
    def entropy(p: Any, *, axis: int, base: Any) -> Any:
        return np.full(3, bad)

    with pytest.raises(AssertionError, match="entropy"):
        assert_matches_reference(entropy, np.full((3, 20), 0.05))


def test_long_rows_are_abbreviated() -> None:
    def entropy(p: Any, *, axis: int, base: Any) -> Any:
        return np.float64(1)

    with pytest.raises(AssertionError, match=r"0\.0, \.\.\. 1000 in all\]"):
        assert_matches_reference(entropy, np.zeros(1000))


def test_wrong_dtype_and_shape_are_named() -> None:
    def entropy(p: Any, *, axis: int, base: Any) -> Any:
        return np.zeros(2, np.float64)

    with pytest.raises(AssertionError, match=r"got float64 \(2,\), expected float32 \(2,\)"):
        assert_matches_reference(entropy, np.ones((2, 3), np.float32))
    with pytest.raises(AssertionError, match=r"got float64 \(2,\), expected float64 \(3,\)"):
        assert_matches_reference(entropy, np.ones((3, 3)))


def test_other_arithmetic() -> None:
    p = np.random.default_rng(6).random((3, 50))
    assert_matches_reference("entropy", p, math=math, ulp=BOUNDS["row"] + 4)
    assert_matches_reference("entropy", p, math=mpmath.mp, ulp=BOUNDS["row"] + 4)


# assert_matches_reference of logits and losses


def some_logits(dtype: Any) -> tuple[Any, Any]:
    rng = np.random.default_rng(9)
    return (rng.normal(size=(3, 4, 5)) * 9).astype(dtype), rng.normal(size=(4, 1)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 2), None])
def test_matching_functions_of_logits_pass(axis: Any, dtype: Any) -> None:
    z, other = some_logits(dtype)
    for function in ("logsumexp", "softmax", "log_softmax", "entropy_from_logits"):
        assert 0 < assert_matches_reference(function, z, axis=axis) <= BOUNDS["row"]
    for function in PAIRS_OF_LOGITS:
        assert_matches_reference(function, z, other, axis=axis, base=2)
    assert_matches_reference(getattr(kullback, "softmax"), z, axis=axis)  # noqa: B009
    for function in ELEMENTS_OF_LOGITS:
        assert 0 < assert_matches_reference(function, z) <= BOUNDS["elementwise"]


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_matching_tokens_pass(axis: int) -> None:
    z, _ = some_logits(np.float32)
    rng = np.random.default_rng(10)
    rows = np.delete(z.shape, axis)
    chosen = [2 if i == axis % 3 else n for i, n in enumerate(z.shape)]
    for shape in (rows, chosen):
        tokens = rng.integers(0, z.shape[axis], size=shape)
        assert 0 < assert_matches_reference("token_logprobs", z, tokens, axis=axis, base=2) <= BOUNDS["row"]
    assert assert_matches_reference("token_logprobs", z, np.empty((3, 4, 0), int)) == 0
    assert_matches_reference("token_logprobs", [0.0, 1.0], 1)


@pytest.mark.parametrize("reduction", [None, "sum", "mean"])
@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("function", ["categorical_cross_entropy", "categorical_cross_entropy_from_logits"])
def test_matching_categorical_losses_pass(function: str, dtype: Any, axis: int, reduction: Any) -> None:
    z, _ = some_logits(dtype)
    predictions = np.moveaxis(z if "logits" in function else np.exp(z) / np.exp(z).sum(-1, keepdims=True), -1, axis)
    rng = np.random.default_rng(11)
    soft = np.moveaxis(rng.dirichlet(np.ones(5), (4,)).astype(dtype), -1, 0)[:, None] if axis == 0 else z**2
    weights = {"weight": rng.random(5).astype(dtype), "sample_weight": rng.random((3, 4)).astype(dtype)}
    index = rng.integers(0, 5, (3, 4))
    options: list[dict[str, Any]] = [{}, {**weights, "label_smoothing": 0.1, "base": 2}, {"weight": [1, 2, 0, -4, 5]}]
    for more in options:
        common = {"axis": axis, "reduction": reduction, **more}
        for ignored in (None, 3, -100):
            assert_matches_reference(function, index, predictions, ignore_index=ignored, **common)
        assert_matches_reference(function, soft, np.broadcast_to(predictions, predictions.shape), **common)
    assert_matches_reference(
        function, 1, predictions[0, 0] if axis == -1 else predictions[:, 0, 0], reduction=reduction
    )


@pytest.mark.parametrize("reduction", [None, "sum", "mean"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("function", ["binary_cross_entropy", "binary_cross_entropy_from_logits"])
def test_matching_binary_losses_pass(function: str, dtype: Any, reduction: Any) -> None:
    z, _ = some_logits(dtype)
    rng = np.random.default_rng(12)
    predictions = z if "logits" in function else rng.random(z.shape).astype(dtype)
    labels = rng.random((4, 1)).astype(dtype)
    for options in [{}, {"weight": [1.0, 2, 0, -4, 5], "pos_weight": 0.5, "label_smoothing": 0.2, "base": 2}]:
        assert_matches_reference(function, labels, predictions, reduction=reduction, **options)
        assert_matches_reference(function, 1, predictions, reduction=reduction, **options)
        assert_matches_reference(function, labels > 0.5, predictions, reduction=reduction, **options)


def test_nothing_and_edges_pass() -> None:
    certain, both, gone, unknown = [INF, 0.0, 1.0], [INF, INF, 0.0], [-INF] * 3, [NAN, 0.0, 1.0]
    masked = [-INF, 0.0, 0.0]
    edges = [certain, both, gone, unknown, masked]
    for function in ("softmax", "logsumexp", "entropy_from_logits"):
        assert_matches_reference(function, np.empty((2, 0)))
        assert_matches_reference(function, np.empty((0, 2)))
        assert_matches_reference(function, edges)
    assert_matches_reference("categorical_cross_entropy_from_logits", [0, 0, 0, 0, 0], edges)
    assert_matches_reference("categorical_cross_entropy", np.empty((2, 0)), np.empty((2, 0)))
    assert assert_matches_reference("categorical_cross_entropy", np.empty(0, int), np.empty((0, 3))) == 0
    with pytest.warns(RuntimeWarning, match="mean of nothing"):
        assert_matches_reference("categorical_cross_entropy", [7], [[0.5, 0.5]], ignore_index=7, reduction="mean")


WRONG: list[tuple[str, tuple[Any, ...], dict[str, Any], list[str]]] = [
    ("sigmoid", ([[1.0, 2.0], [3.0, 0.25]],), {}, ["(1, 1)", "z = 0.25"]),
    ("softmax", ([[1.0, 2.0], [3.0, 0.25]],), {"axis": 0}, ["(1, 1)", "z = [2.0, 0.25]", "axis=0"]),
    ("logsumexp", ([[1.0, 2.0], [3.0, 0.25]],), {"axis": 0}, ["(1,)", "z = [2.0, 0.25]"]),
    ("kl_divergence_from_logits", ([[1.0, 2.0], [3.0, 0.25]], [0.5, 1.5]), {}, ["(1,)", "q_logits = [0.5, 1.5]"]),
    ("js_divergence_from_logits", ([[1.0, 2.0], [3.0, 0.25]], [0.5, 0.0]), {}, ["(1,)", "p_logits = [3.0, 0.25]"]),
    ("token_logprobs", ([[1.0, 2.0], [3.0, 0.25]], [1, 0]), {}, ["(1,)", "tokens = [0]", "logits = [3.0, 0.25]"]),
    (
        "binary_cross_entropy",
        ([0, 1], [0.5, 0.125]),
        {"weight": [1.0, 3.0]},
        ["(1,)", "q = 0.125", "weight=[1.0, 3.0]"],
    ),
    ("binary_cross_entropy_from_logits", ([0, 1], [0.5, 9.0]), {"reduction": "sum"}, ["()", "[0.5, 9.0]", "'sum'"]),
    (
        "categorical_cross_entropy",
        ([0, 1], [[0.5, 0.5], [0.75, 0.25]]),
        {"base": 2},
        ["(1,)", "labels = [1]", "0.25]]"],
    ),
    (
        "categorical_cross_entropy_from_logits",
        ([0, 1], [[0.5, 2.0], [7.0, 5.0]]),
        {"ignore_index": 5},
        ["(1,)", "5.0]]"],
    ),
]


@pytest.mark.parametrize(("function", "arguments", "options", "parts"), WRONG)
def test_a_wrong_result_of_logits_and_losses_is_named(
    function: str, arguments: Any, options: dict[str, Any], parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(kullback, function)

    def wrong(*args: Any, **kwargs: Any) -> Any:
        result = np.array(right(*args, **kwargs))
        result.flat[-1] += 64 * np.spacing(abs(result.flat[-1]) + np.float64(function.startswith(("js", "kl"))))
        return result

    assert assert_matches_reference(function, *arguments, **options) <= 2
    monkeypatch.setattr(kullback, function, wrong)
    with pytest.raises(AssertionError) as caught:
        assert_matches_reference(function, *arguments, **options)
    for part in [function, "float64", "ULP", "bound 2", "got", "expected", *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("function", "arguments", "options", "spacing"),
    [
        ("logsumexp", ([-math.log(2)] * 2,), {}, 2.0**-53),  # 0 to within rounding, of numbers of 0.69
        ("kl_divergence_from_logits", ([0.0, 0.0], [2.0**-10 * 1.1, 0.0]), {}, 2.0**-63),  # 2^-23 of terms of 2^-10.9
        ("js_divergence_from_logits", ([0.0, 0.0], [2.0**-10 * 1.1, 0.0]), {}, 2.0**-63),
        ("binary_cross_entropy", ([1, 1], [0.5, 0.5]), {"weight": [1, -1], "reduction": "sum"}, 2.0**-52),
        ("categorical_cross_entropy", ([0, 1], [[0.5, 0.5]] * 2), {"weight": [1, -1], "reduction": "sum"}, 2.0**-52),
        (
            "categorical_cross_entropy",
            ([0, 1], [[0.5, 0.5]] * 2),
            {"sample_weight": [5, -4], "reduction": "mean"},
            2.0**-50,
        ),
        ("categorical_cross_entropy_from_logits", ([[1.0, 1.0]], [[0.0, 0.0]]), {"weight": [2, -2]}, 2.0**-51),
    ],
)
def test_results_that_cancel_count_at_the_magnitude_of_their_terms(
    function: str, arguments: Any, options: dict[str, Any], spacing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = getattr(reference, function)(*arguments, **options, math=testing._precise())
    for ulp, passes in ((1.8, True), (2.2, False)):
        got = [float(exact[0] if isinstance(exact, list) else exact) + ulp * spacing]
        monkeypatch.setattr(kullback, function, lambda *a, got=got, **k: np.array(got).reshape(np.shape(exact)))
        if passes:
            assert assert_matches_reference(function, *arguments, **options) == pytest.approx(ulp, abs=0.1)
        else:
            with pytest.raises(AssertionError, match="bound 2"):
                assert_matches_reference(function, *arguments, **options)


def test_python_numbers_and_class_indices_do_not_widen_the_result() -> None:
    row = np.float32([[0.25, 0.75]])
    assert_matches_reference("binary_cross_entropy", 1, row, weight=2)
    assert_matches_reference("categorical_cross_entropy", np.array([1]), row, sample_weight=0.5)
    assert_matches_reference("categorical_cross_entropy", np.array([[1, 0]]), row)  # integers here are a distribution
    assert_matches_reference("categorical_cross_entropy", np.array([1]), row, weight=np.array([1.0, 2.0]))

    def categorical_cross_entropy(labels: Any, q: Any, **options: Any) -> Any:
        return np.zeros(1, np.float64)

    with pytest.raises(AssertionError, match=r"got float64 \(1,\), expected float32 \(1,\)"):
        assert_matches_reference(categorical_cross_entropy, [1], row)
