"""The libraries that kullback is compared with, one module each.

A peer is a subclass of `Peer`. Its methods, found by the name of a task, take the inputs and return the call that is
timed; what else is needed (compilation, conversion, output arrays) has to be done before.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from tasks import Array, Cell

Call = Callable[[], Any]
Maker = Callable[[Any, Any], Call]

MODULES = {
    "torch": "torch_peer",
    "jax": "jax_peer",
    "onnxruntime": "onnx_peer",
    "sklearn": "sklearn_peer",
    "numba": "numba_peer",
    "numkong": "numkong_peer",
    "scipy": "scipy_peer",
    "numpy": "numpy_peer",
    "kullback": "kullback_peer",
}


class Peer:
    """A library: FRESH and OUT hold what it can do, by task; `makers` fills them."""

    packages: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[dict[tuple[str, str], Maker]] = {}
    own_threads = True  # whether calls are served by a pool of threads that is not kullback's
    spins = 10e-3  # seconds for which the pool spins after a call, as measured; libgomp's

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def convert(self, array: Array) -> Any:
        """The array as the library takes it; without a copy in the calls that are timed."""
        return array

    def to_numpy(self, result: Any) -> Array:
        return np.asarray(result)

    def context(self, cell: Cell) -> AbstractContextManager[Any]:
        return nullcontext()

    def arguments(self, cell: Cell, arrays: dict[str, Array], out: Array | None) -> SimpleNamespace:
        converted = {name: self.convert(array) for name, array in arrays.items()}
        converted_out = None if out is None else self.convert(out)
        return SimpleNamespace(**converted, out=converted_out, axis=cell.axis, cell=cell, rows=cell.rows)

    def can(self, cell: Cell) -> bool:
        return (cell.task, cell.output) in self.tasks

    def call(self, cell: Cell, arrays: dict[str, Array], out: Array | None) -> Call:
        return self.tasks[cell.task, cell.output](self, self.arguments(cell, arrays, out))


class Rows(Peer):
    """A library that knows matrices and their rows alone."""

    def can(self, cell: Cell) -> bool:
        return super().can(cell) and len(cell.shape) == 2 and cell.axis == -1


def does(tasks: dict[tuple[str, str], Maker], *names: str, output: str = "fresh") -> Callable[[Maker], Maker]:
    """Registers a function for tasks."""

    def register(maker: Maker) -> Maker:
        tasks.update({(name, output): maker for name in names})
        return maker

    return register


def load(name: str, threads: int) -> Peer:
    """The peer, imported in this process; ImportError where it is missing."""
    module = importlib.import_module(f"peers.{MODULES[name]}")
    peer: Peer = module.THE_PEER(threads)
    return peer
