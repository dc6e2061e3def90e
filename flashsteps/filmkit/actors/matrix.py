"""A matrix: cells in one hue, with numbers where they fit, labels on both sides, parts lit or crossed out."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, inf, isfinite, isinf, sin
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...theme import LABEL, SMALL, hue
from ..boxes import Box
from .actor import Actor
from .writing import line, width, write

if TYPE_CHECKING:
    from ..pen import Pen

CELL = 4  # px: smaller cells are put together
TURN = 1.05  # rad: by how much column labels lean where they would touch

Grid = tuple[tuple[float | None, ...], ...]


def grid(values: Any) -> Grid:
    """An array (rows, columns) as a matrix takes it: plain numbers, which compare and glide."""
    return tuple(tuple(row) for row in np.atleast_2d(np.asarray(values, dtype=float)).tolist())


class Region(NamedTuple):
    """Rows `top` … `bottom` − 1, columns `left` … `right` − 1, and how its frame looks."""

    top: float
    bottom: float
    left: float
    right: float
    hue: str = "ink"
    dash: float = 0


class Place(NamedTuple):
    """Where cells stand: edges in px of each column and each row, its far edges too, and the gap within them."""

    xs: tuple[int, ...]
    ys: tuple[int, ...]
    gap: int
    bins: tuple[int, int]

    def box(self, region: Region) -> Box:
        top, bottom = _edges(self.ys, *region[:2], self.bins[0])
        left, right = _edges(self.xs, *region[2:4], self.bins[1])
        return Box(left, top, max(1, right - left - self.gap), max(1, bottom - top - self.gap))


@dataclass(frozen=True)
class Matrix(Actor):
    """`low` and `high` are the scale, from the panel's colour to the full hue. A cell of None is empty, of −∞ plain.

    `seen` is how many rows are there by now; with `outlined` the others are outlines. `tile` (rows, columns) are set
    apart by `gap` units. `lit` regions are at full strength, if there are any, and the others dim; `skipped` ones are
    crossed out; `frames` are outlined. `square` cells are as high as they are wide. Cells too small to tell apart are
    put together; the note says how many.
    """

    values: Grid
    tensor: str
    low: float
    high: float
    title: str = ""
    note: str = ""
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    names: tuple[str, str] = ("", "")
    seen: float = inf
    tile: tuple[int, int] = (0, 0)
    gap: float = 0.0
    lit: tuple[Region, ...] = ()
    skipped: tuple[Region, ...] = ()
    frames: tuple[Region, ...] = ()
    places: int = 1
    base: str = "panel"
    square: bool = False
    numbers: bool = True
    outlined: bool = False

    def draw(self, pen: Pen, box: Box) -> None:
        tall, wide = len(self.values), len(self.values[0])
        head = line(pen, LABEL) if (self.title or self.note or self.tensor) and pen.fits(LABEL) else 0
        body = Box(box.x, box.y + head, box.w, box.h - head)
        left = self._beside(pen, body)
        pitch = (body.w - left) / wide
        if self.square:  # then the height may decide how wide a cell is, and so whether labels lean
            pitch = min(pitch, (body.h - self._above(pen, min(pitch, body.h / tall))) / tall)
        above, lean = self._above(pen, pitch), self._lean(pen, pitch)
        if above > 0.5 * body.h or lean > 0.4 * body.w:
            above = lean = 0
        body = Box(body.x + left, body.y + above, body.w - left - lean, body.h - above)
        if body.w < 4 or body.h < 4:
            return
        place = self._place(pen, body, tall, wide)
        self._title(pen, Box(place.xs[0], box.y, box.right - place.xs[0], head), place)
        size = self._cells(pen, place)
        for region in self.skipped:
            here = place.box(region)
            pen.fill(here, "bg")
            pen.cross(here, "faint")
        if size:
            self._numbers(pen, place, size)
        for region in self.frames:
            around = place.box(region).grown(min(pen.px(3), 3)) if min(region[:3:2]) > 0 else place.box(region)
            pen.frame(_within(around, box), region.hue, width=3, radius=6, dash=region.dash)
        self._row_labels(pen, place, Box(box.x, body.y, left, body.h))
        self._column_labels(pen, place, Box(body.x, body.y - above, box.right - body.x, above))

    # ---- room

    def _beside(self, pen: Pen, box: Box) -> int:
        words = [width(pen, words, LABEL, weight=500) for words in self.rows]
        if not any(words):
            return 0
        wide = ceil(max(*words, width(pen, self.names[0], LABEL, weight=600))) + pen.px(16)
        return wide if wide <= 0.4 * box.w else 0

    def _widest(self, pen: Pen) -> float:
        return max((width(pen, words, LABEL, weight=500) for words in self.columns), default=0.0)

    def _above(self, pen: Pen, pitch: float) -> int:
        widest = self._widest(pen)
        if not widest:
            return 0
        if widest + pen.px(10) <= pitch:
            return line(pen, LABEL) + pen.px(6)
        if pitch >= line(pen, LABEL) * 0.9:
            return ceil(widest * sin(TURN)) + pen.px(22)
        return line(pen, LABEL) + pen.px(6)

    def _lean(self, pen: Pen, pitch: float) -> int:
        widest = self._widest(pen)
        if not widest:
            return ceil(width(pen, self.names[1], LABEL, weight=600)) + pen.px(16) if self.names[1] else 0
        turned = widest + pen.px(10) > pitch >= line(pen, LABEL) * 0.9
        beyond = max(widest * cos(TURN) + pen.px(16) - pitch / 2, 0) if turned else 0
        return ceil(max(beyond, width(pen, self.names[1], LABEL, weight=600) + pen.px(12) if self.names[1] else 0))

    def _place(self, pen: Pen, body: Box, tall: int, wide: int) -> Place:
        many = [ceil(count / of) - 1 if of else 0 for count, of in zip((tall, wide), self.tile, strict=True)]
        apart = min(
            pen.px(self.gap), *(int(side * 0.3 / max(1, n)) for side, n in zip((body.h, body.w), many, strict=True))
        )
        cells = [max(1.0, side - apart * n) for side, n in zip((body.h, body.w), many, strict=True)]
        bins = ceil(tall / max(1, cells[0] // CELL)), ceil(wide / max(1, cells[1] // CELL))
        if self.square:  # as many rows to a cell as columns
            bins = max(bins), max(bins)
        pitch = [cells[0] / ceil(tall / bins[0]), cells[1] / ceil(wide / bins[1])]
        if self.square:
            pitch = [min(pitch)] * 2
        if all(p >= 12 for p in pitch) and self.square:
            pitch = [float(int(p)) for p in pitch]  # all cells alike
        gap = 0 if min(pitch) < 12 else max(1, pen.px(4)) if min(pitch) >= pen.px(40) else 1
        edges = []
        for axis, (start, count) in enumerate(((body.y, tall), (body.x, wide))):
            step = self.tile[axis] // bins[axis] if self.tile[axis] and self.tile[axis] % bins[axis] == 0 else 0
            bounds = range(ceil(count / bins[axis]) + 1)
            last = bounds[-1]
            parted = [(k - (k == last)) // step if step else 0 for k in bounds]
            edges.append(tuple(round(start + k * pitch[axis] + apart * n) for k, n in zip(bounds, parted, strict=True)))
        return Place(edges[1], edges[0], gap, bins)

    # ---- cells

    def _title(self, pen: Pen, box: Box, place: Place) -> None:
        color = hue(self.tensor) if self.title else "ink"
        used = write(pen, box, self.title, LABEL, color, weight=600)
        rows, columns = place.bins
        binned = (
            f"{columns} to a cell" if columns > 1 and rows == 1 else f"{rows}×{columns} to a cell" if rows > 1 else ""
        )
        words = ", ".join(filter(None, (self.note, binned)))
        gap = pen.px(14) if used else 0
        if width(pen, words, LABEL) <= box.w - used - gap:
            write(pen, Box(box.x + used + gap, box.y, box.w - used - gap, box.h), words, LABEL, "dim")

    def _cells(self, pen: Pen, place: Place) -> float:
        """Draws the cells; gives the size at which numbers fit into them, if any."""
        from ..pen import binned, shades

        values = np.array([[np.nan if x is None else x for x in row] for row in self.values], dtype=float)
        empty, cut = np.isnan(values), np.isneginf(values)
        shown = binned(np.where(cut, self.low, values), *place.bins)
        base, full = pen.color(self.base), pen.color(hue(self.tensor))
        strength = binned(self._strength(values.shape), *place.bins)
        colors = shades(shown, self.low, self.high, base, full)
        ground = np.array([int(base[k : k + 2], 16) for k in (1, 3, 5)])
        colors = (ground + (colors - ground) * strength[..., None] + 0.5).astype(np.uint8)
        count = min(len(shown), self.seen / place.bins[0])
        if place.gap == 0 and not self.gap and not empty.any():
            whole, part = int(count), count - int(count)
            box = place.box(Region(0, len(self.values), 0, len(self.values[0])))
            if whole:
                pen.texture(Box(box.x, box.y, box.w, place.ys[whole] - box.y), colors[:whole])
            if part and (some := round(part * colors.shape[1])):
                band = Box(box.x, place.ys[whole], place.xs[some] - box.x, place.ys[whole + 1] - place.ys[whole])
                pen.texture(band, colors[whole : whole + 1, :some])
            return 0.0
        inner = min(place.xs[1] - place.xs[0], place.ys[1] - place.ys[0]) - place.gap
        radius = 5 if inner >= pen.px(24) else 0
        for r, c in np.ndindex(shown.shape):
            here = self._cell(place, r, c)
            there = r + c / shown.shape[1] < count
            if not there and not self.outlined:
                continue
            if not there or np.isnan(shown[r, c]):
                pen.frame(here, "line", width=1, radius=radius)
                continue
            pen.fill(here, "#" + bytes(colors[r, c]).hex(), radius=radius)
            if place.bins == (1, 1) and cut[r, c]:
                pen.fill(here, base, radius=radius)
                pen.frame(here, "line", width=1, radius=radius)
        if not self.numbers or place.bins != (1, 1):
            return 0.0
        shape, room = "−0." + "0" * self.places, place.xs[1] - place.xs[0] - place.gap
        fit = [s for s in (LABEL, SMALL) if 0 < width(pen, shape, s, weight=500, mono=True) <= room - 1]
        return next((s for s in fit if place.ys[1] - place.ys[0] - place.gap >= line(pen, s) * 0.9), 0.0)

    def _strength(self, shape: tuple[int, ...]) -> np.ndarray:
        strength = np.full(shape, 0.3 if self.lit else 1.0)
        for region in self.lit:
            strength[round(region.top) : round(region.bottom), round(region.left) : round(region.right)] = 1.0
        return strength

    def _cell(self, place: Place, r: int, c: int) -> Box:
        (x, right), (y, bottom) = place.xs[c : c + 2], place.ys[r : r + 2]
        wide, high = right - x - place.gap, bottom - y - place.gap
        if self.gap and c + 1 < len(place.xs) - 1:  # a cell at the end of its tile does not reach over the gap
            wide = min(wide, place.xs[1] - place.xs[0] - place.gap)
        if self.gap and r + 1 < len(place.ys) - 1:
            high = min(high, place.ys[1] - place.ys[0] - place.gap)
        return Box(x, y, max(1, wide), max(1, high))

    def _numbers(self, pen: Pen, place: Place, size: float) -> None:
        from ...theme import ink_on, mix
        from ...units import number

        base, full, strength = (
            pen.color(self.base),
            pen.color(hue(self.tensor)),
            self._strength((len(self.values), len(self.values[0]))),
        )
        skipped = {
            (r, c)
            for g in self.skipped
            for r in range(round(g.top), round(g.bottom))
            for c in range(round(g.left), round(g.right))
        }
        for r, row in enumerate(self.values):
            for c, x in enumerate(row):
                if x is None or r + c / len(row) >= self.seen or (r, c) in skipped:
                    continue
                share = 0.1 + 0.9 * min(1.0, max(0.0, (x - self.low) / max(self.high - self.low, 1e-9)))
                ink = "ink" if isinf(x) else ink_on(mix(base, full, share * strength[r, c]))
                words = number(x, self.places, 3 + self.places) if isfinite(x) else "−∞"
                write(pen, self._cell(place, r, c), words, size, ink, weight=500, mono=True, align="center")

    # ---- labels

    def _row_labels(self, pen: Pen, place: Place, box: Box) -> None:
        if not box.w or place.bins[0] != 1:
            return
        high = place.ys[1] - place.ys[0]
        every, last = ceil(line(pen, LABEL) * 0.9 / max(1, high)), -inf
        lit = {r for region in self.lit for r in range(round(region.top), round(region.bottom))}
        for r, words in enumerate(self.rows):
            if r % every == 0 and r + 1 < len(place.ys):
                middle = place.ys[r] + (high - place.gap) / 2
                top: float = round(middle - line(pen, LABEL) / 2)
                if every > 1 and top > (lowest := box.bottom - line(pen, LABEL)):  # rows are lower than their labels
                    if lowest - last < 0.9 * line(pen, LABEL):
                        continue
                    top = lowest
                last = top
                here = Box(box.x, top, box.w - pen.px(14), line(pen, LABEL))
                ink, weight = ("ink", 500) if r in lit or not self.lit else ("dim", 400)
                write(
                    pen,
                    here,
                    words,
                    LABEL,
                    ink if self.lit else "dim",
                    weight=weight if self.lit else 400,
                    align="right",
                )

    def _column_labels(self, pen: Pen, place: Place, box: Box) -> None:
        if not box.h or place.bins[1] != 1:
            return
        pitch, widest = place.xs[1] - place.xs[0], self._widest(pen)
        turned = widest + pen.px(10) > pitch >= line(pen, LABEL) * 0.9
        turned = turned and box.h >= ceil(widest * sin(TURN)) + pen.px(22)  # they may have been given no room to lean
        every, last = 1 if turned else ceil((widest + pen.px(10)) / pitch), -inf
        for c, words in enumerate(self.columns):
            if c % every or c + 1 >= len(place.xs):
                continue
            middle = place.xs[c] + (pitch - place.gap) / 2
            if turned:
                pen.ctx.save()
                pen.ctx.translate(round(middle + pen.px(8)), box.bottom - pen.px(8))
                pen.ctx.rotate(-TURN)
                pen.text(0, 0, words, LABEL, "dim")
                pen.ctx.restore()
            else:
                wide = min(width(pen, words, LABEL) + 1, box.w)
                left = min(max(middle - wide / 2, box.x), box.right - wide)
                if left < last + pen.px(8):  # the one before was moved to where there is room for it
                    continue
                last = left + wide
                write(pen, Box(left, box.y, wide, box.h - pen.px(6)), words, LABEL, "dim", align="center")


def _edges(edges: tuple[int, ...], start: float, stop: float, each: int) -> tuple[int, int]:
    """Where rows or columns begin and end, `each` to a cell: less than a cell is the one that it is in."""
    first, last = (min(len(edges) - 1, round(at / each)) for at in (start, stop))
    if first == last and start < stop:
        first = min(len(edges) - 2, int(start / each))
        last = first + 1
    return edges[first], edges[last]


def _within(inner: Box, outer: Box) -> Box:
    x, y = max(inner.x, outer.x), max(inner.y, outer.y)
    return Box(x, y, min(inner.right, outer.right) - x, min(inner.bottom, outer.bottom) - y)
