"""What bounds a cell: the bytes that have to move, or the vector operations that have to be issued.

Operations are counted on float64 lanes, by hand from cpp/simd/math.hpp and cpp/kernels; of an operation that works on
twice as many float32 lanes, half. Three numbers: operations of the
multipliers (multiply, fused multiply-add), all operations, divisions. The limit of each is what ceilings.py measured:
fused multiply-adds alone; these mixed with operations on integers, so that every unit has work; divisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks import BCE, BCE_LOGITS, CE, TASKS, Cell

# Pieces of the loops: (multiplications, all operations, divisions) per element.
Count = tuple[float, float, float]
Work = dict[str, float]
PIECES: dict[str, dict[str, Count]] = {
    "float32": {
        "load": (0, 1, 0),  # widened
        "store": (0, 1, 0),  # narrowed
        "valid": (0, 2, 0),  # compared, noted
        "select": (0, 2, 0),  # compared, chosen
        "log": (6, 12, 1),  # split 4, 1 + m and m - 1, square, polynomial 3, s, k ln 2
        "log_ratio": (6, 16, 1),  # split 8, the rest alike
        "log1p": (6, 19, 1),  # 1 + x with its error 6
        "exp": (10, 15, 0),  # k 2, scale 2, vanishes 2, r, square, polynomial 6, scaled
        "rounded_exp": (10, 15, 0),
        "term": (4.5, 10, 0),  # direct.hpp, 16 lanes: load, clamped, exponential 12, largest 3, sum 3
        "again": (1, 2, 0),  # softmax of what was kept: load, times two parts, plus 0
        # narrow.hpp, 16 lanes each
        "narrow_load": (0, 0.5, 0),
        "narrow_store": (0, 0.5, 0),
        "narrow_valid": (0, 0.5, 0),  # the largest word
        "narrow_checks": (0, 3, 0),  # of a label and a prediction: subtraction, 4 comparisons, absolute value
        "narrow_log": (4.5, 8.5, 0),  # split 4, tables 3, r, square, polynomial 4, its sum, k ln 2 2, sum
        "narrow_log1p": (5, 9.5, 0),  # 1 + x, split 3, tables 4, r and the rest alike
        "narrow_log_ratio": (5, 11.5, 0.5),  # split 5, w 5, excess 3, square, cube, polynomial 3, sum, k ln 2 4
        "narrow_exp": (4.5, 6, 0),
        "narrow_sum": (0.75, 2.25, 0),  # of products; of two packs: product, error 2, sum, widened 3, added 2
        "narrow_add": (0, 1.5, 0),
        "narrow_scale": (1, 1.5, 0),
        "narrow_shift": (0, 1, 0),  # two differences
        "narrow_moments": (1, 4, 0),  # widened 2, sum, product
        # Of two logits: load, clamped, exponential 14, largest 2 times, range 4; widened 6, values 2, sums 4
        "narrow_divergence": (11, 31, 0),
        "narrow_labels": (1, 4.5, 0),  # comparison; the same
        "narrow_loss": (0.5, 2, 0),  # from logits: -|z|, 1 - y, comparison, choice, product
        "narrow_mixture": (2, 4.5, 0),  # of two logarithms, with the first product's error
        "narrow_slope": (2, 5.5, 0.5),  # 1 + exp, quotient, its complement, choices 3, 1 - y, products 3, negation
        "gap": (0, 1, 0),
        "sum": (1, 1, 0),  # of products
        "product": (1, 1, 0),
        "add": (0, 1, 0),
        "divide": (0, 0, 1),
        "jensen": (18, 21, 1),  # quotients 2, square, series 6, upper term 9, lower term, choice 2, beside a logarithm
    },
    "float64": {
        "load": (0, 0, 0),
        "store": (0, 1, 0),
        "valid": (0, 2, 0),
        "select": (0, 3, 0),
        "log": (14, 42, 1),  # split 8, w 3, m - 1, quotient 5, square, polynomial 8, sum 16
        "log_ratio": (14, 52, 1),
        "log1p": (18, 62, 1),
        "exp": (20, 43, 0),  # k 2, scale 2, r 5, square 3, linear 3, sum 3, polynomial 12, low 7, scaled 6
        "rounded_exp": (16, 25, 0),  # k 2, scale 2, vanishes 2, r 5, square, polynomial 11, rest, scaled
        # fixed_point.hpp: largest, clamped, k 2, r 2, scale, square, polynomial 10, rest, scaled, sum 4
        "term": (16, 24, 0),
        "again": (2, 3, 0),  # of what rows of one block kept: times two parts, plus 0
        "labels": (2, 21, 0),  # checked 2, impossible 2, product 2, sums 8 and 7
        "gap": (0, 6, 0),
        "sum": (4, 12, 0),
        "product": (4, 4, 0),
        "add": (0, 8, 0),
        "divide": (4, 5, 1),
        "jensen": (22, 50, 2),
    },
}

_NARROW_LOGITS: Work = {"narrow_load": 2, "narrow_checks": 1, "narrow_exp": 1, "narrow_log1p": 1, "narrow_loss": 1}
_NARROW_BINARY: Work = {"narrow_load": 2, "narrow_checks": 1, "narrow_log": 1, "narrow_log1p": 1, "narrow_mixture": 1}
_NARROW_SOFTMAX: Work = {"term": 1, "again": 1, "narrow_store": 2}
_NARROW_ARRAY: Work = {"narrow_scale": 1, "narrow_store": 1}

# What float32 has its own way for.
NARROW: dict[str, Work] = {
    "entropy": {"narrow_load": 1, "narrow_valid": 1, "narrow_log": 1, "narrow_sum": 1},
    "cross_entropy": {"narrow_load": 2, "narrow_valid": 3, "narrow_log": 1, "narrow_sum": 1},
    "kl_divergence": {"narrow_load": 2, "narrow_valid": 3, "narrow_log_ratio": 1, "narrow_sum": 1},
    "js_divergence": {"load": 2, "valid": 2, "log": 1, "jensen": 1, "select": 3, "product": 2, "sum": 2, "add": 4},
    "entropy_from_logits": {"term": 1, "narrow_moments": 1},
    "kl_divergence_from_logits": {"narrow_divergence": 1},
    "softmax": _NARROW_SOFTMAX,
    f"{CE}.soft_mean": {"term": 1, "narrow_load": 1, "narrow_labels": 1},
    "log_softmax": {"term": 1, "narrow_load": 1, "narrow_shift": 1, "narrow_store": 1},
    f"{CE}.grad": _NARROW_SOFTMAX,
    f"{CE}.value_and_grad": _NARROW_SOFTMAX,
    BCE: {**_NARROW_BINARY, **_NARROW_ARRAY},
    f"{BCE}.mean": {**_NARROW_BINARY, "narrow_add": 1},
    BCE_LOGITS: {**_NARROW_LOGITS, **_NARROW_ARRAY},
    f"{BCE_LOGITS}.mean": {**_NARROW_LOGITS, "narrow_add": 1},
    f"{BCE_LOGITS}.value_and_grad": {
        **_NARROW_ARRAY,
        "narrow_load": 5,
        "narrow_checks": 2,
        "narrow_exp": 2,
        "narrow_log1p": 1,
        "narrow_loss": 1,
        "narrow_slope": 1,
        "narrow_add": 1,
    },
}

_BINARY_LOGITS: Work = {"load": 2, "exp": 1, "log1p": 1, "product": 2, "add": 2, "valid": 2, "select": 2}
_SOFTMAX: Work = {"term": 1, "again": 1, "store": 0.5}

# The pieces of each task, per element.
WORK: dict[str, Work] = {
    "entropy": {"load": 1, "valid": 1, "log": 1, "sum": 1},
    "cross_entropy": {"load": 2, "valid": 2, "log": 1, "select": 3, "sum": 1},
    "kl_divergence": {"load": 2, "valid": 2, "log_ratio": 1, "select": 4, "sum": 1},
    "js_divergence": {"load": 2, "valid": 2, "log": 2, "jensen": 1, "select": 6, "product": 4, "sum": 2, "add": 2},
    "logsumexp": {"term": 1},
    "entropy_from_logits": {"load": 1, "gap": 1, "rounded_exp": 1, "add": 2, "product": 1, "select": 1},
    "kl_divergence_from_logits": {"load": 2, "gap": 2, "exp": 2, "add": 4, "product": 1, "select": 1},
    "softmax": _SOFTMAX,
    "log_softmax": {"term": 1, "load": 1, "gap": 1, "add": 1, "store": 1},
    "token_logprobs": {"term": 1},
    f"{CE}.mean": {"term": 1},
    f"{CE}.soft_mean": {"term": 1, "labels": 1},
    f"{CE}.grad": _SOFTMAX,
    f"{CE}.value_and_grad": _SOFTMAX,
    BCE: {"load": 2, "log": 1, "log1p": 1, "product": 2, "add": 2, "valid": 3, "select": 4, "store": 1},
    f"{BCE}.mean": {"load": 2, "log": 1, "log1p": 1, "product": 2, "add": 3, "valid": 3, "select": 4},
    BCE_LOGITS: {**_BINARY_LOGITS, "store": 1},
    f"{BCE_LOGITS}.mean": {**_BINARY_LOGITS, "add": 3},
    f"{BCE_LOGITS}.value_and_grad": {**_BINARY_LOGITS, "add": 4, "divide": 1, "product": 5, "store": 1},
}


def operations(task: str, dtype: str) -> Count:
    """Per element: multiplications, all operations, divisions."""
    counts = np.zeros(3)
    work = NARROW.get(task, WORK[task]) if dtype == "float32" else WORK[task]
    for piece, times in work.items():
        counts += times * np.array(PIECES[dtype][piece])
    return float(counts[0]), float(counts[1]), float(counts[2])


@dataclass(frozen=True)
class Limit:
    """The least seconds that a cell can take, and why."""

    seconds: float
    bound: str  # "memory", "multiply", "issue", "divide"
    bytes: float
    operations: float
    in_cache: bool


def bytes_of(cell: Cell) -> tuple[float, float]:
    """Bytes that have to be read, and written."""
    size = np.dtype(cell.dtype).itemsize
    sizes = {"labels": 8.0 * cell.rows, "tokens": 64.0 * cell.rows}
    read = sum(sizes.get(name, float(size * cell.elements)) for name in TASKS[cell.task].inputs)
    written = {"rows": size * cell.rows, "tokens": 8 * size * cell.rows, "scalar": size}
    return read, float(written.get(TASKS[cell.task].output, size * cell.elements))


def at_size(rates: dict[str, float], size: float) -> float:
    """The rate of the smallest array measured that is not smaller."""
    known = sorted(map(int, rates))
    return rates[str(next((s for s in known if s >= size), known[-1]))]


def limit_of(cell: Cell, ceilings: dict[str, Any], cache: int) -> Limit | None:
    """None where the ceilings were not measured."""
    measured = ceilings.get(str(cell.threads))
    if not measured or cell.target != "v4":
        return None
    read, written = bytes_of(cell)
    moved = read + written
    # What is written is copied; the rest of what is read is only read.
    copied = min(read, written)
    seconds = 2 * copied / at_size(measured["copy"], moved) + (read - copied) / at_size(measured["read"], moved)
    peak = measured["operations"]
    multiplications, issued, divisions = (count * cell.elements for count in operations(cell.task, cell.dtype))
    bounds = {
        "memory": seconds,
        "multiply": multiplications / peak["multiply_add"],
        "issue": issued / peak["mixed"],
        "divide": divisions / peak["divide"],
    }
    bound = max(bounds, key=lambda name: bounds[name])
    return Limit(bounds[bound], bound, moved, issued, moved <= cache)
