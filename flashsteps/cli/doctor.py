"""`flashsteps doctor`: what is installed, what is missing, what to type."""

from __future__ import annotations

import platform

import click

from .. import __version__
from .program import Command, say, table

EXAMPLES = """\b
Example:
  flashsteps doctor && echo films can be made here
"""


#: what each extra is for
FOR = {
    "": "nothing works without",
    "render": "for films (pycairo is compiled: that takes a C compiler and the headers of cairo and pango)",
    "slides": "for talks with manim-slides, a film's chapter a slide",
    "talk": "for `flashsteps talk -o talk.pptx`",
    "cluster": "for `--cluster`, films drawn by a Dask cluster",
    "inputs": "for bfloat16",
    "plot": "for `flashsteps io --plot` and `flashsteps bench --plot`",
    "notebook": "for `trace.show()` in a notebook",
    "terminal": "for `flashsteps step` on a terminal",
    "torch": "for .pt files",
    "models": "for `flashsteps capture`",
    "kernels": "for `flashsteps.kernels`, `flashsteps validate` and `flashsteps bench`",
}


@click.command(cls=Command, epilog=EXAMPLES)
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Say what is installed, what is missing and what to type.

    It also tries to make one small file of each kind. Exit code 0 if films can be made here, 1 if not.
    """
    from ..filmkit import doctor

    say(f"flashsteps {__version__}, Python {platform.python_version()}, {platform.platform()}")
    packages = doctor.packages()
    for line in table((p.name, p.version or "missing", p.wanted, f"[{p.extra}]" if p.extra else "") for p in packages):
        say(f"  {line}")
    for extra in dict.fromkeys(p.extra for p in packages if not p.version):
        missing = ", ".join(p.name for p in packages if p.extra == extra and not p.version)
        say(f"missing {missing}: {FOR.get(extra, extra)}: pip install 'flashsteps{f'[{extra}]' if extra else ''}'")
    failed = False
    for trial in doctor.trials():
        failed = failed or bool(trial.failure)
        say(f"{trial.ending}: {trial.failure or 'works'}")
    say("films cannot be made here" if failed else "films can be made here")
    ctx.exit(failed)
