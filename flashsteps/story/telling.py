"""What is worth telling of a run beyond the captions of its lines: a max that moves, a tile that is skipped."""

from __future__ import annotations

import numpy as np

from ..machine.events import Event
from ..trace.trace import Trace
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


def strongest(weights: np.ndarray) -> tuple[int, int]:
    """Of softmax's weights (queries, keys), the query that looks hardest at a key, and that key.

    The first key and the query itself don't count, if any query looks elsewhere: many heads rest there.
    """
    best = weights.argmax(axis=1)
    elsewhere = [row for row, key in enumerate(best) if key not in (0, row)] or range(len(best))
    row = max(elsewhere, key=lambda row: float(weights[row, best[row]]))
    return row, int(best[row])
