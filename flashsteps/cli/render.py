"""`flashsteps render`: a film, or one picture of it, to a file."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..files import whole
from ..filmkit.boxes import shape_of
from ..units import size_of
from . import options as take
from . import outputs
from .options import option
from .program import Command, say
from .progress import progress

if TYPE_CHECKING:
    from ..filmkit.presets import Preset
    from ..filmkit.reel import Reel

EXAMPLES = """\b
Examples:
  flashsteps render flash-forward -o flash-forward.gif
  flashsteps render flash-forward -o short.gif --cut short
  flashsteps render flash2-forward -o talk.mp4 --theme light --code --captions
  flashsteps render standard -o poster.png --at 9.5 --size 1080x1080
  flashsteps render split-kv-decode -o decode.gif --splits 2
  flashsteps render lecture -o lecture.mp4 --preset talk
  flashsteps render lecture -o mine.mp4 --input head.safetensors --rows 0:16 --mask causal
  flashsteps render lecture -o lecture.mp4 --preset 4k --cluster tcp://host:8786
  flashsteps render flash2-forward -o mine.webm --input head.safetensors --head 0,3 --mask causal
"""

WHICH = "Which film (`flashsteps list films`); lecture is all; or an algorithm, for a film of its run."

Made = list[tuple[Path, str]]


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("name", metavar="FILM", type=take.SHOWN, help=WHICH)
@take.output(
    "FILE",
    "Where to: .gif, .mp4, .webm or .webp for a film; .png, .svg or .pdf for one picture of it; - is standard output.",
    lambda params: _ending(params),
)
@option("--format", "form", type=take.FORMAT, help="What -o - is: gif, mp4 … as the ending of a file would say.")
@take.film_options
@take.change_options
@option(
    "--trace", type=click.Path(path_type=Path), metavar="RUN.npz", help="Draw this saved run, instead of a new one."
)
@option("--theme", type=take.THEME, help=f"Its colours  {take.THEME_DEFAULT}")
@option("--preset", type=take.PRESET, help="Its size and frame rate  [default: by the file's ending]")
@option("--size", type=take.SIZE, help="Its width and height in pixels: wide, square or tall, whatever the preset.")
@option("--fps", type=take.NUMBER, help="Its frames a second, whatever the preset.")
@option("--cut", type=take.CUT, help="All of it, or its short cut  [default: full]")
@option("--duration", type=take.SECONDS, help="Its length, all of it faster or slower  [default: what reading takes]")
@option("--code", is_flag=True, help="Show the algorithm's code, and which line runs.")
@option("--kernel", is_flag=True, help="Draw the run of the Triton kernel, in its interpreter (Linux).")
@option("--at", type=take.MOMENT, help="Which moment a picture shows  [default: last]")
@option("--loop", type=take.LOOPS, help="How often a .gif or .webp is played: 1 is once  [default: for ever]")
@option("--transparent", is_flag=True, help="Draw no ground, in a .webm, .webp, .png, .svg or .pdf.")
@option("--captions", is_flag=True, help="Write what is said to a .vtt file beside the film (WebVTT).")
@take.work_options("it")
@option("-q", "--quiet", is_flag=True, help="Show no progress, and print nothing.")
def render(
    name: str,
    output: Path,
    form: str | None,
    source: str,
    preset: str | None,
    size: tuple[int, int] | None,
    fps: int | None,
    at: float | None,
    loop: int | None,
    transparent: bool,
    captions: bool,
    jobs: int | None,
    cluster: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Render a film, or one picture of it, to a file.

    The file's ending says as what. It appears whole or not at all, and the same command gives the same bytes.
    """
    from ..filmkit import formats, reel
    from ..filmkit.presets import look_of

    still = formats.is_still(formats.check_path(output))
    if form and output.suffix.lower() != f".{form}":
        raise ValueError(f"'{output}' is no {form}: leave --format out, which is for -o -")
    of_films = {"--fps": fps, "--captions": captions, "--jobs": jobs, "--cluster": cluster, "--loop": loop}
    if still and (given := [option for option, value in of_films.items() if value]):
        raise ValueError(f"'{output}' is a picture, and {given[0]} is for films: leave it out")
    if not still and at is not None:
        raise ValueError(f"'{output}' is a film, and --at is for pictures: leave it out, or write a .png")
    if captions and outputs.to_standard_output():
        raise ValueError("--captions are a second file, and there is one standard output: name a file with -o")
    looks = look_of(output, preset, size, fps)
    if still:
        formats.check_size(output, looks[:2])
    else:
        formats.check_film(output, looks[:2], looks.fps, loop or 0, transparent)
    if quiet:
        warnings.simplefilter("ignore")
    shown = reel.film(name, input=None if source == "sample" else source, **take.given(options))
    if still:
        made = _still(shown, output, looks, at, transparent)
    else:
        how = {"loop": loop or 0, "transparent": transparent, "jobs": jobs, "cluster": cluster}
        made = _film(shown, output, looks, captions, quiet, **how)
    for path, what in () if quiet else made:
        say(f"{path}   {size_of(path.stat().st_size)}   {what}")


def _ending(params: Mapping[str, Any]) -> str:
    """Of what goes to standard output."""
    if not params["form"]:
        raise ValueError("-o - has no ending to say what to make: add --format gif, mp4, webm, webp, png, svg or pdf")
    return f".{params['form']}"


def _still(shown: Reel, output: Path, looks: Preset, at: float | None, transparent: bool) -> Made:
    """Write one picture; without `at`, or where that is infinite, the film's last."""
    width, height, fps = looks
    duration = shown.script(shape_of(width, height)).duration
    t = (round(duration * fps) - 1) / fps if at in (None, math.inf) else at
    if t is None or not 0 <= t <= duration:
        raise ValueError(f"--at {t:g} is outside the film: give 0 to {duration:g} seconds, or last")
    shown.still(output, t, width=width, height=height, transparent=transparent)
    return [(output, f"{width}×{height}, at {t:.1f} s")]


def _film(shown: Reel, output: Path, looks: Preset, captions: bool, quiet: bool, **how: Any) -> Made:
    """Write a film, and, with `captions`, what is said beside it: both or neither."""
    width, height, fps = looks
    script, text = shown.script(shape_of(width, height)), output.with_suffix(".vtt")
    with (
        whole(text) if captions else nullcontext() as aside,
        progress(output.name, round(script.duration * fps), quiet) as bar,
    ):
        if aside:
            aside.write_text(script.vtt(), encoding="utf-8", newline="\n")
        shown.render(output, size=(width, height), fps=fps, progress=bar, **how)
    made = [(output, f"{width}×{height}, {script.duration:.1f} s, {fps} fps")]
    return [*made, (text, "captions")] if captions else made
