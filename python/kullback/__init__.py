"""Entropy, KL divergence and cross-entropy of NumPy arrays.

Accurate to the last digit or two, the same bits on every machine, and fast. The functions take any real
array-like, in the order of their formulas: the reference `p` before the model `q`, labels before predictions.
Predictions are probabilities or, where a name ends in ``_from_logits``, unnormalised scores.

Submodules
----------
grad
    Gradients of the functions, under the same names.
value_and_grad
    Values and gradients from one pass, under the same names.
runtime
    What runs: targets and threads.
reference
    The same functions and gradients in pure Python, for plain lists and any precision.
testing
    Checks of accuracy against the reference.
"""

from importlib import import_module as _import_module
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import grad, runtime, value_and_grad
from .logits import (
    binary_entropy_from_logits,
    entropy_from_logits,
    js_divergence_from_logits,
    kl_divergence_from_logits,
    log_sigmoid,
    log_softmax,
    logsumexp,
    sigmoid,
    softmax,
    token_logprobs,
)
from .losses import (
    binary_cross_entropy,
    binary_cross_entropy_from_logits,
    categorical_cross_entropy,
    categorical_cross_entropy_from_logits,
)
from .probabilities import (
    binary_entropy,
    cross_entropy,
    entropy,
    js_divergence,
    kl_divergence,
    self_information,
)

if _TYPE_CHECKING:
    from . import reference, testing

__version__: str = runtime.info()["version"]

__all__ = [
    "__version__",
    "binary_cross_entropy",
    "binary_cross_entropy_from_logits",
    "binary_entropy",
    "binary_entropy_from_logits",
    "categorical_cross_entropy",
    "categorical_cross_entropy_from_logits",
    "cross_entropy",
    "entropy",
    "entropy_from_logits",
    "grad",
    "js_divergence",
    "js_divergence_from_logits",
    "kl_divergence",
    "kl_divergence_from_logits",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "reference",
    "runtime",
    "self_information",
    "sigmoid",
    "softmax",
    "testing",
    "token_logprobs",
    "value_and_grad",
]


class _LazyModule(_ModuleType):
    """Stands for a submodule that is imported when it is first used, and takes its place then.

    Inference code never does.
    """

    def __getattribute__(self, name: str) -> _Any:
        return getattr(_import_module(super().__getattribute__("__name__")), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(_import_module(super().__getattribute__("__name__")), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_import_module(super().__getattribute__("__name__")), name)


# A module's own __getattr__ would make every look-up of a function slower.
if not _TYPE_CHECKING:
    reference = _LazyModule(f"{__name__}.reference")
    testing = _LazyModule(f"{__name__}.testing")


def __dir__() -> list[str]:
    return sorted(__all__)
