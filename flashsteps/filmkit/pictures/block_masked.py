"""A head under a mask of blocks: the run with it, all scores in tiles, and which of these are kept."""

from __future__ import annotations

from math import ceil
from typing import Any, NamedTuple

import numpy as np

from ...machine import block_masks, masks
from ...machine.events import IO
from ...runs.counting import count
from ..actors.matrix import Matrix, Region
from ..board import Board
from ..run import Run
from ..tiles import regions, scores

BLOCKS, PATTERN = 8, "butterfly"  # so many blocks a side, and which of them are kept


class BlockMasked(NamedTuple):
    """The run with the mask, the scores without it (N, M), and for each tile whether it is kept."""

    run: Run
    S: np.ndarray
    kept: np.ndarray

    @property
    def skipped(self) -> tuple[Region, ...]:
        """The tiles that are left out."""
        return regions(self.run, ~self.kept)

    def tiled(self, **how: Any) -> Matrix:
        """All scores in tiles."""
        meta = self.run.trace.meta
        return scores(self.run, self.S, tile=(meta["block_q"], meta["block_k"]), gap=6.0, **how)

    def dense(self) -> IO:
        """What FlashAttention moves on the same problem, with all tiles."""
        meta = self.run.trace.meta
        sizes = {"n": meta["queries"], "n_keys": meta["keys"], "block_q": meta["block_q"], "block_k": meta["block_k"]}
        return count("flash-forward", **sizes, d=meta["d"], dtype=meta["dtype"])


def block_masked(board: Board) -> BlockMasked:
    """Of the film's input."""
    rows, keys = len(board.input.q), len(board.input.k)
    block_q = board.option("block_q") or ceil(rows / BLOCKS)
    block_k = board.option("block_k") or ceil(keys / BLOCKS)
    how: dict[str, Any] = {"mask": None, "block_q": block_q, "block_k": block_k}
    run = Run(board.record("block-sparse-forward", block_mask=PATTERN, **how))
    free = Run(board.record("standard-forward", mask=None, dtype="float32", sram=None, block_q=None, block_k=None))
    kept = block_masks.parse(PATTERN, masks.parse(None, rows, keys), block_q, block_k).visited
    return BlockMasked(run, free.hbm(len(free))["S"], kept)
