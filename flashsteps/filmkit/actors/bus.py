"""The bus between HBM and SRAM: tiles travel along it, one after another, over nothing; their bytes stand beside it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ... import theme
from ...machine.events import Event
from ...theme import LABEL
from ...units import size_of
from ..boxes import Box
from ..values import smooth
from . import cells
from .of_run import OfRun

if TYPE_CHECKING:
    from ..pen import Pen

#: the longest side of a tile on the bus, and its other side, in units; how far rails are apart
LONG, HIGH, RAILS = 84, 52, 76


@dataclass(frozen=True)
class Bus(OfRun):
    """From left to right where it is a tall box between two panels, from above to below where it is a flat one.

    `ways` is how many rails there are: one for each program that runs beside others.
    """

    ways: int = 1

    def seen(self) -> Hashable:
        crossing = self._crossing()
        return tuple((event.step, u) for event, u in crossing), bool(crossing) and self._alone(crossing[0][0])

    def _crossing(self) -> list[tuple[Event, float]]:
        """What is on its way, and how far: rounded, so that it is seen and drawn at the same times."""
        rounded = [(event, round(u, 4)) for event, u in self.run.transfers(self.now)]
        return [(event, u) for event, u in rounded if 0 < u < 1]

    def draw(self, pen: Pen, box: Box) -> None:
        sideways = box.h > box.w
        rails = [Box(box.x, y, box.w, h) for _, y, _, h in _shares(box, self.ways)] if sideways else [box]
        crossing = self._crossing()
        for n, rail in enumerate(rails):
            under_way = [(e, u) for e, u in crossing if not sideways or e.program % self.ways == n]
            _rail(pen, rail, sideways, bool(under_way))
            for event, u in under_way:
                self._tile(pen, rail, sideways, event, smooth(u))
            if under_way and self._alone(under_way[0][0]):
                _said(pen, rail, sideways, under_way[0][0], self.ways)

    def _alone(self, event: Event) -> bool:
        """Is it told one by one? What goes by in a crowd is not named."""
        return sum(e.program == event.program and e.nbytes > 0 for e in self.run.events(self.now)) == 1

    def _tile(self, pen: Pen, rail: Box, sideways: bool, event: Event, u: float) -> None:
        values = self.run.value(event.step) if event.op == "store" else self.run.value(event.step)[event.row :]
        assert event.tile is not None
        w, h = pen.px(LONG if values.ndim == 2 else 30), min(pen.px(HIGH), rail.h - pen.px(8))
        u, edge = u if event.op == "load" else 1 - u, 3  # px: room for its frame
        if sideways:
            x, y = rail.x + edge + (rail.w - w - 2 * edge) * u, rail.y + (rail.h - h) / 2
        else:
            h = min(h, round(rail.h * 0.55))
            x, y = rail.x + (rail.w - w) / 2, rail.y + edge + (rail.h - h - 2 * edge) * u
        columns = values.shape[1] if values.ndim == 2 else 1
        at = cells.grid(Box(x, y, w, h).whole(), len(values), columns, finest=2)
        box = Box(round(x), round(y), w, h)
        name = event.tile.tensor
        span = self.run.ranges.get(name, (0.0, 1.0))
        colors = cells.colors_of(pen, values, at.bins, span, "panel", name)
        pen.texture(box, colors)
        pen.frame(box.grown(2), "ink", width=2, radius=4)


def _shares(box: Box, ways: int) -> list[Box]:
    return box.rows(ways, gap=0) if ways > 1 else [box]


def _rail(pen: Pen, rail: Box, sideways: bool, busy: bool) -> None:
    half, color = pen.px(RAILS) / 2, "dim" if busy else "line"
    if sideways:
        middle = rail.y + rail.h / 2
        for y in (middle - half, middle + half):
            pen.line([(rail.x, round(y)), (rail.right, round(y))], color)
    else:
        half, middle = pen.px(LONG + 24) / 2, rail.x + rail.w / 2
        for x in (middle - half, middle + half):
            pen.line([(round(x), rail.y), (round(x), rail.bottom)], color)


def _said(pen: Pen, rail: Box, sideways: bool, event: Event, ways: int) -> None:
    """Which tile it is, how many bytes, and whether it comes in or goes out."""
    assert event.tile is not None
    name, size = str(event.tile._replace(tensor=theme.label(event.tile.tensor))), size_of(event.nbytes)
    if sideways:
        middle, x, half = rail.y + rail.h / 2, rail.x + rail.w / 2, pen.px(RAILS) / 2
        roomy = rail.h >= pen.px(RAILS + 2 * 44)
        if not roomy:
            pen.figure(x, middle - half - pen.px(8), size, align="center")
            return
        known = name, theme.label(event.tile.tensor)
        whole = (words for words in known if pen.width(words, LABEL, weight=600) <= rail.w)
        pen.label(x, middle - half - pen.px(16), next(whole, ""), "ink", weight=600, align="center")
        pen.figure(x, middle + half + pen.px(36), size, align="center")
        if rail.h >= pen.px(RAILS + 2 * 84):
            y, left, right = middle + half + pen.px(66), rail.x + pen.px(16), rail.right - pen.px(16)
            pen.arrow(*(((left, y), (right, y)) if event.op == "load" else ((right, y), (left, y))), "ink")
        return
    y, aside = rail.y + rail.h / 2 + pen.px(10), pen.px(LONG / 2 + 40)
    to = f"{name} → program {event.program}" if event.op == "load" else f"{name} ← program {event.program}"
    pen.label(rail.x + rail.w / 2 - aside, y, to if ways > 1 else name, "ink", weight=600, align="right")
    x = rail.x + rail.w / 2 + aside
    width = pen.figure(x, y, size)
    top, bottom, x = rail.y + pen.px(10), rail.bottom - pen.px(10), x + width + pen.px(30)
    pen.arrow(*(((x, top), (x, bottom)) if event.op == "load" else ((x, bottom), (x, top))), "ink")
