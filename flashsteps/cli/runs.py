"""The run that a command is about: a saved one, or an algorithm that is run now, with the options of `record`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from .. import algorithms
from ..errors import unknown
from .record import run_of

if TYPE_CHECKING:
    from ..trace.trace import Trace

#: what a saved run may be called
ENDINGS = (".npz", ".json")


class Run(click.ParamType[str]):
    """A saved run's path, or an algorithm's name."""

    name = "run"

    def get_metavar(self, param: click.Parameter, ctx: Any = None) -> str | None:
        return None

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        names = [CompletionItem(name) for name in algorithms.names() if incomplete and name.startswith(incomplete)]
        return names or [CompletionItem(incomplete, type="file")]


def run_argument(command: Any) -> Any:
    """RUN|ALGORITHM: what `trace_of` takes."""
    help = "What `flashsteps record` saved, or an algorithm to run (`flashsteps list algorithms`)."
    return click.argument("run", metavar="RUN|ALGORITHM", type=Run(), help=help)(command)


def trace_of(run: str, options: Mapping[str, Any], small: bool = False) -> Trace:
    """The run that was saved there, or that an algorithm of this name makes with these options.

    With `small`, blocks that were not given are those of a film, small enough to be looked at. Raises ValueError for
    what is neither, and for options with a saved run, which no longer takes any.
    """
    if run in algorithms.names() and not Path(run).is_file():
        return run_of(run, options, small)
    if not Path(run).exists() and Path(run).suffix not in ENDINGS:
        raise ValueError(f"{unknown('algorithm', run, algorithms.names())}; nor is there a file of that name")
    ctx = click.get_current_context()
    given = [param for param in ctx.command.params if param.name in options]
    given = [param for param in given if ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE]
    if given:
        raise ValueError(f"{run!r} is a saved run, and {given[0].opts[0]} is for an algorithm to run: leave it out")
    from ..trace import npz as trace_file

    return trace_file.load(run)
