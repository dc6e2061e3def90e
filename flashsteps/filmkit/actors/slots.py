"""SRAM of any algorithm: a place for each slot of the kernel that is running, matrices first, then scores and rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil
from typing import TYPE_CHECKING, NamedTuple, Self

from ... import theme
from ...story.kernels import Kernel, kernels
from ...trace.trace import Trace
from ..boxes import Box
from ..moments import SCORES
from ..run import Run
from . import cells, scores
from .of_run import Look, OfRun, differing
from .sram import draw_value, head

if TYPE_CHECKING:
    from ..pen import Pen

#: units: the height of a name, the gap between places, the width of one number a row, the largest cell
NAME, GAP, ROW, MOST = 36, 16, 92, 64

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
        was, now = before.seen(), self.seen()
        if before.run != self.run or was.whose != now.whose:
            return (box,)
        others = differing(was.shown, now.shown)
        return tuple(place.area for place in self._places(pen, box) if place.slots[0] in others)

    def draw(self, pen: Pen, box: Box) -> None:
        pen.panel(box, sram=True)
        program = self.run.program(self.now)
        head(pen, self._head(pen, box), self.run, self.run.taken(program))
        for place in self._places(pen, box):
            if pen.sees(place.area):
                self._place(pen, place, program)

    @cached_property
    def _kept(self) -> Kept:
        return kept(self.run)[self.run.program(self.now) or 0]

    def _head(self, pen: Pen, box: Box) -> Box:
        side = pen.px(22)
        return Box(box.x + side, box.y, box.w - 2 * side, pen.px(76 if box.h >= pen.px(430) else 60))

    def _places(self, pen: Pen, box: Box) -> list[Place]:
        """Lines of matrices, as many in each as look best; then scores, and beside them, or below, numbers of rows."""
        top, of = self._head(pen, box), self._kept
        inside = Box(top.x, top.bottom, top.w, box.bottom - top.bottom - pen.px(14))
        name, gap, row = pen.px(NAME), pen.px(GAP), pen.px(ROW)
        beside = len(of.scores) * pen.px(120) + len(of.rows) * (row + gap) <= inside.w
        below = [line for line in ([of.scores + of.rows] if beside else [of.scores, of.rows]) if line]
        weights = [HIGHER if of.scores and line[0] == of.scores[0] else 1.0 for line in below]

        def across(many: int) -> tuple[float, float]:
            """How large a matrix gets with so many in a line: its height, its width."""
            lines = ceil(len(of.tiles) / many)
            free = inside.h - (lines + len(below)) * (name + gap)
            return free / (lines + sum(weights)), (inside.w - (many - 1) * gap) / many

        counts = range(1, min(len(of.tiles), 6) + 1)
        many = max(counts, key=lambda many: min(WIDE * across(many)[0], across(many)[1]), default=1)
        high = across(many)[0]
        lines = [of.tiles[n : n + many] for n in range(0, len(of.tiles), many)]
        found, y = [], inside.y
        for line, weight in [*((line, 1.0) for line in lines), *zip(below, weights, strict=True)]:
            numbers = [slots for slots in line if slots in of.rows]
            free = inside.w - len(numbers) * (row + gap) - (len(line) - len(numbers) - 1) * gap
            count = many if line in lines else max(1, len(line) - len(numbers))
            wide, x = (free if line not in lines else inside.w - (many - 1) * gap) / count, inside.x
            for slots in line:
                w = row if slots in numbers else min(wide, self._widest(pen, slots))
                found.append(Place(slots, Box(x, y, w, name + weight * high).whole()))
                x += (wide if line in lines else w) + gap
            y += name + weight * high + gap
        return found

    def _widest(self, pen: Pen, slots: tuple[str, ...]) -> float:
        """How wide a place of scores may get: cells are no larger than their numbers want."""
        rows_columns = self._kept.shapes[slots[0]]
        return max(pen.px(ROW), rows_columns[1] * pen.px(MOST) + pen.px(16)) if slots in self._kept.scores else 1e9

    def _place(self, pen: Pen, place: Place, program: int | None) -> None:
        """A slot's name, and below it what the slot holds, or where it will be."""
        shown = self.run.shown(self.now, program, place.slots)
        slot, edge = shown.slot if shown else place.slots[-1], pen.px(6)
        area, shape = place.area, self._kept.shapes[place.slots[0]]
        name = called(slot, self.run.trace)
        pen.label(area.x + edge, area.y + pen.px(26), name, theme.hue(slot), weight=600, room=area.w - edge)
        room = Box(area.x + edge, area.y + pen.px(NAME), area.w - 2 * edge, area.h - pen.px(NAME) - edge).whole()
        if len(shape) == 1:
            made = cells.grid(room, shape[0], 1, most=pen.px(MOST))
            column = cells.Grid(Box(room.x, room.y, room.w, made.box.h), (int(room.w), made.cell[1]), made.bins)
            scores.statistic(pen, column, self.run, shown)
            return
        grid = cells.grid(room, *shape[:2], most=pen.px(MOST), finest=3, middle=False)
        if shown is None:
            pen.frame(grid.box, "faint", radius=4, dash=6)
        elif place.slots in self._kept.scores:
            scores.tile(pen, grid, self.run, shown)
        else:
            draw_value(pen, grid, self.run, shown)


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
    places = tuple((slot,) for slot in of_scores)
    if set(of_scores) == set(SCORES) and shapes["S"] == shapes["P"]:  # P takes the place of S
        places = (SCORES,)
    return Kept(tiles, places, tuple((slot,) for slot in shapes if slot not in matrices), shapes)


def called(slot: str, trace: Trace) -> str:
    """A slot as films write it: one that has a tensor's name in small letters as that tensor, `m_i` as m."""
    tensors = {name.lower(): name for name in trace.initial}
    return theme.label(slot if slot in theme.NAMES else tensors.get(slot, slot))
