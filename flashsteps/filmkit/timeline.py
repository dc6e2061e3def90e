"""What happens when on screen: a trace becomes beats, each a few events that the picture tells at once.

The first time a line of the algorithm runs it is told step by step, with its caption. Repeats are told block-wise and
faster and faster, and slow down where something new happens: a max that moves, a tile that is skipped, a ragged tail.
All times are then fitted to the duration asked for. Nothing here draws: the same trace gives the same timeline.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from ..story import narration
from ..story.rounds import ticks, upcoming
from ..story.telling import LEAST, SKIPPED, moved_max
from ..trace.trace import Event, Moved, Trace

#: seconds that the last picture holds, and that the coda takes (at most this share of the film)
HOLD, CODA, CODA_SHARE = 2.0, 5.8, 0.26

#: of the time before the coda, at least this share goes to the repeats, and, so that captions can be read, at most that
REPEATS_SHARE, MOST_REPEATS = 0.26, 0.55

#: for how many seconds a repeat's caption stands, where the film is long enough for that
READABLE = 0.6

#: more moments than these under one caption are told in phases
MOST_STEPS = 15

#: how many moving maxima are told
MOVES_TOLD = 1

SHORTEST, LONGEST = 8.0, 600.0


@dataclass(frozen=True)
class Held:
    """What a slot holds: the value, the step that made it, the last step that reads it (or the same, if none does)."""

    value: np.ndarray
    step: int
    last_read: int


@dataclass(frozen=True)
class Picture:
    """Everything at one moment: HBM, each program's slots and next step, and the bytes moved so far."""

    hbm: Mapping[str, np.ndarray]
    sram: Mapping[int, Mapping[str, Held]]
    moved: Mapping[str, Moved]
    clock: Mapping[int, int]


@dataclass(frozen=True)
class Beat:
    """Some events, told together from `start` to `stop` (seconds). `ticks` are the inner tiles that are "now"."""

    start: float
    stop: float
    events: tuple[Event, ...]
    caption: str
    ticks: tuple[int, ...]
    told: bool

    def progress(self, t: float) -> float:
        """How far this beat is at time t, 0 … 1."""
        return min(1.0, max(0.0, (t - self.start) / max(self.stop - self.start, 1e-9)))


@dataclass(frozen=True)
class Timeline:
    """Beats with the picture before each and after the last; then, from `coda`, the coda, until `duration`."""

    beats: tuple[Beat, ...]
    pictures: tuple[Picture, ...]
    ticks: int
    coda: float
    duration: float
    tiles: Mapping[tuple[int, int], tuple[int, str]] = field(default_factory=dict)
    _starts: tuple[float, ...] = ()

    def at(self, t: float) -> int:
        """The index of the beat at time t; the number of beats once all are over."""
        if t >= self.coda:
            return len(self.beats)
        return max(0, bisect_right(self._starts, t) - 1)


@dataclass
class _Unit:
    """A run of moments that share a caption and are told alike."""

    moments: list[tuple[Event, ...]]
    caption: str
    told: bool
    tick: tuple[int, ...]
    weight: float = 1.0
    pieces: list[tuple[tuple[Event, ...], float]] = field(default_factory=list)


def timeline(
    trace: Trace, *, duration: float, lanes: int = 1, repeats: Mapping[str, str] | None = None, opening: str = ""
) -> Timeline:
    """The timeline of a trace, `duration` seconds long. With lanes > 1, so many programs run side by side.

    `opening` is said before the first step, `repeats` when a loop comes round again. Raises ValueError for a duration
    that can't be followed.
    """
    if not SHORTEST <= duration <= LONGEST:
        raise ValueError(
            f"a film of {duration:g} s can't be followed: choose --duration from {SHORTEST:g} to {LONGEST:g}"
        )
    moments = list(_moments(trace, lanes))
    numbers = ticks(trace, moments)
    units = _units(trace, moments, numbers, repeats or {})
    end = duration - HOLD - min(CODA, CODA_SHARE * duration)
    beats = _fit(units, opening, end)
    tiles: dict[tuple[int, int], tuple[int, str]] = {}
    for number, beat in enumerate(beats):
        for event in beat.events:
            where = (event.loop.get("i", 0), event.loop.get("j", 0))
            if event.op == "skip" or event.slot == "S":
                tiles.setdefault(where, (number, "skipped" if event.op == "skip" else "visited"))
    total = max((tick for unit in units for tick in unit.tick), default=0) + 1
    return Timeline(
        tuple(beats), tuple(_pictures(trace, beats)), total, end, duration, tiles, tuple(beat.start for beat in beats)
    )


# ---- moments: which events happen at the same time


def _moments(trace: Trace, lanes: int) -> Iterator[tuple[Event, ...]]:
    """Each event on its own, or, side by side, the same step of up to `lanes` programs."""
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


def _aligned(program: list[Event]) -> Iterator[tuple[tuple[int, ...], Event]]:
    """Where each event of a program stands: before, within or after its inner loop; which round; which line."""
    stage = 0
    for event in program:
        inner = tuple(event.loop.values())[1:]
        stage = 1 if inner else 2 if stage else 0
        yield (stage, *(inner or (0,)), event.line), event


# ---- units: what is told how


def _units(
    trace: Trace, moments: list[tuple[Event, ...]], ticks: Mapping[tuple[object, ...], int], repeats: Mapping[str, str]
) -> list[_Unit]:
    lines = narration.of(trace.meta)
    ahead = list(upcoming(moments, ticks))
    special = _special(trace, moments, ahead)
    seen_lines: set[int] = set()
    seen_rounds: set[tuple[str, int]] = set()
    units: list[_Unit] = []
    said: set[tuple[tuple[int, ...], str]] = set()
    standing, own = "", ""  # what is said where nothing special is, and the newest caption in the source
    for moment, tick in zip(moments, ahead, strict=True):
        first, key = moment[0], (tick, moment[0].op)
        new = first.line not in seen_lines and first.op != "skip"
        own = lines[first.line].caption or own
        again = [name for name, index in first.loop.items() if index and (name, index) not in seen_rounds]
        seen_lines.add(first.line)
        seen_rounds.update(item for event in moment for item in event.loop.items())
        if new and own:
            standing = own
        elif again and again[0] in repeats:
            standing = repeats[again[0]]
        here = special.get(key) or (special.get((tick, "compute")) if first.op == "store" else None)
        caption, told = (here, key in special) if here and not new else (standing, new)
        last = units[-1] if units else None
        if last and (last.told, last.tick, last.caption) == (told, tick, caption):
            last.moments.append(moment)
        else:
            units.append(_Unit([moment], caption, told, tick))
        if new and first.op == "load" and key in special and key not in said:  # after the line's own caption
            units.append(_Unit([], special[key], True, tick))
        if first.op == "load" and key in special:
            said.add(key)
    for told, stretch in list(_stretches(units)):
        if not told and len(stretch) == 1:
            stretch[0].told = True  # one round alone, whose caption would only flash by
    return units


def _special(
    trace: Trace, moments: list[tuple[Event, ...]], upcoming: list[tuple[int, ...]]
) -> dict[tuple[tuple[int, ...], str], str]:
    """What is worth slowing down for after the first telling: (ticks, kind of event) → caption."""
    found: dict[tuple[tuple[int, ...], str], str] = {}
    moves: list[tuple[float, tuple[int, ...], str]] = []
    scores: dict[int, np.ndarray] = {}
    ragged = set()
    for moment, tick in zip(moments, upcoming, strict=True):
        for event in moment:
            value = trace.values[event.step] if trace.values else None
            if event.slot == "S" and value is not None:
                scores[event.program] = value
            if event.slot == "alpha" and value is not None and ((value > LEAST) & (value < 1)).any():
                row = int(np.argmin(np.where(value > LEAST, value, 2)))
                moves.append(
                    (float(value[row]), tick, moved_max(trace, event, row, scores[event.program], float(value[row])))
                )
            if event.op == "load" and event.tile and event.loop and event.tile.tensor in ("Q", "K"):
                name, size = ("queries", "block_q") if event.tile.tensor == "Q" else ("keys", "block_k")
                rows = event.tile.stop - event.tile.start
                if rows < trace.meta[size] and name not in ragged:
                    ragged.add(name)
                    found[tick, "load"] = (
                        f"The last block of {name} is short: {rows}, not {trace.meta[size]}. Nothing is padded."
                    )
        if moment[0].op == "skip" and not any(op == "skip" for _, op in found):
            found[tick, "skip"] = SKIPPED
    for _, tick, words in sorted(moves)[:MOVES_TOLD]:
        found.setdefault((tick, "compute"), words)
    return found


# ---- fitting: how long each takes


def _fit(units: list[_Unit], opening: str, end: float) -> list[Beat]:
    """Beats that fill 0 … end: told units as long as their captions take to read, repeats sharing what is left."""
    opening_time = 0.6 + 0.013 * len(opening) if opening else 0.0
    told_time, repeat_weight, repeats = opening_time, 0.0, 0
    previous_tick: tuple[int, ...] | None = None
    for unit in units:
        if unit.told:
            unit.pieces = _steps(unit)
            unit.weight = 0.6 + 0.013 * len(unit.caption) + 0.1 * sum(length for _, length in unit.pieces)
            told_time += unit.weight
        else:
            unit.pieces = list(_phases(unit.moments))
            repeats += unit.tick != previous_tick
            unit.weight = (1 + 3 * 0.8**repeats) * sum(length for _, length in unit.pieces)
            repeat_weight += unit.weight
        previous_tick = unit.tick
    for_repeats = 0.0
    if repeat_weight:
        for_repeats = min(0.35 * repeat_weight, max(REPEATS_SHARE * end, end - told_time))
        for_repeats = _enough(units, for_repeats, end)
    told_scale = (end - for_repeats) / told_time
    t = opening_time * told_scale
    beats = [Beat(0.0, t, (), opening, (), True)] if opening else []
    for unit in units:
        length = unit.weight * (told_scale if unit.told else for_repeats / repeat_weight)
        whole = sum(share for _, share in unit.pieces)
        for events, share in unit.pieces:
            stop = t + length * share / whole
            beats.append(Beat(t, stop, events, unit.caption, unit.tick, unit.told))
            t = stop
    return beats


def _enough(units: list[_Unit], for_repeats: float, end: float) -> float:
    """Seconds for all repeats together, so that each of their captions can be read, as far as there is time."""
    weights = [sum(unit.weight for unit in run) for told, run in _stretches(units) if not told]
    needed = READABLE * sum(unit.weight for unit in units if not unit.told) / min(weights, default=1e9)
    return max(for_repeats, min(MOST_REPEATS * end, needed))


def _stretches(units: list[_Unit]) -> Iterator[tuple[bool, list[_Unit]]]:
    """Units that follow each other with one caption, and whether any of them is told."""
    for _, run in groupby(units, key=lambda unit: unit.caption):
        stretch = list(run)
        yield any(unit.told for unit in stretch), stretch


def _steps(unit: _Unit) -> list[tuple[tuple[Event, ...], float]]:
    """What is told, moment by moment; a round that is only told for its caption's sake in phases, as any repeat."""
    if len(unit.moments) > MOST_STEPS:
        return list(_phases(unit.moments))
    return [(moment, _length(moment)) for moment in unit.moments] or [((), 1.0)]


def _phases(moments: list[tuple[Event, ...]]) -> Iterator[tuple[tuple[Event, ...], float]]:
    """A repeat, told in one go for all loads that follow each other, one for what is computed, one for the stores."""
    for op, run in groupby(moments, key=lambda moment: moment[0].op):
        events = tuple(event for moment in run for event in moment)
        yield events, {"load": 1.0, "store": 1.0, "compute": 0.8, "skip": 0.5}[op]


def _length(moment: Iterable[Event]) -> float:
    """How long a moment takes beside others: transfers longer than results, vectors shorter than matrices."""
    event = next(iter(moment))
    return {"load": 1.0, "store": 1.0, "compute": 0.8, "skip": 1.0}[event.op] * (0.55 if len(event.shape) == 1 else 1.0)


# ---- pictures: what is there before each beat


def _pictures(trace: Trace, beats: list[Beat]) -> Iterator[Picture]:
    """A replay in the film's order. Programs share nothing on chip, so side by side they come to the same."""
    last_read = _last_reads(trace)
    hbm: dict[str, np.ndarray] = trace.initial
    sram: dict[int, dict[str, Held]] = {}
    moved: dict[str, Moved] = {}
    clock: dict[int, int] = {}
    yield Picture(hbm, sram, moved, clock)
    for beat in beats:
        for event in beat.events:
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
        reads = {event.slot} if event.op == "store" else lines[event.line].reads if event.op == "compute" else set()
        for slot in reads:
            if (event.program, slot) in made:
                last[made[event.program, slot]] = event.step
        if event.op in ("load", "compute"):
            made[event.program, event.slot] = event.step
    return last
