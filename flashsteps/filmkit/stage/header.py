"""The header: title, loops, which of them is where, and a rail with one tick for each inner tile."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from ...machine.events import Event
from ...theme import BODY, LABEL, TITLE
from ...units import rows_of
from ..film import Film
from ..layout import Box
from ..pen import Pen
from .moment import Moment
from .part import Part


def background(pen: Pen, film: Film) -> None:
    place = film.layout
    base = place.title.y + pen.px(50)
    title = f"{film.spec.title} in Triton" if "kernel" in film.trace.meta else film.spec.title
    x = place.title.x + pen.text(place.title.x, base, title, TITLE, weight=600)
    if place.canvas == "wide":
        pen.text(x + pen.px(32), base, film.spec.loops, LABEL, "dim", mono=True)


def _indices(film: Film) -> Part:
    """The indices of the running loops, top right."""
    place = film.layout
    box = Box(place.title.right - round(620 * place.unit), place.title.y, round(620 * place.unit), place.title.h)
    if place.canvas != "wide":
        box = Box(place.title.right - round(370 * place.unit), place.title.y, round(370 * place.unit), place.title.h)

    def draw(pen: Pen, m: Moment) -> None:
        size = BODY if place.canvas == "wide" else LABEL
        pen.figure(box.right, box.y + pen.px(50), running(m), size=size, align="right", room=box.w)

    return Part(box, running, draw)


def running(m: Moment) -> str:
    """What the header says of the moment: `j = 2  i = 1`, or the kernel and its rows."""
    film = m.film
    event = m.near[-1]
    if film.spec.kernels:
        rows = [e.tile for e in m.near if e.tile and e.tile.tensor not in "KV"]
        at = f", {rows_of(rows[-1].start, rows[-1].stop)}" if rows and film.layout.canvas == "wide" else ""
        return film.spec.kernels[event.program] + (at or _rows_of(m, event))
    loops = dict(event.loop)
    if film.lanes > 1:
        programs = [e.program for e in m.near]
        first = programs[0] // film.lanes * film.lanes
        last = min(first + film.lanes - 1, film.trace[-1].program)
        more = (
            f"programs {first}–{last}  "
            if film.trace[-1].program >= film.lanes and film.layout.canvas == "wide"
            else ""
        )
        inner = [f"{name} = {index}" for name, index in loops.items()][1:]
        return more + "  ".join(inner)
    return "  ".join(f"{name} = {index}" for name, index in loops.items())


def _rows_of(m: Moment, event: Event) -> str:
    if "i" not in event.loop or m.film.layout.canvas != "wide":
        return ""
    start = event.loop["i"] * m.film.trace.meta["block_q"]
    stop = min(start + m.film.trace.meta["block_q"], m.film.trace.meta["queries"])
    return f", {rows_of(start, stop)}"


def _rail(film: Film) -> Part:
    """One tick for each inner tile: done, now, ahead."""
    box, total = film.layout.rail, film.timeline.ticks

    def key(m: Moment) -> Hashable:
        return m.beat.ticks if m.beat else "done"

    def draw(pen: Pen, m: Moment) -> None:
        now = m.beat.ticks if m.beat else ()
        first = min(now) if now else total if m.beat is None else 0
        gap = pen.px(6) if box.w / total >= 4 * pen.px(6) else 0
        edges = [box.x + round(n * (box.w + gap) / total) for n in range(total + 1)]
        for n in range(total):
            color = "accent" if n in now else "ink" if n < first else "line"
            pen.fill(Box(edges[n], box.y, max(1, edges[n + 1] - edges[n] - gap), box.h), color, radius=3 if gap else 0)

    return Part(box, key, draw)


def parts(film: Film) -> Iterator[Part]:
    yield _indices(film)
    yield _rail(film)
