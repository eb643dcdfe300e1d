"""The promise: the pure-Python reference is right, in every arithmetic."""

from __future__ import annotations

import ast
import decimal
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from kullback import reference, testing
from kullback.testing import ulp_error

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


def formulas_of_logits(mp: Any) -> dict[str, Callable[..., Any]]:
    plain = formulas(mp)

    def softmax(z: list[Any]) -> list[Any]:
        exps = [mp.exp(x) for x in z]
        return [e / mp.fsum(exps) for e in exps]

    def sigmoid(z: Any) -> Any:
        return 1 / (1 + mp.exp(-z))

    def log_softmax(z: list[Any]) -> list[Any]:
        return [mp.log(x) for x in softmax(z)]

    return {
        "sigmoid": sigmoid,
        "log_sigmoid": lambda z: mp.log(sigmoid(z)),
        "binary_entropy_from_logits": lambda z: plain["binary_entropy"](sigmoid(z)),
        "logsumexp": lambda z: mp.log(mp.fsum(mp.exp(x) for x in z)),
        "softmax": softmax,
        "log_softmax": log_softmax,
        "token_logprobs": lambda z, tokens: [mp.log(softmax(z)[t]) for t in tokens],
        "entropy_from_logits": lambda z: plain["entropy"](softmax(z)),
        "kl_divergence_from_logits": lambda z, other: plain["kl_divergence"](softmax(z), softmax(other)),
        "js_divergence_from_logits": lambda z, other: plain["js_divergence"](softmax(z), softmax(other)),
    }


def binary_loss(mp: Any, y: Any, q: Any, w: Any = 1, pw: Any = 1, s: Any = 0) -> Any:
    def times_log(x: Any, q: Any) -> Any:
        return x * mp.log(q) if x else mp.mpf(0)

    y = (1 - mp.mpf(s)) * y + mp.mpf(s) / 2
    return -mp.mpf(w) * (mp.mpf(pw) * times_log(y, q) + times_log(1 - y, 1 - q))


def categorical_loss(mp: Any, y: Any, q: list[Any], w: Any = None, s: Any = 0, v: Any = 1) -> Any:
    c = len(q)
    y = [mp.mpf(x) for x in (y if isinstance(y, list) else [int(j == y) for j in range(c)])]
    masses = [mp.mpf(w[j] if w else 1) * ((1 - mp.mpf(s)) * y[j] + mp.mpf(s) / c) for j in range(c)]
    return mp.mpf(v) * -mp.fsum(mass * mp.log(x) for mass, x in zip(masses, q, strict=True) if mass)


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


# Values of logits


def regimes_of_logits() -> dict[str, tuple[Any, Any]]:
    rng = np.random.default_rng(7)
    z, other = rng.normal(size=(2, 23)) * 3
    first = np.arange(23) == 0
    masked = np.where(np.arange(23) % 3 == 1, -INF, z)
    return {
        "random": (z, other),
        "wide": (z * 30, other * 20),
        "confident": (np.where(first, 40, z), np.where(first, 45, other)),
        "very confident": (np.where(first, 600, z), np.where(first, 650, other)),
        "confident elsewhere": (np.where(first, 40, z), np.where(first, -40, other)),
        "gaps to 700": (-np.linspace(0, 700, 23) + 1 / 3, -(np.linspace(0, 699, 23) ** 0.9)),
        "gaps to 700 reversed": (-np.linspace(0, 700, 23) - 0.1, -np.linspace(0, 650, 23)[::-1]),
        "far from 0": (1e5 + z, -3e7 + z * 1.5),
        "shifted": (z, z + 77.7),
        "near-equal": (z, z + 1e-9 * other),
        "next to each other": (z, np.nextafter(z, INF)),
        "near-equal but one": (np.where(first, 5, z * 1e-3), z * 1e-3),
        "near-equal but far down": (np.array([0.1, 0.1, -19.7]), np.array([0.1, 0.1, -19.7 + 1e-10])),
        "tiny": (z * 1e-300, other * 1e-300),
        "all the same": (np.full(23, 0.3), np.full(23, 1 / 3)),
        "masked": (masked, np.where(masked == -INF, -INF, other)),
        "masked in p alone": (masked, other),
        "one class": (z[:1], other[:1]),
        "long": (rng.normal(size=300) * 3, rng.normal(size=300)),
    }


LOGITS = {name: tuple(list(map(float, z)) for z in pair) for name, pair in regimes_of_logits().items()}
ROWS_OF_LOGITS = ["logsumexp", "softmax", "log_softmax", "token_logprobs", "entropy_from_logits"]
PAIRS_OF_LOGITS = ["kl_divergence_from_logits", "js_divergence_from_logits"]
ELEMENTS_OF_LOGITS = ["sigmoid", "log_sigmoid", "binary_entropy_from_logits"]


def many_digits() -> Any:
    context = mpmath.MPContext()
    context.dps = 700
    return context


def arguments_of_logits(function: str, regime: str) -> list[Any]:
    z, other = LOGITS[regime]
    tokens = [[0, len(z) - 1, 0]] if function == "token_logprobs" else []
    return [z, other] if function in PAIRS_OF_LOGITS else [z, *tokens]


@functools.cache
def exact_of_logits(function: str, regime: str) -> tuple[list[Any], Any]:
    """The values by the textbook and the magnitude at which errors of a value that cancels count."""
    arguments = arguments_of_logits(function, regime)
    wide = many_digits()
    book = formulas_of_logits(wide)
    rows = [[wide.mpf(x) for x in z] for z in arguments[: 2 if function in PAIRS_OF_LOGITS else 1]]
    got = book[function](*rows, *arguments[len(rows) :])
    magnitude = wide.mpf(0)
    if function in PAIRS_OF_LOGITS:
        p, q = map(book["softmax"], rows)
        ends = (
            [(p, q)]
            if function.startswith("kl")
            else [(x, [(a + b) / 2 for a, b in zip(p, q, strict=True)]) for x in (p, q)]
        )
        magnitude = wide.fsum(abs(x * wide.log(x / y)) for a, b in ends for x, y in zip(a, b, strict=True) if x)
    if function == "logsumexp":
        magnitude = max(abs(max(rows[0])), wide.log(len(rows[0])))
    return (got if isinstance(got, list) else [got]), magnitude


def listed(x: Any) -> list[Any]:
    return x if isinstance(x, list) else [x]


def assert_close(got: Any, exact: list[Any], magnitude: Any = 0, digits: int = DIGITS - 22) -> None:
    for x, want in zip(listed(got), exact, strict=True):
        if abs(want) == mpmath.inf:
            assert x == want
        else:  # the textbook itself cancels down to its last digits
            scale = max(abs(want), magnitude) * mpmath.mpf(10) ** -digits
            assert abs(x - want) <= scale + mpmath.mpf(10) ** -600


@pytest.mark.parametrize("regime", LOGITS)
@pytest.mark.parametrize("function", ROWS_OF_LOGITS + PAIRS_OF_LOGITS)
def test_functions_of_logits_equal_the_formula(mp: Any, function: str, regime: str) -> None:
    arguments = arguments_of_logits(function, regime)
    exact, magnitude = exact_of_logits(function, regime)
    assert_close(getattr(reference, function)(*arguments, math=mp), exact, magnitude)
    got = listed(getattr(reference, function)(*arguments))
    assert {type(x) for x in got} == {float}
    assert max(ulp_error(x, want, magnitude=magnitude) for x, want in zip(got, exact, strict=True)) <= 4


def test_js_of_logits_near_equality_is_not_negative_and_relatively_accurate(mp: Any) -> None:
    z = LOGITS["random"][0]
    rng = np.random.default_rng(13)
    for step in (2.0**-52, 1e-12, 1e-8, 1e-3, 0.3):
        other = [x + step * float(k) for x, k in zip(z, rng.integers(-3, 4, size=len(z)), strict=True)]
        got = reference.js_divergence_from_logits(z, other)
        assert got >= 0
        assert ulp_error(got, reference.js_divergence_from_logits(z, other, math=mp)) <= 8


@pytest.mark.parametrize("function", ELEMENTS_OF_LOGITS)
def test_elements_of_logits_equal_the_formula(mp: Any, function: str) -> None:
    zs = [
        sign * z for z in (5e-324, 1e-300, 1e-20, 1e-8, 0.1, 1, 1.5, 10, 36.7, 40, 300, 690 + 1 / 3) for sign in (1, -1)
    ]
    wide = many_digits()
    exact = [formulas_of_logits(wide)[function](wide.mpf(z)) for z in zs]
    got = getattr(reference, function)(zs)
    assert_close(getattr(reference, function)(zs, math=mp), exact, digits=DIGITS - 3)
    assert max(ulp_error(x, want) for x, want in zip(got, exact, strict=True)) <= 4
    assert [getattr(reference, function)(z) for z in zs] == got


@pytest.mark.parametrize(
    ("got", "digits"),
    [
        (lambda m: reference.categorical_cross_entropy_from_logits(0, [40, 0, 0], math=m), "8.49670851058317"),
        (lambda m: -reference.log_softmax([40, 0], math=m)[0], "4.2483542552915889"),
        (lambda m: -reference.token_logprobs([0, 40], 1, math=m), "4.2483542552915889"),
        (lambda m: -reference.log_sigmoid(40, math=m), "4.2483542552915889"),
        (lambda m: reference.binary_cross_entropy_from_logits(0, -40, math=m), "4.2483542552915889"),
    ],
)
def test_known_numbers(mp: Any, got: Callable[[Any], Any], digits: str) -> None:
    assert mp.nstr(got(mp), 30).startswith(digits)
    assert mp.nstr(got(mp), 30).endswith("e-18")
    assert got(math) == pytest.approx(float(digits + "e-18"), rel=1e-14)


def test_huge_gaps() -> None:
    for arithmetic in (math, mpmath.mp):
        z = [1e308, 0.0, 5.0]
        assert list(map(float, reference.softmax(z, math=arithmetic))) == [1, 0, 0]
        assert list(map(float, reference.log_softmax(z, math=arithmetic))) == [0, -1e308, -1e308]
        assert reference.logsumexp(z, math=arithmetic) == 1e308
        assert reference.entropy_from_logits(z, math=arithmetic) == 0
        assert reference.kl_divergence_from_logits(z, z[::-1], math=arithmetic) == 1e308
        assert reference.kl_divergence_from_logits([0.0, 0.0], [0.0, 1e308], math=arithmetic) == 5e307
        assert reference.js_divergence_from_logits(z, z[::-1], base=2, math=arithmetic) == 1
        assert reference.categorical_cross_entropy_from_logits(1, z, math=arithmetic) == 1e308
        assert reference.categorical_cross_entropy_from_logits([0, 1e-300, 0], z, math=arithmetic) == pytest.approx(1e8)
        assert reference.binary_cross_entropy_from_logits([0, 1], [1e308, 1e308], math=arithmetic) == [1e308, 0]
        assert reference.binary_entropy_from_logits(-1e308, math=arithmetic) == 0


def test_gaps_beyond_the_range_of_floats() -> None:
    z = [1.5e308, -1.5e308, 0.0]
    assert reference.softmax(z) == [1, 0, 0]
    assert reference.kl_divergence_from_logits([1e308, 0, 0], z) == 0
    assert reference.categorical_cross_entropy_from_logits([0, 1, 2], [z] * 3) == [0, INF, 1.5e308]


# Values of losses


SMOOTHINGS = [0.0, 0.1, 1.0, 1e-12]


def labelled_rows() -> list[tuple[Any, list[float]]]:
    """Labels of both kinds beside logits."""
    rng = np.random.default_rng(8)
    rows: list[tuple[Any, list[float]]] = []
    for regime in ("random", "confident", "very confident", "gaps to 700", "far from 0", "one class", "tiny"):
        z = LOGITS[regime][0]
        soft = rng.dirichlet(np.ones(len(z)))
        rows += [(0, z), (len(z) - 1, z), (soft.tolist(), z), ((soft * 1e-290).tolist(), z), ((soft * 7).tolist(), z)]
    return rows


LABELLED = labelled_rows()


@pytest.mark.parametrize("s", SMOOTHINGS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("from_logits", [False, True])
def test_categorical_losses_equal_the_formula(mp: Any, from_logits: bool, weighted: bool, s: float) -> None:
    wide = many_digits()
    name = "categorical_cross_entropy" + "_from_logits" * from_logits
    for label, z in LABELLED:
        predictions = z if from_logits else reference.softmax(z)
        options: dict[str, Any] = {"label_smoothing": s}
        if weighted:
            options |= {"weight": [0.1 + j % 5 for j in range(len(z))], "sample_weight": 0.3}
        q = [wide.mpf(x) for x in predictions]
        q = formulas_of_logits(wide)["softmax"](q) if from_logits else q
        exact = [categorical_loss(wide, label, q, options.get("weight"), s, options.get("sample_weight", 1))]
        assert_close(getattr(reference, name)(label, predictions, **options, math=mp), exact)
        got = getattr(reference, name)(label, predictions, **options)
        assert type(got) is float
        assert ulp_error(got, exact[0]) <= 4
        rows = getattr(reference, name)([label, label], [predictions] * 2, **{**options, "sample_weight": [1, 2.5]})
        assert rows == pytest.approx(
            [float(exact[0]) / options.get("sample_weight", 1) * w for w in (1, 2.5)], rel=1e-14
        )


@pytest.mark.parametrize("s", SMOOTHINGS)
@pytest.mark.parametrize("weights", [(1, 1), (0.3, 1), (1, 5), (0.7, 0.1)])
@pytest.mark.parametrize("from_logits", [False, True])
def test_binary_losses_equal_the_formula(mp: Any, from_logits: bool, weights: tuple[float, float], s: float) -> None:
    wide = many_digits()
    zs = [0.0, 1e-20, 0.3, -0.3, 5, -5, 36.9, -36.9, 40, -40, 500, -500, 700, -700]
    qs = [5e-324, 1e-300, 1e-20, 0.1, 0.25, 0.5, 0.7, 0.9, 1 - 2.0**-53]
    name = "binary_cross_entropy" + "_from_logits" * from_logits
    options = {"weight": weights[0], "pos_weight": weights[1], "label_smoothing": s}
    for y in (0.0, 1.0, 0.5, 0.1, 1e-300, 1 - 2.0**-53):
        predictions = zs if from_logits else qs
        q = [wide.mpf(x) for x in predictions]
        q = [formulas_of_logits(wide)["sigmoid"](x) for x in q] if from_logits else q
        exact = [binary_loss(wide, wide.mpf(y), x, *weights, s) for x in q]
        labels = [y] * len(q)
        assert_close(getattr(reference, name)(labels, predictions, **options, math=mp), exact, digits=DIGITS - 3)
        got = getattr(reference, name)(labels, predictions, **options)
        assert max(ulp_error(x, want) for x, want in zip(got, exact, strict=True)) <= 4
        assert [getattr(reference, name)(y, x, **options) for x in predictions] == got


LECTURE_LOSSES = [
    ("binary_cross_entropy", [1, 0.6], None, "0.510825623765990683205514096"),
    ("binary_cross_entropy", [1, 0.7], None, "0.356674943938732378912638711"),
    ("binary_cross_entropy", [0, 0.4], None, "0.510825623765990683205514096"),
    ("binary_cross_entropy", [[1, 1], [0.6, 0.7]], "sum", "0.8675005677047230621181528"),
    ("categorical_cross_entropy", [[0, 0, 1], [0.2, 0.5, 0.3]], None, "1.203972804325935992622746217"),
    ("categorical_cross_entropy", [2, [0.2, 0.2, 0.6]], None, "0.510825623765990683205514096"),
    ("categorical_cross_entropy", [2, [0.1, 0.6, 0.3]], None, "1.203972804325935992622746217"),
    ("categorical_cross_entropy", [2, [0.1, 0.3, 0.6]], None, "0.510825623765990683205514096"),
    ("categorical_cross_entropy", [[2, 2], [[0.2, 0.5, 0.3], [0.2, 0.2, 0.6]]], "sum", "1.7147984280919266758282603"),
]


@pytest.mark.parametrize(("loss", "arguments", "reduction", "digits"), LECTURE_LOSSES)
def test_the_lecture_s_losses(mp: Any, loss: str, arguments: list[Any], reduction: Any, digits: str) -> None:
    def decimal_fractions(x: Any) -> Any:
        return [decimal_fractions(e) for e in x] if isinstance(x, list) else mp.mpf(str(x)) if x != 2 else x

    function = getattr(reference, loss)
    got = function(*map(decimal_fractions, arguments), reduction=reduction, math=mp)
    assert mp.nstr(got, 40)[: len(digits)] == digits
    assert function(*arguments, reduction=reduction) == pytest.approx(float(digits), rel=1e-15)
    _, predictions = map(decimal_fractions, arguments)  # and the same losses of logits
    from_logits = getattr(reference, f"{loss}_from_logits")
    if loss == "binary_cross_entropy":
        logits: Any = [mp.log(x / (1 - x)) for x in listed(predictions)]
        logits = logits if isinstance(predictions, list) else logits[0]
    else:
        rows = [[mp.log(x) for x in row] for row in (predictions if reduction else [predictions])]
        logits = rows if reduction else rows[0]
    assert abs(from_logits(arguments[0], logits, reduction=reduction, math=mp) - got) < mp.mpf(10) ** -57


# -log of these is a whole number of bits, so that the losses can be read off.
Q = [[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.25, 0.25, 0.5], [0.0625, 0.4375, 0.5]]
BITS = [1, 3, 2, 4]  # of these labels:
LABELS = [0, 2, 1, 0]


def reductions() -> list[tuple[dict[str, Any], list[float], float]]:
    """Options, the rows' values, and the divisor of the mean."""
    return [
        ({}, [1, 3, 2, 4], 4),
        ({"sample_weight": 2}, [2, 6, 4, 8], 8),
        ({"sample_weight": [1, 0, 2, 0.5]}, [1, 0, 4, 2], 3.5),
        ({"ignore_index": 0}, [0, 3, 2, 0], 2),
        ({"ignore_index": -100}, [1, 3, 2, 4], 4),
        ({"weight": [2, 1, 0.5]}, [2, 1.5, 2, 8], 5.5),
        ({"weight": [2, 1, 0.5], "ignore_index": 2}, [2, 0, 2, 8], 5),
        ({"weight": [2, 1, 0.5], "sample_weight": [1, 1, 3, 0]}, [2, 1.5, 6, 0], 5.5),
        ({"sample_weight": [5, 1, 1, 7], "ignore_index": 0}, [0, 3, 2, 0], 2),
        ({"weight": [-1, 1, 3]}, [-1, 9, 2, -4], 2),
    ]


@pytest.mark.parametrize(("options", "rows", "divisor"), reductions())
def test_categorical_reductions(options: dict[str, Any], rows: list[float], divisor: float) -> None:
    logits = [[math.log(x) for x in row] for row in Q]
    one_hot = [[float(j == k) for j in range(3)] for k in LABELS]
    functions: list[tuple[Any, Any, Any]] = [
        (reference.categorical_cross_entropy, LABELS, Q),
        (reference.categorical_cross_entropy_from_logits, LABELS, logits),
    ]
    if "ignore_index" not in options:
        functions += [(f, one_hot, predictions) for f, _, predictions in functions]
    for function, labels, predictions in functions:
        assert function(labels, predictions, **options, base=2) == pytest.approx(rows, rel=1e-14)
        total, mean = (function(labels, predictions, **options, base=2, reduction=r) for r in ("sum", "mean"))
        assert total == pytest.approx(sum(rows), rel=1e-14)
        assert mean == pytest.approx(sum(rows) / divisor, rel=1e-14)


def test_categorical_mean_of_soft_labels_counts_their_unsmoothed_mass() -> None:
    labels, weight = [[0.5, 0.5, 0], [0, 0.25, 0.75]], [1, 2, 4]
    for s in (0.0, 0.3):
        options: dict[str, Any] = {"label_smoothing": s, "sample_weight": [3, 0.5]}
        for w, divisor in ((None, 3.5), (weight, 3 * 1.5 + 0.5 * 3.5)):
            total = reference.categorical_cross_entropy(labels, Q[:2], **options, weight=w, reduction="sum")
            mean = reference.categorical_cross_entropy(labels, Q[:2], **options, weight=w, reduction="mean")
            assert mean == pytest.approx(total / divisor, rel=1e-14)


def test_categorical_reductions_of_one_row() -> None:
    for reduction, value in ((None, 6), ("sum", 6), ("mean", 2)):
        options: dict[str, Any] = {"sample_weight": 3, "reduction": reduction, "base": 2}
        assert reference.categorical_cross_entropy(1, [0.5, 0.25, 0.25], **options) == value
        assert reference.categorical_cross_entropy([0, 1, 0], [0.5, 0.25, 0.25], **options) == value


def test_binary_reductions() -> None:
    y, q = [1, 0, 1, 0.5], [0.5, 0.75, 0.25, 0.5]
    for function, predictions in (
        (reference.binary_cross_entropy, q),
        (reference.binary_cross_entropy_from_logits, [math.log(x / (1 - x)) for x in q]),
    ):
        for options, rows, divisor in [
            ({}, [1, 2, 2, 1], 4),
            ({"weight": 3}, [3, 6, 6, 3], 12),
            ({"weight": [1, 0, 0.5, 2]}, [1, 0, 1, 2], 3.5),
            ({"pos_weight": 3}, [3, 2, 6, 2], 4),
            ({"pos_weight": [2, 5, 1, 0], "weight": [1, 1, 1, -4]}, [2, 2, 2, -2], -1),
            ({"label_smoothing": 1.0}, [1, 0.5 * (2 - math.log2(0.75)), 0.5 * (2 - math.log2(0.75)), 1], 4),
        ]:
            assert function(y, predictions, **options, base=2) == pytest.approx(rows, rel=1e-14)
            assert function(y, predictions, **options, base=2, reduction="sum") == pytest.approx(sum(rows))
            assert function(y, predictions, **options, base=2, reduction="mean") == pytest.approx(sum(rows) / divisor)
    assert reference.binary_cross_entropy(1, [0.5, 0.25], base=2) == [1, 2]
    assert reference.binary_cross_entropy(1, 0.5, weight=3, base=2, reduction="mean") == 1


def test_smoothing_one_is_the_uniform_label() -> None:
    q = [0.5, 0.25, 0.25]
    for label in (0, 1, [0.3, 0.3, 0.4]):
        assert reference.categorical_cross_entropy(label, q, label_smoothing=1, base=2) == pytest.approx(5 / 3)
    assert reference.binary_cross_entropy([0, 1, 0.3], [0.25] * 3, label_smoothing=1) == [-0.5 * math.log(3 / 16)] * 3


# Edges


EDGES: list[tuple[str, list[Any], float]] = [
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


CERTAIN, BOTH, GONE, UNKNOWN = [INF, 0.0, 1.0], [INF, INF, 0.0], [-INF] * 3, [NAN, 0.0, 1.0]
MASKED = [-INF, 0.0, 0.0]
LN2, LN3 = math.log(2), math.log(3)
NANS = [NAN] * 3

EDGES_OF_LOGITS: list[tuple[str, list[Any], dict[str, Any], Any]] = [
    ("sigmoid", [[INF, -INF, NAN, 0.0, -0.0]], {}, [1, 0, NAN, 0.5, 0.5]),
    ("log_sigmoid", [[INF, -INF, NAN, -800.0]], {}, [0, -INF, NAN, -800]),
    ("binary_entropy_from_logits", [[INF, -INF, NAN, 0.0]], {"base": 2}, [0, 0, NAN, 1]),
    ("logsumexp", [[]], {}, -INF),
    ("logsumexp", [GONE], {}, -INF),
    ("logsumexp", [CERTAIN], {}, INF),
    ("logsumexp", [[INF, -INF]], {}, INF),
    ("logsumexp", [BOTH], {}, NAN),
    ("logsumexp", [UNKNOWN], {}, NAN),
    ("logsumexp", [[-INF, NAN]], {}, NAN),
    ("logsumexp", [[INF, NAN]], {}, NAN),
    ("logsumexp", [MASKED], {}, LN2),
    ("softmax", [[]], {}, []),
    ("softmax", [GONE], {}, NANS),
    ("softmax", [[-INF]], {}, [NAN]),
    ("softmax", [CERTAIN], {}, [1, 0, 0]),
    ("softmax", [BOTH], {}, NANS),
    ("softmax", [UNKNOWN], {}, NANS),
    ("softmax", [[0.0, NAN, INF]], {}, NANS),
    ("softmax", [MASKED], {}, [0, 0.5, 0.5]),
    ("log_softmax", [[]], {}, []),
    ("log_softmax", [GONE], {}, NANS),
    ("log_softmax", [CERTAIN], {}, [0, -INF, -INF]),
    ("log_softmax", [BOTH], {}, NANS),
    ("log_softmax", [UNKNOWN], {}, NANS),
    ("log_softmax", [MASKED], {}, [-INF, -LN2, -LN2]),
    ("token_logprobs", [MASKED, [0, 1, 1]], {"base": 2}, [-INF, -1, -1]),
    ("token_logprobs", [MASKED, 0], {}, -INF),
    ("token_logprobs", [MASKED, []], {}, []),
    ("token_logprobs", [CERTAIN, [0, 1]], {}, [0, -INF]),
    ("token_logprobs", [GONE, 0], {}, NAN),
    ("token_logprobs", [BOTH, 2], {}, NAN),
    ("token_logprobs", [UNKNOWN, [1]], {}, [NAN]),
    ("entropy_from_logits", [[]], {}, 0),
    ("entropy_from_logits", [[3.0]], {}, 0),
    ("entropy_from_logits", [GONE], {}, NAN),
    ("entropy_from_logits", [CERTAIN], {}, 0),
    ("entropy_from_logits", [BOTH], {}, NAN),
    ("entropy_from_logits", [UNKNOWN], {}, NAN),
    ("entropy_from_logits", [MASKED], {"base": 2}, 1),
    ("kl_divergence_from_logits", [[], []], {}, 0),
    ("kl_divergence_from_logits", [[1.0, 2.0], [1.0, 2.0]], {}, 0),
    ("kl_divergence_from_logits", [[1.0, 2.0], [2.0, 3.0]], {}, 0),
    ("kl_divergence_from_logits", [MASKED, [0.0] * 3], {}, math.log(1.5)),
    ("kl_divergence_from_logits", [[0.0] * 3, MASKED], {}, INF),
    ("kl_divergence_from_logits", [MASKED, MASKED], {}, 0),
    ("kl_divergence_from_logits", [[-900.0, 0.0, 0.0], MASKED], {}, INF),
    ("kl_divergence_from_logits", [[-1e300, 0.0, 0.0], MASKED], {}, INF),
    ("kl_divergence_from_logits", [[-900.0, 0.0], [0.0, INF]], {}, INF),
    ("kl_divergence_from_logits", [[-INF, 0.0], [0.0, INF]], {}, 0),
    ("kl_divergence_from_logits", [GONE, [0.0] * 3], {}, NAN),
    ("kl_divergence_from_logits", [[0.0] * 3, GONE], {}, NAN),
    ("kl_divergence_from_logits", [GONE, GONE], {}, NAN),
    ("kl_divergence_from_logits", [CERTAIN, [0.0] * 3], {}, LN3),
    ("kl_divergence_from_logits", [CERTAIN, CERTAIN], {}, 0),
    ("kl_divergence_from_logits", [[0.0] * 3, CERTAIN], {}, INF),
    ("kl_divergence_from_logits", [CERTAIN, CERTAIN[::-1]], {}, INF),
    ("kl_divergence_from_logits", [BOTH, [0.0] * 3], {}, NAN),
    ("kl_divergence_from_logits", [MASKED, BOTH], {}, NAN),
    ("kl_divergence_from_logits", [UNKNOWN, MASKED], {}, NAN),
    ("kl_divergence_from_logits", [[0.0] * 3, [-INF, NAN, 0.0]], {}, NAN),
    ("kl_divergence_from_logits", [[NAN, 0.0, 0.0], [0.0, -INF, 0.0]], {}, NAN),
    ("js_divergence_from_logits", [[], []], {}, 0),
    ("js_divergence_from_logits", [[1.0, 2.0], [1.0, 2.0]], {}, 0),
    ("js_divergence_from_logits", [MASKED, MASKED], {}, 0),
    ("js_divergence_from_logits", [[0.0, -INF], [-INF, 5.0]], {}, LN2),
    ("js_divergence_from_logits", [CERTAIN, CERTAIN[::-1]], {}, LN2),
    ("js_divergence_from_logits", [CERTAIN, CERTAIN], {}, 0),
    ("js_divergence_from_logits", [GONE, MASKED], {}, NAN),
    ("js_divergence_from_logits", [MASKED, GONE], {}, NAN),
    ("js_divergence_from_logits", [BOTH, MASKED], {}, NAN),
    ("js_divergence_from_logits", [MASKED, UNKNOWN], {}, NAN),
]

EDGES_OF_LOSSES: list[tuple[str, list[Any], dict[str, Any], Any]] = [
    ("binary_cross_entropy", [[0, 1], [0.0, 1.0]], {}, [0, 0]),
    ("binary_cross_entropy", [[1, 0], [0.0, 1.0]], {}, [INF, INF]),
    ("binary_cross_entropy", [0.5, [0.0, 1.0]], {}, [INF, INF]),
    ("binary_cross_entropy", [[-1e-300, 1 + 2.0**-52, NAN, INF, -INF], 0.5], {}, [NAN] * 5),
    ("binary_cross_entropy", [0, [-1e-300, 1 + 2.0**-52, NAN, INF, -INF]], {}, [NAN] * 5),
    ("binary_cross_entropy", [[1, 0], [0.0, 1.0]], {"weight": 0}, [0, 0]),
    ("binary_cross_entropy", [[1, 0], [0.0, 1.0]], {"pos_weight": 0}, [0, INF]),
    ("binary_cross_entropy", [[1, 0], [0.0, 1.0]], {"weight": -1}, [-INF, -INF]),
    ("binary_cross_entropy", [[1, 0], [0.0, 1.0]], {"weight": NAN}, [NAN, NAN]),
    ("binary_cross_entropy", [[NAN, 1], [0.5, 2.0]], {"weight": 0}, [NAN, NAN]),
    ("binary_cross_entropy", [[1, 0], [1.0, 0.0]], {"label_smoothing": 1e-300}, [INF, INF]),
    ("binary_cross_entropy", [[1, 1], [0.0, 0.5]], {"reduction": "sum"}, INF),
    ("binary_cross_entropy", [[1, 1], [0.0, 0.5]], {"reduction": "mean", "weight": [0, 1], "base": 2}, 1),
    ("binary_cross_entropy", [[1, 1], [2.0, 0.5]], {"reduction": "sum"}, NAN),
    ("binary_cross_entropy", [[], []], {}, []),
    ("binary_cross_entropy", [[], []], {"reduction": "sum"}, 0),
    ("binary_cross_entropy", [[], []], {"reduction": "mean"}, NAN),
    ("binary_cross_entropy", [[1, 1], [0.5, 0.5]], {"reduction": "mean", "weight": [1, -1]}, NAN),
    ("binary_cross_entropy_from_logits", [[1, 0, 0, 1], [INF, -INF, INF, -INF]], {}, [0, 0, INF, INF]),
    ("binary_cross_entropy_from_logits", [0.5, [INF, -INF]], {}, [INF, INF]),
    ("binary_cross_entropy_from_logits", [[0, 1, 0.5], NAN], {}, [NAN] * 3),
    ("binary_cross_entropy_from_logits", [[-0.1, 1.1, NAN], 0.5], {}, [NAN] * 3),
    ("binary_cross_entropy_from_logits", [[0, 1], [INF, -INF]], {"weight": 0}, [0, 0]),
    ("binary_cross_entropy_from_logits", [[0, 1], [INF, -INF]], {"pos_weight": 0}, [INF, 0]),
    ("binary_cross_entropy_from_logits", [1, NAN], {"weight": 0}, NAN),
    ("binary_cross_entropy_from_logits", [1, -1000.0], {}, 1000),
    ("binary_cross_entropy_from_logits", [[], []], {"reduction": "mean"}, NAN),
    ("categorical_cross_entropy", [0, [1.0, 0.0]], {}, 0),
    ("categorical_cross_entropy", [1, [1.0, 0.0]], {}, INF),
    ("categorical_cross_entropy", [0, [5e-324, 0.0]], {"base": 2}, 1074),
    ("categorical_cross_entropy", [0, [INF, 0.0]], {}, -INF),
    ("categorical_cross_entropy", [0, [0.5, NAN]], {}, NAN),
    ("categorical_cross_entropy", [0, [0.5, -1e-300]], {}, NAN),
    ("categorical_cross_entropy", [[1.0, 0.0], [0.5, NAN]], {}, NAN),
    ("categorical_cross_entropy", [[1.0, 0.0], [0.5, -1.0]], {}, NAN),
    ("categorical_cross_entropy", [[1.0, -1e-300], [0.5, 0.5]], {}, NAN),
    ("categorical_cross_entropy", [[1.0, NAN], [0.5, 0.5]], {}, NAN),
    ("categorical_cross_entropy", [[1.0, -0.0], [0.5, -0.0]], {"base": 2}, 1),
    ("categorical_cross_entropy", [[0.0, 0.0], [0.0, 0.5]], {}, 0),
    ("categorical_cross_entropy", [0, [0.5, 0.0]], {"label_smoothing": 1e-300}, INF),
    ("categorical_cross_entropy", [1, [0.5, 0.0]], {"weight": [1, 0]}, 0),
    ("categorical_cross_entropy", [1, [0.5, 0.0]], {"weight": [1, -1]}, -INF),
    ("categorical_cross_entropy", [0, [0.5, 0.0]], {"weight": [1, 0], "label_smoothing": 1, "base": 2}, 0.5),
    ("categorical_cross_entropy", [1, [0.5, 0.0]], {"sample_weight": 0}, 0),
    ("categorical_cross_entropy", [1, [0.5, NAN]], {"sample_weight": 0}, NAN),
    ("categorical_cross_entropy", [1, [0.5, NAN]], {"weight": [0, 0]}, NAN),
    ("categorical_cross_entropy", [1, [0.5, 0.5]], {"sample_weight": NAN}, NAN),
    ("categorical_cross_entropy", [[0, 7], [[0.5, 0.5], [NAN, 0.5]]], {"ignore_index": 7, "base": 2}, [1, 0]),
    (
        "categorical_cross_entropy",
        [[0, 1], [[0.5, 0.5], [NAN, 0.5]]],
        {"ignore_index": 1, "reduction": "sum", "base": 2},
        1,
    ),
    (
        "categorical_cross_entropy",
        [[0, 10**30], [[0.5, 0.5]] * 2],
        {"ignore_index": 10**30, "reduction": "mean", "base": 2},
        1,
    ),
    ("categorical_cross_entropy", [7, [0.5, NAN]], {"ignore_index": 7, "sample_weight": NAN}, 0),
    ("categorical_cross_entropy", [[7, 7], [[0.5, 0.5]] * 2], {"ignore_index": 7, "reduction": "sum"}, 0),
    ("categorical_cross_entropy", [[7, 7], [[0.5, 0.5]] * 2], {"ignore_index": 7, "reduction": "mean"}, NAN),
    ("categorical_cross_entropy", [[0, 1], [[0.5, 0.5]] * 2], {"weight": [1, -1], "reduction": "mean"}, NAN),
    ("categorical_cross_entropy", [[0, 1], [[0.5, 0.5]] * 2], {"sample_weight": [0, 0], "reduction": "mean"}, NAN),
    (
        "categorical_cross_entropy",
        [[0, 1], [[0.5, 0.0]] * 2],
        {"sample_weight": [1, 0], "reduction": "mean", "base": 2},
        1,
    ),
    ("categorical_cross_entropy", [[0, 1], [[0.5, 0.0]] * 2], {"reduction": "mean"}, INF),
    ("categorical_cross_entropy", [[], []], {}, []),
    ("categorical_cross_entropy", [[], []], {"reduction": "sum"}, 0),
    ("categorical_cross_entropy", [[], []], {"reduction": "mean"}, NAN),
    ("categorical_cross_entropy", [[[]], [[]]], {"label_smoothing": 0.5}, [0]),
    ("categorical_cross_entropy_from_logits", [0, MASKED], {}, INF),
    ("categorical_cross_entropy_from_logits", [1, MASKED], {"base": 2}, 1),
    ("categorical_cross_entropy_from_logits", [1, MASKED], {"label_smoothing": 0.1}, INF),
    (
        "categorical_cross_entropy_from_logits",
        [1, MASKED],
        {"label_smoothing": 0.1, "weight": [0, 1, 1]},
        LN2 * (0.9 + 0.2 / 3),
    ),
    ("categorical_cross_entropy_from_logits", [[0.0, 0.5, 0.5], MASKED], {"base": 2}, 1),
    ("categorical_cross_entropy_from_logits", [[1e-300, 0.5, 0.5], MASKED], {}, INF),
    ("categorical_cross_entropy_from_logits", [[0.0, 0.0, 0.0], MASKED], {}, 0),
    ("categorical_cross_entropy_from_logits", [[0, 1], [CERTAIN] * 2], {}, [0, INF]),
    ("categorical_cross_entropy_from_logits", [0, GONE], {}, NAN),
    ("categorical_cross_entropy_from_logits", [[0.0, 0.0, 0.0], GONE], {}, NAN),
    ("categorical_cross_entropy_from_logits", [2, BOTH], {}, NAN),
    ("categorical_cross_entropy_from_logits", [1, UNKNOWN], {}, NAN),
    ("categorical_cross_entropy_from_logits", [0, MASKED], {"sample_weight": 0}, 0),
    ("categorical_cross_entropy_from_logits", [0, MASKED], {"weight": [0, 1, 1]}, 0),
    ("categorical_cross_entropy_from_logits", [[0.0, NAN, 1.0], MASKED], {}, NAN),
    ("categorical_cross_entropy_from_logits", [[0.0, -1.0, 1.0], MASKED], {}, NAN),
    ("categorical_cross_entropy_from_logits", [[-1, 1], [UNKNOWN, MASKED]], {"ignore_index": -1, "base": 2}, [0, 1]),
    (
        "categorical_cross_entropy_from_logits",
        [[-1, 1], [UNKNOWN, MASKED]],
        {"ignore_index": -1, "base": 2, "reduction": "mean"},
        1,
    ),
    ("categorical_cross_entropy_from_logits", [[[]], [[]]], {"reduction": "sum"}, 0),
]


def assert_edge(function: str, arguments: list[Any], options: dict[str, Any], expected: Any, arithmetic: Any) -> None:
    got = getattr(reference, function)(*arguments, **options, math=arithmetic)
    assert isinstance(got, list) == isinstance(expected, list)
    for x, want in zip(map(float, listed(got)), listed(expected), strict=True):
        exact = want != want or want in (0, INF, -INF)
        assert (x != x if want != want else x == want) if exact else x == pytest.approx(want, rel=4e-16)


@pytest.mark.parametrize("arithmetic", [math, mpmath.mp], ids=["math", "mpmath"])
@pytest.mark.parametrize(("function", "arguments", "options", "expected"), EDGES_OF_LOGITS + EDGES_OF_LOSSES)
def test_edges_of_logits_and_losses(
    function: str, arguments: list[Any], options: dict[str, Any], expected: Any, arithmetic: Any
) -> None:
    assert_edge(function, arguments, options, expected, arithmetic)


def test_zero_has_no_sign() -> None:
    for got in [
        reference.self_information(1.0),
        reference.binary_entropy(1.0),
        reference.entropy([1.0]),
        reference.cross_entropy([1.0], [1.0]),
        reference.kl_divergence([0.3], [0.3]),
        reference.js_divergence([0.3], [0.3]),
        reference.log_sigmoid(INF),
        reference.binary_entropy_from_logits(INF),
        reference.logsumexp([0.0]),
        reference.log_softmax([0.0, -INF])[0],
        reference.token_logprobs([0.0, -INF], 0),
        reference.entropy_from_logits([0.0, -INF]),
        reference.kl_divergence_from_logits([0.3, 0.7], [0.3, 0.7]),
        reference.js_divergence_from_logits([0.3, 0.7], [0.3, 0.7]),
        reference.binary_cross_entropy([1, 0], [1.0, 0.0], reduction="mean"),
        reference.binary_cross_entropy_from_logits(1, INF),
        reference.categorical_cross_entropy(0, [1.0, 0.0]),
        reference.categorical_cross_entropy_from_logits(0, [1.0, -INF]),
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
    assert imported == {"__future__", ".", "collections.abc", "math", "typing"}


CATEGORICAL = [reference.categorical_cross_entropy, reference.categorical_cross_entropy_from_logits]
BINARY = [reference.binary_cross_entropy, reference.binary_cross_entropy_from_logits]


@pytest.mark.parametrize("loss", CATEGORICAL)
def test_labels_that_are_no_class_are_refused(loss: Any) -> None:
    row = [0.1] * 10
    with pytest.raises(IndexError, match=r"^label 10 at index \(3,\) is out of range for 10 classes$"):
        loss([0, 9, 5, 10, 11], [row] * 5)
    with pytest.raises(IndexError, match=r"^label -1 at index \(\) is out of range for 10 classes$"):
        loss(-1, row, ignore_index=-2)
    with pytest.raises(IndexError, match=r"^label 0 at index \(\) is out of range for 0 classes$"):
        loss(0, [])
    with pytest.raises(TypeError, match=r"^label 1\.0 at index \(0,\) is a float, expected an int$"):
        loss([1.0], [row])
    with pytest.raises(ValueError, match=r"^ignore_index needs class indices$"):
        loss(row, row, ignore_index=0)


def test_tokens_that_are_no_class_are_refused() -> None:
    with pytest.raises(IndexError, match=r"^token 10 at index \(1,\) is out of range for 10 classes$"):
        reference.token_logprobs([0.0] * 10, [3, 10, -1])
    with pytest.raises(IndexError, match=r"^token -1 at index \(\) is out of range for 10 classes$"):
        reference.token_logprobs([0.0] * 10, -1)
    with pytest.raises(TypeError, match=r"^token 1\.0 at index \(\) is a float"):
        reference.token_logprobs([0.0] * 10, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("function", PAIRS_OF_LOGITS)
def test_rows_of_logits_of_two_lengths_are_refused(function: str) -> None:
    for rows in (([0.0], [0.0, 1.0]), ([0.0, 1.0], [0.0]), ([], [1.0])):
        with pytest.raises(ValueError, match="zip"):
            getattr(reference, function)(*rows)


@pytest.mark.parametrize("loss", CATEGORICAL)
def test_losses_of_lists_of_two_lengths_are_refused(loss: Any) -> None:
    row = [0.5, 0.5]
    for labels, predictions, options in [
        ([0.5, 0.3, 0.2], row, {}),
        ([0, 1, 0], [row, row], {}),
        ([0], [row, row], {}),
        (0, row, {"weight": [1]}),
        (0, row, {"weight": [1, 2, 3]}),
        ([0, 1], [row, row], {"sample_weight": [1]}),
        ([0, 1], [row, row], {"sample_weight": [1, 2, 3]}),
    ]:
        with pytest.raises(ValueError, match="zip"):
            loss(labels, predictions, **options)


@pytest.mark.parametrize("loss", BINARY)
def test_binary_lists_of_two_lengths_are_refused(loss: Any) -> None:
    for arguments, options in [(([0, 1], [0.5]), {}), ((0, [0.5, 0.5]), {"weight": [1, 2, 3]}), (([], [0.5]), {})]:
        with pytest.raises(ValueError, match="expected one length"):
            loss(*arguments, **options)


@pytest.mark.parametrize("loss", [*CATEGORICAL, *BINARY])
def test_smoothing_and_reduction_are_checked(loss: Any) -> None:
    arguments: Any = (0, [0.5, 0.5]) if loss in CATEGORICAL else (0, 0.5)
    for s in (-1e-300, 1 + 2.0**-52, NAN, INF):
        with pytest.raises(ValueError, match=r"^label_smoothing=.*, expected a number from 0 to 1"):
            loss(*arguments, label_smoothing=s)
    for reduction in ("none", "avg", ""):
        with pytest.raises(ValueError, match=f"reduction='{reduction}', expected"):
            loss(*arguments, reduction=reduction)


# The arithmetic that kullback.testing takes where mpmath is not installed


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


@pytest.mark.parametrize("regime", LOGITS)
@pytest.mark.parametrize("function", ROWS_OF_LOGITS + PAIRS_OF_LOGITS)
def test_the_stand_in_for_mpmath_agrees_with_it_on_logits(function: str, regime: str) -> None:
    arguments = arguments_of_logits(function, regime)
    exact, magnitude = exact_of_logits(function, regime)
    with decimal.localcontext(testing._DECIMAL_CONTEXT):
        values = listed(getattr(reference, function)(*arguments, math=testing._Decimal))
    wide = many_digits()
    assert_close(
        [wide.mpf(str(x)) if x.is_finite() else float(x) for x in values], exact, magnitude, digits=DIGITS - 24
    )


@pytest.mark.parametrize(("function", "arguments", "options", "expected"), EDGES_OF_LOGITS + EDGES_OF_LOSSES)
def test_the_stand_in_for_mpmath_at_the_edges_of_logits_and_losses(
    function: str, arguments: list[Any], options: dict[str, Any], expected: Any
) -> None:
    with decimal.localcontext(testing._DECIMAL_CONTEXT):
        assert_edge(function, arguments, options, expected, testing._Decimal)
