from collections.abc import Callable
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])

def self_information(p: Any, base: Any, out: Any, /) -> Any: ...
def binary_entropy(p: Any, base: Any, out: Any, /) -> Any: ...
def entropy(p: Any, axis: Any, base: Any, keepdims: bool, out: Any, /) -> Any: ...
def cross_entropy(p: Any, q: Any, axis: Any, base: Any, keepdims: bool, out: Any, /) -> Any: ...
def kl_divergence(p: Any, q: Any, axis: Any, base: Any, keepdims: bool, out: Any, /) -> Any: ...
def js_divergence(p: Any, q: Any, axis: Any, base: Any, keepdims: bool, out: Any, /) -> Any: ...
def logsumexp(z: Any, axis: Any, base: Any, keepdims: bool, out: Any, /) -> Any: ...
def softmax(z: Any, axis: Any, out: Any, /) -> Any: ...
def log_softmax(z: Any, axis: Any, out: Any, /) -> Any: ...
def sigmoid(z: Any, base: Any, out: Any, /) -> Any: ...
def log_sigmoid(z: Any, base: Any, out: Any, /) -> Any: ...
def entropy_from_logits(z: Any, axis: Any, base: Any, keepdims: bool, out: Any, /) -> Any: ...
def binary_entropy_from_logits(z: Any, base: Any, out: Any, /) -> Any: ...
def kl_divergence_from_logits(
    p_logits: Any, q_logits: Any, axis: Any, base: Any, keepdims: bool, out: Any, /
) -> Any: ...
def js_divergence_from_logits(
    p_logits: Any, q_logits: Any, axis: Any, base: Any, keepdims: bool, out: Any, /
) -> Any: ...
def token_logprobs(logits: Any, tokens: Any, axis: Any, base: Any, out: Any, /) -> Any: ...
def binary_cross_entropy(
    labels: Any, q: Any, weight: Any, pos_weight: Any, label_smoothing: Any, base: Any, reduction: Any, out: Any, /
) -> Any: ...
def binary_cross_entropy_from_logits(
    labels: Any, logits: Any, weight: Any, pos_weight: Any, label_smoothing: Any, base: Any, reduction: Any, out: Any, /
) -> Any: ...
def categorical_cross_entropy(
    labels: Any,
    q: Any,
    axis: Any,
    weight: Any,
    sample_weight: Any,
    ignore_index: Any,
    label_smoothing: Any,
    base: Any,
    reduction: Any,
    out: Any,
    /,
) -> Any: ...
def categorical_cross_entropy_from_logits(
    labels: Any,
    logits: Any,
    axis: Any,
    weight: Any,
    sample_weight: Any,
    ignore_index: Any,
    label_smoothing: Any,
    base: Any,
    reduction: Any,
    out: Any,
    /,
) -> Any: ...
def binary_entropy_gradient(p: Any, base: Any, grad_output: Any, value: bool, out: Any, /) -> Any: ...
def binary_entropy_from_logits_gradient(z: Any, base: Any, grad_output: Any, value: bool, out: Any, /) -> Any: ...
def entropy_gradient(
    p: Any, axis: Any, base: Any, keepdims: bool, grad_output: Any, value: bool, out: Any, /
) -> Any: ...
def logsumexp_gradient(
    z: Any, axis: Any, base: Any, keepdims: bool, grad_output: Any, value: bool, out: Any, /
) -> Any: ...
def entropy_from_logits_gradient(
    z: Any, axis: Any, base: Any, keepdims: bool, grad_output: Any, value: bool, out: Any, /
) -> Any: ...
def cross_entropy_gradient(
    p: Any, q: Any, axis: Any, base: Any, keepdims: bool, wrt: Any, grad_output: Any, value: bool, out: Any, /
) -> Any: ...
def kl_divergence_gradient(
    p: Any, q: Any, axis: Any, base: Any, keepdims: bool, wrt: Any, grad_output: Any, value: bool, out: Any, /
) -> Any: ...
def js_divergence_gradient(
    p: Any, q: Any, axis: Any, base: Any, keepdims: bool, wrt: Any, grad_output: Any, value: bool, out: Any, /
) -> Any: ...
def kl_divergence_from_logits_gradient(
    p_logits: Any,
    q_logits: Any,
    axis: Any,
    base: Any,
    keepdims: bool,
    wrt: Any,
    grad_output: Any,
    value: bool,
    out: Any,
    /,
) -> Any: ...
def js_divergence_from_logits_gradient(
    p_logits: Any,
    q_logits: Any,
    axis: Any,
    base: Any,
    keepdims: bool,
    wrt: Any,
    grad_output: Any,
    value: bool,
    out: Any,
    /,
) -> Any: ...
def binary_cross_entropy_gradient(
    labels: Any,
    q: Any,
    weight: Any,
    pos_weight: Any,
    label_smoothing: Any,
    base: Any,
    reduction: Any,
    wrt: Any,
    grad_output: Any,
    value: bool,
    hessian: bool,
    out: Any,
    /,
) -> Any: ...
def binary_cross_entropy_from_logits_gradient(
    labels: Any,
    logits: Any,
    weight: Any,
    pos_weight: Any,
    label_smoothing: Any,
    base: Any,
    reduction: Any,
    wrt: Any,
    grad_output: Any,
    value: bool,
    hessian: bool,
    out: Any,
    /,
) -> Any: ...
def categorical_cross_entropy_gradient(
    labels: Any,
    q: Any,
    axis: Any,
    weight: Any,
    sample_weight: Any,
    ignore_index: Any,
    label_smoothing: Any,
    base: Any,
    reduction: Any,
    wrt: Any,
    grad_output: Any,
    value: bool,
    hessian: bool,
    out: Any,
    /,
) -> Any: ...
def categorical_cross_entropy_from_logits_gradient(
    labels: Any,
    logits: Any,
    axis: Any,
    weight: Any,
    sample_weight: Any,
    ignore_index: Any,
    label_smoothing: Any,
    base: Any,
    reduction: Any,
    wrt: Any,
    grad_output: Any,
    value: bool,
    hessian: bool,
    out: Any,
    /,
) -> Any: ...
def exp(x: Any, /) -> Any: ...
def log(x: Any, /) -> Any: ...
def log1p(x: Any, /) -> Any: ...
def expm1(x: Any, /) -> Any: ...
def bind(
    signature: _F, builtin: Callable[..., Any], names: tuple[str, ...], positional: int, values: dict[str, object], /
) -> _F: ...
def kernels() -> list[tuple[str, str]]: ...
def info() -> dict[str, Any]: ...
def swap_target(name: str | None, /) -> str | None: ...
def swap_threads(limit: int, /) -> int: ...
