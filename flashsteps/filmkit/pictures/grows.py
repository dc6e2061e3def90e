"""What S and P take as tokens grow: areas to scale, and bars beside what a GPU holds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from ...machine.devices import Device
from ...runs.counting import count
from ...story.labels import a
from ...units import short
from .. import shapes
from ..actors.areas import Areas
from ..actors.bars import Bar, Bars, Mark
from ..values import Made

D, HEADS = 64, 16  # of GPT-2 medium
DOUBLED, FOURFOLD = (64, 128, 256, 512, 1024), (1 << 10, 1 << 12, 1 << 14, 1 << 16)
MOST = FOURFOLD[-1]


def doubling(n: Any, before: Any, named: Any, middle: bool) -> tuple[Areas, Bars]:
    """Q, K, V and S for `n` tokens, and an outline of what was `before`; all at one scale."""
    room = DOUBLED[-1] + shapes.BESIDE * D
    areas = Areas(Made(shapes.scores, n, D, before), room, room, middle)
    each = {"Q": "×2 each time", "K": "×2 each time", "V": "×2 each time", "S": "×4 each time"}
    there = Made(float.is_integer, n)  # an N on its way has no number
    bars = tuple(
        Bar(name, Made(lambda n, of=name: held(n, of), n), name, under=each[name], stands=there) for name in each
    )
    title = Made(lambda n: f"one head, d = {D}: N = {short(n)} tokens", named)
    return areas, Bars(bars, held(DOUBLED[-1], "S"), title=title)


def fourfold(n: Any, amounts: Sequence[Any], gpu: Device, middle: bool) -> tuple[Areas, Bars]:
    """S for `n` tokens over those before, and S and P of each N so far, beside what a GPU has."""
    side, room = FOURFOLD[2] + shapes.BESIDE * D, gpu.memory * 1e9
    areas = Areas(Made(shapes.nested, n, D, FOURFOLD), side, side, middle)
    bars = tuple(Bar(short(N), amount, "S", whole=room) for N, amount in zip(FOURFOLD, amounts, strict=True))
    title = f"S and P of one head; dashed: all that {a(gpu.model)} holds"
    return areas, Bars(bars, max(room, held(MOST, "SP")), title=title)


def packed(there: Any, gpu: Device, middle: bool) -> tuple[Areas, Bars]:
    """So many heads' S and P, beside what the GPU has."""
    room, one = gpu.memory * 1e9, held(MOST, "SP")
    areas = Areas(Made(shapes.packed, there, room / one, gpu.model), 4, 4.45, middle)
    bars = Bar("S and P", Made(lambda n: n * one, there), "S"), Bar(gpu.model, room, "dim")
    title = Made(lambda n: f"{n:.0f} of {HEADS} heads", there)
    return areas, Bars(bars, HEADS * one, marks=(Mark(room),), title=title)


@cache
def held(n: float, tensors: str) -> int:
    """Bytes of these tensors, one head, fp16: each is written or read once, and S and P both."""
    moved = count("standard-forward", n=round(n), d=D, block_q=D, block_k=D).by_tensor
    return sum(max(moved[name]) for name in tensors)
