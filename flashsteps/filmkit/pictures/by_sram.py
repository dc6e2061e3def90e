"""A larger SRAM holds taller tiles: the four blocks that it holds, to scale, and FlashAttention's traffic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...machine.devices import Device
from ...story.labels import a
from ...traffic import formulas
from ...units import short
from .. import shapes
from ..actors.areas import Areas
from ..actors.bars import Bar, Bars, Mark
from ..values import Made
from .by_size import STANDARD, TILE, TOKENS, D, moved

SRAMS = (1 << 13, 1 << 14, 1 << 15, 1 << 16)  # numbers


def larger(n: Any, values: Sequence[Any]) -> tuple[Areas, Bars]:
    """SRAM of `n` numbers, and the bytes of each of `SRAMS` as far as they have come."""
    chip = Areas(Made(shapes.blocks, n, D, SRAMS[-1]), 4 * D + 12, SRAMS[-1] / 4 / D + 12, middle=True)
    bars = tuple(
        Bar(
            f"M = {short(M)}",
            now,
            "accent",
            under=f"{formulas.flash_blocks(M, D)[1]} keys a tile",
        )
        for M, now in zip(SRAMS, values, strict=True)
    )
    marks, title = (Mark(moved(STANDARD, TOKENS, TILE), "standard"),), f"FlashAttention’s traffic, N = {short(TOKENS)}"
    chart = Bars(bars, with_sram(SRAMS[0]), marks=marks, title=title)
    return chip, chart


def with_sram(M: int) -> int:
    """FlashAttention's bytes with the tiles that the paper makes of M numbers."""
    return formulas.flash_forward(TOKENS, TOKENS, D, *formulas.flash_blocks(M, D)).nbytes()


def on_a_chip(gpu: Device) -> str:
    """How large M is on a GPU, as a sentence says it."""
    shared = gpu.shared_per_sm
    words = f"{a(gpu.model)}’s SM has {shared} KiB of shared memory: M = {shared / 2:.0f}K in fp16"
    return f"{words[0].upper()}{words[1:]}"
