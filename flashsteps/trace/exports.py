"""A trace for other programs: Perfetto's timeline, JSON for any language, a table of events as CSV."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .. import files
from ..errors import unknown
from ..machine.events import Event
from . import document as trace_json
from . import perfetto
from .trace import Trace


def export(
    trace: Trace, path: str | os.PathLike[str], *, to: str, device: str | None = None, values: bool = True
) -> None:
    """Write a trace to `path` for another program, whole or not at all.

    `to` is "perfetto" (a timeline with modelled times, those of `device`, the run's own or the default unless given),
    "json" (all of it, which `flashsteps.load` reads back; without `values`, no value of a step) or "csv" (a row for
    each event). Raises ValueError for what isn't known, what isn't for this kind, and a path that cannot be written.
    """
    check_export(path, to, device, values)
    with files.whole(path) as aside, aside.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in KINDS[to].lines(trace, device, values))


def check_export(path: str | os.PathLike[str], to: str, device: str | None = None, values: bool = True) -> Path:
    """The path, if a trace can be exported there like that. Raises ValueError as `export` does."""
    if to not in KINDS:
        raise ValueError(unknown("kind of export", to, KINDS))
    if device is not None and to != "perfetto":
        raise ValueError(f"device={device!r} is for perfetto, whose times are modelled: leave it out")
    if not values and to != "json":
        raise ValueError(f"{to} holds no values: values=False is for json, leave it out")
    return files.check(path, (KINDS[to].ending,))


def csv_lines(trace: Trace) -> Iterator[str]:
    """A header and a row for each event; a column for each loop, empty where the event is outside of it."""
    loops = list(dict.fromkeys(name for event in trace for name in event.loop))
    wide = any(event.tile and event.tile.columns for event in trace)
    fields = ("step", "op", "program", *(f"loop_{name}" for name in loops), "slot", "tensor", "start", "stop")
    yield _row(*fields, *("left", "right") * wide, "shape", "nbytes", "matmul", "exp", "other", "line", "row")
    for event in trace:
        yield _row(*_cells(event, loops, wide))


def _cells(event: Event, loops: list[str], wide: bool) -> Iterator[object]:
    """One row; where tiles have columns (`wide`), these too."""
    yield from (event.step, event.op, event.program)
    yield from (event.loop.get(name, "") for name in loops)
    yield event.slot
    yield from event.tile[:3] if event.tile else ("", "", "")
    yield from ((event.tile and event.tile.columns) or ("", "")) if wide else ()
    yield "x".join(map(str, event.shape))
    yield from (event.nbytes, *event.work, event.line, event.row)


def _row(*cells: object) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


class Kind(NamedTuple):
    """An exporter: the ending of its files, and the lines of one, of a trace, a device and whether values go along."""

    ending: str
    lines: Callable[[Trace, str | None, bool], Iterable[str]]


#: what there is to export to: one entry more is one exporter more
KINDS = {
    "perfetto": Kind(".json", lambda trace, device, _: perfetto.lines(trace, device)),
    "json": Kind(".json", lambda trace, _, values: trace_json.lines(trace, values)),
    "csv": Kind(".csv", lambda trace, *_: csv_lines(trace)),
}
