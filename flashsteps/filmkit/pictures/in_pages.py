"""A cache that lies in pages: the table that says where each is, the pool, and one page after another looked up."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..actors.pages import Pages
from ..board import Board
from ..boxes import Box
from ..places import Stage
from .decoding import Toy


class InPages:
    """`told` is the page that words speak of, the last one; `looked` is what a lookup moves (bytes)."""

    def __init__(self, board: Board, place: Stage, toy: Toy) -> None:
        trace, many = toy.paged.trace, len(toy.keys)
        self.board, self.at, self.step = board, board.value(0), board.value(0.0)
        self.table, self.page = tuple(int(n) for n in trace.initial["table"]), int(trace.meta["block_k"])
        names = tuple(toy.span(k, min(k + self.page, many)) for k in range(0, many, self.page))
        K, V = (tuple(map(tuple, np.asarray(trace.initial[name], float).tolist())) for name in "KV")
        self.picture: tuple[Any, Box] = Pages(names, self.table, K, V, self.page, self.at, self.step), place.whole
        self.told = len(self.table) - 1
        first, last = self.told * self.page, min((self.told + 1) * self.page, many) - 1
        self.where = f"keys {first} to {last} come from page {self.table[self.told]} of the pool"
        self.looked = next(e.nbytes for e in trace if e.tile and e.tile.tensor == "table")

    def look_up(self) -> None:
        """Page after page: its line of the table, then where it lies."""
        board = self.board
        for n in range(len(self.table)):
            board.set(self.at.to(n), self.step.to(0.0))
            for goal in (1.0, 2.0):
                board.wait(0.8 if n == self.told else 0.4)
                board.set(self.step.to(goal))
            board.wait(1.0 if n == self.told else 0.35)
