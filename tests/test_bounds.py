"""The promise: nothing outside of an array is read or written, whatever its shape and layout."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np
import pytest

import kullback
from kullback import runtime

pytestmark = pytest.mark.parametrize("at_end", [False, True], ids=["begin", "end"])

# (rows, length): every tail, in one row, in whole packs of rows and in those and a part of one; rows of more than a block.
SHAPES = [(rows, n) for n in [*range(1, 18), 31, 40, 100] for rows in (1, 16, 35)]
SHAPES += [(66, 10), (300, 17), (9, 100), (66, 515), (18, 1_025), (3, 4_099)]
# Of arrays whose rows have pages without access between them.
APART = [(1, 3), (9, 100), (16, 2), (16, 7), (35, 3), (35, 13), (35, 40), (70, 10)]

Layout = tuple[str, int, int]
# The order of the axes, the step along the first and that along the last.
LAYOUTS: list[Layout] = [("C", 1, 1), ("C", -1, 1), ("C", 2, 1), ("C", -1, -2), ("F", 1, 1), ("F", -1, 1)]


def protect(page: int) -> None:
    no_access = 0
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), no_access) == 0


class Fenced:
    """An array whose memory begins or ends where pages without access do; what else is there are bits of NaN."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], layout: Layout, at_end: bool) -> None:
        order, *steps = layout
        steps = steps[: len(shape)]
        spans = [(n - 1) * abs(step) + 1 for n, step in zip(shape, steps, strict=True)]
        used = int(np.prod(spans)) * dtype.itemsize
        size = -(-used // mmap.PAGESIZE) * mmap.PAGESIZE
        pages = np.frombuffer(mmap.mmap(-1, size + 2 * mmap.PAGESIZE), np.uint8)
        for fence in (0, mmap.PAGESIZE + size):
            protect(pages.ctypes.data + fence)
        self.memory = pages[mmap.PAGESIZE : mmap.PAGESIZE + size]
        self.memory[...] = 0xFF
        inside = self.memory[size - used :] if at_end else self.memory[:used]
        self.array = np.ndarray(spans, dtype, inside, order=order)[tuple(slice(None, None, step) for step in steps)]
        assert self.array.shape == shape

    def nothing_else_is_written(self) -> bool:
        self.array.view(f"i{self.array.itemsize}")[...] = -1
        return bool((self.memory == 0xFF).all())


def rows_between_fences(a: np.ndarray, at_end: bool) -> np.ndarray:
    """A copy whose rows each begin or end where the page of its own does that they lie on, every other one without."""
    rows, length = len(a), a[0].nbytes
    pages = np.frombuffer(mmap.mmap(-1, 2 * rows * mmap.PAGESIZE), np.uint8)
    start = mmap.PAGESIZE - length if at_end else 0
    strides = (2 * mmap.PAGESIZE, *([a.itemsize] if a.ndim == 2 else []))
    copy = np.ndarray(a.shape, a.dtype, pages, start, strides)
    copy[...] = a
    for row in range(rows):
        protect(pages.ctypes.data + (2 * row + 1) * mmap.PAGESIZE)
    return copy


def fenced(a: np.ndarray, layout: Layout, at_end: bool) -> np.ndarray:
    copy = Fenced(a.shape, a.dtype, layout, at_end).array
    copy[...] = a
    return copy


def test_values(measure, dtype, target, at_end, same_bits):
    for shape in SHAPES:
        arrays = measure.arrays(dtype, shape)
        with runtime.target(target):
            want = measure(*arrays)
            for layout in LAYOUTS:
                out = Fenced(np.shape(want), want.dtype, layout, at_end)
                measure(*(fenced(a, layout, at_end) for a in arrays), out=out.array)
                assert same_bits(out.array, want), (shape, layout)
                assert out.nothing_else_is_written(), (shape, layout)


@pytest.mark.parametrize(("real", "label"), [(">f4", "i1"), (">f8", "u2"), ("?", "u8"), ("i1", ">i4")])
def test_converted_inputs(measure, target, real, label, at_end, same_bits):
    for shape in [(1, 1), (3, 5), (35, 10), (20, 100)]:
        numbers = [a if a.dtype.kind == "i" else a > 0.5 for a in measure.arrays(np.float64, shape)]
        arrays = [a.astype(label if a.dtype.kind == "i" else real) for a in numbers]
        with runtime.target(target):
            want = measure(*arrays)
            for layout in LAYOUTS:
                assert same_bits(measure(*(fenced(a, layout, at_end) for a in arrays)), want), (shape, layout)


def test_gradients(gradient, dtype, target, at_end, same_bits):
    for shape in SHAPES:
        arrays = gradient.measure.arrays(dtype, shape)
        with runtime.target(target):
            want = gradient(*arrays)
            for layout in LAYOUTS:
                outs = [Fenced(a.shape, a.dtype, layout, at_end) for a in want]
                into = tuple(out.array for out in outs)
                gradient(*(fenced(a, layout, at_end) for a in arrays), out=into if len(into) > 1 else into[0])
                for out, a in zip(outs, want, strict=True):
                    assert same_bits(out.array, a), (shape, layout)
                    assert out.nothing_else_is_written(), (shape, layout)


def along(axis: int, a: np.ndarray) -> np.ndarray:
    """With its rows along that axis, if there are any."""
    return np.moveaxis(a, -1, axis).copy() if a.ndim == 2 else a


@pytest.mark.parametrize("axis", [-1, 0])
def test_pages_between_rows(by_rows, dtype, target, axis, at_end, same_bits):
    for shape in APART:
        arrays = by_rows.arrays(dtype, shape)
        with runtime.target(target):
            want = along(axis, by_rows(*arrays))
            out = rows_between_fences(np.zeros_like(want), at_end)
            apart = [rows_between_fences(along(axis, a), at_end) for a in arrays]
            assert same_bits(by_rows(*apart, axis=axis, out=out), want), shape
            if axis == -1:
                assert same_bits(by_rows(*(a[::-1] for a in apart)), want[::-1]), shape


@pytest.mark.parametrize("axis", [-1, 0])
def test_gradients_with_pages_between_rows(row_gradient, dtype, target, axis, at_end, same_bits):
    for shape in APART:
        arrays = row_gradient.measure.arrays(dtype, shape)
        with runtime.target(target):
            want = [along(axis, a) for a in row_gradient(*arrays)]
            into = tuple(rows_between_fences(np.zeros_like(a), at_end) for a in want)
            apart = [rows_between_fences(along(axis, a), at_end) for a in arrays]
            row_gradient(*apart, axis=axis, out=into if len(into) > 1 else into[0])
        for got, a in zip(into, want, strict=True):
            assert same_bits(got, a), shape


@pytest.mark.parametrize("count", [1, 2, 9, 70])
def test_several_tokens_per_row(dtype, target, at_end, count, same_bits):
    for n in (2, 10, 40, 100):
        z = np.random.default_rng(n).standard_normal((35, n)).astype(dtype)
        tokens = np.random.default_rng(n).integers(0, n, (35, count))
        with runtime.target(target):
            want = kullback.token_logprobs(z, tokens)
            for layout in LAYOUTS:
                out = Fenced(want.shape, want.dtype, layout, at_end)
                kullback.token_logprobs(fenced(z, layout, at_end), fenced(tokens, layout, at_end), out=out.array)
                assert same_bits(out.array, want), (n, layout)
                assert out.nothing_else_is_written(), (n, layout)


def test_weights(loss, dtype, target, at_end, same_bits):
    for shape in SHAPES:
        arrays = loss.arrays(dtype, shape)
        each = np.shape(loss(*arrays, reduction=None))
        shapes = {name: shape[-1:] if name == "weight" else each for name in loss.weights}
        weights = {name: np.random.default_rng(1).random(shapes[name]).astype(dtype) for name in shapes}
        with runtime.target(target):
            want = loss(*arrays, **weights)
            for layout in LAYOUTS:
                inputs = [fenced(a, layout, at_end) for a in arrays]
                options = {name: fenced(a, layout, at_end) for name, a in weights.items()}
                assert same_bits(loss(*inputs, **options), want), (shape, layout)
