"""Block sizes: which tiles fit on a GPU, what they take on chip, and what they move; the least traffic first."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from .. import algorithms
from ..machine import dtypes
from ..machine.devices import DEFAULT as DEFAULT_DEVICE
from ..machine.devices import device as device_of
from ..runs import counting
from ..scalars import whole
from . import formulas, report
from .standard import beside

ALGORITHM, N = "flash2-forward", 1 << 13

#: what a block's side may be: matrix units want multiples of 16
SIDES = (16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Fit:
    """A tile of block_q × block_k: bytes on chip at most, bytes moved for one head, as such and over standard's."""

    block_q: int
    block_k: int
    shared: int
    registers: int
    total: int
    ratio: float


def fitting(
    algorithm: str = ALGORITHM,
    *,
    d: int,
    d_v: int | None = None,
    n: int = N,
    device: str = DEFAULT_DEVICE,
    heads: int = 1,
    kv_heads: int | None = None,
    mask: str | None = None,
    dtype: str = dtypes.DEFAULT,
) -> list[Fit]:
    """The tiles that fit on the device, those first that move least; among equals, those that take least on chip.

    Values have d_v numbers (d unless given). Heads that share keys and values are packed as rows, so that a tile of so
    many queries is as many times as high. Sides are those of `SIDES` up to n. Raises ValueError as `flashsteps.count`
    does, and for standard attention, whose matrix products are ideal: it has no tile that would have to fit.
    """
    gpu = device_of(device)
    if algorithms.algorithm(algorithm).ideal_products:
        raise ValueError(f"{algorithm} has ideal matrix products, so no tile has to fit: name another algorithm")
    rows = report.rows_of(algorithm, whole("n", n))
    shape: dict[str, Any] = {"d": d, "d_v": d_v, "mask": mask, "dtype": dtype, **rows}
    shape |= {"heads": heads, "kv_heads": kv_heads}
    level = beside(algorithm, **shape).total
    found = []
    for block_q, block_k in product(_sides(rows["n"]), _sides(n)):
        io = counting.count(algorithm, **shape, block_q=block_q, block_k=block_k)
        if report.fits(algorithm, io, gpu):
            found.append(Fit(block_q, block_k, io.peak.shared, io.peak.registers, io.total, io.total / level))
    return sorted(found, key=lambda blocks: (blocks.total, blocks.shared + blocks.registers))


def tried(algorithm: str, n: int) -> int:
    """How many tiles `fitting` looks at."""
    return len(_sides(report.rows_of(algorithm, n)["n"])) * len(_sides(n))


def papers(d: int, device: str = DEFAULT_DEVICE, dtype: str = dtypes.DEFAULT) -> tuple[int, int, int]:
    """What FA1's first line gives, Br = min(Bc, d) and Bc = ⌈M/4d⌉, and M: a block's shared memory, in elements.

    It is for values of size d: of others the paper says nothing.
    """
    sram = device_of(device).shared_per_block * 1024 // dtypes.storage(dtype).itemsize
    return *formulas.flash_blocks(sram, whole("d", d)), sram


def _sides(n: int) -> list[int]:
    """The sides that make a difference for n rows: those below n, and the first that holds all of them, cut to n."""
    return sorted({min(side, n) for side in SIDES})
