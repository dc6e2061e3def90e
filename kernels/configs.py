"""The tile sizes that each kernel is shipped with, and the candidates that a run on a GPU picks from.

A `Config` is for a tile of block_m rows of packed queries by block_n keys: heads that share keys and values are packed
as rows, so block_m rows are block_m // group tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .checks import Problem


class Config(NamedTuple):
    """A tile of block_m rows by block_n keys, and how it is compiled; `descriptors`: fetched by TMA where possible."""

    block_m: int
    block_n: int
    num_warps: int = 4
    num_stages: int = 2
    descriptors: bool = False


INTERPRETER = Config(64, 64, descriptors=False)


def shipped(kernel: str, problem: Problem) -> Config:
    return INTERPRETER
