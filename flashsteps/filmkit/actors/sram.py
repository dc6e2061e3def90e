"""SRAM: the tiles on chip, the score tile with its numbers, max and sum of each row, and how full it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, NamedTuple, Self

from ... import theme
from ...theme import HEAD, LABEL
from ...units import number
from ..boxes import Box
from ..moments import SCORES, STATS
from ..run import Run, Shown
from . import cells, scores
from .of_run import Look, OfRun, differing

if TYPE_CHECKING:
    from ..pen import Pen


GAUGE = 60  # units that a gauge takes at least
NEEDS = "needs at most", "needs up to", "at most", "≤"  # before what is needed, as there is room


@dataclass(frozen=True)
class Sram(OfRun):
    """`lit` is a row of the score tile that stands out; `alpha` whether α has a column of its own."""

    lit: int | None = None
    alpha: bool = False

    def seen(self) -> Look:
        program = self.run.program(self.now)
        slots = {slot: (slot,) for slot in tiles_of(self.run)} | {"S": SCORES} | STATS
        shown = ((name, self.run.shown(self.now, program, place)) for name, place in slots.items())
        return Look((program, self.run.taken(program)), tuple(shown))

    def differs(self, before: Self, pen: Pen, box: Box) -> tuple[Box, ...]:
        was, now = before.looks, self.looks
        told = (before.run, before.lit, before.alpha) == (self.run, self.lit, self.alpha)
        if not told or was.whose != now.whose:
            return (box,)
        areas = areas_of(pen, box, len(now.shown) - len(STATS) - 1)
        tiles = dict(zip(tiles_of(self.run), areas.tiles, strict=True))
        found = differing(was.shown, now.shown)
        edges = [cells.edge(pen.unit, tiles[name]) for name in found if name in tiles]
        if len(edges) < len(found):  # of the scores, and what belongs to them
            edges.append(self._scores(pen, areas.scores, dict(was.shown)["S"], dict(now.shown)["S"], found))
        return tuple(edges)

    def _scores(self, pen: Pen, box: Box, before: Shown | None, after: Shown | None, found: list[str]) -> Box:
        """What of the scores' place is another."""
        tile = scores.places(pen, box, self.run, alpha=self.alpha).tile
        more = scores.more(self.run, tile, before, after) if found[-1] == "S" and before and after else None
        return more or box

    def draw(self, pen: Pen, box: Box) -> None:
        pen.panel(box, sram=True)
        (program, taken), pairs = self.looks
        shown, areas = dict(pairs), areas_of(pen, box, len(tiles_of(self.run)))
        if pen.sees(areas.head):
            head(pen, areas.head, self.run, taken)
        for slot, place in zip(tiles_of(self.run), areas.tiles, strict=True):
            if pen.sees(cells.edge(pen.unit, place)):
                draw_slot(pen, place, self.run, slot, shown[slot])
        if pen.sees(areas.scores):
            scores.draw(pen, areas.scores, self.run, self.now, program, lit=self.lit, alpha=self.alpha)


class Areas(NamedTuple):
    """The head, a place for each tile, and the scores' place in an SRAM panel."""

    head: Box
    tiles: tuple[Box, ...]
    scores: Box


def areas_of(pen: Pen, box: Box, count: int) -> Areas:
    """Tiles stand in two columns over the scores; in a flat panel all in one line."""
    top = head_of(pen, box)
    inside = top._replace(h=box.h - pen.px(14))
    across = 2 if box.w < 1.6 * box.h and count <= 6 else max(1, count)
    high, down = pen.px(62 if box.h >= pen.px(430) else 50), ceil(count / across)
    wide = inside.w // across
    tiles = tuple(
        Box(inside.x + n % across * wide, top.bottom + n // across * (high + pen.px(6)), wide, high)
        for n in range(count)
    )
    below = top.bottom + down * (high + pen.px(6)) + pen.px(6)
    return Areas(top, tiles, Box(inside.x, below, inside.w, inside.bottom - below))


@lru_cache(maxsize=16)
def tiles_of(run: Run) -> tuple[str, ...]:
    """The matrices on chip besides scores: keys and values first, then queries, then what is made."""
    order = {"k": 0, "v": 1, "q": 2}
    slots = [slot for slot, shape in run.shapes.items() if len(shape) == 2 and slot not in SCORES]
    return tuple(sorted(slots, key=lambda slot: order.get(slot, 9)))


def head_of(pen: Pen, box: Box) -> Box:
    """Where in a panel its head stands."""
    side = pen.px(22)
    return Box(box.x + side, box.y, box.w - 2 * side, pen.px(76 if box.h >= pen.px(430) else 60))


def head(pen: Pen, box: Box, run: Run, held: tuple[tuple[str, int], ...]) -> None:
    """The name, and what is needed of it at most: a hollow bar, and figures; it is not what it holds now."""
    base = box.y + pen.px(50 if box.h >= pen.px(70) else 44)
    left = box.x + pen.text(box.x, base, name_of(run), HEAD, weight=700) + pen.px(20)
    right = box.right - pen.figure(box.right, base, need_of(held, run.sram), align="right") - pen.px(12)
    beside = pen.px(16 + GAUGE), 0  # a gauge, where there is room for one
    fits = (words for room in beside for words in NEEDS if left + pen.width(words, LABEL) + room <= right)
    how = next(fits, "")
    right -= round(pen.label(right, base, how, align="right")) + pen.px(16)
    wide = min(pen.px(190), right - left)
    if wide >= pen.px(GAUGE):
        gauge(pen, Box(right - wide, base - pen.px(24), wide, pen.px(26)).whole(), held, run.sram)


def name_of(run: Run) -> str:
    """`toy SRAM`, where the room is a toy's, and none of a device."""
    return "toy SRAM" if run.is_toy else "SRAM"


def need_of(held: tuple[tuple[str, int], ...], room: int) -> str:
    """`1.8 of 2 KiB`: of what the chip holds so much is needed; in bytes where that is less than one."""
    return fill_of(sum(size for _, size in held), room)


def fill_of(held: int, room: int) -> str:
    """`1.8 of 2 KiB`; in bytes where that is less than one."""
    if room < 1024:
        return f"{held:,} of {room:,} B"
    whole = f"{room / 1024:.1f}".removesuffix(".0")
    return f"{held / 1024:.1f} of {whole} KiB"


def gauge(pen: Pen, box: Box, held: tuple[tuple[str, int], ...], room: int) -> None:
    """Bytes that are needed at most, as outlines by hue, over what the chip holds."""
    pen.fill(box, "bg", radius=6)
    inside = box.inset(max(2, pen.px(4))).whole()
    at = 0
    for hue, size in held:
        left, right = (inside.x + round(min(1.0, x / room) * inside.w) for x in (at, at + size))
        piece = Box(left, inside.y, max(0, right - left - 1), inside.h)
        pen.fill(piece, hue, alpha=0.18)
        if piece.w > 2:
            pen.frame(piece, hue, width=2)
        at += size
    pen.frame(box, "sram_line", width=2, radius=4)


def draw_slot(pen: Pen, place: Box, run: Run, slot: str, shown: Shown | None, most: float = 30) -> None:
    """A name, and the tile as a texture: full while it is of use, dimmed when not, framed while it is being made."""
    name = slot if len(slot) > 1 else slot.upper()
    letter = pen.px(66 if len(name) > 1 else 44)
    room = Box(place.x + letter, place.y, place.w - letter - pen.px(20), place.h)
    made = cells.grid(room, *run.shapes[slot][:2], most=pen.px(most), finest=3, middle=False)
    grid = made._replace(box=made.box._replace(y=int(place.y + (place.h - made.box.h) // 2)))
    y = grid.box.y + grid.box.h / 2 + pen.px(10)
    pen.label(place.x + letter - pen.px(14), y, name, theme.hue(slot), weight=700, align="right")
    if shown is None:
        pen.frame(grid.box, "faint", radius=4, dash=6)
        return
    draw_value(pen, grid, run, shown)


def draw_value(pen: Pen, grid: cells.Grid, run: Run, shown: Shown) -> None:
    """What a slot holds, as a texture. A constant has none: it is written out."""
    value = run.value(shown.step)
    rows = grid.rows(0, len(value))
    if value.size and (value == value.flat[0]).all() and run.trace[shown.step].op == "compute" or not value.any():
        pen.frame(rows, theme.hue(shown.slot), radius=3, dash=6)
        if rows.h >= pen.px(30):
            x, y, words = rows.x + rows.w / 2, rows.y + rows.h / 2 + pen.px(10), number(float(value.flat[0]), 2)
            pen.label(x, y, words if value.any() else "0", theme.hue(shown.slot), align="center")
        return
    span = run.ranges.get(shown.slot, (0.0, 1.0))
    cells.texture(pen, grid, value, span, shown.slot, part=shown.part, alpha=1.0 if shown.live else 0.35)
    if ceil(shown.part * value.size) < value.size:
        pen.frame(cells.edge(pen.unit, rows), "accent", width=3, radius=5)
