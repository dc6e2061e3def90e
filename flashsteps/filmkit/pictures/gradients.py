"""Steps of a backward pass as pictures: what the forward pass left; D, a sum of each row; dS, from P, dP and D."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...story.written import Equals, Places, Term, places
from ...theme import HEAD
from ..actors.cards import Panel, Text
from ..actors.equation import Equation, Tile
from ..actors.matrix import Region, grid
from ..actors.wires import Arrow
from ..board import Board
from ..boxes import Box
from ..places import Stage
from ..run import Run
from ..tiles import held, made, rows, span, texture
from ..values import Made, Value
from .backward_run import hardest

Pictures = list[tuple[Any, Box]]


def after_forward(board: Board, place: Stage, run: Run, grown: Value) -> tuple[Pictures, Box]:
    """What lies in HBM after the forward pass, and dO, as many rows of it as have come; and where P would lie."""
    names = "Q", "K", "V", "O", "LSE"
    first, *boxes, last, none = Panel.inside(place.whole).columns(*board.pick(
        wide=(18, 11, 11, 11, 6, 11, 13), square=(17, 10, 10, 10, 8, 10, 13)
    ), gap=board.pick(wide=28, square=16))  # fmt: skip
    labels = {"Q": run.names["queries"]}
    pictures: Pictures = [(Panel("HBM", "what the forward pass left, and dO"), place.whole)]
    for name, box in zip(names, (first, *boxes), strict=True):
        pictures.append((texture(held(run, name), name, rows=labels.get(name, ())), box))
    return [*pictures, (texture(held(run, "dO"), "dO", seen=grown), last)], none


def sums_of_rows(board: Board, place: Stage, run: Run, now: Value) -> Pictures:
    """O ∘ dO, and each of its rows added up: as many rows as `now` says."""
    O, dO = held(run, "O"), held(run, "dO")
    lit = Made(lambda n: (Region(int(n), int(n) + 1, 0, O.shape[1]),) if n < len(O) else (), now)
    whole = Made(lambda n: float(int(n)), now)  # a sum is there once its row is
    first, sign, second, equals, product, adds, last = place.whole.columns(*board.pick(
        wide=(30, 3, 22, 3, 22, 6, 10), square=(38, 3, 22, 3, 22, 8, 16)
    ), gap=board.pick(wide=16, square=10))  # fmt: skip
    return [
        (texture(O, "O", rows=run.names["queries"], lit=lit), first),
        (Text("∘", board.pick(wide=2 * HEAD, square=HEAD), "ink", 600, align="center", middle=True), sign),
        (texture(dO, "dO", lit=lit), second),
        (Text("=", HEAD, "ink", 600, align="center", middle=True), equals),
        (texture(O * dO, "O", "O ∘ dO", seen=now, lit=lit), product),
        (Arrow(words="Σ"), adds),
        (texture(held(run, "D"), "D", seen=whole, numbers=True, outlined=True), last),
    ]


class FromP:
    """A tile of P, of dP, D's rows, and the tile of dS that they make; `there` is how much of dP and of dS is."""

    def __init__(self, board: Board, place: Stage, run: Run) -> None:
        _, _, i, j = hardest(run)
        some, of = rows(run, i), rows(run, j, "keys")
        self.P, self.dP, self.dS = (made(run, slot, i=i, j=j)[0] for slot in ("P", "dP", "dS"))
        self.D, self.there = held(run, "D")[some], [board.value(0.0) for _ in range(2)]
        keys, asks = run.names["keys"][of], run.names["queries"][some]
        few = self._written()
        one = Tile(grid(self.P), "P", 0, 1, "P", columns=keys, places=few["P"])
        two = Tile(grid(self.dP), "dP", *span(run, "dP"), "dP = dO V^{T}", "∘ (", keys, few["dP"], self.there[0])
        three = Tile(grid(self.D), "D", *span(run, "D"), "D", "−", places=few["D"])
        how = "dS = P ∘ (dP − D)"
        four = Tile(grid(self.dS), "dS", *span(run, "dS"), how, ") →", keys, few["dS"], self.there[1])
        box = place.whole
        self.pictures: Pictures = [
            (Panel("SRAM", "in kernels 2 and 3: one tile, its queries and its keys", sram=True), box)
        ]
        if board.shape == "wide":
            self.pictures.append((Equation((one, two, three, four), asks), Panel.inside(box).rows(1, 8, 1)[1]))
        else:
            upper, lower = Panel.inside(box).rows(2, gap=30)
            self.pictures.append((Equation((one, two._replace(sign=""), three), asks), upper))
            self.pictures.append((Equation((four._replace(sign=""),), asks), lower))

    def _written(self) -> Places:
        """With how many places the numbers of the tiles stand: dS follows from P, dP and D in each of its cells."""
        cells = (
            Equals(
                Term("dS", float(self.dS[r, c])), lambda p, dp, d: p * (dp - d),
                (Term("P", float(self.P[r, c])), Term("dP", float(self.dP[r, c])), Term("D", float(self.D[r, 0]))),
            )
            for r, c in np.ndindex(self.dS.shape)
        )  # fmt: skip
        return places(cells, least={"dP": 1, "D": 1})
