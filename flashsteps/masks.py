"""Masks: which keys a query sees, and so which tiles are full, cut or hidden.

Every mask here is a rule by rows: query r sees the keys before `stop(r)`, which rises by one a row, or not at all. That
is all it takes to sort a run of tiles by arithmetic, however many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from .errors import unknown

if TYPE_CHECKING:
    from .memory import Block

Kind = Literal["full", "cut", "hidden"]

#: the masks by name; None, too, is "none"
NAMES = ("none", "causal")


class Seen(NamedTuple):
    """How the tiles between one fixed block (of queries or of keys) and others are seen."""

    mask: Mask
    queries: Block | None
    keys: Block | None

    def kinds(self, block: Block) -> dict[Kind, int]:
        """How many of the tiles between the fixed block and `block` are full, cut and hidden."""
        return self.mask.kinds(self.queries or block, self.keys or block)


@dataclass(frozen=True)
class Mask:
    """`causal` or not, over n_queries × n_keys; causal is aligned to the bottom right, as in flash-attn ≥ 2.1."""

    causal: bool
    n_queries: int
    n_keys: int

    @property
    def name(self) -> str | None:
        return "causal" if self.causal else None

    def stop(self, row: int) -> int:
        """The first key that this query no longer sees; 0 or less where it sees none."""
        return row + 1 + self.n_keys - self.n_queries if self.causal else self.n_keys

    def keep(self, queries: slice, keys: slice) -> np.ndarray:
        """True where a query sees a key. Shape (queries, keys)."""
        stops = np.array([self.stop(row) for row in range(queries.start, queries.stop)])
        kept: np.ndarray = np.arange(keys.start, keys.stop) < stops[:, None]
        return kept

    def bias(self, queries: slice, keys: slice) -> np.ndarray:
        """What to add to a tile of scores: 0 where a query sees a key, −∞ where not. Shape (queries, keys), float32."""
        return np.where(self.keep(queries, keys), np.float32(0), np.float32(-np.inf))

    def row(self, i: Block) -> Seen:
        """How these queries see one block of keys after another."""
        return Seen(self, i, None)

    def column(self, j: Block) -> Seen:
        """How these keys are seen by one block of queries after another."""
        return Seen(self, None, j)

    def kinds(self, i: Block, j: Block) -> dict[Kind, int]:
        """Tiles by kind, where i and j may each stand for a run of `times` equal blocks."""
        height, width = i.stop - i.start, j.stop - j.start
        rise = height if self.causal else 0  # of stop(), from one block of queries to the next
        # a tile is full if its first row, which sees least far, sees all of it, and hidden if its last sees none of it
        full = _whole(self.stop(i.start) - j.start, rise, i.times, width, j.times)
        touched = _whole(self.stop(i.stop - 1) - j.start + width - 1, rise, i.times, width, j.times)
        return {"full": full, "cut": touched - full, "hidden": i.times * j.times - touched}


def parse(mask: str | None, n_queries: int, n_keys: int) -> Mask:
    """The mask that a user named. Raises ValueError for a name that isn't known."""
    if mask is not None and mask not in NAMES:
        raise ValueError(unknown("mask", mask, NAMES))
    return Mask(mask == "causal", n_queries, n_keys)


def _whole(keys: int, rise: int, rows: int, width: int, most: int) -> int:
    """How many whole blocks of `width` fit into so many keys, so many + rise, … (`rows` terms), summed.

    At most `most` of them count in a row, and none where its keys are fewer than none.
    """
    if not rise:
        return rows * min(max(keys // width, 0), most)
    begin = min(max(-(keys // rise), 0), rows)  # the first row with 0 keys or more
    end = min(max(-((keys - most * width) // rise), begin), rows)  # the first that has them all
    return _floors(end - begin, rise, keys + rise * begin, width) + most * (rows - end)


def _floors(n: int, a: int, b: int, m: int) -> int:
    """Σ ⌊(a·i + b) / m⌋ for i = 0 … n − 1, all numbers 0 or more, in O(log m) steps, as Euclid's algorithm goes."""
    total = 0
    while n:
        total += (a // m) * n * (n - 1) // 2 + (b // m) * n
        a, b = a % m, b % m
        n, b, m, a = (a * n + b) // m, (a * n + b) % m, a, m
    return total
