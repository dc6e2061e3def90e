"""The strongest score that a mask of blocks leaves out: where it is, and a card that says what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..actors.cards import Card
from ..actors.matrix import Region
from ..run import Run


class LeftOut(NamedTuple):
    """Its cell, framed, and its card."""

    cell: Region
    card: Card


def strongest_left_out(run: Run, S: np.ndarray, skipped: Sequence[Region]) -> LeftOut:
    """Of the scores in skipped tiles; the card names the next one, too."""
    outside = np.full(S.shape, -np.inf)
    for r in skipped:
        part = np.s_[int(r.top) : int(r.bottom), int(r.left) : int(r.right)]
        outside[part] = S[part]
    row, key = np.unravel_index(int(outside.argmax()), S.shape)
    second = np.where(outside == outside.max(), -np.inf, outside)
    at = np.unravel_index(int(second.argmax()), S.shape)
    asks, of = run.quoted("queries", int(row)), run.quoted("keys", int(key))
    next_to = f"{run.quoted('queries', int(at[0]))} for {run.quoted('keys', int(at[1]))}"
    figures = (
        ("its score", f"{S[row, key]:.3f}"),
        (f"the next, {next_to}", f"{second.max():.3f}"),
        ("its weight, by the mask", "0"),
    )
    words = "The highest score that the mask leaves out: the framed cell."
    cell = Region(int(row), int(row) + 1, int(key), int(key) + 1, "accent")
    return LeftOut(cell, Card(f"{asks} for {of}", words, figures))
