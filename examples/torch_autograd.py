"""A loss of kullback in PyTorch's autograd: ``python examples/torch_autograd.py``.

The ten lines of ``CrossEntropy`` do it. They copy nothing: a tensor on the CPU and its NumPy array share their memory.
PyTorch's own check finds the gradients right, its ``CrossEntropyLoss`` has the same losses and gradients, and a network
of two layers learns scikit-learn's handwritten digits alike with either. Exits with status 1 if a claim fails.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

import kullback as kb

STEPS = 200

pytorch = torch.nn.CrossEntropyLoss(reduction="none")


def claim(holds: bool, what: str) -> None:
    print(f"{'holds' if holds else 'FAILS'}: {what}")
    if not holds:
        sys.exit(1)


class CrossEntropy(torch.autograd.Function):
    """One loss per row of logits. Predictions come first, as everywhere in PyTorch."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        arrays = labels.numpy(), logits.detach().numpy()
        loss, gradient = kb.value_and_grad.categorical_cross_entropy_from_logits(*arrays)
        ctx.save_for_backward(torch.from_numpy(gradient))
        return torch.from_numpy(loss)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad_output.unsqueeze(-1) * gradient, None


def claim_alike(ours: Tensor, theirs: Tensor, tolerance: float, what: str) -> None:
    difference = (ours - theirs).abs().max().item()
    claim(difference <= tolerance, f"{what} to {tolerance}, {difference:.1e}")


def train(model: torch.nn.Module, loss: Callable[[Tensor, Tensor], Tensor], images: Tensor, digits: Tensor) -> Tensor:
    """The mean loss before each step of gradient descent."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    means = torch.empty(STEPS)
    for step in range(STEPS):
        optimizer.zero_grad()
        mean = loss(model(images), digits).mean()
        mean.backward()
        optimizer.step()
        means[step] = mean.detach()
    return means


def main() -> None:
    torch.manual_seed(0)
    logits = (5 * torch.randn(50, 10, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(10, (50,))
    claim(torch.autograd.gradcheck(CrossEntropy.apply, (logits, labels)), "PyTorch's gradcheck passes, in float64")
    ours, theirs = CrossEntropy.apply(logits, labels), pytorch(logits, labels)
    claim_alike(ours, theirs, 1e-13, "the losses are those of CrossEntropyLoss")
    factors = torch.randn(50, dtype=torch.float64)
    (ours,), (theirs,) = (torch.autograd.grad(losses, logits, factors) for losses in (ours, theirs))
    claim_alike(ours, theirs, 1e-13, "the gradients are those of CrossEntropyLoss")
    logits = torch.tensor([[40.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    (ours,), (theirs,) = (torch.autograd.grad(f(logits, labels[:1] * 0), logits) for f in (CrossEntropy.apply, pytorch))
    what = f"sure of a right class, the gradient keeps its digits: {ours[0, 0]:.3g}, PyTorch's {theirs[0, 0]:.3g}\n"
    claim(abs(ours.sum()) < 1e-30, what)

    images, digits = load_digits(return_X_y=True)
    split = train_test_split((images / 16).astype("float32"), digits, test_size=0.5, random_state=0, stratify=digits)
    seen, unseen, digits_seen, labels = (torch.from_numpy(x) for x in split)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    theirs = train(deepcopy(model), pytorch, seen, digits_seen)
    ours = train(model, CrossEntropy.apply, seen, digits_seen)

    print(f"{'step':>4} {'loss, kullback':>15} {'loss, PyTorch':>15}")
    for step in (0, 1, 10, 50, 100, STEPS - 1):
        print(f"{step:4} {ours[step]:15.6f} {theirs[step]:15.6f}")
    print()
    claim_alike(ours, theirs, 1e-4, "in float32, the losses of every step are those with PyTorch's")
    accuracy = (model(unseen).argmax(dim=-1) == labels).double().mean().item()
    claim(accuracy >= 0.95, f"at least 95 % of the unseen digits are told, {accuracy:.1%}")


if __name__ == "__main__":
    main()
