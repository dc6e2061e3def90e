"""Tiles as terms of an equation, side by side in cells of one size: S − LSE → P, with rows and columns named."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...theme import HEAD, LABEL, hue
from ..boxes import Box
from . import cells
from .actor import Actor
from .matrix import Grid
from .writing import line, width, write

if TYPE_CHECKING:
    from ..pen import Pen

APART, BESIDE, LOWER = 20, 16, 8  # units: between tiles, besides a sign; between labels and cells, beside and below


class Tile(NamedTuple):
    """Values (rows, columns) of a tensor, from `low` to `high`; `sign` stands before it, `title` above it, `columns`
    below it. Of its cells, `seen` (0 … 1) are there, in reading order; the others are outlines."""

    values: Grid
    tensor: str
    low: float
    high: float
    title: str = ""
    sign: str = ""
    columns: tuple[str, ...] = ()
    places: int = 2
    seen: float = 1.0

    @property
    def wide(self) -> int:
        return len(self.values[0])


@dataclass(frozen=True)
class Equation(Actor):
    """All tiles have as many rows, whose names stand at the left. `lit` (row, column) of the tile `of` is framed."""

    tiles: tuple[Tile, ...]
    rows: tuple[str, ...] = ()
    lit: tuple[int, int] | None = None
    of: int = -1
    base: str = "sram"

    def draw(self, pen: Pen, box: Box) -> None:
        tall, high = len(self.tiles[0].values), line(pen, LABEL)
        names = ceil(max((width(pen, words, LABEL) for words in self.rows), default=0.0))
        left = names + pen.px(BESIDE) if 0 < names <= 0.3 * box.w else 0
        signs = [ceil(width(pen, tile.sign, HEAD, weight=600)) + pen.px(APART) for tile in self.tiles]
        signs[0] = 0
        pitch = (box.w - left - sum(signs)) / sum(tile.wide for tile in self.tiles)
        head = high + pen.px(8) if any(tile.title for tile in self.tiles) and pen.fits(LABEL) else 0
        below = (2 * high + pen.px(LOWER)) * any(any(tile.columns) for tile in self.tiles) if pen.fits(LABEL) else 0
        w = int(min(pitch, pen.px(118)))
        h = int(min((box.h - head - below) / tall, pen.px(84)))
        if w < 2 or h < 2:
            return
        spare = box.w - left - sum(signs) - w * sum(tile.wide for tile in self.tiles)
        x, top = box.x + left + spare // 2, box.y + head + (box.h - head - below - h * tall) // 2
        for n, words in enumerate(self.rows if left else ()):
            place = Box(x - left, top + n * h, left - pen.px(BESIDE), h)
            lit = bool(self.lit) and self.lit is not None and self.lit[0] == n
            if n % cells.every(pen, h) == 0:
                write(pen, place, words, LABEL, "ink" if lit else "dim", align="right")
        for n, (tile, sign) in enumerate(zip(self.tiles, signs, strict=True)):
            write(pen, Box(x, top, sign, h * tall), tile.sign, HEAD, "ink", weight=600, align="center")
            x += sign
            self._tile(pen, tile, Box(x, top, w * tile.wide, h * tall), (w, h), box)
            if self.lit and n == self.of % len(self.tiles):
                r, c = self.lit
                gap = self._gap(pen, w, h)
                pen.frame(Box(x + c * w, top + r * h, w - gap, h - gap).grown(2), "accent", width=4, radius=6)
            x += w * tile.wide

    def _gap(self, pen: Pen, w: int, h: int) -> int:
        return max(1, pen.px(4)) if min(w, h) >= pen.px(24) else 1 if min(w, h) >= 6 else 0

    def _tile(self, pen: Pen, tile: Tile, place: Box, cell: tuple[int, int], box: Box) -> None:
        from ...theme import ink_on, mix
        from ...units import fixed

        (w, h), high, base, full = cell, line(pen, LABEL), pen.color(self.base), pen.color(hue(tile.tensor))
        wide = ceil(width(pen, tile.title, LABEL, weight=600)) + 2
        left = min(max(box.x, place.x + (place.w - wide) // 2), max(box.x, box.right - wide))
        write(pen, Box(left, place.y - high - pen.px(8), wide, high), tile.title, LABEL, full, weight=600)
        gap, shape = self._gap(pen, w, h), (len(tile.values), tile.wide)
        room = max(len(fixed(x, tile.places)) for row in tile.values for x in row if x is not None)
        size = cells.digits(pen, w - gap, room) if h >= 0.9 * high else None
        for n, (r, c) in enumerate(np.ndindex(shape)):
            here, x = Box(place.x + c * w, place.y + r * h, w - gap, h - gap), tile.values[r][c]
            if n >= ceil(tile.seen * shape[0] * shape[1] - 1e-9) or x is None:
                pen.frame(here, "faint", radius=5, dash=5)
                continue
            if not np.isfinite(x):
                pen.frame(here, "line", width=1, radius=5)
                continue
            share = min(1.0, max(0.0, (x - tile.low) / max(tile.high - tile.low, 1e-9)))
            color = mix(base, full, 0.12 + 0.88 * share)
            pen.fill(here, color, radius=5)
            if size:
                pen.digits(here, fixed(x, tile.places), size, ink_on(color))
        step = 1 if w >= pen.px(46) else ceil(pen.px(46) / w)
        for k, c in enumerate(range(0, len(tile.columns), step)):
            words, middle = tile.columns[c], place.x + (c + 0.5) * w - gap / 2
            wide = ceil(width(pen, words, LABEL)) + 1
            left = min(max(box.x, middle - wide / 2), box.right - wide)
            if wide <= 2 * step * w - pen.px(6):
                at = Box(left, place.bottom + pen.px(LOWER) + high * (k % 2), wide, high)
                write(pen, at, words, LABEL, "dim", align="center")
