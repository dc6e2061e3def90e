"""How rows are cut: a block is a range of them; blocks of one size follow each other, and the last may be short."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Block:
    """Rows start … stop − 1, or, when counting, the first of `times` such blocks that follow each other.

    `cut` is set where a mask hides part of the tile that the innermost loop is at.
    """

    start: int
    stop: int
    index: int = 0
    times: int = 1
    cut: bool = False

    def __len__(self) -> int:
        return self.stop - self.start

    def blocks(self, size: int) -> Blocks:
        """These rows cut into blocks; they start at a multiple of `size`."""
        return Blocks(self.stop, size, self.start)

    def below(self, rows: int) -> Block:
        """The same so many rows further down."""
        return replace(self, start=self.start + rows, stop=self.stop + rows)


class Blocks(NamedTuple):
    """`first` … n − 1 cut into blocks of `size`; the last may be shorter."""

    n: int
    size: int
    first: int = 0

    def each(self) -> Iterator[Block]:
        for start in range(self.first, self.n, self.size):
            yield Block(start, min(start + self.size, self.n), start // self.size)

    def runs(self) -> Iterator[Block]:
        """The first block (counting rules may treat it apart), the other whole ones as one run, the ragged tail."""
        whole, rest = divmod(self.n - self.first, self.size)
        index = self.first // self.size
        if whole:
            yield Block(self.first, self.first + self.size, index)
        if whole > 1:
            yield Block(self.first + self.size, self.first + 2 * self.size, index + 1, whole - 1)
        if rest:
            yield Block(self.n - rest, self.n, index + whole)


@dataclass(frozen=True)
class Pieces:
    """0 … n − 1 cut into pieces of `size`, to be gone through one by one even when counting: each is cut further."""

    n: int
    size: int

    def __len__(self) -> int:
        return -(-self.n // self.size)

    @property
    def all(self) -> Blocks:
        """The pieces as blocks like any others."""
        return Blocks(self.n, self.size)

    def each(self) -> Iterator[Block]:
        return self.all.each()
