"""``python -m kullback``: what this machine runs on, worked examples, a real job and a cross-check."""

from __future__ import annotations

import argparse
import inspect
import math
import string
import sys
from collections.abc import Callable, Iterable, Sequence
from pydoc_data.topics import topics
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

import kullback as kb
from kullback import _core, reference, runtime, testing

Array: TypeAlias = npt.NDArray[Any]
Options: TypeAlias = dict[str, Any]
Pairs: TypeAlias = Iterable[tuple[Array, Array]]
Case: TypeAlias = tuple[tuple[Array, ...], Options]


class Checks:
    """Counts what held and what did not, and prints what did not."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def that(self, holds: bool | np.bool_, what: str) -> None:
        if holds:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED: {what}")

    def matches(self, measure: str, *arrays: npt.ArrayLike, **options: Any) -> float:
        """Check a measure against the reference; the worst error in ULP, +inf if it fails."""
        try:
            worst = testing.assert_matches_reference(measure, *arrays, **options)
        except AssertionError as error:
            self.that(False, str(error))
            return float("inf")
        self.that(True, measure)
        return worst


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m kullback", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["info"], help="print the environment and nothing else")
    if parser.parse_args(argv).command == "info":
        environment()
        return 0

    checks = Checks()
    environment()
    lecture(checks)
    confident(checks)
    letters(checks)
    next_letters(checks)
    every_measure(checks)
    print(f"\n{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


def environment() -> None:
    for key, value in runtime.info().items():
        print(f"{key}: {', '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}")


def lecture(checks: Checks) -> None:
    """The worked examples of the lecture "Cross-Entropy Loss function", with the figures it prints."""
    marks = [0.7, 0.2, 0.1]  # of a course: A, pass, fail
    guess = [0.6, 0.3, 0.1]
    odds = [math.log(0.6 / 0.4), math.log(0.7 / 0.3)]  # logits of 0.6 and 0.7
    outputs = [[0.2, 0.5, 0.3], [0.2, 0.2, 0.6]]
    logs = [[math.log(a) for a in row] for row in outputs]
    batch: Options = {"reduction": "sum"}
    binary, categorical = "binary_cross_entropy", "categorical_cross_entropy"
    examples: list[tuple[str, str, list[Any], Options, str]] = [
        ("information of A, p = 0.7", "self_information", [0.7], {}, "0.3567"),
        ("information of a pass, p = 0.2", "self_information", [0.2], {}, "1.6094"),
        ("information of a fail, p = 0.1", "self_information", [0.1], {}, "2.3026"),
        ("entropy of the three, H(p)", "entropy", [marks], {}, "0.8018"),
        ("binary loss, y = 1, a = 0.6", binary, [1, 0.6], {}, "0.5108"),
        ("  from its logit", f"{binary}_from_logits", [1, odds[0]], {}, "0.5108"),
        ("binary loss, y = 1, a = 0.7", binary, [1, 0.7], {}, "0.3567"),
        ("  from its logit", f"{binary}_from_logits", [1, odds[1]], {}, "0.3567"),
        ("  J of the two", binary, [[1, 1], [0.6, 0.7]], batch, ""),
        ("categorical loss, a = .2 .5 .3", categorical, [2, outputs[0]], {}, "1.2040"),
        ("  from logits", f"{categorical}_from_logits", [2, logs[0]], {}, "1.2040"),
        ("categorical loss, a = .2 .2 .6", categorical, [[0, 0, 1], outputs[1]], {}, "0.5108"),
        ("  from logits", f"{categorical}_from_logits", [[0, 0, 1], logs[1]], {}, "0.5108"),
        ("  J of the two", categorical, [[2, 2], outputs], batch, ""),
        ("  from logits", f"{categorical}_from_logits", [[2, 2], logs], batch, ""),
        ("Chinese edition, a = .1 .6 .3", categorical, [2, [0.1, 0.6, 0.3]], {}, "1.2040"),
        ("Chinese edition, a = .1 .3 .6", categorical, [2, [0.1, 0.3, 0.6]], {}, "0.5108"),
        ("H(p, q), q = .6 .3 .1", "cross_entropy", [marks, guess], {}, ""),
        ("D(p||q)", "kl_divergence", [marks, guess], {}, ""),
    ]
    print("\nThe lecture's worked examples, in nats\n")
    rows = [("", "kullback", "reference", "lecture")]
    for what, measure, arguments, options, printed in examples:
        value = float(getattr(kb, measure)(*arguments, **options))
        exact = getattr(reference, measure)(*arguments, **options)
        rows.append((what, f"{value:.12f}", f"{exact:.12f}", printed))
        checks.matches(measure, *arguments, **options)
        if printed:
            checks.that(f"{value:.4f}" == printed, f"{what}: {value:.12f}, the lecture prints {printed}")

    both, own = float(kb.cross_entropy(marks, guess)), float(kb.entropy(marks))
    divergence = float(kb.kl_divergence(marks, guess))
    exact = reference.cross_entropy(marks, guess) - reference.entropy(marks)
    rows.append(("H(p, q) - H(p)", f"{both - own:.12f}", f"{exact:.12f}", ""))
    checks.that(abs(divergence - (both - own)) <= 4 * np.spacing(both), "D(p||q) = H(p, q) - H(p)")
    table(rows)


def confident(checks: Checks) -> None:
    """Predictions so sure that their loss is lost where it is a difference of two numbers."""
    z = [40.0, 0.0, 0.0]
    mass = np.sum(np.exp(z))
    p = np.exp(z) / mass
    plain_loss, plain_entropy, plain_binary = np.log(mass) - z[0], -np.sum(p * np.log(p)), np.log(1 + np.exp(-40.0))
    examples: list[tuple[str, str, list[Any], str, float]] = [
        ("loss, z = 40 0 0, y = 0", "categorical_cross_entropy_from_logits", [0, z], "8.4967085e-18", plain_loss),
        ("binary loss, z = 40, y = 1", "binary_cross_entropy_from_logits", [1, 40.0], "4.2483543e-18", plain_binary),
        ("entropy, z = 40 0 0", "entropy_from_logits", [z], "3.4836505e-16", plain_entropy),
    ]
    print("\nA confident prediction, in nats\n")
    rows = [("", "kullback", "reference", "plain floats")]
    for what, measure, arguments, known, plain in examples:
        value = float(getattr(kb, measure)(*arguments))
        exact = getattr(reference, measure)(*arguments)
        rows.append((what, f"{value:.12e}", f"{exact:.12e}", f"{plain:.6e}"))
        checks.matches(measure, *arguments)
        checks.that(f"{value:.7e}" == known, f"{what}: {value!r}, expected {known}")
    table(rows)


def letters(checks: Checks) -> None:
    """How the letters of each topic of Python's own help differ from those of all its topics."""
    counts = np.array([[text.lower().count(x) for x in string.ascii_lowercase] for text in topics.values()])
    weights = counts.sum(axis=1) / counts.sum()
    p = counts / counts.sum(axis=1, keepdims=True)
    whole = counts.sum(axis=0) / counts.sum()

    entropy = kb.entropy(p, base=2)
    kl = kb.kl_divergence(p, whole, base=2)
    js = kb.js_divergence(p, whole, base=2)
    cross = kb.cross_entropy(p, whole, base=2)
    entropy_of_whole = float(kb.entropy(whole, base=2))

    print(f"\nLetters in {len(p)} topics of Python's help, in bits: the five furthest from the whole by JS\n")
    rows = [("topic", "letters", "entropy", "KL", "JS")]
    names = list(topics)
    for i in np.argsort(-js, kind="stable")[:5]:
        rows.append((names[i], str(counts[i].sum()), f"{entropy[i]:.4f}", f"{kl[i]:.4f}", f"{js[i]:.4f}"))
    rows.append(("the whole", str(counts.sum()), f"{entropy_of_whole:.4f}", f"{0:.4f}", f"{0:.4f}"))
    table(rows)

    rounding = 8 * np.spacing(cross.max())
    checks.that(np.all((entropy >= 0) & (entropy <= np.log2(26) + rounding)), "0 <= entropy <= log2 26")
    checks.that(np.all((kl >= 0) & np.isfinite(kl)), "0 <= KL < inf: the whole has every topic's letters")
    checks.that(np.all((js >= 0) & (js <= 1)), "0 <= JS <= 1 bit")
    checks.that(np.all(np.abs(kl - (cross - entropy)) <= rounding), "KL = cross-entropy - entropy")
    # Two ways to what a letter tells about the topic it was taken from, their mutual information.
    told = abs(weights @ kl - (entropy_of_whole - weights @ entropy))
    checks.that(told <= rounding, "mean KL = entropy of the whole - mean entropy")
    for measure, arguments in [
        ("entropy", (p,)),
        ("cross_entropy", (p, whole)),
        ("kl_divergence", (p, whole)),
        ("js_divergence", (p, whole)),
    ]:
        checks.matches(measure, *arguments, base=2)


def next_letters(checks: Checks) -> None:
    """How well the letter before tells the next one: models fitted to half of the topics, tried on the others."""
    texts = list(topics.values())
    fitted, tried = (np.frombuffer("".join(half).lower().encode(), np.uint8) for half in (texts[::2], texts[1::2]))
    fitted, tried = (text[(text >= ord("a")) & (text <= ord("z"))] - ord("a") for text in (fitted, tried))
    pairs = np.ones((26, 26))  # every pair once, lest one be impossible
    np.add.at(pairs, (fitted[:-1], fitted[1:]), 1)
    before, after = tried[:-1], tried[1:]

    print(f"\nThe next of {len(after)} letters of half of the topics, in bits: loss by models of the other half\n")
    rows = [("model", "mean loss", "mean entropy")]
    losses = []
    for what, counts in [
        ("any letter alike", np.ones((26, 26))),
        ("letters", np.broadcast_to(pairs.sum(axis=0), (26, 26))),
        ("pairs of letters", pairs),
    ]:
        logits = np.log(counts)
        loss = kb.categorical_cross_entropy_from_logits(after, logits[before], base=2, reduction="mean")
        entropy = kb.entropy_from_logits(logits, base=2)[before].mean()
        rows.append((what, f"{loss:.4f}", f"{entropy:.4f}"))
        losses.append(float(loss))
    table(rows)

    # logits are now those of the pairs: the same loss in three other ways.
    uses = np.zeros((26, 26))
    np.add.at(uses, (before, after), 1)
    classes = np.broadcast_to(np.arange(26), (26, 26))
    table_of_tokens = kb.token_logprobs(logits, classes, base=2)
    weights = uses.sum(axis=1) / uses.sum()
    p = uses / np.maximum(uses.sum(axis=1, keepdims=True), 1)
    ways = {
        "token_logprobs": -np.sum(uses * table_of_tokens) / uses.sum(),
        "log_softmax": -np.sum(uses * kb.log_softmax(logits)) / uses.sum() / np.log(2),
        "cross_entropy of softmax": weights @ kb.cross_entropy(p, kb.softmax(logits), base=2),
    }
    for way, loss in ways.items():
        checks.that(abs(loss - losses[-1]) <= 64 * np.spacing(losses[-1]), f"mean loss by {way}: {loss}, {losses[-1]}")
    checks.that(abs(losses[0] - np.log2(26)) <= 2 * np.spacing(losses[0]), "any letter alike: log2 26 bits")
    checks.that(losses[2] < losses[1] < losses[0], "the more a model knows, the smaller its loss")
    checks.matches("token_logprobs", logits, classes, base=2)
    checks.matches("categorical_cross_entropy_from_logits", after[:100], logits[before[:100]], base=2, reduction="mean")


def every_measure(checks: Checks) -> None:
    """Every measure of the core on random and hard inputs, in both dtypes, against the reference."""
    print("\nCross-check of every measure against the reference\n")
    rows = [("measure", "dtype", "inputs", "worst error", "bound")]
    for measure, kind in _core.kernels():
        if kind == "pack":  # an elementary function, which is no measure
            continue
        if kind not in CASES:
            checks.that(False, f"{measure}: nothing here checks kernels of the kind {kind}")
            continue
        bound = testing.BOUNDS["elementwise" if kind in ("map1", "binary") else "row"]
        names = inspect.signature(getattr(reference, measure)).parameters
        of_logits = any(name == "z" or name.endswith("logits") for name in names)
        for dtype in (np.float32, np.float64):
            pairs = (hard_logits if of_logits else hard_probabilities)(dtype)
            cases = list(CASES[kind](pairs, np.random.default_rng(4)))
            worst = max(checks.matches(measure, *arrays, **options) for arrays, options in cases)
            error = f"{worst:.3f} ULP"
            rows.append((measure, np.dtype(dtype).name, str(len(cases)), error, f"{bound:g} ULP"))
    table(rows)


def hard_probabilities(dtype: type[np.floating[Any]]) -> Iterable[tuple[Array, Array]]:
    """Pairs of rows p, q: one pair, or a few of one length, for each way in which rows are hard."""
    rng = np.random.default_rng(3)
    limits = np.finfo(dtype)

    def random(n: int, rows: int = 2) -> tuple[Array, Array]:
        return rng.dirichlet(np.ones(n), rows).astype(dtype), rng.dirichlet(np.ones(n), rows).astype(dtype)

    for n in (1, 7, 16, 65):
        yield random(n)
    p, q = random(33, rows=1)
    yield np.where(p < 0.02, 0, p), q
    yield np.where(p < 0.02, 0, p), np.where(p < 0.01, 0, q)  # zeros of q where p has one too
    yield p, np.where(q < 0.02, 0, q)
    yield p, p
    yield p, p * (1 + 3 * limits.eps)
    yield p, p * dtype(1.01)
    yield 1 - limits.epsneg * p, 1 - p
    yield p * dtype(1000), q / dtype(1000)
    yield p * limits.tiny, q
    yield q, p * limits.tiny
    yield p * limits.tiny, q * limits.tiny
    yield p * limits.max, q * limits.tiny
    yield np.eye(5, dtype=dtype), np.eye(5, dtype=dtype)[::-1]
    tail = np.exp(-np.arange(129, dtype=np.float64)).astype(dtype)
    yield tail, tail[::-1].copy()
    nan, inf = np.nan, np.inf
    yield (
        np.array([[0, 0], [nan, 0], [-1, 2], [inf, 0.5], [0.5, 0.5], [0, 1], [inf, 1]], dtype),
        np.array([[0, nan], [1, 0], [1, 1], [0.5, 0.5], [inf, 0.5], [-1, 1], [inf, 1]], dtype),
    )


def hard_logits(dtype: type[np.floating[Any]]) -> Iterable[tuple[Array, Array]]:
    """The like of logits."""
    rng = np.random.default_rng(5)
    limits = np.finfo(dtype)
    nan, inf = np.nan, np.inf

    def random(n: int, rows: int = 2) -> tuple[Array, Array]:
        return rng.normal(size=(rows, n)).astype(dtype), rng.normal(size=(rows, n)).astype(dtype)

    for n in (1, 7, 16, 65):
        yield random(n)
    z, x = random(33, rows=1)
    yield z * dtype(10), x * dtype(100)
    yield z, z
    yield z, np.nextafter(z, x)
    yield np.rint(z), np.rint(x)  # several largest ones
    yield 1 + z * limits.eps, 1 + x * limits.eps
    yield z * (limits.max / 8), x
    yield x, z * (limits.max / 8)
    yield np.where(z < -1, -inf, z), np.where(z < -1.5, -inf, x)
    yield z, np.where(x < -1, -inf, x)
    least = dtype(np.floor(np.log(limits.smallest_subnormal)))  # whose exponential is the smallest number, or nothing
    for gap in (dtype(-40), least / 2, least + 8, least + 1, least):
        yield np.array([0, gap, gap], dtype), np.array([gap, gap, 0], dtype)
    yield -np.arange(129).astype(dtype), -np.arange(129)[::-1].astype(dtype)
    yield (
        np.array([[inf, 0], [-inf, -inf], [inf, inf], [nan, 0], [0, -inf], [-inf, inf]], dtype),
        np.array([[0, inf], [0, 0], [0, 0], [0, 0], [-inf, 0], [-inf, inf]], dtype),
    )


def labels_of(shape: tuple[int, ...], dtype: np.dtype[Any], rng: np.random.Generator) -> Array:
    """Numbers from 0 to 1, the ends and a tiny one among them."""
    tiny = np.finfo(dtype).tiny
    return np.choose(rng.integers(0, 6, shape), [0, 1, tiny, *rng.random((3, *shape))]).astype(dtype)


def one_row(pairs: Pairs, rng: np.random.Generator) -> Iterable[Case]:
    for p, _ in pairs:
        yield (p,), {}


def two_rows(pairs: Pairs, rng: np.random.Generator) -> Iterable[Case]:
    for p, q in pairs:
        yield (p, q), {}


def binary_cases(pairs: Pairs, rng: np.random.Generator) -> Iterable[Case]:
    for _, q in pairs:
        yield (labels_of(q.shape, q.dtype, rng), q), {}
        if q.shape == (2, 7):
            y = rng.integers(0, 2, q.shape)
            weights: Options = {"weight": labels_of((2, 1), q.dtype, rng), "pos_weight": 3}
            yield (y, q), {"label_smoothing": 0.1}
            yield (y, q), {"reduction": "sum"}
            yield (y, q), {"reduction": "mean", "base": 2, "label_smoothing": 0.1, **weights}


def categorical_cases(pairs: Pairs, rng: np.random.Generator) -> Iterable[Case]:
    for _, q in pairs:
        *rows, classes = q.shape
        y = rng.integers(0, classes, rows)
        soft = labels_of(q.shape, q.dtype, rng)
        yield (y, q), {}
        yield (soft, q), {}
        if q.shape == (2, 7):
            weights: Options = {"weight": np.arange(7.0, dtype=q.dtype), "sample_weight": np.array([0.5, 3], q.dtype)}
            yield (y, q), {"label_smoothing": 0.1}
            yield (y, q), {"ignore_index": int(y[0]), "reduction": "sum"}
            yield (rng.integers(0, 2, 7), q), {"axis": 0, "reduction": "mean"}
            for labels in (y, soft):
                yield (labels, q), {"reduction": "mean", "base": 2, "label_smoothing": 0.1, **weights}


def token_cases(pairs: Pairs, rng: np.random.Generator) -> Iterable[Case]:
    for z, _ in pairs:
        *rows, classes = z.shape
        yield (z, rng.integers(0, classes, rows)), {}
        yield (z, rng.integers(0, classes, (*rows, 5))), {"base": 2}


# By kind of kernel: arguments of its measures, made of pairs of rows.
CASES: dict[str, Callable[[Pairs, np.random.Generator], Iterable[Case]]] = {
    "map1": one_row,
    "sum1": one_row,
    "sum2": two_rows,
    "rowmap": one_row,
    "binary": binary_cases,
    "categorical": categorical_cases,
    "tokens": token_cases,
}


def table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        print("  " + "  ".join(cells).rstrip())


if __name__ == "__main__":
    sys.exit(main())
