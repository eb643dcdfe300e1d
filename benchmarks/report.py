"""The Markdown of a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bars import GEOMETRIC_MEAN, Bar
from results import Comparison, Results, Row, format_measured, is_main

HERE = Path(__file__).parent
UNITS = ((1e-6, 1e-9, "ns"), (1e-3, 1e-6, "µs"), (1, 1e-3, "ms"), (float("inf"), 1, "s"))


def time_text(seconds: float) -> str:
    unit = next((scale, name) for limit, scale, name in UNITS if seconds < limit)
    return f"{seconds / unit[0]:.3g} {unit[1]}"


def table(head: list[str], lines: Iterable[list[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    rule = ["---", *("--:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *lines)) + "\n"


def bar_text(bar: Bar, got: float | None) -> str:
    if bar.met_by(got):
        return f"{bar} ✓"
    return f"**{bar} ✗ ({'not measured' if got is None else format_measured(bar, got)})**"


def ratio_text(comparison: Comparison | None) -> str:
    if comparison is None:
        return "-"
    return f"{comparison.ratio:.2f} [{comparison.low:.2f}, {comparison.high:.2f}]"


def inexact_text(row: Row) -> str:
    return ", ".join(f"{c.peer} {c.ratio:.2f} (error {c.error:.0e})" for c in row.inexact)


def cell_line(row: Row) -> list[str]:
    best = row.best
    share = "-" if row.share is None or row.limit is None else f"{row.share * 100:.0f} % {row.limit.bound}"
    return [
        f"{row.cell.task}, {row.cell.shape_name}",
        row.cell.output,
        time_text(row.ours),
        f"{best.peer} {time_text(best.theirs)}" if best else "-",
        ratio_text(best),
        share,
        inexact_text(row),
        "<br>".join(bar_text(*bar) for bar in row.bars),
    ]


def cell_table(rows: list[Row]) -> str:
    head = ["cell", "output", "ours", "best peer", "ratio", "share of the limit", "inexact peers", "bars"]
    return table(head, map(cell_line, rows))


def peers_table(rows: list[Row]) -> str:
    """Every peer's ratio in every cell."""
    peers = sorted({c.peer for row in rows for c in row.comparisons})

    def line(row: Row) -> list[str]:
        by_peer = {c.peer: c for c in row.comparisons}
        marked = {c.peer for c in row.inexact}
        shown = [f"{by_peer[p].ratio:.2f}{'*' * (p in marked)}" if p in by_peer else "-" for p in peers]
        return [row.cell.name, *shown]

    return table(["cell", *peers], map(line, rows))


def overview(rows: list[Row]) -> str:
    """Ratios to the best exact peer, tasks by shapes; an output in `out` where that is what peers can do as well."""
    shapes = list(dict.fromkeys(row.cell.shape_name for row in rows))

    def line(task: str, output: str) -> list[str]:
        own = {r.cell.shape_name: r for r in rows if (r.cell.task, r.cell.output) == (task, output)}
        return [f"{task}, {output}", *(overview_entry(own.get(shape)) for shape in shapes)]

    kinds = list(dict.fromkeys((row.cell.task, row.cell.output) for row in rows))
    return table(["ratio", *shapes], (line(*kind) for kind in kinds))


def overview_entry(row: Row | None) -> str:
    if row is None:
        return ""
    if row.best is None:
        return "-"
    missed = any(bar.kind != "share" for bar in row.missed)
    return f"**{row.best.ratio:.2f}**" if missed else f"{row.best.ratio:.2f}"


def ceilings_table(ceilings: dict[str, Any]) -> str:
    lines = []
    for threads, measured in ceilings.items():
        for kind in ("read", "copy"):
            shown = ", ".join(f"{v / 1e9:.0f} at {size_text(int(s))}" for s, v in measured[kind].items())
            lines.append([f"{kind}, {threads} thread(s)", f"GB/s: {shown}"])
        shown = ", ".join(f"{name.replace('_', ' ')} {v / 1e9:.1f}" for name, v in measured["operations"].items())
        lines.append([f"operations on float64 lanes, {threads} thread(s)", f"10^9/s: {shown}"])
    return table(["ceiling", "measured"], lines)


def size_text(size: int) -> str:
    return f"{size >> 20} MB" if size >> 20 else f"{size >> 10} kB"


def itself_table(rows: list[Row]) -> str:
    """Other ways to run kullback against the usual one."""

    def line(row: Row) -> list[str]:
        (comparison,) = row.comparisons
        return [
            f"{row.cell.task}, {row.cell.shape_name}, {row.cell.dtype}, {row.cell.threads} thread(s), {row.cell.target}",
            row.cell.against,
            time_text(row.ours),
            ratio_text(comparison),
            "<br>".join(bar_text(*bar) for bar in row.bars),
        ]

    return table(["cell", "against", "time", "ratio", "bar"], map(line, rows))


def headline(results: Results) -> str:
    mean = results.geometric_mean()
    missed = results.missed()
    lines = []
    if mean is not None:
        lines.append(
            f"Geometric mean of the ratios to the best exact peer, float32, two threads: **{mean:.2f}** "
            f"(bar {GEOMETRIC_MEAN:g})."
        )
    bars = sum(len(row.bars) for row in results.rows)
    lines.append(f"{bars - sum(len(row.missed) for row in results.rows)} of {bars} bars met.")
    if missed:
        lines.append("\nMissed:\n\n" + "\n".join(f"- {line}" for line in missed))
    return "\n".join(lines) + "\n"


def machine_text(results: Results) -> str:
    m = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    text = (
        f"{m['cpu']}, {m['cores']} cores, last-level cache {size_text(m['cache'])}, {m['system']}, Python {m['python']}; "
        f"kullback {m['kullback']}. {versions}. {m['date']}; load average before the run {m['load']:.1f}; it took "
        f"{results.seconds / 60:.0f} minutes.\n"
    )
    if not results.has_v4:
        text += f"\nThis CPU has no x86-64-v4: cells of v4 ran on {results.target}. The bars are those of v4.\n"
    for peer, why in results.missing.items():
        text += f"\nMissing: {peer} ({why}).\n"
    for cell, why in results.failed.items():
        text += f"\nFailed: {cell} ({why}).\n"
    return text


METHOD = """\
A ratio is a peer's time over ours: above 1, kullback is faster. Both sides run in one process, interleaved A B B A; the
ratio is the median of the pairs, in brackets its interval of 95 % (order statistics). Each peer has a process of its
own, and both sides have the same number of threads. "fresh": the result is a new array; "out": it is written to one
that exists, and only peers that can do so take part. A peer whose result differs from ours by more than 1e-4 (float64:
1e-9), or that approximates by intention, is inexact: it is shown with its error, and is no best peer. NumKong has one
thread in every cell. The limit is the time that the bytes take at the measured bandwidth, or the operations at the
measured throughput, whichever is longer; `benchmarks/limits.py` counts them. In the overview a ratio is bold where one
of its bars is missed.
"""


def markdown(results: Results, picture: str | None) -> str:
    main = [row for row in results.rows if is_main(row.cell)]
    itself = [row for row in results.rows if row.cell.against]
    others = [row for row in results.rows if not row.cell.against and not is_main(row.cell)]
    text = "# Performance\n\nWritten by `python benchmarks/run.py`; notes at the end, if any, by hand.\n\n"
    text += f"{headline(results)}\n{machine_text(results)}\n{METHOD}\n"
    if picture:
        text += f"![Ratios, roofline, time by size]({picture})\n\n"
    for title, rows, make in (
        ("Overview: float32, two threads", main, overview),
        ("Cells: float32, two threads", main, cell_table),
        ("Cells: float64, two threads", [r for r in others if r.cell.dtype == "float64"], cell_table),
        ("Cells: float32, one thread", [r for r in others if r.cell.dtype == "float32"], cell_table),
        ("kullback against itself", itself, itself_table),
        ("Every peer (* inexact)", main + others, peers_table),
    ):
        if rows:
            text += f"## {title}\n\n{make(rows)}\n"
    if results.ceilings:
        text += f"## Ceilings\n\n{ceilings_table(results.ceilings)}\n"
    notes = HERE / ("notes.md" if results.has_v4 else f"notes-{results.target}.md")
    if notes.exists():
        text += notes.read_text()
    return text
