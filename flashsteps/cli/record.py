"""`flashsteps record`: run an algorithm, and keep every step of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..files import whole
from ..units import size_of
from .options import ALGORITHM, REAL, block_options, capacity_options, given, input_options, option
from .program import Command, say

EXAMPLES = """\b
Examples:
  flashsteps record flash2-forward -o run.npz --block-q 4 --block-k 4
  flashsteps record flash-forward -o run.npz --input random:1024,64 --mask causal --device h100
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("algorithm", type=ALGORITHM, help="Which algorithm (`flashsteps list algorithms`).")
@option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE.npz", help="Where to.")
@input_options
@block_options("{run.BLOCK}, cut to their number")
@option("--scale", type=REAL, help="What QKᵀ is multiplied by  [default: 1/√d]")
@capacity_options
def record(algorithm: str, output: Path, input: str, head: tuple[int, ...] | None, **options: Any) -> None:
    """Run an algorithm, and save every step of it as a trace.

    A trace holds each tile that moves and each value made on chip, as plain data: `flashsteps show` and
    `flashsteps.load` read it, and so does NumPy.
    """
    from .. import inputs, run

    qkv = inputs.load_qkv(input, head)
    trace = run.record(algorithm, *qkv, tokens=qkv.tokens, source=qkv.source, **given(options))
    trace.save(output)
    io, size = trace.io(), size_of(output.stat().st_size)
    say(f"{output}   {size}   {len(trace):,} steps, {io.read:,} B read from HBM, {io.written:,} B written")
