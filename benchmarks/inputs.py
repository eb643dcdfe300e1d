"""Random inputs of realistic spread.

Logits are normal, and each row has its own scale from 0.5 to 8: some rows are nearly uniform, some confident.
Probabilities are the softmax of such logits, never below 1e-30, because NumPy and others cannot take zeros. Labels
follow the probabilities of their rows half of the time, as a model's do that has learnt something.
"""

from __future__ import annotations

import numpy as np

import kullback as kb
from tasks import TASKS, Array, Cell

TOKENS_PER_ROW = 8
SEEDS = {"z": 1, "z2": 2, "p": 3, "q": 4, "labels": 5, "truth": 6, "chance": 7, "tokens": 8}
DISTINCT = 1 << 24  # elements; longer rows repeat themselves


class Inputs:
    """The input arrays of a cell; those of the cell before are kept, as neighbours in the table share them."""

    def __init__(self) -> None:
        self._made: dict[tuple[object, ...], Array] = {}

    def of(self, cell: Cell) -> dict[str, Array]:
        keys = {name: (name, cell.shape, cell.axis, cell.dtype) for name in TASKS[cell.task].inputs}
        if not any(key[1:] == next(iter(keys.values()))[1:] for key in self._made):
            self._made.clear()
        for name, key in keys.items():
            if key not in self._made:
                self._made[key] = make(name, cell)
        return {name: self._made[key] for name, key in keys.items()}


def make(name: str, cell: Cell) -> Array:
    rng = np.random.default_rng([SEEDS[name], *cell.shape])
    if name in ("labels", "tokens"):
        return indices(name, cell, rng)
    if name == "truth":
        return (rng.random(cell.shape, np.float32) < 0.3).astype(cell.dtype)
    if name == "chance":
        z = logits(cell, rng)
        return np.asarray(kb.sigmoid(z, out=z))
    z = logits(cell, rng)
    if name in ("z", "z2"):
        return z
    kb.softmax(z, axis=cell.axis, out=z)
    return np.asarray(np.maximum(z, np.array(1e-30, cell.dtype), out=z))


def logits(cell: Cell, rng: np.random.Generator) -> Array:
    scales_shape = list(cell.shape)
    scales_shape[cell.axis] = 1
    scales = np.exp2(rng.uniform(-1, 3, scales_shape)).astype(cell.dtype)
    count = min(cell.elements, DISTINCT)
    z = rng.standard_normal(count, np.float32).astype(cell.dtype)
    if count < cell.elements:
        z = np.resize(z, cell.elements)
    z = z.reshape(cell.shape)
    z *= scales
    return z


def indices(name: str, cell: Cell, rng: np.random.Generator) -> Array:
    classes = cell.shape[cell.axis]
    if name == "tokens":
        return rng.integers(0, classes, (*cell.shape[:-1], TOKENS_PER_ROW))
    z = make("z", cell)
    chosen = np.asarray(z.argmax(cell.axis))
    return np.where(rng.random(chosen.shape) < 0.5, chosen, rng.integers(0, classes, chosen.shape))


def output_of(cell: Cell) -> Array | None:
    """An array to write to, touched before, where the cell asks for one."""
    return np.zeros(cell.shape, cell.dtype) if cell.output == "out" else None
