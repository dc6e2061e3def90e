"""Who owns what: a program for each block of keys, one for each block of queries, what each keeps and makes."""

from __future__ import annotations

from typing import Any

from ...theme import BODY, LABEL, hue
from .. import shapes
from ..actors.areas import Areas
from ..actors.cards import Text
from ..actors.formula import Formula, Term
from ..board import Board
from ..boxes import Box
from ..places import Stage
from ..values import Made

PRODUCTS = {"S": "QK^{T}", "dP": "dO V^{T}", "dV": "P^{T}dO", "dK": "dS^{T}Q", "dQ": "dS K"}
SIDES = (
    (
        "kernel 2: a program for each block of keys",
        "keeps K, V, dK, dV; Q, dO, LSE, D come in",
        ("S", "dP", "dV", "dK"),
    ),
    ("kernel 3: a program for each block of queries", "keeps Q, dO, LSE, D, dQ; K, V come in", ("S", "dP", "dQ")),
)
MADE = " + ".join(str(len(makes)) for _, _, makes in SIDES)  # products of a tile, in one kernel and in the other


class Owners:
    """Both kinds side by side; `at` is the program that is on, of each kind, or −1, and `lit` what it is making."""

    def __init__(self, board: Board, place: Stage, many: tuple[int, int]) -> None:
        self.board, self.many, self.at = board, many, [board.value(0.0), board.value(-1.0)]
        self.lit, size = [board.value(("",)), board.value(("",))], shapes.owners_size(many)
        self.pictures = list[tuple[Any, Box]]()
        halves = place.whole.columns(2, gap=30) if board.shape == "square" else place.sides
        heights = board.pick(wide=(2.2, 11, 2.6), square=(4, 9.4, 2.2), tall=(2.2, 11, 2.8))
        for n, (box, (title, under, makes)) in enumerate(zip(halves, SIDES, strict=True)):
            head, body, foot = box.rows(*heights, gap=14)
            above, below = head.rows(*board.pick(wide=(1, 1), square=(2, 2), tall=(1, 1)), gap=0)
            terms = [Term(f"{name}: {PRODUCTS[name]}   ", hue(name), name) for name in makes]
            products = (Term(f"{len(makes)} products:  "), *terms[:2]), tuple(terms[2:])
            self.pictures += [
                (Text(title, BODY, "ink", 600), above),
                (Text(under), below),
                (Areas(Made(lambda k, keys=not n: shapes.owners(many, keys, k), self.at[n]), *size), body),
                *((Formula(products[k], self.lit[n], (BODY, LABEL)), foot.rows(2, gap=0)[k]) for k in (0, 1)),
            ]

    def go(self) -> None:
        """One program after another, of one kind and then of the other: what the first makes lights up part by part."""
        for n, (_, _, makes) in enumerate(SIDES):
            for k in range(self.many[1 - n]):
                self.board.set(self.at[n].to(float(k)))
                for name in makes if k == 0 else ():
                    self.board.set(self.lit[n].to((name,)))
                    self.board.wait(0.35)
                self.board.set(self.lit[n].to(makes))
                self.board.wait(0.35)
            if n == 0:
                self.board.set(self.at[0].to(-1.0))
