"""What two ways of one computation bring across the bus, to scale, one above the other, each with its figures."""

from __future__ import annotations

from typing import Any

from ...theme import BODY, HEAD, TITLE
from .. import crossings
from ..actors.areas import Areas
from ..actors.cards import Text
from ..board import Board
from ..boxes import Box
from ..crossings import Crossing
from ..places import Stage
from ..values import Made


class BothWays:
    """`parts` by name and hue; `there` is how many rectangles of each are to be seen."""

    def __init__(self, board: Board, place: Stage, parts: dict[tuple[str, str], tuple[Crossing, ...]]) -> None:
        self.board, self.there = board, [board.value(0.0) for _ in parts]
        self.pictures, self.figures = list[tuple[Any, Box]](), list[Box]()
        wide = max(map(crossings.far, parts.values()))
        lines = place.whole.rows(*board.pick(wide=(7, 7, 1), square=(9, 9, 1), tall=(8, 8, 9)), gap=16)[:2]
        for ((name, color), some), there, box in zip(parts.items(), self.there, lines, strict=True):
            head, body = box.rows(*board.pick(wide=(1, 6), square=(3, 6), tall=(2, 5)), gap=10)
            if board.shape == "wide":
                body, aside = box.columns(1400, 340, gap=36)
                head, body = body.rows(1, 6, gap=10)
                self.figures.append(aside.rows(1, 6, gap=10)[1])
            else:
                head, aside = head.rows(2, gap=4)
                self.figures.append(aside)
            self.pictures.append((Text(name, HEAD, color, 600, middle=True), head))
            self.pictures.append((Areas(Made(lambda n, some=some: crossings.areas(some, n), there), wide, 1.65), body))

    def tell(self, n: int, told: tuple[str, ...]) -> None:
        """The figures of one way: below each other in a wide picture, else in a line."""
        box = self.figures[n]
        if self.board.shape != "wide":
            self.board.put(Text(" · ".join(told), BODY, "ink", middle=True), box)
            return
        for words, at, k in zip(told, box.rows(3, 2, 2, 3), range(3), strict=False):
            self.board.put(Text(words, (TITLE, BODY, BODY)[k], "ink", (600, 400, 400)[k], middle=True), at)
