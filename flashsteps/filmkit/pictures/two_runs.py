"""Two runs of one algorithm, transfer by transfer: their sources with the line lit, and their tapes, ticked off."""

from __future__ import annotations

from typing import Any

from ...machine.events import Event
from ...theme import hue, label
from ...trace.trace import Trace
from ..actors.code import Listing
from ..actors.pairs import Pairs, Transfer
from ..values import Made

NAMES = "reference", "kernel"


def in_order(trace: Trace) -> list[Event]:
    """What crosses the bus, program by program."""
    return sorted((event for event in trace if event.nbytes), key=lambda event: (event.program, event.step))


def alike(one: Event, other: Event) -> bool:
    return (one.op, one.tile, one.nbytes, one.program) == (other.op, other.tile, other.nbytes, other.program)


def listing(n: int, lines: tuple[tuple[int, str], ...], moves: tuple[Event, ...], seen: Any) -> Listing:
    """One of the two sources, with the line lit that makes the transfer at hand."""
    lit = Made(lambda at: moves[int(at)].line if int(at) < at else moves[max(0, int(at) - 1)].line if at else 0, seen)
    title, where = ("NumPy reference", "flashsteps/algorithms") if n == 0 else ("Triton kernel", "kernels")
    return Listing(title, where, lines, lit)


def tapes(moves: tuple[tuple[Event, ...], ...], same: tuple[bool, ...], seen: Any) -> Pairs:
    first, second = (
        tuple(Transfer(label(e.tile.tensor), hue(e.tile.tensor), e.op == "store") for e in some if e.tile)
        for some in moves
    )
    starts = [n for n, e in enumerate(moves[0]) if n == 0 or e.program != moves[0][n - 1].program]
    parts = tuple((f"program {moves[0][n].program}", n) for n in starts)
    return Pairs(NAMES, first, second, same, seen, parts)


def said(moves: tuple[Event, ...], at: float) -> str:
    """The transfer at hand, in words."""
    if not at:
        return ""
    event = moves[min(int(at), len(moves) - 1) if int(at) < at else max(0, int(at) - 1)]
    return f"{event.op} {event.tile}  {event.nbytes:,} B in each"
