"""The picture of a run: ratio per cell, roofline, time by size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

from bars import Bar
from limits import at_size
from results import Results, Row, is_main

mpl.use("Agg")

import matplotlib.pyplot as plt

COLORS = {
    "torch": "tab:red", "jax": "tab:blue", "onnxruntime": "tab:purple", "sklearn": "tab:orange", "numba": "tab:green",
    "scipy": "tab:cyan", "numpy": "tab:gray", "numkong": "black",
}  # fmt: skip


def ratio_bar(row: Row) -> Bar | None:
    return next((bar for bar, _ in row.bars if bar.kind == "ratio"), None)


def draw_ratios(axes: Any, rows: list[Row]) -> None:
    """A dot for each cell, coloured by its best peer; a tick where its bar is."""
    kinds = list(dict.fromkeys((row.cell.task, row.cell.output) for row in rows))
    seen: set[str] = set()
    for row in rows:
        if row.best is None:
            continue
        level = kinds.index((row.cell.task, row.cell.output))
        label = None if row.best.peer in seen else row.best.peer
        seen.add(row.best.peer)
        axes.scatter(row.best.ratio, level, s=22, color=COLORS[row.best.peer], label=label, zorder=3)
        bar = ratio_bar(row)
        if bar is not None and not bar.met_by(row.best.ratio):
            axes.plot([row.best.ratio, bar.value], [level, level], color="red", linewidth=1, marker="|", zorder=2)
    axes.set_yticks(range(len(kinds)), [f"{task} ({output})" for task, output in kinds], fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("time of the best exact peer / ours; a dot for each shape, red lines to bars missed")
    axes.set_title("Ratios, float32, two threads")
    axes.grid(axis="both", alpha=0.3)
    axes.legend(fontsize=7)


def draw_roofline(axes: Any, rows: list[Row], measured: dict[str, Any]) -> None:
    """Operations per second by operations per byte, below what the machine can do."""
    axes.set_title("Roofline, float32, two threads")
    axes.set_xlabel("operations per byte that has to move")
    axes.set_ylabel("10^9 float64 operations / s")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(which="both", alpha=0.2)
    for in_cache, color in ((True, "tab:orange"), (False, "tab:blue")):
        own = [row for row in rows if row.limit and row.limit.in_cache == in_cache and row.cell.elements >= 10_000]
        x = [row.limit.operations / row.limit.bytes for row in own if row.limit]
        y = [row.limit.operations / row.ours / 1e9 for row in own if row.limit]
        axes.scatter(x, y, s=16, color=color, label="in cache" if in_cache else "larger than the cache")
    intensities = [0.3, 30]
    for rate, name, style in (
        (at_size(measured["read"], 1e12), "reading from memory", "-"),
        (at_size(measured["read"], 1 << 22), "reading 4 MB", "--"),
        (at_size(measured["copy"], 1e12), "copying in memory", ":"),
    ):
        axes.plot(intensities, [i * rate / 1e9 for i in intensities], style, color="gray", linewidth=1, label=name)
    peak = measured["operations"]
    for name, shown, style in (("multiply_add", "multiply-adds", "-."), ("mixed", "all vector operations", "-")):
        axes.axhline(peak[name] / 1e9, linestyle=style, color="black", linewidth=1, label=shown)
    axes.legend(fontsize=7)


def draw_sizes(axes: Any, rows: list[Row]) -> None:
    """Time per element by length of a row."""
    axes.set_title("Time by size: one row, float32, two threads")
    tasks = dict.fromkeys(row.cell.task for row in rows)
    for task in tasks:
        own = sorted((row.cell.elements, row.ours) for row in rows if row.cell.task == task)
        points = [(elements, seconds / elements * 1e9) for elements, seconds in own]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1, label=task)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("elements")
    axes.set_ylabel("ns per element")
    axes.grid(alpha=0.3)
    if tasks:
        axes.legend(fontsize=7)


def draw(results: Results, path: Path) -> None:
    main = [row for row in results.rows if is_main(row.cell)]
    sizes = [row for row in results.rows if row.cell.against.startswith("size") and row.cell.threads == 2]
    figure = plt.figure(figsize=(15, 9), layout="constrained")
    grid = figure.add_gridspec(2, 2)
    draw_ratios(figure.add_subplot(grid[:, 0]), main)
    measured = results.ceilings.get("2")
    if measured is not None:
        draw_roofline(figure.add_subplot(grid[0, 1]), main, measured)
    draw_sizes(figure.add_subplot(grid[1 if measured else slice(None), 1]), sizes)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
