"""`flashsteps step`: a run, step by step, in the terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import files
from ..units import size_of
from . import options as take
from . import runs
from .options import option
from .program import Command, say
from .record import run_options

if TYPE_CHECKING:
    from ..trace.trace import Trace

EXAMPLES = """\b
Examples:
  flashsteps step flash2-forward --block-q 4 --block-k 4 --mask causal
  flashsteps step run.npz --at 120 --theme light
  flashsteps step run.npz | grep store
  flashsteps step run.npz --at 120 -o step.svg
"""

#: a picture's signs across and lines, unless told otherwise
WIDTH, HEIGHT = 120, 36

#: the smallest terminal that there is room in
LEAST = (80, 24)


@click.command(cls=Command, epilog=EXAMPLES)
@runs.run_argument
@option("--at", type=take.INTEGER, help="The step to start at; -1 is before the first  [default: -1]")
@option("--theme", "theme_name", type=take.THEME, help=f"Its colours  {take.THEME_DEFAULT}")
@take.output("FILE.svg", "Draw one screen of it to a file; - is standard output.", ".svg", required=False)
@option("--size", type=take.SIZE, help=f"How many signs and lines that screen has  [default: {WIDTH}x{HEIGHT}]")
@run_options(take.SMALL_BLOCK)
def step(
    run: str,
    at: int | None,
    theme_name: str | None,
    output: Path | None,
    size: tuple[int, int] | None,
    **options: Any,
) -> None:
    """Step through a run in the terminal, forwards and back.

    What is in HBM and on chip, the line that runs and what moved stand side by side; go to the next load, store,
    program or tile, choose a tile in the map; ? shows all keys. Where the output is no terminal, or a dumb one, the
    steps are printed as lines."""
    from .. import theme

    if output is None and size is not None:
        raise ValueError("--size is for a picture: leave it out, or name a file with -o")
    if size is not None and (size[0] < LEAST[0] or size[1] < LEAST[1]):
        raise ValueError(f"--size {size[0]}x{size[1]} is too small for it: give {LEAST[0]}x{LEAST[1]} or more")
    if output is not None:
        files.check(output, (".svg",))
    trace = runs.trace_of(run, options, small=True)
    start = -1 if at is None else at
    if not -1 <= start < len(trace):
        raise ValueError(f"--at {start} is outside this run: give 0 to {len(trace) - 1}, or -1 for its start")
    if output is None and not (sys.stdout.isatty() and sys.stdin.isatty() and os.environ.get("TERM") != "dumb"):
        if theme_name:
            raise ValueError(f"--theme {theme_name} is for a screen: leave it out where steps are printed as lines")
        return _lines(trace, max(0, start))
    try:
        from ..terminal import app, picture
    except ImportError as error:
        missing = (error.name or "textual").partition(".")[0]
        raise ValueError(f"stepping in a terminal needs {missing}: pip install 'flashsteps[terminal]'") from None
    look = theme_name or theme.DEFAULT
    if output is None:
        stepper = app.StepApp(trace, theme=look, at=start)
        stepper.run()
        click.get_current_context().exit(stepper.return_code or 0)
    width, height = size or (WIDTH, HEIGHT)
    with files.whole(output) as aside:
        aside.write_text(picture.svg(trace, width, height, theme=look, at=start), encoding="utf-8", newline="\n")
    say(f"{output}   {size_of(output.stat().st_size)}   step {start}, {width}×{height}")


def _lines(trace: Trace, start: int) -> None:
    """Each step as a line, from one on."""
    from ..runs.stepper import lines

    for line in lines(trace, start):
        say(line)
