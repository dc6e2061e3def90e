"""What a program computes with on chip: arrays of numbers, or shapes alone; both count their FLOPs.

An algorithm is written once, in NumPy's words. Given `OnChip` arrays it computes; given `Shape`s it computes nothing
but the shape of each result, so that a run over a million keys can be counted in no time. Either way each operation
tells the `Meter` what work it was.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


class Work(NamedTuple):
    """Floating-point operations: matrix products (a multiply and an add are two), exp, log and tanh, all others."""

    matmul: int = 0
    exp: int = 0
    other: int = 0

    @property
    def total(self) -> int:
        return self.matmul + self.exp + self.other

    def plus(self, more: Work, times: int = 1) -> Work:
        """Both together, `more` counted `times` times."""
        return Work(*(a + b * times for a, b in zip(self, more, strict=True)))


class Meter:
    """Adds up the work done since it was last read."""

    def __init__(self) -> None:
        self.work = Work()

    def add(self, work: Work) -> None:
        self.work = self.work.plus(work)

    def read(self) -> Work:
        work, self.work = self.work, Work()
        return work


def work_of(ufunc: np.ufunc, method: str, operands: list[tuple[int, ...]], result: tuple[int, ...]) -> Work:
    """The work of one NumPy operation, from the shapes of its operands and its result."""
    if ufunc is np.matmul:
        return Work(matmul=2 * prod(result) * operands[0][-1])
    if method == "reduce":
        return Work(other=prod(operands[0]) - prod(result))
    if ufunc in (np.exp, np.log, np.tanh):
        return Work(exp=prod(result))
    return Work(other=prod(result))


class OnChip(np.ndarray):
    """An array of numbers in SRAM that reports its work to a meter."""

    meter: Meter | None = None

    def __array_finalize__(self, parent: Any) -> None:
        self.meter = getattr(parent, "meter", None)

    def __array_ufunc__(self, ufunc: np.ufunc, method: Any, *operands: Any, **options: Any) -> Any:
        if "out" in options:
            raise TypeError("values on chip are not changed in place: write a = a + b, not a += b")
        plain = [np.asarray(a) if isinstance(a, OnChip) else a for a in operands]
        result = getattr(ufunc, method)(*plain, **options)
        if self.meter is not None:
            self.meter.add(work_of(ufunc, method, [np.shape(a) for a in plain], result.shape))
        return on_chip(result, self.meter)


def on_chip(values: np.ndarray, meter: Meter | None) -> OnChip:
    """`values` as an on-chip array that reports to `meter`, and is never written to again: a slot gets a new one."""
    array = values.view(OnChip)
    array.setflags(write=False)
    array.meter = meter
    return array


class Shape(NDArrayOperatorsMixin):
    """An array without numbers: only its shape, and what work was done to get there."""

    dtype = np.dtype(np.float32)

    def __init__(self, shape: tuple[int, ...], meter: Meter) -> None:
        self.shape, self.meter = shape, meter

    @property
    def T(self) -> Shape:
        return Shape(self.shape[::-1], self.meter)

    def __getitem__(self, column: tuple[slice, None]) -> Shape:  # x[:, None], the only indexing an algorithm does
        return Shape((*self.shape, 1), self.meter)

    def sum(self, axis: int) -> Shape:
        result = self.shape[:axis] + self.shape[axis + 1 :]
        self.meter.add(work_of(np.add, "reduce", [self.shape], result))
        return Shape(result, self.meter)

    max = sum

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands: Any, **options: Any) -> Shape:
        shapes = [a.shape if isinstance(a, Shape) else np.shape(a) for a in operands]
        if ufunc is np.matmul:
            (m, k), (rows, n) = shapes
            if k != rows:
                raise ValueError(f"cannot multiply {shapes[0]} by {shapes[1]}: the inner sizes differ")
            result: tuple[int, ...] = (m, n)
        else:
            result = np.broadcast_shapes(*shapes)
        self.meter.add(work_of(ufunc, method, shapes, result))
        return Shape(result, self.meter)


#: what an algorithm's variables hold; typed loosely because the same code takes both
Array = Any


def exp_sub(x: Array, m: Array) -> Array:
    """e^(x − m), and 0 where x is −∞ even if m is −∞ too: a row that has seen no key yet has nothing to weigh."""
    return np.exp(x - np.maximum(m, np.finfo(m.dtype).min))
