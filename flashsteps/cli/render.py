"""`flashsteps render`: a film, or one picture of it, to a file."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..files import whole
from ..units import size_of
from . import kernels
from . import options as take
from .options import option
from .program import Command, say

if TYPE_CHECKING:
    from ..filmkit.film import Film
    from ..filmkit.render import Progress

EXAMPLES = """\b
Examples:
  flashsteps render flash-forward -o flash-forward.gif
  flashsteps render flash2-forward -o talk.mp4 --theme light --code --captions
  flashsteps render standard -o poster.png --at 9.5 --size 1080x1080
  flashsteps render flash2-forward -o mine.webm --input head.safetensors --head 0,3 --mask causal
"""

Made = list[tuple[Path, str]]

#: options that say how a new run goes, and have nothing to say of a saved one
OF_A_RUN = ("block_q", "block_k", "mask", "dtype", "sram")


def _duration() -> str:
    from ..filmkit import film, timeline

    return f"Its length, {timeline.SHORTEST:g} to {timeline.LONGEST:g} s  [default: {film.DEFAULT_DURATION:g}]"


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("name", metavar="FILM", type=take.FILM, help="Which film (`flashsteps list films`).")
@take.output("FILE", "Where to: .gif, .mp4, .webm or .webp for a film, .png for one picture of it.")
@take.input_options
@take.block_options("a quarter of them, at least 2")
@option(
    "--trace", type=click.Path(path_type=Path), metavar="RUN.npz", help="Draw this saved run, instead of a new one."
)
@option("--device", type=take.DEVICE, help=f"The GPU that the panels name  {take.DEVICE_DEFAULT}")
@option("--sram", type=take.BYTES, help="The toy's SRAM, in which the run has to fit  [default: what it takes]")
@option("--theme", "theme_name", type=take.THEME, help=f"Its colours  {take.THEME_DEFAULT}")
@option("--preset", type=take.PRESET, help="Its size and frame rate  [default: by the file's ending]")
@option("--size", type=take.SIZE, help="Its width and height in pixels: wide, square or tall, whatever the preset.")
@option("--fps", type=take.NUMBER, help="Its frames a second, whatever the preset.")
@option("--duration", type=take.SECONDS, help=_duration)
@option("--code", is_flag=True, help="Show the algorithm's code, and which line runs.")
@option("--kernel", is_flag=True, help="Draw the run of the Triton kernel, in its interpreter (Linux).")
@option("--at", type=take.MOMENT, help="Which moment a .png shows  [default: last]")
@option("--captions", is_flag=True, help="Write what is said to a .vtt file beside the film (WebVTT).")
@option("-q", "--quiet", is_flag=True, help="Show no progress, and print nothing.")
def render(
    name: str,
    output: Path,
    source: str,
    head: tuple[int, ...] | None,
    trace: Path | None,
    kernel: bool,
    preset: str | None,
    size: tuple[int, int] | None,
    fps: int | None,
    at: float | None,
    captions: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Render a film, or one picture of it, to a file.

    The file's ending says as what. It appears whole or not at all, and the same command gives the same bytes.
    """
    from ..filmkit import encode, film
    from ..filmkit import render as renderer
    from ..inputs import qkv as inputs
    from ..trace import npz as trace_file

    still = encode.check_path(output).suffix.lower() == ".png"
    if still and (fps or captions):
        raise ValueError(f"'{output}' is a picture, and {'--fps' if fps else '--captions'} is for films: leave it out")
    if not still and at is not None:
        raise ValueError(f"'{output}' is a film, and --at is for pictures: leave it out, or write a .png")
    shape = renderer.PRESETS[preset or renderer.preset_for(output)]
    width, height = size or (shape.width, shape.height)
    rate = fps or shape.fps
    encode.check_size(output, (width, height))
    encode.check_fps(output, rate)
    looks = take.given(options)
    how = {option: looks.pop(option) for option in OF_A_RUN if option in looks}
    if trace:
        _refuse_inputs(trace)
        run = trace_file.load(trace)
    else:
        run = film.run_of(name, inputs.load_qkv(source, head), **how)
    if kernel:
        run = kernels.twin(run)
    shown = film.film_of(name, run, width=width, height=height, **looks)
    made = _still(shown, output, rate, at) if still else _film(shown, output, rate, captions, quiet)
    for path, what in () if quiet else made:
        say(f"{path}   {size_of(path.stat().st_size)}   {what}")


def _refuse_inputs(trace: Path) -> None:
    """Raises ValueError for an option that says what to run: a saved run no longer takes any."""
    ctx = click.get_current_context()
    for name in ("source", "head", *OF_A_RUN, "kernel"):
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            flag = next(param.opts[0] for param in ctx.command.params if param.name == name)
            raise ValueError(f"{str(trace)!r} is a saved run, and {flag} is for a new one: leave it out")


def _still(shown: Film, output: Path, fps: int, at: float | None) -> Made:
    """Write one picture; without `at`, or where that is infinite, the film's last."""
    from ..filmkit import render

    duration, last = shown.timeline.duration, (render.total(shown, fps) - 1) / fps
    t = last if at in (None, math.inf) else at
    if t is None or not 0 <= t <= duration:
        raise ValueError(f"--at {t:g} is outside the film: give 0 to {duration:g} seconds, or last")
    render.still(shown, output, t)
    return [(output, f"{_size(shown)}, at {t:.1f} s")]


def _film(shown: Film, output: Path, fps: int, captions: bool, quiet: bool) -> Made:
    """Write a film, and, with `captions`, what is said beside it: both or neither."""
    from ..filmkit import render

    text = output.with_suffix(".vtt")
    with whole(text) if captions else nullcontext() as aside, _bar(output.name, render.total(shown, fps), quiet) as bar:
        if aside:
            aside.write_text(render.captions(shown), encoding="utf-8", newline="\n")
        render.render(shown, output, fps=fps, progress=bar)
    made = [(output, f"{_size(shown)}, {shown.timeline.duration:.1f} s, {fps} fps")]
    return [*made, (text, "captions")] if captions else made


@contextmanager
def _bar(label: str, total: int, quiet: bool) -> Iterator[Progress]:
    """A progress bar, where standard error is a terminal: frames, and the time that is left."""
    hidden = quiet or not sys.stderr.isatty()
    with click.progressbar(length=total, label=label, show_pos=True, hidden=hidden, file=sys.stderr) as bar:

        def advance(done: int, total: int) -> None:
            if done == 1:  # this one took long, and says nothing of the others
                bar.start = bar.last_eta = time()
            bar.update(1)

        yield advance


def _size(shown: Film) -> str:
    return f"{shown.layout.width}×{shown.layout.height}"
