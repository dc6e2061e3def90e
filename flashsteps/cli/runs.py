"""The run that a command is about: a saved one, or an algorithm that is run now, with the options of `record`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from .. import algorithms
from ..errors import unknown
from . import options as take
from .options import option

if TYPE_CHECKING:
    from ..trace import Trace

DO = "an .npy file, or random[:SEED], standard normal numbers  [default: random]"

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


def record_options(command: Any) -> Any:
    """How an algorithm is run: on what, in which blocks, under which mask, within which memory."""
    adds: tuple[Callable[[Any], Any], ...] = (
        take.input_options,
        take.block_options("{run.BLOCK}, cut to their number"),
        option("--scale", type=take.REAL, help="What QKᵀ is multiplied by  [default: 1/√d]"),
        take.change_options,
        option(
            "--seed", type=take.INTEGER, help="What decides which weights are dropped, or where pages lie  [default: 0]"
        ),
        option("--do", type=take.Source(), metavar="SOURCE", help=f"For a backward pass, dO: {DO}"),
        take.capacity_options,
    )
    for add in reversed(adds):
        command = add(command)
    return command


def recorded(algorithm: str, *, source: str, head: tuple[int, ...] | None, do: str | None, **options: Any) -> Trace:
    """The run of an algorithm with the options of `record_options`. Raises ValueError as `flashsteps.record` does."""
    from .. import inputs, run

    qkv = inputs.load_qkv(source, head)
    gradient = _gradient(do or "random", qkv.q.shape) if do or run.takes(algorithm, "do") else None
    return run.record(algorithm, *qkv, do=gradient, tokens=qkv.tokens, source=qkv.source, **take.given(options))


def trace_of(run: str, options: Mapping[str, Any]) -> Trace:
    """The run that was saved there, or that an algorithm of this name makes with these options.

    Raises ValueError for what is neither, and for options with a saved run, which no longer takes any.
    """
    if run in algorithms.names() and not Path(run).is_file():
        return recorded(run, **options)
    if not Path(run).exists() and Path(run).suffix not in ENDINGS:
        raise ValueError(f"{unknown('algorithm', run, algorithms.names())}; nor is there a file of that name")
    ctx = click.get_current_context()
    given = [param for param in ctx.command.params if param.name in options]
    given = [param for param in given if ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE]
    if given:
        raise ValueError(f"{run!r} is a saved run, and {given[0].opts[0]} is for an algorithm to run: leave it out")
    from .. import trace_file

    return trace_file.load(run)


def _gradient(given: str, shape: tuple[int, ...]) -> Any:
    """dO: from a file, or at random."""
    import numpy as np

    from ..masks import load_matrix

    found = re.fullmatch(r"random(?::(\d{1,18}))?", given, re.ASCII)
    if not found:
        return load_matrix(given)
    return np.random.default_rng(int(found[1] or 0)).standard_normal(shape, dtype=np.float32)
