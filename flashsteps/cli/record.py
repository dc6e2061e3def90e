"""`flashsteps record`: run an algorithm, and keep every step of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..units import size_of
from . import options as take
from . import runs
from .program import Command, say

EXAMPLES = """\b
Examples:
  flashsteps record flash2-forward -o run.npz --block-q 4 --block-k 4
  flashsteps record flash2-backward -o back.npz --input random:32,8 --mask window:7,0
  flashsteps record flash-forward -o run.npz --input random:1024,64 --mask causal --device h100
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("algorithm", type=take.ALGORITHM, help="Which algorithm (`flashsteps list algorithms`).")
@take.output("FILE.npz", "Where to.")
@runs.record_options
def record(algorithm: str, output: Path, **options: Any) -> None:
    """Run an algorithm, and save every step of it as a trace.

    A trace holds each tile that moves and each value made on chip, as plain data: `flashsteps show` and
    `flashsteps.load` read it, and so does NumPy.
    """
    from .. import trace_file

    trace_file.check_path(output)
    trace = runs.recorded(algorithm, **options)
    trace.save(output)
    io, size = trace.io(), size_of(output.stat().st_size)
    say(f"{output}   {size}   {len(trace):,} steps, {io.read:,} B read from HBM, {io.written:,} B written")
