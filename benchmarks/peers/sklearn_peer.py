"""scikit-learn: its softmax, the compiled losses of its linear models and boosted trees, and log_loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn._loss.loss import HalfBinomialLoss, HalfMultinomialLoss
from sklearn.metrics import log_loss
from sklearn.utils.extmath import softmax

from peers import Call, Maker, Rows, does
from tasks import BCE, BCE_LOGITS, CE

TASKS: dict[tuple[str, str], Maker] = {}


class ScikitLearn(Rows):
    packages = ("scikit-learn",)
    tasks = TASKS


THE_PEER = ScikitLearn


@does(TASKS, "softmax")
def softmax_of(peer: Any, a: Any) -> Call:
    return lambda: softmax(a.z)


def of_classes(peer: Any, a: Any) -> tuple[Any, dict[str, Any]]:
    """The loss, and its arguments; the weights make sums means."""
    loss = HalfMultinomialLoss(n_classes=a.cell.shape[-1])
    weight = np.full(a.rows, 1 / a.rows, a.cell.dtype)
    labels = a.labels.astype(a.cell.dtype)
    return loss, {"y_true": labels, "raw_prediction": a.z, "sample_weight": weight, "n_threads": peer.threads}


@does(TASKS, f"{CE}.mean")
def cross_entropy_of_indices(peer: Any, a: Any) -> Call:
    loss, arguments = of_classes(peer, a)
    return lambda: loss.loss(**arguments).sum()


@does(TASKS, f"{CE}.grad")
@does(TASKS, f"{CE}.grad", output="out")
def gradient(peer: Any, a: Any) -> Call:
    loss, arguments = of_classes(peer, a)
    return lambda: loss.gradient(**arguments, gradient_out=a.out)


@does(TASKS, f"{CE}.value_and_grad")
@does(TASKS, f"{CE}.value_and_grad", output="out")
def value_and_gradient(peer: Any, a: Any) -> Call:
    loss, arguments = of_classes(peer, a)
    losses = np.empty(a.rows, a.cell.dtype)

    def call() -> Any:
        values, gradients = loss.loss_gradient(**arguments, loss_out=losses, gradient_out=a.out)
        return values.sum(), gradients

    return call


def of_logits(peer: Any, a: Any) -> tuple[Any, dict[str, Any]]:
    arguments = {"y_true": a.truth.ravel(), "raw_prediction": a.z.ravel(), "n_threads": peer.threads}
    return HalfBinomialLoss(), arguments


@does(TASKS, BCE_LOGITS)
@does(TASKS, BCE_LOGITS, output="out")
def binary_elements_from_logits(peer: Any, a: Any) -> Call:
    loss, arguments = of_logits(peer, a)
    out = None if a.out is None else a.out.reshape(-1)
    return lambda: loss.loss(**arguments, loss_out=out).reshape(a.cell.shape)


@does(TASKS, f"{BCE_LOGITS}.mean")
def binary_mean_from_logits(peer: Any, a: Any) -> Call:
    loss, arguments = of_logits(peer, a)
    return lambda: loss.loss(**arguments).mean()


@does(TASKS, f"{BCE_LOGITS}.value_and_grad")
@does(TASKS, f"{BCE_LOGITS}.value_and_grad", output="out")
def binary_value_and_gradient(peer: Any, a: Any) -> Call:
    loss, arguments = of_logits(peer, a)
    weight = np.full(a.z.size, 1 / a.z.size, a.cell.dtype)
    out = None if a.out is None else a.out.reshape(-1)

    def call() -> Any:
        values, gradients = loss.loss_gradient(**arguments, sample_weight=weight, gradient_out=out)
        return values.sum(), gradients.reshape(a.cell.shape)

    return call


@does(TASKS, f"{BCE}.mean")
def binary_mean(peer: Any, a: Any) -> Call:
    truth, chance = a.truth.ravel(), a.chance.ravel()
    return lambda: log_loss(truth, chance, labels=[0, 1])
