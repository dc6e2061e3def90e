"""`flashsteps count`: what a run would move, at any size, without any data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ..units import size_of
from . import options as take
from .options import option
from .program import Command, say, table

if TYPE_CHECKING:
    from ..machine.events import IO

EXAMPLES = """\b
Examples:
  flashsteps count flash2-forward --n 1M --d 128 --block-q 128
  flashsteps count flash-forward --n 1K --d 64 --block-k 256 --rule fa1-figure-2
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("algorithm", type=take.ALGORITHM, help="Which algorithm (`flashsteps list algorithms`).")
@option("--n", type=take.TOKENS, required=True, help="How many queries: 4096, 4K or 1M (in binary: 1K is 1,024).")
@option("--d", type=take.TOKENS, required=True, help="The size of a head.")
@option("--n-keys", type=take.TOKENS, help="How many keys  [default: as many as queries]")
@take.d_v_option
@take.heads_options
@take.block_options(take.run_blocks)
@take.change_options
@option("--bias", type=take.BIAS, help="A bias comes in, one for all heads or one a head  [default: none]")
@option("--sinks", is_flag=True, default=None, help="A sink comes in for each head.")
@take.capacity_options
@take.rule_option
def count(algorithm: str, **options: Any) -> None:
    """Count the bytes that a run would move, at any size.

    It also says what work the run does and how much it holds on chip. No data is needed."""
    from ..runs import counting

    for line in totals(counting.count(algorithm, **take.given(options))):
        say(line)


def totals(io: IO) -> Iterator[str]:
    """What was moved by tensor, the work and the peak, as lines."""
    moved = [*((name, *nbytes) for name, nbytes in io.by_tensor.items()), ("all", io.read, io.written)]
    rows = [(name, f"{read:,} B", f"{written:,} B", f"{read + written:,} B") for name, read, written in moved]
    yield from table([("HBM", "read", "written", "both"), *rows], right="lrrr")
    yield f"moved: {size_of(io.total)}"
    work, peak = io.work, io.peak
    yield f"work: {work.matmul:,} FLOPs in matrix products, {work.exp:,} exp and log, {work.other:,} others"
    apart = " at another time" if peak.shared + peak.registers > peak.total else ""
    yield f"most on chip: {peak.total:,} B (at most {peak.shared:,} B loaded, {peak.registers:,} B computed{apart})"
