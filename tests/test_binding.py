"""The promise: a function bound in the core takes its arguments, and looks, as one of Python's does."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import pydoc
import sys
import typing
import weakref

import pytest

import kullback
from kullback import _core


def plain(labels, logits, *, weight=None, reduction=None):
    """What CPython says of wrong arguments."""


def test_arguments_are_bound_as_python_binds_them():
    bound = _core.bind(
        plain,
        _core.binary_cross_entropy_from_logits,
        ("labels", "logits", "weight", "reduction"),
        2,
        {"weight": None, "pos_weight": None, "label_smoothing": 0.0, "base": None, "reduction": None, "out": None},
    )
    want = kullback.binary_cross_entropy_from_logits([1, 0], [2.0, 3.0], weight=0.5, reduction="sum")
    made_at_run_time = {name[:1] + name[1:]: x for name, x in {"weight": 0.5, "reduction": "sum"}.items()}
    assert bound([1, 0], [2.0, 3.0], weight=0.5, reduction="sum") == want
    assert bound([1, 0], reduction="sum", logits=[2.0, 3.0], weight=0.5) == want
    assert bound(logits=[2.0, 3.0], labels=[1, 0], **made_at_run_time) == want
    assert bound(*[[1, 0], [2.0, 3.0]], **made_at_run_time) == want
    wrong = [
        ((), {}),
        ((1,), {}),
        ((), {"logits": 1.0}),
        ((1, 2.0, None), {}),
        ((1, 2.0, None, None, None), {}),
        ((1, 2.0), {"labels": 1}),
        ((1, 2.0), {"out": None}),
        ((1, 2.0), {"Weight": None}),
        ((1, 2.0), {"": None}),
    ]
    for arguments, keywords in wrong:
        with pytest.raises(TypeError) as want:
            plain(*arguments, **keywords)
        with pytest.raises(TypeError) as got:
            bound(*arguments, **keywords)
        assert str(got.value) == str(want.value)


@pytest.mark.parametrize(
    ("builtin", "names", "positional", "values", "message"),
    [
        (_core.sigmoid, ("z",), 1, {"base": None}, "out has no value"),
        (_core.sigmoid, ("z", "axis"), 1, {"base": None, "out": None}, "axis is no parameter"),
        (_core.sigmoid, ("z",), 2, {"base": None, "out": None}, "there are fewer names"),
        (len, ("z",), 1, {}, "expected a function of this module"),
        (plain, ("z",), 1, {}, "expected a function of this module"),
    ],
)
def test_bind_refuses_what_does_not_fit(builtin, names, positional, values, message):
    with pytest.raises(TypeError, match=f"^bind: {message}$"):
        _core.bind(plain, builtin, names, positional, values)


@pytest.mark.parametrize("module", [kullback, kullback.grad, kullback.value_and_grad], ids=lambda m: m.__name__)
def test_functions_are_like_those_of_python(module):
    functions = [getattr(module, name) for name in module.__all__ if callable(getattr(module, name))]
    assert len(functions) >= 14
    for function in functions:
        assert function.__doc__
        assert inspect.isroutine(function)
        assert inspect.getmodule(function).__name__ == function.__module__
        assert getattr(sys.modules[function.__module__], function.__name__) is function
        assert pickle.loads(pickle.dumps(function)) is function
        assert copy.deepcopy(function) is function
        assert weakref.ref(function)() is function
        assert repr(function) == f"<function {function.__qualname__}>"
        assert typing.get_type_hints(function)["return"] is typing.Any
        assert inspect.getfullargspec(function).kwonlyargs == list(function.__kwdefaults__)
        assert function.__name__ in pydoc.render_doc(function)


def test_functions_become_methods():
    class Row(list):
        entropy = kullback.entropy

    assert Row([0.5, 0.5]).entropy(base=2) == 1
    assert Row.entropy is kullback.entropy


def test_bound_functions_are_collected():
    def bind():
        def sigmoid(z):
            pass

        sigmoid.bound = _core.bind(sigmoid, _core.sigmoid, ("z",), 1, {"base": None, "out": None})
        sigmoid.bound.itself = sigmoid.bound
        assert sigmoid.bound(0.0) == 0.5
        return weakref.ref(sigmoid.bound)

    references = [bind() for _ in range(3)]
    gc.collect()
    assert [reference() for reference in references] == [None] * 3
