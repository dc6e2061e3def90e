"""Tensors as a kernel finds them: their memory looked up row by row, in the order of a view's dimensions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np


class Vector(NamedTuple):
    """A tensor whose every dimension counts rows, as those of LSE or D do: it has no columns."""

    view: Any


class Scores(NamedTuple):
    """A tensor with a number for each score: of its rows a tile has some columns, those of its keys."""

    view: Any


class Argument(NamedTuple):
    """A tensor that is not there yet: what a kernel is launched with as the argument `name`, as `view` has it."""

    name: str
    view: Callable[[Any], Any] = lambda given: given


@dataclass(frozen=True)
class Registered:
    """A tensor as the kernel finds it: an array over its very memory, whose last dimension may be columns."""

    name: str
    array: np.ndarray
    leading: int  # how many of its dimensions count rows
    scores: bool = False  # whether its tiles have columns

    @property
    def rows(self) -> int:
        return prod(self.array.shape[: self.leading])

    @property
    def columns(self) -> int:
        return prod(self.array.shape[self.leading :])

    def shape_of(self, start: int, stop: int) -> tuple[int, ...]:
        """The shape of rows start … stop − 1."""
        return (stop - start, *self.array.shape[self.leading :])

    @property
    def start(self) -> int:
        return int(self.array.__array_interface__["data"][0])

    @property
    def stop(self) -> int:
        if not self.array.size:
            return self.start
        ends = ((size - 1) * stride for size, stride in zip(self.array.shape, self.array.strides, strict=True))
        return self.start + int(sum(ends)) + self.array.itemsize

    def find(self, addresses: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """The row and the column of each address, or None where one of them is not of this tensor."""
        away, index = addresses.astype(np.int64) - self.start, [np.zeros(1, np.int64)] * self.array.ndim
        sizes, strides = self.array.shape, self.array.strides
        for axis in sorted(range(self.array.ndim), key=lambda axis: -strides[axis]):
            if sizes[axis] > 1:
                index[axis], away = np.divmod(away, strides[axis])
                if not ((index[axis] >= 0) & (index[axis] < sizes[axis])).all():
                    return None
        if away.any():
            return None
        index = [np.broadcast_to(part, addresses.shape) for part in index]
        row = np.ravel_multi_index(index[: self.leading], sizes[: self.leading]) if self.leading else 0
        column = index[-1] if self.leading < self.array.ndim else np.zeros(addresses.shape, np.int64)
        return np.asarray(row), column

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start … stop − 1 as they are in memory now, a copy."""
        rows = np.unravel_index(np.arange(start, stop), self.array.shape[: self.leading])
        values: np.ndarray = self.array[rows]
        return values


class Region(NamedTuple):
    """Rows start … stop − 1 of a tensor, and columns left … right − 1 of them; (0, 1) for a vector."""

    tensor: str
    start: int
    stop: int
    left: int
    right: int


def registered(name: str, given: Any) -> Registered:
    """A tensor's memory as an array. Raises ValueError, with its name, where that can't be."""
    view = given.view if isinstance(given, Vector | Scores) else given
    if not hasattr(view, "data_ptr"):
        raise ValueError(f"{name} is {type(view).__name__}: give a torch tensor, or Vector(tensor)")
    if view.device.type != "cpu":
        raise ValueError(f"{name} is on {view.device}: the interpreter's kernels are recorded on the CPU")
    array = _memory(view.detach())
    extents = sorted((stride, size) for size, stride in zip(array.shape, array.strides, strict=True) if size > 1)
    room = array.itemsize
    for stride, size in extents:
        if stride < room:
            raise ValueError(f"{name} has strides {tuple(view.stride())}: some of its elements share one address")
        room = stride * size
    leading = array.ndim if isinstance(given, Vector) or array.ndim < 2 else array.ndim - 1
    return Registered(name, array, leading, isinstance(given, Scores))


def _memory(tensor: Any) -> np.ndarray:
    """An array over a tensor's memory, with its strides."""
    import torch

    if tensor.dtype == torch.bfloat16:
        import ml_dtypes

        array: np.ndarray = tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    else:
        array = tensor.numpy()
    return array[None] if array.ndim == 0 else array


def runs(rows: np.ndarray) -> list[tuple[int, int]]:
    """Rows in order, cut where one is missing: (start, stop) of each run."""
    found = np.unique(rows)
    breaks = np.flatnonzero(np.diff(found) > 1) + 1
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(found, breaks)]


def lanes(live: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Where in a loaded block its rows and its columns are, each in order; None where a block is no matrix of them."""
    if live.ndim > 2 and max(live.shape[:-2]) > 1:
        return None
    block = live.reshape(live.shape[-2:]) if live.ndim > 1 else live[:, None]
    row, column = np.full(block.shape, -1), np.full(block.shape, -1)
    row[block], column[block] = rows, columns
    for turn in (False, True):
        r, c, there = (part.T if turn else part for part in (row, column, block))
        at_row, at_column = r.max(axis=1), c.max(axis=0)
        if (((r == at_row[:, None]) & (c == at_column)) | ~there).all():
            return _in_order(at_row), _in_order(at_column)
    return None


def _in_order(numbers: np.ndarray) -> np.ndarray:
    """The places of those that are there (not −1), the lowest first."""
    places = np.argsort(numbers, kind="stable")
    found: np.ndarray = places[numbers[places] >= 0]
    return found
