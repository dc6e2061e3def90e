"""A tile that comes from HBM once and stays on chip: where it lies, what it makes there, and what fetching costs."""

from __future__ import annotations

from typing import Any

from ...theme import BODY
from ..actors.areas import Area, Areas, Crowd
from ..actors.bars import Bar, Bars
from ..actors.cards import Panel, Text
from ..actors.wires import Arrow
from ..board import Board
from ..boxes import Box
from ..places import Stage
from ..values import Made


class KeptOnChip:
    """`uses` of the tile so far; `once` and `each` are the seconds of one fetch, and of one for each use, of `slow`.
    The tile is the last of the `pictures`, at `start`; on chip it lies at `stop`."""

    def __init__(self, board: Board, place: Stage, slow: float, most: int) -> None:
        self.uses, self.once, self.each = board.value(0), board.value(0.0), board.value(0.0)
        upper, lower = place.whole.rows(*board.pick(wide=(7, 5), square=(7, 5), tall=(2, 3)), gap=48)
        hbm, _, sram = upper.columns(4, 2, 9, gap=0)
        side = board.pick(wide=150, square=100)
        kept, results = Panel.inside(sram).columns(1, 2)
        tile = Areas((Area(0, 0, 1, 1, "K", "K"),), 1, 1)
        start, self.stop = (centred(Panel.inside(hbm), side), centred(kept, side))
        bars = Bar("fetched once", self.once, "accent"), Bar("fetched for each use", self.each, "dim")
        results = Box(results.x, self.stop.y, results.w, side)
        count = Box(results.x, self.stop.y - 64, results.w, 48)
        said = Made(lambda n: f"used {n} time{'s' * (n != 1)}", self.uses)
        self.pictures: list[tuple[Any, Box]] = [
            (Panel("HBM"), hbm), (Panel("SRAM", sram=True), sram), (Arrow(), between(hbm, sram, side)),
            (Text(said, BODY, "ink", 600), count), (Crowd(self.uses, most, "S", most, most=side), results),
            (Bars(bars, most * slow, "time", title="time to fetch it from HBM"), lower), (tile, start), (tile, start),
        ]  # fmt: skip


def centred(box: Box, side: float) -> Box:
    return Box(box.x + (box.w - side) / 2, box.y + (box.h - side) / 2, side, side)


def between(left: Box, right: Box, side: float) -> Box:
    """The bus between two panels, as high as a tile."""
    inside = centred(Panel.inside(left), side)
    return Box(left.right + 16, inside.y, right.x - left.right - 32, side)
