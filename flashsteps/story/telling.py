"""What is worth telling of a run beyond the captions of its lines: a max that moves, a tile that is skipped."""

from __future__ import annotations

import numpy as np

from ..trace.trace import Event, Trace
from .labels import key_label, query_label

#: an α below this is as good as 0: there is nothing to tell of it
LEAST = 0.005

#: what is said of a tile that no query may see
SKIPPED = "These queries may not see these keys: the tile is skipped, and nothing moves."


def moved_max(trace: Trace, event: Event, row: int, scores: np.ndarray, alpha: float) -> str:
    """The caption of a max that moves: that of `row` of this tile, whose `scores` it is taken from."""
    group = trace.meta.get("heads", 1) // trace.meta.get("kv_heads", 1)  # its heads are packed as rows
    query = event.loop.get("i", 0) * trace.meta["block_q"] + row // group
    key = event.loop.get("j", 0) * trace.meta["block_k"] + int(np.argmax(scores[row]))
    asks, answers = query_label(trace, query), key_label(trace, key)
    words = f"{answers} beats the old max of {asks}: its old sum and output shrink by α = {alpha:.2f}."
    if len(words) > 90:
        words = f"A larger score in row {query}: its old sum and output shrink by α = {alpha:.2f}."
    return words[0].upper() + words[1:]
