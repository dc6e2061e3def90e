"""The kernels of a run: programs that begin at one line do the same work, each with rows of its own."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

from ..machine.events import Event
from ..theme import rank
from ..trace.trace import Trace


class Kernel(NamedTuple):
    """Its programs, and its steps start … stop − 1; the tensors that come in, and those that go out."""

    programs: range
    start: int
    stop: int
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def kernels(trace: Trace) -> list[Kernel]:
    """In the order of the run."""
    programs = [list(events) for _, events in groupby(trace, key=lambda event: event.program)]
    found = []
    for _, alike in groupby(programs, key=lambda events: events[0].line):
        each = list(alike)
        events = [event for events in each for event in events]
        first, last = events[0], events[-1]
        reads, writes = (moved(events, op) for op in ("load", "store"))
        found.append(Kernel(range(first.program, last.program + 1), first.step, last.step + 1, reads, writes))
    return found


def moved(events: Iterable[Event], *ops: str) -> tuple[str, ...]:
    """The tensors that steps of these kinds move, in the order in which films name tensors."""
    names = dict.fromkeys(event.tile.tensor for event in events if event.tile and event.op in ops)
    return tuple(sorted(names, key=rank))


def turns(trace: Trace, kernel: Kernel) -> list[int]:
    """Of each of its steps, how many times it has gone round before: its programs, or the outermost loops of one."""
    keys: dict[object, int] = {}
    found = []
    for event in trace[kernel.start : kernel.stop]:
        key: object = event.program if len(kernel.programs) > 1 else next(iter(event.loop.items()), None)
        found.append(keys.setdefault(key, len(keys)) if key is not None else max(0, len(keys) - 1))
    return found
