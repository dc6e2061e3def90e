"""From tensors to a running kernel: tile sizes, tensor descriptors, the grid and the device."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import triton
from triton.runtime.errors import OutOfResources
from triton.tools.tensor_descriptor import TensorDescriptor

from . import checks, relaunch
from .problem import Problem
from .targets.configs import Config
from .targets.target import Launch, Target, interpreted, pretended, target

#: of keys and values, in bytes, that programs which run at one time may work on: what an L2 of 40 or 50 MB keeps
L2_BYTES = 32 << 20

#: an axis of a grid other than the first has at most so many programs
MOST = 65_535


class Tiles(NamedTuple):
    """block_q tokens a program; on chip they are block_m rows, of d numbers (d_v: of values); block_n keys."""

    block_q: int
    block_m: int
    block_n: int
    d: int
    d_v: int

    @property
    def plain(self) -> bool:
        """Whether each row on chip is a token of its own, so that TMA can fetch a tile of queries."""
        return self.block_m == self.block_q


@lru_cache(checks.KEPT, typed=True)
def tiles(problem: Problem, config: Config, block_q: int | None = None, block_k: int | None = None) -> Tiles:
    """The tile that a program works on: as asked for, or of the config; no larger than there are queries and keys.

    Raises ValueError for sizes that a kernel can't have.
    """
    tokens = max(1, config.block_m // problem.group) if block_q is None else checks.positive("block_q", block_q)
    tokens = min(tokens, int(triton.next_power_of_2(max(problem.n, 1))))
    block_n = config.block_n if block_k is None else checks.power_of_2("block_k", block_k)
    rows = checks.up(tokens * problem.group)
    widths = checks.on_chip_d(problem.d), checks.on_chip_d(problem.d_v)
    return Tiles(tokens, rows, min(block_n, checks.up(problem.m)), *widths)


def arguments(kernel: Any, problem: Problem, tiles: Tiles) -> dict[str, Any]:
    """What a kernel is told of the problem and the tile, as far as it asks: by its names. Not to be changed."""
    return _arguments(tuple(kernel.arg_names), problem, tiles, target(problem.device))


@lru_cache(checks.KEPT)
def _arguments(names: tuple[str, ...], problem: Problem, tiles: Tiles, on: Target) -> dict[str, Any]:
    known = {
        "heads_kv": problem.kv_heads,
        "section": max(1, L2_BYTES // max(1, problem.m * (tiles.d + tiles.d_v) * problem.dtype.itemsize)),
        "N": problem.packed or problem.n,
        "M": problem.m,
        "scale": problem.scale,
        "softcap": problem.softcap,
        "left": problem.left,
        "right": problem.right,
        "GROUP": problem.group,
        "HEAD_DIM": problem.d,
        "D": tiles.d,
        "HEAD_DIM_V": problem.d_v,
        "D_V": tiles.d_v,
        "BLOCK_Q": tiles.block_q,
        "BLOCK_M": tiles.block_m,
        "BLOCK_N": tiles.block_n,
        "LEFT": problem.left >= 0,
        "RIGHT": problem.right >= 0,
        "SOFTCAP": problem.softcap > 0,
        "MASK": problem.mask,
        "SINKS": problem.sinks,
        "VARLEN": problem.packed > 0,
        "EVEN": not problem.packed and problem.m % tiles.block_n == 0,
        "EVEN_Q": not problem.packed and problem.n % tiles.block_q == 0,
        # under a causal mask some blocks take longer than others; with a window to both sides all take as long
        "HEAVY_FIRST": problem.right >= 0 > problem.left and on.backend != "interpreter",
        # float32 on NVIDIA's matrix units: the sum of three products of tf32, as good as one of float32; where rows are
        # wide, these take more registers than there are
        "PRECISION": "tf32x3" if on.backend == "cuda" and max(tiles.d, tiles.d_v) <= 128 else "ieee",
    }
    return {name: value for name, value in known.items() if name in names}


def grid(problem: Problem, blocks: int) -> tuple[int, ...]:
    """(blocks, parts), or (blocks, key-value heads, batch) where one axis can't have so many parts."""
    if problem.parts <= MOST:
        return blocks, problem.parts
    return blocks, problem.kv_heads, problem.batch


def descriptor(x: torch.Tensor, rows: int, columns: int | None = None) -> TensorDescriptor:
    """A descriptor of x (B, heads, n, d) that fetches so many rows of one head at a time, whole or so many columns."""
    made = TensorDescriptor.__new__(TensorDescriptor)
    vars(made).update(_form(x.shape, x.stride(), x.dtype, rows, columns), base=x)
    return made


@lru_cache(checks.KEPT)
def _form(
    shape: torch.Size, strides: tuple[int, ...], dtype: torch.dtype, rows: int, columns: int | None
) -> dict[str, Any]:
    """All of a descriptor but its tensor, looked at by Triton once: that takes longer than all else."""
    steps = [
        stride if size > 1 else strides[2] if shape[2] > 1 else 16 for size, stride in zip(shape, strides, strict=True)
    ]
    block = [1, 1, rows, columns or checks.on_chip_d(shape[3])]
    return dict(vars(TensorDescriptor(torch.empty(0, dtype=dtype), list(shape), [*steps[:3], 1], block)))


def fetched(wanted: bool, rows: int, **tensors: torch.Tensor) -> tuple[dict[str, Any], bool]:
    """Tensors (B, heads, n, d) as a kernel fetches them, `rows` rows at a time, and whether that is by descriptors.

    It is where that is wanted, and TMA can.
    """
    if wanted and checks.describable(*tensors.values()):
        return {name: descriptor(x, rows) for name, x in tensors.items()}, True
    return dict(tensors), False


def of_scores(attn_mask: torch.Tensor | None, problem: Problem, tile: Tiles, wanted: bool) -> dict[str, Any]:
    """What is given of each score, as kernels are given it: bias, its strides, and whether TMA fetches it.

    It does where that is `wanted`, and the mask is such that TMA can.
    """
    if attn_mask is None:
        return {"bias": None, "bias_strides": None, "TMA_BIAS": False}
    bias = attn_mask.view(torch.uint8) if attn_mask.dtype == torch.bool else attn_mask
    if wanted and tile.plain and problem.mask_in_tiles:
        own = tuple(int(size > 1) for size in bias.shape[:2])
        return {"bias": descriptor(bias, tile.block_m, tile.block_n), "bias_strides": own, "TMA_BIAS": True}
    bias = bias.expand(problem.batch, problem.heads, problem.n, problem.m)
    return {"bias": bias, "bias_strides": bias.stride(), "TMA_BIAS": False}


def starting(starts: tuple[torch.Tensor, torch.Tensor] | None) -> dict[str, Any]:
    """Where sequences of packed queries and keys begin, as kernels are given it."""
    return dict(zip(("starts_q", "starts_k"), starts or (None, None), strict=True))


def outputs(problem: Problem, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Room for o (B, H, N, d_v), laid out as q is, and lse (B, H, N), float32."""
    return like(q, problem.d_v), torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)


def like(q: torch.Tensor, d_v: int) -> torch.Tensor:
    """Room for what q (B, H, N, d) is for, d_v wide, laid out as q is."""
    if q.shape[3] == d_v:
        return torch.empty_like(q)
    shape, order = (*q.shape[:3], d_v), sorted(range(3), key=lambda axis: -q.stride(axis))
    return q.new_empty([shape[axis] for axis in (*order, 3)]).permute([*map(order.index, range(3)), 3])


def strides(**tensors: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """The strides of all dimensions but the last, as kernels are given them: q_strides for q."""
    return {f"{name}_strides": x.stride()[:3] for name, x in tensors.items()}


def launch(kernel: Any, programs: tuple[int, ...], problem: Problem, options: dict[str, int], **arguments: Any) -> None:
    """Run a kernel on the problem's device, compiled with these options."""
    if (launches := pretended()) is not None:
        launches.append(Launch(kernel, programs, arguments, options))
        return
    try:
        if interpreted():
            _say_so()
            with _quiet():
                kernel[programs](**arguments, **options)
        else:
            with torch.cuda.device(problem.device.index):  # by index, since a device takes longer
                relaunch.run(kernel, programs, options, arguments)
    except OutOfResources as error:
        raise ValueError(
            f"{error.name} holds {error.limit:,} but a program needs {error.required:,}: choose smaller blocks"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """A GPU gives ∞ and NaN without a word; NumPy, which the interpreter computes with, would warn of ln 0 = −∞."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        yield


_said = False


def _say_so() -> None:
    global _said
    if not _said:
        _said = True
        warnings.warn("flashsteps' kernels run in Triton's interpreter: right, but slow", stacklevel=2)
