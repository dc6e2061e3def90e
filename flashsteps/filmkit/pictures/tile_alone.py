"""What three algorithms move at one size, as bars on one axis, while nothing but the tile changes."""

from __future__ import annotations

from typing import Any

from ...machine.devices import MODEL
from ...runs.counting import count
from ...units import short
from ..actors.bars import Bar, Bars, Mark
from ..actors.cards import Chips, Text
from ..board import Board
from ..closing import taller
from ..telling import pieces_of
from ..values import Made, linear
from .courses import NAMES, STANDARD, hues

Tile = tuple[int, int]  # queries × keys


class TileAlone:
    """So many tokens of width d. `tiles` go from a toy's to a real one, and each of them was counted: no number or bar
    is between two of them."""

    def __init__(self, n: int, d: int, tile: Tile, mask: str | None, dtype: str) -> None:
        self.n, self.d, self.tiles = n, d, [tile, *taller(*tile)]
        self.moved = [
            {name: count(name, n=n, d=d, block_q=q, block_k=k, mask=mask, dtype=dtype) for name in NAMES}
            for q, k in self.tiles
        ]

    def ranked(self, number: int) -> list[str]:
        """Who moves least comes first."""
        return sorted(self.moved[number], key=lambda name: self.moved[number][name].total)

    def put(self, board: Board, words: str) -> None:
        """With the first of the tiles; `words` are what is said below of all of it."""
        self.board, self.at, self.lit = board, board.value(0), board.value("")
        chips, bars, legend, note = board.main.rows(
            *board.pick(wide=(76, 528, 56, 88), square=(76, 478, 96, 130), tall=(76, 1068, 96, 130)), gap=16
        )
        tile = Made(lambda k: "×".join(map(str, self.tiles[int(k)])), self.at)
        each = ("tokens N", short(self.n)), ("head width d", str(self.d)), ("tile", tile)
        board.put(Chips(each, self.lit), chips)
        most = max(io.total for moved in self.moved for io in moved.values())
        level = Mark(self._now(STANDARD, lambda io: io.total))
        board.put(Bars(tuple(map(self._bar, NAMES)), most, marks=(level,)), bars)
        board.put(hues(), legend)
        board.put(Text(f"{words}; {MODEL}"), note)

    def grow(self, seconds: float) -> None:
        """To the last of the tiles; all else stays."""
        self.board.set(self.lit.to("tile"))
        self.board.move(self.at.to(len(self.tiles) - 1), seconds=seconds, ease=linear)

    def _bar(self, name: str) -> Bar:
        value, pieces = self._now(name, lambda io: io.total), self._now(name, lambda io: pieces_of(io.by_tensor))
        return Bar(NAMES[name].removesuffix(" attention"), value, pieces=pieces)

    def _now(self, name: str, what: Any) -> Any:
        return Made(lambda k: what(self.moved[int(k)][name]), self.at)
