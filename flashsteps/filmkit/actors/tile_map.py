"""The map: all tiles of the N × N scores: filled once done, framed while in the making, crossed out where skipped."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from ...theme import LABEL
from ..boxes import Box
from . import cells
from .of_run import OfRun

if TYPE_CHECKING:
    from ..moments import Round
    from ..pen import Pen
    from ..run import Run

#: what is counted above it, as there is room
WORDS = "tiles of S done", "S tiles done", "tiles done"


@dataclass(frozen=True)
class TileMap(OfRun):
    """Queries are its rows, keys its columns. What is counted above it is what is filled. With `marked`, it is known
    from the start what each tile will be: these (row, column) have a frame of their own, and those that will be skipped
    are crossed out. With `numbered`, blocks have their numbers beside them and no tokens. A `tile` is so many queries
    and keys, a block of each unless given."""

    marked: tuple[tuple[int, int], ...] | None = None
    numbered: bool = False
    tile: tuple[int, int] | None = None

    @property
    def meta(self) -> dict[str, Any]:
        """The run's, with the blocks that its tiles are."""
        return self.run.trace.meta | (dict(zip(("block_q", "block_k"), self.tile, strict=True)) if self.tile else {})

    def seen(self) -> Hashable:
        return self.run.done(self.now), self.run.at_tile(self.now), tuple(self.run.indices(self.now))

    def draw(self, pen: Pen, box: Box) -> None:
        run, meta = self.run, self.meta
        (count, on), at_tile = run.done(self.now), run.at_tile(self.now)
        making = (on,) if on and at_tile else ()
        made = [tile for r in run.rounds[:count] for tile in r.tiles]
        known = run.rounds if self.marked is not None else ()
        skipped = [tile for r in known or (*run.rounds[:count], *making) for tile in r.hidden]
        total = sum(len(r.tiles) for r in run.rounds)
        base = box.y + pen.px(30)
        said = f"{len(made)} of {total}"
        more = f"{said}, {len(skipped)} skipped" if skipped else said
        room = box.w - pen.px(16)
        said = more if pen.width(WORDS[0], LABEL) + pen.figure_width(more) <= room else said
        left = room - pen.figure(box.right, base, said, align="right")
        pen.label(box.x, base, next((words for words in WORDS if pen.width(words, LABEL) <= left), ""))
        grid = place(pen, box, run, self.numbered)
        side = grid.cell
        rows, columns = -(-meta["queries"] // meta["block_q"]), -(-meta["keys"] // meta["block_k"])
        gap = max(1, pen.px(4)) if min(side) * meta["block_q"] >= 12 else 0
        radius = 4 if gap else 0
        pen.frame(cells.edge(pen.unit, grid.box), "line", radius=4)

        def insides(tiles: Iterable[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], Box]]:
            for i, j in tiles:
                if i < rows and j < columns:
                    tile = tile_box(grid, meta, i, j)
                    yield (i, j), Box(tile.x, tile.y, tile.w - gap, tile.h - gap)

        for _, inside in insides(tile for r in known[count:] for tile in r.tiles):
            pen.frame(inside, "line", radius=radius)
        for _, inside in insides(made):
            pen.fill(inside, "S", radius=radius, alpha=0.5)
        for _, inside in insides(skipped):
            pen.cross(inside, "faint", radius=radius)
        on_now = {tile for r in making for tile in r.tiles}
        for _, inside in insides(on_now):
            pen.frame(inside, "ink", width=3, radius=radius)
        for tile, inside in insides(self.marked or ()):  # within that of one that is on: both are seen
            pen.frame(inside.inset(gap) if tile in on_now else inside, "accent", width=3, radius=radius)
        lit = [self._lit(on, axis, at_tile) for axis in (0, 1)]
        if self.numbered:
            self._numbers(pen, grid, box, (rows, columns), lit)
            return
        named = [
            frozenset(x for n in one for x in range(n * meta[b], n * meta[b] + meta[b]))
            for one, b in zip(lit, ("block_q", "block_k"), strict=True)
        ]
        left, top = grid.box.x - box.x - pen.px(10), grid.box.y - box.y - pen.px(58)
        cells.row_labels(pen, grid, run.names["queries"], grid.box.x - pen.px(10), left, named[0])
        names = run.names["keys"]
        if top < pen.px(40):
            return
        cells.column_labels(pen, grid.box.x, grid.box.w / len(names), names, grid.box.y - pen.px(10), top, named[1])

    def _lit(self, on: Round | None, axis: int, at_tile: bool) -> set[int]:
        """The blocks that the loop over queries (axis 0) or keys is at, unless it is at all of them."""
        meta, name = self.meta, "ij"[axis]
        if on is None or not at_tile and name not in self.run.indices(self.now):
            return set()
        blocks = {tile[axis] for tile in (*on.tiles, *on.hidden)}
        many = -(-meta[("queries", "keys")[axis]] // meta[("block_q", "block_k")[axis]])
        return blocks if len(blocks) < many else set()

    def _numbers(self, pen: Pen, grid: cells.Grid, box: Box, count: tuple[int, int], lit: list[set[int]]) -> None:
        """Of each block of queries at its left, of each block of keys above it."""
        for axis, many in enumerate(count):
            for n in range(many):
                tile = tile_box(grid, self.meta, n if axis == 0 else 0, n if axis == 1 else 0)
                if axis == 0 and n % ceil(pen.px(30) / max(1, tile.h)):
                    continue
                x, y = tile.x + tile.w / 2, tile.y + tile.h / 2 + pen.px(10)
                ink, weight = ("ink", 600) if n in lit[axis] else ("dim", 400)
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
