"""What is measured: the tasks with their inputs and outputs, and the cells of the table.

A task is a function of kullback, and after a dot the form in which it is called: ``softmax``,
``categorical_cross_entropy_from_logits.value_and_grad``. A cell is a task at a shape, dtype, number of threads and
target, with a fresh output or into ``out``. Its name has these six in this order, and words select cells by them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Task:
    """The names of its inputs (see inputs.py), and what comes out.

    `output` is "rows" (one number per row), "scalar", "array" (of the shape of the inputs), "both" (a scalar and an
    array) or "tokens".
    """

    inputs: tuple[str, ...]
    output: str = "rows"

    @property
    def has_array(self) -> bool:
        return self.output in ("array", "both")


CE = "categorical_cross_entropy_from_logits"
BCE = "binary_cross_entropy"
BCE_LOGITS = "binary_cross_entropy_from_logits"

TASKS = {
    "entropy": Task(("p",)),
    "cross_entropy": Task(("p", "q")),
    "kl_divergence": Task(("p", "q")),
    "js_divergence": Task(("p", "q")),
    "logsumexp": Task(("z",)),
    "entropy_from_logits": Task(("z",)),
    "kl_divergence_from_logits": Task(("z", "z2")),
    "softmax": Task(("z",), "array"),
    "log_softmax": Task(("z",), "array"),
    "token_logprobs": Task(("z", "tokens"), "tokens"),
    f"{CE}.mean": Task(("labels", "z"), "scalar"),
    f"{CE}.soft_mean": Task(("p", "z"), "scalar"),
    f"{CE}.grad": Task(("labels", "z"), "array"),
    f"{CE}.value_and_grad": Task(("labels", "z"), "both"),
    BCE: Task(("truth", "chance"), "array"),
    f"{BCE}.mean": Task(("truth", "chance"), "scalar"),
    BCE_LOGITS: Task(("truth", "z"), "array"),
    f"{BCE_LOGITS}.mean": Task(("truth", "z"), "scalar"),
    f"{BCE_LOGITS}.value_and_grad": Task(("truth", "z"), "both"),
}
ELEMENTWISE = tuple(name for name in TASKS if name.startswith("binary"))


@dataclass(frozen=True)
class Cell:
    """One line of the table.

    `against` is empty for the peers, or names another way in which kullback runs: "threads=1", "target=v4",
    "last axis", "size=N".
    """

    task: str
    shape: Shape
    dtype: str = "float32"
    threads: int = 2
    target: str = "v4"
    output: str = "fresh"
    axis: int = -1
    against: str = ""

    @property
    def shape_name(self) -> str:
        name = "x".join(map(str, self.shape))
        return name if self.axis == -1 else f"{name}@{self.axis}"

    @property
    def fields(self) -> tuple[str, ...]:
        own = (self.task, self.shape_name, self.dtype, f"{self.threads}t", self.target, self.output)
        return (*own, f"against {self.against}") if self.against else own

    @property
    def name(self) -> str:
        return "/".join(self.fields)

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def rows(self) -> int:
        return self.elements // self.shape[self.axis]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(fields: dict[str, Any]) -> Cell:
        return Cell(**{**fields, "shape": tuple(fields["shape"])})


SMALL: tuple[Shape, ...] = ((1, 10), (32, 10))
MEDIUM: tuple[Shape, ...] = ((1, 1000), (1, 128256), (4096, 1000), (100000, 100), (1000000, 10))
LARGE: tuple[Shape, ...] = ((64, 128256), (512, 50257))
IMAGES: Shape = (16, 21, 256, 256)  # 21 classes per pixel, at axis 1
MASSES = (64, 128256)

IMAGE_TASKS = ("entropy", "softmax", "log_softmax", "logsumexp", f"{CE}.mean", f"{CE}.value_and_grad")
FLOAT64_SHAPES: tuple[Shape, ...] = ((32, 10), (1, 128256), MASSES, (4096, 1000), (1000000, 10))
ONE_THREAD_SHAPES: tuple[Shape, ...] = ((1, 128256), MASSES, (4096, 1000))
ONE_THREAD_TASKS = (
    "entropy", "kl_divergence", "logsumexp", "softmax", f"{CE}.mean", f"{CE}.value_and_grad", f"{BCE_LOGITS}.mean",
)  # fmt: skip
OTHER_AXES: tuple[tuple[int, Shape], ...] = ((0, (1000, 4096)), (0, (16000, 256)), (1, (64, 1000, 64)))
IN_CACHE: Shape = (64, 1000)  # 256 kB in float32, 512 kB in float64
QUICK_TASKS = ("entropy", "kl_divergence", "softmax", f"{CE}.mean", f"{CE}.value_and_grad", f"{BCE_LOGITS}.mean")
SWEEP = ("entropy", "logsumexp", "softmax")


def shapes_of(task: str, shapes: Iterable[Shape]) -> Iterator[Shape]:
    """An elementwise task knows no rows: of shapes with the same number of elements it takes one."""
    left_out = ((1000000, 10), (100000, 100), (512, 50257)) if task in ELEMENTWISE else ()
    yield from (shape for shape in shapes if shape not in left_out)


def outputs_of(task: str) -> tuple[str, ...]:
    return ("fresh", "out") if TASKS[task].has_array else ("fresh",)


def against_peers() -> Iterator[Cell]:
    """Float32 with two threads at every shape; float64 and one thread at those where they differ."""
    for task in TASKS:
        for shape in shapes_of(task, (*SMALL, *MEDIUM, *LARGE)):
            yield from (Cell(task, shape, output=output) for output in outputs_of(task))
        if task in IMAGE_TASKS:
            yield from (Cell(task, IMAGES, axis=1, output=output) for output in outputs_of(task))
    for task in TASKS:
        for shape in shapes_of(task, FLOAT64_SHAPES):
            yield Cell(task, shape, "float64", output=outputs_of(task)[-1])
    for task in ONE_THREAD_TASKS:
        for shape in ONE_THREAD_SHAPES:
            yield Cell(task, shape, threads=1, output=outputs_of(task)[-1])


def against_itself() -> Iterator[Cell]:
    """Two threads against one, v3 against v4, other axes against the last one."""
    for task in TASKS:
        output = outputs_of(task)[-1]
        for dtype in ("float32", "float64"):
            cell = Cell(task, (4096, 1000), dtype, output=output)
            yield replace(cell, against="threads=1")
            yield replace(cell, shape=IN_CACHE, threads=1, target="v3", against="target=v4")
            if task not in ELEMENTWISE and task != "token_logprobs":
                for axis, shape in OTHER_AXES:
                    yield replace(cell, axis=axis, shape=shape, against="last axis")
    yield from sizes()


def sizes() -> Iterator[Cell]:
    """Rows ten to the half as long as the one before: time is linear in size."""
    lengths = [round(10 ** (power / 2)) for power in range(8, 19)]
    for task in SWEEP:
        for former, length in itertools.pairwise(lengths):
            if length <= 10**8 or task == "entropy":
                yield Cell(task, (1, length), output=outputs_of(task)[-1], against=f"size={former}")
    for task in SWEEP:
        for edge in (2**10, 2**12, 2**14, 2**16, 2**18, 2**20):
            yield Cell(task, (1, edge + 1), threads=1, output=outputs_of(task)[-1], against=f"size={edge}")


def all_cells() -> list[Cell]:
    return [*against_peers(), *against_itself()]


def quick_cells() -> list[Cell]:
    """A few of each kind, small ones, for a smoke run."""
    peers = [c for c in against_peers() if c.task in QUICK_TASKS and c.shape in ((32, 10), (4096, 1000))]
    itself = [c for c in against_itself() if c.task in QUICK_TASKS and c.elements < 10**7 and c.dtype == "float32"]
    return [c for c in peers if c.dtype == "float32" and c.threads == 2] + itself[::4]


def select(cells: list[Cell], words: list[str]) -> list[Cell]:
    """Cells that every word fits: a glob over one field, or over the whole name; commas separate alternatives."""

    def fits(cell: Cell, word: str) -> bool:
        texts = (*cell.fields, cell.name)
        return any(fnmatchcase(text, choice) for text in texts for choice in word.split(","))

    return [cell for cell in cells if all(fits(cell, word) for word in words)]
