"""`flashsteps bench`: how fast attention is on this machine, as a table, a file of results and plots."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..units import size_of
from . import bench_tables as tables
from . import options as take
from .options import option
from .outputs import Output
from .program import Command, Stopped, say

if TYPE_CHECKING:
    from ..results import Results

EXAMPLES = """\b
Examples:
  flashsteps bench
  flashsteps bench --n 4K,16K --d 128 --causal --plot speed.svg
  flashsteps bench --backends flash,standard --passes forward --json
  flashsteps bench --train --plot train.svg
  flashsteps bench --from results.json --plot speed.svg --theme dark
  flashsteps bench --on-gpu results

\b
`make bench` is something else: how fast films are drawn and runs recorded.
"""

#: minutes that a run may take, unless others are given
MINUTES = 8.0

DRAWN, SAVED, RUN = {"plot", "theme_name"}, {"output", "as_json"}, {"minutes", "quick"}

#: what can be done, and the options that are for it
TAKES = {
    "speed": {"passes", "sizes", "dims", "causal", "full", "names", "dtype"} | DRAWN | SAVED | RUN,
    "tune": {"dims", "causal", "full", "dtype"} | SAVED | RUN,
    "train": {"sizes", "steps"} | DRAWN | SAVED | RUN,
    "folder": RUN | {"stages"},
    "source": DRAWN | SAVED,
}


def _several(one: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    return lambda text: tuple(dict.fromkeys(one(part) for part in text.split(",")))


SIZES = take.Text("N,…", _several(take.TOKENS.read), "give how many, one or several: 4096, or 1K,8K (1K is 1,024)")
DIMS = take.Text("D,…", _several(take.NUMBER.read), "give sizes of a head: 64, or 64,128")
NAMES = take.Text("NAME,…", _several(str.strip), "give names with commas between them")
MINUTES_TYPE = take.Text("MINUTES", lambda text: _minutes(text), "give minutes above 0, such as 8 or 0.5")


def _minutes(text: str) -> float:
    minutes: float = take.REAL.read(text)
    if minutes <= 0:
        raise ValueError
    return minutes


def _output() -> str:
    from ..results import FOLDER

    return f"The .json file for the results  [default: by the machine's name, in {FOLDER}]"


@click.command(cls=Command, epilog=EXAMPLES)
@option("--tune", is_flag=True, help="On a GPU: time the kernels' candidate tiles, and keep the best.")
@option("--train", is_flag=True, help="Train a small GPT with standard attention, torch's and, on a GPU, ours.")
@option(
    "--on-gpu",
    "folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Check, tune, measure and train, what matters most first, each line kept as it comes; then one tar.",
)
@option("--stages", type=NAMES, help="For --on-gpu: only these, such as calls,duel,table  [default: all]")
@option(
    "--from", "source", type=click.Path(path_type=Path), metavar="FILE", help="Show or draw results measured before."
)
@option("--passes", type=NAMES, help="forward, backward, or both with a comma  [default: both]")
@option("--n", "sizes", type=SIZES, help="How many tokens in a sequence  [default: 512 … 32K, on a CPU 256 … 2K]")
@option("--d", "dims", type=DIMS, help="The size of a head  [default: 64,128, on a CPU 64]")
@option("--causal", is_flag=True, help="Measure with a causal mask alone  [default: with and without]")
@option("--full", is_flag=True, help="Measure without a mask alone.")
@option("--backends", "names", type=NAMES, help="Which, such as flashsteps,flash,cudnn  [default: all]")
@option("--dtype", metavar="DTYPE", help="bfloat16, float16 or float32  [default: bfloat16, on a CPU float32]")
@option("--steps", type=take.NUMBER, help="For --train: how many steps  [default: 150, on a CPU 60]")
@option("--minutes", type=MINUTES_TYPE, help=f"What it may take: what is left then is left out  [default: {MINUTES:g}]")
@option("--quick", is_flag=True, help="Few sizes, few runs: only to see that all works.")
@option("-o", "--output", type=Output(".json"), metavar="FILE",
        help=_output)  # fmt: skip
@option("--json", "as_json", is_flag=True, help="Print the results as JSON; a file is written with -o alone.")
@option("--plot", type=Output(), metavar="FILE",
        help="Draw speed, and memory to FILE-memory, or the training: .svg or .png.")  # fmt: skip
@option("--theme", "theme_name", type=take.THEME, help=take.plot_theme_help)
@click.pass_context
def bench(ctx: click.Context, /, tune: bool, train: bool, folder: Path | None, source: Path | None, output: Path | None,
          as_json: bool, plot: Path | None, theme_name: str | None, **options: Any) -> None:  # fmt: skip
    """Measure how fast attention is here.

    Speed and peak memory of this package's kernel beside torch's own, forward and backward, each checked before it is
    timed, on a GPU or on a CPU; or, with an option, how training goes. Results are saved after every step.
    """
    mode = _mode(ctx)
    _check_files(output, plot)
    if folder:
        on_gpu = _bench_module("on_gpu")
        begin, order = partial(on_gpu.command, quick=options["quick"]), on_gpu.chosen(options["stages"])
        seconds = 60 * (options["minutes"] or MINUTES)
        ctx.exit(on_gpu.run(folder, seconds, say=say, order=order, command=begin, rehearsed=options["quick"]))
    if source:
        from .. import results

        made = results.read(source)
        if as_json or not plot:
            _print(iter([made]), as_json)
        if output:
            results.write(output, made)
    else:
        made, output = _measured(_measuring(mode, options), output, as_json)
    made_files = [output] if output else []
    made_files += _plots(made, plot, theme_name) if plot else []
    for path in () if as_json else made_files:
        say(f"{path}   {size_of(path.stat().st_size)}")


# ---- what is asked for


def _mode(ctx: click.Context) -> str:
    """What is to be done. Raises ValueError for two things at once, and for options that are not for it."""
    given = {name for name, value in ctx.params.items() if value not in (None, False)}
    flags = {param.name: param.opts[-1] for param in ctx.command.params if param.name}
    modes = [name for name in TAKES if name in given]
    if len(modes) > 1:
        raise ValueError(f"{flags[modes[0]]} and {flags[modes[1]]} each say what to do: give one of them")
    mode = modes[0] if modes else "speed"
    if wrong := sorted(flags[name] for name in given - {mode} - TAKES[mode]):
        raise ValueError(f"{wrong[0]} is not for {flags.get(mode, 'measuring speed')}: leave it out")
    if {"causal", "full"} <= given:
        raise ValueError("--causal and --full each leave the other out: give one of them, or neither for both")
    if "theme_name" in given and "plot" not in given:
        raise ValueError(f"--theme {ctx.params['theme_name']} is for a plot: give --plot FILE too, or leave it out")
    return mode


def _check_files(output: Path | None, plot: Path | None) -> None:
    """Refuse files that cannot be written, before anything is measured. Raises ValueError."""
    from .. import files
    from ..plots import chart

    if output:
        files.check(output, [".json"])
    if plot:
        files.check(plot, chart.ENDINGS)


def _measuring(mode: str, options: dict[str, Any]) -> Iterator[Results]:
    """Results as they come. Raises ValueError for what won't do, and where torch is missing."""
    modes = _bench_module("modes")
    masks = {(True, False): (True,), (False, True): (False,)}.get((options.pop("causal"), options.pop("full")))
    asked = {"masks": masks, **options, "minutes": options["minutes"] or MINUTES}
    made: Iterator[Results] = getattr(modes, f"{mode}_results")(
        **{name: value for name, value in asked.items() if name in TAKES[mode] | {"masks"} and value is not None}
    )
    return made


def _bench_module(name: str) -> Any:
    """A module of the kernels' bench. Raises ValueError where torch or triton is missing."""
    try:
        return importlib.import_module(f"flashsteps.kernels.bench.{name}")
    except ModuleNotFoundError as missing:
        if missing.name not in ("torch", "triton"):
            raise
        raise ValueError(
            f"bench needs {missing.name}, and it is not installed: pip install 'flashsteps[kernels]'"
        ) from None


# ---- what comes of it


def _measured(coming: Iterator[Results], output: Path | None, as_json: bool) -> tuple[Results, Path | None]:
    """The last of the results, and the file that has them: it was written anew each time that there were more."""
    from .. import results

    made = next(coming)
    if not output and not as_json:
        output = results.default_path(made.kind, made.machine["name"])
        output.parent.mkdir(parents=True, exist_ok=True)
    try:
        made = _print(_saved(made, coming, output), as_json)
    except KeyboardInterrupt as stop:
        raise Stopped(f"{output} has what was measured until now" if output else "nothing was written", stop) from None
    return made, output


def _saved(first: Results, coming: Iterator[Results], output: Path | None) -> Iterator[Results]:
    from .. import results

    for made in chain([first], coming):
        if output:
            results.write(output, made)
        yield made


def _print(coming: Iterator[Results], as_json: bool) -> Results:
    """Print results as they come, as a table, or the last of them as JSON."""
    from .. import results

    said = 0
    for made in coming:
        for line in () if as_json else tables.more(made, said):
            say(line)
        said = len(made.rows)
    for line in results.text(made).splitlines() if as_json else tables.notes(made):
        say(line)
    return made


def _plots(made: Results, plot: Path, theme_name: str | None) -> list[Path]:
    """Draw what there is, and say where."""
    from ..plots import chart

    theme = theme_name or chart.THEME
    if made.kind == "train":
        from ..plots import train_plot

        train_plot.training(plot, made, theme)
        return [plot]
    if made.kind == "speed":
        from ..plots import speed_plot

        second = plot.with_name(f"{plot.stem}-memory{plot.suffix}")
        speed_plot.speed(plot, made, theme)
        speed_plot.memory(second, made, theme)
        return [plot, second]
    raise ValueError(f"there is no plot of results of the kind {made.kind}: leave --plot out")
