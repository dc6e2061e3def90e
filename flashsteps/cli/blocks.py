"""`flashsteps blocks`: which tiles fit on a GPU, what they take on chip and what they move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ..units import head_of, short, size_of
from . import options as take
from .options import option
from .program import Command, say, table

if TYPE_CHECKING:
    from ..machine.devices import Device
    from ..traffic.blocks import Fit

EXAMPLES = """\b
Examples:
  flashsteps blocks --d 128 --device h100
  flashsteps blocks --d 64 --device t4 --algorithm flash-forward --n 64K --dtype float32
"""


def _n() -> str:
    from ..traffic.blocks import N

    return f"How many queries and keys: 4096, 4K or 1M  [default: {N}]"


def _algorithm() -> str:
    from ..traffic.blocks import ALGORITHM

    return f"Whose tiles  [default: {ALGORITHM}]"


@click.command(cls=Command, epilog=EXAMPLES)
@option("--d", type=take.TOKENS, required=True, help="The size of a head.")
@take.d_v_option
@option("--device", type=take.DEVICE, help=f"The GPU on which a tile has to fit  {take.DEVICE_DEFAULT}")
@option("--n", type=take.TOKENS, help=_n)
@option("--algorithm", type=take.ALGORITHM, help=_algorithm)
@take.heads_options
@option("--mask", type=take.MASK, help=take.mask_help)
@option("--dtype", type=take.DTYPE, help=take.dtype_help)
def blocks(d: int, **options: Any) -> None:
    """Say which block sizes fit on a GPU, best first.

    Best is what moves least between HBM and SRAM, and then what takes least on chip. What is loaded has to fit in a
    block's shared memory, what is computed in a multiprocessor's registers."""
    from ..machine.devices import DEFAULT, device
    from ..traffic import blocks as fitting

    given = take.given(options)
    found = fitting.fitting(d=d, **given)
    gpu = device(given.get("device", DEFAULT))
    n, algorithm, d_v = given.get("n", fitting.N), given.get("algorithm", fitting.ALGORITHM), given.get("d_v", d)
    fit = _fit(len(found), fitting.tried(algorithm, n))
    say(f"{algorithm} at N = {short(n)}, {head_of(d, d_v)}, on {gpu.title}: {fit}")
    for line in _table(found, gpu) if found else ():
        say(line)
    if d_v != d:
        return say(f"FA1's Algorithm 1 says which tile it takes where v is as wide as k, and nothing of v {d_v} wide")
    block_q, block_k, sram = fitting.papers(d, *(given[name] for name in ("device", "dtype") if name in given))
    say(f"FA1's Algorithm 1 would take ⌈M/4d⌉ = {block_k:,} keys and min(⌈M/4d⌉, d) = {block_q:,} queries, M being the")
    say(f"{sram:,} elements of shared memory: it counts neither S and P nor m and ℓ, which are in registers here")


def _fit(fits: int, tried: int) -> str:
    return f"{fits} of {tried} tiles fit" if fits else f"none of {tried} tiles fits: choose a smaller d or dtype"


def _table(found: list[Fit], gpu: Device) -> Iterator[str]:
    from ..traffic.report import ratio_of

    shared, registers = gpu.shared_per_block * 1024, gpu.registers_per_sm * 1024
    rows = [("queries", "keys", "shared memory", "", "registers", "", "moved", "of standard")]
    for b in found:
        loaded, computed = (
            (f"{b.shared:,} B", f"{b.shared / shared:.0%}"),
            (f"{b.registers:,} B", f"{b.registers / registers:.0%}"),
        )
        rows.append((f"{b.block_q}", f"{b.block_k}", *loaded, *computed, size_of(b.total), ratio_of(b.ratio)))
    yield ""
    yield from table(rows, right="r" * len(rows[0]))
    yield ""
