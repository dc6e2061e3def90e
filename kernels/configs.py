"""The tile that each kernel is shipped with, and the candidates that a run on a GPU picks from.

A `Config` is for a tile of block_m rows of packed queries by block_n keys: heads that share keys and values are packed
as rows, so block_m rows are block_m // group tokens. What each candidate takes on chip, as compiled, is in
compiled.json (`python -m flashsteps.kernels.compiled` makes it anew); `SHIPPED` names those that are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .target import Target

if TYPE_CHECKING:
    from .checks import Problem


class Config(NamedTuple):
    """A tile of block_m rows by block_n keys, and how it is compiled; `descriptors`: fetched by TMA where possible."""

    block_m: int
    block_n: int
    num_warps: int = 4
    num_stages: int = 2
    descriptors: bool = False


#: the kernels that have candidates: all others are bound by memory, and one tile does for them
KERNELS = ("forward", "dkdv", "dq")

#: head dimensions on chip that are tuned apart; others take the next larger one's
HEAD_DIMS = (64, 128, 256)

#: what is tried on a GPU, for 16-bit types: (block_m, block_n, warps, stages)
_TRIED: dict[tuple[str, int], tuple[tuple[int, int, int, int], ...]] = {
    ("forward", 64): (
        (128, 128, 8, 2), (128, 128, 8, 3), (128, 64, 4, 2), (128, 64, 4, 3), (128, 64, 4, 4), (128, 64, 8, 3),
        (64, 128, 4, 2), (64, 64, 4, 3), (128, 128, 4, 2), (256, 64, 8, 2), (256, 64, 8, 3), (128, 32, 4, 2),
    ),
    ("forward", 128): (
        (128, 128, 8, 2), (128, 128, 8, 3), (128, 64, 8, 2), (128, 64, 8, 3), (128, 64, 8, 4), (128, 64, 4, 2),
        (128, 64, 4, 3), (64, 128, 4, 2), (64, 64, 4, 2), (64, 64, 4, 3), (128, 32, 4, 2), (128, 32, 8, 2),
    ),
    ("forward", 256): (
        (128, 64, 8, 2), (128, 32, 8, 2), (128, 32, 8, 3), (64, 64, 4, 2), (64, 64, 8, 2), (64, 32, 4, 2),
        (64, 16, 4, 2), (64, 32, 4, 1), (128, 16, 8, 2),
    ),
    ("dkdv", 64): (
        (64, 128, 8, 2), (64, 128, 8, 3), (128, 128, 8, 2), (64, 128, 4, 2), (64, 64, 4, 2), (64, 64, 4, 3),
        (32, 128, 4, 2), (32, 128, 8, 2), (128, 64, 8, 2), (32, 64, 4, 2),
    ),
    ("dkdv", 128): (
        (64, 128, 8, 2), (64, 128, 8, 3), (32, 128, 8, 2), (32, 128, 8, 3), (64, 64, 4, 2), (64, 64, 8, 2),
        (128, 64, 8, 2), (32, 64, 4, 2), (32, 64, 8, 2), (16, 64, 4, 2), (32, 32, 4, 2),
    ),
    ("dkdv", 256): (
        (64, 64, 8, 2), (32, 64, 8, 2), (32, 64, 8, 1), (16, 64, 8, 2), (32, 32, 8, 2), (16, 64, 4, 2), (16, 32, 4, 2),
        (32, 32, 4, 2), (32, 32, 4, 1), (32, 64, 4, 1),
    ),
    ("dq", 64): (
        (128, 64, 8, 2), (128, 128, 8, 2), (128, 64, 4, 2), (128, 64, 4, 3), (128, 64, 8, 3), (64, 128, 4, 2),
        (64, 64, 4, 2), (64, 64, 4, 3), (128, 32, 4, 2), (64, 32, 4, 2),
    ),
    ("dq", 128): (
        (128, 64, 8, 2), (128, 64, 8, 3), (128, 128, 8, 1), (64, 128, 8, 2), (64, 64, 4, 2), (64, 64, 8, 2),
        (128, 32, 8, 2), (128, 32, 8, 3), (64, 32, 4, 2), (64, 32, 4, 1), (32, 32, 4, 2),
    ),
    ("dq", 256): (
        (128, 32, 8, 2), (64, 64, 8, 2), (64, 32, 8, 2), (64, 32, 4, 2), (64, 16, 4, 2), (64, 32, 8, 1), (32, 32, 4, 2),
        (32, 32, 4, 1), (32, 16, 4, 2), (64, 64, 8, 1),
    ),
}  # fmt: skip


def candidates(kernel: str, d: int, on: Target) -> list[Config]:
    """The tiles to try for a kernel and a head dimension on a GPU, by descriptors where it has them, and by pointers."""
    tried = [Config(*one) for one in _TRIED[kernel, head_dim(d)]]
    return [one._replace(descriptors=True) for one in tried if on.descriptors] + tried


def head_dim(d: int) -> int:
    """Whose tiles a head dimension takes."""
    return next(one for one in HEAD_DIMS if d <= one)


INTERPRETER = Config(64, 64, descriptors=False)


def shipped(kernel: str, problem: Problem) -> Config:
    return INTERPRETER
