"""``python -m kullback``: what this machine runs on, worked examples, a real job and a cross-check."""

from __future__ import annotations

import argparse
import string
import sys
from collections.abc import Iterable, Sequence
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import numpy.typing as npt

import kullback as kb
from kullback import _core, reference, runtime, testing

Array = npt.NDArray[Any]


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

    def matches(self, measure: str, *arrays: npt.ArrayLike, base: float | None = None) -> float:
        """Check a measure against the reference; the worst error in ULP, +inf if it fails."""
        try:
            worst = testing.assert_matches_reference(measure, *arrays, base=base)
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
    letters(checks)
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
    one_hot = [0.0, 0.0, 1.0]
    examples: list[tuple[str, str, list[Any], str]] = [
        ("information of A, p = 0.7", "self_information", [0.7], "0.3567"),
        ("information of a pass, p = 0.2", "self_information", [0.2], "1.6094"),
        ("information of a fail, p = 0.1", "self_information", [0.1], "2.3026"),
        ("entropy of the three, H(p)", "entropy", [marks], "0.8018"),
        ("binary loss, y = 1, a = 0.6", "cross_entropy", [[1.0, 0.0], [0.6, 1 - 0.6]], "0.5108"),
        ("binary loss, y = 1, a = 0.7", "cross_entropy", [[1.0, 0.0], [0.7, 1 - 0.7]], "0.3567"),
        ("categorical loss, a = .2 .5 .3", "cross_entropy", [one_hot, [0.2, 0.5, 0.3]], "1.2040"),
        ("categorical loss, a = .2 .2 .6", "cross_entropy", [one_hot, [0.2, 0.2, 0.6]], "0.5108"),
        ("Chinese edition, a = .1 .6 .3", "cross_entropy", [one_hot, [0.1, 0.6, 0.3]], "1.2040"),
        ("Chinese edition, a = .1 .3 .6", "cross_entropy", [one_hot, [0.1, 0.3, 0.6]], "0.5108"),
        ("H(p, q), q = .6 .3 .1", "cross_entropy", [marks, guess], ""),
        ("D(p||q)", "kl_divergence", [marks, guess], ""),
    ]
    print("\nThe lecture's worked examples, in nats\n")
    rows = [("", "kullback", "reference", "lecture")]
    for what, measure, arguments, printed in examples:
        value = float(getattr(kb, measure)(*arguments))
        exact = getattr(reference, measure)(*arguments)
        rows.append((what, f"{value:.12f}", f"{exact:.12f}", printed))
        checks.matches(measure, *arguments)
        if printed:
            checks.that(f"{value:.4f}" == printed, f"{what}: {value:.12f}, the lecture prints {printed}")

    both, own = float(kb.cross_entropy(marks, guess)), float(kb.entropy(marks))
    divergence = float(kb.kl_divergence(marks, guess))
    exact = reference.cross_entropy(marks, guess) - reference.entropy(marks)
    rows.append(("H(p, q) - H(p)", f"{both - own:.12f}", f"{exact:.12f}", ""))
    checks.that(abs(divergence - (both - own)) <= 4 * np.spacing(both), "D(p||q) = H(p, q) - H(p)")
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


def every_measure(checks: Checks) -> None:
    """Every measure of the core on random and hard inputs, in both dtypes, against the reference."""
    print("\nCross-check of every measure against the reference\n")
    rows = [("measure", "dtype", "inputs", "worst error", "bound")]
    for measure, kind in _core.kernels():
        if kind not in ("map1", "sum1", "sum2"):
            continue
        bound = testing.BOUNDS["elementwise" if kind == "map1" else "row"]
        for dtype in (np.float32, np.float64):
            pairs = list(hard_inputs(dtype))
            worst = max(checks.matches(measure, *pair[: 2 if kind == "sum2" else 1]) for pair in pairs)
            error = f"{worst:.3f} ULP"
            rows.append((measure, np.dtype(dtype).name, str(len(pairs)), error, f"{bound:g} ULP"))
    table(rows)


def hard_inputs(dtype: type[np.floating[Any]]) -> Iterable[tuple[Array, Array]]:
    """Pairs of rows p, q: one pair, or a few of one length, for each way in which rows are hard."""
    rng = np.random.default_rng(3)
    limits = np.finfo(dtype)

    def random(n: int) -> tuple[Array, Array]:
        return rng.dirichlet(np.ones(n), 3).astype(dtype), rng.dirichlet(np.ones(n), 3).astype(dtype)

    for n in (1, 7, 16, 65):
        yield random(n)
    p, q = random(33)
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


def table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        print("  " + "  ".join(cells).rstrip())


if __name__ == "__main__":
    sys.exit(main())
