"""From the pairs that the workers timed to the rows of the tables."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import Any

from scipy import stats

from bars import APPROXIMATE, GEOMETRIC_MEAN, Bar, bars_of
from limits import Limit, limit_of
from tasks import Cell

# A peer whose error is larger is shown with it, and is no best peer; nor is one that approximates by intention (bars.APPROXIMATE).
INEXACT = {"float32": 1e-4, "float64": 1e-9}


@dataclass(frozen=True)
class Comparison:
    """One peer in one cell. Ratio: its time / ours; the median of the pairs with its interval of 95 %."""

    peer: str
    ratio: float
    low: float
    high: float
    ours: float
    theirs: float
    error: float | None
    pairs: int

    @staticmethod
    def of(peer: str, result: dict[str, Any]) -> Comparison:
        # Of the order statistics: the interval of the median that makes no assumption on the distribution.
        interval = stats.quantile_test(result["ratios"], p=0.5).confidence_interval(0.95)
        return Comparison(
            peer,
            statistics.median(result["ratios"]),
            float(interval.low),
            float(interval.high),
            statistics.median(result["ours"]),
            statistics.median(result["theirs"]),
            result["error"],
            len(result["ratios"]),
        )


@dataclass
class Row:
    """A cell with all that was measured of it."""

    cell: Cell
    comparisons: list[Comparison] = field(default_factory=list)
    limit: Limit | None = None
    bars: list[tuple[Bar, float | None]] = field(default_factory=list)  # with what was measured

    @property
    def ours(self) -> float:
        return statistics.median(c.ours for c in self.comparisons)

    @property
    def best(self) -> Comparison | None:
        """The fastest exact peer."""
        return min((c for c in self.comparisons if self.is_exact(c)), key=lambda c: c.ratio, default=None)

    @property
    def inexact(self) -> list[Comparison]:
        return [c for c in self.comparisons if not self.is_exact(c)]

    def is_exact(self, comparison: Comparison) -> bool:
        error = comparison.error or 0.0
        return comparison.peer not in APPROXIMATE and error <= INEXACT[self.cell.dtype]

    @property
    def share(self) -> float | None:
        return None if self.limit is None else self.limit.seconds / self.ours

    @property
    def missed(self) -> list[Bar]:
        return [bar for bar, got in self.bars if not bar.met_by(got)]

    def to(self, peer: str) -> float | None:
        return next((c.ratio for c in self.comparisons if c.peer == peer), None)

    def _measured(self, bar: Bar) -> float | None:
        if bar.kind == "seconds":
            return self.ours
        if bar.kind == "share":
            return self.share
        return self.to(bar.peer) if bar.peer else (self.best.ratio if self.best else None)

    def judge(self, able: set[str]) -> None:
        self.bars = [(bar, self._measured(bar)) for bar in bars_of(self.cell, self.limit, able)]


@dataclass
class Results:
    """Of a whole run."""

    rows: list[Row]
    machine: dict[str, Any]
    versions: dict[str, str]
    ceilings: dict[str, Any]
    missing: dict[str, str]  # peers that could not be imported, and why
    failed: dict[str, str]  # "cell, peer": why
    whole: bool = False  # whether all cells were asked for: the bar of the mean holds for them together
    seconds: float = 0.0

    @property
    def target(self) -> str:
        """The best one of the CPU: what stands for v4 where there is none."""
        return str(self.machine["targets"][0])

    @property
    def has_v4(self) -> bool:
        return self.target == "x86-64-v4"

    def geometric_mean(self) -> float | None:
        """Of the ratios to the best exact peers: float32, two threads, v4."""
        main = [row for row in self.rows if is_main(row.cell) and row.best]
        return math.exp(statistics.fmean(math.log(row.best.ratio) for row in main if row.best)) if main else None

    def missed(self) -> list[str]:
        """The bars that were missed, or could not be measured."""
        lines = [
            f"{row.cell.name}: {bar}, measured {'nothing' if got is None else format_measured(bar, got)}"
            for row in self.rows
            for bar, got in row.bars
            if not bar.met_by(got)
        ]
        mean = self.geometric_mean()
        if self.whole and mean is not None and mean < GEOMETRIC_MEAN:
            lines.append(f"geometric mean of all ratios: >= {GEOMETRIC_MEAN}, measured {mean:.2f}")
        return lines

    def to_json(self) -> dict[str, Any]:
        return {
            "machine": self.machine,
            "versions": self.versions,
            "missing": self.missing,
            "failed": self.failed,
            "seconds": self.seconds,
            "ceilings": self.ceilings,
            "geometric_mean": self.geometric_mean(),
            "cells": [row_to_json(row) for row in self.rows],
        }


def format_measured(bar: Bar, got: float) -> str:
    if bar.kind == "seconds":
        return f"{got * 1e9:.0f} ns"
    return f"{got * 100:.0f} %" if bar.kind == "share" else f"{got:.3g}"


def is_main(cell: Cell) -> bool:
    return (cell.dtype, cell.threads, cell.target, cell.against) == ("float32", 2, "v4", "")


def row_to_json(row: Row) -> dict[str, Any]:
    return {
        "name": row.cell.name,
        **row.cell.to_json(),
        "seconds": row.ours,
        "best": row.best.peer if row.best else None,
        "limit": vars(row.limit) if row.limit else None,
        "share": row.share,
        "bars": [{**vars(bar), "measured": got, "met": bar.met_by(got)} for bar, got in row.bars],
        "peers": {c.peer: vars(c) for c in row.comparisons},
    }


def assemble(
    cells: list[Cell], answers: dict[str, dict[str, dict[str, Any]]], able: dict[str, set[str]], results: Results
) -> None:
    """Fills `results` with rows: answers[cell][peer] is what a worker timed; able[cell] has the peers that could."""
    for cell in cells:
        timed = answers.get(cell.name, {})
        row = Row(cell, [Comparison.of(peer, result) for peer, result in timed.items()])
        if row.comparisons:
            row.limit = limit_of(cell, results.ceilings, results.machine["cache"])
            row.judge(able.get(cell.name, set()))
            results.rows.append(row)
