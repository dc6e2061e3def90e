"""One piece of a cache: its keys stream past its program, block by block, and then it gives an output and an LSE."""

from __future__ import annotations

from math import ceil, inf, log
from operator import truediv
from typing import Any

import numpy as np

from ... import units
from ...story.written import Equals, Places, Term, places
from ..actors.cards import Panel
from ..actors.number import Number
from ..actors.row import Row
from ..actors.wires import Arrow
from ..board import Board
from ..boxes import Box
from ..places import Stage
from ..tiles import held, made
from .decoding import Toy

FIGURED = 16  # numbers of an output that stand as figures: more have no room


class OnePiece:
    """The piece that holds the key that weighs most: m, ℓ and acc on chip, and a place in HBM for what it gives."""

    def __init__(self, board: Board, place: Stage, toy: Toy) -> None:
        self.board, self.toy, self.keys = board, toy, toy.pieces[toy.piece]
        self.blocks = [j for j in range(ceil(len(toy.keys) / toy.block)) if j * toy.block in self.keys]
        S: list[float] = sum(self._values("S"), [])
        self.sums_of, self.O = self._values("acc"), held(toy.split, "O_s")[toy.piece].tolist()
        self.most = 1.05 * max(map(abs, (*sum(self.sums_of, []), *self.O)))
        self.LSE = float(held(self.toy.split, "LSE_s")[self.toy.piece, 0])
        self.figures = len(self.O) <= FIGURED
        self.of = of = self._written()
        self.seen, self.now, self.m, self.l = (board.value(x) for x in (0.0, (0, 0), -inf, 0.0))
        self.sums = board.value((0.0,) * len(self.O))
        left, self.bus, right = (place.whole.columns if board.shape == "wide" else place.whole.rows)(
            *board.pick(wide=(1100, 100, 576), square=(9, 1, 5), tall=(9, 1, 4)), gap=10
        )
        inside, self.out = Panel.inside(left), Panel.inside(right)
        if board.shape == "square":
            scores, beside = inside.columns(2, gap=40)
            figures, lower = beside.rows(2, 5)
            numbers = figures.columns(2)
        else:
            upper, lower = inside.rows(6, 5)
            scores, figures = upper.columns(7, 3)
            numbers = figures.rows(2)
        row = Row(tuple(S), "S", min(0.0, *S), 1.15 * max(S), tuple(toy.keys[k] for k in self.keys),
                  self.seen, self.now, toy.block, title="its scores", ground="sram")  # fmt: skip
        self.high = lower.h
        self.pictures: list[tuple[Any, Box]] = [
            (Panel(f"piece {toy.piece}", "a program of its own", sram=True), left), (row, scores),
            (Row(self.sums, "O", -self.most, self.most, title="acc", places=of["acc"], ground="sram",
                 figures=self.figures), lower),
            (Number("m", self.m, places=of["m"]), numbers[0]), (Number("ℓ", self.l, places=of["ℓ"]), numbers[1]),
            (Panel("HBM", "its result"), right),
        ]  # fmt: skip

    def _values(self, slot: str) -> list[list[float]]:
        """What the slot was after each block."""
        return [np.ravel(made(self.toy.split, slot, s=self.toy.piece, j=j)[0]).tolist() for j in self.blocks]

    def _written(self) -> Places:
        """With how many places what it gives stands, and what that is made of."""
        m, l = (Term(name, self._values(slot)[-1][0]) for name, slot in (("m", "m_i"), ("ℓ", "l_i")))
        equations = [Equals(Term("LSE", self.LSE), lambda m, l: m + log(l), (m, l))]
        for O, acc in zip(self.O, self.sums_of[-1], strict=True) if self.figures else ():
            equations.append(Equals(Term("O", O), truediv, (Term("acc", acc), l)))
        few = units.places(self.most)
        return places(equations, least={"acc": few, "O": few})

    def run_through(self) -> None:
        """Block after block: its scores come, then m and ℓ, then acc."""
        board, block = self.board, self.toy.block
        for n, j in enumerate(self.blocks):
            start = j * block - self.keys.start
            stop = min(start + block, len(self.keys))
            board.set(self.now.to((start, stop)))
            board.move(self.seen.to(float(stop)), seconds=0.7)
            board.set(self.m.to(self._values("m_i")[n][0]), self.l.to(self._values("l_i")[n][0]))
            board.move(self.sums.to(tuple(self.sums_of[n])), seconds=0.7)
            board.wait(0.3)

    def give(self) -> None:
        """What it has goes out."""
        board, wide = self.board, self.board.shape == "wide"
        board.put(Arrow(board.pick(wide="right", square="down")), self.bus)
        above, below = (self.out.rows if wide else self.out.columns)(3, 1 if wide else 1.2)
        title = "O of the piece = acc / ℓ"
        high = min(self.high, above.h)  # to the scale of acc, where there is room
        above = Box(above.x, above.y + (above.h - high) / 2, above.w, high)
        how: dict[str, Any] = {"places": self.of["O"], "ground": "panel", "figures": self.figures}
        board.put(Row(tuple(self.O), "O", -self.most, self.most, title=title, **how), above)
        board.put(Number("LSE", self.LSE, "m + ln ℓ", places=self.of["LSE"], bare=True), below)
