"""What a program computes with on chip: arrays of numbers, or shapes alone; both count their FLOPs.

An algorithm is written once, in NumPy's words. Given `OnChip` arrays it computes; given `Shape`s it computes nothing
but the shape of each result, so that a run over a million keys can be counted in no time. Either way each operation
tells the `Meter` what work it was.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import normalize_axis_index
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
    """An array of numbers in SRAM that reports its work to a meter.

    `masked`: −∞ in it means that a key is hidden, or that none was seen yet. In any other it is a number that grew too
    large, and so is a −∞ that two finite numbers add up to, here made +∞, which no slot takes.
    """

    meter: Meter | None = None
    masked = False

    def __array_finalize__(self, parent: Any) -> None:
        self.meter, self.masked = getattr(parent, "meter", None), getattr(parent, "masked", False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: Any, *operands: Any, **options: Any) -> Any:
        if "out" in options:
            raise TypeError("values on chip are not changed in place: write a = a + b, not a += b")
        plain = [np.asarray(a) if isinstance(a, OnChip) else a for a in operands]
        result = getattr(ufunc, method)(*plain, **options)
        if self.meter is not None:
            self.meter.add(work_of(ufunc, method, [np.shape(a) for a in plain], result.shape))
        masked = ufunc is np.log or any(getattr(a, "masked", False) for a in operands)
        if masked and ufunc is np.add and method == "__call__":
            grew = np.isneginf(result) & np.isfinite(plain[0]) & np.isfinite(plain[1])
            result = np.where(grew, np.inf, result) if grew.any() else result
        return on_chip(result, self.meter, masked and ufunc is not np.exp)


def on_chip(values: Any, meter: Meter | None, masked: bool = False) -> OnChip:
    """`values` as an on-chip array that reports to `meter`, and is never written to again: a slot gets a new one."""
    array = np.asarray(values).view(OnChip)  # of one number, too, which NumPy gives as a scalar
    array.setflags(write=False)
    array.meter, array.masked = meter, masked
    return array


class Shape(NDArrayOperatorsMixin):
    """An array without numbers: only its shape, and what work was done to get there.

    What it cannot follow exactly it refuses in one line, a ValueError: a count is right, or there is none.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, shape: tuple[int, ...], meter: Meter) -> None:
        self.shape, self.meter = shape, meter

    @property
    def T(self) -> Shape:
        return Shape(self.shape[::-1], self.meter)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Shape:
        parts = key if isinstance(key, tuple) else (key,)
        if not all(part is None or part is ... or isinstance(part, int | np.integer | slice) for part in parts):
            raise _not_counted("an index that depends on numbers")
        return Shape(np.broadcast_to(np.float32(0), self.shape)[key].shape, self.meter)

    def sum(self, axis: int | None = None, keepdims: bool = False) -> Shape:
        return self._reduced(np.add, axis, keepdims)

    def max(self, axis: int | None = None, keepdims: bool = False) -> Shape:
        return self._reduced(np.maximum, axis, keepdims)

    def _reduced(self, ufunc: np.ufunc, axis: int | None, keepdims: bool) -> Shape:
        gone = range(self.ndim) if axis is None else {normalize_axis_index(axis, self.ndim)}
        kept = [(1 if at in gone else n) for at, n in enumerate(self.shape) if keepdims or at not in gone]
        self.meter.add(work_of(ufunc, "reduce", [self.shape], tuple(kept)))
        return Shape(tuple(kept), self.meter)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands: Any, **options: Any) -> Shape:
        if "out" in options:
            raise _not_counted("a change in place (write a = a + b)")
        if method == "reduce" and set(options) <= {"axis", "keepdims"}:
            return self._reduced(ufunc, options.get("axis", 0), bool(options.get("keepdims", False)))
        if method != "__call__" or options or ufunc.nout != 1 or (ufunc.signature and ufunc is not np.matmul):
            raise _not_counted(f"np.{ufunc.__name__}{'' if method == '__call__' else f'.{method}'} so called")
        shapes = [a.shape if isinstance(a, Shape) else np.shape(a) for a in operands]
        if ufunc is np.matmul:
            if [len(shape) for shape in shapes] != [2, 2]:
                raise _not_counted(f"a product of {shapes[0]} and {shapes[1]}, which are no two matrices")
            (m, k), (rows, n) = shapes
            if k != rows:
                raise ValueError(f"cannot multiply {shapes[0]} by {shapes[1]}: the inner sizes differ")
            result: tuple[int, ...] = (m, n)
        else:
            result = np.broadcast_shapes(*shapes)
        self.meter.add(work_of(ufunc, method, shapes, result))
        return Shape(result, self.meter)

    def __array_function__(self, function: Any, *_: Any) -> Any:
        raise _not_counted(f"np.{function.__name__}")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise _not_counted("an array made of it")

    def __bool__(self) -> bool:
        raise _not_counted("a branch that depends on numbers")

    def __float__(self) -> float:
        raise _not_counted("a number taken out of it")

    __int__ = __index__ = __float__

    def __iter__(self) -> Any:
        raise _not_counted("a loop over its rows")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python and NumPy ask whether it is there
            raise AttributeError(name)
        raise _not_counted(f".{name}")


def _not_counted(what: str) -> ValueError:
    return ValueError(
        f"counting knows shapes, no numbers, and cannot follow {what}: use arithmetic, @, slices, .T, .sum and .max "
        "with an axis, or record the run instead"
    )


#: what an algorithm's variables hold; typed loosely because the same code takes both
Array = Any


def exp_sub(x: Array, m: Array) -> Array:
    """e^(x − m), and 0 where x is −∞ even if m is −∞ too: a row that has seen no key yet has nothing to weigh."""
    return np.exp(x - np.maximum(m, np.finfo(m.dtype).min))


def div_sum(x: Array, l: Array) -> Array:
    """x / ℓ, and 0 where ℓ is 0: a row that has seen no key has nothing to share out.

    ℓ holds e^0 of its largest score, so it is 1 or more; but rounding may leave it just short of that (a GPU that fuses
    e^(x − m) into one step, α that is rounded), so it is not ℓ < 1 that tells such a row, it is ℓ = 0.
    """
    return x / np.maximum(l, np.finfo(l.dtype).tiny)
