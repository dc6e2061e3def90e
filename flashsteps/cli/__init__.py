"""The command line: thin, parse, call, print. Commands import what they need when they run."""

from __future__ import annotations

import click

from .. import __version__
from .bench import bench
from .blocks import blocks
from .capture import capture
from .completion import completion
from .count import count
from .doctor import doctor
from .embed import embed
from .explore import explore
from .export import export, schema
from .gallery import gallery
from .io import io
from .list import list_
from .program import Program
from .record import record
from .render import render
from .show import show
from .step import step
from .talk import talk
from .validate import validate
from .view import view

EXAMPLES = """\b
Examples:
  flashsteps render flash-forward -o flash-forward.gif
  flashsteps talk -o talk.html
  flashsteps list films
  flashsteps capture ./gpt2 --layer 3 --head 1 -o head.npz
  flashsteps record flash2-forward -o run.npz --block-q 4 --block-k 4
  flashsteps show run.npz --step 12
  flashsteps step run.npz
  flashsteps export run.npz --to perfetto -o run.json
  flashsteps view flash-forward -o run.html
  flashsteps explore -o explorer.html
  flashsteps count flash2-forward --n 1M --d 128
  flashsteps io --n 1K,1M --device h100
  flashsteps validate
"""


@click.group("flashsteps", cls=Program, epilog=EXAMPLES, invoke_without_command=True,
             context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})  # fmt: skip
@click.version_option(__version__, message="flashsteps %(version)s", help="Say which version this is.")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Films of attention, tile by tile, drawn from a recording of every byte that moves between HBM and SRAM."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for _command in (
    render, talk, gallery, list_, capture, record, show, view, explore, embed, step, export, schema, count, io, blocks,
    validate, bench, doctor, completion,
):  # fmt: skip
    main.add_command(_command)
