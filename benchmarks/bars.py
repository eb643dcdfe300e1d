"""The bars, as data: which cell has to be how much faster than whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from limits import Limit
from tasks import BCE_LOGITS, CE, SMALL, TASKS, Cell, Shape

MEAN, GRADIENT = f"{CE}.mean", f"{CE}.value_and_grad"

# Ratio of the best exact peer's time to ours: two threads each, float32, v4. Of tasks with an array as their output,
# that of the row named after it.
RATIOS: dict[tuple[str, Shape, str], float] = {
    (MEAN, (1, 128256), "fresh"): 1.5,
    (MEAN, (64, 128256), "fresh"): 3,
    (MEAN, (4096, 1000), "fresh"): 2.5,
    (MEAN, (100000, 100), "fresh"): 2.5,
    (MEAN, (1000000, 10), "fresh"): 2.5,
    (MEAN, (512, 50257), "fresh"): 5,
    (GRADIENT, (64, 128256), "fresh"): 1.7,
    (GRADIENT, (4096, 1000), "fresh"): 2.5,
    (GRADIENT, (100000, 100), "fresh"): 4,
    (GRADIENT, (1000000, 10), "fresh"): 4,
    (GRADIENT, (512, 50257), "fresh"): 3,
    ("entropy", (64, 128256), "fresh"): 6,
    ("entropy", (4096, 1000), "fresh"): 4.5,
    ("entropy", (1000000, 10), "fresh"): 4,
    ("entropy", (100000, 100), "fresh"): 5,
    ("kl_divergence", (64, 128256), "fresh"): 5,
    ("kl_divergence", (1000000, 10), "fresh"): 4,
    ("softmax", (1, 128256), "out"): 1.2,
    ("softmax", (64, 128256), "out"): 1.2,
    ("softmax", (4096, 1000), "out"): 1.5,
    ("softmax", (1000000, 10), "out"): 1.5,
    (f"{BCE_LOGITS}.mean", (64, 128256), "fresh"): 4,
    (f"{BCE_LOGITS}.value_and_grad", (64, 128256), "fresh"): 4,
}
OTHER_RATIOS = 1.2
APPROXIMATE = {"numkong"}  # peers that are inexact by intention
GEOMETRIC_MEAN = 4.0

# Against a peer by name, exact or not: (task, shape, threads).
NAMED: dict[tuple[str, Shape, int], tuple[str, float]] = {
    ("kl_divergence", (1, 128256), 1): ("numkong", 0.8),
    ("kl_divergence", (64, 128256), 1): ("numkong", 0.8),
    ("kl_divergence", (64, 128256), 2): ("numkong", 1.4),
}
SMALL_SECONDS: dict[Shape, float] = {(1, 10): 400e-9, (32, 10): 700e-9}
SMALL_AGAINST_TORCH = 3.0

# Against kullback itself: the other way's time / this one's. Of `size`: time per element.
ITSELF = {"threads": 1.8, "target": 0.45, "last axis": 0.6, "size": 1 / 1.1}

# Shares of the limit, of float32 on v4. Below so many elements a call is bound by neither.
MEMORY_SHARE, VECTOR_SHARE, FEWEST_ELEMENTS = 0.85, 0.6, 10_000


@dataclass(frozen=True)
class Bar:
    """`kind`: "ratio" to the best exact peer, "ratio to" a peer by name, "seconds" at most, "share" of the limit."""

    kind: str
    value: float
    peer: str = ""

    def met_by(self, got: float | None) -> bool:
        if got is None:
            return False
        return got <= self.value if self.kind == "seconds" else got >= self.value

    def __str__(self) -> str:
        if self.kind == "seconds":
            return f"≤ {self.value * 1e9:.0f} ns"
        shown = f"≥ {self.value * 100:.0f} % of the limit" if self.kind == "share" else f"≥ {self.value:.3g}"
        return f"{shown} to {self.peer}" if self.peer else shown


def bars_of(cell: Cell, limit: Limit | None, able: set[str]) -> Iterator[Bar]:
    """The bars of a cell; `able`: the peers that have the function."""
    if cell.against:
        yield Bar("ratio to", ITSELF[cell.against.partition("=")[0]], "kullback")
        return
    main = (cell.dtype, cell.threads, cell.target) == ("float32", 2, "v4")
    if cell.shape in SMALL and cell.dtype == "float32":
        yield Bar("seconds", SMALL_SECONDS[cell.shape])
        if "torch" in able:
            yield Bar("ratio to", SMALL_AGAINST_TORCH, "torch")
    elif able - APPROXIMATE:
        yield Bar("ratio", RATIOS.get((cell.task, cell.shape, cell.output), OTHER_RATIOS) if main else OTHER_RATIOS)
    named = NAMED.get((cell.task, cell.shape, cell.threads))
    if named and named[0] in able and cell.dtype == "float32":
        yield Bar("ratio to", named[1], named[0])
    if limit is not None and cell.dtype == "float32":
        yield from share_bars(cell, limit)


def share_bars(cell: Cell, limit: Limit) -> Iterator[Bar]:
    reduces = not TASKS[cell.task].has_array
    if limit.bound == "memory" and reduces and not limit.in_cache:
        yield Bar("share", MEMORY_SHARE)
    if limit.bound != "memory" and limit.in_cache and cell.elements >= FEWEST_ELEMENTS:
        yield Bar("share", VECTOR_SHARE)
