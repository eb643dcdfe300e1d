"""The promise: the pure-Python reference is right, and so are the yardstick and the check built on it."""

from __future__ import annotations

import ast
import decimal
import inspect
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

import kullback
from kullback import reference, testing
from kullback.testing import BOUNDS, assert_matches_reference, ulp_error

INF, NAN = math.inf, math.nan
DIGITS = 60


# The formulas once more, written apart from the reference and as the textbooks have them.


def formulas(mp: Any) -> dict[str, Callable[..., Any]]:
    def xlogy(x: Any, y: Any) -> Any:
        return x * mp.log(y) if x else mp.mpf(0)

    def kl(p: list[Any], q: list[Any]) -> Any:
        return mp.fsum(xlogy(x, x / y) if x else 0 for x, y in zip(p, q, strict=True))

    def js(p: list[Any], q: list[Any]) -> Any:
        m = [(x + y) / 2 for x, y in zip(p, q, strict=True)]
        return (kl(p, m) + kl(q, m)) / 2

    return {
        "self_information": lambda p: -mp.log(p),
        "binary_entropy": lambda p: -xlogy(p, p) - xlogy(1 - p, 1 - p),
        "entropy": lambda p: -mp.fsum(xlogy(x, x) for x in p),
        "cross_entropy": lambda p, q: -mp.fsum(xlogy(x, y) for x, y in zip(p, q, strict=True)),
        "kl_divergence": kl,
        "js_divergence": js,
    }


ELEMENTWISE = ["self_information", "binary_entropy"]
ONE_ROW = ["entropy"]
TWO_ROWS = ["cross_entropy", "kl_divergence", "js_divergence"]
ROW_MEASURES = ONE_ROW + TWO_ROWS


def regimes() -> dict[str, tuple[list[float], list[float]]]:
    rng = np.random.default_rng(1)
    p, q = rng.dirichlet(np.ones(23), 2)
    tail = np.exp(-np.arange(23.0) * 30)
    return {
        "random": (p, q),
        "near one": (1 - 2.0**-53 * np.arange(23), 1 - 2.0**-40 * np.arange(23)),
        "near zero": (p * 1e-290, q),
        "long tail": (tail, tail[::-1]),
        "subnormal": (p, q * 1e-308),
        "p near q": (p, np.nextafter(p, 1)),
        "unnormalised": (p * 1e3, q * 1e5),
        "p far from q": (p * 1e150, q * 1e-150),
        "zeros": (np.where(p < 0.02, 0, p), q),
        "one element": (p[:1], q[:1]),
    }


REGIMES = {name: (list(map(float, p)), list(map(float, q))) for name, (p, q) in regimes().items()}


def arguments(measure: str, regime: str) -> list[list[float]]:
    return list(REGIMES[regime][: 2 if measure in TWO_ROWS else 1])


@pytest.fixture(name="mp")
def precise_mpmath() -> Any:
    context = mpmath.MPContext()
    context.dps = DIGITS
    return context


def exact_value(measure: str, row: list[list[float]]) -> tuple[Any, Any]:
    """The value by the formulas above and the sum of the terms' magnitudes, with digits to spare."""
    context = mpmath.MPContext()
    context.dps = 400
    formula = formulas(context)[measure]
    columns = [[[context.mpf(x)] for x in column] for column in zip(*row, strict=True)]
    terms = [formula(*column) for column in columns]
    return context.fsum(terms), context.fsum(map(abs, terms))


# Values


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("measure", ROW_MEASURES)
def test_rows_equal_the_formula_at_sixty_digits(mp: Any, measure: str, regime: str) -> None:
    row = arguments(measure, regime)
    exact, magnitude = exact_value(measure, row)
    got = getattr(reference, measure)(*row, math=mp)
    assert abs(got - exact) <= magnitude * mp.mpf(10) ** (22 - DIGITS)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("measure", ROW_MEASURES)
def test_rows_are_good_to_a_few_ulp_in_floats(measure: str, regime: str) -> None:
    row = arguments(measure, regime)
    exact, magnitude = exact_value(measure, row)
    got = getattr(reference, measure)(*row)
    assert type(got) is float
    assert ulp_error(got, exact, magnitude=magnitude) <= 4


@pytest.mark.parametrize("measure", ELEMENTWISE)
def test_elements_equal_the_formula(mp: Any, measure: str) -> None:
    xs = [5e-324, 1e-310, 1e-300, 1e-20, 0.1, 0.25, 0.5, 0.7, 0.9, 1 - 2.0**-30, 1 - 2.0**-53]
    wide = mpmath.MPContext()
    wide.dps = 700
    formula = formulas(wide)[measure]
    for x, got, precise in zip(
        xs, getattr(reference, measure)(xs), getattr(reference, measure)(xs, math=mp), strict=True
    ):
        exact = formula(wide.mpf(x))
        assert abs(precise - exact) <= abs(exact) * mp.mpf(10) ** (3 - DIGITS)
        assert ulp_error(got, exact) <= 2
        assert getattr(reference, measure)(x) == got


LECTURE = [
    ("self_information", [0.7], "0.356674943938732378912638711"),
    ("self_information", [0.2], "1.609437912434100374600759333"),
    ("self_information", [0.1], "2.302585092994045684017991454"),
    ("entropy", [[0.7, 0.2, 0.1]], "0.801818552543337308560798109"),
    ("cross_entropy", [[1, 0], [0.6, 0.4]], "0.510825623765990683205514096"),
    ("cross_entropy", [[1, 0], [0.7, 0.3]], "0.356674943938732378912638711"),
    ("cross_entropy", [[0, 0, 1], [0.2, 0.5, 0.3]], "1.203972804325935992622746217"),
    ("cross_entropy", [[0, 0, 1], [0.2, 0.2, 0.6]], "0.510825623765990683205514096"),
    ("cross_entropy", [[0, 0, 1], [0.1, 0.6, 0.3]], "1.203972804325935992622746217"),
    ("cross_entropy", [[0, 0, 1], [0.1, 0.3, 0.6]], "0.510825623765990683205514096"),
]


@pytest.mark.parametrize(("measure", "row", "digits"), LECTURE)
def test_the_lecture_s_examples(mp: Any, measure: str, row: list[Any], digits: str) -> None:
    def decimal_fractions(x: Any) -> Any:  # 0.7 itself, not the float nearest to it
        return [decimal_fractions(e) for e in x] if isinstance(x, list) else mp.mpf(str(x))

    function = getattr(reference, measure)
    assert mp.nstr(function(*map(decimal_fractions, row), math=mp), 40)[: len(digits)] == digits
    assert function(*row) == pytest.approx(float(digits), rel=1e-15)


def test_divergence_is_cross_entropy_less_entropy(mp: Any) -> None:
    p, q = [0.7, 0.2, 0.1], [0.6, 0.3, 0.1]
    difference = reference.cross_entropy(p, q, math=mp) - reference.entropy(p, math=mp)
    assert abs(reference.kl_divergence(p, q, math=mp) - difference) < mp.mpf(10) ** -58


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1000])
def test_uniform(n: int) -> None:
    row = [1 / n] * n
    assert ulp_error(reference.entropy(row), mpmath.mpf(n) * exact_value("entropy", [[1 / n]])[0]) <= 1
    assert reference.entropy([1.0] + [0.0] * n) == 0


@pytest.mark.parametrize("arithmetic", [math, mpmath.mp])
def test_base(arithmetic: Any) -> None:
    assert reference.entropy([0.25] * 4, base=2, math=arithmetic) == 2
    assert reference.self_information(0.125, base=2, math=arithmetic) == 3
    assert reference.binary_entropy(0.5, base=2, math=arithmetic) == 1
    assert reference.js_divergence([1, 0], [0, 1], base=2, math=arithmetic) == 1
    assert reference.cross_entropy([1], [0.01], base=10, math=arithmetic) == pytest.approx(2, rel=1e-15)
    assert reference.kl_divergence([4], [1], base=0.5, math=arithmetic) == -8


# Edges


EDGES = [
    ("self_information", [0.0], INF),
    ("self_information", [1.0], 0),
    ("self_information", [INF], -INF),
    ("self_information", [-1.0], NAN),
    ("self_information", [-INF], NAN),
    ("self_information", [NAN], NAN),
    ("binary_entropy", [0.0], 0),
    ("binary_entropy", [1.0], 0),
    ("binary_entropy", [-1e-300], NAN),
    ("binary_entropy", [1 + 2.0**-52], NAN),
    ("binary_entropy", [INF], NAN),
    ("binary_entropy", [NAN], NAN),
    ("entropy", [[]], 0),
    ("entropy", [[0.0, 0.0]], 0),
    ("entropy", [[-0.0, 1.0]], 0),
    ("entropy", [[INF, 0.5]], -INF),
    ("entropy", [[-0.5, 1.5]], NAN),
    ("entropy", [[NAN, 1.0]], NAN),
    ("entropy", [[NAN, INF]], NAN),
    ("cross_entropy", [[], []], 0),
    ("cross_entropy", [[0.0, 1.0], [0.0, 1.0]], 0),
    ("cross_entropy", [[0.5, 0.5], [0.0, 1.0]], INF),
    ("cross_entropy", [[5e-324], [0.0]], INF),
    ("cross_entropy", [[0.0, 1.0], [NAN, 1.0]], NAN),
    ("cross_entropy", [[0.0, 1.0], [-1.0, 1.0]], NAN),
    ("cross_entropy", [[NAN, 1.0], [0.0, 1.0]], NAN),
    ("cross_entropy", [[-1.0, 1.0], [0.0, 1.0]], NAN),
    ("cross_entropy", [[1.0], [INF]], -INF),
    ("cross_entropy", [[0.0], [INF]], 0),
    ("cross_entropy", [[INF], [0.5]], INF),
    ("cross_entropy", [[INF], [0.0]], INF),
    ("cross_entropy", [[INF], [1.0]], NAN),
    ("cross_entropy", [[INF], [2.0]], -INF),
    ("cross_entropy", [[INF], [INF]], -INF),
    ("cross_entropy", [[1.0, 1.0], [0.0, INF]], NAN),
    ("kl_divergence", [[], []], 0),
    ("kl_divergence", [[0.0, 0.0, 0.0], [0.0, 0.5, INF]], 0),
    ("kl_divergence", [[0.5, 0.5], [0.0, 1.0]], INF),
    ("kl_divergence", [[5e-324], [0.0]], INF),
    ("kl_divergence", [[0.3, 0.7], [0.3, 0.7]], 0),
    ("kl_divergence", [[0.0, 1.0], [NAN, 1.0]], NAN),
    ("kl_divergence", [[0.0, 1.0], [-1.0, 1.0]], NAN),
    ("kl_divergence", [[NAN, 1.0], [0.0, 1.0]], NAN),
    ("kl_divergence", [[-1.0, 1.0], [0.5, 1.0]], NAN),
    ("kl_divergence", [[INF], [1.0]], INF),
    ("kl_divergence", [[INF], [0.0]], INF),
    ("kl_divergence", [[INF], [1.7e308]], INF),
    ("kl_divergence", [[INF], [INF]], NAN),
    ("kl_divergence", [[1.0], [INF]], -INF),
    ("kl_divergence", [[1.7e308], [INF]], -INF),
    ("kl_divergence", [[1.0, 1.0], [0.0, INF]], NAN),
    ("js_divergence", [[], []], 0),
    ("js_divergence", [[0.0, 0.0], [0.0, 0.0]], 0),
    ("js_divergence", [[0.3, 0.7], [0.3, 0.7]], 0),
    ("js_divergence", [[0.0, 1.0], [NAN, 1.0]], NAN),
    ("js_divergence", [[-1.0, 1.0], [0.0, 1.0]], NAN),
    ("js_divergence", [[INF], [1.0]], INF),
    ("js_divergence", [[0.0], [INF]], INF),
    ("js_divergence", [[INF], [INF]], NAN),
]


@pytest.mark.parametrize("arithmetic", [math, mpmath.mp], ids=["math", "mpmath"])
@pytest.mark.parametrize(("measure", "row", "expected"), EDGES)
def test_edges(measure: str, row: list[Any], expected: float, arithmetic: Any) -> None:
    got = float(getattr(reference, measure)(*row, math=arithmetic))
    assert (got != got) if expected != expected else got == expected


def test_zero_has_no_sign() -> None:
    for got in [
        reference.self_information(1.0),
        reference.binary_entropy(1.0),
        reference.entropy([1.0]),
        reference.cross_entropy([1.0], [1.0]),
        reference.kl_divergence([0.3], [0.3]),
        reference.js_divergence([0.3], [0.3]),
    ]:
        assert math.copysign(1, got) == 1


def test_ratios_beyond_the_range_of_floats() -> None:
    assert reference.kl_divergence([4.0], [2.2e-308]) == pytest.approx(2839.1762, abs=1e-4)
    tiny = [5e-324, 1.0]
    for measure in ("kl_divergence", "js_divergence"):
        for row in ([tiny, [1e308, 1.0]], [[1e308, 1.0], tiny]):
            exact, magnitude = exact_value(measure, row)
            assert ulp_error(getattr(reference, measure)(*row), exact, magnitude=magnitude) <= 4


def test_partial_sums_that_overflow() -> None:
    got = reference.cross_entropy([1e308, 1e308, 1e308], [0.3, 0.3, 4.0])
    assert got == pytest.approx(1.0216512475319813e308, rel=1e-12)
    assert reference.cross_entropy([1e308, 1e308], [0.3, 0.3]) == INF


def test_js_near_equality_is_not_negative_and_relatively_accurate() -> None:
    rng = np.random.default_rng(2)
    for step in (2.0**-52, 1e-12, 1e-8, 1e-3, 0.3):
        p = rng.dirichlet(np.ones(9))
        q = p * (1 + step * rng.integers(-3, 4, size=9))
        row = [p.tolist(), np.abs(q).tolist()]
        got = reference.js_divergence(*row)
        assert got >= 0
        assert ulp_error(got, exact_value("js_divergence", row)[0]) <= 6


def test_js_of_disjoint_rows_is_log_two() -> None:
    assert reference.js_divergence([1.0, 0.0], [0.0, 1.0]) == math.log(2)


def test_rows_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        reference.kl_divergence([0.5, 0.5], [1.0])


def test_reference_shares_no_code_with_the_core() -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(inspect.getsource(reference))):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported.add("." * node.level + (node.module or ""))
    assert imported == {"__future__", "collections.abc", "math", "typing"}


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


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("measure", ROW_MEASURES)
def test_the_stand_in_for_mpmath_agrees_with_it(mp: Any, measure: str, regime: str) -> None:
    row = arguments(measure, regime)
    function = getattr(reference, measure)
    with decimal.localcontext(testing._DECIMAL_CONTEXT):
        got = function(*row, base=2, math=testing._Decimal)
        magnitude = sum(abs(t) for t in reference._terms(measure, row, testing._Decimal))
        want = decimal.Decimal(str(function(*row, base=2, math=mp)))
        assert abs(got - want) <= magnitude * decimal.Decimal("1e-38")


@pytest.mark.parametrize(("measure", "row", "expected"), EDGES)
def test_the_stand_in_for_mpmath_at_the_edges(measure: str, row: list[Any], expected: float) -> None:
    with decimal.localcontext(testing._DECIMAL_CONTEXT):
        got = float(getattr(reference, measure)(*row, math=testing._Decimal))
    assert (got != got) if expected != expected else got == expected


def test_the_stand_in_for_mpmath_near_zero() -> None:
    with decimal.localcontext(testing._DECIMAL_CONTEXT):
        for x in (5e-324, 1e-300, 1e-31, 1e-29, 1e-10, 0.7):
            got = reference.binary_entropy(x, math=testing._Decimal)
            context = mpmath.MPContext()
            context.dps = 80
            want = decimal.Decimal(str(reference.binary_entropy(x, math=context)))
            assert abs(got - want) <= want * decimal.Decimal("1e-57")
