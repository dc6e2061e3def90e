"""The bus between HBM and SRAM: which way something crosses, and how many bytes."""

from __future__ import annotations

from collections.abc import Iterator

from ...theme import LABEL, SMALL
from ...units import size_of
from ..film import Film
from ..layout import Box
from ..pen import Pen
from .moment import Moment
from .part import Part


def crossing(m: Moment) -> tuple[str, int] | None:
    """What crosses now: "load" or "store", and how many bytes."""
    moving = [event for event in m.events if event.nbytes]
    if not moving or m.landed:
        return None
    return moving[0].op, sum(event.nbytes for event in moving)


def lane_ends(film: Film) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Where the bus meets HBM, and each lane."""
    bus = film.layout.bus
    return [((bus.x, bus.y + bus.h / 2), (bus.right, lane.panel.y + lane.panel.h / 2)) for lane in film.layout.lanes]


def _bus(pen: Pen, m: Moment) -> None:
    place = m.film.layout
    bus, now = place.bus, crossing(m)
    if place.sideways and len(place.lanes) == 1:
        top, bottom = bus.y + round(bus.h * 0.435), bus.y + round(bus.h * 0.652)
        for y in (top, bottom):
            pen.line([(bus.x, y), (bus.right, y)], "line")
        if now:
            left, right = bus.x + pen.px(12), bus.right - pen.px(12)
            ends = ((left, bottom + pen.px(30)), (right, bottom + pen.px(30)))
            pen.arrow(*(ends if now[0] == "load" else ends[::-1]), "ink")
            _bytes(pen, bus, top - pen.px(18), now[1])
    elif place.sideways:
        for (x0, y0), (x1, y1) in lane_ends(m.film):
            half = (x0 + x1) / 2
            pen.ctx.new_path()
            pen.ctx.move_to(x0 + pen.px(4), y0)
            pen.ctx.curve_to(half, y0, half, y1, x1 - pen.px(4), y1)
            pen.source("line")
            pen.ctx.set_line_width(pen.stroke_width(3))
            pen.ctx.stroke()
        if now:
            _bytes(pen, bus, bus.y + pen.px(60), now[1])
            y = bus.y + pen.px(92)
            ends = ((bus.x + pen.px(16), y), (bus.right - pen.px(16), y))
            pen.arrow(*(ends if now[0] == "load" else ends[::-1]), "ink")
    elif now:
        x, top, bottom = bus.x + bus.w * 0.62, bus.y + pen.px(8), bus.bottom - pen.px(8)
        pen.arrow(*(((x, top), (x, bottom)) if now[0] == "load" else ((x, bottom), (x, top))), "ink")
        pen.figure(x + pen.px(24), bus.y + bus.h / 2 + pen.px(10), size_of(now[1]))


def _bytes(pen: Pen, bus: Box, y: float, nbytes: int) -> None:
    """The bytes on the bus, in two lines where one would be too wide."""
    words = size_of(nbytes)
    if pen.figure_width(words) <= bus.w:
        pen.figure(bus.x + bus.w / 2, y, words, align="center")
        return
    value, unit = words.split(" ")
    size = LABEL if pen.figure_width(value) <= bus.w else SMALL
    pen.figure(bus.x + bus.w / 2, y - pen.px(32), value, align="center", size=size)
    pen.figure(bus.x + bus.w / 2, y, unit, align="center")


def parts(film: Film) -> Iterator[Part]:
    yield Part(film.layout.bus, crossing, _bus)
