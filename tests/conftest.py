"""What several test files share: the tables of measures, dtypes and targets to run over, and inputs for them."""

from __future__ import annotations

import os

# Before OpenMP starts: 3 and 8 threads are to be had on a machine with two cores, too.
os.environ.setdefault("OMP_NUM_THREADS", "8")

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import kullback
from kullback import _core, runtime


class Measure(NamedTuple):
    """A public function, as one line of kernels.def has it."""

    name: str
    kind: str

    @property
    def reduces(self) -> bool:
        return self.kind.startswith("sum")

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("p", "q")[: int(self.kind[-1])]

    def __call__(self, *arrays: Any, **options: Any) -> Any:
        return getattr(kullback, self.name)(*arrays, **options)


MEASURES = [Measure(name, kind) for name, kind in _core.kernels() if kind != "pack"]


def name_of(measure: Measure) -> str:
    return measure.name


@pytest.fixture(scope="session", params=MEASURES, ids=name_of)
def measure(request: pytest.FixtureRequest) -> Measure:
    return request.param


@pytest.fixture(scope="session", params=[m for m in MEASURES if m.reduces], ids=name_of)
def reduction(request: pytest.FixtureRequest) -> Measure:
    return request.param


@pytest.fixture(scope="session", params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> np.dtype[Any]:
    return np.dtype(request.param)


@pytest.fixture(scope="session", params=runtime.info()["targets"])
def target(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def inputs() -> Callable[..., list[np.ndarray]]:
    """Arrays of probabilities for a measure, a few zeros, ones and subnormal numbers among them."""

    def make(measure: Measure, dtype: Any, shape: int | tuple[int, ...], seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        arrays = []
        for _ in measure.inputs:
            p = rng.random(shape).astype(dtype)
            odd = rng.integers(0, 200, shape)
            p[odd == 0] = np.finfo(dtype).smallest_subnormal
            p[odd == 1] = 1
            p[odd == 2] = 0
            arrays.append(p)
        # Zeros of the model stand only where those of the reference do, or few sums were finite.
        arrays[-1][(arrays[-1] == 0) & (arrays[0] != 0)] = 0.25
        return arrays

    return make


@pytest.fixture(scope="session")
def same_bits() -> Callable[[Any, Any], bool]:
    """Equality of dtype, shape and bits. NaN equals NaN: its sign and payload are not promised."""

    def same(a: Any, b: Any) -> bool:
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        bits = np.dtype(f"u{a.dtype.itemsize}")
        a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
        return bool(np.all((a.view(bits) == b.view(bits)) | (np.isnan(a) & np.isnan(b))))

    return same
