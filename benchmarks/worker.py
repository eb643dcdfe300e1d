"""One process: one peer, with its threads configured before it is imported. Started by run.py.

Reads a job from standard input, writes one line of JSON for each cell.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from tasks import Array, Cell

COMPARED = 1 << 20  # elements of a large result that are compared


def restrict(threads: int) -> None:
    """As many CPUs as threads: some libraries have pools that nothing else limits."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def environment(threads: int) -> dict[str, str]:
    """What libraries read when they are imported."""
    number = str(threads)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "KULLBACK_NUM_THREADS")
    single = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    flags = {"XLA_FLAGS": single} if threads == 1 else {}
    return {**dict.fromkeys(names, number), **flags, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"}


def parts(result: Any, to_numpy: Any) -> list[Array]:
    """The arrays of a result, flat, in float64; of a large one, elements by chance, always the same."""
    arrays = [np.asarray(to_numpy(r)).ravel() for r in (result if isinstance(result, tuple) else (result,))]
    return [thinned_out(a).astype(np.float64) for a in arrays]


def thinned_out(array: Array) -> Array:
    if array.size <= COMPARED:
        return array
    return array[np.random.default_rng(0).integers(0, array.size, COMPARED)]


def error_between(ours: list[Array], theirs: list[Array], differences: bool) -> float:
    """Largest difference, relative to the element or to the mean magnitude, whichever is larger.

    Gradients are `differences` of probabilities and labels: there, relative to the largest magnitude.
    """
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        if a.shape != b.shape:
            return float("inf")
        size = np.abs(a)
        scale = np.maximum(size, size.max() if differences else size.mean())
        worst = max(worst, float(np.max(np.abs(a - b) / np.where(scale == 0, 1, scale), initial=0.0)))
    return worst if worst == worst else float("inf")


class Worker:
    """Times the cells of a job."""

    def __init__(self, job: dict[str, Any]) -> None:
        # Imported here, as the process has to be configured before.
        import inputs
        import peers
        from timing import Settings

        self.peer = peers.load(job["peer"], job["threads"])
        self.ours = peers.load("kullback", job["threads"])
        self.inputs = inputs.Inputs()
        self.output_of = inputs.output_of
        self.settings = Settings(**job["settings"])

    def versions(self) -> dict[str, str]:
        found = {}
        for package in self.peer.packages:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                found[package] = "?"
        return found

    def reference(self, cell: Cell, arrays: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The cell and inputs that a cell is compared with: the same for a peer, another of kullback's else."""
        what, _, value = cell.against.partition("=")
        if what == "threads":
            return replace(cell, threads=int(value)), arrays
        if what == "target":
            return replace(cell, target=value), arrays
        if what == "size":
            length = int(value)
            return replace(cell, shape=(1, length)), {k: a[..., :length] for k, a in arrays.items()}
        if what == "last axis":
            moved = {k: a if a.ndim < len(cell.shape) else self._last(a, cell.axis) for k, a in arrays.items()}
            others = (n for i, n in enumerate(cell.shape) if i != cell.axis)
            shape = (*others, cell.shape[cell.axis])
            return replace(cell, axis=-1, shape=shape), moved
        return cell, arrays

    @staticmethod
    def _last(array: Array, axis: int) -> Array:
        return np.ascontiguousarray(np.moveaxis(array, axis, -1))

    def run(self, cell: Cell) -> dict[str, Any]:
        from timing import Side, measure

        arrays = self.inputs.of(cell)
        other, other_arrays = self.reference(cell, arrays)
        our_call = self.ours.call(cell, arrays, self.output_of(cell))
        their_call = self.peer.call(other, other_arrays, self.output_of(other))
        apart = self.peer.own_threads and cell.threads > 1
        ours = Side(our_call, partial(self.ours.context, cell), self.ours.spins if apart else 0)
        theirs = Side(their_call, partial(self.peer.context, other), self.peer.spins if apart else 0)
        with ours.context():
            expected = parts(our_call(), self.ours.to_numpy)
        with theirs.context():
            got = parts(their_call(), self.peer.to_numpy)
        pairs = measure(ours, theirs, self.settings)
        scale = cell.elements / other.elements
        return {
            "error": None if cell.against else error_between(expected, got, "grad" in cell.task),
            "ratios": [ratio * scale for ratio in pairs.ratios],
            "ours": pairs.ours,
            "theirs": [seconds * scale for seconds in pairs.theirs],
        }


def main() -> None:
    job = json.load(sys.stdin)
    restrict(job["threads"])

    def answer(**fields: Any) -> None:
        print(json.dumps(fields), flush=True)

    try:
        worker = Worker(job)
    except ImportError as error:
        answer(missing=str(error))
        return
    answer(versions=worker.versions())
    for fields in job["cells"]:
        cell = Cell.from_json(fields)
        if worker.peer.can(cell):
            answer(begun=cell.name)
            try:
                answer(cell=cell.name, result=worker.run(cell))
            except Exception as error:  # noqa: BLE001, whatever a peer raises is part of the result
                answer(cell=cell.name, failed=f"{type(error).__name__}: {error}"[:200])


if __name__ == "__main__":
    main()
