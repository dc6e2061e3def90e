"""What a run held, tile by tile, what all tiles of a slot come to, as one matrix, and how films show that."""

from __future__ import annotations

from typing import Any

import numpy as np

from .actors.matrix import Matrix, Region, grid
from .run import Run


def blocks(run: Run) -> tuple[int, int]:
    """How many blocks of queries and of keys there are."""
    meta = run.trace.meta
    return -(-meta["queries"] // meta["block_q"]), -(-meta["keys"] // meta["block_k"])


def made(run: Run, slot: str, **loop: int) -> list[np.ndarray]:
    """All that a slot was, one value after another, where these indices were so."""
    found = (e for e in run.trace if e.slot == slot and e.op == "compute" and loop.items() <= e.loop.items())
    return [np.asarray(run.value(e.step), dtype=float) for e in found]


def whole(run: Run, slot: str) -> np.ndarray:
    """All of a matrix that is only ever made in tiles."""
    tall, wide = blocks(run)
    return np.block([[made(run, slot, i=i, j=j)[0] for j in range(wide)] for i in range(tall)])


def rows(run: Run, i: int, axis: str = "queries") -> slice:
    """The rows of a block."""
    size, many = run.trace.meta[{"queries": "block_q", "keys": "block_k"}[axis]], run.trace.meta[axis]
    return slice(i * size, min((i + 1) * size, many))


def regions(run: Run, tiles: np.ndarray) -> tuple[Region, ...]:
    """The tiles for which an array (blocks of queries, blocks of keys) is true, as regions of S."""
    edges = ((rows(run, i), rows(run, j, "keys")) for i, j in np.argwhere(tiles).tolist())
    return tuple(Region(down.start, down.stop, across.start, across.stop) for down, across in edges)


def scores(run: Run, values: np.ndarray, like: np.ndarray | None = None, **how: Any) -> Matrix:
    """Scores with their tokens, without numbers, on the scale of those that they are a part of."""
    like = values if like is None else like
    how = {"rows": run.names["queries"], "columns": run.names["keys"], "names": ("query", "key"), **how}
    return Matrix(grid(values), "S", float(like.min()), float(like.max()), square=True, numbers=False, **how)


def texture(values: np.ndarray, name: str, title: str = "", like: np.ndarray | None = None, **how: Any) -> Matrix:
    """A matrix without numbers, on the scale of another one that it is a part of."""
    like = values if like is None else like
    how = {"numbers": False, **how}
    return Matrix(grid(values), name, float(like.min()), float(like.max()), title or name, **how)


def held(run: Run, name: str) -> np.ndarray:
    """A tensor of HBM at the end; one number a row is a column."""
    values = np.asarray(run.hbm(len(run))[name], dtype=float)
    return values[:, None] if values.ndim == 1 else values


def span(run: Run, slot: str) -> tuple[float, float]:
    """The lowest and the highest of all."""
    values = held(run, slot) if slot in run.trace.initial else whole(run, slot)
    return float(values.min()), float(values.max())
