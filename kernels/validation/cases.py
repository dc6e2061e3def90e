"""What `flashsteps validate` runs: the kernels by name, and the cases that each is tried on. Plain data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from flashsteps.errors import unknown

#: each kernel, and the algorithm whose twin it is
TWINS = {
    "forward": "flash2-forward",
    "backward": "flash2-backward",
    "block-sparse": "flash2-block-sparse-forward",
    "split-kv-decode": "split-kv-decode",
    "paged-decode": "paged-decode",
}

DEVICES = ("cpu", "cuda")

#: how `shape` has it
FORM = "BATCH,HEADS,N,D, with HEADS as 4 or 4/2 (of keys and values), N as 20 or 20/33 (queries, keys)"


class Shape(NamedTuple):
    """q (batch, heads, n, d), k and v (batch, kv_heads, m, d)."""

    batch: int
    heads: int
    kv_heads: int
    n: int
    m: int
    d: int

    @property
    def parts(self) -> int:
        """What is computed apart: batch entries times key-value heads."""
        return self.batch * self.kv_heads

    @property
    def group(self) -> int:
        """How many heads share one key-value head."""
        return self.heads // self.kv_heads

    def __str__(self) -> str:
        heads = f"{self.heads}" if self.heads == self.kv_heads else f"{self.heads}/{self.kv_heads}"
        tokens = f"{self.n}" if self.n == self.m else f"{self.n}/{self.m}"
        return f"{self.batch},{heads},{tokens},{self.d}"


@dataclass(frozen=True)
class Case:
    """A kernel, a shape, options. Blocks are of queries and keys; None: those of the kernel's own configuration.

    With `descriptors`, tiles are fetched by TMA's descriptors as far as the kernel can, not by pointers. `d_v` is how
    wide values are, if not as keys; `bias` is "shared" by all heads, or one for each of the "heads".
    """

    kernel: str
    shape: Shape
    dtype: str = "float16"
    causal: bool = False
    window: tuple[int, int] | None = None
    softcap: float | None = None
    scale: float | None = None
    block_q: int | None = 16
    block_k: int | None = 16
    splits: int = 3
    block_mask: str = "butterfly"
    descriptors: bool = False
    d_v: int | None = None
    bias: str | None = None
    sinks: bool = False
    seed: int = 0

    @property
    def algorithm(self) -> str:
        return TWINS[self.kernel]

    @property
    def mask(self) -> str | None:
        """As the reference calls it."""
        window = [f"window:{self.window[0]},{self.window[1]}"] if self.window else []
        return "+".join([*["causal"] * self.causal, *window]) or None

    @property
    def options(self) -> str:
        """What is special, in words."""
        tiles = [f"{self.block_q}×{self.block_k}"] if self.block_q and self.block_k else []
        softcap = [f"softcap {self.softcap:g}"] if self.softcap else []
        scale = [f"scale {self.scale:g}"] if self.scale else []
        width = [f"d_v {self.d_v}"] if self.d_v else []
        more = [*([f"bias {self.bias}"] if self.bias else []), *["sinks"] * self.sinks, *width]
        tma = ["TMA"] if self.descriptors else []
        own = {"block-sparse": [self.block_mask], "split-kv-decode": [f"{self.splits} pieces"]}.get(self.kernel, [])
        return ", ".join([*tiles, *([self.mask] if self.mask else []), *scale, *softcap, *more, *own, *tma])

    def __str__(self) -> str:
        return f"{self.kernel} {self.shape} ({self.options}, {self.dtype})"


def shape(text: str) -> Shape:
    """The shape that a text says, as in FORM. Raises ValueError, one line, for any other."""
    found = re.fullmatch(r"(\d{1,9}),(\d{1,9})(?:/(\d{1,9}))?,(\d{1,9})(?:/(\d{1,9}))?,(\d{1,9})", text, re.ASCII)
    if not found:
        raise ValueError(f"shape {text!r} makes no sense: give {FORM}")
    batch, heads, kv_heads, n, m, d = (int(number) if number else 0 for number in found.groups())
    made = Shape(batch, heads, kv_heads or heads, n, m or n, d)
    if not all(made):
        raise ValueError(f"shape {text!r} has a 0: give 1 or more of each")
    if made.heads % made.kv_heads:
        raise ValueError(f"shape {text!r}: {made.heads} heads are no multiple of {made.kv_heads}, which they share")
    return made


def cases(kernels: Sequence[str] = (), shapes: Sequence[Shape] = (), device: str = "cpu") -> list[Case]:
    """The cases of these kernels (all unless given), on these shapes (each with all of a kernel's options) or on ours.

    On a GPU blocks are those of the kernels' configurations, and bfloat16 is tried, too. A batch shares a bias and
    sinks, and the reference has none: with them a case has one entry. Raises ValueError for an unknown kernel, and for
    a shape that a kernel doesn't take.
    """
    for kernel in kernels:
        if kernel not in TWINS:
            raise ValueError(unknown("kernel", kernel, TWINS))
    found = [case for case in (_OURS if device == "cpu" else _ON_A_GPU) if not kernels or case.kernel in kernels]
    if shapes:
        found = list(dict.fromkeys(replace(case, shape=_held(case, given)) for given in shapes for case in found))
    for case in found:
        if case.kernel == "paged-decode" and case.shape.batch > 1:
            raise ValueError(f"shape {case.shape}: paged-decode is held against one cache: give a batch of 1")
    return found


def _held(case: Case, shape: Shape) -> Shape:
    return shape._replace(batch=1) if case.bias or case.sinks else shape


_DECODE = Shape(1, 4, 2, 1, 75, 32)

_OURS = (
    Case("forward", Shape(2, 2, 2, 48, 48, 32)),
    Case("forward", Shape(1, 4, 2, 33, 45, 24), causal=True),
    Case("forward", Shape(1, 2, 1, 40, 40, 16), "float32", window=(9, 3)),
    Case("forward", Shape(1, 3, 1, 21, 37, 40), causal=True, window=(12, -1), softcap=8.0, block_q=5),
    Case("forward", Shape(1, 2, 2, 48, 40, 32), causal=True, descriptors=True),
    Case("forward", Shape(1, 2, 1, 24, 33, 24), "float32", softcap=1e-3),
    Case("forward", Shape(1, 2, 1, 24, 33, 24), "float32", causal=True, softcap=1e6),
    Case("forward", Shape(1, 4, 2, 33, 45, 24), causal=True, bias="heads", sinks=True),
    Case("forward", Shape(1, 2, 1, 20, 33, 24), "float32", window=(9, 3), softcap=8.0, bias="shared", d_v=16),
    Case("forward", Shape(1, 2, 2, 20, 33, 16), sinks=True, d_v=40, descriptors=True),
    Case("backward", Shape(1, 2, 2, 32, 32, 32), descriptors=True),
    Case("backward", Shape(1, 4, 2, 33, 45, 24), causal=True),
    Case("backward", Shape(1, 2, 1, 29, 29, 16), "float32", window=(9, 3), softcap=8.0),
    Case("backward", Shape(1, 2, 1, 24, 33, 24), "float32", softcap=1e6),
    Case("backward", Shape(1, 4, 2, 20, 29, 24), causal=True, bias="heads", d_v=16),
    Case("backward", Shape(1, 2, 1, 20, 29, 16), "float32", softcap=8.0, bias="shared"),
    Case("block-sparse", Shape(1, 2, 2, 64, 64, 32), "float32"),
    Case("block-sparse", Shape(1, 4, 2, 50, 70, 24), causal=True, block_mask="random:0.5,1", descriptors=True),
    Case("split-kv-decode", _DECODE, descriptors=True),
    Case("split-kv-decode", Shape(1, 6, 2, 3, 50, 24), "float32", causal=True),
    Case("paged-decode", _DECODE),
    Case("paged-decode", Shape(1, 6, 2, 3, 50, 24), "float32", causal=True),
)

_LARGE, _LONG = Shape(2, 8, 2, 1000, 1000, 64), Shape(1, 8, 2, 1, 3000, 128)

#: what a Hopper GPU runs kernels of its own for (those for heads of 64 are among the others)
_OF_HOPPER = tuple(
    Case(name, Shape(1, 4, 2, 500, 777, d), dtype, block_q=None, block_k=None, **options)
    for d, how in ((128, ({}, {"causal": True}, {"window": (200, -1)})), (256, ({}, {"causal": True})))
    for options in how
    for name in ("forward", "backward")
    for dtype in ("bfloat16", "float16")
)

_ON_A_GPU = _OF_HOPPER + tuple(
    replace(case, dtype=dtype)
    for case in (
        *(Case(name, _LARGE, causal=causal, block_q=None, block_k=None)
          for name in ("forward", "backward") for causal in (False, True)),
        *(Case(name, Shape(1, 6, 2, 500, 777, 80), window=(200, 0), softcap=cap, block_q=None, block_k=None)
          for name in ("forward", "backward") for cap in (20.0, 1e6)),
        *(Case(name, Shape(1, 4, 2, 500, 777, 96), causal=True, bias="heads", d_v=64, block_q=None, block_k=None)
          for name in ("forward", "backward")),
        Case("forward", _LARGE._replace(batch=1), causal=True, sinks=True, block_q=None, block_k=None),
        *(Case("block-sparse", _LARGE, causal=causal, block_q=64, block_k=64) for causal in (False, True)),
        Case("split-kv-decode", _LONG, block_q=None, block_k=None, splits=8),
        Case("paged-decode", _LONG, block_q=None),
    )
    for dtype in ("float16", "bfloat16", "float32")
)  # fmt: skip
