"""A run at one step as a still of tables and text, for where no player can run: saved notebooks, nbconvert, GitHub.

No script, no style sheet, and all that comes from the trace is escaped. Colours and bars are inline styles; where these
are taken away, what is left are plain tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

import numpy as np

from .. import theme
from ..machine.events import IO
from ..story.captions import captions
from ..trace.rules import DEFAULT, Tally, rule
from ..trace.trace import Trace
from ..units import size_of

#: how many rows and columns of a slot are shown
MOST_ROWS, MOST_COLUMNS = 8, 8

_COLOURS = theme.THEMES["light"]._asdict()


def still(trace: Trace, step: int | None = None) -> str:
    """The run after `step` (its last unless given; −1: the start) as HTML: what moved so far, and what is on chip."""
    at = len(trace) - 1 if step is None else step
    where = f"step {at} of {len(trace) - 1}: {trace[at]}" if at >= 0 else "start"
    lines = [
        f"<b>{escape(trace.name)}</b> &middot; {escape(where)}",
        escape(captions(trace)[at + 1]),
        _traffic(_moved(trace, at), trace.io()),
        "".join(_slot(name, value) for name, value in _made(trace, at)),
        "<code>trace.show()</code> steps through it.",
    ]
    return "<div>" + "".join(f"<div>{line}</div>" for line in lines if line) + "</div>"


def _moved(trace: Trace, step: int) -> IO:
    tally = Tally(rule(DEFAULT, trace.meta["algorithm"]))
    for event in trace[: step + 1]:
        tally.step(event)
    return tally.io(trace.initial, trace.peak)


def _traffic(sofar: IO, whole: IO) -> str:
    """Bytes by tensor, so far, with a bar as long as they are of the run's whole."""
    rows = []
    for name, moved in sofar.by_tensor.items():
        width = 240 * (moved.read + moved.written) / max(1, whole.total)
        bar = f'<div style="width:{width:.0f}px;height:10px;background:{_COLOURS[theme.hue(name)]}"></div>'
        rows.append((escape(name), size_of(moved.read), size_of(moved.written), bar))
    rows.append(("in all", size_of(sofar.read), size_of(sofar.written), f"of {size_of(whole.total)}"))
    return _table(("tensor", "read", "written", ""), rows)


def _made(trace: Trace, step: int) -> Iterator[tuple[str, np.ndarray]]:
    """What the program at a step computed last, slot by slot, in the order of its making."""
    found: dict[str, np.ndarray] = {}
    if step < 0 or not trace.values:
        return
    for event in reversed(trace[: step + 1]):
        if event.program != trace[step].program:
            break
        value = trace.values[event.step]
        if event.op == "compute" and value is not None and event.slot not in found:
            found[event.slot] = value
    yield from ((name, found[name]) for name in reversed(found))


def _slot(name: str, value: np.ndarray) -> str:
    """A slot's numbers, as many as there is room for."""
    rows = value.reshape(len(value), -1)
    shown = [[f"{number:.2f}" for number in row[:MOST_COLUMNS]] for row in rows[:MOST_ROWS]]
    size = "×".join(map(str, value.shape))
    return (
        '<div style="display:inline-block;vertical-align:top;margin:4px 12px 4px 0">'
        f'<b style="color:{_COLOURS[theme.hue(name)]}">{escape(name)}</b> {size}{_table((), shown)}</div>'
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are HTML already."""
    heads = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{f'<thead><tr>{heads}</tr></thead>' if heads else ''}<tbody>{body}</tbody></table>"
