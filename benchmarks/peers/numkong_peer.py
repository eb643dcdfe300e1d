"""NumKong: divergences of rows, in AVX-512, with logarithms of few digits; one thread, whatever is asked for."""

from __future__ import annotations

from typing import Any

import numkong
import numpy as np

from peers import Call, Maker, Rows, does

TASKS: dict[tuple[str, str], Maker] = {}


class NumKong(Rows):
    packages = ("numkong",)
    tasks = TASKS
    own_threads = False


THE_PEER = NumKong


@does(TASKS, "kl_divergence")
def kl_divergence(peer: Any, a: Any) -> Call:
    return lambda: numkong.kullbackleibler(a.p, a.q)


@does(TASKS, "js_divergence")
def js_divergence(peer: Any, a: Any) -> Call:
    return lambda: np.square(np.asarray(numkong.jensenshannon(a.p, a.q)))
