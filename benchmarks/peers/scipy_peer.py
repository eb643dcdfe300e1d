"""SciPy: scipy.special, and NumPy for the sums around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from scipy.special import entr, expit, log_expit, log_softmax, logsumexp, rel_entr, softmax, xlog1py, xlogy

from peers import Call, Maker, Peer, does
from peers.numpy_peer import picked
from tasks import BCE, BCE_LOGITS, CE

TASKS: dict[tuple[str, str], Maker] = {}


class SciPy(Peer):
    packages = (scipy.__name__,)
    tasks = TASKS
    own_threads = False


THE_PEER = SciPy


@does(TASKS, "entropy")
def entropy(peer: Any, a: Any) -> Call:
    return lambda: entr(a.p).sum(a.axis)


@does(TASKS, "cross_entropy")
def cross_entropy(peer: Any, a: Any) -> Call:
    return lambda: -xlogy(a.p, a.q).sum(a.axis)


@does(TASKS, "kl_divergence")
def kl_divergence(peer: Any, a: Any) -> Call:
    return lambda: rel_entr(a.p, a.q).sum(a.axis)


@does(TASKS, "js_divergence")
def js_divergence(peer: Any, a: Any) -> Call:
    def call() -> Any:
        m = (a.p + a.q) / 2
        return (rel_entr(a.p, m) + rel_entr(a.q, m)).sum(a.axis) / 2

    return call


@does(TASKS, "logsumexp")
def log_sum_exp(peer: Any, a: Any) -> Call:
    return lambda: logsumexp(a.z, axis=a.axis)


@does(TASKS, "entropy_from_logits")
def entropy_from_logits(peer: Any, a: Any) -> Call:
    return lambda: entr(softmax(a.z, axis=a.axis)).sum(a.axis)


@does(TASKS, "kl_divergence_from_logits")
def kl_divergence_from_logits(peer: Any, a: Any) -> Call:
    def call() -> Any:
        log_p, log_q = log_softmax(a.z, axis=a.axis), log_softmax(a.z2, axis=a.axis)
        return (np.exp(log_p) * (log_p - log_q)).sum(a.axis)

    return call


@does(TASKS, "softmax")
def softmax_of(peer: Any, a: Any) -> Call:
    return lambda: softmax(a.z, axis=a.axis)


@does(TASKS, "log_softmax")
def log_softmax_of(peer: Any, a: Any) -> Call:
    return lambda: log_softmax(a.z, axis=a.axis)


@does(TASKS, "token_logprobs")
def token_logprobs(peer: Any, a: Any) -> Call:
    return lambda: np.take_along_axis(a.z, a.tokens, a.axis) - logsumexp(a.z, axis=a.axis, keepdims=True)


@does(TASKS, f"{CE}.mean")
def cross_entropy_of_indices(peer: Any, a: Any) -> Call:
    return lambda: (logsumexp(a.z, axis=a.axis, keepdims=True) - picked(a.z, a.labels, a.axis)).mean()


@does(TASKS, f"{CE}.soft_mean")
def cross_entropy_of_soft_labels(peer: Any, a: Any) -> Call:
    return lambda: -(a.p * log_softmax(a.z, axis=a.axis)).sum(a.axis).mean()


@does(TASKS, BCE)
def binary_elements(peer: Any, a: Any) -> Call:
    return lambda: -(xlogy(a.truth, a.chance) + xlog1py(1 - a.truth, -a.chance))


@does(TASKS, f"{BCE}.mean")
def binary_mean(peer: Any, a: Any) -> Call:
    return lambda: -(xlogy(a.truth, a.chance) + xlog1py(1 - a.truth, -a.chance)).mean()


@does(TASKS, BCE_LOGITS)
def binary_elements_from_logits(peer: Any, a: Any) -> Call:
    return lambda: (1 - a.truth) * a.z - log_expit(a.z)


@does(TASKS, f"{BCE_LOGITS}.mean")
def binary_mean_from_logits(peer: Any, a: Any) -> Call:
    return lambda: ((1 - a.truth) * a.z - log_expit(a.z)).mean()


@does(TASKS, f"{BCE_LOGITS}.value_and_grad")
def binary_value_and_gradient(peer: Any, a: Any) -> Call:
    def call() -> Any:
        value = ((1 - a.truth) * a.z - log_expit(a.z)).mean()
        return value, (expit(a.z) - a.truth) / a.z.size

    return call
