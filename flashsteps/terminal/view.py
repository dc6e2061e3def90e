"""What the terminal shows of one step, as plain data: what is on chip and where it is from, what moved, which tiles."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..errors import shorten
from ..machine.events import Moved, Tile
from ..runs.stepper import Stepper, first_of_tiles
from ..story.ranges import ranges
from ..trace.sram import room
from ..trace.trace import State, Trace
from ..traffic.standard import beside_run


class Held(NamedTuple):
    """What a slot holds: the step that made it (the first that loaded it), the rows it was loaded from, if it was."""

    step: int
    tile: Tile | None


class View:
    """A stepper and what is worked out once for all of its steps; nothing here knows of a terminal."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.stepper = Stepper(trace)
        self.ranges = ranges(trace)
        self.tiles = first_of_tiles(trace)
        self.held = _held(trace)
        self.room = room(trace).nbytes
        self.total = trace.io()

    # ---- at this step

    @property
    def state(self) -> State | None:
        """HBM and SRAM, or None where the trace holds no values."""
        return self.stepper.state if self.trace.values or self.stepper.step < 0 else None

    @property
    def slots(self) -> Mapping[str, Held]:
        """What is on chip, by slot."""
        return self.held[self.stepper.step + 1]

    @property
    def on_chip(self) -> int:
        return self.stepper.on_chip[self.stepper.step].total if self.stepper.step >= 0 else 0

    @property
    def moved(self) -> Mapping[str, Moved]:
        """Bytes read and written so far, by tensor."""
        found = bisect_right(self.prefix, self.stepper.step, key=lambda pair: pair[0])
        return self.prefix[found - 1][1] if found else {}

    @property
    def tile(self) -> tuple[int, int] | None:
        """The query block and the key block that this step is at."""
        event = self.stepper.event
        if event is None or not event.loop.keys() >= {"i", "j"}:
            return None
        return event.loop["i"], event.loop["j"]

    # ---- of the whole run

    @cached_property
    def prefix(self) -> list[tuple[int, Mapping[str, Moved]]]:
        """The bytes moved by tensor, after each step that moves any."""
        moved: dict[str, Moved] = {}
        sums: list[tuple[int, Mapping[str, Moved]]] = []
        for event in self.trace:
            if event.tile and event.nbytes:
                was, read = moved.get(event.tile.tensor, Moved()), event.op == "load"
                more = Moved(was.read + event.nbytes * read, was.written + event.nbytes * (not read))
                moved = {**moved, event.tile.tensor: more}
                sums.append((event.step, moved))
        return sums

    @cached_property
    def standard(self) -> int:
        """What standard attention would move, for all heads together."""
        return beside_run(self.trace).total

    @cached_property
    def grid(self) -> tuple[int, int]:
        """How many blocks of queries and of keys there are."""
        meta = self.trace.meta
        return -(-meta["queries"] // meta["block_q"]), -(-meta["keys"] // meta["block_k"])

    @cached_property
    def skipped(self) -> set[tuple[int, int]]:
        """The tiles that are passed over: at which nothing is done but to skip them."""
        done = {(e.loop["i"], e.loop["j"]) for e in self.trace if e.op != "skip" and e.loop.keys() >= {"i", "j"}}
        return set(self.tiles) - done

    @cached_property
    def marks(self) -> list[tuple[int, str]]:
        """Where the outermost loop goes on: (step, what it says), such as (40, "i=1")."""
        found: list[tuple[int, str]] = []
        last: tuple[int, object] | None = None
        for event in self.trace:
            outer = next(iter(event.loop.items()), None)
            if (event.program, outer) != last and outer is not None:
                found.append((event.step, f"{outer[0]}={outer[1]}"))
            last = event.program, outer
        return found

    @cached_property
    def title(self) -> str:
        meta = self.trace.meta
        n, m = meta["queries"], meta["keys"]
        sizes = f"{n:,} tokens" if n == m else f"{n:,} queries, {m:,} keys"
        heads = f", {meta['heads']} heads" if meta.get("heads", 1) > 1 else ""
        mask = f", {meta['mask']}" if meta["mask"] else ""
        wide = f", v {meta['d_v']} wide" if "d_v" in meta else ""
        return f"{sizes}{heads}, d {meta['d']}{wide}, tiles {meta['block_q']}×{meta['block_k']}, {meta['dtype']}{mask}"

    def next_words(self) -> str:
        """What the next step does, in two or three words."""
        step = self.stepper.step + 1
        if step == len(self.trace):
            return "the end"
        event = self.trace[step]
        return f"{event.op} {event.tile or event.slot}"

    # ---- names of rows

    def token(self, row: int, axis: str, most: int = 9) -> str:
        """What a query ("q") or a key ("k") is called: its token, or its number."""
        meta = self.trace.meta
        tokens, n, m = meta["tokens"], meta["queries"], meta["keys"]
        behind = max(0, m - n) if axis == "q" else max(0, n - m)  # fewer of the one are the last of the other
        if not tokens or row >= (n if axis == "q" else m):
            return str(row)
        return shorten(tokens[row + behind], most)

    def rows_of(self, slot: str) -> list[str]:
        """What the rows of a slot are called: those of its tile, or of the query block it was computed for."""
        held, meta = self.slots[slot], self.trace.meta
        event = self.trace[held.step]
        if meta.get("heads", 1) > 1:
            return []
        if held.tile and held.tile.tensor == "sinks":
            return []
        if held.tile:
            axis = {"Q": "q", "O": "q", "K": "k", "V": "k"}.get(held.tile.tensor.lstrip("d").partition("_")[0], "q")
            return [self.token(row, axis) for row in range(held.tile.start, held.tile.stop)]
        first, size = event.loop.get("i", 0) * meta["block_q"], min(meta["block_q"], meta["queries"])
        rows = range(first, min(first + size, meta["queries"]))
        return [self.token(row, "q") for row in rows] if len(rows) == event.shape[0] else []

    def columns_of(self, slot: str) -> list[str]:
        """The keys over a tile of scores."""
        held, meta = self.slots[slot], self.trace.meta
        event = self.trace[held.step]
        first = event.loop.get("j", 0) * meta["block_k"]
        keys = range(first, min(first + meta["block_k"], meta["keys"]))
        scores = slot in ("S", "P", "dP", "dS", "bias") and len(event.shape) == 2
        return [self.token(key, "k", 6) for key in keys] if scores and len(keys) == event.shape[1] else []

    def reads_of(self, slot: str) -> list[int]:
        """The steps that read what a slot holds now, as far as the algorithm's source says."""
        made, found = self.slots[slot].step, []
        program = self.trace[made].program
        for event in self.trace[made + 1 :]:
            if event.program != program:
                break
            reads = self.stepper.lines[event.line].reads if event.op == "compute" else {event.slot}
            if slot in reads and event.op in ("compute", "store"):
                found.append(event.step)
            if event.slot == slot and event.op in ("load", "compute"):
                break
        return found


def _held(trace: Trace) -> list[Mapping[str, Held]]:
    """What is on chip before the first step and after each; neighbours share what did not change."""
    held: dict[str, Held] = {}
    program = 0
    found: list[Mapping[str, Held]] = [held]
    for event in trace:
        if event.program != program:
            program, held = event.program, {}
        if event.op == "load" and event.tile:
            was = held.get(event.slot)
            tile, first = event.tile, event.step
            if event.row and was and was.tile:
                tile, first = Tile(tile.tensor, was.tile.start, tile.stop), was.step
            held = {**held, event.slot: Held(first, tile)}
        elif event.op == "compute":
            held = {**held, event.slot: Held(event.step, None)}
        found.append(held)
    return found


def written(data: np.ndarray) -> np.ndarray:
    """Which rows of a tensor are there: nobody wrote the others yet."""
    there: np.ndarray = ~np.isnan(data.reshape(len(data), math.prod(data.shape[1:])).astype(float)).any(axis=1)
    return there
