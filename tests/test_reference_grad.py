"""The promise: the reference's gradients are the derivatives of the reference's values, also where they are infinite."""

from __future__ import annotations

import ast
import decimal
import doctest
import functools
import inspect
import itertools
import math
from collections.abc import Iterator
from typing import Any

import mpmath
import pytest

from kullback import reference, testing
from kullback.reference import grad
from kullback.testing import ulp_error

INF, NAN = math.inf, math.nan
ARITHMETICS = [math, mpmath.mp, testing._Decimal]

LOSSES = [name for name in grad.__all__ if "reduction" in inspect.signature(getattr(grad, name)).parameters]
CATEGORICAL = [name for name in LOSSES if name.startswith("categorical")]
BINARY = [name for name in LOSSES if name.startswith("binary")]
TWICE = [name for name in LOSSES if name.endswith("from_logits")]


@functools.cache
def mp(digits: int) -> Any:
    context = mpmath.MPContext()
    context.dps = digits
    return context


def arrays_of(function: str) -> list[str]:
    parameters = inspect.signature(getattr(reference, function)).parameters.values()
    return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]


def leaves(x: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Any]]:
    """The numbers in nested lists, with their places."""
    if isinstance(x, (list, tuple)):
        for i, part in enumerate(x):
            yield from leaves(part, (*path, i))
    else:
        yield path, x


def replaced(x: Any, path: tuple[int, ...], new: Any) -> Any:
    return [replaced(y, path[1:], new) if i == path[0] else y for i, y in enumerate(x)] if path else new


def numbers(x: Any) -> list[Any]:
    return [number for _, number in leaves(x)]


# Derivatives, of the values in the reference by differences


def differences(function: str, arguments: list[Any], k: int, options: dict[str, Any], factors: Any) -> list[Any]:
    """The derivative of the sum of the values times `factors`, by each number of argument k."""
    wide = mp(200)

    def total(x: Any) -> Any:
        values = numbers(getattr(reference, function)(*arguments[:k], x, *arguments[k + 1 :], **options, math=wide))
        weights = numbers(factors) if isinstance(factors, list) else [factors] * len(values)
        return wide.fsum(wide.mpf(g) * value for g, value in zip(weights, values, strict=True))

    result = []
    for path, x in leaves(arguments[k]):
        step = wide.mpf(10) ** -50 * (abs(x) or 1)
        up, down = (replaced(arguments[k], path, x + sign * step) for sign in (1, -1))
        result.append((total(up) - total(down)) / (2 * step))
    return result


P, Q = [0.5, 0.3, 0.125, 1e-9, 0.07], [0.2, 0.3, 0.4, 0.04, 1e-30]
Z, OTHER = [0.3, -1.25, 2.0, 0.0, -7.5], [1.0, 0.1, -3.0, 0.25, 0.0]
CONFIDENT, ELSEWHERE = [40.0, 1.0, 0.0, -3.0, 0.5], [0.0, 0.3, 45.0, 1.0, -2.0]
EVENTS, CHANCES, SCORES = [0.0, 1.0, 0.3, 0.9, 0.5], [0.2, 0.7, 1e-12, 0.5, 0.999], [0.4, -2.0, 30.0, 0.0, -50.0]
SOFT = [0.1, 0.2, 0.4, 0.05, 0.25]

# Function, arguments, options, grad_output
CASES: list[tuple[str, list[Any], dict[str, Any], Any]] = [
    ("binary_entropy", [CHANCES], {}, 1),
    ("binary_entropy", [0.3], {"base": 2}, -2.5),
    ("binary_entropy", [CHANCES], {"base": 10}, [1, 0, -3, 0.5, 7]),
    ("entropy", [P], {}, 1),
    ("entropy", [P], {"base": 2}, 0.3),
    *((f, [P, Q], {}, 1) for f in ("cross_entropy", "kl_divergence", "js_divergence")),
    *((f, [P, Q], {"base": 0.5}, -7) for f in ("cross_entropy", "kl_divergence", "js_divergence")),
    *((f, [Q, [x * (1 + 1e-9) for x in Q]], {}, 1) for f in ("kl_divergence", "js_divergence")),
    ("binary_entropy_from_logits", [SCORES], {}, 1),
    ("binary_entropy_from_logits", [3.0], {"base": 2}, 2),
    *(("logsumexp", [z], {}, g) for z, g in [(Z, 1), (CONFIDENT, -2)]),
    *(("entropy_from_logits", [z], o, g) for z, o, g in [(Z, {}, 1), (CONFIDENT, {"base": 2}, -2), ([3.0], {}, 1)]),
    *(
        (f, rows, options, g)
        for f in ("kl_divergence_from_logits", "js_divergence_from_logits")
        for rows, options, g in [
            ([Z, OTHER], {}, 1),
            ([Z, OTHER], {"base": 2}, -3),
            ([Z, CONFIDENT], {}, 1),
            ([CONFIDENT, Z], {}, 1),
            ([CONFIDENT, ELSEWHERE], {}, 1),
            ([Z, [x + 1e-9 * y for x, y in zip(Z, OTHER, strict=True)]], {}, 1),
        ]
    ),
]

WEIGHTS = [1.5, 0.0, 2.0, -0.5, 3.0]
for loss, predictions in zip(BINARY, [CHANCES, SCORES], strict=True):
    for reduction in (None, "sum", "mean"):
        factors: list[Any] = [1, -3, [1, 0, 2, -1, 0.25]] if reduction is None else [1, -3]
        for some, g in itertools.product(
            [
                {},
                {"weight": WEIGHTS},
                {"weight": 2.5, "pos_weight": 3.0, "base": 2},
                {"pos_weight": [2.0, 0.5, 1.0, -1.0, 4.0], "label_smoothing": 0.1},
                {"weight": WEIGHTS, "pos_weight": 0.25, "label_smoothing": 0.5, "base": 10},
            ],
            factors,
        ):
            CASES.append((loss, [SOFT, predictions], {**some, "reduction": reduction}, g))
    CASES.append((loss, [EVENTS, predictions], {"label_smoothing": 0.0}, 2))
    CASES.append((loss, [0.25, predictions], {"weight": WEIGHTS}, 2))
    CASES.append((loss, [SOFT, predictions[0]], {"reduction": "mean"}, 2))
    CASES.append((loss, [0.25, predictions[1]], {"pos_weight": SOFT, "label_smoothing": 0.2}, [1, 2, 3, 4, 5]))
    CASES.append((loss, [0.25, predictions[1]], {}, 2))

CLASSES, CHANCES_OF_CLASSES = [0, 4, 2], [P, Q, SOFT]
DISTRIBUTIONS = [SOFT, [3e-5, 0.5, 1.0, 2.0, 1e-20], P]
for loss, predictions in zip(CATEGORICAL, [CHANCES_OF_CLASSES, [Z, CONFIDENT, ELSEWHERE]], strict=True):
    for labels, reduction in itertools.product([CLASSES, DISTRIBUTIONS], (None, "sum", "mean")):
        for some, g in itertools.product(
            [
                {},
                {"weight": WEIGHTS},
                {"sample_weight": [2.0, 0.0, 0.5], "base": 2},
                {"weight": WEIGHTS, "sample_weight": [0.25, 3.0, -1.0], "label_smoothing": 0.1},
                {"weight": SOFT, "label_smoothing": 1.0},
                {"label_smoothing": 0.2},
            ],
            [1, -3, [1, 0, 2]] if reduction is None else [1, -3],
        ):
            CASES.append((loss, [labels, predictions], {**some, "reduction": reduction}, g))
    for reduction in (None, "mean"):
        CASES.append((loss, [[-7, 1, 2], predictions], {"ignore_index": -7, "reduction": reduction}, 1))
    CASES.append((loss, [3, predictions[0]], {"base": 2, "weight": WEIGHTS}, 2))
    CASES.append((loss, [SOFT, predictions[0]], {"reduction": "mean", "weight": P}, 2))


def differentiable(function: str, arguments: list[Any]) -> list[int]:
    """The arguments that are no classes and not at the end of their range."""
    ends = any(type(y) is int or y == 0 for y in numbers(arguments[0]))
    return [k for k, name in enumerate(arrays_of(function)) if name != "labels" or not ends]


def gradient(function: str, arguments: list[Any], k: int, options: dict[str, Any], factors: Any, math: Any) -> Any:
    names = arrays_of(function)
    wrt = {"wrt": names[k]} if len(names) == 2 else {}
    return getattr(grad, function)(*arguments, **options, **wrt, grad_output=factors, math=math)


@pytest.mark.parametrize("function", grad.__all__)
def test_gradients_are_the_derivatives_of_the_values(function: str) -> None:
    for name, arguments, options, factors in CASES:
        for k in differentiable(name, arguments) if name == function else []:
            got = gradient(name, arguments, k, options, factors, mp(60))
            assert [path for path, _ in leaves(got)] == [path for path, _ in leaves(arguments[k])]
            for x, want in zip(numbers(got), differences(name, arguments, k, options, factors), strict=True):
                assert abs(x - want) <= abs(want) * 1e-30 + 1e-80, (name, arguments, k, options, factors)


@pytest.mark.parametrize("function", [name for name in grad.__all__ if len(arrays_of(name)) == 2])
def test_both_are_the_two_and_the_second_is_the_default(function: str) -> None:
    for name, arguments, options, factors in CASES:
        if name == function and len(differentiable(name, arguments)) == 2:
            first, second = (gradient(name, arguments, k, options, factors, math) for k in (0, 1))
            assert getattr(grad, name)(*arguments, **options, wrt="both", grad_output=factors) == (first, second)
            assert getattr(grad, name)(*arguments, **options, grad_output=factors) == second


@pytest.mark.parametrize("function", TWICE)
def test_hessians_are_the_derivatives_of_the_gradients(function: str) -> None:
    wide = mp(200)
    for labels, logits, options in [(*a, {**o, "grad_output": g}) for name, a, o, g in CASES if name == function]:
        first, second = getattr(grad, function)(labels, logits, **options, hessian=True, math=mp(60))
        assert first == getattr(grad, function)(labels, logits, **options, math=mp(60))
        assert [path for path, _ in leaves(second)] == [path for path, _ in leaves(logits)]
        for (path, x), got in zip(leaves(logits), numbers(second), strict=True):
            step = wide.mpf(10) ** -50
            up, down = (
                dict(leaves(getattr(grad, function)(labels, replaced(logits, path, x + h), **options, math=wide)))[path]
                for h in (step, -step)
            )
            want = (up - down) / (2 * step)
            assert abs(got - want) <= abs(want) * 1e-30 + 1e-80, (labels, logits, options)


# Where nothing cancels plain floats are good to a few units in the last place
EXACT = [
    *((f, [P, Q]) for f in ("cross_entropy", "kl_divergence", "js_divergence")),
    ("js_divergence", [Q, [x * (1 + 1e-9) for x in Q]]),
    ("js_divergence", [[5e-324, 1e308, 1e-300], [1e308, 5e-324, 3e300]]),
    ("binary_entropy", [[*CHANCES, 0.501, 0.4987, 0.5 + 1e-9, 0.5 - 2.0**-54, 0.3333, 0.6667]]),
    ("binary_entropy_from_logits", [[*SCORES, 1e-300, 700.0, -700.0]]),
    *(("logsumexp", [z]) for z in (Z, CONFIDENT, ELSEWHERE)),
    ("binary_cross_entropy", [[0, 1, 1, 0, 0], CHANCES]),
    ("binary_cross_entropy_from_logits", [[0, 1, 1, 0, 0], SCORES]),
    ("categorical_cross_entropy", [DISTRIBUTIONS, CHANCES_OF_CLASSES]),
    *(("categorical_cross_entropy_from_logits", [k, z]) for k in range(3) for z in (Z, CONFIDENT, ELSEWHERE)),
    ("categorical_cross_entropy_from_logits", [[1.0, 1e-20, 0.0], [60.0, 0.0, 1.0]]),
    ("categorical_cross_entropy_from_logits", [[0, 1, 0, 0, 0.0], [600.5, 650.25, 0, 1, 2.0]]),
]


@pytest.mark.parametrize(("function", "arguments"), EXACT)
def test_plain_floats(function: str, arguments: list[Any]) -> None:
    for options in [{"hessian": True} if function in TWICE else {}, {"grad_output": -3.0}]:
        got = getattr(grad, function)(*arguments, **options)
        exact = getattr(grad, function)(*arguments, **options, math=mp(60))
        assert {type(x) for x in numbers(got)} == {float}
        assert max(ulp_error(x, y) for x, y in zip(numbers(got), numbers(exact), strict=True)) <= 4


@pytest.mark.parametrize(
    ("got", "digits"),
    [
        (lambda m: -grad.categorical_cross_entropy_from_logits(0, [40, 0, 0], math=m)[0], "8.496708510583178e-18"),
        (lambda m: grad.binary_cross_entropy_from_logits(0, -50, math=m), "1.9287498479639178e-22"),
        (lambda m: -grad.binary_cross_entropy_from_logits(1, 50, math=m), "1.9287498479639178e-22"),
    ],
)
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_known_numbers(got: Any, digits: str, arithmetic: Any) -> None:
    with decimal.localcontext(testing._DECIMAL_CONTEXT):
        assert float(got(arithmetic)) == pytest.approx(float(digits), rel=4e-16)


def test_the_gradient_by_binary_labels_is_the_logit() -> None:
    logits = [1e-30, -0.3, 1e-9, 700.25, -1e300]
    assert grad.binary_cross_entropy_from_logits(SOFT, logits, wrt="labels") == [-z for z in logits]


def test_the_lecture_s_simple_subtraction() -> None:
    for label, z in [(0, Z), (3, Z), (SOFT, Z), (1, CONFIDENT), (SOFT, ELSEWHERE)]:
        y = label if isinstance(label, list) else [int(j == label) for j in range(len(z))]
        got = grad.categorical_cross_entropy_from_logits(label, z)
        assert got == pytest.approx([p - x for p, x in zip(reference.softmax(z), y, strict=True)], rel=1e-14, abs=1e-16)
    got = grad.binary_cross_entropy_from_logits(EVENTS, SCORES)
    subtraction = [p - y for p, y in zip(reference.sigmoid(SCORES), EVENTS, strict=True)]
    assert got == pytest.approx(subtraction, rel=1e-14, abs=1e-16)


# Edges

CERTAIN, BOTH, GONE, UNKNOWN, MASKED = [INF, 0.0, 1.0], [INF, INF, 0.0], [-INF] * 3, [NAN, 0.0, 1.0], [-INF, 0.0, 0.0]
ODD_ROWS, NANS = [GONE, BOTH, UNKNOWN], [NAN] * 3
LN2, LN3 = math.log(2), math.log(3)
PAIRS_OF_PROBABILITIES = ("cross_entropy", "kl_divergence", "js_divergence")
BAD = [-1.0, -1e-300, NAN, -INF]

EDGES: list[tuple[str, list[Any], dict[str, Any], Any]] = [
    ("entropy", [[0.0, -0.0, INF, 1.0, *BAD]], {}, [INF, INF, -INF, -1, *[NAN] * 4]),
    ("entropy", [[0.0, INF, 0.5, NAN]], {"grad_output": 0}, [0, 0, 0, NAN]),
    ("entropy", [[0.0, INF]], {"grad_output": -2}, [-INF, INF]),
    ("entropy", [[0.0, 0.5]], {"base": 0.5}, [-INF, (1 - LN2) / LN2]),
    ("entropy", [[0.0, NAN, 1.0]], {"grad_output": NAN}, NANS),
    ("entropy", [[]], {}, []),
    ("binary_entropy", [[0.0, 1.0, 0.5, 1 + 2.0**-52, INF, *BAD]], {}, [INF, -INF, 0, *[NAN] * 6]),
    ("binary_entropy", [[0.0, 1.0, 2.0]], {"grad_output": 0}, [0, 0, NAN]),
    ("binary_entropy", [[0.0, 0.0, 0.0]], {"grad_output": [1, 0, -1]}, [INF, 0, -INF]),
    ("binary_entropy", [0.0], {}, INF),
    # By q: p = 0 and q = 0, alone and together; infinities
    *((f, [[0.0, 0.0, 0.5], [0.5, 0.0, 0.0]], {}, [0, 0, -INF]) for f in ("cross_entropy", "kl_divergence")),
    *((f, [[5e-324], [0.0]], {}, [-INF]) for f in PAIRS_OF_PROBABILITIES),
    *((f, [[0.0, 1.0, INF, INF], [INF, INF, 1.0, 0.0]], {}, [0, 0, -INF, -INF]) for f in PAIRS_OF_PROBABILITIES[:2]),
    ("js_divergence", [[0.0, 0.0, 0.5], [0.5, 0.0, 0.0]], {}, [LN2 / 2, 0, -INF]),
    ("js_divergence", [[0.0, 1.0, INF, INF], [INF, INF, 1.0, 0.0]], {}, [LN2 / 2, LN2 / 2, -INF, -INF]),
    *((f, [[INF], [INF]], {}, [NAN]) for f in PAIRS_OF_PROBABILITIES),
    # By p
    ("cross_entropy", [[0.0, 1.0, INF, 0.5], [0.0, 0.0, 0.0, INF]], {"wrt": "p"}, [INF, INF, INF, -INF]),
    ("cross_entropy", [[0.0, INF], [1.0, 1.0]], {"wrt": "p"}, [0, 0]),
    ("kl_divergence", [[0.0, 0.5, 0.0, 0.3], [0.5, 0.0, 0.0, 0.3]], {"wrt": "p"}, [-INF, INF, 0, 1]),
    ("kl_divergence", [[0.0, 1.0, INF, INF, INF], [INF, INF, 1.0, 0, INF]], {"wrt": "p"}, [-INF, -INF, INF, INF, NAN]),
    ("js_divergence", [[0.0, 0.0, 0.5], [0.5, 0.0, 0.0]], {"wrt": "p"}, [-INF, 0, LN2 / 2]),
    # What is no probability is NaN there, and there alone
    *(
        (f, rows, {"wrt": wrt, "grad_output": g}, [NAN] * 4)
        for f, wrt, g in itertools.product(PAIRS_OF_PROBABILITIES, "pq", (1, 0))
        for rows in ([BAD, [0.5] * 4], [[0.0] * 4, BAD], [[0.5] * 4, BAD], [BAD, BAD])
    ),
    *((f, [[NAN, 0.5], [0.5, 0.5]], {}, [NAN, -1]) for f in PAIRS_OF_PROBABILITIES[:2]),
    *((f, [[], []], {"wrt": "both"}, ([], [])) for f in PAIRS_OF_PROBABILITIES),
    # Logits
    *(
        (f, [row], {"grad_output": g}, NANS)
        for f in ("logsumexp", "entropy_from_logits")
        for row, g in itertools.product(ODD_ROWS, (1, 0))
    ),
    *((f, [[]], {}, []) for f in ("logsumexp", "entropy_from_logits")),
    ("logsumexp", [CERTAIN], {}, [1, 0, 0]),
    ("logsumexp", [MASKED], {}, [0, 0.5, 0.5]),
    ("entropy_from_logits", [CERTAIN], {}, [0, 0, 0]),
    ("entropy_from_logits", [MASKED], {}, [0, 0, 0]),
    ("entropy_from_logits", [[0.0, -1e300]], {}, [0, 0]),
    ("binary_entropy_from_logits", [[INF, -INF, 0.0, NAN, 1e300]], {}, [0, 0, 0, NAN, 0]),
    *(
        (f, rows, {"wrt": "both", "grad_output": g}, (NANS, NANS))
        for f, odd, g in itertools.product(("kl_divergence_from_logits", "js_divergence_from_logits"), ODD_ROWS, (1, 0))
        for rows in ([odd, [0.0] * 3], [MASKED, odd], [odd, CERTAIN], [odd, odd])
    ),
    ("kl_divergence_from_logits", [[0.0] * 3, MASKED], {"wrt": "both"}, ([INF, -INF, -INF], [-1 / 3, 1 / 6, 1 / 6])),
    ("kl_divergence_from_logits", [[-1e300, 0.0, 0.0], MASKED], {"wrt": "p_logits"}, [INF, -INF, -INF]),
    ("kl_divergence_from_logits", [[0.0, -1e300, 0.0], MASKED], {"wrt": "p_logits"}, [INF, -INF, -INF]),
    ("kl_divergence_from_logits", [[0.0] * 3, MASKED], {"wrt": "p_logits", "grad_output": 0}, [0, 0, 0]),
    ("kl_divergence_from_logits", [[0.0] * 3, CERTAIN], {"wrt": "both"}, ([-INF, INF, INF], [2 / 3, -1 / 3, -1 / 3])),
    ("kl_divergence_from_logits", [CERTAIN, CERTAIN[::-1]], {"wrt": "both"}, ([INF, 0, 0], [-1, 0, 1])),
    ("kl_divergence_from_logits", [CERTAIN, [0.0] * 3], {"wrt": "both"}, ([0, 0, 0], [-2 / 3, 1 / 3, 1 / 3])),
    ("kl_divergence_from_logits", [MASKED, [0.0] * 3], {}, [1 / 3, -1 / 6, -1 / 6]),
    ("kl_divergence_from_logits", [MASKED, MASKED], {"wrt": "both"}, ([0, 0, 0], [0, 0, 0])),
    ("kl_divergence_from_logits", [[0.0, -INF], [-INF, 0.0]], {"wrt": "p_logits"}, [INF, 0]),
    *((f, [[], []], {"wrt": "both"}, ([], [])) for f in ("kl_divergence_from_logits", "js_divergence_from_logits")),
    ("js_divergence_from_logits", [[0.0, -INF], [-INF, 5.0]], {"wrt": "both"}, ([0, 0], [0, 0])),
    ("js_divergence_from_logits", [MASKED, MASKED], {"wrt": "both"}, ([0, 0, 0], [0, 0, 0])),
    ("js_divergence_from_logits", [CERTAIN, CERTAIN], {"wrt": "both"}, ([0, 0, 0], [0, 0, 0])),
    ("js_divergence_from_logits", [[0.0, 0.0], [0.0, -INF]], {}, [0, 0]),
    (
        "js_divergence_from_logits",
        [[0.0, -INF], [0.0, 0.0]],
        {"base": 2},
        [(math.log2(2 / 3) - 1) / 8, (1 - math.log2(2 / 3)) / 8],
    ),
    # Binary losses: the odd prediction, the odd label, factors of 0
    (
        "binary_cross_entropy",
        [[0, 1, 0.5, 0.0, 1.0, 0.5], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]],
        {},
        [1, -INF, -INF, INF, -1, INF],
    ),
    ("binary_cross_entropy", [[1, 0, 1], [0.0, 1.0, 2.0]], {"weight": 0}, [0, 0, NAN]),
    ("binary_cross_entropy", [[1, 0], [0.0, 1.0]], {"weight": -1}, [INF, -INF]),
    ("binary_cross_entropy", [[1, 0], [0.0, 1.0]], {"pos_weight": 0}, [0, INF]),
    ("binary_cross_entropy", [[1, 0, 1], [0.0, 1.0, NAN]], {"grad_output": 0}, [0, 0, NAN]),
    ("binary_cross_entropy", [[1, 0], [1.0, 0.0]], {"label_smoothing": 1e-300}, [INF, -INF]),
    ("binary_cross_entropy", [[0, 1], [*BAD, 1.5][:2]], {"wrt": "both", "weight": 0}, ([NAN] * 2, [NAN] * 2)),
    ("binary_cross_entropy", [[*BAD, 1.5, INF], 0.5], {"wrt": "labels"}, [NAN] * 6),
    ("binary_cross_entropy", [[*BAD, 1.5, INF], [0.5] * 6], {"grad_output": 0}, [NAN] * 6),
    ("binary_cross_entropy", [[0, 1, 0.5], [*BAD[:2], 1.5]], {"label_smoothing": 1, "wrt": "labels"}, NANS),
    ("binary_cross_entropy", [[0, 1, 0.5], [0.0, 1.0, 0.5]], {"wrt": "labels"}, [INF, -INF, 0]),
    ("binary_cross_entropy", [[0, 1, 1], [0.0, 1.0, 0.0]], {"wrt": "labels", "pos_weight": 0}, [0, -INF, 0]),
    ("binary_cross_entropy", [[0, 1], [0.0, 1.0]], {"wrt": "labels", "weight": 0}, [0, 0]),
    ("binary_cross_entropy", [[0, 1], [0.0, 1.0]], {"wrt": "labels", "label_smoothing": 1}, [0, 0]),
    ("binary_cross_entropy", [1, [0.0, 1.0]], {"wrt": "labels"}, NAN),  # inf - inf
    ("binary_cross_entropy", [[1, 1], 0.0], {}, -INF),
    ("binary_cross_entropy", [[], []], {"wrt": "both", "reduction": "mean"}, ([], [])),
    ("binary_cross_entropy", [0.5, []], {"wrt": "both"}, (0, [])),
    ("binary_cross_entropy", [[1, 1], [0.5, 0.5]], {"reduction": "mean", "weight": [1, -1]}, [NAN] * 2),
    ("binary_cross_entropy_from_logits", [[0, 1, 0, 1], [INF, INF, -INF, -INF]], {}, [1, 0, 0, -1]),
    ("binary_cross_entropy_from_logits", [[0, 1, 0.5], NANS], {"weight": 0}, NANS),
    ("binary_cross_entropy_from_logits", [[*BAD, 1.5, INF], [0.5] * 6], {"grad_output": 0}, [NAN] * 6),
    ("binary_cross_entropy_from_logits", [[*BAD, 1.5, INF], 0.5], {"wrt": "labels"}, [NAN] * 6),
    ("binary_cross_entropy_from_logits", [[0, 1, 0.5], [INF, -INF, 1.25]], {"wrt": "labels"}, [-INF, INF, -1.25]),
    ("binary_cross_entropy_from_logits", [[0, 1], [INF, -INF]], {"wrt": "labels", "pos_weight": 2}, [-INF, INF]),
    ("binary_cross_entropy_from_logits", [[0, 1], [INF, -INF]], {"wrt": "labels", "pos_weight": 0}, [-INF, 0]),
    ("binary_cross_entropy_from_logits", [[0, 1], [INF, -INF]], {"wrt": "labels", "weight": 0}, [0, 0]),
    ("binary_cross_entropy_from_logits", [[0, 1], [INF, -INF]], {"hessian": True}, ([1, -1], [0, 0])),
    ("binary_cross_entropy_from_logits", [[0, 2.0], [NAN, 0.5]], {"hessian": True}, ([NAN] * 2, [NAN] * 2)),
    # Categorical losses
    ("categorical_cross_entropy", [1, [0.5, 0.0]], {}, [0, -INF]),
    ("categorical_cross_entropy", [0, [0.5, 0.0, NAN, -1.0]], {}, [-2, 0, NAN, NAN]),
    ("categorical_cross_entropy", [[1.0, NAN, -1.0, 0.0], [0.5, 0.5, 0.5, 0.0]], {}, [-2, NAN, NAN, 0]),
    ("categorical_cross_entropy", [[0.0, 1.0, 1.0], [INF, INF, 0.0]], {}, [0, 0, -INF]),
    ("categorical_cross_entropy", [1, [0.5, 0.0]], {"weight": [1, 0]}, [0, 0]),
    ("categorical_cross_entropy", [1, [0.5, 0.0]], {"weight": [1, -1]}, [0, INF]),
    ("categorical_cross_entropy", [1, [NAN, 0.0]], {"sample_weight": 0}, [NAN, 0]),
    ("categorical_cross_entropy", [1, [NAN, 0.0]], {"grad_output": 0}, [NAN, 0]),
    ("categorical_cross_entropy", [0, [1.0, 0.0]], {"label_smoothing": 1e-300}, [-1, -INF]),
    ("categorical_cross_entropy", [[0.0, 0.5, 1.0], [0.0, 1.0, INF]], {"wrt": "labels"}, [INF, 0, -INF]),
    ("categorical_cross_entropy", [[0.0, -1.0, NAN], [0.0, 1.0, 0.5]], {"wrt": "labels"}, [INF, NAN, NAN]),
    ("categorical_cross_entropy", [[0.0, 0.5, 0.5], [0.0, NAN, -1.0]], {"wrt": "labels"}, [INF, NAN, NAN]),
    ("categorical_cross_entropy", [[0.0, 0.5], [0.0, 1.0]], {"wrt": "labels", "weight": [0, 1]}, [0, 0]),
    ("categorical_cross_entropy", [[0.0, 0.5], [0.0, 1.0]], {"wrt": "labels", "sample_weight": 0}, [0, 0]),
    ("categorical_cross_entropy", [[0.0, 0.5], [0.0, 1.0]], {"wrt": "labels", "label_smoothing": 1}, [0, 0]),
    ("categorical_cross_entropy_from_logits", [0, MASKED], {}, [-1, 0.5, 0.5]),
    ("categorical_cross_entropy_from_logits", [1, MASKED], {}, [0, -0.5, 0.5]),
    ("categorical_cross_entropy_from_logits", [[0.0, 0.5, 0.5], MASKED], {}, [0, 0, 0]),
    ("categorical_cross_entropy_from_logits", [0, CERTAIN], {}, [0, 0, 0]),
    ("categorical_cross_entropy_from_logits", [1, CERTAIN], {}, [1, -1, 0]),
    *(
        ("categorical_cross_entropy_from_logits", [0, odd], options, NANS)
        for odd in ODD_ROWS
        for options in ({}, {"sample_weight": 0}, {"grad_output": 0}, {"weight": [0, 0, 0]})
    ),
    ("categorical_cross_entropy_from_logits", [[NAN, 0.5, 0.5], [0.0] * 3], {}, NANS),
    ("categorical_cross_entropy_from_logits", [[-1.0, 0.5, 0.5], [0.0] * 3], {}, NANS),
    ("categorical_cross_entropy_from_logits", [[0.0, 0.5, 0.5], MASKED], {"wrt": "labels"}, [INF, LN2, LN2]),
    ("categorical_cross_entropy_from_logits", [[0.0] * 3, CERTAIN], {"wrt": "labels"}, [0, INF, INF]),
    (
        "categorical_cross_entropy_from_logits",
        [[0.0] * 3, MASKED],
        {"wrt": "labels", "weight": [0, 1, -1]},
        [0, LN2, -LN2],
    ),
    ("categorical_cross_entropy_from_logits", [[0.0] * 3, GONE], {"wrt": "labels"}, NANS),
    ("categorical_cross_entropy_from_logits", [0, CERTAIN], {"hessian": True}, ([0, 0, 0], [0, 0, 0])),
    ("categorical_cross_entropy_from_logits", [1, MASKED], {"hessian": True}, ([0, -0.5, 0.5], [0, 0.25, 0.25])),
    ("categorical_cross_entropy_from_logits", [1, UNKNOWN], {"hessian": True}, (NANS, NANS)),
    *(
        (f, [[0, 7], [[0.5, 0.5], [NAN, 0.5]]], {"ignore_index": 7, "wrt": wrt, "reduction": r, "base": 2}, want)
        for f, wrt, first in [
            ("categorical_cross_entropy", "q", [-2 / LN2, 0]),
            ("categorical_cross_entropy_from_logits", "logits", [-0.5 / LN2, 0.5 / LN2]),
        ]
        for r in (None, "sum", "mean")
        for want in [[first, [0, 0]]]
    ),
    # The mean of nothing: NaN, but for ignored rows
    *(
        (f, [[7, 0], [[NAN, 0.5], [0.5, 0.5]]], {"ignore_index": 7, "reduction": "mean", **o}, [[0, 0], [NAN] * 2])
        for f in CATEGORICAL
        for o in [{"sample_weight": 0}, {"sample_weight": 0, "grad_output": 0}, {"weight": [0, 1]}]
    ),
    *((f, [[7], [[0.5, 0.5]]], {"ignore_index": 7, "reduction": "mean"}, [[0, 0]]) for f in CATEGORICAL),
    *((f, [[], []], {"reduction": "mean"}, []) for f in CATEGORICAL),
    *((f, [[[]], [[]]], {"wrt": "both"}, ([[]], [[]])) for f in CATEGORICAL),
]


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize(("function", "arguments", "options", "expected"), EDGES)
def test_edges(function: str, arguments: list[Any], options: dict[str, Any], expected: Any, arithmetic: Any) -> None:
    with decimal.localcontext(testing._DECIMAL_CONTEXT):
        got = getattr(grad, function)(*arguments, **options, math=arithmetic)
        assert [path for path, _ in leaves(got)] == [path for path, _ in leaves(expected)]
        for x, want in zip(map(float, numbers(got)), numbers(expected), strict=True):
            exact = want != want or want in (0, INF, -INF)
            assert (x != x if want != want else x == want) if exact else x == pytest.approx(want, rel=4e-16)


def test_a_weighted_mean_depends_on_soft_labels_twice() -> None:
    # (2 L_1 y_1 + L_2 y_2) / (2 y_1 + y_2) by y_1: 2 (L_1 - L_2) y_2 / D^2
    got = grad.categorical_cross_entropy(
        [[0.5, 1.0]], [[0.5, 0.125]], weight=[2, 1], base=2, reduction="mean", wrt="labels"
    )
    assert got == [[pytest.approx(-1), pytest.approx(0.5)]]
    got = grad.categorical_cross_entropy([[0.5, 1.0]], [[0.5, 0.125]], base=2, reduction="mean", wrt="labels")
    assert got == [[pytest.approx(1), pytest.approx(3)]]


# Arguments


def test_what_is_refused() -> None:
    for function in grad.__all__:
        first, *rest = arrays_of(function)
        if rest:
            message = rf"^wrt: expected '{first}', '{rest[0]}' or 'both', got 'x'$"
            with pytest.raises(ValueError, match=message):
                getattr(grad, function)([0.5, 0.5], [0.5, 0.5], wrt="x")
            with pytest.raises(ValueError):  # noqa: PT011  (the message is zip's or about lengths)
                getattr(grad, function)([0.5, 0.5], [1.0])
        else:
            with pytest.raises(TypeError, match="wrt"):
                getattr(grad, function)([0.5, 0.5], wrt=first)
    for function, name in zip(CATEGORICAL, ("q", "logits"), strict=True):
        for wrt, labels in itertools.product(("labels", "both"), ([0, 1], [0, [0.5, 0.5]])):
            message = rf"^wrt: labels are class indices, which have no gradient; expected '{name}'$"
            with pytest.raises(ValueError, match=message):
                getattr(grad, function)(labels, [[0.5, 0.5]] * 2, wrt=wrt)
        with pytest.raises(ValueError, match="no gradient"):
            getattr(grad, function)(0, [0.5, 0.5], wrt="labels")
        with pytest.raises(ValueError, match="zip"):
            getattr(grad, function)([0, 1], [[0.5, 0.5]] * 2, grad_output=[1])
        with pytest.raises(IndexError, match="label 2 at index"):
            getattr(grad, function)(2, [0.5, 0.5])
    for function in TWICE:
        for wrt in ("labels", "both"):
            with pytest.raises(ValueError, match=rf"^wrt: expected 'logits' with hessian=True, got '{wrt}'$"):
                getattr(grad, function)([0.5, 0.5], [0.5, 0.5], wrt=wrt, hessian=True)
    for function in LOSSES:
        with pytest.raises(ValueError, match=r"^reduction='max', expected None, 'sum' or 'mean'$"):
            getattr(grad, function)([0.5, 0.5], [0.5, 0.5], reduction="max")
    with pytest.raises(ValueError, match="zip"):
        grad.binary_entropy([0.5, 0.5], grad_output=[1])


@pytest.mark.parametrize("function", grad.__all__)
def test_signatures_are_those_of_the_values(function: str) -> None:
    expected = dict(inspect.signature(getattr(reference, function)).parameters)
    arithmetic = expected.pop("math")
    names = arrays_of(function)
    parameters = inspect.signature(getattr(grad, function)).parameters
    added = ["wrt"] * (len(names) == 2) + ["grad_output"] + ["hessian"] * (function in TWICE)
    assert list(parameters) == [*expected, *added, "math"]
    for name, parameter in [*expected.items(), ("math", arithmetic)]:
        assert (parameters[name].kind, parameters[name].default) == (parameter.kind, parameter.default)
    defaults = {"wrt": names[-1], "grad_output": None, "hessian": False}
    for name in added:
        assert (parameters[name].kind, parameters[name].default) == (inspect.Parameter.KEYWORD_ONLY, defaults[name])


def test_the_examples_run() -> None:
    result = doctest.testmod(grad)
    assert result.failed == 0
    assert result.attempted >= len(grad.__all__)


def test_gradients_share_no_code_with_the_core() -> None:
    imported = set()
    for node in ast.walk(ast.parse(inspect.getsource(grad))):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported.add("." * node.level + (node.module or ""))
    assert imported == {"__future__", ".", "collections.abc", "math", "typing"}
