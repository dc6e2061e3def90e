"""The moments of a run: steps that a film tells as one, the rounds that they make up, what is there between them.

Plain data, from the trace alone: nothing here knows of time, or draws.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from ..machine.events import Event, Moved
from ..trace import narration
from ..trace.trace import Trace

Moment = tuple[Event, ...]

#: what a column of statistics shows: the first of these slots that holds something of use
STATS = {"m": ("m_new", "m_i"), "α": ("alpha",), "ℓ": ("l_new", "l_i")}

#: slots that share the place of the scores
SCORES = ("P", "S")


class Held(NamedTuple):
    """What a slot holds: the value, the step that made it, the last step that reads it (or the same, if none does)."""

    value: np.ndarray
    step: int
    last_read: int


class Picture(NamedTuple):
    """Everything between two moments: HBM, each program's slots and next step, the bytes moved so far."""

    hbm: Mapping[str, np.ndarray]
    sram: Mapping[int, Mapping[str, Held]]
    moved: Mapping[str, Moved]
    clock: Mapping[int, int]


class Round(NamedTuple):
    """One tile of the loops, side by side that of each program: its moments are start … stop − 1; `tiles` are made,
    `hidden` are skipped, (block of queries, block of keys) each."""

    number: int
    start: int
    stop: int
    tiles: tuple[tuple[int, int], ...]
    hidden: tuple[tuple[int, int], ...]


def grouped(
    trace: Trace, round_of: Sequence[int], slowly: Collection[int], lanes: int, singly: bool = False
) -> Iterator[Moment]:
    """Rounds that are told slowly event by event, all others in phases; side by side, the same of all programs."""
    told = set(slowly)
    drawn = {slot for slots in STATS.values() for slot in slots if slot != "alpha"}
    rows = list(_side_by_side(trace, lanes))
    key = lambda row: any(round_of[event.step] in told for event in row)  # noqa: E731
    for slow, stretch in groupby(rows, key):
        if slow:
            waiting: Moment = ()  # what no place shows is told with what comes next
            for row in stretch:
                waiting += row
                event = row[0]
                if singly or event.op != "compute" or len(event.shape) == 2 or event.slot in drawn:
                    yield waiting
                    waiting = ()
            if waiting:
                yield waiting
            continue
        for _, phase in groupby(stretch, lambda row: (row[0].op, tuple(round_of[e.step] for e in row))):
            yield tuple(event for row in phase for event in row)


def _side_by_side(trace: Trace, lanes: int) -> Iterator[Moment]:
    """Each event on its own, or the same step of up to `lanes` programs."""
    if lanes == 1:
        yield from ((event,) for event in trace)
        return
    programs = [list(events) for _, events in groupby(trace, key=lambda event: event.program)]
    for first in range(0, len(programs), lanes):
        rows: dict[tuple[int, ...], list[Event]] = {}
        for program in programs[first : first + lanes]:
            for key, event in _aligned(program):
                rows.setdefault(key, []).append(event)
        yield from (tuple(rows[key]) for key in sorted(rows))


def _aligned(program: Iterable[Event]) -> Iterator[tuple[tuple[int, ...], Event]]:
    """Where each event of a program stands: before, within or after its inner loop; which round; which line."""
    stage = 0
    for event in program:
        inner = tuple(event.loop.values())[1:]
        stage = 1 if inner else 2 if stage else 0
        yield (stage, *(inner or (0,)), event.line), event


def rounds_of(trace: Trace, round_of: Sequence[int], moments: Sequence[Moment], lanes: int) -> Iterator[Round]:
    """Moments that are of the same tile of the loops, in each of the programs that run side by side."""
    base: dict[int, int] = {}
    for event in trace:
        base.setdefault(event.program, round_of[event.step])
    first = [moment[0] for moment in moments]
    keys = [(event.program // lanes, round_of[event.step] - base[event.program]) for event in first]
    start = 0
    for number, (_, stretch) in enumerate(groupby(keys)):
        stop = start + len(list(stretch))
        events = [event for moment in moments[start:stop] for event in moment]
        made, hidden = (
            tuple(dict.fromkeys((e.loop.get("i", e.program), e.loop.get("j", 0)) for e in events if of(e)))
            for of in (lambda e: e.slot in SCORES, lambda e: e.op == "skip")
        )
        yield Round(number, start, stop, made, hidden)
        start = stop


def pictures(trace: Trace, moments: Sequence[Moment]) -> Iterator[Picture]:
    """A replay in the film's order. Programs share nothing on chip, so side by side they come to the same."""
    last_read = _last_reads(trace)
    hbm: dict[str, np.ndarray] = trace.initial
    sram: dict[int, dict[str, Held]] = {}
    moved: dict[str, Moved] = {}
    clock: dict[int, int] = {}
    yield Picture(hbm, sram, moved, clock)
    for moment in moments:
        for event in moment:
            values = {slot: held.value for slot, held in sram.get(event.program, {}).items()}
            hbm, values = trace.advance(event, hbm, values)
            if event.op in ("load", "compute"):
                new = Held(values[event.slot], event.step, last_read.get(event.step, event.step))
                sram = {**sram, event.program: {**sram.get(event.program, {}), event.slot: new}}
            if event.tile and event.nbytes:
                was = moved.get(event.tile.tensor, Moved())
                read, written = (event.nbytes, 0) if event.op == "load" else (0, event.nbytes)
                moved = {**moved, event.tile.tensor: Moved(was.read + read, was.written + written)}
            clock = {**clock, event.program: event.step + 1}
        yield Picture(hbm, sram, moved, clock)


def _last_reads(trace: Trace) -> dict[int, int]:
    """Step that made a value → the last step that reads it."""
    lines = narration.of(trace.meta)
    made: dict[tuple[int, str], int] = {}
    last: dict[int, int] = {}
    for event in trace:
        reads = set(lines[event.line].reads) if event.op == "compute" else set[str]()
        if event.op == "store" or event.op == "load" and event.row:  # what is loaded below other rows joins them
            reads.add(event.slot)
        for slot in reads:
            if (event.program, slot) in made:
                last[made[event.program, slot]] = event.step
        if event.op in ("load", "compute"):
            made[event.program, event.slot] = event.step
    return last
