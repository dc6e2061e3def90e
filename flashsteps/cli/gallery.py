"""`flashsteps gallery`: every film in a folder, for READMEs and slides; and which of them are out of date."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..units import size_of
from . import options as take
from .options import option
from .program import Command, say

EXAMPLES = """\b
Examples:
  flashsteps gallery
  flashsteps gallery site/films --films race,causal
  flashsteps gallery --check
  flashsteps gallery --cluster tcp://host:8786
"""

NAMES = take.Text("FILM,…", lambda text: tuple(dict.fromkeys(map(str.strip, text.split(",")))), "give films' names")


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default="renders",
                help="Where to  [default: renders]")  # fmt: skip
@option("--films", "names", type=NAMES, help="Only these  [default: all]")
@option("--check", is_flag=True, help="Write nothing: say what is out of date; exit code 1 if anything is.")
@take.work_options("them")
@click.pass_context
def gallery(
    ctx: click.Context,
    folder: Path,
    names: tuple[str, ...] | None,
    check: bool,
    jobs: int | None,
    cluster: str | None,
) -> None:
    """Make every film, whole and short, in both themes.

    As GIF at the readme preset, with a still and captions, in FOLDER (renders unless named); README.md there gets a
    list of them, gallery.json says how each was made and what it shows. Only what is out of date is made anew.
    """
    from ..filmkit import gallery as films
    from ..filmkit.reel import drawing

    drawing()
    some = films.pieces(names or ())
    if check:
        late = [f"{piece.stem}.gif: {why}" for piece, why in films.out_of_date(folder, some, jobs, cluster)]
        late += [f"{name}: there is no such film any more" for name in films.strangers(folder)]
        for line in late or [f"{len(some)} films are what they would be if they were made now"]:
            say(line)
        if late:
            say(f"{len(late)} of {len(some)} are out of date: make them by `flashsteps gallery {folder}`")
        ctx.exit(1 if late else 0)
    with click.progressbar(length=1, label=str(folder), hidden=not sys.stderr.isatty(), file=sys.stderr) as bar:

        def began(frames: int) -> None:
            bar.length = max(1, frames)

        made = films.make(folder, some, jobs=jobs, cluster=cluster, began=began, progress=bar.update)
    for piece in made:
        size = sum((folder / name).stat().st_size for name in piece.names)
        say(f"{folder / piece.stem}.gif   {size_of(size)} with what is beside it")
    total = sum(entry["bytes"] for entry in films.manifest(folder).values())
    say(f"{len(made)} of {len(some)} films were made anew; {size_of(total)} in all")
