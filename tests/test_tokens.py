"""The promise: token_logprobs takes any number of tokens per row, and no function of labels makes a copy of its logits."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import kullback as kb


def some_logits(shape: Any, dtype: Any) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(shape)).astype(dtype)


def some_tokens(shape: Any, count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, count, shape)


def test_tokens_are_losses_of_the_other_sign(dtype):
    for shape in [(5,), (40, 1), (300, 17), (7, 4_097), (3, 4, 50)]:
        z, k = some_logits(shape, dtype), some_tokens(shape[:-1], shape[-1])
        assert np.array_equal(kb.token_logprobs(z, k), -kb.categorical_cross_entropy_from_logits(k, z))
        chosen = np.take_along_axis(kb.log_softmax(z), k[..., None], -1)[..., 0]
        # Both lie within 2 ULP.
        np.testing.assert_allclose(kb.token_logprobs(z, k), chosen, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("base", "z"),
    [(2, [66.75682067871094, -1.4264438163991144e-07]), (10, [106.63479614257812, -1.2881795186103773e-08])],
)
def test_tokens_near_a_tie_are_rounded_as_losses_are(base, z, dtype):
    logits = np.array([z], dtype)
    loss = kb.categorical_cross_entropy_from_logits([1], logits, base=base)
    assert np.array_equal(kb.token_logprobs(logits, [1], base=base), -loss)


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 100, 1_000])
@pytest.mark.parametrize("shape", [(5,), (30, 17), (2, 9_000), (3, 4, 50)], ids=str)
def test_several_tokens_per_row(dtype, shape, count, same_bits):
    z, k = some_logits(shape, dtype), some_tokens((*shape[:-1], count), shape[-1])
    got = kb.token_logprobs(z, k)
    assert got.dtype == dtype
    assert got.shape == k.shape
    one_by_one = [kb.token_logprobs(z, k[..., i]) for i in range(count)]
    assert same_bits(got, np.stack(one_by_one, -1) if count else np.empty(k.shape, dtype))
    for axis in range(z.ndim):
        moved = kb.token_logprobs(np.moveaxis(z, -1, axis).copy(), np.moveaxis(k, -1, axis), axis=axis)
        assert same_bits(moved, np.moveaxis(got, -1, axis))
    out = np.full((*shape[:-1], 2 * count), 7, dtype)[..., ::2]
    assert kb.token_logprobs(z, k, out=out) is out
    assert same_bits(out, got)


@pytest.mark.parametrize("count", [1, 2, 9, 70])
def test_several_tokens_of_sure_rows(dtype, count, same_bits):
    z, k = some_logits((150, 7), dtype), some_tokens((150, count), 7)
    z[::2] -= 720  # float64's losses of the winner drown there
    z[::2, 3] = 0
    got = kb.token_logprobs(z, k)
    losses = [kb.categorical_cross_entropy_from_logits(k[:, i], z) for i in range(count)]
    assert same_bits(got, -np.stack(losses, -1) + 0)
    assert same_bits(kb.token_logprobs(z[::-1], k[::-1, ::-1]), got[::-1, ::-1])
    assert same_bits(kb.token_logprobs(z, np.broadcast_to(k[:, :1], k.shape)), np.broadcast_to(got[:, :1], k.shape))
    assert same_bits(kb.token_logprobs(z[:1].repeat(150, 0), k), kb.token_logprobs(np.broadcast_to(z[:1], z.shape), k))


def test_the_first_bad_of_several_tokens():
    k = some_tokens((4, 6), 10)
    k[1, 5] = k[2, 0] = 10
    for tokens in (k, np.asfortranarray(k)):
        with pytest.raises(IndexError, match=r"^token 10 at index \(1, 5\) is out of range for 10 classes$"):
            kb.token_logprobs(np.ones((4, 10)), tokens)
        with pytest.raises(IndexError, match=r"^token 10 at index \(0, 2\) is out of range for 10 classes$"):
            kb.token_logprobs(np.ones((10, 4)), tokens.T, axis=0)


def test_tokens_of_a_wrong_shape():
    cases = [(1, shape) for shape in [(3,), (3, 6), (1, 6), (5, 2), (), (4, 5, 1)]]
    for axis, wrong in [*cases, (0, (4,)), (0, (2, 4))]:
        rows = ((4,), (5,))[axis == 0]
        message = (
            rf"^tokens has shape {re.escape(str(wrong))} and logits \(4, 5\); expected tokens of shape "
            rf"{re.escape(str(rows))}, or with any number of them along axis {axis}$"
        )
        with pytest.raises(ValueError, match=message):
            kb.token_logprobs(np.ones((4, 5)), np.zeros(wrong, int), axis=axis)


@pytest.mark.parametrize("tokens", [np.zeros((3, 0), int), np.zeros(3, int), np.zeros((3, 2), int)], ids=np.shape)
def test_rows_without_classes_have_no_tokens(tokens):
    if tokens.size:
        with pytest.raises(IndexError, match=r"^token 0 at index \(0,.*\) is out of range for 0 classes$"):
            kb.token_logprobs(np.ones((3, 0)), tokens)
    else:
        assert kb.token_logprobs(np.ones((3, 0)), tokens).shape == (3, 0)


# Memory

MEMORY = """
import numpy as np
import kullback as kb

shape, axis = SHAPE
z = np.full(shape, 0.5, np.float32)
k = np.zeros(np.delete(shape, axis), int)

def most():  # MiB; getrusage's figure would not start below that of the process that started this one
    lines = dict(line.split(":") for line in open("/proc/self/status"))
    return int(lines["VmHWM"].split()[0]) / 1024

before = most()
CALL
after = most()
np.ones(20 << 17)  # 20 MiB, which have to show
print(after - before, most() - after)
"""


@pytest.mark.parametrize("where", [((600, 128_000), 1), ((8, 1_000, 100, 96), 1), ((1_000, 77_000), 0)], ids=str)
@pytest.mark.parametrize(
    "call",
    [
        "kb.categorical_cross_entropy_from_logits(k, z, axis=axis, reduction='mean')",
        "kb.categorical_cross_entropy(k, z, axis=axis, reduction='mean')",
        "kb.categorical_cross_entropy_from_logits(k, z, axis=axis, label_smoothing=0.1, reduction='sum')",
        "kb.token_logprobs(z, k, axis=axis)",
        "kb.token_logprobs(z, np.expand_dims(k, axis).repeat(2, axis), axis=axis)",
    ],
)
def test_no_temporary_of_the_logits_size(where, call):
    code = MEMORY.replace("SHAPE", repr(where)).replace("CALL", call)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    cost, control = map(float, result.stdout.split())
    assert control > 10
    assert cost < 10
