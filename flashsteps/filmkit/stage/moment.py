"""A film at one moment: the beat that is on, how far it is, and what each slot shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...machine.events import Event
from ..film import Film
from ..timeline import Beat, Held, Picture

#: how far into its beat a transfer lands, and a result is complete
LANDED = 0.9


@dataclass(frozen=True)
class Moment:
    """Time t of a film: beat number `index` (one past the last once the run is over), `u` of it done."""

    film: Film
    t: float
    index: int
    beat: Beat | None
    u: float
    before: Picture
    after: Picture

    @property
    def landed(self) -> bool:
        return self.u >= LANDED

    @property
    def now(self) -> Picture:
        """What has happened by now, as far as memory goes: a beat's transfers count once they have landed."""
        return self.after if self.landed else self.before

    @property
    def events(self) -> tuple[Event, ...]:
        return self.beat.events if self.beat else ()

    @property
    def near(self) -> tuple[Event, ...]:
        """The events of this beat; while nothing happens, those of the one that comes next, or came last."""
        beats = self.film.timeline.beats
        ahead = (beat.events for beat in beats[self.index :] if beat.events)
        return next(ahead, beats[-1].events)


class Shown(NamedTuple):
    """What a slot shows: the value that a step made, of which `part` (0 … 1) is drawn over the one `before` it.

    `live` is whether it is still of use, `made` whether it is being made in this very beat.
    """

    slot: str
    step: int
    value: np.ndarray
    before: np.ndarray | None
    part: float
    live: bool
    made: bool

    @property
    def key(self) -> tuple[object, ...]:
        return self.slot, self.step, id(self.before), self.part, self.live, self.made


def moment(film: Film, t: float) -> Moment:
    """The film at t seconds."""
    line = film.timeline
    index = line.at(t)
    if index >= len(line.beats):
        return Moment(film, t, index, None, 0.0, line.pictures[-1], line.pictures[-1])
    beat = line.beats[index]
    return Moment(film, t, index, beat, beat.progress(t), line.pictures[index], line.pictures[index + 1])


def program_of(m: Moment, lane: int) -> int | None:
    """The program that a lane shows now: with several lanes, that of its wave; else the one that is running."""
    film = m.film
    current = m.near[0].program
    if film.lanes == 1:
        return current
    program = current // film.lanes * film.lanes + lane
    return program if program <= film.trace[-1].program else None


def shown(m: Moment, program: int, slots: tuple[str, ...]) -> Shown | None:
    """What the place of these slots shows: the one being made, else the first that is still of use, else the first."""
    mine = [event for event in m.events if event.program == program]
    before = m.before.sram.get(program, {})
    old = _best(before, slots, m.before.clock.get(program, 0))
    computes = [event for event in mine if event.op == "compute"]
    if m.beat and not m.beat.told:  # in a repeat, only what is left of each place in the end
        last = max((event.step for event in computes if event.slot in slots), default=-1)
        computes = [event for event in computes if event.slot not in slots or event.step == last]
    for n, event in reversed(list(enumerate(computes))):
        part = min(1.0, m.u / LANDED * len(computes) - n)
        if event.slot in slots and part > 0:
            value = m.film.trace.values[event.step]
            assert value is not None
            under = old[1].value if old and part < 1 and old[1].value.shape == value.shape else None
            return Shown(event.slot, event.step, value, under, round(part, 3), True, True)
    landed = any(event.op == "load" and event.slot in slots for event in mine) and m.landed
    found = _best(m.after.sram[program], slots, m.after.clock[program]) if landed else old
    if found is None:
        return None
    slot, held = found
    return Shown(slot, held.step, held.value, None, 1.0, held.last_read >= m.before.clock.get(program, 0), False)


def _best(sram: Mapping[str, Held], slots: tuple[str, ...], clock: int) -> tuple[str, Held] | None:
    """Of these slots the first that a step from `clock` on reads, else the first there is."""
    held = [(slot, sram[slot]) for slot in slots if slot in sram]
    live = [pair for pair in held if pair[1].last_read >= clock]
    return next(iter(live or held), None)
