"""The promise: exp, log, log1p and expm1 of the core are good to 1 ULP everywhere, and treat special numbers well.

tests/long/run checks all float32 numbers and many more of float64; here are samples and the hard cases.
"""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeAlias

import mpmath
import numpy as np
import numpy.typing as npt
import pytest

from kullback import _core
from kullback.testing import BOUNDS, ulp_error

Float: TypeAlias = type[np.float32] | type[np.float64]
Array: TypeAlias = npt.NDArray[Any]

INF, NAN = math.inf, math.nan
FUNCTIONS = [name for name, kind in _core.kernels() if kind == "pack"]
COEFFICIENTS = Path(__file__).parents[1] / "cpp" / "simd" / "coefficients.py"

both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])
every_function = pytest.mark.parametrize("function", FUNCTIONS)

mp = mpmath.MPContext()
mp.dps = 60


def exact(function: str, x: float) -> Any:
    below = {"log": 0, "log1p": -1}.get(function, -INF)
    if x < below or x != x:
        return mp.nan
    if x == below:
        return -mp.inf
    if function in ("exp", "expm1"):
        x = min(max(x, -2000.0), 2000.0)  # far beyond any format, and mpmath would compute every digit
    return getattr(mp, function)(mp.mpf(x))


def bits(x: Array) -> Array:
    return x.view(np.uint32 if x.dtype == np.float32 else np.uint64)


def neighbours(points: Any, dtype: Float, reach: int) -> Array:
    """Each point between the numbers around it, in rising order."""
    columns = [np.asarray(points, dtype=dtype)]
    for _ in range(reach):
        columns.insert(0, np.nextafter(columns[0], dtype(-INF)))
        columns.append(np.nextafter(columns[-1], dtype(INF)))
    return np.stack(columns, axis=-1)


def thresholds(dtype: Float) -> Array:
    """Where results over- or underflow, and where the algorithms change branch."""
    info = np.finfo(dtype)
    least = float(info.smallest_subnormal)
    tiny = 2.0 ** (-2 * info.nmant - 4)  # log1p's, below which it is x
    # Half multiples of ln 2 are where exp changes the exponent, 3/4 and 3/2 where log does.
    ln2 = math.log(2) / 2 * np.arange(-2 * (info.nmant - info.minexp) - 4, 2 * info.maxexp + 4)
    points = [math.log(info.max), math.log(info.tiny), math.log(least), math.log(least) - math.log(2)]
    points += [-info.nmant, -(info.nmant + 1) * math.log(2), info.tiny, least, -info.tiny, tiny, -tiny, 1.0, -1.0]
    points += [0.5 + k / 4 for k in range(12)] + [k / 8 - 1 for k in range(1, 24)]
    return np.concatenate([points, ln2]).astype(dtype)


def hard_cases(dtype: Float) -> Array:
    info = np.finfo(dtype)
    powers = np.ldexp(dtype(1), np.arange(info.minexp - info.nmant, info.maxexp))
    limits = np.array([info.max, -info.max], dtype)
    both_signs = neighbours(np.concatenate([powers, -powers]), dtype, 1)
    return np.concatenate([limits, both_signs.ravel(), neighbours(thresholds(dtype), dtype, 2).ravel()])


def random_numbers(dtype: Float) -> Array:
    rng = np.random.default_rng(29)
    n, info = 3000, np.finfo(dtype)
    words = rng.integers(0, 1 << info.bits, n, dtype=np.uint64)
    everywhere = words.astype(np.uint32 if dtype is np.float32 else np.uint64).view(dtype)
    everywhere = everywhere[np.isfinite(everywhere)]
    near_one = 1 + rng.choice([-1, 1], n) * 10 ** rng.uniform(np.log10(info.eps), 0, n)
    near_zero = rng.choice([-1, 1], n) * 10 ** rng.uniform(-20, 0, n)
    moderate = rng.uniform(math.log(info.smallest_subnormal) - 1, math.log(info.max) + 1, n)
    subnormal = rng.integers(1, 1 << info.nmant, 300) * info.smallest_subnormal
    return np.concatenate([everywhere, *(x.astype(dtype) for x in (near_one, near_zero, moderate, subnormal))])


@both_types
@pytest.mark.parametrize("numbers", ["hard cases", "random"])
@every_function
def test_errors(function: str, numbers: str, dtype: Float) -> None:
    x = hard_cases(dtype) if numbers == "hard cases" else random_numbers(dtype)
    got = getattr(_core, function)(x)
    assert got.dtype == dtype
    assert got.shape == x.shape
    errors = ulp_error(got, [exact(function, v) for v in x.tolist()])
    worst = int(np.argmax(errors))
    assert errors[worst] <= BOUNDS["pack"], f"{errors[worst]:.4g} ULP: {function}({x[worst]!r}) = {got[worst]!r}"


SPECIAL = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (1e4, INF), (-1e4, 0.0)],
    "log": [(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (-1.0, NAN), (-1e-45, NAN)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (INF, INF), (-INF, NAN), (-1.5, NAN), (-2.0, NAN)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1.0), (1e4, INF), (-1e4, -1.0)],
}


@both_types
@every_function
def test_special_numbers(function: str, dtype: Float) -> None:
    x, want = np.array([*SPECIAL[function], (NAN, NAN)], dtype).T
    got = getattr(_core, function)(x)
    np.testing.assert_array_equal(got, want)
    zeros = want == 0
    np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(want[zeros]), err_msg=f"signs at {x[zeros]}")


@both_types
@every_function
def test_monotone_around_thresholds(function: str, dtype: Float) -> None:
    x = neighbours(thresholds(dtype), dtype, 32)
    if function.startswith("log"):
        x = x[x[:, 0] > (0 if function == "log" else -1)]
    y = getattr(_core, function)(x)
    falls = np.argwhere(y[:, 1:] < y[:, :-1])
    assert not falls.size, f"{function} falls after {[x[tuple(at)] for at in falls[:5]]}"


@both_types
@every_function
def test_partial_packs_equal_full_ones(function: str, dtype: Float) -> None:
    x = np.random.default_rng(31).lognormal(0, 2, 128).astype(dtype)
    whole = bits(getattr(_core, function)(x))
    for n in range(71):
        np.testing.assert_array_equal(bits(getattr(_core, function)(x[:n])), whole[:n], err_msg=f"length {n}")
        np.testing.assert_array_equal(bits(getattr(_core, function)(x[-n - 1 :])), whole[-n - 1 :])


def test_coefficients_are_those_that_the_script_finds() -> None:
    check = subprocess.run([sys.executable, COEFFICIENTS, "--check"], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout + check.stderr
