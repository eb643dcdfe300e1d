"""Types of arguments, for signatures."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Axis: TypeAlias = int | tuple[int, ...] | None
FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
Reduction: TypeAlias = Literal["sum", "mean"] | None
