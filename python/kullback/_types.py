"""Types of arguments, for signatures."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Axis: TypeAlias = int | tuple[int, ...] | None
FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
Reduction: TypeAlias = Literal["sum", "mean"] | None

PairWrt: TypeAlias = Literal["p", "q", "both"]
LogitPairWrt: TypeAlias = Literal["p_logits", "q_logits", "both"]
LossWrt: TypeAlias = Literal["labels", "q", "both"]
LogitLossWrt: TypeAlias = Literal["labels", "logits", "both"]

# Where gradients go: one, or two as a pair. In a pair each may be None.
PairOut: TypeAlias = tuple[FloatArray | None, FloatArray | None] | None
GradientOut: TypeAlias = FloatArray | PairOut
ValueAndGradientOut: TypeAlias = tuple[FloatArray | None, GradientOut] | None
