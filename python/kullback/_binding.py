"""How functions of `_core` get a signature and a docstring."""

from __future__ import annotations

from collections.abc import Callable
from functools import WRAPPER_ASSIGNMENTS, update_wrapper
from typing import Any, TypeVar

from . import _core

# What the inspect module looks for in functions, too.
_ASSIGNED = (*WRAPPER_ASSIGNMENTS, "__annotations__", "__code__", "__defaults__", "__kwdefaults__")

F = TypeVar("F", bound=Callable[..., Any])


def compiled(builtin: Callable[..., Any], **values: object) -> Callable[[F], F]:
    """Lets calls of a function go to one of `_core`, whose other parameters have `values`.

    A Python function that passes its arguments on would take longer than a small reduction does.
    """

    def decorate(signature: F) -> F:
        code = signature.__code__
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        absent = {**(signature.__kwdefaults__ or {}), **values}
        bound = _core.bind(signature, builtin, names, code.co_argcount, absent)
        update_wrapper(bound, signature, _ASSIGNED)
        return bound

    return decorate
