"""The max that moves most in a run, and which rounds are worth telling step by step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..machine.events import Event
from ..trace.trace import Trace
from .rounds import rounds
from .telling import LEAST


class Shrink(NamedTuple):
    """A max that moves: of `row` of its tile, by which key, and what becomes of the row's sum."""

    event: Event
    row: int
    query: int
    key: int
    m: tuple[float, float]
    alpha: float
    l: tuple[float, float]


def slow_rounds(trace: Trace, *more: int) -> set[int]:
    """The rounds that are worth telling step by step: the first in which something is computed, that of the max that
    moves most, and `more` (−1 is the last)."""
    of = rounds(trace)
    first = next((of[event.step] for event in trace if event.slot == "S" and event.op == "compute"), 0)
    moves = max_that_moves(trace)
    last = max(of)
    return {first, *([of[moves.event.step]] if moves else []), *(n % (last + 1) for n in more)}


def max_that_moves(trace: Trace) -> Shrink | None:
    """The smallest α of a run that isn't as good as 0, with all that is told of it."""
    best: Shrink | None = None
    pending: dict[int, tuple[Event, np.ndarray, np.ndarray, np.ndarray]] = {}
    hbm, sram, program = trace.initial, dict[str, np.ndarray](), -1
    before: dict[str, np.ndarray] = {}
    for event in trace if trace.values else ():
        if event.program != program:
            program, sram, before = event.program, {}, {}
        if event.op == "compute" and event.slot in ("m_i", "m_new"):
            before["m"] = sram.get("m_i", np.full(event.shape, -np.inf))
        if event.op == "compute" and event.slot in ("l_i", "l_new"):
            before["l"] = sram.get("l_i", np.zeros(event.shape))
        hbm, sram = trace.advance(event, hbm, sram)
        if event.op == "compute" and event.slot == "alpha":
            pending[program] = event, sram["alpha"], before["m"], sram["S"]
        if event.op == "compute" and event.slot in ("l_i", "l_new") and program in pending:
            at, alpha, m_old, scores = pending.pop(program)
            moves = (alpha > LEAST) & (alpha < 1)
            if not moves.any():
                continue
            row = int(np.argmin(np.where(moves, alpha, 2)))
            if best and alpha[row] >= best.alpha:
                continue
            m_new = sram["m_new"] if "m_new" in sram else sram["m_i"]
            query = at.loop.get("i", at.program) * trace.meta["block_q"] + row
            key = at.loop.get("j", 0) * trace.meta["block_k"] + int(np.argmax(scores[row]))
            l_old = before["l"]
            best = Shrink(
                at, row, query, key, (float(m_old[row]), float(m_new[row])), float(alpha[row]),
                (float(l_old[row]), float(sram[event.slot][row])),
            )  # fmt: skip
    return best
