"""Recorded runs as rings on the curves of closed forms, and a table that has both in bytes."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ...runs.record import record
from ..actors.curve import Dot
from ..actors.table import Table
from .by_size import LOOKS, NAMES, TILE, D, moved

LENGTHS = 128, 512  # tokens of the runs
SHORT = {"standard-forward": "standard", "flash-forward": "FA1", "flash2-forward": "FA2"}


def rings() -> tuple[Dot, ...]:
    """One for each run."""
    return tuple(Dot(n, recorded(name, n), hue=LOOKS[name][0], ring=True) for n in LENGTHS for name in NAMES)


def beside_formulas(seen: Any) -> Table:
    """As many of the runs as are `seen`, each beside what its formula says."""
    rows = tuple(
        (f"{SHORT[name]}, N = {n}", f"{recorded(name, n):,}", f"{moved(name, n, TILE):,}")
        for n in LENGTHS
        for name in NAMES
    )
    return Table(rows, ("bytes", "run", "formula"), seen=seen)


def exact() -> bool:
    """Do all runs move what the formulas say, byte for byte?"""
    return all(recorded(name, n) == moved(name, n, TILE) for n in LENGTHS for name in NAMES)


@cache
def recorded(name: str, n: int) -> int:
    """Bytes of a run, on numbers at random: what moves doesn't depend on them."""
    q, k, v = np.random.default_rng(n).standard_normal((3, n, D)).astype(np.float32)
    return record(name, q, k, v, block_q=TILE, block_k=TILE, dtype="float16").io().total
