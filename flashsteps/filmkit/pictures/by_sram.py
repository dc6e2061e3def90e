"""A larger SRAM holds taller tiles: the four blocks that it holds, to scale, and FlashAttention's traffic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...traffic import formulas
from ...units import short
from .. import shapes
from ..actors.areas import Areas
from ..actors.bars import Bar, Bars, Mark
from ..values import Made
from .by_size import SRAMS, STANDARD, TILE, TOKENS, D, moved, with_sram


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
