"""Block masks: which tiles a block-sparse run visits at all, as patterns by name, a Boolean array or a file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import unknown
from .mask_arrays import boolean, load_matrix
from .masks import ARRAY, Kind, Mask, Seen
from .tiling import Block

#: the block masks by name or form
NAMES = ("butterfly", "local:W", "strided:S", "random:DENSITY,SEED", "file:PATH")

#: the same for a command's help
HELP = ", ".join(NAMES[:-1]) + " or file:PATH (Boolean, query blocks × key blocks)"


@dataclass(frozen=True)
class BlockMask:
    """`visited` (query blocks, key blocks) is True where a tile is visited, as far as `mask` lets it be seen.

    `grid` has the same shape: 2 where a visited tile is full, 1 where it is cut, 0 where it is hidden or not visited.
    """

    name: str
    visited: np.ndarray
    mask: Mask
    grid: np.ndarray

    @property
    def n_keys(self) -> int:
        return self.mask.n_keys

    def row(self, i: Block) -> Seen:
        """How these queries see one block of keys after another."""
        return Seen(self, i, None)

    def column(self, j: Block) -> Seen:
        """How these keys are seen by one block of queries after another."""
        return Seen(self, None, j)

    def kinds(self, i: Block, j: Block) -> dict[Kind, int]:
        """Tiles by kind, where i and j may each stand for a run of `times` equal blocks."""
        tiles = self.grid[i.index : i.index + i.times, j.index : j.index + j.times]
        seen, full = int(np.count_nonzero(tiles)), int(np.count_nonzero(tiles == 2))
        return {"full": full, "cut": seen - full, "hidden": tiles.size - seen}

    def by_rule(self, n_whole: tuple[int, int]) -> bool:
        """Whether runs of tiles may be counted as one: some tile of the largest size is seen.

        (Then that tile decides what is on chip at most, in whatever order tiles come.)
        """
        rows, columns = n_whole
        return bool(self.grid[:rows, :columns].any())

    # ---- as lists, for a kernel that looks up which tile comes next

    def lists(self) -> dict[str, np.ndarray]:
        """`columns`: the key block of each tile that is seen, row by row; `starts`: where each row's begin. int32."""
        return {"starts": self._starts.astype(np.int32), "columns": self.grid.nonzero()[1].astype(np.int32)}

    def bounds(self, i: Block) -> Block:
        """Where `starts` says which part of the list is about these queries: two entries, its begin and its end."""
        return Block(i.index, i.index + 2, i.index, i.times)

    def entry(self, i: Block, j: Block) -> Block:
        """Where the list has this tile."""
        at = int(self._starts[i.index]) + int(np.count_nonzero(self.grid[i.index, : j.index]))
        return Block(at, at + 1, at, j.times)

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.concatenate([[0], np.count_nonzero(self.grid, axis=1).cumsum()])


def parse(block_mask: Any, mask: Mask, block_q: int, block_k: int) -> BlockMask:
    """The block mask that a user named, or gave as a Boolean array (query blocks, key blocks).

    butterfly: tiles whose indices differ in no bit or in one, the flat butterfly of arXiv:2112.00029. local:W: up to W
    tiles off the diagonal. strided:S: each S-th tile off the diagonal. random:DENSITY,SEED: each tile with that
    probability. Where there are more blocks one way than the other, the pattern is stretched.

    Raises ValueError, one line, for a name that isn't known, a number that makes no sense and an array that won't do.
    """
    shape = -(-mask.n_queries // block_q), -(-mask.n_keys // block_k)
    if block_mask is None:
        raise ValueError(f"a block-sparse run needs block_mask: {', '.join(NAMES)}, or a Boolean array {shape}")
    name, found, axes = ARRAY, block_mask, "query blocks × key blocks"
    if isinstance(block_mask, str):
        kind, _, rest = block_mask.partition(":")
        if kind == "file" and rest:
            name, found = f"file:{Path(rest).name}", load_matrix(rest)
        else:
            name, found = block_mask, _pattern(block_mask, shape)
    visited = boolean(
        f"block_mask {block_mask!r:.80}" if isinstance(block_mask, str) else "block_mask", found, shape, axes
    )
    return BlockMask(name, visited, mask, mask.grid(block_q, block_k) * visited)


def _pattern(name: str, shape: tuple[int, int]) -> np.ndarray:
    kind, _, rest = name.partition(":")
    if kind not in {known.partition(":")[0] for known in NAMES}:
        raise ValueError(unknown("block mask", name, NAMES))
    n = max(shape)
    if name == "butterfly":
        return _stretched([1 << bit for bit in range(n.bit_length())], shape, by_bits=True)
    if kind == "local" and re.fullmatch(r"\d{1,9}", rest, re.ASCII):
        return _stretched(range(1, min(int(rest), n - 1) + 1), shape)
    if kind == "strided" and re.fullmatch(r"0*[1-9]\d{0,8}", rest, re.ASCII):
        return _stretched(range(int(rest), n, int(rest)), shape)
    if kind == "random" and (found := re.fullmatch(r"(\d*\.?\d+),(\d{1,18})", rest, re.ASCII)):
        density, seed = float(found[1]), int(found[2])
        if 0 < density <= 1:
            picked: np.ndarray = np.random.default_rng(seed).random(shape) < density
            return picked
    raise ValueError(
        f"block mask {name!r} makes no sense: W is 0 or more, S is 1 or more, DENSITY above 0 and at most 1, "
        "SEED a whole number"
    )


def _stretched(away: Iterable[int], shape: tuple[int, int], by_bits: bool = False) -> np.ndarray:
    """The diagonal of a square, and what lies so far from it, to both sides (or with these bits flipped).

    On a grid of another shape, a tile is visited where any of the square's that falls into it is.
    """
    n, grid = max(shape), np.zeros(shape, bool)
    rows = np.arange(n)
    for far in (0, *away):
        for columns in (rows ^ far,) if by_bits else (rows + far, rows - far):
            there = (columns >= 0) & (columns < n)
            grid[rows[there] * shape[0] // n, columns[there] * shape[1] // n] = True
    return grid
