"""A backward pass as a film shows it: its run on the film's input, and what of it is worth a look."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...runs.arguments import small_block
from ...runs.record import record
from ...story.telling import strongest
from ..board import Board
from ..input import check_room
from ..run import Run
from ..tiles import whole


def recorded(board: Board, algorithm: str, **how: Any) -> Run:
    """A backward pass on the input. What the loss sent back is known of a training step alone: else dO is at random."""
    qkv, dO, key = board.input, known(board), (algorithm, repr(how))
    (N, d), M = qkv.q.shape, len(qkv.k)
    check_room(N, M, d)
    board.check_mask(None)
    block_q, block_k = board.option("block_q", small_block(N)), board.option("block_k", small_block(M))
    dtype = board.option("dtype", qkv.own.get("dtype"))
    how = qkv.options | {"block_q": block_q, "block_k": block_k, "dtype": dtype, "mask": None, **how}
    dO = np.random.default_rng(0).standard_normal((N, qkv.v.shape[1])).astype(qkv.q.dtype) if dO is None else dO
    return Run(board.once(key, lambda: record(algorithm, *qkv, do=dO, **how)))


def known(board: Board) -> np.ndarray | None:
    """The gradient of O that came in a step of training, where the input is a head of one."""
    found: np.ndarray | None = getattr(board.input, "do", None)
    return found


def hardest(run: Run) -> tuple[int, int, int, int]:
    """The query that looks hardest at a key, that key, and the blocks that both are in."""
    row, key = strongest(whole(run, "P"))
    return row, key, row // run.trace.meta["block_q"], key // run.trace.meta["block_k"]


def alike(a: np.ndarray, b: np.ndarray, to: float = 1e-3) -> bool:
    """Up to a share of the largest number."""
    return bool(np.abs(a - b).max() <= to * np.abs(b).max())


def worst(run: Run) -> float:
    """How far P, made again, is from the softmax of the same scores."""
    S, P = whole(run, "S"), whole(run, "P")
    weights = np.exp(S - S.max(axis=1, keepdims=True))
    return float(np.abs(weights / weights.sum(axis=1, keepdims=True) - P).max())


def of_standard(run: Run) -> float:
    """What the run moves, as a share of what standard attention does on the same problem."""
    return run.total.total / run.standard.total
