"""Tiles on their way: from HBM over the bus into a slot, or back."""

from __future__ import annotations

import numpy as np

from ...machine.events import Event
from ..film import Film
from ..layout import STATS, Box, Grid
from ..pen import Pen, ease
from .hbm import tile_colors
from .moment import LANDED, Moment


def flying(m: Moment) -> bool:
    """Is anything on its way?"""
    return not m.landed and any(event.nbytes for event in m.events)


def draw(pen: Pen, m: Moment) -> None:
    """All tiles that are on their way, where they are now."""
    moving = [event for event in m.events if event.nbytes]
    u = m.u / LANDED
    by_lane: dict[int, list[Event]] = {}
    for event in moving:
        by_lane.setdefault(_lane(m.film, event), []).append(event)
    for events in by_lane.values():
        for n, event in enumerate(events):
            _tile(pen, m, event, u, n, len(events))


def _lane(film: Film, event: Event) -> int:
    return event.program % film.lanes if film.lanes > 1 else 0


def _tile(pen: Pen, m: Moment, event: Event, u: float, n: int, count: int) -> None:
    film = m.film
    assert event.tile is not None
    column = film.layout.columns[event.tile.tensor]
    there = column.rows(event.tile.start, event.tile.stop)
    here = slot_box(film, event)
    if event.op == "load":
        values = m.before.hbm[event.tile.tensor][event.tile.start : event.tile.stop]
        route = there, _on_bus(film, event, n, count), here
    else:
        value = film.trace.values[event.step]
        assert value is not None
        values = value
        route = here, _on_bus(film, event, n, count), there
    box = _along(route, u)
    low, high = film.ranges.get(event.tile.tensor, (0.0, 1.0))
    grid = Grid(
        "", column.box, column.cell, (column.bins[0] if len(values) % column.bins[0] == 0 else 1, column.bins[1])
    )
    colors = tile_colors(pen, np.asarray(values), grid, low, high, "panel", event.tile.tensor)
    pen.texture(box, colors)
    pen.frame(box.grown(2), "ink", width=2, radius=4)


def _along(route: tuple[Box, Box, Box], u: float) -> Box:
    """Where a tile is: it sets out slowly, slows down a little on the bus, and arrives slowly."""
    hop = ease(2 * u) / 2 if u < 0.5 else 0.5 + ease(2 * u - 1) / 2
    p = 0.5 * ease(u) + 0.5 * hop
    start, stop, share = (route[0], route[1], 2 * p) if p < 0.5 else (route[1], route[2], 2 * p - 1)
    return Box(*(round(a + (b - a) * share) for a, b in zip(start, stop, strict=True)))


def _on_bus(film: Film, event: Event, n: int, count: int) -> Box:
    """The n-th of `count` tiles that cross together."""
    place = film.layout
    bus, unit = place.bus, place.unit
    if place.sideways and film.lanes > 1:
        w, h = round(64 * unit), round(40 * unit)
        return Box(
            bus.x + round(6 * unit), bus.y + bus.h // 2 - h // 2 + round((n - (count - 1) / 2) * (h + 6 * unit)), w, h
        )
    if place.sideways:
        top, room = bus.y + round(bus.h * 0.45), round(bus.h * 0.185)
        step = room / count
        w = max(6, round(min(bus.w - 16 * unit, bus.w - 16 * unit if len(event.shape) == 2 else 26 * unit)))
        return Box(bus.x + (bus.w - w) // 2, top + round(n * step), w, max(3, round(step - 4 * unit)))
    w = round((90 if len(event.shape) == 2 else 24) * unit)
    left = bus.x + round(bus.w * 0.5) - round((count - 1) * 60 * unit) + round(n * 110 * unit) - w
    return Box(left, bus.y + round(bus.h * 0.2), w, round(bus.h * 0.6))


def slot_box(film: Film, event: Event) -> Box:
    """Where in SRAM a transfer ends or begins."""
    lane = film.layout.lanes[_lane(film, event)]
    rows = event.shape[0]
    key = f"{event.program}.{event.slot}" if film.spec.kind == "kernels" else event.slot
    if key in lane.slots:
        return lane.slots[key].rows(event.row, event.row + rows)
    if event.slot == "S" and lane.scores:
        return lane.scores.rows(0, rows)
    for name, slots in STATS.items():
        if event.slot in slots and name in lane.stats:
            return lane.stats[name].rows(0, rows)
    panel = lane.panel  # a constant: it comes from no slot
    side = round(60 * film.layout.unit)
    return Box(panel.x + side // 2, panel.y + panel.h // 2 - side // 2, side, side)
