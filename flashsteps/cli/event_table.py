"""Events as a table in colour, for a terminal: what is read by people, not by programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..theme import hue
from .program import printable

if TYPE_CHECKING:
    from ..machine.events import Event
    from ..trace.trace import Trace

#: the hues in the colours of a terminal, which fit its ground
HUES = {"Q": "cyan", "K": "yellow", "V": "green", "O": "magenta", "S": "bright_blue", "stat": ""}
OPS = {"load": "→", "store": "←", "compute": "•", "skip": "╱"}


def show(trace: Trace, events: Sequence[Event], file: TextIO | None = None, width: int | None = None) -> None:
    """Print events to a terminal, a row for each."""
    console = Console(file=file or sys.stdout, width=width, highlight=False, markup=False, emoji=False)
    loops = list(dict.fromkeys(name for event in trace for name in event.loop))
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("step", "program", *loops):
        table.add_column(Text(printable(name)), justify="right")
    table.add_column("")
    table.add_column("what")
    for name in ("shape", "bytes", "FLOPs", "line"):
        table.add_column(name, justify="right")
    for event in events:
        table.add_row(*map(Text, _where(event, loops)), *_what(event), *map(Text, _amounts(event)))
    console.print(table)


def _where(event: Event, loops: Sequence[str]) -> list[str]:
    return [str(event.step), str(event.program), *(str(event.loop.get(name, "")) for name in loops)]


def _what(event: Event) -> tuple[Text, Text]:
    """The kind of step, and the tile and slot that it is about, in their hue."""
    words = str(event.tile or event.slot)
    if event.op == "load":
        words += f" → {event.slot}"
    elif event.op == "store" and event.slot:
        words = f"{event.slot} → {words}"
    style = HUES[hue(event.tile.tensor if event.tile else event.slot)]
    return Text(f"{OPS.get(event.op, ' ')} {event.op}", "dim" if event.op == "skip" else ""), Text(
        printable(words), style
    )


def _amounts(event: Event) -> list[str]:
    shape = "×".join(map(str, event.shape))
    return [
        shape,
        f"{event.nbytes:,}" if event.nbytes else "",
        f"{event.flops:,}" if event.flops else "",
        str(event.line),
    ]
