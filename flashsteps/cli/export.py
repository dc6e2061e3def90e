"""`flashsteps export` and `flashsteps schema`: a run for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ..units import size_of, time_of
from . import options as take
from . import runs
from .options import option
from .program import Command, say
from .record import run_options, steps

EXAMPLES = """\b
Examples:
  flashsteps export run.npz --to perfetto -o timeline.json
  flashsteps export flash2-forward --to json -o run.json --mask causal
  flashsteps export run.npz --to csv -o events.csv
"""


def _kinds() -> Any:
    from ..trace.exports import KINDS

    return KINDS


def _ending(params: dict[str, Any]) -> str:
    return str(_kinds()[params["to"]].ending)


@click.command(cls=Command, epilog=EXAMPLES)
@runs.run_argument
@option("--to", type=take.Name("kind of export", _kinds), required=True, help="For which program.")
@take.output(
    "FILE", "Where to: .json, or .csv for csv; - is standard output.", lambda params: _kinds()[params["to"]].ending
)
@option("--no-values", is_flag=True, help="Leave out what each step made or stored, in json.")
@run_options(take.run_blocks)
def export(run: str, to: str, output: Path, no_values: bool, device: str | None, **options: Any) -> None:
    """Write a run as a Perfetto timeline, JSON or CSV.

    perfetto opens in ui.perfetto.dev: a track for each program, with bytes and FLOPs as modelled time on --device; json
    holds all of the run, as `flashsteps schema` describes it; csv has a row for each event.
    """
    from ..trace import exports

    modelled = device if to == "perfetto" else None
    with _in_words_of_options():
        exports.check_export(output, to, None, not no_values)
    saved = to == "perfetto" and Path(run).is_file()  # then the device is not one to run on, only the model's
    trace = runs.trace_of(run, options if saved else options | {"device": device})
    with _in_words_of_options():
        exports.export(trace, output, to=to, device=modelled, values=not no_values)
    say(f"{output}   {size_of(output.stat().st_size)}   {steps(trace)}{_model(trace, to, modelled)}")


@contextmanager
def _in_words_of_options() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error).replace("values=False", "--no-values")) from None


def _model(trace: Any, to: str, device: str | None) -> str:
    """What is to be known of a timeline's times."""
    if to != "perfetto":
        return ""
    from ..machine import devices
    from ..trace import perfetto

    gpu = devices.device(device or trace.meta["device"] or devices.DEFAULT)
    starts, slower = perfetto.clock(trace, gpu)
    return f", {time_of(starts[-1] / slower / 1e6)} by the model, shown {slower:,} times slower"


SCHEMA_EXAMPLES = """\b
Example:
  flashsteps schema > run.schema.json
"""


@click.command(cls=Command, epilog=SCHEMA_EXAMPLES)
def schema() -> None:
    """Print the JSON Schema of exported runs."""
    from ..trace import document as trace_json

    click.echo(trace_json.schema(), nl=False)
