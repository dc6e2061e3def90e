"""Matrices on screen: a grid of whole px, binned where it would be too fine; textures; numbers in cells; row labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ... import theme
from ...theme import LABEL, SMALL
from ..boxes import Box

if TYPE_CHECKING:
    from ..pen import Align, Pen

#: the smallest cell that survives video compression, in px
CELL = 4


class Grid(NamedTuple):
    """Rows × columns of a matrix in `box` (px): the size of a cell, and how many rows and columns go into one."""

    box: Box
    cell: tuple[int, int]
    bins: tuple[int, int] = (1, 1)

    def rows(self, start: int, stop: int) -> Box:
        """Where rows start … stop − 1 stand."""
        top, bottom = start // self.bins[0], ceil(stop / self.bins[0])
        return Box(self.box.x, self.box.y + top * self.cell[1], self.box.w, (bottom - top) * self.cell[1])

    def part(self, start: int, stop: int, left: int, right: int) -> Box:
        """The same of their columns left … right − 1."""
        rows, first = self.rows(start, stop), left // self.bins[1]
        wide = (ceil(right / self.bins[1]) - first) * self.cell[0]
        return Box(rows.x + first * self.cell[0], rows.y, wide, rows.h)

    def at(self, row: int, column: int) -> Box:
        """Where a cell stands."""
        (w, h), (tall, wide) = self.cell, self.bins
        return Box(self.box.x + column // wide * w, self.box.y + row // tall * h, w, h)


def grid(
    box: Box,
    rows: int,
    columns: int,
    *,
    most: float = 1e9,
    square: bool = False,
    finest: int = CELL,
    middle: bool = True,
) -> Grid:
    """The largest grid of whole-px cells within a box, from the top down, in the middle across (or at the left). Cells
    are at most `most` px, at least `finest` wide; where they would be smaller, rows or columns are binned."""
    bin_w, bin_h = _bins(columns, box.w, finest if columns > 1 else 1), _bins(rows, box.h, finest if square else 2)
    if square:
        bin_w = bin_h = max(bin_w, bin_h)
    w = int(max(1, min(most, box.w // ceil(columns / bin_w))))
    h = int(max(1, min(most, box.h // ceil(rows / bin_h))))
    if square:
        w = h = min(w, h)
    wide, tall = w * ceil(columns / bin_w), h * ceil(rows / bin_h)
    left = int(box.x + (box.w - wide) // 2) if middle else int(box.x)
    return Grid(Box(left, int(box.y), wide, tall), (w, h), (bin_h, bin_w))


def _bins(count: int, room: float, smallest: int) -> int:
    """How many go into one cell, so that cells of at least `smallest` px fit: 1, 2, 4, …"""
    bins = 1
    while ceil(count / bins) * smallest > room and bins < count:
        bins *= 2
    return bins


def colors_of(
    pen: Pen, values: np.ndarray, bins: tuple[int, int], span: tuple[float, float], base: str, name: str
) -> np.ndarray:
    """A matrix's colours (rows, columns, 3), binned. Where a mask hides all of a cell (−∞) it is empty."""
    matrix = values.astype(np.float64)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    return _colors(matrix.tobytes(), matrix.shape, bins, span, pen.color(base), pen.color(theme.hue(name)))


@lru_cache(maxsize=64)  # a tile is drawn frame after frame while others change
def _colors(
    data: bytes, shape: tuple[int, ...], bins: tuple[int, int], span: tuple[float, float], base: str, hue: str
) -> np.ndarray:
    from ..pen import binned, shades

    matrix = np.frombuffer(data).reshape(shape)
    hidden = np.isneginf(matrix)
    cells = binned(np.where(hidden, span[0], matrix), *bins)
    cells = np.where(binned(hidden.astype(float), *bins) == 1, np.nan, cells)
    colors = shades(cells, *span, base, hue)
    colors.setflags(write=False)
    return colors


def edge(unit: float, box: Box) -> Box:
    """Around a matrix: where the frame of one that is being made stands, or is of use, or is P."""
    return box.grown(max(2, round(4 * unit)))


def texture(
    pen: Pen, grid: Grid, values: np.ndarray, span: tuple[float, float], name: str, *,
    base: str = "sram", part: float = 1.0, alpha: float = 1.0,
) -> None:  # fmt: skip
    """A matrix as one thing, its first rows where only a part of it is there."""
    colors = colors_of(pen, values, grid.bins, span, base, name)
    count = ceil(len(colors) * part - 1e-9)
    if count > 0:
        pen.texture(Box(*grid.box[:3], grid.cell[1] * count), colors[:count], alpha=alpha)


def digits(pen: Pen, room: float, characters: int = 4) -> float | None:
    """The largest size at which so many digits fit into `room` px and can be read, if any."""
    for size in (LABEL, SMALL):
        if pen.fits(size) and characters * 0.6 * size * pen.unit <= room + 1:
            return size
    return None


def every(pen: Pen, pitch: float) -> int:
    """Of labels so many px apart, every how many-th can stand without touching: 1, 2, 4, …"""
    step = 1
    while step * pitch < LABEL * pen.unit * 1.08:
        step *= 2
    return step


def row_labels(
    pen: Pen, grid: Grid, words: Sequence[str], right: float, room: float, lit: frozenset[int] = frozenset(),
    align: Align = "right",
) -> None:  # fmt: skip
    """Labels of rows, which end at x = `right` (with align="left" they begin there); every k-th where they'd touch."""
    for row in range(0, len(words), every(pen, grid.cell[1] / grid.bins[0])):
        at, on = grid.rows(row, row + 1), row in lit
        y = at.y + at.h / 2 + pen.px(10)
        pen.label(right, y, words[row], "ink" if on else "dim", weight=600 if on else 400, align=align, room=room)


def column_labels(
    pen: Pen, left: float, pitch: float, words: Sequence[str], bottom: float, room: float, lit: frozenset[int]
) -> None:
    """Labels of columns that read upwards from y = `bottom`; every k-th where they would touch."""
    from .. import text as texts

    if not pen.fits(LABEL):
        return
    for n in range(0, len(words), every(pen, pitch)):
        on = n in lit
        style = pen.style(LABEL, 600 if on else 400)
        pen.ctx.save()
        pen.ctx.translate(round(left + (n + 0.5) * pitch + pen.px(10)), round(bottom))
        pen.ctx.rotate(-np.pi / 2)
        pen.text(0, 0, texts.elide(words[n], style, room), LABEL, "ink" if on else "dim", weight=600 if on else 400)
        pen.ctx.restore()
