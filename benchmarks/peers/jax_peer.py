"""JAX and Optax on the CPU: compiled functions of arrays that are JAX's already; the result is waited for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.special import rel_entr, xlog1py, xlogy

from peers import Call, Maker, Peer
from tasks import BCE, BCE_LOGITS, CE, Array

TASKS: dict[tuple[str, str], Maker] = {}


class Jax(Peer):
    packages = ("jax", "optax")
    tasks = TASKS
    spins = 0.0

    def convert(self, array: Array) -> Any:
        return jnp.asarray(array.astype(np.int32) if array.dtype.kind == "i" else array)

    def to_numpy(self, result: Any) -> Array:
        return np.asarray(result)


THE_PEER = Jax

Function = Callable[..., Any]


def compiled(name: str, *inputs: str) -> Callable[[Function], Function]:
    """Registers f(axis, *inputs) for a task."""

    def register(function: Function) -> Function:
        def maker(peer: Any, a: Any) -> Call:
            compiled_function = jax.jit(partial(function, a.axis))
            wait: Any = jax.block_until_ready
            arguments = [getattr(a, name) for name in inputs]
            return lambda: wait(compiled_function(*arguments))

        TASKS[name, "fresh"] = maker
        return function

    return register


@compiled("entropy", "p")
def entropy(axis: int, p: Any) -> Any:
    return -jnp.sum(xlogy(p, p), axis)


@compiled("cross_entropy", "p", "q")
def cross_entropy(axis: int, p: Any, q: Any) -> Any:
    return -jnp.sum(xlogy(p, q), axis)


@compiled("kl_divergence", "p", "q")
def kl_divergence(axis: int, p: Any, q: Any) -> Any:
    return jnp.sum(p * jnp.log(p / q), axis)


@compiled("js_divergence", "p", "q")
def js_divergence(axis: int, p: Any, q: Any) -> Any:
    m = (p + q) / 2
    return jnp.sum(rel_entr(p, m) + rel_entr(q, m), axis) / 2


@compiled("logsumexp", "z")
def logsumexp(axis: int, z: Any) -> Any:
    return jax.nn.logsumexp(z, axis)


@compiled("entropy_from_logits", "z")
def entropy_from_logits(axis: int, z: Any) -> Any:
    log_p = jax.nn.log_softmax(z, axis)
    return -jnp.sum(jnp.exp(log_p) * log_p, axis)


@compiled("kl_divergence_from_logits", "z", "z2")
def kl_divergence_from_logits(axis: int, z: Any, z2: Any) -> Any:
    log_p, log_q = jax.nn.log_softmax(z, axis), jax.nn.log_softmax(z2, axis)
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis)


@compiled("softmax", "z")
def softmax(axis: int, z: Any) -> Any:
    return jax.nn.softmax(z, axis)


@compiled("log_softmax", "z")
def log_softmax(axis: int, z: Any) -> Any:
    return jax.nn.log_softmax(z, axis)


@compiled("token_logprobs", "z", "tokens")
def token_logprobs(axis: int, z: Any, tokens: Any) -> Any:
    return jnp.take_along_axis(z, tokens, axis) - jax.nn.logsumexp(z, axis, keepdims=True)


@compiled(f"{CE}.mean", "labels", "z")
def cross_entropy_of_indices(axis: int, labels: Any, z: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(z, labels, axis=axis).mean()


@compiled(f"{CE}.soft_mean", "p", "z")
def cross_entropy_of_soft_labels(axis: int, p: Any, z: Any) -> Any:
    return optax.softmax_cross_entropy(z, p, axis=axis).mean()


@compiled(f"{CE}.grad", "labels", "z")
def gradient(axis: int, labels: Any, z: Any) -> Any:
    return jax.grad(partial(cross_entropy_of_indices, axis, labels))(z)


@compiled(f"{CE}.value_and_grad", "labels", "z")
def value_and_gradient(axis: int, labels: Any, z: Any) -> Any:
    return jax.value_and_grad(partial(cross_entropy_of_indices, axis, labels))(z)


@compiled(BCE, "truth", "chance")
def binary_elements(axis: int, truth: Any, chance: Any) -> Any:
    return -(xlogy(truth, chance) + xlog1py(1 - truth, -chance))


@compiled(f"{BCE}.mean", "truth", "chance")
def binary_mean(axis: int, truth: Any, chance: Any) -> Any:
    return binary_elements(axis, truth, chance).mean()


@compiled(BCE_LOGITS, "truth", "z")
def binary_elements_from_logits(axis: int, truth: Any, z: Any) -> Any:
    return optax.sigmoid_binary_cross_entropy(z, truth)


@compiled(f"{BCE_LOGITS}.mean", "truth", "z")
def binary_mean_from_logits(axis: int, truth: Any, z: Any) -> Any:
    return optax.sigmoid_binary_cross_entropy(z, truth).mean()


@compiled(f"{BCE_LOGITS}.value_and_grad", "truth", "z")
def binary_value_and_gradient(axis: int, truth: Any, z: Any) -> Any:
    return jax.value_and_grad(partial(binary_mean_from_logits, axis, truth))(z)
