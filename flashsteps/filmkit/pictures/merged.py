"""Results of pieces, merged: each weighs what its LSE says, and the weighted outputs add up to the whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...units import number
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


class Merged:
    """Pieces side by side, their weights as one bar below, and below that the sum, as it grows. `under` is a line
    below the bar."""

    def __init__(self, board: Board, place: Stage, toy: Toy) -> None:
        self.board, self.Os, Ls = board, held(toy.split, "O_s"), held(toy.split, "LSE_s")[:, 0]
        self.O, self.LSE = held(toy.split, "O")[0], float(held(toy.split, "LSE")[0, 0])
        self.weights, self.most = np.exp(Ls - self.LSE), 1.05 * float(max(np.abs(self.Os).max(), np.abs(self.O).max()))
        self.grown, self.sums = [board.value(0.0) for _ in Ls], board.value((0.0,) * len(self.O))
        upper, self.wires, bar, self.under, self.lower = place.whole.rows(
            *board.pick(wide=(300, 64, 60, 40, 216), square=(300, 50, 60, 44, 200), tall=(560, 120, 70, 60, 400)), gap=8
        )
        self.pictures = list[tuple[Any, Box]]()
        boxes, wide = upper.columns(len(Ls), gap=board.pick(wide=24, square=14)), board.shape == "wide"
        for n, (keys, box) in enumerate(zip(toy.pieces, boxes, strict=True)):
            names, inside, LSE = toy.span(keys.start, keys.stop), Panel.inside(box), f"LSE {number(Ls[n])}"
            parts = inside.rows(*board.pick(wide=(1, 1, 3), square=(1, 2, 2), tall=(1, 2, 3)), gap=6)
            how = f"weight e^{{{number(Ls[n])} − {number(self.LSE)}}} = {self.weights[n]:.2f}"
            self.pictures += [
                (Panel(f"piece {n}", LSE if wide else "", sram=True), box),
                (Text(names if wide else LSE, color="dim" if wide else "stat"), parts[0]),
                (Text(how if wide else f"weighs {self.weights[n]:.2f}", color="ink"), parts[1]),
                (Row(tuple(self.Os[n].tolist()), "O", -self.most, self.most, ground="sram"), parts[2]),
            ]
        weights = tuple(self.weights.tolist())
        length = Made(lambda *shown: shapes.weights(weights, shown, bar), *self.grown)
        self.pictures.append((Areas(length, bar.w, bar.h), bar))

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
