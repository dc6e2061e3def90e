"""P, made again: HBM without it, the tiles that come along the bus, and on chip the tile of P that they make."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...story.labels import scores
from ...story.written import Equals, Places, Term, places
from ...theme import HEAD
from ..actors.areas import Area, Areas
from ..actors.cards import Panel, Text
from ..actors.equation import Equation, Tile
from ..actors.matrix import Region, grid
from ..board import Board
from ..boxes import Box
from ..places import Stage
from ..run import Run
from ..tiles import held, made, rows, span, texture
from .backward_run import hardest
from .tiled_row import against

CAME = "Q", "K", "LSE"


class Remade:
    """One tile of P, from one of Q, one of K, and one number a row: `pictures` are what is there before they come."""

    def __init__(self, board: Board, place: Stage, run: Run) -> None:
        self.board, self.run, self.there = board, run, {name: board.value(0.0) for name in ("LSE", "S", "P")}
        self.row, self.key, self.i, self.j = hardest(run)
        self.some, self.of = rows(run, self.i), rows(run, self.j, "keys")
        self.frames = {"Q": self.some, "LSE": self.some, "K": self.of}
        if board.shape == "wide":
            hbm, self.bus, self.sram = place.whole.columns(752, 62, 962, gap=0)
        else:
            heights = board.pick(wide=(), square=(236, 46, 459), tall=(600, 90, 700))
            hbm, self.bus, self.sram = place.whole.rows(*heights, gap=0)
        inside = Panel.inside(hbm).columns(334, 112, 62, 146, gap=18)
        self.pictures: list[tuple[Any, Box]] = [(Panel("HBM", "what the forward pass left"), hbm)]
        for name, box in zip(CAME, inside, strict=False):
            data = held(run, name)
            region = Region(self.frames[name].start, self.frames[name].stop, 0, data.shape[1])
            labels = run.names["queries"] if name == "Q" else ()
            self.pictures.append((texture(data, name, rows=labels, frames=(region,), lit=(region,)), box))
        self.pictures += [
            (missing(inside[3]), inside[3]),
            (Panel("SRAM", "made here, used here", sram=True), self.sram),
        ]
        parts, gap = board.pick(wide=((3, 9, 2), 24), square=((0, 62, 10), 6), tall=((3, 8, 2), 24))
        self.slots, self.body, self.below = Panel.inside(self.sram).rows(*parts, gap=gap)

    def make(self) -> None:
        """The tiles come, one after another; then S and P appear, cell by cell."""
        board, run = self.board, self.run
        S, P = (made(run, slot, i=self.i, j=self.j)[0] for slot in "SP")
        lse, keys = held(run, "LSE")[self.some], run.names["keys"][self.of]
        self.written = of = written(S, lse, P)
        equation = Equation((
            Tile(grid(S), "S", *span(run, "S"), scores(run.trace.meta), "", keys, of["S"], self.there["S"]),
            Tile(grid(lse), "LSE", *span(run, "LSE"), "LSE", "−", places=of["LSE"], seen=self.there["LSE"]),
            Tile(grid(P), "P", 0, 1, "P = exp(S − LSE)", "→", keys, of["P"], self.there["P"]),
        ), run.names["queries"][self.some])  # fmt: skip
        board.put(equation, self.body, fade=0)
        for name, slot in zip(CAME, (*self.slots.columns(2, gap=60), None), strict=True):
            data = held(run, name)
            self._travel(texture(data[self.frames[name]], name, like=data), 0.5 if board.short else 0.7)
            if slot is None:
                board.set(self.there["LSE"].to(1.0))
            elif board.shape != "square":  # which has no room for them
                board.put(texture(data[self.frames[name]], name, name.lower(), data, base="sram"), slot, 0)
        for name in "SP":
            board.move(self.there[name].to(1.0), seconds=0.8)
            board.wait(0.2)

    def tell_one(self, whose: str) -> None:
        """How one number of it was made, and whose it is."""
        board, run = self.board, self.run
        r, c = self.row - self.some.start, self.key - self.of.start
        S, P = (made(run, slot, i=self.i, j=self.j)[0][r, c] for slot in "SP")
        left, right = self.below.columns(5, 7) if board.shape == "wide" else self.below.columns(5, 8)
        lse = float(held(run, "LSE")[self.row, 0])
        how = self.written.fill("e^{# − #} = #", Term("S", S), Term("LSE", lse), Term("P", P))
        board.put(Text(how, HEAD, "ink", 500, mono=True, middle=True), left)
        board.put(Text(whose, middle=True), right)

    def _travel(self, actor: Any, seconds: float) -> None:
        """A tile along the bus, from HBM to SRAM, over nothing."""
        board, bus = self.board, self.bus
        wide, high = board.pick(wide=(56.0, 84.0), square=(180.0, bus.h - 8), tall=(180.0, 60.0))
        if board.shape == "wide":
            ends = [Box(x, bus.y + bus.h / 2 - high / 2, wide, high) for x in (bus.x + 4, bus.right - wide - 4)]
        else:
            ends = [Box(bus.x + bus.w / 2 - wide / 2, y, wide, high) for y in (bus.y + 2, bus.bottom - high - 2)]
        part = board.put(actor, ends[0], fade=0)
        board.move(part.to(ends[1]), seconds=seconds)
        board.set(part.fade(0.0))


def written(S: np.ndarray, lse: np.ndarray, P: np.ndarray) -> Places:
    """With how many places the numbers of the tiles stand: P follows from S and LSE in each of its cells."""
    cells = (
        Equals(Term("P", float(P[r, c])), against, (Term("S", float(S[r, c])), Term("LSE", float(lse[r, 0]))))
        for r, c in np.ndindex(P.shape) if np.isfinite(S[r, c])
    )  # fmt: skip
    return places(cells, least={"S": 1, "LSE": 1})


def missing(box: Box) -> Areas:
    """The outline of P, which isn't there."""
    return Areas((Area(0, 0, box.w, box.h, "dim", "P", "not kept", open=True),), box.w, box.h)
