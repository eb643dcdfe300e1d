"""PyTorch on the CPU: its own losses where it has them, gradients by autograd."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from peers import Call, Maker, Peer, does
from tasks import BCE, BCE_LOGITS, CE, Array, Cell

TASKS: dict[tuple[str, str], Maker] = {}


class Torch(Peer):
    packages = ("torch",)
    tasks = TASKS

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        torch.set_num_threads(threads)

    def convert(self, array: Array) -> Any:
        return torch.from_numpy(array)

    def context(self, cell: Cell) -> AbstractContextManager[Any]:
        return nullcontext() if "grad" in cell.task else torch.inference_mode()

    def to_numpy(self, result: Any) -> Array:
        return np.asarray(result.detach().numpy())


THE_PEER = Torch


@does(TASKS, "entropy")
def entropy(peer: Any, a: Any) -> Call:
    return lambda: torch.special.entr(a.p).sum(a.axis)


@does(TASKS, "cross_entropy")
def cross_entropy(peer: Any, a: Any) -> Call:
    return lambda: -(a.p * a.q.log()).sum(a.axis)


@does(TASKS, "kl_divergence")
def kl_divergence(peer: Any, a: Any) -> Call:
    return lambda: (a.p * (a.p / a.q).log()).sum(a.axis)


@does(TASKS, "js_divergence")
def js_divergence(peer: Any, a: Any) -> Call:
    def call() -> Any:
        m = (a.p + a.q) / 2
        return (a.p * (a.p / m).log() + a.q * (a.q / m).log()).sum(a.axis) / 2

    return call


@does(TASKS, "logsumexp")
def logsumexp(peer: Any, a: Any) -> Call:
    return lambda: torch.logsumexp(a.z, a.axis)


@does(TASKS, "entropy_from_logits")
def entropy_from_logits(peer: Any, a: Any) -> Call:
    def call() -> Any:
        log_p = torch.log_softmax(a.z, a.axis)
        return -(log_p.exp() * log_p).sum(a.axis)

    return call


@does(TASKS, "kl_divergence_from_logits")
def kl_divergence_from_logits(peer: Any, a: Any) -> Call:
    def call() -> Any:
        log_p, log_q = torch.log_softmax(a.z, a.axis), torch.log_softmax(a.z2, a.axis)
        return functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(a.axis)

    return call


@does(TASKS, "softmax")
def softmax(peer: Any, a: Any) -> Call:
    return lambda: torch.softmax(a.z, a.axis)


@does(TASKS, "softmax", output="out")
def softmax_out(peer: Any, a: Any) -> Call:
    return lambda: torch.softmax(a.z, a.axis, out=a.out)


@does(TASKS, "log_softmax")
def log_softmax(peer: Any, a: Any) -> Call:
    return lambda: torch.log_softmax(a.z, a.axis)


@does(TASKS, "log_softmax", output="out")
def log_softmax_out(peer: Any, a: Any) -> Call:
    return lambda: torch.log_softmax(a.z, a.axis, out=a.out)


@does(TASKS, "token_logprobs")
def token_logprobs(peer: Any, a: Any) -> Call:
    return lambda: a.z.gather(a.axis, a.tokens) - torch.logsumexp(a.z, a.axis, keepdim=True)


@does(TASKS, f"{CE}.mean")
def cross_entropy_of_indices(peer: Any, a: Any) -> Call:
    return lambda: functional.cross_entropy(a.z, a.labels)


@does(TASKS, f"{CE}.soft_mean")
def cross_entropy_of_soft_labels(peer: Any, a: Any) -> Call:
    return lambda: functional.cross_entropy(a.z, a.p)


@does(TASKS, f"{CE}.grad")
def gradient(peer: Any, a: Any) -> Call:
    z = a.z.detach().requires_grad_()
    return lambda: torch.autograd.grad(functional.cross_entropy(z, a.labels), z)[0]


@does(TASKS, f"{CE}.value_and_grad")
def value_and_gradient(peer: Any, a: Any) -> Call:
    z = a.z.detach().requires_grad_()

    def call() -> Any:
        loss = functional.cross_entropy(z, a.labels)
        return loss, torch.autograd.grad(loss, z)[0]

    return call


@does(TASKS, BCE)
def binary_elements(peer: Any, a: Any) -> Call:
    return lambda: functional.binary_cross_entropy(a.chance, a.truth, reduction="none")


@does(TASKS, f"{BCE}.mean")
def binary_mean(peer: Any, a: Any) -> Call:
    return lambda: functional.binary_cross_entropy(a.chance, a.truth)


@does(TASKS, BCE_LOGITS)
def binary_elements_from_logits(peer: Any, a: Any) -> Call:
    return lambda: functional.binary_cross_entropy_with_logits(a.z, a.truth, reduction="none")


@does(TASKS, f"{BCE_LOGITS}.mean")
def binary_mean_from_logits(peer: Any, a: Any) -> Call:
    return lambda: functional.binary_cross_entropy_with_logits(a.z, a.truth)


@does(TASKS, f"{BCE_LOGITS}.value_and_grad")
def binary_value_and_gradient(peer: Any, a: Any) -> Call:
    z = a.z.detach().requires_grad_()

    def call() -> Any:
        loss = functional.binary_cross_entropy_with_logits(z, a.truth)
        return loss, torch.autograd.grad(loss, z)[0]

    return call
