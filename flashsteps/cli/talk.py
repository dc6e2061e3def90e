"""`flashsteps talk`: the films in order, a chapter a click, as slides."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from ..units import size_of
from . import options as take
from .options import option
from .program import Command, say
from .progress import progress

EXAMPLES = """\b
Examples:
  flashsteps talk -o talk.html
  flashsteps talk -o talk.pptx --theme light
  flashsteps talk -o handout.pdf --films problem,flash-forward
  flashsteps talk -o mine.html --input head.safetensors --head 0,3 --rows 0:16 --by "Ada Lovelace"
"""


class Films(click.ParamType[tuple[str, ...]]):
    """Films with commas between them."""

    name = "FILM,…"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        from ..talk.make import check_films

        names = tuple(name.strip() for name in value.split(","))
        check_films(names)
        return names

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str | None:
        return self.name

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from ..filmkit import films

        before, comma, last = incomplete.rpartition(",")
        there = before.split(",")
        names = (name for name in films.names() if name not in there)
        return [CompletionItem(f"{before}{comma}{name}") for name in names if name.startswith(last)]


@click.command(cls=Command, epilog=EXAMPLES)
@take.output("FILE", "Where to: .html opens in any browser, .pptx in PowerPoint and Keynote, .pdf is to be read.", None)
@option("--films", type=Films(), help="Which films, in this order  [default: all, in the order of `flashsteps list`]")
@option("--title", metavar="TEXT", help="What the first slide says  [default: FlashAttention]")
@option("--by", metavar="TEXT", help="Who gives it, and where, on the first slide: 'Ada Lovelace, ICML 2026'.")
@take.film_options
@option("--theme", type=take.THEME, help=f"Its colours  {take.THEME_DEFAULT}")
@option("--preset", type=take.PRESET, help="Its size and frame rate  [default: talk]")
@option("--size", type=take.SIZE, help="Its width and height in pixels, whatever the preset.")
@option("--fps", type=take.NUMBER, help="Its frames a second, whatever the preset.")
@option("--cut", type=take.CUT, help="All of each film, or its short cut  [default: full]")
@take.work_options("it")
@option("-q", "--quiet", is_flag=True, help="Show no progress, and print nothing.")
def talk(
    output: Path,
    films: tuple[str, ...] | None,
    title: str | None,
    by: str | None,
    source: str,
    theme: str | None,
    preset: str | None,
    size: tuple[int, int] | None,
    fps: int | None,
    cut: str | None,
    jobs: int | None,
    cluster: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Make slides of the films: a chapter a click, with notes.

    They are of the bundled head, or of yours; each film takes the options that it has a use for, and one that none of
    them takes is refused.

    A click plays a chapter and stands at its end, the next goes on; what to say is in the notes. The page is one
    file that fetches nothing: arrows turn, O shows all, S opens the notes, R plays again, ? shows all keys, and
    talk.html?print-pdf can be printed. A .pptx needs pip install 'flashsteps[talk]'. The same command gives the same
    bytes.
    """
    from ..filmkit.presets import look_of
    from ..talk import make

    make.check_path(output)
    of_films = {"--fps": fps, "--jobs": jobs, "--cluster": cluster}
    if output.suffix.lower() == ".pdf" and (given := [option for option, value in of_films.items() if value]):
        raise ValueError(f"'{output}' has pages, and {given[0]} is for films: leave it out")
    if quiet:
        warnings.simplefilter("ignore")
    look = look_of(output, preset or make.PRESET, size, fps)
    of = {"title": title, "by": by, "input": None if source == "sample" else source}
    made, done = make.Talk(output, films, look, theme, cut, **of, **take.given(options)), 0
    with progress(output.name, made.steps, quiet) as bar:

        def told(more: int) -> None:
            nonlocal done
            done += more
            bar(done, made.steps)

        made.write(jobs, cluster, told)
    if not quiet:
        say(f"{output}   {size_of(output.stat().st_size)}   {made.slides} slides, {look.width}×{look.height}")
