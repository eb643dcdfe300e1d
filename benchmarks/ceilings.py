"""What the machine can do at most, measured: bandwidth of reading and of copying, vector operations per second.

By the loops of ceilings.c, compiled for the widest registers, where the CPU has them; one Python thread per core calls
them, which ctypes does without the interpreter's lock. Of several runs the best counts, and of three ways to copy (a
loop, memcpy, stores past the cache) the best.
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tasks import Array

SOURCE = Path(__file__).with_name("ceilings.c")
X86 = platform.machine() == "x86_64"
VECTOR_BYTES = 64 if X86 else 16
ARCHITECTURE = "-march=x86-64-v4" if X86 else "-mcpu=native"
SIZES = [1 << power for power in (18, 20, 22, 24, 26, 28)]  # bytes of the array that is read, or of both of a copy
COPIES = ("copy_by_loop", "copy_by_memcpy", "copy_past_cache")
# Loops over registers: operations in a chain and round.
ROUNDS = {"multiply_add": 1, "mixed": 2, "divide": 1}


def compiled(folder: str) -> ctypes.CDLL:
    library = Path(folder) / "ceilings.so"
    flags = ("-O3", "-ffp-contract=fast", "-shared", "-fPIC", ARCHITECTURE, f"-DVECTOR_BYTES={VECTOR_BYTES}")
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, *flags, str(SOURCE), "-o", str(library)], check=True, capture_output=True)
    functions = ctypes.CDLL(str(library))
    for name in ("read_all", *COPIES, *ROUNDS):
        getattr(functions, name).restype = ctypes.c_double
    return functions


def aligned(size: int) -> Array:
    """`size` bytes of ones, at the beginning of a cache line."""
    memory = np.ones(size // 8 + 8)
    start = -(memory.ctypes.data // 8) % 8
    return memory[start : start + size // 8]


class Ceilings:
    """Runs the loops on a number of threads."""

    def __init__(self, threads: int, seconds: float) -> None:
        self._threads = threads
        self._seconds = seconds
        self._pool = ThreadPoolExecutor(threads)

    def _best(self, loops: list[Callable[[int], object]], amount: float) -> float:
        """Amount per second, all threads together; `loops` has one function of the number of repetitions for each."""

        def taken(times: int) -> float:
            start = time.perf_counter()
            list(self._pool.map(lambda loop: loop(times), loops))
            return time.perf_counter() - start

        times = 1
        while (once := taken(times)) < self._seconds:
            times = max(times + 1, min(times * 10, round(1.2 * times * self._seconds / max(once, 1e-7))))
        return max(amount * times / taken(times) for _ in range(5))

    def reading(self, functions: Any, size: int) -> float:
        parts = [aligned(size // self._threads // 512 * 512) for _ in range(self._threads)]

        def loop(part: Array) -> Callable[[int], object]:
            pointer, count = ctypes.c_void_p(part.ctypes.data), ctypes.c_size_t(part.size)
            return lambda times: functions.read_all(pointer, count, ctypes.c_size_t(times))

        return self._best([loop(part) for part in parts], sum(part.nbytes for part in parts))

    def copying(self, functions: Any, size: int) -> float:
        """Bytes read and written."""
        parts = [[aligned(size // 2 // self._threads // 512 * 512) for _ in "ab"] for _ in range(self._threads)]

        def loop(name: str, to: Array, source: Array) -> Callable[[int], object]:
            pointers = (ctypes.c_void_p(to.ctypes.data), ctypes.c_void_p(source.ctypes.data))
            count = ctypes.c_size_t(to.size)
            return lambda times: getattr(functions, name)(*pointers, count, ctypes.c_size_t(times))

        amount = sum(2 * to.nbytes for to, _ in parts)
        return max(self._best([loop(name, *part) for part in parts], amount) for name in COPIES)

    def operations(self, functions: Any, name: str) -> float:
        def loop(times: int) -> object:
            return getattr(functions, name)(ctypes.c_size_t(1000 * times))

        chains = ctypes.c_size_t.in_dll(functions, "chains").value
        operations = ROUNDS[name] * chains * VECTOR_BYTES // 8
        return self._best([loop] * self._threads, 1000 * operations * self._threads)


def measured(threads: int, seconds: float) -> dict[str, dict[str, float]]:
    """Of a number of threads: "read" and "copy", "operations".

    The first two in bytes per second, by size; operations on float64 lanes per second, by kind.
    """
    ceilings = Ceilings(threads, seconds)
    with tempfile.TemporaryDirectory() as folder:
        functions = compiled(folder)
        return {
            "read": {str(size): ceilings.reading(functions, size) for size in SIZES},
            "copy": {str(size): ceilings.copying(functions, size) for size in SIZES},
            "operations": {name: ceilings.operations(functions, name) for name in ROUNDS},
        }


def best(*occasions: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The highest of each ceiling."""
    return {
        kind: {name: max(one[kind][name] for one in occasions) for name in names}
        for kind, names in occasions[0].items()
    }


def last_level_cache() -> int:
    """Bytes, 32 MB where the system does not say."""
    sizes = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    return max((int(size[:-1]) << {"K": 10, "M": 20}[size[-1]] for size in sizes), default=32 << 20)
