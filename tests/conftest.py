"""What several test files share: the tables of measures, dtypes and targets to run over, and inputs for them."""

from __future__ import annotations

import os

# Before OpenMP starts: 3 and 8 threads are to be had on a machine with two cores, too.
os.environ.setdefault("OMP_NUM_THREADS", "8")

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import kullback
from kullback import _core, runtime

# Tests run side by side: calls from the thread that runs them use one, unless a test is about threads and says so.
_core.swap_threads(1)

Shape = tuple[int, ...]

# What a function takes for an argument, by the argument's name. Labels of categorical losses may also be classes.
NUMBERS = {
    "p": "probabilities",
    "q": "probabilities",
    "z": "logits",
    "logits": "logits",
    "p_logits": "logits",
    "q_logits": "logits",
    "labels": "probabilities",
    "tokens": "classes",
}


class Measure(NamedTuple):
    """A public function, as one line of kernels.def has it. A loss that takes classes or distributions is two."""

    name: str
    kind: str
    takes_classes: bool = False

    def __str__(self) -> str:
        return f"{self.name}, {'classes' if self.takes_classes else 'soft'}" if self.is_categorical else self.name

    def __call__(self, *arrays: Any, **options: Any) -> Any:
        return getattr(kullback, self.name)(*arrays, **options)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the arguments that may be given by position."""
        return tuple(n for n, p in parameters(self.name).items() if p.kind is not p.KEYWORD_ONLY)

    @property
    def options(self) -> tuple[str, ...]:
        return tuple(n for n, p in parameters(self.name).items() if p.kind is p.KEYWORD_ONLY)

    @property
    def weights(self) -> tuple[str, ...]:
        """The options that are arrays."""
        return tuple(name for name in self.options if name.endswith("weight"))

    @property
    def numbers(self) -> tuple[str, ...]:
        """What each input holds: probabilities, logits or classes."""
        first = {"labels": "classes"} if self.takes_classes else {}
        return tuple((NUMBERS | first)[name] for name in self.inputs)

    @property
    def reals(self) -> list[int]:
        """The places of the inputs that are not classes."""
        return [i for i, numbers in enumerate(self.numbers) if numbers != "classes"]

    @property
    def of_logits(self) -> bool:
        return "logits" in self.numbers

    @property
    def reduces(self) -> bool:
        """Whether it makes one number of each distribution, along any axes."""
        return self.kind.startswith("sum")

    @property
    def by_rows(self) -> bool:
        """Whether a distribution, rather than a number, is what it works on."""
        return "axis" in self.options

    @property
    def is_categorical(self) -> bool:
        return self.kind == "categorical"

    @property
    def keeps_shape(self) -> bool:
        return self.kind in ("map1", "binary", "rowmap")

    def result_shape(self, shape: Shape) -> Shape:
        return shape if self.keeps_shape else shape[:-1]

    def filled(self, *values: Any) -> list[Any]:
        """Inputs of the given values in turn, with the first class wherever there are classes."""
        pairs = zip(self.numbers, itertools.cycle(values), strict=False)
        return [np.zeros(np.shape(v)[:-1], int) if numbers == "classes" else v for numbers, v in pairs]

    def arrays(self, dtype: Any, shape: int | Shape, seed: int = 0) -> list[np.ndarray]:
        """Inputs with distributions along the last axis; a few odd numbers among them, and among classes all."""
        rng = np.random.default_rng(seed)
        shape = (shape,) if isinstance(shape, int) else shape
        result = [SOME[numbers](rng, np.dtype(dtype), shape) for numbers in self.numbers]
        # Zeros of the model stand only where those of the reference do, or few sums were finite.
        if self.numbers == ("probabilities", "probabilities"):
            result[1][(result[1] == 0) & (result[0] != 0)] = 0.25
        if self.numbers == ("probabilities", "logits"):
            result[1][np.isinf(result[1]) & (result[0] != 0)] = 0.25
        if self.numbers == ("logits", "logits"):
            result[1][np.isinf(result[1]) & ~np.isinf(result[0])] = 0.25
        return result


class Gradient(NamedTuple):
    """A measure and the keywords that say by what to differentiate it."""

    measure: Measure
    way: dict[str, Any]

    def __str__(self) -> str:
        return ", ".join([str(self.measure), *(f"{key}={value}" for key, value in self.way.items())])

    def __call__(self, *arrays: Any, **options: Any) -> tuple[Any, ...]:
        """All gradients, also where there is but one."""
        result = getattr(kullback.grad, self.measure.name)(*arrays, **self.way, **options)
        return result if isinstance(result, tuple) else (result,)

    @property
    def places(self) -> list[int]:
        """For each of its results, which argument it is the gradient by."""
        if "hessian" in self.way:
            return [1, 1]
        wrt = self.way.get("wrt", self.measure.inputs[-1])
        return self.measure.reals if wrt == "both" else [self.measure.inputs.index(wrt)]


@functools.cache
def parameters(name: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(getattr(kullback, name)).parameters)


def some_probabilities(rng: np.random.Generator, dtype: np.dtype[Any], shape: Shape) -> np.ndarray:
    """Uniform numbers, a few zeros, ones and subnormal numbers among them."""
    p = np.asarray(rng.random(shape), dtype)
    odd = rng.integers(0, 200, shape)
    p[odd == 0] = np.finfo(dtype).smallest_subnormal
    p[odd == 1] = 1
    p[odd == 2] = 0
    return p


def some_logits(rng: np.random.Generator, dtype: np.dtype[Any], shape: Shape) -> np.ndarray:
    """Gaussian numbers, a few of them far below the others or at -inf."""
    z = np.asarray(3 * rng.standard_normal(shape), dtype)
    odd = rng.integers(0, 200, shape)
    z[odd == 0] = -np.inf
    z[odd == 1] -= 700
    z[odd == 2] -= 90
    return z


def some_classes(rng: np.random.Generator, dtype: np.dtype[Any], shape: Shape) -> np.ndarray:
    return rng.integers(0, max(shape[-1], 1), shape[:-1])


SOME: dict[str, Callable[[np.random.Generator, np.dtype[Any], Shape], np.ndarray]] = {
    "probabilities": some_probabilities,
    "logits": some_logits,
    "classes": some_classes,
}


def measures() -> list[Measure]:
    result = []
    for name, kind in _core.kernels():
        if kind == "categorical":
            result += [Measure(name, kind, True), Measure(name, kind)]
        elif kind != "pack":
            result.append(Measure(name, kind, kind == "tokens"))
    return result


def gradients() -> list[Gradient]:
    result = []
    for measure in measures():
        if measure.name not in kullback.grad.__all__:
            continue
        names = [measure.inputs[i] for i in measure.reals]
        ways: list[dict[str, Any]] = [{"wrt": name} for name in names] if len(measure.inputs) > 1 else [{}]
        ways += [{"wrt": "both"}] if len(names) > 1 else []
        if "hessian" in inspect.signature(getattr(kullback.grad, measure.name)).parameters:
            ways.append({"hessian": True})
        result += [Gradient(measure, way) for way in ways]
    return result


def measures_that(condition: Callable[[Measure], bool]) -> Any:
    chosen = [m for m in measures() if condition(m)]

    @pytest.fixture(scope="session", params=chosen, ids=str)
    def each(request: pytest.FixtureRequest) -> Measure:
        return request.param

    return each


measure = measures_that(lambda m: True)
reduction = measures_that(lambda m: m.reduces)
by_rows = measures_that(lambda m: m.by_rows)
one_axis = measures_that(lambda m: m.by_rows and not m.reduces)
any_axes = measures_that(lambda m: m.reduces or m.kind == "rowmap")
row_map = measures_that(lambda m: m.kind == "rowmap")
class_wise = measures_that(lambda m: m.kind in ("categorical", "tokens"))
broadcasting = measures_that(lambda m: m.kind not in ("categorical", "tokens"))
pair = measures_that(lambda m: m.kind in ("sum2", "binary"))
in_units = measures_that(lambda m: "base" in m.options)
loss = measures_that(lambda m: "reduction" in m.options)
categorical = measures_that(lambda m: m.is_categorical)
binary = measures_that(lambda m: m.kind == "binary")
differentiable = measures_that(lambda m: m.name in kullback.grad.__all__)


@pytest.fixture(scope="session", params=gradients(), ids=str)
def gradient(request: pytest.FixtureRequest) -> Gradient:
    return request.param


@pytest.fixture(scope="session", params=[g for g in gradients() if g.measure.by_rows], ids=str)
def row_gradient(request: pytest.FixtureRequest) -> Gradient:
    return request.param


@pytest.fixture(scope="session", params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> np.dtype[Any]:
    return np.dtype(request.param)


@pytest.fixture(scope="session", params=runtime.info()["targets"])
def target(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def many_threads() -> Iterator[None]:
    """Large calls use 8 threads: from 2^18 elements on, as they are worth waking threads for."""
    with runtime.threads(8):
        yield


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
