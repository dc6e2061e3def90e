"""`flashsteps explore`: a page in which a run can be changed; `flashsteps embed`: the lines that put it elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..units import size_of
from . import options as take
from .options import option
from .program import Command, say

if TYPE_CHECKING:
    from ..inputs.qkv import Head

EXAMPLES = """\b
Examples:
  flashsteps explore -o explorer.html
  flashsteps explore -o mine.html --input heads.safetensors --head 3
"""

EMBED_EXAMPLES = """\b
Examples:
  flashsteps embed --explore
  flashsteps embed --explore --part chart --at "a=flash2&bq=8&n=64" --src /static/explorer.html
"""

#: the parts that can stand in a frame alone
PARTS = ("map", "sram", "story", "chart")


@click.command(cls=Command, epilog=EXAMPLES)
@take.output("FILE.html", "Where to; - is standard output.", ".html")
@take.input_options
def explore(output: Path, source: str, head: Head) -> None:
    """Make an HTML page in which a run is changed by hand.

    Its blocks, mask, size, device and input. The page is one file that fetches nothing. It performs the runs itself,
    up to 64 tokens with their numbers, counts any size up to a million, and holds itself against a run that Python
    recorded. Whatever it shows, a link to it has.
    """
    from ..explorer import page
    from ..inputs.qkv import load_qkv

    page.path_of(output)
    page.write(output, None if source == "sample" else load_qkv(source, head))
    say(f"{output}   {size_of(output.stat().st_size)}")


@click.command(cls=Command, epilog=EMBED_EXAMPLES)
@option("--explore", "explorer", is_flag=True, required=True, help="Of the explorer: its page, as `explore` writes it.")
@option("--part", type=click.Choice(PARTS), default="map", help="Which part stands in the frame  [default: map]")
@option("--at", "state", default="", metavar="STATE", help="What a link to the state has after its #.")
@option("--src", default="explorer.html", metavar="URL", help="Where the page lies  [default: explorer.html]")
def embed(explorer: bool, part: str, state: str, src: str) -> None:
    """Print what puts a part of the explorer into a page of yours.

    The first is a web component, once a page; the second a place for it, as often as you like: it is as wide as its
    place, and as high as it needs to be."""
    from ..explorer import component

    for line in component.lines(part, state, src):
        say(line)
