"""The map: all tiles of the N × N scores, which are done, which is on, which are skipped. S itself is never stored."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from ...theme import LABEL
from ..boxes import Box
from . import cells
from .of_run import OfRun

if TYPE_CHECKING:
    from ..pen import Pen
    from ..run import Run


@dataclass(frozen=True)
class TileMap(OfRun):
    """`words` is what stands above it; queries are its rows, keys its columns. With `framed`, it is known from the
    start what each tile will be: these (row, column) have a frame, and those that will be skipped are crossed out.
    With `numbered`, blocks have their numbers beside them and no tokens."""

    words: str = "tiles of S"
    framed: tuple[tuple[int, int], ...] | None = None
    numbered: bool = False

    def seen(self) -> Hashable:
        return self.run.done(self.now)

    def draw(self, pen: Pen, box: Box) -> None:
        run, meta = self.run, self.run.trace.meta
        count, on = run.done(self.now)
        rounds = run.rounds[:count]
        done = sum(len(r.tiles) for r in rounds)
        total = sum(len(r.tiles) for r in run.rounds)
        known = count if self.framed is None else len(run.rounds)
        told = run.rounds[:known]
        hidden = sum(len(r.hidden) for r in told)
        base = box.y + pen.px(30)
        said = f"{done} of {total}" + (f", {hidden} skipped" if hidden else "")
        width = pen.label(box.x, base, self.words)
        if width + pen.figure_width(said) + pen.px(16) > box.w:
            said = f"{done} of {total}"
        pen.figure(box.right, base, said, align="right")
        grid = place(pen, box, run, self.numbered)
        side = grid.cell
        rows, columns = -(-meta["queries"] // meta["block_q"]), -(-meta["keys"] // meta["block_k"])
        gap = max(1, pen.px(4)) if min(side) * meta["block_q"] >= 12 else 0
        pen.frame(cells.edge(pen.unit, grid.box), "line", radius=4)
        now = (*on.tiles, *on.hidden) if on else ()
        for r in dict.fromkeys((*told, *([on] if on else []))):
            for i, j in (*r.tiles, *r.hidden):
                if i >= rows or j >= columns:
                    continue
                tile = tile_box(grid, meta, i, j)
                inside = Box(tile.x, tile.y, tile.w - gap, tile.h - gap)
                radius = 4 if gap else 0
                if (i, j) in r.hidden:  # stepped over: never framed as one that is on
                    if r.number < known:
                        pen.cross(inside, "faint", radius=radius)
                    continue
                if r.number < count:
                    pen.fill(inside, "S", radius=radius, alpha=1.0 if r == on else 0.35)
                if r == on:
                    pen.frame(inside, "ink", width=3, radius=radius)
                if (i, j) in (self.framed or ()):  # within that of one that is on: both are seen
                    pen.frame(inside.inset(gap) if r == on else inside, "accent", width=3, radius=radius)
                elif count <= r.number < known and r != on:
                    pen.frame(inside, "line", radius=radius)
        lit = [
            frozenset(x for tile in now for x in range(tile[axis] * meta[b], tile[axis] * meta[b] + meta[b]))
            for axis, b in ((0, "block_q"), (1, "block_k"))
        ]
        lit = [
            one if len(one) < meta[axis] else frozenset() for one, axis in zip(lit, ("queries", "keys"), strict=True)
        ]
        if self.numbered:
            self._numbers(pen, grid, box, (rows, columns), now)
            return
        left, top = grid.box.x - box.x - pen.px(10), grid.box.y - box.y - pen.px(58)
        cells.row_labels(pen, grid, run.names["queries"], grid.box.x - pen.px(10), left, lit[0])
        names = run.names["keys"]
        if top < pen.px(40):
            return
        cells.column_labels(pen, grid.box.x, grid.box.w / len(names), names, grid.box.y - pen.px(10), top, lit[1])

    def _numbers(
        self, pen: Pen, grid: cells.Grid, box: Box, count: tuple[int, int], now: tuple[tuple[int, int], ...]
    ) -> None:
        """Of each block of queries at its left, of each block of keys above it."""
        for axis, many in enumerate(count):
            lit = {tile[axis] for tile in now}
            lit = lit if len(lit) < many else set()
            for n in range(many):
                tile = tile_box(grid, self.run.trace.meta, n if axis == 0 else 0, n if axis == 1 else 0)
                if axis == 0 and n % ceil(pen.px(30) / max(1, tile.h)):
                    continue
                x, y = tile.x + tile.w / 2, tile.y + tile.h / 2 + pen.px(10)
                ink, weight = ("ink", 600) if n in lit else ("dim", 400)
                if axis == 0:
                    pen.label(grid.box.x - pen.px(16), y, str(n), ink, weight=weight, align="right")
                elif grid.box.y - box.y >= pen.px(90) and pen.width(str(many - 1), LABEL) + pen.px(4) <= tile.w:
                    pen.label(x, grid.box.y - pen.px(12), str(n), ink, weight=weight, align="center")


def place(pen: Pen, box: Box, run: Run, numbered: bool = False) -> cells.Grid:
    """Where the scores stand: a cell each, as large as fits beside the labels."""
    meta = run.trace.meta
    beside, above = (
        round(max((pen.width(name, LABEL, weight=600) for name in run.names[side]), default=0.0))
        for side in ("queries", "keys")
    )
    if numbered:
        beside = above = round(pen.width("00", LABEL))
    label = min(beside + pen.px(22), round(0.34 * box.w)) if pen.fits(LABEL) else 0
    head = pen.px(50) + ((pen.px(44) if numbered else above + pen.px(30)) if box.h >= pen.px(300) else 0)
    room = Box(box.x + label, box.y + head, box.w - label - pen.px(8), box.h - head - pen.px(8)).whole()
    made = cells.grid(room, meta["queries"], meta["keys"], square=True, finest=1, middle=False)
    return made


def tile_box(grid: cells.Grid, meta: dict[str, int], i: int, j: int) -> Box:
    """Where tile (i, j) stands."""
    bq, bk = meta["block_q"], meta["block_k"]
    bottom, right = min((i + 1) * bq, meta["queries"]), min((j + 1) * bk, meta["keys"])
    first, last = grid.at(i * bq, j * bk), grid.at(bottom - 1, right - 1)
    return Box(first.x, first.y, last.right - first.x, last.bottom - first.y)
