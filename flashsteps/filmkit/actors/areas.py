"""Areas to scale: rectangles in units of their own, and crowds of equal squares, some of them lit."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from ...theme import BODY, HEAD, LABEL
from ..boxes import Box
from .actor import Actor
from .writing import line, width, write

if TYPE_CHECKING:
    from ..pen import Pen


class Area(NamedTuple):
    """A rectangle at (x, y), y downwards, in units of what is shown, in so much `strength` of its hue. `part` is how
    far it is filled, from below; one that is `open` is a dashed outline; `name` stands in its middle once it is whole,
    or at its right if `beside`."""

    x: float
    y: float
    w: float
    h: float
    hue: str
    name: str = ""
    under: str = ""
    part: float = 1.0
    open: bool = False
    hatched: bool = False
    beside: bool = False
    edge: str = ""
    strength: float = 1.0


@dataclass(frozen=True)
class Areas(Actor):
    """`w` × `h` is what the box shows, at one scale in both directions; it stands in the box's middle, or at its top
    left. What is thinner than 2 px is drawn 2 px thin."""

    areas: tuple[Area, ...]
    w: float
    h: float
    middle: bool = False
    margin: float = 0.0  # units kept free at the right, for names that stand beside

    def draw(self, pen: Pen, box: Box) -> None:
        room = box._replace(w=max(1.0, box.w - pen.px(self.margin)))
        scale = min(room.w / self.w, room.h / self.h)
        x0 = box.x + ((room.w - self.w * scale) / 2 if self.middle else 0)
        y0 = box.y + ((room.h - self.h * scale) / 2 if self.middle else 0)
        for area in self.areas:
            x, y = round(x0 + area.x * scale), round(y0 + area.y * scale)
            wide, high = (
                max(2, round(x0 + (area.x + area.w) * scale) - x),
                max(2, round(y0 + (area.y + area.h) * scale) - y),
            )
            if area.w <= 0 or area.h <= 0:
                continue
            here = Box(min(x, box.right - wide), min(y, box.bottom - high), wide, high)
            self._area(pen, area, here, box)

    def _area(self, pen: Pen, area: Area, here: Box, box: Box) -> None:
        from ...theme import ink_on, mix

        color = mix(pen.theme.bg, pen.color(area.hue), area.strength)
        radius = 4 if min(here.w, here.h) > 12 else 0
        if area.open:
            pen.frame(here, area.hue, width=3, radius=6, dash=8)
        else:
            if area.part < 1:
                pen.fill(here, "panel", radius=radius)
            tall = round(here.h * min(1.0, area.part))
            pen.fill(Box(here.x, here.bottom - tall, here.w, tall), color, radius=radius)
            if area.hatched:
                pen.hatch(here, "bg")
        if area.edge:
            pen.frame(here, area.edge, width=3, radius=radius)
        if area.part >= 1 or area.beside:  # else they would stand half on what is there
            self._words(pen, area, here, box, "ink" if area.open else ink_on(color))

    def _words(self, pen: Pen, area: Area, here: Box, box: Box, ink: str) -> None:
        from ...theme import mix

        if area.beside:
            place = Box(here.right + pen.px(18), here.y, max(0, box.right - here.right - pen.px(18)), here.h)
            low = spread_in(place, line(pen, BODY) + line(pen, LABEL) * bool(area.under), box)
            write(pen, Box(low.x, low.y, low.w, line(pen, BODY)), area.name, BODY, weight=600)
            write(pen, Box(low.x, low.y + line(pen, BODY), low.w, line(pen, LABEL)), area.under, LABEL, "dim")
            return
        under = line(pen, LABEL) if area.under else 0
        fits = [
            s
            for s in (HEAD, BODY, LABEL)
            if line(pen, s) + under <= here.h and width(pen, area.name, s, weight=600) <= here.w - 4
        ]
        if not fits or width(pen, area.under, LABEL) > here.w - 4:
            return
        size, tall = fits[0], line(pen, fits[0]) + under
        top = here.y + (here.h - tall) // 2
        if area.hatched and area.name:  # on a plate: nothing is read through hatches
            wide = ceil(max(width(pen, area.name, size, weight=600), width(pen, area.under, LABEL))) + 2 * pen.px(6)
            plate = Box(here.x + (here.w - min(wide, here.w)) // 2, top, min(wide, here.w), tall)
            pen.fill(plate, mix(pen.theme.bg, pen.color(area.hue), area.strength), radius=8)
        write(pen, Box(here.x, top, here.w, line(pen, size)), area.name, size, ink, weight=600, align="center")
        write(pen, Box(here.x, top + line(pen, size), here.w, line(pen, LABEL)), area.under, LABEL, ink, align="center")


def spread_in(place: Box, high: float, box: Box) -> Box:
    """A box of that height about the middle of the place, moved so that it stays within the box."""
    y = place.y + (place.h - high) / 2
    return place._replace(y=round(min(max(y, box.y), max(box.y, box.bottom - high))), h=high)


@dataclass(frozen=True)
class Crowd(Actor):
    """`of` equal squares, of which `count` are there; the others are outlines, or, with `empty` False, not shown.

    As many `columns` as given, else as many as make the squares largest."""

    count: float
    of: int
    hue: str = "accent"
    columns: int = 0
    empty: bool = True
    most: float = 64.0  # units: no square is larger

    def draw(self, pen: Pen, box: Box) -> None:
        columns, pitch = self._fit(pen, box)
        if pitch < 3:
            return
        gap = max(1, min(pen.px(8), round(pitch * 0.2)))
        side, radius = pitch - gap, 5 if pitch > pen.px(20) else 0
        for n in range(self.of):
            r, c = divmod(n, columns)
            here = Box(box.x + c * pitch, box.y + r * pitch, side, side)
            if n + 1 <= self.count + 1e-9:
                pen.fill(here, self.hue, radius=radius)
            elif self.empty:
                pen.frame(here, "line", radius=radius)

    def _fit(self, pen: Pen, box: Box) -> tuple[int, int]:
        def side(columns: int) -> int:
            return int(min(box.w / columns, box.h / ceil(self.of / columns), pen.px(self.most)))

        if self.columns:
            return self.columns, side(self.columns)
        best = max(range(1, self.of + 1), key=lambda columns: (side(columns), columns))
        return best, side(best)
