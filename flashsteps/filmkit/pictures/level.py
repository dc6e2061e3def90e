"""Where tiled attention moves what standard attention does: how tall its tiles are there, as dots on the curves."""

from __future__ import annotations

from ...traffic import formulas
from ..actors.curve import Dot, Rule
from .by_size import FLASH, FLASH2, STANDARD, TILE, TOKENS, D, moved


def heights() -> tuple[float, float]:
    """Queries of FlashAttention-2's tiles, and keys of FlashAttention's."""
    return formulas.flash2_level(D), formulas.flash_level(D)


def marks() -> tuple[tuple[Dot, Dot], tuple[Rule, Rule]]:
    """A dot for each of the two, and a line from it down to its number."""
    (queries, keys), level = heights(), moved(STANDARD, TOKENS, TILE)
    dots = Dot(queries, level, "d/2", side="below left"), Dot(keys, level, "¾d + 2", side="above right")
    return dots, (Rule(queries, f"{queries:g}"), Rule(keys, f"{keys:g}"))


def meet() -> bool:
    """Do both move as much as standard attention there, to 1%?"""
    level = moved(STANDARD, TOKENS, TILE)
    near = [moved(name, TOKENS, int(at)) / level for name, at in zip((FLASH2, FLASH), heights(), strict=True)]
    return max(abs(ratio - 1) for ratio in near) < 0.01
