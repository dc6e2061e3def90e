"""Which round of its loops each step belongs to: inner tiles, numbered in the order in which a run comes to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..machine.events import Event
from ..trace.trace import Trace

#: steps that are told together: one, or the same one of programs side by side
Moment = tuple[Event, ...]


def rounds(trace: Trace) -> list[int]:
    """Which inner tile each event belongs to, from 0: its own, or, around the inner loop, the next, or the last."""
    moments = [(event,) for event in trace]
    return [tick[0] for tick in upcoming(moments, ticks(trace, moments))]


def ticks(trace: Trace, moments: Sequence[Moment]) -> dict[tuple[object, ...], int]:
    """Inner tiles, numbered as the moments come to them: the rounds of loops in which something is computed."""
    depth: dict[int, int] = {}
    for event in trace:
        depth[event.program] = max(depth.get(event.program, 0), len(event.loop))
    numbers: dict[tuple[object, ...], int] = {}
    for moment in moments:
        for event in moment:
            if event.op in ("compute", "skip") and event.loop and len(event.loop) == depth[event.program]:
                numbers.setdefault(round_of(event), len(numbers))
    return numbers


def upcoming(moments: Sequence[Moment], ticks: Mapping[tuple[object, ...], int]) -> Iterator[tuple[int, ...]]:
    """The ticks of each moment: its own, or, around the inner loop, those that come next, or came last."""
    own = [tuple(sorted(ticks[round_of(e)] for e in moment if round_of(e) in ticks)) for moment in moments]
    following: tuple[int, ...] = ()
    ahead: list[tuple[int, ...]] = []
    for number in range(len(moments) - 1, -1, -1):
        programs = {e.program for e in moments[number]}
        if own[number]:
            following, owner = own[number], programs
        ahead.append(following if following and not own[number] and programs & owner else own[number])
    last: tuple[int, ...] = (0,)
    for found in reversed(ahead):
        last = found or last
        yield last


def round_of(event: Event) -> tuple[object, ...]:
    """The round of its program's loops that an event is in."""
    return (event.program, *event.loop.items())
