"""`flashsteps explore`: a page in which a run can be changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..units import size_of
from . import options as take
from .program import Command, say

if TYPE_CHECKING:
    from ..inputs.layouts import Head

EXAMPLES = """\b
Examples:
  flashsteps explore -o explorer.html
  flashsteps explore -o mine.html --input heads.safetensors --head 3
"""


@click.command(cls=Command, epilog=EXAMPLES)
@take.output("FILE.html", "Where to; - is standard output.", ".html")
@take.input_options
def explore(output: Path, source: str, head: Head, layout: str | None) -> None:
    """Make an HTML page in which a run is changed by hand.

    Its blocks, mask, size, device and input. The page is one file that fetches nothing. It performs the runs itself,
    up to 64 tokens with their numbers, counts any size up to a million, and holds itself against a run that Python
    recorded. Whatever it shows, a link to it has.
    """
    from ..explorer import page
    from ..inputs.qkv import load_qkv

    page.path_of(output)
    qkv = load_qkv(source, head, layout)
    page.write(output, None if source == "sample" else qkv)
    say(f"{output}   {size_of(output.stat().st_size)}")
