"""Results of pieces, merged: each weighs what its LSE says, and the weighted outputs add up to the whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...story.written import Equals, Places, Term, places
from .. import shapes
from ..actors.areas import Areas
from ..actors.cards import Panel, Text
from ..actors.row import Row
from ..actors.wires import Wire
from ..board import Board
from ..boxes import Box
from ..places import Stage
from ..tiles import held
from ..values import Made
from .decoding import Toy
from .tiled_row import against

NAMED = 22  # letters of how a weight comes about, that leave room for its name


class Merged:
    """Pieces side by side, their weights as one bar below, and below that the sum, as it grows. `under` is a line
    below the bar."""

    def __init__(self, board: Board, place: Stage, toy: Toy) -> None:
        self.board, self.Os, self.Ls = board, held(toy.split, "O_s"), held(toy.split, "LSE_s")[:, 0]
        self.O, self.LSE = held(toy.split, "O")[0], float(held(toy.split, "LSE")[0, 0])
        self.weights, self.most = (
            np.exp(self.Ls - self.LSE),
            1.05 * float(max(np.abs(self.Os).max(), np.abs(self.O).max())),
        )
        self.grown, self.sums = [board.value(0.0) for _ in self.Ls], board.value((0.0,) * len(self.O))
        of = self.written()
        self.whole = of.write("LSE", self.LSE)
        upper, self.wires, bar, self.under, self.lower = place.whole.rows(
            *board.pick(wide=(300, 64, 60, 40, 216), square=(300, 50, 60, 44, 200), tall=(560, 120, 70, 60, 400)), gap=8
        )
        self.pictures = list[tuple[Any, Box]]()
        boxes, wide = upper.columns(len(self.Ls), gap=board.pick(wide=24, square=14)), board.shape == "wide"
        for n, (keys, box) in enumerate(zip(toy.pieces, boxes, strict=True)):
            names, inside = toy.span(keys.start, keys.stop), Panel.inside(box)
            LSE, weight = (
                of.write(kind, x) for kind, x in (("LSE", float(self.Ls[n])), ("weight", float(self.weights[n])))
            )
            parts = inside.rows(*board.pick(wide=(1, 1, 3), square=(1, 2, 2), tall=(1, 2, 3)), gap=6)
            how = f"e^{{{LSE} − {self.whole}}} = {weight}"
            how = f"weight {how}" if len(how) <= NAMED else how  # what it is stands below the bar, too
            self.pictures += [
                (Panel(f"piece {n}", f"LSE {LSE}" * wide, sram=True), box),
                (Text(names if wide else f"LSE {LSE}", color="dim" if wide else "stat"), parts[0]),
                (Text(how if wide else f"weighs {weight}", color="ink"), parts[1]),
                (Row(tuple(self.Os[n].tolist()), "O", -self.most, self.most, ground="sram", figures=False), parts[2]),
            ]
        weights = tuple(self.weights.tolist())
        said = tuple(of.write("weight", weight) for weight in weights)
        length = Made(lambda *shown: shapes.weights(weights, said, shown, bar), *self.grown)
        self.pictures.append((Areas(length, bar.w, bar.h), bar))

    def written(self) -> Places:
        """With how many places LSEs and weights stand."""
        equations = [
            Equals(Term("weight", float(weight)), against, (Term("LSE", float(LSE)), Term("LSE", self.LSE)))
            for weight, LSE in zip(self.weights, self.Ls, strict=True)
        ]
        return places(equations)

    def add_up(self, seconds: float, pause: float) -> None:
        """Each piece's weight becomes a part of the bar, and its output of the sum."""
        board, many = self.board, len(self.weights)
        board.put(Row(self.sums, "O", -self.most, self.most, title="O, the weighted sum"), self.lower)
        ends, at = np.cumsum(self.weights), np.zeros(len(self.O))
        for n, weight in enumerate(self.weights):
            start, stop = (n + 0.5) / many, float(ends[n] - weight / 2)
            board.put(Wire((start, 0.0), (min(0.998, stop), 1.0)), self.wires, fade=0.2)
            at = at + weight * self.Os[n]
            board.move(self.grown[n].to(1.0), seconds=seconds)
            board.move(self.sums.to(tuple(at.tolist())), seconds=seconds)
            board.wait(pause)
        board.set(self.sums.to(tuple(self.O.tolist())))
