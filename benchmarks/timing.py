"""Times as paired ratios, interleaved A B B A.

A sample lasts long enough for the clock. Before the first of each side some calls go untimed, unless they are long
ones: they wake that side's threads (ours for the second of them), leave the caches as that side leaves them, and give
the cores, which may have been idle, the time to speed up. Pools of threads go on spinning after a call, for
milliseconds; where the two sides have pools of their own there is a pause between them, so that neither is timed
against the other's spinning threads.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

Call = Callable[[], Any]


@dataclass(frozen=True)
class Settings:
    """How long to measure, in seconds."""

    sample: float = 1e-3
    warming: float = 3e-3
    quadruples: int = 9
    fewest: int = 3  # six pairs: the least of which the order statistics give an interval of 95 %
    budget: float = 0.4  # no new quadruple after that long
    pauses: bool = True
    ceiling: float = 0.05  # each loop of ceilings.py, at least


QUICK = Settings(sample=2e-4, warming=2e-4, quadruples=3, budget=0.05, pauses=False, ceiling=0.005)


@dataclass(frozen=True)
class Side:
    """A call, the setting in which it runs, and for how many seconds its threads spin after it."""

    call: Call
    context: Callable[[], AbstractContextManager[Any]] = nullcontext
    spins: float = 0.0


@dataclass
class Pairs:
    """Seconds per call; ratios are theirs / ours, one for each neighbouring pair."""

    ratios: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    def add(self, ours: float, theirs: float) -> None:
        self.ratios.append(theirs / ours)
        self.ours.append(ours)
        self.theirs.append(theirs)


def seconds(call: Call, count: int) -> float:
    """Seconds that `count` calls take."""
    start = time.perf_counter()
    for _ in repeat(None, count):
        call()
    return time.perf_counter() - start


class Sampler:
    """Takes samples of a side, each of as many calls as last long enough."""

    def __init__(self, side: Side, settings: Settings) -> None:
        self._side, self._settings = side, settings
        sample = settings.sample
        with side.context():
            count, taken = 1, seconds(side.call, 1)
            if taken <= 10 * sample:  # or the call was slow because it was the first one, or woke threads
                taken = min(seconds(side.call, 1) for _ in range(3))
            while taken < sample:
                count = max(count + 1, min(count * 10, round(1.1 * sample * count / max(taken, 1e-9))))
                taken = seconds(side.call, count)
        self._count = count
        self._is_long = taken / count > 10 * sample

    def samples(self, number: int, pause: float) -> list[float]:
        """Seconds per call, of a number of samples in a row."""
        time.sleep(pause)
        with self._side.context():
            if not self._is_long:
                seconds(self._side.call, max(2, round(self._settings.warming / self._settings.sample * self._count)))
            return [seconds(self._side.call, self._count) / self._count for _ in range(number)]


@contextmanager
def quiet() -> Iterator[None]:
    """Without garbage collection."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def measure(ours: Side, theirs: Side, settings: Settings) -> Pairs:
    """Paired times."""
    pairs = Pairs()
    our_pause, their_pause = (theirs.spins, ours.spins) if settings.pauses else (0, 0)
    with quiet():
        our_sampler, their_sampler = Sampler(ours, settings), Sampler(theirs, settings)
        start = time.perf_counter()
        (before,) = our_sampler.samples(1, our_pause)
        for done in range(settings.quadruples):
            if done >= settings.fewest and time.perf_counter() - start > settings.budget:
                break
            first, second = their_sampler.samples(2, their_pause)
            after, following = our_sampler.samples(2, our_pause)
            pairs.add(before, first)
            pairs.add(after, second)
            before = following
    return pairs
