"""`flashsteps embed`: the lines that put a film, or a part of the explorer, into a page of yours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from . import options as take
from .options import option
from .program import Command, say

EXAMPLES = """\b
Examples:
  flashsteps embed flash-forward
  flashsteps embed race --cut full --for rst --folder https://example.org/films
  flashsteps embed --explore
  flashsteps embed --explore --part chart --at "a=flash2&bq=8&n=64&in=0" --src /static/explorer.html
"""

#: the parts of the explorer that can stand in a frame alone
PARTS = ("map", "sram", "story", "chart")

#: which options are for what
OF_A_FILM, OF_THE_EXPLORER = ("form", "cut", "folder", "width"), ("part", "state", "src")


def _forms() -> Sequence[str]:
    from ..filmkit.embedding import FORMS

    return tuple(FORMS)


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("name", metavar="[FILM]", type=take.FILM, required=False, help="Which film (`flashsteps list films`).")
@option("--for", "form", type=take.Name("form", _forms),
        help="html, markdown, rst (GitHub, PyPI), sphinx, reveal or jekyll  [default: html]")  # fmt: skip
@option("--cut", type=take.CUT, help="All of it, or its short cut  [default: short]")
@option("--folder", metavar="PATH|URL", help="Where the gallery lies  [default: renders]")
@option("--width", type=take.NUMBER, help="How wide, in px  [default: 800]")
@option("--explore", "explorer", is_flag=True, help="Of the explorer: its page, as `explore` writes it.")
@option("--part", type=click.Choice(PARTS), help="Which part of it stands in the frame  [default: map]")
@option("--at", "state", metavar="STATE", help="What a link to the state has after its #.")
@option("--src", metavar="URL", help="Where the page lies  [default: explorer.html]")
@click.pass_context
def embed(ctx: click.Context, /, name: str | None, explorer: bool, **options: Any) -> None:
    """Print the lines that put a film or the explorer into a page.

    A film is one of the gallery (`flashsteps gallery`): dark or light as the reader has it, a still for who wants no
    motion, and words for who does not see it, from its run. Of the explorer, the first line is a web component, once a
    page; the second a place for it, as wide as its place and as high as it needs to be."""
    if (name is None) == (not explorer):
        raise ValueError("embed puts a film or the explorer somewhere: give a film's name, or --explore")
    wrong = OF_A_FILM if explorer else OF_THE_EXPLORER
    flags = {param.name: param.opts[-1] for param in ctx.command.params if param.name}
    if given := [flags[one] for one in wrong if options[one] is not None]:
        raise ValueError(f"{given[0]} is not for {'--explore' if explorer else 'a film'}: leave it out")
    chosen = {key: value for key, value in options.items() if value is not None}
    for line in _explorer(**chosen) if explorer else _film(str(name), **chosen):
        say(line)


def _film(name: str, **chosen: Any) -> list[str]:
    from ..filmkit import embedding

    return embedding.lines(name, **chosen)


def _explorer(part: str = "map", state: str = "", src: str = "explorer.html") -> list[str]:
    from ..explorer import component

    return component.lines(part, state, src)
