"""What runs: the instruction set, the number of threads.

Settings hold for the calling thread, inside a ``with`` block. Those of the process are read when kullback is
imported: ``KULLBACK_TARGET`` and ``KULLBACK_NUM_THREADS``, beside OpenMP's own ``OMP_NUM_THREADS``. No setting
changes any bit of a result.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, TypeVar

from . import _core

__all__ = ["info", "target", "threads"]

_T = TypeVar("_T")


class _Setting(Generic[_T]):
    """Sets a value for the calling thread on entry and the former one on exit; may be entered again."""

    def __init__(self, swap: Callable[[_T], _T], value: _T) -> None:
        self._swap = swap
        self._value = value
        self._former: list[_T] = []

    def __enter__(self) -> None:
        self._former.append(self._swap(self._value))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._swap(self._former.pop())


def info() -> dict[str, Any]:
    """What this process runs on.

    Returns
    -------
    dict
        ``version``; ``targets``, the instruction sets this CPU can run, fastest first; ``target``, the one in
        use; ``threads``, how many a large call from this thread uses at most; ``openmp``, the OpenMP runtime
        or "none"; ``compiler``.

    Examples
    --------
    >>> import kullback as kb
    >>> kb.runtime.info()["target"] in kb.runtime.info()["targets"]
    True
    """
    return _core.info()


def target(name: str) -> _Setting[str | None]:
    """Run on a given instruction set, inside a ``with`` block and for this thread.

    Parameters
    ----------
    name : str
        One of ``info()["targets"]``: "x86-64-v4", "x86-64-v3", "aarch64" or "baseline".

    Returns
    -------
    context manager

    Raises
    ------
    ValueError
        If this CPU cannot run it.

    Examples
    --------
    >>> import kullback as kb
    >>> with kb.runtime.target("baseline"):
    ...     kb.runtime.info()["target"]
    'baseline'
    """
    targets = _core.info()["targets"]
    if name not in targets:
        raise ValueError(f"target {name!r} cannot run here; expected one of {', '.join(targets)}")
    return _Setting(_core.swap_target, name)


def threads(n: int) -> _Setting[int]:
    """Use at most `n` threads, inside a ``with`` block and for calls from this thread.

    OpenMP's limit (``OMP_NUM_THREADS``) holds as well. Calls of fewer than 2^16 elements use one thread anyhow, and
    so do those of fewer than 2^18 if this thread had no call of 2^16 or more in the millisecond before: threads
    sleep then, and waking them takes as long as the work. A forked child always computes serially.

    Parameters
    ----------
    n : int
        At least 1.

    Returns
    -------
    context manager

    Raises
    ------
    ValueError
        If `n` is less than 1.

    Examples
    --------
    >>> import kullback as kb
    >>> with kb.runtime.threads(1):
    ...     kb.runtime.info()["threads"]
    1
    """
    number = operator.index(n)
    if not 1 <= number < 1 << 16:
        raise ValueError(f"threads: expected a number from 1 to 65535, got {n!r}")
    return _Setting(_core.swap_threads, number)
