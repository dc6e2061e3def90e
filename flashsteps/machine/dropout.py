"""Dropout that is never stored: which weights are dropped follows from a seed and their position alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Dropout(NamedTuple):
    """Each weight is dropped with this probability, 0 < rate < 1; those that are kept grow by 1 / (1 − rate).

    With `group`, each query stands for so many rows: the heads that share keys and values, packed. `first` is the
    number of the first head that is run: one alone drops what it drops among the others.
    """

    rate: float
    seed: int
    group: int = 1
    first: int = 0

    def kept(self, rows: slice, keys: slice, part: int = 0) -> np.ndarray:
        """What to multiply a tile of weights by: 0 or 1 / (1 − rate). Shape (rows, keys), float64.

        One number a position, from a counter: SplitMix64 of seed, head, query and key, as GPUs use Philox; `part` is
        the key-value head.
        """
        row = np.arange(rows.start, rows.stop, dtype=np.uint64)[:, None]
        key = np.arange(keys.start, keys.stop, dtype=np.uint64)
        head = np.uint64(self.first + part * self.group) + row % np.uint64(self.group)
        seed = np.array([self.seed % 2**64], np.uint64)
        mixed = _mix(_mix(_mix(_mix(seed) + head) + row // np.uint64(self.group)) + key)
        uniform = (mixed >> np.uint64(11)) * 2.0**-53
        return np.where(uniform < self.rate, 0.0, 1 / (1 - self.rate))


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's next number: Steele, Lea and Flood, 2014."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed
