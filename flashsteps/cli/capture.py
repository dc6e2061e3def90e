"""`flashsteps capture`: the attention of a transformers model on a text: listed, shown as maps, or kept in a file."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..units import size_of
from . import options as take
from .options import option
from .program import Command, say

if TYPE_CHECKING:
    from ..models.calls import Call, Calls

EXAMPLES = """\b
Examples:
  flashsteps capture ./gpt2
  flashsteps capture ./gpt2 --plot
  flashsteps capture ./gpt2 --text "It was too tired." --layer 3 --head 1 -o head.npz
  flashsteps view flash2-forward --input head.npz -o head.html
"""


def _text() -> str:
    from ..inputs.qkv import SAMPLE_SOURCE

    return f"What it reads  [default: {SAMPLE_SOURCE['sentence']}]"


def _ending(params: Mapping[str, Any]) -> str:
    return ".png" if params["plot"] else ".npz"


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("model", metavar="MODEL", help="A folder of transformers', or a name in its local cache.")
@option("--text", help=_text)
@option("--target", metavar="TEXT", help="What a decoder beside an encoder is given  [default: the same]")
@option("--layer", type=take.INDEX, help="Which call of attention, from 0, in the order in which they are made.")
@option("--head", type=take.INDEX, help="Which of its heads, from 0  [default: all]")
@take.output("FILE", "Where to: .npz or .safetensors, and .png or .svg with --plot; - is standard output.", _ending,
             required=False)  # fmt: skip
@option("--plot", is_flag=True, help="Show all heads as small maps: on the terminal, or in a file.")
@option("--theme", type=take.THEME, help=take.plot_theme_help)
def capture(
    model: str,
    text: str | None,
    target: str | None,
    layer: int | None,
    head: int | None,
    output: Path | None,
    plot: bool,
    theme: str | None,
) -> None:
    """Run a model: list its attention, show all heads, keep one.

    What is kept is q, k and v with their tokens, mask and scale, for --input of other commands and flashsteps.load_qkv.
    Nothing is fetched, no code of a model's own is run, and of weights only safetensors are read."""
    from ..inputs.qkv import SAMPLE_SOURCE

    _check(layer, head, output, plot, theme)
    calls = _calls(model, str(SAMPLE_SOURCE["sentence"]) if text is None else text, target, layer, head, output, plot)
    if plot:
        shown = [call for call in calls if call.kept]
        if output is None:
            from ..models import maps

            for line in maps.on_terminal(shown, shutil.get_terminal_size().columns):
                say(line)
            return
        from ..plots import heads_plot

        heads_plot.plot(output, shown, Path(model).name, **take.given({"theme_name": theme}))
        heads = sum(call.heads for call in shown)
        say(f"{output}   {size_of(output.stat().st_size)}   {heads} heads")
    elif output is None:
        for line in calls.lines():
            say(line)
    else:
        assert layer is not None
        call = calls[layer]
        (call if head is None else call.head(head)).save(output)
        say(f"{output}   {size_of(output.stat().st_size)}   {_said(call, head)}")


def _check(layer: int | None, head: int | None, output: Path | None, plot: bool, theme: str | None) -> None:
    """Raises ValueError, before anything is loaded, for options that do not go together."""
    from ..files import check
    from ..models.saving import ENDINGS
    from ..plots.chart import ENDINGS as PICTURES

    if plot and head is not None:
        raise ValueError(f"--plot shows all heads, and --head {head} is one of them: leave one of the two out")
    if theme and not (plot and output):
        raise ValueError(f"--theme {theme} is for a plot in a file: give --plot and -o FILE.png, or leave it out")
    if output is None and not plot and (layer is not None or head is not None):
        given = "--layer" if layer is not None else "--head"
        raise ValueError(f"{given} says what to keep: give -o FILE.npz, too")
    if output is not None:
        check(output, PICTURES if plot else ENDINGS)
        if not plot and layer is None:
            raise ValueError(f"'{output}' is to hold the heads of one layer: give --layer (without -o all are listed)")


def _calls(
    name: str, text: str, target: str | None, layer: int | None, head: int | None, output: Path | None, plot: bool
) -> Calls:
    """What the model calls, with the tensors that are asked for."""
    from dataclasses import replace

    from ..models import pretrained
    from ..models.calls import Calls
    from ..models.capture import capture as watch

    loaded = pretrained.load(name)
    kept = layer if head is None else (layer, head)
    with watch("all" if plot and layer is None else kept if plot or output else None) as calls:
        tokens = loaded.run(text, target)
        if not calls and (plot or output):
            raise ValueError(f"{name!r}: {calls}")
        if layer is not None and layer >= len(calls):
            raise ValueError(
                f"--layer {layer}, but {name!r} has {len(calls)} calls of attention: give 0 to {len(calls) - 1}"
            )
    found = Calls()
    for call in calls:
        found.add(replace(call, tokens=tokens.of(call)))
    found.unseen = calls.unseen
    return found


def _said(call: Call, head: int | None) -> str:
    """What was kept, in a few words."""
    which = f"all {call.heads} heads" if head is None else f"head {head} of {call.heads}"
    rows = f"{call.queries}" if call.queries == call.keys else f"{call.queries}×{call.keys}"
    mask = "" if call.mask == "none" else f", {call.mask}"
    return f"{call.module}, {which}, {rows} tokens, d {call.d}{mask}"
