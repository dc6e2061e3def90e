"""What the kernels for Hopper share: registers, barriers, descriptors, and how a tile of scores is begun."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from triton._C.libtriton import ir
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language._core import builtin
from triton.experimental.gluon.language.nvidia.hopper import mbarrier
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from . import checks

#: registers a thread: 384 threads begin with as many, then the producer gives most of its own to the warpgroups
REGISTERS, CONSUMING, PRODUCING = 168, 240, 24


@gluon.jit
def barriers(COUNT: gl.constexpr, ARRIVALS: gl.constexpr):
    """So many barriers in shared memory, each of which is passed after so many arrivals."""
    made = gl.allocate_shared_memory(gl.int64, [COUNT, 1], mbarrier.MBarrierLayout())
    for at in gl.static_range(COUNT):
        mbarrier.init(made.index(at), count=ARRIVALS)
    return made


@gluon.jit
def wait_for(bars, t, STAGES: gl.constexpr, pred):
    """Wait until the barrier of the stage that tile t has is passed for as often as stages have been used before it."""
    mbarrier.wait(bars.index(t % STAGES), (t // STAGES) & 1, pred=pred)


@builtin
def tma_add(tensor: Any, coord: Any, src: Any, _semantic: Any = None) -> None:
    """Add a block of shared memory to its place in HBM: what `tma.async_copy_shared_to_global` is to a store."""
    at = _semantic._convert_to_ir_values(coord, require_i64=False)
    _semantic.builder.create_async_tma_reduce(ir.DESCRIPTOR_REDUCE_KIND.ADD, tensor.handle, at, src.handle)


@gluon.jit
def begun(lse, low, high, first, zero, BLOCK_M: gl.constexpr, LEFT: gl.constexpr, CUT: gl.constexpr,
          LAYOUT: gl.constexpr):  # fmt: skip
    """What the scores of a tile are added to: −LSE of each row, but −∞ where a key is not seen: by low … high it is."""
    s, zero = gl.broadcast(lse[None, :], zero)
    if CUT:
        token = gl.arange(0, BLOCK_M, gl.SliceLayout(0, LAYOUT))[None, :]
        seen = token >= (low - first)[:, None]
        if LEFT:
            seen = seen & (token <= (high - first)[:, None])
        s = gl.where(seen, s, float("-inf"))
    return s


# ---- what TMA is told of a tensor


def described(x: torch.Tensor, block: list[int], swizzle: int = 128) -> TensorDescriptor:
    """A descriptor that copies blocks of x."""
    return bound(x, form(x.shape, x.stride(), x.dtype, tuple(block), swizzle))


def bound(x: torch.Tensor, known: dict[str, Any]) -> TensorDescriptor:
    """A descriptor of x, of a form that is known."""
    made = TensorDescriptor.__new__(TensorDescriptor)
    vars(made).update(known, base=x)
    return made


@lru_cache(checks.KEPT)
def form(
    shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype, block: tuple[int, ...], swizzle: int = 128
) -> dict[str, Any]:
    """All of a descriptor but its tensor, looked at by Triton once: that takes longer than all else.

    The stride of a dimension of one element is never used, but has to fit.
    """
    steps = [stride if size > 1 else 16 for size, stride in zip(shape, strides, strict=True)]
    layout = _layout(swizzle, 8 * dtype.itemsize, len(block))
    of = torch.empty(0, dtype=dtype)
    return dict(vars(TensorDescriptor(of, list(shape), [*steps[:-1], 1], list(block), layout)))


@lru_cache
def _layout(swizzle: int, bits: int, rank: int) -> gl.NVMMASharedLayout:
    """How a block lies in shared memory: one object for all blocks that lie alike, by which a launch is known again."""
    return gl.NVMMASharedLayout(swizzle, element_bitwidth=bits, rank=rank)
