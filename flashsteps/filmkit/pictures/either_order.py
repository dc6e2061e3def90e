"""A row cut in two, and its parts merged in one order and in the other: sums that grow, and their digits."""

from __future__ import annotations

import numpy as np

from ...story.written import Term
from ..actors.bars import Piece
from ..actors.table import Table
from ..actors.wires import Arrow
from ..board import Board
from .tiled_row import TiledRow
from .two_parts import boxes, cut, halves, put_part, written

ORDERS = ("one", "two"), ("two", "one")


class EitherOrder:
    """`put_parts`, `put_arrows` and `merge`, in this order; `same` says whether all ways come to the whole row."""

    def __init__(self, board: Board, data: TiledRow) -> None:
        self.board, self.data, self.parts = board, data, halves(data)
        merged = {f"{x}, then {y}": self.parts[x].merged(self.parts[y]) for x, y in ORDERS}
        self.merged, whole = {**merged, "all at once": data.whole}, [data.whole.l, *data.whole.acc]
        self.same = all(np.allclose([x.l, *x.acc], whole, atol=1e-4) for x in self.merged.values())
        self.sides, self.arrows, self.result, self.digits = boxes(board)

    def put_parts(self) -> None:
        """Both, each with the keys that it is of."""
        for (name, some), box in zip(cut(self.data).items(), self.sides, strict=True):
            labels = self.data.run.names["keys"][some]
            put_part(self.board, self.data, f"{name}: {labels[0]} … {labels[-1]}", self.parts[name], box)

    def put_arrows(self) -> None:
        """What each is multiplied by, against the max of the whole row."""
        to = self.board.pick(wide="right", square="down")
        of = written(self.data)
        for part, box in zip(self.parts.values(), self.arrows, strict=True):
            self.board.put(Arrow(to, of.fill("× #", Term("×", float(part.shrunk(self.data.whole.m))))), box)

    def merge(self) -> None:
        """One part first, then both; then again the other way round, and what all at once is."""
        board, parts, m = self.board, self.parts, self.data.whole.m
        length, pieces, O, seen = board.value(0.0), board.value(()), board.value(()), board.value(0)
        put_part(board, self.data, "merged", self.data.whole, self.result, (length, pieces, O))
        rows = tuple((name, f"{x.l:.4f}", f"{x.acc[0]:.3f}") for name, x in self.merged.items())
        board.put(Table(rows, ("", "ℓ", "first of O"), seen=seen), self.digits)
        for n, order in enumerate(ORDERS):
            kept = {name: parts[name].shrunk(m) for name in order}
            first, both = kept[order[0]] * parts[order[0]].acc, self.merged[f"{order[0]}, then {order[1]}"]
            board.set(length.to(0.0), O.to((0.0,) * len(first)))
            board.set(pieces.to(tuple(Piece(float(kept[x] * parts[x].l), "stat", name=x) for x in order)))
            board.move(length.to(float(kept[order[0]] * parts[order[0]].l)), O.to(tuple(first.tolist())), seconds=0.8)
            board.move(length.to(float(both.l)), O.to(tuple(both.acc.tolist())), seconds=0.8, step=order)
            board.set(seen.to(n + 1))
            board.wait(0.8)
        board.set(seen.to(len(rows)))
