"""numba: the straightforward loop over each row, the rows in parallel; fastmath off."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log, log1p
from typing import Any

import numba
import numpy as np
from numba import njit, prange

from peers import Call, Maker, Rows
from tasks import BCE, BCE_LOGITS, CE, ELEMENTWISE

TASKS: dict[tuple[str, str], Maker] = {}


class Numba(Rows):
    packages = ("numba",)
    tasks = TASKS

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        numba.set_num_threads(threads)


THE_PEER = Numba


def loop(task: str, *inputs: str, output: Callable[[Any], Any]) -> Callable[[Callable[..., Any]], Any]:
    """Registers a function of the inputs and of an output array, fresh or given."""

    def register(function: Callable[..., Any]) -> Any:
        compiled = njit(parallel=True)(function)

        def arguments(a: Any) -> list[Any]:
            arrays = [getattr(a, name) for name in inputs]
            return [array.reshape(-1) for array in arrays] if task in ELEMENTWISE else arrays

        def fresh(peer: Any, a: Any) -> Call:
            arrays = arguments(a)
            return lambda: compiled(*arrays, output(a))

        def into(peer: Any, a: Any) -> Call:
            arrays, out = arguments(a), a.out.reshape(-1) if output is flat else a.out
            return lambda: compiled(*arrays, out)

        TASKS[task, "fresh"] = fresh
        if output in (flat, whole):
            TASKS[task, "out"] = into
        return compiled

    return register


def per_row(a: Any) -> Any:
    return np.empty(a.rows, a.cell.dtype)


def whole(a: Any) -> Any:
    return np.empty(a.cell.shape, a.cell.dtype)


def flat(a: Any) -> Any:
    return np.empty(a.cell.elements, a.cell.dtype)


def nothing(a: Any) -> Any:
    return None


def per_token(a: Any) -> Any:
    return np.empty(a.tokens.shape, a.cell.dtype)


@njit
def log_sum_exp(z: Any) -> Any:
    most = z.max()
    total = 0.0
    for j in range(z.size):
        total += exp(z[j] - most)
    return most + log(total)


@loop("entropy", "p", output=per_row)
def entropy(p: Any, out: Any) -> Any:
    for i in prange(len(p)):
        total = 0.0
        for j in range(p.shape[1]):
            total -= p[i, j] * log(p[i, j])
        out[i] = total
    return out


@loop("cross_entropy", "p", "q", output=per_row)
def cross_entropy(p: Any, q: Any, out: Any) -> Any:
    for i in prange(len(p)):
        total = 0.0
        for j in range(p.shape[1]):
            total -= p[i, j] * log(q[i, j])
        out[i] = total
    return out


@loop("kl_divergence", "p", "q", output=per_row)
def kl_divergence(p: Any, q: Any, out: Any) -> Any:
    for i in prange(len(p)):
        total = 0.0
        for j in range(p.shape[1]):
            total += p[i, j] * log(p[i, j] / q[i, j])
        out[i] = total
    return out


@loop("js_divergence", "p", "q", output=per_row)
def js_divergence(p: Any, q: Any, out: Any) -> Any:
    for i in prange(len(p)):
        total = 0.0
        for j in range(p.shape[1]):
            m = (p[i, j] + q[i, j]) / 2
            total += p[i, j] * log(p[i, j] / m) + q[i, j] * log(q[i, j] / m)
        out[i] = total / 2
    return out


@loop("logsumexp", "z", output=per_row)
def logsumexp(z: Any, out: Any) -> Any:
    for i in prange(len(z)):
        out[i] = log_sum_exp(z[i])
    return out


@loop("entropy_from_logits", "z", output=per_row)
def entropy_from_logits(z: Any, out: Any) -> Any:
    for i in prange(len(z)):
        normalizer, total = log_sum_exp(z[i]), 0.0
        for j in range(z.shape[1]):
            log_p = z[i, j] - normalizer
            total -= exp(log_p) * log_p
        out[i] = total
    return out


@loop("kl_divergence_from_logits", "z", "z2", output=per_row)
def kl_divergence_from_logits(z: Any, z2: Any, out: Any) -> Any:
    for i in prange(len(z)):
        first, second, total = log_sum_exp(z[i]), log_sum_exp(z2[i]), 0.0
        for j in range(z.shape[1]):
            log_p = z[i, j] - first
            total += exp(log_p) * (log_p - z2[i, j] + second)
        out[i] = total
    return out


@loop("softmax", "z", output=whole)
def softmax(z: Any, out: Any) -> Any:
    for i in prange(len(z)):
        most, total = z[i].max(), 0.0
        for j in range(z.shape[1]):
            out[i, j] = exp(z[i, j] - most)
            total += out[i, j]
        for j in range(z.shape[1]):
            out[i, j] /= total
    return out


@loop("log_softmax", "z", output=whole)
def log_softmax(z: Any, out: Any) -> Any:
    for i in prange(len(z)):
        normalizer = log_sum_exp(z[i])
        for j in range(z.shape[1]):
            out[i, j] = z[i, j] - normalizer
    return out


@loop("token_logprobs", "z", "tokens", output=per_token)
def token_logprobs(z: Any, tokens: Any, out: Any) -> Any:
    for i in prange(len(z)):
        normalizer = log_sum_exp(z[i])
        for k in range(tokens.shape[1]):
            out[i, k] = z[i, tokens[i, k]] - normalizer
    return out


@loop(f"{CE}.mean", "labels", "z", output=nothing)
def cross_entropy_of_indices(labels: Any, z: Any, out: Any) -> Any:
    loss = 0.0
    for i in prange(len(z)):
        loss += log_sum_exp(z[i]) - z[i, labels[i]]
    return loss / len(z)


@loop(f"{CE}.soft_mean", "p", "z", output=nothing)
def cross_entropy_of_soft_labels(p: Any, z: Any, out: Any) -> Any:
    loss = 0.0
    for i in prange(len(z)):
        normalizer, total = log_sum_exp(z[i]), 0.0
        for j in range(z.shape[1]):
            total += p[i, j] * (normalizer - z[i, j])
        loss += total
    return loss / len(z)


@loop(f"{CE}.grad", "labels", "z", output=whole)
def gradient(labels: Any, z: Any, out: Any) -> Any:
    for i in prange(len(z)):
        most, total = z[i].max(), 0.0
        for j in range(z.shape[1]):
            out[i, j] = exp(z[i, j] - most)
            total += out[i, j]
        for j in range(z.shape[1]):
            out[i, j] /= total * len(z)
        out[i, labels[i]] -= 1 / len(z)
    return out


@loop(f"{CE}.value_and_grad", "labels", "z", output=whole)
def value_and_gradient(labels: Any, z: Any, out: Any) -> Any:
    loss = 0.0
    for i in prange(len(z)):
        most, total = z[i].max(), 0.0
        for j in range(z.shape[1]):
            out[i, j] = exp(z[i, j] - most)
            total += out[i, j]
        for j in range(z.shape[1]):
            out[i, j] /= total * len(z)
        out[i, labels[i]] -= 1 / len(z)
        loss += most + log(total) - z[i, labels[i]]
    return loss / len(z), out


@njit
def binary(y: Any, q: Any) -> Any:
    return -(y * log(q) + (1 - y) * log1p(-q))


@njit
def binary_from_logits(y: Any, z: Any) -> Any:
    return max(z, 0) - y * z + log1p(exp(-abs(z)))


@loop(BCE, "truth", "chance", output=flat)
def binary_elements(truth: Any, chance: Any, out: Any) -> Any:
    for i in prange(len(truth)):
        out[i] = binary(truth[i], chance[i])
    return out


@loop(BCE_LOGITS, "truth", "z", output=flat)
def binary_elements_from_logits(truth: Any, z: Any, out: Any) -> Any:
    for i in prange(len(truth)):
        out[i] = binary_from_logits(truth[i], z[i])
    return out


@loop(f"{BCE}.mean", "truth", "chance", output=nothing)
def binary_mean(truth: Any, chance: Any, out: Any) -> Any:
    total = 0.0
    for i in prange(len(truth)):
        total += binary(truth[i], chance[i])
    return total / len(truth)


@loop(f"{BCE_LOGITS}.mean", "truth", "z", output=nothing)
def binary_mean_from_logits(truth: Any, z: Any, out: Any) -> Any:
    total = 0.0
    for i in prange(len(truth)):
        total += binary_from_logits(truth[i], z[i])
    return total / len(truth)


@loop(f"{BCE_LOGITS}.value_and_grad", "truth", "z", output=flat)
def binary_value_and_gradient(truth: Any, z: Any, out: Any) -> Any:
    total = 0.0
    for i in prange(len(truth)):
        small = exp(-abs(z[i]))
        total += max(z[i], 0) - truth[i] * z[i] + log1p(small)
        sigmoid = (1 if z[i] >= 0 else small) / (1 + small)
        out[i] = (sigmoid - truth[i]) / len(truth)
    return total / len(truth), out
