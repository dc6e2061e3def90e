"""`flashsteps view`: one run, or two side by side, as an HTML page to step through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import algorithms
from ..units import size_of
from . import options as take
from . import runs as sources
from .program import Command, say
from .record import run_options, steps

EXAMPLES = """\b
Examples:
  flashsteps view flash-forward -o run.html
  flashsteps view run.npz -o run.html
  flashsteps view flash-forward flash2-forward -o two.html --mask causal
"""

#: options of every algorithm
OF_ALL = ("block_q", "block_k", "mask", "scale", "dtype", "device", "sram", "all_heads", "kernel")


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("runs", nargs=-1, required=True, type=sources.Run(), metavar="RUN|ALGORITHM...",
                help="What `flashsteps record` saved, or an algorithm to run; two stand side by side.")  # fmt: skip
@take.output("FILE.html", "Where to; - is standard output.", ".html")
@run_options(take.SMALL_BLOCK)
def view(runs: tuple[str, ...], output: Path, **options: Any) -> None:
    """Make an HTML page to step through one run, or two.

    The page is one file that fetches nothing: it opens from disk, in both themes, and a link to it can end in a step,
    run.html#step=40. The options are for algorithms, which are run now; of two, each takes those that it knows.
    """
    from ..player import page as pages

    if len(runs) > 2:
        raise ValueError(f"{len(runs)} runs were given: give one, or two to see them side by side")
    pages.check_path(output)
    fresh = [run for run in runs if run in algorithms.names()]
    traces = [sources.trace_of(run, _its_own(run, fresh, options), small=True) for run in runs]
    pages.write(output, *traces)
    what = "; ".join(f"{trace.meta['algorithm']} {steps(trace)}" for trace in traces)
    say(f"{output}   {size_of(output.stat().st_size)}   {what}")


def _its_own(run: str, fresh: list[str], options: dict[str, Any]) -> dict[str, Any]:
    """The options for one of the runs: without those that only the other takes; for a saved run, none."""
    from ..runs.arguments import takes

    if run not in fresh:
        return {} if fresh else options

    def none(name: str) -> bool:
        common = name in (*OF_ALL, "source", "head", "layout")
        return not common and not takes(run, name) and any(takes(other, name) for other in fresh)

    return {name: None if none(name) else value for name, value in options.items()}
