"""Dropout that is never stored: which weights are dropped follows from a seed and their position alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Dropout(NamedTuple):
    """Each weight is dropped with this probability, 0 < rate < 1; those that are kept grow by 1 / (1 − rate)."""

    rate: float
    seed: int

    def kept(self, rows: slice, keys: slice, head: int = 0) -> np.ndarray:
        """What to multiply a tile of weights by: 0 or 1 / (1 − rate). Shape (rows, keys), float64.

        One number a position, from a counter: SplitMix64 of seed, head, row and key, as GPUs use Philox.
        """
        row = np.arange(rows.start, rows.stop, dtype=np.uint64)[:, None]
        key = np.arange(keys.start, keys.stop, dtype=np.uint64)
        start = np.array([self.seed % 2**64, head], np.uint64)
        mixed = _mix(_mix(_mix(_mix(start[:1]) + start[1:]) + row) + key)
        uniform = (mixed >> np.uint64(11)) * 2.0**-53
        return np.where(uniform < self.rate, 0.0, 1 / (1 - self.rate))


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's next number: Steele, Lea and Flood, 2014."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed
