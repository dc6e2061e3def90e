"""What two ways of one computation bring across the bus, to scale, one above the other, each with its figures."""

from __future__ import annotations

from math import ceil
from typing import Any

from ...runs.counting import count
from ...theme import BODY, HEAD
from .. import crossings
from ..actors.areas import Areas
from ..actors.cards import Text
from ..board import Board
from ..boxes import Box
from ..places import Stage
from ..run import Run
from ..values import Made

N, D, TILE_S, TILE_F = 1024, 64, (128, 128), (128, 64)  # a real head, and tiles


class BothWays:
    """Standard attention's backward pass and FlashAttention-2's, at a real size: `ios` are their counts, `products` how
    many of matrices they make, `many` their rectangles, `there` how many of each are to be seen."""

    def __init__(self, board: Board, place: Stage, standard: Run) -> None:
        ways = ("standard-backward", TILE_S), ("flash2-backward", TILE_F)
        self.ios = [count(name, n=N, d=D, block_q=tile[0], block_k=tile[1]) for name, tile in ways]
        self.products = [io.work.matmul / (2 * N * N * D) for io in self.ios]
        parts = {
            ("standard", "dim"): crossings.passes(standard, self.ios[0], N, D),
            ("FlashAttention-2, three kernels", "accent"): crossings.streams(self.ios[1], N, D),
        }
        self.many = [sum(ceil(part.times) for part in some) for some in parts.values()]
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

    def tell(self, n: int, told: dict[str, str]) -> None:
        """The figures of one way, and in what time each: below each other in a wide picture, else in a line."""
        box = self.figures[n]
        if self.board.shape != "wide":
            words = " · ".join(f"{what} in {time}" for what, time in told.items())
            self.board.put(Text(words, BODY, "ink", middle=True), box)
            return
        for (what, time), at in zip(told.items(), box.rows(2, gap=0), strict=True):
            above, below = at.rows(6, 5, gap=0)
            self.board.put(Text(what, HEAD, "ink", 600, middle=True), above)
            self.board.put(Text(f"in {time}", BODY, "ink"), below)
