"""kullback itself: what is measured in every cell, and what it is compared with where a cell says so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any

import kullback as kb
from peers import Call, Maker, Peer
from tasks import BCE, BCE_LOGITS, CE, TASKS, Cell

TARGETS = {"v4": "x86-64-v4", "v3": "x86-64-v3"}

FUNCTIONS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    **{name: (getattr(kb, name), {}) for name in TASKS if "." not in name},
    f"{CE}.mean": (kb.categorical_cross_entropy_from_logits, {"reduction": "mean"}),
    f"{CE}.soft_mean": (kb.categorical_cross_entropy_from_logits, {"reduction": "mean"}),
    f"{CE}.grad": (kb.grad.categorical_cross_entropy_from_logits, {"reduction": "mean"}),
    f"{CE}.value_and_grad": (kb.value_and_grad.categorical_cross_entropy_from_logits, {"reduction": "mean"}),
    f"{BCE}.mean": (kb.binary_cross_entropy, {"reduction": "mean"}),
    f"{BCE_LOGITS}.mean": (kb.binary_cross_entropy_from_logits, {"reduction": "mean"}),
    f"{BCE_LOGITS}.value_and_grad": (kb.value_and_grad.binary_cross_entropy_from_logits, {"reduction": "mean"}),
}


def maker_of(task: str) -> Maker:
    function, fixed = FUNCTIONS[task]

    def maker(peer: Any, a: Any) -> Call:
        options = dict(fixed)
        if a.axis != -1:
            options["axis"] = a.axis
        if a.out is not None:
            options["out"] = (None, a.out) if TASKS[task].output == "both" else a.out
        return partial(function, *(getattr(a, name) for name in TASKS[task].inputs), **options)

    return maker


class Kullback(Peer):
    packages = ("kullback",)
    tasks = {(task, output): maker_of(task) for task in TASKS for output in ("fresh", "out")}  # noqa: RUF012
    own_threads = False

    def context(self, cell: Cell) -> AbstractContextManager[Any]:
        """The target and the threads of the cell."""
        stack = ExitStack()
        stack.enter_context(kb.runtime.threads(cell.threads))
        if TARGETS[cell.target] in kb.runtime.info()["targets"]:
            stack.enter_context(kb.runtime.target(TARGETS[cell.target]))
        elif cell.target != "v4":
            raise RuntimeError(f"this CPU has no {TARGETS[cell.target]}")
        return stack


THE_PEER = Kullback
