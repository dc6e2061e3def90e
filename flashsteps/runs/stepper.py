"""A debugger over a trace: step forwards and back, seek, run until something happens, stop where a value changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, NamedTuple

import numpy as np

from ..errors import unknown
from ..machine.events import IO, Event, Peak, Tile
from ..story import captions
from ..trace import narration, rules
from ..trace.replay import Replay, check_step
from ..trace.rules import Tally
from ..trace.sram import on_chip
from ..trace.trace import State, Trace

OPS = ("load", "store", "compute", "skip")


@dataclass(frozen=True)
class Step:
    """One step to look at: its event, what is said of it, and everything as it stands after it."""

    event: Event
    caption: str
    code: str
    at: Callable[[], State]

    @property
    def step(self) -> int:
        return self.event.step

    @property
    def line(self) -> int:
        """The line of the algorithm's source, from 1."""
        return self.event.line

    @cached_property
    def state(self) -> State:
        """HBM and SRAM after this step, read-only."""
        return self.at()

    @property
    def hbm(self) -> Mapping[str, np.ndarray]:
        """HBM's tensors by name, NaN where nothing was written yet."""
        return self.state.hbm

    @property
    def sram(self) -> Mapping[str, np.ndarray]:
        """What is on chip, by slot."""
        return self.state.sram

    def __str__(self) -> str:
        said = f"\n{self.caption}" if self.caption else ""
        return f"{self.event}\nline {self.line}: {self.code}{said}"

    def __repr__(self) -> str:
        return f"<Step {self.event}>"


class Stop(NamedTuple):
    """Where `run` is to stop: what a person calls it, and whether it is at a step, given where it comes from."""

    name: str
    fits: Callable[[Step], bool]


class Stepper:
    """Goes through a trace step by step; it starts before the first, at −1, and changes nothing.

    `step` is where it stands, and `event`, `state`, `hbm`, `sram`, `caption`, `line`, `code` are of that step. Every
    move gives the event that it came to, or None where there was nowhere to go (back to −1, too, has no event):

        >>> stepper = fs.Stepper(trace)
        >>> stepper.until(op="store", tensor="O")
        >>> stepper.watch("m_i"); stepper.run()
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.step = -1
        self.stopped: tuple[int, ...] = ()  # the numbers of the breakpoints at which the last `run` stopped
        self._replay = Replay(trace)
        self._stops: dict[int, Stop] = {}
        self._numbered = 0
        self._lines = narration.of(trace.meta)

    # ---- where it stands

    @property
    def here(self) -> Step | None:
        """The step at which it stands; None before the first."""
        return self._at(self.step) if self.step >= 0 else None

    @property
    def event(self) -> Event | None:
        return self.trace[self.step] if self.step >= 0 else None

    @property
    def state(self) -> State:
        """HBM and SRAM as they stand here, read-only. Raises ValueError where the trace holds no values."""
        return self._replay.at(self.step)

    @property
    def hbm(self) -> Mapping[str, np.ndarray]:
        return self.state.hbm

    @property
    def sram(self) -> Mapping[str, np.ndarray]:
        return self.state.sram

    @property
    def caption(self) -> str:
        """What is said of this step; before the first, whose queries, keys and values these are."""
        return self.caption_of(self.step)

    @property
    def line(self) -> int | None:
        """The line of the algorithm's source, from 1; None before the first step."""
        return self.trace[self.step].line if self.step >= 0 else None

    @property
    def code(self) -> str:
        """The text of that line, without its comment."""
        return self._lines[self.line].code.strip() if self.line else ""

    @property
    def lines(self) -> Mapping[int, narration.Line]:
        """The algorithm's source by line, as `flashsteps.trace.narration` understands it."""
        return self._lines

    def io(self, rule: str = rules.DEFAULT) -> IO:
        """What has moved, and been done, up to here. Raises ValueError as `Trace.io` does."""
        tally = Tally(rules.rule(rule, self.trace.meta["algorithm"]))
        for event in self.trace[: self.step + 1]:
            tally.step(event)
        so_far = self.on_chip[: self.step + 1]
        return tally.io(self.trace.initial, Peak(*map(max, zip(*so_far, strict=True))) if so_far else Peak())

    @cached_property
    def on_chip(self) -> list[Peak]:
        """Bytes on chip after each step: in shared memory, in registers, in both."""
        return on_chip(self.trace)

    def caption_of(self, step: int) -> str:
        """What is said at a step, as in the player: its line's caption, the last one before, or what is special."""
        return self._captions[step + 1]

    @cached_property
    def _captions(self) -> list[str]:
        return captions.captions(self.trace)

    # ---- moves

    def next(self) -> Event | None:
        """One step on."""
        return self._go(self.step + 1 if self.step + 1 < len(self.trace) else None)

    def back(self) -> Event | None:
        """One step back; from the first, to −1."""
        return self._go(self.step - 1 if self.step >= 0 else None)

    def seek(self, step: int) -> Event | None:
        """To a step; −1 is before the first. Raises ValueError outside the run."""
        check_step(self.trace, step)
        return self._go(int(step))

    def until(
        self, predicate: Callable[[Step], Any] | None = None, *, reverse: bool = False, **wanted: Any
    ) -> Event | None:
        """On (or, with `reverse`, back) to the next step that fits; where there is none it stays, and gives None.

        A step fits if `predicate` says so and all of `wanted` holds: op, tensor, slot, program, line, tile (a `Tile` or
        "O[4:8]": any of these rows), or the index of a loop by its name (i=0, j=1). Raises ValueError, one line, for
        what no step of this trace could have, and where nothing is asked for.
        """
        fits = self._fits(predicate, wanted)
        return self._go(next((n for n in self._ahead(reverse) if fits(self._at(n))), None))

    def touched(self, *, reverse: bool = False) -> Event | None:
        """To the next step that moves any of the rows that this one moves, or writes its slot if it moves none."""
        if self.event is None:
            return None
        tile, slot = self.event.tile, self.event.slot
        return self.until(reverse=reverse, tile=tile) if tile else self.until(reverse=reverse, slot=slot)

    def program(self, *, reverse: bool = False) -> Event | None:
        """To the first step of the next program, or, with `reverse`, of this one, or of the one before."""
        starts = [n for n, event in enumerate(self.trace) if n == 0 or event.program != self.trace[n - 1].program]
        found = [n for n in starts if (n < self.step if reverse else n > self.step)]
        return self._go(found[-1 if reverse else 0] if found else None)

    def tile(self, i: int, j: int) -> Event | None:
        """To the first step at query block i and key block j. Raises ValueError where no step is at both."""
        found = first_of_tiles(self.trace).get((i, j))
        if found is None:
            raise ValueError(f"no step of this run is at i={i}, j={j}: see the loops of its events")
        return self._go(found)

    def run(self, *, reverse: bool = False) -> Event | None:
        """On (or back) to the next step at which a breakpoint or a watch stops, or else to the end (or the start)."""
        for n in self._ahead(reverse):
            here = self._at(n)
            stopped = tuple(number for number, stop in self._stops.items() if stop.fits(here))
            if stopped:
                event = self._go(n)
                self.stopped = stopped
                return event
        end = -1 if reverse else len(self.trace) - 1
        return self._go(end if end != self.step else None)

    # ---- where `run` stops

    def breakpoint(self, predicate: Callable[[Step], Any] | None = None, **wanted: Any) -> int:
        """Let `run` stop at steps that fit, as `until` has it. Gives the breakpoint's number, for `clear`."""
        said = [f"{name}={value}" for name, value in wanted.items()]
        named = [getattr(predicate, "__name__", "a predicate")] if predicate else []
        return self._stop(Stop("breakpoint: " + ", ".join([*named, *said]), self._fits(predicate, wanted)))

    def watch(self, name: str) -> int:
        """Let `run` stop where a slot, or a tensor of HBM, gets another value than it had. Gives the watch's number.

        Raises ValueError for a name that is no slot and no tensor of this run.
        """
        if name not in self._slots and name not in self.trace.initial:
            raise ValueError(unknown("slot or tensor", name, sorted({*self._slots, *self.trace.initial})))

        def changed(step: Step) -> bool:
            event = step.event
            if event.op == "store" and event.tile and event.tile.tensor == name:
                before = self._replay.at(event.step - 1).hbm.get(name)
                after = self._replay.at(event.step).hbm[name]
            elif event.op in ("load", "compute") and event.slot == name:
                first = event.step == 0 or self.trace[event.step - 1].program != event.program
                before = None if first else self._replay.at(event.step - 1).sram.get(name)
                after = self._replay.at(event.step).sram[name]
            else:
                return False
            return before is None or not np.array_equal(before, after, equal_nan=True)

        return self._stop(Stop(f"watch: {name}", changed))

    def clear(self, number: int | None = None) -> None:
        """Forget a breakpoint or a watch by its number; all of them unless given. Raises ValueError for no such one."""
        if number is None:
            self._stops.clear()
        elif self._stops.pop(number, None) is None:
            raise ValueError(f"there is no breakpoint {number!r}: there are {sorted(self._stops) or 'none'}")

    @property
    def stops(self) -> Mapping[int, str]:
        """The breakpoints and watches, by number."""
        return {number: stop.name for number, stop in self._stops.items()}

    def _stop(self, stop: Stop) -> int:
        self._numbered += 1
        self._stops[self._numbered] = stop
        return self._numbered

    # ---- inside

    def _at(self, step: int) -> Step:
        event = self.trace[step]
        code = self._lines[event.line].code.strip()
        return Step(event, self.caption_of(step), code, lambda: self._replay.at(step))

    def _go(self, step: int | None) -> Event | None:
        self.stopped = ()
        if step is None:
            return None
        self.step = step
        return self.event

    def _ahead(self, reverse: bool) -> range:
        return range(self.step - 1, -1, -1) if reverse else range(self.step + 1, len(self.trace))

    @cached_property
    def _slots(self) -> list[str]:
        return list(dict.fromkeys(event.slot for event in self.trace if event.slot))

    def _fits(self, predicate: Callable[[Step], Any] | None, wanted: Mapping[str, Any]) -> Callable[[Step], bool]:
        """Whether a step fits, cheap things first."""
        if predicate is None and not wanted:
            raise ValueError('say where to stop: a predicate of a step, or such as op="store", tensor="O", j=1')
        if predicate is not None and not callable(predicate):
            raise ValueError(f"{predicate!r} is no predicate: give a function of a step, or such as op='store'")
        tests = [self._test(name, value) for name, value in wanted.items()]
        return lambda step: all(test(step.event) for test in tests) and (predicate is None or bool(predicate(step)))

    def _test(self, name: str, value: Any) -> Callable[[Event], bool]:
        trace = self.trace
        known: dict[str, Any] = {"op": OPS, "tensor": list(trace.initial), "slot": self._slots}
        loops = list(dict.fromkeys(loop for event in trace for loop in event.loop))
        if name in known:
            if value not in known[name]:
                raise ValueError(unknown(name, value, known[name]))
            if name == "tensor":
                return lambda event: event.tile is not None and event.tile.tensor == value
            return lambda event: bool(getattr(event, name) == value)
        if name == "tile":
            rows = _tile(value, trace)
            return lambda event: event.tile is not None and overlap(event.tile, rows)
        if name not in ("program", "line", *loops):
            raise ValueError(unknown("condition", name, [*known, "tile", "program", "line", *loops]))
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ValueError(f"{name} is {value!r}: give a whole number")
        if name in loops:
            return lambda event: event.loop.get(name) == value
        return lambda event: bool(getattr(event, name) == value)

    def __str__(self) -> str:
        return f"{self.here or 'before the first step'}\nstep {self.step} of 0 to {len(self.trace) - 1}"

    def __repr__(self) -> str:
        last = len(self.trace) - 1
        where = f"at {self.event}" if self.step >= 0 else "before the first step"
        return f"<Stepper {where}; of 0 to {last}{f'; {len(self._stops)} breakpoints' if self._stops else ''}>"


def lines(trace: Trace, start: int = 0) -> Iterator[str]:
    """Each step as a line, from one on, with its caption where a new one begins."""
    stepper, said = Stepper(trace), ""
    for event in trace[start:]:
        caption = stepper.caption_of(event.step)
        yield f"{event}   {caption}" if caption != said else str(event)
        said = caption


def first_of_tiles(trace: Trace) -> dict[tuple[int, int], int]:
    """(query block, key block) → the first step there: computed, or, where the tile is passed over, skipped.

    Empty for an algorithm that has no loop over tiles of scores.
    """
    first: dict[tuple[int, int], int] = {}
    for event in trace:
        if event.loop.keys() >= {"i", "j"}:
            first.setdefault((event.loop["i"], event.loop["j"]), event.step)
    return first


def overlap(a: Tile, b: Tile) -> bool:
    """Whether two tiles have numbers in common."""
    (left, right), (other_left, other_right) = (tile.columns or (0, inf) for tile in (a, b))
    rows = a.start < b.stop and b.start < a.stop
    return a.tensor == b.tensor and rows and left < other_right and other_left < right


def _tile(given: Any, trace: Trace) -> Tile:
    """A tile as an event has it, or as it is printed. Raises ValueError, one line, for what is none of this run's."""
    form = r"(\w+)\[(\d{1,15}):(\d{1,15})(?:, ?(\d{1,15}):(\d{1,15}))?\]"
    found = re.fullmatch(form, given) if isinstance(given, str) else None
    columns = (int(found[4]), int(found[5])) if found and found[4] else None
    tile = Tile(found[1], int(found[2]), int(found[3]), columns) if found else given
    if not isinstance(tile, Tile):
        raise ValueError(f"tile is {given!r}: give it as it is printed, such as 'K[4:8]'")
    if tile.tensor not in trace.initial:
        raise ValueError(unknown("tensor", tile.tensor, trace.initial))
    rows = len(trace.initial[tile.tensor])
    if not 0 <= tile.start < tile.stop <= rows:
        raise ValueError(f"tile is {tile}, but {tile.tensor} has {rows} rows: give some of these")
    width = (*trace.initial[tile.tensor].shape, 0)[1]
    if tile.columns is not None and not 0 <= tile.columns[0] < tile.columns[1] <= width:
        raise ValueError(f"tile is {tile}, but {tile.tensor} has {width} columns: give some of these, or none")
    return tile
