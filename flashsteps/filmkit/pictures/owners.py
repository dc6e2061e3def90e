"""Who owns what: a program for each block of keys, one for each block of queries, what each keeps and makes."""

from __future__ import annotations

from typing import Any

from ...theme import BODY, HEAD, hue
from .. import shapes
from ..actors.areas import Areas
from ..actors.cards import Text
from ..actors.formula import Formula, Term
from ..board import Board
from ..boxes import Box
from ..places import Stage
from ..values import Made

SIDES = (
    ("one program for each block of keys", "keeps K, V, dK, dV on chip", ("S", "dP", "dV", "dK")),
    ("one program for each block of queries", "keeps Q, dO, dQ on chip", ("S", "dP", "dQ")),
)


class Owners:
    """Both kinds side by side; `at` is the program that is on, of each kind, and `lit` what it is making."""

    def __init__(self, board: Board, place: Stage, many: tuple[int, int]) -> None:
        self.board, self.many, self.at = board, many, [board.value(0.0), board.value(0.0)]
        self.lit, size = [board.value(("",)), board.value(("",))], shapes.owners_size(many)
        self.pictures = list[tuple[Any, Box]]()
        halves = place.whole.columns(2, gap=30) if board.shape == "square" else place.sides
        heights = board.pick(wide=(2.2, 12, 1.4), square=(4, 9, 2), tall=(2.2, 12, 1.6))
        for n, (box, (title, under, makes)) in enumerate(zip(halves, SIDES, strict=True)):
            head, body, foot = box.rows(*heights, gap=14)
            above, below = head.rows(*board.pick(wide=(1, 1), square=(2, 2), tall=(1, 1)), gap=0)
            made = (Term("makes  ", "dim"), *(Term(f"{name}   ", hue(name), name) for name in makes))
            self.pictures += [
                (Text(title, BODY, "ink", 600), above),
                (Text(under), below),
                (Areas(Made(lambda k, keys=not n: shapes.owners(many, keys, k), self.at[n]), *size), body),
                (Formula(made, self.lit[n], (HEAD, BODY)), foot),
            ]

    def go(self) -> None:
        """One program after another, of each kind: what the first one makes lights up part by part."""
        for n, (_, _, makes) in enumerate(SIDES):
            for k in range(self.many[1 - n]):
                self.board.set(self.at[n].to(float(k)))
                for name in makes if k == 0 else ():
                    self.board.set(self.lit[n].to((name,)))
                    self.board.wait(0.35)
                self.board.set(self.lit[n].to(makes))
                self.board.wait(0.35)
