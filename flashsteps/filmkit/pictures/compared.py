"""Gradients of standard attention, of FlashAttention-2, and what they differ by: three lines, on one scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..actors.matrix import Matrix, grid
from ..board import Board
from ..boxes import Box
from ..places import Stage
from .backward_run import alike, recorded

WAYS, NAMES = ("standard-backward", "flash2-backward"), ("dQ", "dK", "dV")


class Compared:
    """Both in float32: `most` is how far any number of one is from the other's, `same` whether that is next to
    nothing."""

    def __init__(self, board: Board, place: Stage) -> None:
        one, other = (recorded(board, way, dtype="float32").trace.outputs for way in WAYS)
        pairs = {name: (one[name].astype(float), other[name].astype(float)) for name in NAMES}
        self.most = max(float(np.abs(a - b).max()) for a, b in pairs.values())
        self.same = all(alike(b, a, 1e-4) for a, b in pairs.values())
        self.pictures = list[tuple[Any, Box]]()
        boxes = place.whole.columns(3, gap=board.pick(wide=60, square=24))
        for (name, (a, b)), box in zip(pairs.items(), boxes, strict=True):
            titles = f"|{name}|, standard", f"|{name}|, FlashAttention-2", "difference, same scale"
            shown, most = map(np.abs, (a, b, a - b)), float(np.abs(a).max())
            for data, title, at in zip(shown, titles, box.rows(3, gap=16), strict=True):
                self.pictures.append((Matrix(grid(data), name, 0.0, most, title, numbers=False), at))
