"""Three kinds of tiles under the causal mask, full, cut and skipped: which they are, and what comes in of K and V."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...machine import masks
from ...units import short
from ..actors.bars import Bars
from ..actors.kinds import Kind, Kinds
from ..board import Board
from ..boxes import Box
from ..places import Stage
from ..run import Run
from ..tiles import regions, scores
from .aligned import seen_of
from .keys_read import bar
from .masked import REAL, TILE, N


class ThreeKinds:
    """`cut` and `skipped` are tiles of S, of `many`; `gap` parts them, `there` says how many kinds are named, `frames`
    what is framed, and `grown` how far the bars are."""

    def __init__(self, board: Board, place: Stage, run: Run, S: np.ndarray) -> None:
        meta, (left, right) = run.trace.meta, place.sides
        bq, bk = meta["block_q"], meta["block_k"]
        each = masks.parse("causal", *S.shape).grid(bq, bk)
        self.many, (self.cut, self.skipped) = each.size, (regions(run, each == kind) for kind in (1, 0))
        self.frames, self.gap, self.there, self.grown = (board.value(x) for x in ((), 0.0, 0.0, 0.0))
        how: dict[str, Any] = {"tile": (bq, bk), "gap": self.gap, "skipped": self.skipped, "frames": self.frames}
        matrix = scores(run, np.where(seen_of(S.shape), S, -np.inf), S, **how)
        told = (
            Kind("full", tiles_of(int((each == 2).sum()), "full"), "no mask needed"),
            Kind("cut", tiles_of(len(self.cut), "cut by the diagonal"), "mask from indices, on chip: 0 bytes"),
            Kind("skipped", tiles_of(len(self.skipped), "skipped"), "nothing loaded, nothing computed"),
        )
        toy = {"n": meta["queries"], "n_keys": meta["keys"], "d": meta["d"], "block_q": bq, "block_k": bk}
        real = masks.parse("causal", N, N).grid(TILE, TILE)
        names = {
            f"this toy: {visited(each)} tiles": toy,
            f"N = {short(N)}: {visited(real)} tiles of {TILE}×{TILE}": REAL,
        }
        lengths = tuple(bar(name, sizes, self.grown, meta["dtype"]) for name, sizes in names.items())
        chart = Bars(lengths, 1.0, "", title="K and V read, of what comes in without the mask")
        whole, legend, bars = left, *right.rows(5, 4)
        if board.shape == "square":  # in which there is more room beside the matrix than below it
            (whole, legend), bars = left.columns(2, 3, gap=30), right
        self.pictures: list[tuple[Any, Box]] = [(matrix, whole), (Kinds(told, self.there), legend), (chart, bars)]


def visited(grid: np.ndarray) -> str:
    """`10 of 16`."""
    return f"{int((grid != 0).sum()):,} of {grid.size:,}"


def tiles_of(many: int, kind: str) -> str:
    """`1 tile skipped`, `6 tiles skipped`."""
    return f"{many} {'tile' if many == 1 else 'tiles'} {kind}"
