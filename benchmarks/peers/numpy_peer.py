"""Plain NumPy, as one writes it by hand; logits with their maximum subtracted."""

from __future__ import annotations

from typing import Any

import numpy as np

from peers import Call, Maker, Peer, does
from tasks import BCE, BCE_LOGITS, CE

TASKS: dict[tuple[str, str], Maker] = {}


class NumPy(Peer):
    packages = ("numpy",)
    tasks = TASKS
    own_threads = False


THE_PEER = NumPy


def log_sum_exp(z: Any, axis: int) -> Any:
    most = z.max(axis, keepdims=True)
    return most + np.log(np.exp(z - most).sum(axis, keepdims=True))


def softmax_to(z: Any, axis: int, out: Any) -> Any:
    y = np.subtract(z, z.max(axis, keepdims=True), out=out)
    np.exp(y, out=y)
    return np.divide(y, y.sum(axis, keepdims=True), out=y)


def log_softmax_to(z: Any, axis: int, out: Any) -> Any:
    return np.subtract(z, log_sum_exp(z, axis), out=out)


def picked(z: Any, labels: Any, axis: int) -> Any:
    return np.take_along_axis(z, np.expand_dims(labels, axis), axis)


def loss_gradient_to(labels: Any, z: Any, axis: int, out: Any) -> Any:
    y = softmax_to(z, axis, out)
    at = np.expand_dims(labels, axis)
    np.put_along_axis(y, at, np.take_along_axis(y, at, axis) - 1, axis)
    return np.multiply(y, z.dtype.type(1 / labels.size), out=y)


@does(TASKS, "entropy")
def entropy(peer: Any, a: Any) -> Call:
    return lambda: -(a.p * np.log(a.p)).sum(a.axis)


@does(TASKS, "cross_entropy")
def cross_entropy(peer: Any, a: Any) -> Call:
    return lambda: -(a.p * np.log(a.q)).sum(a.axis)


@does(TASKS, "kl_divergence")
def kl_divergence(peer: Any, a: Any) -> Call:
    return lambda: (a.p * np.log(a.p / a.q)).sum(a.axis)


@does(TASKS, "js_divergence")
def js_divergence(peer: Any, a: Any) -> Call:
    def call() -> Any:
        m = (a.p + a.q) / 2
        return (a.p * np.log(a.p / m) + a.q * np.log(a.q / m)).sum(a.axis) / 2

    return call


@does(TASKS, "logsumexp")
def logsumexp(peer: Any, a: Any) -> Call:
    return lambda: log_sum_exp(a.z, a.axis).squeeze(a.axis)


@does(TASKS, "entropy_from_logits")
def entropy_from_logits(peer: Any, a: Any) -> Call:
    def call() -> Any:
        log_p = log_softmax_to(a.z, a.axis, None)
        return -(np.exp(log_p) * log_p).sum(a.axis)

    return call


@does(TASKS, "kl_divergence_from_logits")
def kl_divergence_from_logits(peer: Any, a: Any) -> Call:
    def call() -> Any:
        log_p = log_softmax_to(a.z, a.axis, None)
        log_q = log_softmax_to(a.z2, a.axis, None)
        return (np.exp(log_p) * (log_p - log_q)).sum(a.axis)

    return call


@does(TASKS, "softmax")
@does(TASKS, "softmax", output="out")
def softmax(peer: Any, a: Any) -> Call:
    return lambda: softmax_to(a.z, a.axis, a.out)


@does(TASKS, "log_softmax")
@does(TASKS, "log_softmax", output="out")
def log_softmax(peer: Any, a: Any) -> Call:
    return lambda: log_softmax_to(a.z, a.axis, a.out)


@does(TASKS, "token_logprobs")
def token_logprobs(peer: Any, a: Any) -> Call:
    return lambda: np.take_along_axis(a.z, a.tokens, a.axis) - log_sum_exp(a.z, a.axis)


@does(TASKS, f"{CE}.mean")
def cross_entropy_of_indices(peer: Any, a: Any) -> Call:
    return lambda: (log_sum_exp(a.z, a.axis) - picked(a.z, a.labels, a.axis)).mean()


@does(TASKS, f"{CE}.soft_mean")
def cross_entropy_of_soft_labels(peer: Any, a: Any) -> Call:
    return lambda: -(a.p * log_softmax_to(a.z, a.axis, None)).sum(a.axis).mean()


@does(TASKS, f"{CE}.grad")
@does(TASKS, f"{CE}.grad", output="out")
def gradient(peer: Any, a: Any) -> Call:
    return lambda: loss_gradient_to(a.labels, a.z, a.axis, a.out)


@does(TASKS, f"{CE}.value_and_grad")
@does(TASKS, f"{CE}.value_and_grad", output="out")
def value_and_gradient(peer: Any, a: Any) -> Call:
    def call() -> Any:
        value = -np.log(picked(y := softmax_to(a.z, a.axis, a.out), a.labels, a.axis)).mean()
        at = np.expand_dims(a.labels, a.axis)
        np.put_along_axis(y, at, np.take_along_axis(y, at, a.axis) - 1, a.axis)
        return value, np.multiply(y, a.z.dtype.type(1 / a.labels.size), out=y)

    return call


def binary(a: Any) -> Any:
    return -(a.truth * np.log(a.chance) + (1 - a.truth) * np.log1p(-a.chance))


def binary_from_logits(a: Any) -> Any:
    return np.maximum(a.z, 0) - a.z * a.truth + np.log1p(np.exp(-np.abs(a.z)))


@does(TASKS, BCE)
def binary_elements(peer: Any, a: Any) -> Call:
    return lambda: binary(a)


@does(TASKS, f"{BCE}.mean")
def binary_mean(peer: Any, a: Any) -> Call:
    return lambda: binary(a).mean()


@does(TASKS, BCE_LOGITS)
def binary_elements_from_logits(peer: Any, a: Any) -> Call:
    return lambda: binary_from_logits(a)


@does(TASKS, f"{BCE_LOGITS}.mean")
def binary_mean_from_logits(peer: Any, a: Any) -> Call:
    return lambda: binary_from_logits(a).mean()


@does(TASKS, f"{BCE_LOGITS}.value_and_grad")
def binary_value_and_gradient(peer: Any, a: Any) -> Call:
    def call() -> Any:
        small = np.exp(-np.abs(a.z))
        value = (np.maximum(a.z, 0) - a.z * a.truth + np.log1p(small)).mean()
        sigmoid = np.where(a.z >= 0, 1, small) / (1 + small)
        return value, (sigmoid - a.truth) / a.z.size

    return call
