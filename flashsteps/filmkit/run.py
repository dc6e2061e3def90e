"""A run on the stage: a pure function of one number, `now`, which counts moments. 3.5: three and a half are over.

A moment is a step, or several that are told as one. Nothing here draws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from functools import cached_property
from math import ceil, prod
from typing import NamedTuple

import numpy as np

from .. import theme
from ..machine.events import IO, Event, Tile
from ..story.maxima import Shrink, max_that_moves
from ..story.ranges import ranges
from ..story.rounds import rounds
from ..trace.sram import room
from ..trace.trace import Trace
from ..traffic.standard import beside_run
from .moments import SCORES, Moment, Round, grouped, pictures, rounds_of

#: seconds that a moment takes by nature: a transfer, a result, a result of one number a row, a tile that is skipped
TRANSFER, RESULT, NUMBERS, SKIP = 0.55, 0.6, 0.45, 0.4

#: of a moment, the share in which it is only about to happen: indices have moved on, old contents are gone
ABOUT = 0.04

#: how much of its way a tile is ahead of the next one on the bus
AHEAD = 0.6


class Shown(NamedTuple):
    """What a slot shows: the value that a step made, of which `part` (0 … 1) is there. `live`: is it still of use?"""

    slot: str
    step: int
    part: float
    live: bool


class Run:
    """A trace, cut into moments. Rounds in `slowly` (by number) are told step by step, all others in phases: what comes
    in, what is computed, what goes out. With `lanes`, so many programs run side by side: a model of the schedule.
    `singly`, in these rounds, is each step: where every slot has a place of its own, and none waits for another."""

    def __init__(self, trace: Trace, *, slowly: Collection[int] = (0,), lanes: int = 1, singly: bool = False) -> None:
        self.trace, self.lanes = trace, lanes
        self.round_of = rounds(trace)
        self.moments = tuple(grouped(trace, self.round_of, slowly, lanes, singly))
        self.pictures = tuple(pictures(trace, self.moments))
        self.ranges = ranges(trace)
        self.rounds = tuple(rounds_of(trace, self.round_of, self.moments, lanes))
        self._looks: dict[object, object] = {}
        self._shapes: dict[tuple[int | None, ...], dict[str, tuple[int, ...]]] = {}
        self._now: float | None = None
        self._kept: tuple[int, float, frozenset[int]] | None = None
        self._work: dict[int, tuple[Moment, Moment, frozenset[int]]] = {}
        self._places: dict[tuple[int, tuple[str, ...]], Shown | None] = {}

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
        """Bytes read and written so far, by tensor; a tile counts when it has arrived."""
        number, _ = self.split(now)
        so_far: dict[str, tuple[int, int]] = dict(self.pictures[number].moved)
        for event, u in self.transfers(now):
            if event.tile and u >= 1:
                read, written = so_far.get(event.tile.tensor, (0, 0))
                load = event.op == "load"
                so_far[event.tile.tensor] = read + event.nbytes * load, written + event.nbytes * (not load)
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
        if self._now != now:  # of one picture, each place asks for its look, and again to be drawn
            self._now, then = now, self._like(now)
            if self._kept != then:
                self._kept, self._work, self._places = then, {}, {}
        if (program, slots) not in self._places:
            self._places[program, slots] = self._shown(now, program, slots)
        return self._places[program, slots]

    def _like(self, now: float) -> tuple[int, float, frozenset[int]]:
        """What slots show follows from this: while tiles only travel, nothing of it changes."""
        number, u = self.split(now)
        computes = any(event.op == "compute" for event in self.events(now))
        return number, u if computes else u > 0, self.landed(now)

    def _shown(self, now: float, program: int, slots: tuple[str, ...]) -> Shown | None:
        number, u = self.split(now)
        if program not in self._work:
            mine = tuple(event for event in self.events(now) if event.program == program)
            self._work[program] = mine, tuple(event for event in mine if event.op == "compute"), self.landed(now)
        mine, computes, arrived = self._work[program]
        for n, event in reversed(list(enumerate(computes))):
            later = any(other.slot in slots for other in computes[n + 1 :])
            if event.slot in slots and not later and u * len(computes) > n:
                cells = prod(event.shape)  # they come one by one
                return Shown(event.slot, event.step, ceil(min(1.0, u * len(computes) - n) * cells) / cells, True)
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

    def in_use(self, now: float) -> tuple[Tile, ...]:
        """Tiles of HBM's tensors that are on chip and still needed, or on their way."""
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

    def taken(self, program: int | None) -> tuple[tuple[str, int], ...]:
        """Bytes that a program takes on chip when it takes most, by hue, in the order in which a gauge stacks them.

        Slots are given out once: what a tile before has left in one still takes its room.
        """
        return () if program is None else self._taken[program]

    @cached_property
    def _taken(self) -> dict[int, tuple[tuple[str, int], ...]]:
        most: dict[int, dict[str, int]] = {}
        held: dict[int, dict[str, int]] = {}
        computing = np.dtype(self.trace.meta["computing"]).itemsize
        for event in self.trace:
            if event.op not in ("load", "compute"):
                continue
            slots = held.setdefault(event.program, {})
            wide = self.trace.initial[event.tile.tensor].dtype.itemsize if event.tile else computing
            slots[event.slot] = prod((event.row + event.shape[0], *event.shape[1:])) * wide
            if sum(slots.values()) > sum(most.get(event.program, {}).values()):
                most[event.program] = dict(slots)
        return {program: _by_hue(slots) for program, slots in most.items()}

    def indices(self, now: float) -> Mapping[str, int]:
        """The index of each loop that is running."""
        return self.near(now)[-1].loop

    def done(self, now: float) -> tuple[int, Round | None]:
        """How many rounds are done: the run has left their tile, made or skipped. And the one that it is in."""
        number, _ = self.split(now)
        if number >= len(self):
            return len(self.rounds), None
        begun = self._begun(now)
        over = sum(at <= begun for at in self._left)
        if begun < 0 or not any(event.loop for event in self.moments[begun]):
            return over, None
        return over, self.rounds[self._round_at[begun]]

    def at_tile(self, now: float) -> bool:
        """Are all loops at a tile: not before the inner one, nor after it, nor after all of them?"""
        number, _ = self.split(now)
        begun = self._begun(now)
        return number < len(self) and begun >= 0 and len(self.moments[begun][-1].loop) >= self._deep

    def _begun(self, now: float) -> int:
        """The moment that is on, or was last: a tile is left as the next moment begins, as the loops' cursors do."""
        number, u = self.split(now)
        return number if u else number - 1

    @cached_property
    def _deep(self) -> int:
        """How many loops a tile is in: its scores are made there, or it is skipped."""
        made = [len(e.loop) for e in self.trace if e.op == "skip" or e.op == "compute" and e.slot in SCORES]
        return max(made or (len(event.loop) for event in self.trace))

    @cached_property
    def _left(self) -> list[int]:
        """The moment with which each round's tile is left."""
        found = []
        for r in self.rounds:
            mine = (n for n in range(r.start, r.stop) for e in self.moments[n] if len(e.loop) >= self._deep)
            found.append(max(mine, default=r.stop - 1) + 1)
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


def _by_hue(slots: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    sizes: dict[str, int] = {}
    for slot, size in slots.items():
        sizes[theme.hue(slot)] = sizes.get(theme.hue(slot), 0) + size
    return tuple((hue, sizes[hue]) for hue in ("K", "V", "Q", "O", "S", "stat") if hue in sizes)
