"""The promise: large results have the bits of small ones, wherever they are put."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kullback as kb
from kullback import runtime

# More than what is worked on together, or stays in a core's cache.
ENOUGH = 2**24 // 4
# Whole lines and parts of them; rows of one block, of a block and a bit, and of many.
LENGTHS = [512, 1000, 1003, 4097, 50_257]
# Where in a line of 16 numbers the results begin.
OFFSETS = [0, 4, 7]

Logits = tuple[np.ndarray, np.ndarray]

pytestmark = pytest.mark.usefixtures("many_threads")


@pytest.fixture(scope="module", params=LENGTHS)
def logits(request: pytest.FixtureRequest) -> Logits:
    """Logits, among them rows that have no softmax or a sure one and such as are too extreme, and a class of each."""
    n = request.param
    rng = np.random.default_rng(n)
    # More rows than 64 times anything: the last of those that are worked on together are fewer.
    z = rng.standard_normal((ENOUGH // n + 67, n), np.float32) * 4
    z[1, 2] = 90
    z[2, 3] = np.inf
    z[3, :5] = -np.inf
    z[len(z) // 3, 0] = np.nan
    z[len(z) // 2] = 500
    z[-5:-3] = -200
    return z, rng.integers(0, n, len(z))


def by_pieces(function: Callable[..., np.ndarray], *arrays: np.ndarray, **options: Any) -> np.ndarray:
    """The same, of so few rows at a time that their results are small."""
    rows = ENOUGH // 2 // arrays[-1].shape[1]
    starts = range(0, len(arrays[-1]), rows)
    return np.concatenate([function(*(a[i : i + rows] for a in arrays), **options) for i in starts])


def place(shape: tuple[int, ...], offset: int, gap: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An array that begins that far into a line, with gaps between its rows, and all the memory around it."""
    rows, n = shape
    memory = np.full(rows * (n + gap) + 64, 7, np.float32)
    start = (-memory.ctypes.data // 4 + offset) % 16 + 16
    out = memory[start : start + rows * (n + gap)].reshape(rows, n + gap)[:, :n]
    assert out.ctypes.data // 4 % 16 == offset
    return out, memory


def nothing_else_is_written(out: np.ndarray, memory: np.ndarray) -> bool:
    out[...] = 7
    return bool((memory == 7).all())


@pytest.mark.parametrize("function", [kb.softmax, kb.log_softmax])
def test_values(
    function: Callable[..., np.ndarray],
    logits: Logits,
    target: str,
    same_bits: Callable[[Any, Any], bool],
) -> None:
    z, _ = logits
    with runtime.target(target):
        want = by_pieces(function, z)
        for threads in [1, 3]:
            with runtime.threads(threads):
                assert same_bits(function(z), want)
                for offset in OFFSETS:
                    out, memory = place(z.shape, offset)
                    assert same_bits(function(z, out=out), want), offset
                    assert nothing_else_is_written(out, memory), offset
        out, memory = place(z.shape, 5, gap=3)
        assert same_bits(function(z, out=out), want)
        assert nothing_else_is_written(out, memory)
        unaligned = np.empty(z.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(z.shape)
        assert same_bits(function(z, out=unaligned), want)
        out, _ = place(z.shape, 3)
        assert same_bits(function(z[::-1], out=out[::-1]), want[::-1])
        in_place = z.copy()
        assert same_bits(function(in_place, out=in_place), want)
        # A row on, and turned over: results are where other rows are still to be read.
        rows = np.concatenate([z, z[:1]])
        assert same_bits(function(rows[:-1], out=rows[1:]), want)
        turned = z.copy()
        assert same_bits(function(turned[::-1], out=turned), want[::-1])


@pytest.mark.parametrize("reduction", [None, "sum", "mean"])
def test_gradients(reduction: str | None, logits: Logits, target: str, same_bits: Callable[[Any, Any], bool]) -> None:
    z, labels = logits
    # A power of two of rows count, so that a mean is a sum divided without an error.
    count = 2 ** (len(z).bit_length() - 1)
    ignored = np.random.default_rng(0).permutation(len(z))[count:]
    labels = labels.copy()
    labels[ignored] = -100
    function, both = (namespace.categorical_cross_entropy_from_logits for namespace in (kb.grad, kb.value_and_grad))
    share = 1 / count if reduction == "mean" else 1
    with runtime.target(target):
        want = by_pieces(function, labels, z, reduction="sum", ignore_index=-100, grad_output=share)
        for threads in [1, 3]:
            with runtime.threads(threads):
                for offset in OFFSETS:
                    out, memory = place(z.shape, offset)
                    assert same_bits(function(labels, z, reduction=reduction, ignore_index=-100, out=out), want), offset
                    assert nothing_else_is_written(out, memory), offset
                assert same_bits(both(labels, z, reduction=reduction, ignore_index=-100)[1], want)


def test_gradients_of_weighted_rows(logits: Logits, target: str, same_bits: Callable[[Any, Any], bool]) -> None:
    z, labels = logits
    weight = np.linspace(0, 3, len(z), dtype=np.float32)
    function = kb.grad.categorical_cross_entropy_from_logits
    some = slice(None, None, max(1, len(z) // 50))
    with runtime.target(target):
        want = function(labels[some], z[some], sample_weight=weight[some])
        assert same_bits(function(labels, z, sample_weight=weight)[some], want)
