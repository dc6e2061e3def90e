"""A paged cache: a sequence in its own order, the block table below it, and the pool in which its pages lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...theme import HEAD, LABEL
from ..boxes import Box
from . import cells
from .actor import Actor
from .matrix import Grid
from .writing import line, lines, width, write

if TYPE_CHECKING:
    from ..pen import Pen


@dataclass(frozen=True)
class Pages(Actor):
    """`names` are what a page holds, `table` says which of the pool's pages it is. K and V (pool's rows, d) are the
    pool, `page` rows a page; those that the table doesn't name are others' (hatched). `now` is the page that is dealt
    with, and `step` how far: 1 it is looked up, 2 it comes in. The pages before it have come."""

    names: tuple[str, ...]
    table: tuple[int, ...]
    K: Grid
    V: Grid
    page: int
    now: int = 0
    step: float = 0

    def draw(self, pen: Pen, box: Box) -> None:
        high = line(pen, LABEL)
        own, entries, pool = Box(*box[:3], 0), pen.px(64), high + pen.px(10)
        rows = max(len(lines(pen, words, LABEL, self._own(box, 0, pen).w - pen.px(24))) for words in self.names)
        tall = max(1, rows) * high + pen.px(28)
        y = box.y + self._says(pen, own, "this sequence, in its own order")
        tops = [self._own(box._replace(y=y, h=tall), n, pen) for n in range(len(self.names))]
        label = Box(box.x, y + tall + pen.px(30), box.w, 0)
        middle = tops[0].x + tops[0].w / 2  # where a line runs down: words stand beside it
        if width(pen, "block table", LABEL) + pen.px(12) > middle - box.x:
            label = Box(round(middle) + pen.px(20), label.y, box.right - round(middle) - pen.px(20), 0)
        table_y = label.y + self._says(pen, label, "block table")
        bottom = box.bottom - pool
        page_high = min(round(0.34 * box.h), pen.px(220))
        pool_y = bottom - page_high
        self._says(pen, Box(box.x, pool_y - high - pen.px(16), box.w, 0), "the pool of pages")
        for n in (*(n for n in range(len(tops)) if n != self.now), self.now):
            self._chain(
                pen, n, tops[n], Box(box.x, table_y, box.w, entries), self._pool(box, self.table[n], pen), pool_y
            )
        for p in range(len(self.K) // self.page):
            place = self._pool(box, p, pen)
            here = Box(place.x, pool_y, place.w, page_high)
            self._page(pen, p, here)
            lit = p in self.table
            under = Box(here.x, bottom + pen.px(8), here.w, high)
            write(
                pen,
                under,
                str(p),
                LABEL,
                "ink" if lit else "dim",
                weight=600 if lit else 400,
                mono=True,
                align="center",
            )

    def _own(self, box: Box, n: int, pen: Pen) -> Box:
        return box.columns(len(self.names), gap=pen.px(28))[n].whole() if len(self.names) > 1 else box

    def _pool(self, box: Box, p: int, pen: Pen) -> Box:
        return box.columns(len(self.K) // self.page, gap=pen.px(22))[p].whole()

    def _says(self, pen: Pen, box: Box, words: str) -> int:
        """A line of words, and the height that it takes."""
        high = line(pen, LABEL) + pen.px(6)
        write(pen, Box(box.x, box.y, box.w, high - pen.px(6)), words, LABEL, "dim")
        return high

    def _chain(self, pen: Pen, n: int, top: Box, table: Box, pool: Box, pool_y: float) -> None:
        """A page of the sequence, its entry in the table, and a wire to where it lies."""
        now = n == self.now
        colors = ["accent" if now and self.step >= step else "ink" if n < self.now else "line" for step in (0, 1, 2)]
        pen.fill(top, "panel", radius=12)
        pen.frame(top, colors[0], width=4 if now else 2, radius=12)
        told, high = lines(pen, self.names[n], LABEL, top.w - pen.px(24)), line(pen, LABEL)
        y = top.y + (top.h - high * len(told)) // 2
        for k, words in enumerate(told):
            at = Box(top.x + pen.px(8), y + k * high, top.w - 2 * pen.px(8), high)
            write(pen, at, words, LABEL, "ink" if now else "dim", align="center")
        middle, side = top.x + top.w / 2, pen.px(92)
        entry = Box(round(middle - side / 2), table.y, side, table.h)
        pen.line([(middle, top.bottom + pen.px(4)), (middle, entry.y - pen.px(4))], colors[1], width=3)
        pen.fill(entry, "bg")
        pen.frame(
            entry, "line" if colors[1] == "line" else colors[1], width=4 if now and self.step >= 1 else 2, radius=8
        )
        write(pen, entry, str(self.table[n]), HEAD, "ink", weight=600, mono=True, align="center")
        start, stop = entry.bottom + pen.px(4), pool_y - pen.px(10)
        x, half = pool.x + pool.w / 2, (stop - start) / 2
        pen.source(colors[1])
        pen.ctx.new_path()
        pen.ctx.move_to(middle, start)
        pen.ctx.curve_to(middle, start + half, x, stop - half, x, stop)
        pen.ctx.set_line_width(pen.stroke_width(4 if now else 3))
        pen.ctx.stroke()

    def _page(self, pen: Pen, p: int, here: Box) -> None:
        """Keys over values of one page; where they are another's, hatches."""
        if p not in self.table:
            pen.hatch(here, "faint", step=14)
            pen.frame(here, "line", radius=6)
            return
        n = self.table.index(p)
        there = n < self.now or n == self.now and self.step >= 2
        for name, data, half in zip("KV", (self.K, self.V), here.rows(2, gap=max(2, pen.px(8))), strict=True):
            whole = np.array(data, dtype=float)
            values = whole[p * self.page : (p + 1) * self.page]
            span = float(np.min(whole)), float(np.max(whole))
            grid = cells.grid(half.whole(), *values.shape)
            colors = cells.colors_of(pen, values, grid.bins, span, "panel", name)
            pen.texture(half.whole(), colors, alpha=1.0 if there else 0.35)
        if n == self.now and self.step >= 2:
            pen.frame(here.grown(max(2, pen.px(6))), "accent", width=4, radius=8)
