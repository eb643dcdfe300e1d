"""kullback against every other library for the CPU, and against what the machine can do.

    python benchmarks/run.py                            every cell; writes docs/performance.md and its picture, on a
                                                        CPU without AVX-512 docs/performance-x86-64-v3.md or the like
    python benchmarks/run.py softmax 64x128256,1x1000   cells that every word fits (commas: or, * as in file names),
                                                        of task, shape, dtype, threads (2t), target, output; printed
    python benchmarks/run.py --check                    exits with status 1 where a cell is below its bar
    python benchmarks/run.py --quick                    a smoke run: few cells, short times, nothing to be believed

tasks.py has the cells, bars.py the bars, limits.py the counts of bytes and operations, peers/ the other libraries.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ceilings
import report
from peers import MODULES
from results import Results, assemble
from tasks import Cell, all_cells, quick_cells, select
from timing import QUICK, Settings
from worker import environment

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
OUTPUTS = ("json", "markdown", "png")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="what cells have to fit")
    parser.add_argument("--peers", default=",".join(MODULES), help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help="exit with status 1 where a bar is missed")
    parser.add_argument("--quick", action="store_true", help="a smoke run in less than a minute")
    parser.add_argument("--list", action="store_true", help="name the cells, measure nothing")
    for kind in OUTPUTS:
        parser.add_argument(f"--{kind}", type=Path, metavar="PATH", help="default of a whole run: beside the others")
    return parser.parse_args()


class Run:
    """Starts the workers and gathers what they say."""

    def __init__(self, cells: list[Cell], peers: list[str], settings: Settings) -> None:
        self.cells = cells
        self.peers = peers
        self.settings = settings
        self.answers: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self.able: dict[str, set[str]] = defaultdict(set)
        self.results = Results([], machine(), {}, {}, {}, {})

    def measure(self) -> Results:
        start = time.perf_counter()
        self._measure_ceilings()
        for peer, threads, cells in self._jobs():
            before = time.perf_counter()
            self._job(peer, threads, cells)
            say(f"{peer}, {threads} thread(s): {len(cells)} cells in {time.perf_counter() - before:.0f} s")
        # A core that was busy elsewhere made a ceiling half as high as it is: the best of two occasions counts.
        self._measure_ceilings()
        assemble(self.cells, self.answers, self.able, self.results)
        self.results.seconds = time.perf_counter() - start
        return self.results

    def _measure_ceilings(self) -> None:
        if ceilings.X86 and not self.results.has_v4:
            return
        for threads in sorted({cell.threads for cell in self.cells}):
            try:
                measured = ceilings.measured(threads, self.settings.ceiling)
            except (OSError, subprocess.CalledProcessError) as error:
                self.results.failed["ceilings"] = f"the C compiler: {error}"
            else:
                before = self.results.ceilings.get(str(threads), measured)
                self.results.ceilings[str(threads)] = ceilings.best(before, measured)

    def _jobs(self) -> Iterator[tuple[str, int, list[Cell]]]:
        """Cells of one shape follow each other, as their inputs are the same."""
        cells = sorted(self.cells, key=lambda cell: (cell.dtype, cell.shape, cell.axis))
        for peer in self.peers:
            own = [cell for cell in cells if bool(cell.against) == (peer == "kullback")]
            for threads in sorted({cell.threads for cell in own}) if peer != "kullback" else [2]:
                chosen = own if peer == "kullback" else [cell for cell in own if cell.threads == threads]
                if chosen:
                    yield peer, threads, chosen

    def _job(self, peer: str, threads: int, cells: list[Cell]) -> None:
        """Runs a worker; one that died goes on, in a new process, after the cell that it died of."""
        while cells and peer not in self.results.missing:
            last, death = self._worker(peer, threads, cells)
            if not death:
                return
            self.results.failed[f"{last or 'the beginning'}, {peer}"] = death
            names = [cell.name for cell in cells]
            cells = cells[names.index(last) + 1 :] if last else []

    def _worker(self, peer: str, threads: int, cells: list[Cell]) -> tuple[str, str]:
        """The name of the cell that was begun last, and what the process died of, if it did."""
        job = {
            "peer": peer,
            "threads": threads,
            "settings": asdict(self.settings),
            "cells": [cell.to_json() for cell in cells],
        }
        last = ""
        command = [sys.executable, str(HERE / "worker.py")]
        with tempfile.TemporaryFile("w+") as written, tempfile.TemporaryFile("w+") as errors:
            json.dump(job, written)
            written.seek(0)
            pipes: dict[str, Any] = {"stdin": written, "stdout": subprocess.PIPE, "stderr": errors}
            with subprocess.Popen(command, env={**os.environ, **environment(threads)}, text=True, **pipes) as worker:
                for line in worker.stdout or ():
                    answer = json.loads(line)
                    last = answer.get("begun", last)
                    self._take(peer, answer)
            errors.seek(0)
            said = errors.read().strip().splitlines()[-1:] or ["nothing said"]
        code = worker.returncode
        return last, f"the process ended with status {code}: {said[0]}" if code else ""

    def _take(self, peer: str, answer: dict[str, Any]) -> None:
        if "missing" in answer:
            self.results.missing[peer] = answer["missing"]
            say(f"{peer} is missing: {answer['missing']}")
        if "versions" in answer:
            self.results.versions.update(answer["versions"])
        if "cell" not in answer:
            return
        name = answer["cell"]
        self.able[name].add(peer)
        if "failed" in answer:
            self.results.failed[f"{name}, {peer}"] = answer["failed"]
        else:
            self.answers[name][peer] = answer["result"]
            say(f"  {name}: {progress(answer['result'])}")


def progress(result: dict[str, Any]) -> str:
    ratio = sorted(result["ratios"])[len(result["ratios"]) // 2]
    error = "" if result["error"] is None else f", error {result['error']:.1e}"
    return f"{report.time_text(min(result['ours']))}, ratio {ratio:.2f}{error}"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    import kullback as kb

    model = "unknown CPU"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else platform.machine()
    info = kb.runtime.info()
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cache": ceilings.last_level_cache(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "kullback": f"{info['version']} ({info['compiler']}, {info['openmp']})",
        "targets": info["targets"],
        "date": time.strftime("%Y-%m-%d"),
        "load": os.getloadavg()[0],
    }


def default_paths(results: Results) -> dict[str, Path]:
    """Where a whole run goes: CPUs without the target that the bars are for have pages of their own."""
    stem = "performance" if results.has_v4 else f"performance-{results.target}"
    return {"json": HERE / "results.json", "markdown": DOCS / f"{stem}.md", "png": DOCS / f"{stem}.png"}


def write(results: Results, paths: dict[str, Path]) -> None:
    """The files that were asked for; a relative link leads from the text to the picture."""
    if "json" in paths:
        paths["json"].write_text(json.dumps(results.to_json(), indent=1) + "\n")
    picture = None
    if "png" in paths:
        import plots

        plots.draw(results, paths["png"])
        if "markdown" in paths:
            picture = os.path.relpath(paths["png"], paths["markdown"].parent)
    text = report.markdown(results, picture)
    if "markdown" in paths:
        paths["markdown"].parent.mkdir(parents=True, exist_ok=True)
        paths["markdown"].write_text(text)
    else:
        print(text)


def main() -> int:
    options = arguments()
    whole = not options.words and not options.quick
    cells = select(quick_cells() if options.quick and not options.words else all_cells(), options.words)
    if options.list or not cells:
        print("\n".join(cell.name for cell in cells) or "no cell fits")
        return int(not cells)
    run = Run(cells, options.peers.split(","), QUICK if options.quick else Settings())
    run.results.whole = whole
    results = run.measure()
    paths = default_paths(results) if whole else {}
    paths.update({kind: path for kind in OUTPUTS if (path := getattr(options, kind))})
    write(results, paths)
    missed = results.missed()
    say("\n".join(["", f"{len(missed)} bars missed", *missed]))
    incomplete = bool(missed or results.missing or results.failed)
    return int(options.check and incomplete)


if __name__ == "__main__":
    sys.exit(main())
