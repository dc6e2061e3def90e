"""SRAM of any algorithm: a place for each slot of the kernel that is running, matrices first, then scores and rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from ... import theme
from ...story.kernels import Kernel, kernels
from ...trace.trace import Trace
from ..boxes import Box
from ..moments import SCORES, STATS
from ..run import Run
from . import cells, scores
from .of_run import Look, OfRun, differing
from .sram import draw_value, head, head_of

if TYPE_CHECKING:
    from ..pen import Pen

#: units: the height of a name, the gap between places, how wide numbers of rows and scores are at least, a cell at most
NAME, GAP, ROW, LEAST, MOST = 36, 12, 80, 110, 64

#: a place of scores is so much higher than others; and a tile looks best so many times as wide as high
HIGHER, WIDE = 1.6, 3.5


class Place(NamedTuple):
    """One or, where they follow each other, two slots, under their name; `area` is all of it."""

    slots: tuple[str, ...]
    area: Box


@dataclass(frozen=True)
class Slots(OfRun):
    """Names as the code has them, and no formula: what they mean, an algorithm's words say."""

    def seen(self) -> Look:
        program = self.run.program(self.now)
        shown = ((slots[0], self.run.shown(self.now, program, slots)) for slots in self._kept.slots)
        return Look((self._kept, program, self.run.taken(program)), tuple(shown))

    def differs(self, before: Self, pen: Pen, box: Box) -> tuple[Box, ...]:
        was, now = before.looks, self.looks
        if before.run != self.run or was.whose != now.whose:
            return (box,)
        others = differing(was.shown, now.shown)
        return tuple(place.area for place in self._places(pen, box) if place.slots[0] in others)

    def draw(self, pen: Pen, box: Box) -> None:
        pen.panel(box, sram=True)
        program = self.run.program(self.now)
        head(pen, head_of(pen, box), self.run, self.run.taken(program))
        for place in self._places(pen, box):
            if pen.sees(place.area):
                self._place(pen, place, program)

    @cached_property
    def _kept(self) -> Kept:
        return kept(self.run)[self.run.program(self.now) or 0]

    def _places(self, pen: Pen, box: Box) -> list[Place]:
        """Lines of matrices, as many in each as look best; then scores and numbers of rows, as many as fit."""
        top, of, gap, name = head_of(pen, box), self._kept, pen.px(GAP), pen.px(NAME)
        inside = Box(top.x, top.bottom, top.w, box.bottom - top.bottom - pen.px(14))
        below = self._below(pen, inside.w)
        weights = [HIGHER if line[0] in of.scores else 1.0 for line in below]

        def size(many: int) -> tuple[float, float]:
            """How high and how wide a matrix gets with so many in a line."""
            lines = ceil(len(of.tiles) / many)
            free = inside.h - (lines + len(below)) * (name + gap)
            return free / (lines + sum(weights)), (inside.w - (many - 1) * gap) / many

        counts = range(1, min(len(of.tiles), 6) + 1)
        many = max(counts, key=lambda many: min(WIDE * size(many)[0], size(many)[1]), default=1)
        high, wide = size(many)
        found, y = [], inside.y
        for n in range(0, len(of.tiles), many):
            areas = (Box(inside.x + k * (wide + gap), y, wide, name + high).whole() for k in range(many))
            found += [Place(slots, area) for slots, area in zip(of.tiles[n : n + many], areas, strict=False)]
            y += name + high + gap
        share = min((self._share(pen, line, inside.w) for line in below if line[0] in of.scores), default=0.0)
        for line, weight in zip(below, weights, strict=True):
            x = inside.x
            for slots in line:
                w = self._least(pen, slots)
                w = min(w + share, self._most(pen, slots)) if slots in of.scores else w
                found.append(Place(slots, Box(x, y, w, name + weight * high).whole()))
                x += w + gap
            y += name + weight * high + gap
        return found

    def _below(self, pen: Pen, room: float) -> list[list[tuple[str, ...]]]:
        """Scores and numbers of rows, in lines that have room for all of theirs."""
        items, gap = self._kept.scores + self._kept.rows, pen.px(GAP)
        for lines in range(1, len(items) + 1):
            each = ceil(len(items) / lines)
            found = [list(items[n : n + each]) for n in range(0, len(items), each)]
            if all(sum(self._least(pen, slots) + gap for slots in line) - gap <= room for line in found):
                return found
        return [[slots] for slots in items]

    def _least(self, pen: Pen, slots: tuple[str, ...]) -> float:
        """How much room a place of scores, or of numbers of rows, takes: its name has to fit."""
        names = (pen.width(called(slot, self.run.trace, self._kept), theme.LABEL, weight=600) for slot in slots)
        return max(pen.px(LEAST if slots in self._kept.scores else ROW), *names) + pen.px(14)

    def _share(self, pen: Pen, line: list[tuple[str, ...]], room: float) -> float:
        """What is left for each place of scores in a line."""
        taken = sum(self._least(pen, slots) for slots in line) + (len(line) - 1) * pen.px(GAP)
        return (room - taken) / sum(slots in self._kept.scores for slots in line)

    def _most(self, pen: Pen, slots: tuple[str, ...]) -> float:
        """How wide a place of scores may get: cells are no larger than their numbers want."""
        return max(self._least(pen, slots), self._kept.shapes[slots[0]][1] * pen.px(MOST) + pen.px(16))

    def _place(self, pen: Pen, place: Place, program: int | None) -> None:
        """A slot's name, and below it what the slot holds, or where it will be."""
        shown = self.run.shown(self.now, program, place.slots)
        slot, edge = shown.slot if shown else place.slots[-1], pen.px(6)
        area, shape = place.area, self._kept.shapes[place.slots[0]]
        name = called(slot, self.run.trace, self._kept)
        pen.label(area.x + edge, area.y + pen.px(26), name, theme.hue(slot), weight=600, room=area.w - edge)
        room = Box(area.x + edge, area.y + pen.px(NAME), area.w - 2 * edge, area.h - pen.px(NAME) - edge).whole()
        if len(shape) == 1:
            made = cells.grid(room, shape[0], 1, most=pen.px(MOST))
            column = cells.Grid(Box(room.x, room.y, room.w, made.box.h), (int(room.w), made.cell[1]), made.bins)
            event = self.run.trace[shown.step] if shown else None
            if event and event.tile and self.run.trace.initial[event.tile.tensor].dtype.kind in "iu":
                _whole_numbers(pen, column, self.run.value(event.step))
            else:
                scores.statistic(pen, column, self.run, shown)
            return
        grid = cells.grid(room, *shape[:2], most=pen.px(MOST), finest=3, middle=False)
        if shown is None:
            pen.frame(grid.box, "faint", radius=4, dash=6)
        elif place.slots in self._kept.scores:
            scores.tile(pen, grid, self.run, shown)
        else:
            draw_value(pen, grid, self.run, shown)


def _whole_numbers(pen: Pen, grid: cells.Grid, values: np.ndarray) -> None:
    """Places in a table, or in a list: as they are, as far as there is room."""
    for row, value in enumerate(values.tolist()):
        cell = grid.rows(row, row + 1)
        cell = cell._replace(h=cell.h - max(1, pen.px(4)))
        pen.frame(cell, "stat", width=2, radius=5)
        if (size := cells.digits(pen, cell.w - 2)) and cell.h >= 1.05 * size * pen.unit:
            pen.digits(cell, str(int(value)), size, "ink")


class Kept(NamedTuple):
    """What a kernel keeps on chip, in places: matrices, scores and what has their shape, one number a row."""

    tiles: tuple[tuple[str, ...], ...]
    scores: tuple[tuple[str, ...], ...]
    rows: tuple[tuple[str, ...], ...]
    shapes: dict[str, tuple[int, ...]]

    @property
    def slots(self) -> tuple[tuple[str, ...], ...]:
        return self.tiles + self.scores + self.rows

    def __hash__(self) -> int:
        return hash(self.slots)


@lru_cache(maxsize=16)
def kept(run: Run) -> list[Kept]:
    """By program: those of a kernel keep the same."""
    return [of for kernel in kernels(run.trace) for of in [_kept(run, kernel)] for _ in kernel.programs]


def _kept(run: Run, kernel: Kernel) -> Kept:
    shapes = run.shapes_of(*kernel.programs)
    matrices = [slot for slot, shape in shapes.items() if len(shape) == 2]
    of_scores = [slot for slot in matrices if theme.hue(slot) == "S"]
    tiles = tuple((slot,) for slot in matrices if slot not in of_scores)
    places: tuple[tuple[str, ...], ...] = tuple((slot,) for slot in of_scores)
    if set(of_scores) == set(SCORES) and shapes["S"] == shapes["P"]:  # P takes the place of S
        places = (SCORES,)
    rows = [slot for slot in shapes if slot not in matrices]
    old = {slots[1]: slots for slots in STATS.values() if set(slots[:2]) <= set(rows) and len(slots) > 1}
    new = {slots[0] for slots in old.values()}  # takes the place of the old one
    return Kept(tiles, places, tuple(old.get(slot, (slot,)) for slot in rows if slot not in new), shapes)


def called(slot: str, trace: Trace, of: Kept | None = None) -> str:
    """A slot as films write it: one that has a tensor's name in small letters as that tensor, `m_i` as m; but as the
    code has it, where another slot of the kernel would be called so."""
    if slot.endswith("_new"):
        return f"{theme.label(slot)}_{{new}}"
    tensors = {name.lower(): name for name in trace.initial}
    kept = (other for place in of.slots for other in place) if of else ()
    others = {other for other in kept if other != slot and not other.endswith("_new")}
    name = slot if slot in theme.NAMES or tensors.get(slot) in others else tensors.get(slot, slot)
    return theme.label(name)
