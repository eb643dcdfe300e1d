"""The figures of speed that the README states, measured: ``python benchmarks/figures.py [--check]``.

Times are compared as paired ratios, interleaved A B B A in one process; the median of the pairs is shown with its
quartiles. ``--check`` exits with status 1 where a figure misses its bar. The comparison with other libraries is a
separate benchmark.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

import kullback as kb


def seconds(call: Callable[[], object], repeat: int) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        call()
    return time.perf_counter() - start


def paired_ratio(ours: Callable[[], object], theirs: Callable[[], object], pairs: int = 15) -> tuple[float, str]:
    """Median of theirs / ours, and a line that shows it."""
    repeat = 1
    while seconds(ours, repeat) < 2e-4:
        repeat *= 2
    seconds(theirs, repeat)
    ratios, our_times, their_times = [], [], []
    for _ in range(pairs):
        a, b, c, d = (seconds(call, repeat) / repeat for call in (ours, theirs, theirs, ours))
        ratios.append((b + c) / (a + d))
        our_times.append(min(a, d))
        their_times.append(min(b, c))
    low, middle, high = statistics.quantiles(ratios, n=4)
    ours_us, theirs_us = min(our_times) * 1e6, min(their_times) * 1e6
    return middle, f"{middle:6.2f} times [{low:.2f}, {high:.2f}], best {ours_us:.2f} us against {theirs_us:.2f} us"


def ratio_after_pauses(z: np.ndarray) -> tuple[float, str]:
    """How many times as fast as one thread all are, in calls after which their threads fall asleep; medians."""
    times: dict[int, list[float]] = {1: [], kb.runtime.info()["threads"]: []}
    for _ in range(40):
        for threads, taken in times.items():
            with kb.runtime.threads(threads):
                time.sleep(0.02)
                taken.append(seconds(lambda: kb.logsumexp(z), 1))
    one, all_threads = (statistics.median(taken) for taken in (times[1], list(times.values())[-1]))
    return one / all_threads, f"{one / all_threads:6.2f} times, {all_threads * 1e6:.0f} us against {one * 1e6:.0f} us"


def import_time() -> float:
    """Milliseconds that `import kullback` takes after `import numpy`; the median of fresh processes."""
    code = "import time, numpy; t = time.perf_counter(); import kullback; print(time.perf_counter() - t)"
    runs = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(9)]
    return statistics.median(runs) * 1e3


def distributions(rows: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Random float32 rows of realistic spread: p sparse, q dense, neither with zeros, which NumPy cannot take."""
    rng = np.random.default_rng(0)
    p = np.maximum(rng.dirichlet(np.full(n, 0.3), rows), 1e-30).astype(np.float32)
    q = np.maximum(rng.dirichlet(np.ones(n), rows), 1e-12).astype(np.float32)
    return p, q


def main() -> int:
    parser = argparse.ArgumentParser(description="Figures of speed")
    parser.add_argument("--check", action="store_true", help="exit with status 1 where a bar is missed")
    check = parser.parse_args().check
    failed = 0

    def report(what: str, shown: str, met: bool, bar: str) -> None:
        nonlocal failed
        failed += not met
        print(f"{what:52} {shown}; bar {bar}: {'met' if met else 'MISSED'}")

    info = kb.runtime.info()
    print(f"kullback {info['version']}, {info['target']}, {info['threads']} threads, NumPy {np.__version__}")

    x = np.array([0.1, 0.2, 0.3, 0.05, 0.05, 0.1, 0.1, 0.1])
    ratio, shown = paired_ratio(lambda: kb.entropy(x), lambda: np.add.reduce(x), pairs=51)
    report("entropy of 8 float64 against np.add.reduce", shown, ratio >= 2, "2")

    p, q = distributions(64, 128256)
    ratio, shown = paired_ratio(lambda: kb.entropy(p), lambda: -(p * np.log(p)).sum(axis=-1))
    report("entropy, 64 x 128256 float32, against NumPy", shown, ratio >= 5, "5")
    ratio, shown = paired_ratio(lambda: kb.kl_divergence(p, q), lambda: (p * np.log(p / q)).sum(axis=-1))
    report("kl_divergence, the same", shown, ratio >= 5, "5")

    z = np.random.default_rng(0).standard_normal((1024, 1024), np.float32)
    for rows, bar in ((128, 0.67), (1024, 0.9)):
        ratio, shown = ratio_after_pauses(z[:rows])
        report(f"logsumexp, {rows} x 1024 after pauses, against 1 thread", shown, ratio >= bar, str(bar))

    columns = np.random.default_rng(0).random((2, 16000, 256), np.float32)
    same_rows = np.ascontiguousarray(columns.transpose(0, 2, 1))
    of_columns, of_rows = np.empty_like(columns[0]), np.empty_like(same_rows[0])
    ratio, shown = paired_ratio(
        lambda: kb.softmax(columns[0], axis=0, out=of_columns), lambda: kb.softmax(same_rows[0], axis=1, out=of_rows)
    )
    report("softmax, 16000 x 256 along axis 0, against the other", shown, ratio >= 0.35, "0.35")
    ratio, shown = paired_ratio(
        lambda: kb.cross_entropy(*columns, axis=0), lambda: kb.cross_entropy(*same_rows, axis=1)
    )
    report("cross_entropy, the same", shown, ratio >= 0.35, "0.35")

    milliseconds = import_time()
    report("import kullback after numpy", f"{milliseconds:6.2f} ms", milliseconds <= 15, "15 ms")
    return int(check and failed > 0)


if __name__ == "__main__":
    sys.exit(main())
