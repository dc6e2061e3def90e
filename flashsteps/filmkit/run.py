"""A run on the stage: a pure function of one number, `now`, which counts moments. 3.5: three and a half are over.

A moment is a step, or several that are told as one. Nothing here draws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import groupby
from math import ceil, prod
from typing import NamedTuple

import numpy as np

from .. import theme
from ..machine.events import IO, Event, Moved
from ..story.ranges import ranges
from ..story.rounds import rounds
from ..story.telling import LEAST
from ..trace import narration
from ..trace.sram import room
from ..trace.trace import Trace
from ..traffic.standard import beside_run
from .values import smooth

Moment = tuple[Event, ...]

#: what a column of statistics shows: the first of these slots that holds something of use
STATS = {"m": ("m_new", "m_i"), "α": ("alpha",), "ℓ": ("l_new", "l_i")}

#: slots that share the place of the scores
SCORES = ("P", "S")

#: seconds that a moment takes by nature: a transfer, a result, a result of one number a row, a tile that is skipped
TRANSFER, RESULT, NUMBERS, SKIP = 0.55, 0.6, 0.45, 0.4

#: of a moment, the share in which it is only about to happen: indices have moved on, old contents are gone
ABOUT = 0.04

#: how much of its way a tile is ahead of the next one on the bus
AHEAD = 0.6


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


class Shown(NamedTuple):
    """What a slot shows: the value that a step made, of which `part` (0 … 1) is there. `live`: is it still of use?"""

    slot: str
    step: int
    part: float
    live: bool


class Shrink(NamedTuple):
    """A max that moves: of `row` of its tile, by which key, and what becomes of the row's sum."""

    event: Event
    row: int
    query: int
    key: int
    m: tuple[float, float]
    alpha: float
    l: tuple[float, float]


class Run:
    """A trace, cut into moments. Rounds in `slowly` (by number) are told step by step, all others in phases: what comes
    in, what is computed, what goes out. With `lanes`, so many programs run side by side: a model of the schedule."""

    def __init__(self, trace: Trace, *, slowly: Collection[int] = (0,), lanes: int = 1) -> None:
        self.trace, self.lanes = trace, lanes
        self.round_of = rounds(trace)
        self.moments = tuple(_grouped(self, slowly))
        self.pictures = tuple(_pictures(trace, self.moments))
        self.ranges = ranges(trace)
        self.rounds = tuple(_rounds(self))
        self._looks: dict[object, object] = {}
        self._shapes: dict[tuple[int | None, ...], dict[str, tuple[int, ...]]] = {}

    def __len__(self) -> int:
        return len(self.moments)

    def __repr__(self) -> str:
        said = repr((self.trace.meta, self.lanes, [[event.step for event in moment] for moment in self.moments]))
        data = (array.tobytes() for array in (*self.trace.initial.values(), *self.trace.outputs.values()))
        return f"<run {hashlib.sha256(said.encode() + b''.join(data)).hexdigest()}>"

    # ---- what films ask

    def after(
        self, round_: Round | None = None, *, slot: str = "", op: str = "", tensor: str = "", first: bool = False
    ) -> int:
        """The moment that begins when the last such event (of a round, if given) is over; `first`: the first such.

        Raises ValueError where there is none.
        """
        start, stop = (round_.start, round_.stop) if round_ else (0, len(self))
        numbers = range(start, stop) if first else range(stop - 1, start - 1, -1)
        for number in numbers:
            for event in self.moments[number]:
                of = event.tile.tensor if event.tile else ""
                if slot in ("", event.slot) and op in ("", event.op) and tensor in ("", of):
                    return number + 1
        raise ValueError(f"this run has no {op or 'step'} of {slot or tensor} there")

    def has(self, slot: str) -> bool:
        return any(event.slot == slot for event in self.trace)

    @cached_property
    def names(self) -> dict[str, tuple[str, ...]]:
        """What "queries" and "keys" are called in a picture: tokens, numbered if they come again; else numbers.

        Fewer queries than keys are the last tokens, as the causal mask aligns them, and fewer keys likewise.
        """
        from .text import literal

        meta, found = self.trace.meta, {}
        given = [literal(token) for token in meta["tokens"] or ()]
        numbered = [
            token + (f"_{{{given[: n + 1].count(token)}}}" if given.count(token) > 1 else "")
            for n, token in enumerate(given)
        ]
        for axis, other in (("queries", "keys"), ("keys", "queries")):
            first = max(0, meta[other] - meta[axis]) if numbered else 0
            names = numbered[first : first + meta[axis]]
            found[axis] = (*names, *(str(n) for n in range(len(names), meta[axis])))
        return found

    def quoted(self, axis: str, row: int) -> str:
        """A query or a key as a caption calls it: its token in quotes, or its number."""
        name = self.names[axis][row]
        one = {"queries": "query", "keys": "key"}[axis]
        return f"“{name}”" if self.trace.meta["tokens"] and name != str(row) else f"{one} {row}"

    @cached_property
    def visited(self) -> tuple[Round, ...]:
        """The rounds in which scores are made."""
        return tuple(r for r in self.rounds if r.tiles)

    @property
    def first(self) -> Round:
        """The first of these. Raises ValueError where there is none."""
        if not self.visited:
            raise ValueError("this mask hides every tile: there is nothing to show")
        return self.visited[0]

    def round(self, event: Event) -> Round:
        """The round that an event is in."""
        number = self._moment_of[event.step]
        return self.rounds[self._round_at[number]]

    def start_of(self, program: int) -> int:
        """The moment in which a program begins."""
        return next(n for n, moment in enumerate(self.moments) if moment[0].program == program)

    def rounds_between(self, start: float, stop: float) -> int:
        """How many rounds begin from one moment to before another."""
        return sum(start <= r.start < stop for r in self.rounds)

    @cached_property
    def total(self) -> IO:
        return self.trace.io()

    @cached_property
    def standard(self) -> IO:
        """What standard attention moves at this size, whatever the mask, which saves it nothing."""
        return beside_run(self.trace)

    @cached_property
    def sram(self) -> int:
        """Bytes that the chip holds: what was asked for, or the smallest power of two that is enough."""
        return room(self.trace).nbytes

    @property
    def is_toy(self) -> bool:
        """Is it a toy's chip, and none of a device?"""
        return room(self.trace).of == "toy"

    @cached_property
    def shrink(self) -> Shrink | None:
        """The max that moves most, if any does after its first tile."""
        return max_that_moves(self.trace)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The largest shape of each slot, in the order in which they come."""
        return self.shapes_of(*range(self.trace[-1].program + 1))

    def shapes_of(self, *programs: int | None) -> dict[str, tuple[int, ...]]:
        """The same of some programs alone."""
        if programs not in self._shapes:
            held: dict[str, tuple[int, ...]] = {}
            for event in self.trace:
                if event.program in programs and event.op in ("load", "compute"):
                    was = held.get(event.slot, event.shape)
                    held[event.slot] = tuple(map(max, was, (event.row + event.shape[0], *event.shape[1:])))
            self._shapes[programs] = held
        return self._shapes[programs]

    # ---- one moment

    def split(self, now: float) -> tuple[int, float]:
        """The moment that is on, and how much of it is over; the number of moments once all are."""
        if now >= len(self):
            return len(self), 0.0
        return max(0, int(now)), max(0.0, now) % 1

    def events(self, now: float) -> Moment:
        number, _ = self.split(now)
        return self.moments[number] if number < len(self) else ()

    def near(self, now: float) -> Moment:
        """The events that are on, or, between two moments, were last."""
        number, u = self.split(now)
        return self.moments[number if u else max(0, number - 1)]

    def transfers(self, now: float) -> list[tuple[Event, float]]:
        """What crosses the bus in this moment, and how much of its way each has done: they follow each other."""
        _, u = self.split(now)
        crossing = [event for event in self.events(now) if event.nbytes]
        each = 1 / (1 + AHEAD * (len(crossing) - 1)) if crossing else 1.0
        gone = max(0.0, u - ABOUT) / (1 - ABOUT)
        return [(event, min(1.0, max(0.0, gone / each - AHEAD * n))) for n, event in enumerate(crossing)]

    def landed(self, now: float) -> frozenset[int]:
        """Steps of this moment whose tiles have arrived."""
        return frozenset(event.step for event, u in self.transfers(now) if u >= 1)

    def moved(self, now: float) -> dict[str, tuple[int, int]]:
        """Bytes read and written so far, by tensor; of what is on its way, the share that it has come."""
        number, _ = self.split(now)
        so_far: dict[str, tuple[int, int]] = dict(self.pictures[number].moved)
        for event, u in self.transfers(now):
            assert event.tile is not None
            read, written = so_far.get(event.tile.tensor, (0, 0))
            nbytes = round(event.nbytes * smooth(u))
            pair = (read + nbytes, written) if event.op == "load" else (read, written + nbytes)
            so_far[event.tile.tensor] = pair
        return so_far

    def hbm(self, now: float) -> Mapping[str, np.ndarray]:
        """HBM with all that has arrived there."""
        number, _ = self.split(now)
        hbm, arrived = self.pictures[number].hbm, self.landed(now)
        for event in self.events(now):
            if event.op == "store" and event.step in arrived:
                hbm, _ = self.trace.advance(event, dict(hbm), {})
        return hbm

    def stored_before(self, number: int) -> int:
        """How many tiles were written to HBM before a moment."""
        return self._stored[number]

    @cached_property
    def _stored(self) -> list[int]:
        stores = [sum(event.op == "store" for event in moment) for moment in self.moments]
        return [sum(stores[:n]) for n in range(len(stores) + 1)]

    def program(self, now: float, lane: int = 0) -> int | None:
        """The program that a lane shows: of several lanes, that of its wave; else the one that is running."""
        current = self.near(now)[0].program
        if self.lanes == 1:
            return current
        program = current // self.lanes * self.lanes + lane
        return program if program <= self.trace[-1].program else None

    def shown(self, now: float, program: int | None, slots: tuple[str, ...]) -> Shown | None:
        """What the place of these slots shows: the one being made, else the first that is of use, else the first."""
        if program is None:
            return None
        number, u = self.split(now)
        mine = [event for event in self.events(now) if event.program == program]
        computes = [event for event in mine if event.op == "compute"]
        for n, event in reversed(list(enumerate(computes))):
            later = any(other.slot in slots for other in computes[n + 1 :])
            if event.slot in slots and not later and u * len(computes) > n:
                cells = prod(event.shape)  # they come one by one
                return Shown(event.slot, event.step, ceil(min(1.0, u * len(computes) - n) * cells) / cells, True)
        arrived = self.landed(now)
        for event in reversed(mine):
            if event.op == "load" and event.slot in slots and event.step in arrived:
                return Shown(event.slot, event.step, 1.0, True)
        picture = self.pictures[number]
        clock = picture.clock.get(program, 0)
        held = [(slot, found) for slot in slots if (found := picture.sram.get(program, {}).get(slot))]
        live = [pair for pair in held if pair[1].last_read >= clock]
        for slot, found in live or held:
            current = mine[0] if mine and u else self.trace[max(0, clock - 1)]
            if not live and self.round_of[found.step] != self.round_of[current.step]:
                return None  # of a tile before: no old contents under a new index
            return Shown(slot, found.step, 1.0, bool(live))
        return None

    def value(self, step: int) -> np.ndarray:
        """What a step brought on chip or made: rows on top of those that the slot had, where it was loaded in parts."""
        event = self.trace[step]
        if event.op != "load":
            value = self.trace.values[step]
            assert value is not None
            return value
        return self._loaded[step]

    @cached_property
    def _loaded(self) -> dict[int, np.ndarray]:
        found, hbm, sram, program = {}, self.trace.initial, dict[str, np.ndarray](), -1
        for event in self.trace:
            sram = sram if event.program == program else {}
            program = event.program
            hbm, sram = self.trace.advance(event, hbm, sram)
            if event.op == "load":
                found[event.step] = sram[event.slot]
        return found

    def in_use(self, now: float) -> tuple[tuple[str, int, int], ...]:
        """Rows of HBM's tensors that are on chip and still needed, or on their way: (tensor, start, stop)."""
        number, u = self.split(now)
        if (found := self._looks.get((number, u > 0))) is None:
            tiles = {event.tile for event in self.events(now) if u and event.tile and event.op in ("load", "store")}
            picture = self.pictures[number]
            for program, slots in picture.sram.items():
                for held in slots.values():
                    event, clock = self.trace[held.step], picture.clock.get(program, 0)
                    if event.op == "load" and event.tile and held.last_read >= clock:
                        tiles.add(event.tile._replace(start=0) if event.row else event.tile)
            found = self._looks[number, u > 0] = tuple(sorted(tiles))
        return found  # type: ignore[return-value]

    def on_chip(self, now: float, program: int | None) -> tuple[tuple[str, int], ...]:
        """Bytes on chip by hue, in the order in which a gauge stacks them."""
        number, _ = self.split(now)
        sizes: dict[str, int] = {}
        held = dict(self.pictures[number].sram.get(-1 if program is None else program, {}))
        steps = {slot: one.step for slot, one in held.items()}
        arrived = self.landed(now)
        steps |= {e.slot: e.step for e in self.events(now) if e.op == "load" and e.step in arrived}
        computing = np.dtype(self.trace.meta["computing"]).itemsize
        for slot, step in steps.items():
            event = self.trace[step]
            wide = self.trace.initial[event.tile.tensor].dtype.itemsize if event.tile else computing
            hue = theme.hue(slot)
            sizes[hue] = sizes.get(hue, 0) + prod(self.value(step).shape) * wide
        return tuple((hue, sizes[hue]) for hue in ("K", "V", "Q", "O", "S", "stat") if hue in sizes)

    def indices(self, now: float) -> Mapping[str, int]:
        """The index of each loop that is running."""
        return self.near(now)[-1].loop

    def done(self, now: float) -> tuple[int, Round | None]:
        """How many rounds have made (or skipped) their tile, and the one that is on."""
        number, u = self.split(now)
        if number >= len(self):
            return len(self.rounds), None
        begun = number if u else number - 1
        made = sum(at <= begun for at in self._made)
        if begun < 0 or not any(event.loop for event in self.moments[begun]):
            return made, None
        return made, self.rounds[self._round_at[begun]]

    @cached_property
    def _made(self) -> list[int]:
        """The moment in which each round makes its scores, or skips them."""
        found = []
        for r in self.rounds:
            made = (n for n in range(r.start, r.stop) for e in self.moments[n] if e.op == "skip" or e.slot == "S")
            found.append(next(made, r.stop - 1))
        return found

    @cached_property
    def _moment_of(self) -> dict[int, int]:
        return {event.step: number for number, moment in enumerate(self.moments) for event in moment}

    @cached_property
    def _round_at(self) -> list[int]:
        return [n for n, r in enumerate(self.rounds) for _ in range(r.start, r.stop)]

    def seconds(self, number: int) -> float:
        """How long a moment takes by nature."""
        moment = self.moments[number]
        crossing = sum(event.nbytes > 0 for event in moment)
        if crossing:
            return TRANSFER * (1 + 0.5 * AHEAD * (crossing - 1))
        if moment[0].op == "skip":
            return SKIP
        return RESULT if any(len(event.shape) == 2 for event in moment) else NUMBERS


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


# ---- moments


def _grouped(run: Run, slowly: Collection[int]) -> Iterator[Moment]:
    """Rounds that are told slowly event by event, all others in phases; side by side, the same of all programs."""
    trace, told = run.trace, set(slowly)
    drawn = {slot for slots in STATS.values() for slot in slots if slot != "alpha"}
    rows = list(_side_by_side(trace, run.lanes))
    key = lambda row: any(run.round_of[event.step] in told for event in row)  # noqa: E731
    for slow, stretch in groupby(rows, key):
        if slow:
            waiting: Moment = ()  # what no place shows is told with what comes next
            for row in stretch:
                waiting += row
                event = row[0]
                if event.op != "compute" or len(event.shape) == 2 or event.slot in drawn:
                    yield waiting
                    waiting = ()
            if waiting:
                yield waiting
            continue
        for _, phase in groupby(stretch, lambda row: (row[0].op, tuple(run.round_of[e.step] for e in row))):
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


def _rounds(run: Run) -> Iterator[Round]:
    """Moments that are of the same tile of the loops, in each of the programs that run side by side."""
    base: dict[int, int] = {}
    for event in run.trace:
        base.setdefault(event.program, run.round_of[event.step])
    first = [moment[0] for moment in run.moments]
    keys = [(event.program // run.lanes, run.round_of[event.step] - base[event.program]) for event in first]
    start = 0
    for number, (_, stretch) in enumerate(groupby(keys)):
        stop = start + len(list(stretch))
        events = [event for moment in run.moments[start:stop] for event in moment]
        made, hidden = (
            tuple(dict.fromkeys((e.loop.get("i", e.program), e.loop.get("j", 0)) for e in events if of(e)))
            for of in (lambda e: e.slot in SCORES, lambda e: e.op == "skip")
        )
        yield Round(number, start, stop, made, hidden)
        start = stop


# ---- pictures: what is there before each moment


def _pictures(trace: Trace, moments: tuple[Moment, ...]) -> Iterator[Picture]:
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
