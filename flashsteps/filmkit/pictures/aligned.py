"""The causal diagonal where queries and keys are not as many: at which corner it ends, and rows that see nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...machine import masks
from ...runs.record import record
from ...theme import HEAD
from ...units import number
from ..actors.cards import Text
from ..actors.matrix import Matrix, grid
from ..actors.table import Table
from ..board import Board
from ..boxes import Box
from ..places import stage
from ..run import Run

FEW, MANY = 2, 5  # queries and keys of a step of decoding


def seen_of(shape: tuple[int, ...]) -> np.ndarray:
    """True where a query may see a key."""
    return masks.parse("causal", *shape).keep(*(slice(0, n) for n in shape))


def both_corners(board: Board, run: Run, S: np.ndarray) -> list[tuple[Any, Box]]:
    """Two queries and five keys: the diagonal at the bottom right, and at the top left."""
    first = min(6, S.shape[1] - MANY) if S.shape[0] == S.shape[1] else S.shape[1] - MANY
    last = first + MANY if S.shape[0] == S.shape[1] else S.shape[0]
    part = S[last - FEW : last, first : first + MANY]
    asked, keys = run.names["queries"][last - FEW : last], run.names["keys"][first : first + MANY]
    low, high, shape, pictures = float(S.min()), float(S.max()), (FEW, MANY), list[Any]()
    ways = (
        ("aligned at the bottom right", "so in flash-attn ≥ 2.1, and here", seen_of(shape)),
        ("aligned at the top left", "so in PyTorch with is_causal=True", np.tri(*shape, dtype=bool)),
    )
    for box, (title, who, seen) in zip(stage(board).sides, ways, strict=True):
        if board.shape == "square":
            head, rest = box.rows(4, 7)
            body, below = rest.columns(1, 1, gap=40)
        else:
            head, body, below = box.rows(*board.pick(wide=(2, 5, 3), square=(2, 6, 3)))
        above, whose = head.rows(1, 1, gap=4)
        values = grid(np.where(seen, part, -np.inf))
        matrix = Matrix(values, "S", low, high, rows=asked, columns=keys, square=True)
        sees = Table(tuple((asked[n], f"sees {int(seen[n].sum())} of {MANY} keys") for n in range(FEW)))
        pictures += [(Text(title, HEAD, "ink", 600), above), (Text(who), whose), (matrix, body), (sees, below)]
    return pictures


class Unseeing:
    """Five queries and two keys, recorded: a matrix and a table of what each row saw, and the rows that saw nothing."""

    def __init__(self, board: Board, run: Run, whole: np.ndarray) -> None:
        qkv, seen = board.input, seen_of((MANY, FEW))
        q, k, v = (np.array(x[:n], np.float32) for x, n in ((qkv.q, MANY), (qkv.k, FEW), (qkv.v, FEW)))
        trace = record("flash2-forward", q, k, v, mask="causal", block_q=MANY, block_k=FEW, dtype="float32")
        self.O, self.LSE, S = trace.outputs["O"], trace.outputs["LSE"], q @ k.T * q.shape[1] ** -0.5
        asked, keys = (tuple(f"{one} {n}" for n in range(of)) for one, of in (("query", MANY), ("key", FEW)))
        low, high, values = float(whole.min()), float(whole.max()), grid(np.where(seen, S, -np.inf))
        self.matrix = Matrix(values, "S", low, high, rows=asked, columns=keys, square=True)
        rows = tuple(
            (asked[n], f"{seen[n].sum()}", number(float(np.abs(self.O[n]).max()), 2), number(float(self.LSE[n]), 2))
            for n in range(MANY)
        )
        self.table = Table(rows, ("query", "keys seen", "largest |O|", "LSE"))
        self.blind = [n for n in range(MANY) if not seen[n].any()]
