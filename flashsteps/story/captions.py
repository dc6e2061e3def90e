"""What is said at each step of a run: the caption of its line, or what is special about it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..machine.events import Event
from ..trace import narration
from ..trace.trace import Trace
from .labels import opening
from .telling import LEAST, SKIPPED, moved_max


def shown(trace: Trace) -> list[narration.Line]:
    """The lines of code to show: those of the functions that ran; all of them, where that can't be told."""
    body = narration.body(trace.meta)
    lines = body if all(event.line in body for event in trace) else narration.of(trace.meta)
    return list(lines.values())


def captions(trace: Trace) -> list[str]:
    """One sentence for the start of the run, then one for each event."""
    return [opening(trace), *_captions(trace)]


def _captions(trace: Trace) -> Iterator[str]:
    known, standing = narration.of(trace.meta), ""
    scores: tuple[int, np.ndarray | None] = 0, None  # the program, and its newest tile
    for n, event in enumerate(trace):
        value = trace.values[n] if trace.values else None
        standing = known[event.line].caption or standing
        if event.slot == "S" and value is not None:
            scores = event.program, value
        tile = scores[1] if scores[0] == event.program else None
        if event.op == "skip":
            yield SKIPPED
        elif event.slot == "alpha" and value is not None and tile is not None:
            yield _shrunk(trace, event, value, tile) or standing
        else:
            yield standing


def _shrunk(trace: Trace, event: Event, alpha: np.ndarray, scores: np.ndarray) -> str:
    """What to say where a max moved: that of the row that shrinks most. "" where none did."""
    moved = (alpha > LEAST) & (alpha < 1)
    if not moved.any() or len(alpha) != len(scores):
        return ""
    row = int(np.argmin(np.where(moved, alpha, 2)))
    return moved_max(trace, event, row, scores, float(alpha[row]))
