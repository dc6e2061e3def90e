"""SRAM of an algorithm in several kernels: what the one that is running holds, as whole rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from ... import theme
from ...units import rows_of
from ..boxes import Box
from . import cells
from .of_run import Look, OfRun, differing
from .sram import draw_value, head, head_of

if TYPE_CHECKING:
    from ..pen import Pen


@dataclass(frozen=True)
class Kernel(OfRun):
    """Its matrices one below the other, with a row's max or sum beside the scores."""

    def seen(self) -> Look:
        program = self.run.program(self.now)
        shown = ((slot, self.run.shown(self.now, program, (slot,))) for slot in self.run.shapes_of(program))
        return Look((program, self._rows(), self.run.taken(program)), tuple(shown))

    def differs(self, before: Self, pen: Pen, box: Box) -> tuple[Box, ...]:
        was, now = before.looks, self.looks
        if before.run != self.run or was.whose != now.whose:
            return (box,)
        others = set(differing(was.shown, now.shown))
        return tuple(cells.edge(pen.unit, at) for slot, vector, at in self._places(pen, box) if others & {slot, vector})

    def draw(self, pen: Pen, box: Box) -> None:
        pen.panel(box, sram=True)
        program = self.run.program(self.now)
        head(pen, head_of(pen, box), self.run, self.run.taken(program))
        for slot, vector, place in self._places(pen, box):
            if pen.sees(cells.edge(pen.unit, place)):
                self._slot(pen, place, slot, vector, program)

    def _places(self, pen: Pen, box: Box) -> list[tuple[str, str | None, Box]]:
        """Each matrix, the one number a row beside it, if there is one, and where they stand."""
        top, slots = head_of(pen, box), self.run.shapes_of(self.run.program(self.now))
        wide = [slot for slot, shape in slots.items() if len(shape) == 2]
        narrow = [slot for slot in slots if slot not in wide]
        inside = Box(top.x, top.bottom, top.w, box.bottom - top.bottom - pen.px(16))
        split = inside.rows if inside.h > 0.55 * inside.w else inside.columns
        beside = [*narrow, *[None] * len(wide)]
        return [
            (slot, beside[n], place.whole()) for n, (slot, place) in enumerate(zip(wide, split(len(wide)), strict=True))
        ]

    def _slot(self, pen: Pen, place: Box, slot: str, vector: str | None, program: int | None) -> None:
        """A matrix under its name, and one number a row beside it."""
        shape = self.run.shapes_of(program)[slot]
        aside = pen.px(64) if vector else 0
        room = Box(place.x, place.y + pen.px(40), place.w - aside, place.h - pen.px(44))
        grid = cells.grid(room, *shape, finest=3, most=pen.px(60), middle=False)
        name, rows = theme.label(slot) if slot in theme.NAMES else slot[0].upper() + slot[1:], self._rows()
        words = f"{name}, {rows}" if rows and slot not in ("k", "v") else name
        shown = self.run.shown(self.now, program, (slot,))
        if slot == "P" and shown and self._undivided(shown.step):
            words = f"{words}, before ÷ ℓ"
        fits = (said for said in (words, name) if pen.width(said, theme.LABEL, weight=600) <= room.w)
        drawn = place.x + pen.label(place.x, place.y + pen.px(28), next(fits, name), theme.hue(slot), weight=600)
        dtype, stored = self.run.trace.meta["computing"], self.run.trace.meta["dtype"]
        made = shown and dtype != stored and self.run.trace[shown.step].op == "compute"  # what was loaded takes less
        if made and drawn + pen.px(16) + pen.width(dtype, theme.LABEL) <= room.right:
            pen.label(drawn + pen.px(16), place.y + pen.px(28), dtype)
        if shown is None:
            pen.frame(grid.box, "faint", radius=4, dash=6)
        else:
            draw_value(pen, grid, self.run, shown)
            if slot == "P":
                pen.frame(cells.edge(pen.unit, grid.box), "S", width=2, radius=6, dash=4)
        if vector:
            column = Box(grid.box.right + pen.px(16), grid.box.y, pen.px(40), grid.box.h)
            at = cells.Grid(column, (int(column.w), grid.cell[1]), (grid.bins[0], 1))
            pen.label(
                column.x + column.w / 2, place.y + pen.px(28), theme.label(vector), "stat", weight=600, align="center"
            )
            value = self.run.shown(self.now, program, (vector,))
            if value is None:
                pen.frame(column, "faint", radius=4, dash=6)
            else:
                draw_value(pen, at, self.run, value)

    def _undivided(self, step: int) -> bool:
        """Whether P is made there of exponentials that are still to be divided by their sum."""
        after = [event for event in self.run.trace[step + 1 : step + 3] if event.op == "compute"]
        return [event.slot for event in after] == ["l_i", "P"]

    def _rows(self) -> str:
        """The rows that it works on."""
        event = self.run.near(self.now)[-1]
        if "i" not in event.loop:
            return ""
        size, queries = self.run.trace.meta["block_q"], self.run.trace.meta["queries"]
        start = event.loop["i"] * size
        return rows_of(start, min(start + size, queries))
