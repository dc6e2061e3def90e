"""From tensors to a running kernel: tile sizes, tensor descriptors, the grid and the device."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import triton
from triton.runtime.errors import OutOfResources
from triton.tools.tensor_descriptor import TensorDescriptor

from . import checks
from .problem import Problem
from .targets.configs import Config
from .targets.target import Launch, Target, interpreted, pretended, target

#: of keys and values, in bytes, that programs which run at one time may work on: what an L2 of 40 or 50 MB keeps
L2_BYTES = 32 << 20

#: an axis of a grid other than the first has at most so many programs
MOST = 65_535

#: of so many problems it is kept what follows from them: a model asks for the same few again and again
KEPT = 1024


class Tiles(NamedTuple):
    """block_q tokens a program; on chip they are block_m rows, of d numbers; block_n keys."""

    block_q: int
    block_m: int
    block_n: int
    d: int

    @property
    def plain(self) -> bool:
        """Whether each row on chip is a token of its own, so that TMA can fetch a tile of queries."""
        return self.block_m == self.block_q


@lru_cache(KEPT, typed=True)
def tiles(problem: Problem, config: Config, block_q: int | None = None, block_k: int | None = None) -> Tiles:
    """The tile that a program works on: as asked for, or of the config; no larger than there are queries and keys.

    Raises ValueError for sizes that a kernel can't have.
    """
    tokens = max(1, config.block_m // problem.group) if block_q is None else checks.positive("block_q", block_q)
    tokens = min(tokens, int(triton.next_power_of_2(max(problem.n, 1))))
    block_n = config.block_n if block_k is None else checks.power_of_2("block_k", block_k)
    rows = checks.up(tokens * problem.group)
    return Tiles(tokens, rows, min(block_n, checks.up(problem.m)), checks.on_chip_d(problem.d))


def arguments(kernel: Any, problem: Problem, tiles: Tiles) -> dict[str, Any]:
    """What a kernel is told of the problem and the tile, as far as it asks: by its names. Not to be changed."""
    return _arguments(tuple(kernel.arg_names), problem, tiles, target(problem.device))


@lru_cache(KEPT)
def _arguments(names: tuple[str, ...], problem: Problem, tiles: Tiles, on: Target) -> dict[str, Any]:
    known = {
        "heads_kv": problem.kv_heads,
        "section": max(1, L2_BYTES // max(1, 2 * problem.m * tiles.d * problem.dtype.itemsize)),
        "N": problem.n,
        "M": problem.m,
        "scale": problem.scale,
        "softcap": problem.softcap,
        "left": problem.left,
        "right": problem.right,
        "GROUP": problem.group,
        "HEAD_DIM": problem.d,
        "D": tiles.d,
        "BLOCK_Q": tiles.block_q,
        "BLOCK_M": tiles.block_m,
        "BLOCK_N": tiles.block_n,
        "LEFT": problem.left >= 0,
        "RIGHT": problem.right >= 0,
        "SOFTCAP": problem.softcap > 0,
        "EVEN": problem.m % tiles.block_n == 0,
        "EVEN_Q": problem.n % tiles.block_q == 0,
        # under a causal mask some blocks take longer than others; with a window to both sides all take as long
        "HEAVY_FIRST": problem.right >= 0 > problem.left and on.backend != "interpreter",
        # float32 on NVIDIA's matrix units: the sum of three products of tf32, as good as one of float32; where rows are
        # wide, these take more registers than there are
        "PRECISION": "tf32x3" if on.backend == "cuda" and tiles.d <= 128 else "ieee",
    }
    return {name: value for name, value in known.items() if name in names}


def grid(problem: Problem, blocks: int) -> tuple[int, ...]:
    """(blocks, parts), or (blocks, key-value heads, batch) where one axis can't have so many parts."""
    if problem.parts <= MOST:
        return blocks, problem.parts
    return blocks, problem.kv_heads, problem.batch


def describable(*tensors: torch.Tensor) -> bool:
    """Whether TMA can fetch from each of these (B, heads, n, d): rows lie at multiples of 16 bytes, none repeated."""
    return all(x.data_ptr() % 16 == 0 and _regular(x.shape, x.stride(), x.element_size()) for x in tensors)


@lru_cache(KEPT)
def _regular(shape: torch.Size, strides: tuple[int, ...], size: int) -> bool:
    return all(
        n == 1 or (stride > 0 and stride * size % 16 == 0) for n, stride in zip(shape[:3], strides, strict=False)
    )


def descriptor(x: torch.Tensor, rows: int, d: int) -> TensorDescriptor:
    """A descriptor of x (B, heads, n, d) that fetches so many rows of one head at a time, `d` wide on chip."""
    made = TensorDescriptor.__new__(TensorDescriptor)
    vars(made).update(_form(x.shape, x.stride(), x.dtype, rows, d), base=x)
    return made


@lru_cache(KEPT)
def _form(shape: torch.Size, strides: tuple[int, ...], dtype: torch.dtype, rows: int, d: int) -> dict[str, Any]:
    """All of a descriptor but its tensor, looked at by Triton once: that takes longer than all else."""
    steps = [
        stride if size > 1 else strides[2] if shape[2] > 1 else 16 for size, stride in zip(shape, strides, strict=True)
    ]
    whole = TensorDescriptor(torch.empty(0, dtype=dtype), list(shape), [*steps[:3], 1], [1, 1, rows, d])
    return dict(vars(whole))


def fetched(wanted: bool, rows: int, d: int, **tensors: torch.Tensor) -> tuple[dict[str, Any], bool]:
    """Tensors (B, heads, n, d) as a kernel fetches them, `rows` rows at a time, and whether that is by descriptors.

    It is where that is wanted, and TMA can.
    """
    if wanted and describable(*tensors.values()):
        return {name: descriptor(x, rows, d) for name, x in tensors.items()}, True
    return dict(tensors), False


def strides(**tensors: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """The strides of all dimensions but the last, as kernels are given them: q_strides for q."""
    return {f"{name}_strides": x.stride()[:3] for name, x in tensors.items()}


def launch(kernel: Any, programs: tuple[int, ...], problem: Problem, options: dict[str, int], **arguments: Any) -> None:
    """Run a kernel on the problem's device, compiled with these options."""
    if (launches := pretended()) is not None:
        launches.append(Launch(kernel, programs, arguments, options))
        return
    if interpreted():
        _say_so()
    try:
        with _on(problem.device):
            kernel[programs](**arguments, **options)
    except OutOfResources as error:
        raise ValueError(
            f"{error.name} holds {error.limit:,} but a program needs {error.required:,}: choose smaller blocks"
        ) from None


def _on(device: torch.device) -> AbstractContextManager[Any]:
    if device.type == "cuda":
        guard: AbstractContextManager[Any] = torch.cuda.device(device)
        return guard
    # a GPU gives ∞ and NaN without a word; NumPy, which the interpreter computes with, would warn of ln 0 = −∞
    return np.errstate(all="ignore") if interpreted() else nullcontext()


_said = False


def _say_so() -> None:
    global _said
    if not _said:
        _said = True
        warnings.warn("flashsteps' kernels run in Triton's interpreter: right, but slow", stacklevel=2)
