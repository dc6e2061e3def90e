"""`flashsteps view`: one run, or two side by side, as an HTML page to step through."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import algorithms
from ..units import size_of
from . import options as take
from .program import Command, say
from .record import run_options
from .runs import Run, recorded

if TYPE_CHECKING:
    from ..trace import Trace

EXAMPLES = """\b
Examples:
  flashsteps view flash-forward -o run.html
  flashsteps view run.npz -o run.html
  flashsteps view flash-forward flash2-forward -o two.html --mask causal
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("runs", nargs=-1, required=True, type=Run(), metavar="RUN|ALGORITHM...",
                help="What `flashsteps record` saved, or what to run now; two of them stand side by side.")  # fmt: skip
@take.output("FILE.html", "Where to.")
@run_options("a quarter of them, at least 2")
def view(
    runs: tuple[str, ...], output: Path, source: str, head: tuple[int, ...] | None, do: str | None, **options: Any
) -> None:
    """Make an HTML page to step through a run, or through two.

    The page is one file that fetches nothing: it opens from disk, in both themes, and a link to it can end in a step,
    run.html#step=40. The options are for algorithms, which are run now; a saved run is as it was recorded.
    """
    from .. import view as pages

    if len(runs) > 2:
        raise ValueError(f"{len(runs)} runs were given: give one, or two to see them side by side")
    pages.check_path(output)
    for_runs = {"source": source if source != "sample" else None, "head": head, "do": do} | options
    given = {name: value for name, value in take.given(for_runs).items() if value is not False}
    fresh = [run for run in runs if run in algorithms.names()]
    if given and not fresh:
        name = next(iter(given)).replace("_", "-").replace("source", "input")
        raise ValueError(f"--{name} is for a run that is made now, and {runs[0]!r} is one already: leave it out")
    for name in set(given) - {"source", "head"}:
        _taken_by_one(name, fresh)
    traces = [_trace(run, source, head, do, options) for run in runs]
    pages.write(output, *traces)
    what = ", ".join(f"{trace.meta['algorithm']} {len(trace):,} steps" for trace in traces)
    say(f"{output}   {size_of(output.stat().st_size)}   {what}")


def _trace(given: str, source: str, head: tuple[int, ...] | None, do: str | None, options: dict[str, Any]) -> Trace:
    """The run that was saved, or a new one with those of the options that it takes."""
    from .. import arguments, trace_file

    if given not in algorithms.names():
        return trace_file.load(given)
    mine = {name: value for name, value in options.items() if value is None or _takes(given, name)}
    do = do if arguments.takes(given, "do") else None
    return recorded(given, small=True, source=source, head=head, do=do, **mine)


def _takes(algorithm: str, option: str) -> bool:
    from .. import arguments

    return option in ("all_heads", "dtype", "device", "sram") or arguments.takes(algorithm, option)


def _taken_by_one(option: str, runs: list[str]) -> None:
    """Raises ValueError for an option that none of these algorithms takes: nothing is accepted and ignored."""
    if not any(_takes(name, option) for name in runs):
        others = ", ".join(name for name in algorithms.names() if _takes(name, option))
        raise ValueError(f"{' and '.join(runs)} takes no {option}: leave it out, or use {others}")
