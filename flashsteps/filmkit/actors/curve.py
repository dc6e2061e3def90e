"""Lines against axes, as far as they are drawn by now; dots that stand on them, areas and rules behind them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, log
from typing import TYPE_CHECKING, Literal, NamedTuple

from ...theme import LABEL
from ..boxes import Box
from .actor import Actor
from .writing import line, spread, width, write

if TYPE_CHECKING:
    from ..pen import Align, Pen

Side = Literal["right", "left", "above", "below", "above left", "above right", "below left", "below right"]
Point = tuple[float, float]


class Axis(NamedTuple):
    """From where to where, and what is written where: (value, words). The scale stays."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...] = ()
    name: str = ""
    log: bool = False

    def share(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        if self.log:
            return log(value / self.low) / log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def between(self, a: float, b: float, share: float) -> float:
        return float(a * (b / a) ** share) if self.log else a + (b - a) * share


class Line(NamedTuple):
    """Points (x, y) from left to right in one hue, and a name that stands at their end."""

    name: str
    points: tuple[Point, ...]
    hue: str = "ink"
    dash: float = 0


class Dot(NamedTuple):
    """A point with a name (and words in dim below it) at one of its sides; `ring` is hollow, and a `bare` one is only
    its name."""

    x: float
    y: float
    name: str = ""
    hue: str = "ink"
    side: Side = "right"
    ring: bool = False
    under: str = ""
    bare: bool = False


class Area(NamedTuple):
    """What is below a line from x to x, and a name at its foot."""

    points: tuple[Point, ...]
    hue: str = "panel"
    name: str = ""


class Rule(NamedTuple):
    """A dashed line at an x (or a y), and its value on the axis, strong."""

    at: float
    words: str = ""
    upright: bool = True
    hue: str = "ink"


@dataclass(frozen=True)
class Curve(Actor):
    """Lines are drawn as far as the x `upto`; what stands beyond it is not there yet. With `tips`, each line has a dot
    at its end. Names of lines keep clear of each other."""

    x: Axis
    y: Axis
    lines: tuple[Line, ...] = ()
    dots: tuple[Dot, ...] = ()
    areas: tuple[Area, ...] = ()
    rules: tuple[Rule, ...] = ()
    upto: float = inf
    tips: bool = False
    title: str = ""

    def draw(self, pen: Pen, box: Box) -> None:
        high = line(pen, LABEL) if pen.fits(LABEL) else 0
        top = high * bool(self.title) + high * bool(self.y.name)
        write(pen, Box(box.x, box.y, box.w, high), self.title, LABEL, weight=600)
        write(pen, Box(box.x, box.y + top - high, box.w, high), self.y.name, LABEL, "dim")
        ticks = max((width(pen, words, LABEL, mono=True) for _, words in self.y.ticks), default=0.0)
        left = box.x + ceil(ticks) + (pen.px(18) if ticks else max(4, pen.px(12)))
        names = max((width(pen, one.name, LABEL, weight=600) for one in self.lines if one.name), default=0.0)
        right = box.right - (ceil(names) + pen.px(30) if names else pen.px(16))
        foot = high * bool(self.x.ticks) + high * bool(self.x.name) + max(4, pen.px(12))
        plot = Box(left, box.y + top + max(pen.px(14), high // 2), right - left, 0)
        plot = plot._replace(h=box.bottom - foot - plot.y)
        if plot.w < pen.px(60) or plot.h < pen.px(60):
            return
        self._grid(pen, plot, box, high)
        for area in self.areas:
            self._area(pen, plot, area)
        for rule in self.rules:
            self._rule(pen, plot, box, rule, high)
        ends, drawn = [], []
        for one in self.lines:
            path = [self._at(plot, p) for p in self._path(one)]
            if path:
                pen.line(path, one.hue, width=5, dash=one.dash, rounded=True)
                ends.append((one, path[-1]))
                drawn += [*zip(path, path[1:], strict=False)]
        for one, (x, y) in ends:
            if self.tips:
                self._dot(pen, x, y, one.hue, ring=False)
        wanted = [y - high / 2 for _, (_, y) in ends]
        for (one, (x, _)), y in zip(ends, spread(wanted, high, box.y + top, plot.bottom - high / 2), strict=True):
            place = Box(x + pen.px(20), round(y), max(1, box.right - x - pen.px(20)), high)
            write(pen, place, one.name, LABEL, one.hue, weight=600)
        stand = [self._at(plot, (rule.at, self.y.low))[0] for rule in self.rules if rule.upright]
        drawn += [((x, plot.y), (x, plot.bottom)) for x in stand]
        drawn += [((plot.x, plot.bottom), (plot.right, plot.bottom))]
        there = [dot for dot in self.dots if dot.x <= self.upto]
        spots = [self._at(plot, (dot.x, dot.y)) for dot in there]
        size = max(3, pen.px(12))
        solid = [spot for dot, spot in zip(there, spots, strict=True) if not dot.bare]
        taken = [Box(x - size, y - size, 2 * size, 2 * size) for x, y in solid]
        for dot, spot in zip(there, spots, strict=True):
            if not dot.bare:
                self._dot(pen, *spot, dot.hue, dot.ring)
            self._named(pen, box, dot, spot, taken, drawn)
        for area in self.areas:
            self._area_name(pen, plot, area, taken)

    def _at(self, plot: Box, p: Point) -> Point:
        return plot.x + plot.w * self.x.share(p[0]), plot.bottom - plot.h * self.y.share(p[1])

    def _path(self, one: Line) -> list[Point]:
        """The line as far as it is drawn; its last point lies on the way to the next."""
        path: list[Point] = []
        for a, b in zip(one.points, one.points[1:], strict=False):
            if a[0] > self.upto:
                return path
            path = path or [a]
            if b[0] <= self.upto:
                path.append(b)
            elif b[0] > a[0]:
                share = (self.x.share(self.upto) - self.x.share(a[0])) / max(
                    1e-12, self.x.share(b[0]) - self.x.share(a[0])
                )
                path.append((self.upto, self.y.between(a[1], b[1], min(1.0, max(0.0, share)))))
        return path

    def _grid(self, pen: Pen, plot: Box, box: Box, high: int) -> None:
        thick, last = max(1, pen.px(2)), -inf
        for value, words in self.y.ticks:
            y = round(self._at(plot, (self.x.low, value))[1])
            pen.fill(Box(plot.x, y, plot.w, thick), "line", alpha=0.6)
            write(
                pen,
                Box(box.x, y - high // 2, plot.x - box.x - pen.px(14), high),
                words,
                LABEL,
                "dim",
                mono=True,
                align="right",
            )
        pen.fill(Box(plot.x, plot.bottom, plot.w, thick), "line")
        for value, words in self.x.ticks:
            x, half = self._at(plot, (value, self.y.low))[0], width(pen, words, LABEL, mono=True) / 2 + 1
            if any(
                rule.upright
                and rule.words
                and abs(self._at(plot, (rule.at, self.y.low))[0] - x)
                < half + width(pen, rule.words, LABEL, weight=600, mono=True) / 2
                for rule in self.rules
            ):
                continue
            start = spread([x - half], 0, box.x, box.right - 2 * half)[0]
            if 0 < 2 * half <= box.w and start > last:
                write(
                    pen,
                    Box(start, plot.bottom + pen.px(8), 2 * half, high),
                    words,
                    LABEL,
                    "dim",
                    mono=True,
                    align="center",
                )
                last = start + 2 * half + pen.px(8)
        if self.x.name:
            write(pen, Box(plot.x, box.bottom - high, plot.w, high), self.x.name, LABEL, "dim", align="center")

    def _area(self, pen: Pen, plot: Box, area: Area) -> None:
        points = [self._at(plot, p) for p in area.points]
        pen.ctx.new_path()
        for x, y in (*points, (points[-1][0], plot.bottom), (points[0][0], plot.bottom)):
            pen.ctx.line_to(x, y)
        pen.source(area.hue)
        pen.ctx.fill()

    def _area_name(self, pen: Pen, plot: Box, area: Area, taken: list[Box]) -> None:
        """At the area's foot, where nothing else stands."""
        left, right = (self._at(plot, area.points[end])[0] for end in (0, -1))
        high, wide = line(pen, LABEL), width(pen, area.name, LABEL)
        place = Box((left + right - wide) / 2, plot.bottom - high - pen.px(12), wide + 1, high)
        if 0 < wide <= right - left and not any(place.overlaps(other) for other in taken):
            write(pen, place, area.name, LABEL)

    def _rule(self, pen: Pen, plot: Box, box: Box, rule: Rule, high: int) -> None:
        if rule.upright:
            x = round(self._at(plot, (rule.at, self.y.low))[0]) + 0.5
            pen.line([(x, plot.y), (x, plot.bottom)], rule.hue, width=3, dash=8)
            half = width(pen, rule.words, LABEL, weight=600, mono=True) / 2 + 1
            if 2 * half > box.w:
                return
            start = spread([x - half], 0, box.x, box.right - 2 * half)[0]
            write(
                pen,
                Box(start, plot.bottom + pen.px(8), 2 * half, high),
                rule.words,
                LABEL,
                rule.hue,
                weight=600,
                mono=True,
            )
        else:
            y = round(self._at(plot, (self.x.low, rule.at))[1]) + 0.5
            pen.line([(plot.x, y), (plot.right, y)], rule.hue, width=3, dash=8)
            write(
                pen, Box(plot.x, round(y) - high, plot.w, high), rule.words, LABEL, rule.hue, weight=600, align="right"
            )

    def _named(
        self, pen: Pen, box: Box, dot: Dot, spot: Point, taken: list[Box], drawn: list[tuple[Point, Point]]
    ) -> None:
        """The dot's name at its side, or at another where something else stands there; then it is taken."""
        high, off = line(pen, LABEL), pen.px(18)
        rows = [words for words in (dot.name, dot.under) if words]
        wide = max((width(pen, words, LABEL, weight=600) for words in rows), default=0.0) + 1
        tall, (x, y) = high * len(rows), spot
        if not rows or wide > box.w or tall > box.h:
            return
        across = {"left": x - off - wide, "right": x + off}
        down = {"above": y - off / 2 - tall, "below": y + off / 2}
        places = {
            "right": Box(across["right"], y - high / 2, wide, tall),
            "left": Box(across["left"], y - high / 2, wide, tall),
            "above": Box(x - wide / 2, down["above"] - off / 2, wide, tall),
            "below": Box(x - wide / 2, down["below"] + off / 2, wide, tall),
            **{f"{v} {h}": Box(across[h], down[v], wide, tall) for v in down for h in across},
        }
        sides = [dot.side, *(side for side in places if side != dot.side)]
        inside = {side: _kept(places[side], box) for side in sides}
        free = [side for side in sides if not any(inside[side].overlaps(other) for other in taken)]
        clear = [side for side in free if not any(_crosses(inside[side], *ends) for ends in drawn)]
        if not free:
            return
        side = (clear or free)[0]
        place = inside[side]
        taken.append(place)
        align: Align = "left" if "right" in side else "right" if "left" in side else "center"
        if not self.areas:  # on a plate: no line of a tick runs through it
            pen.fill(place, "bg")
        for n, words in enumerate(rows):
            name = bool(dot.name) and n == 0
            here = Box(place.x, round(place.y) + n * high, wide, high)
            write(pen, here, words, LABEL, dot.hue if name else "dim", weight=600 if name else 400, align=align)

    def _dot(self, pen: Pen, x: float, y: float, color: str, ring: bool) -> None:
        size, inner = max(3, pen.px(12)), max(1, pen.px(6))
        x, y = round(x), round(y)
        pen.fill(Box(x - size, y - size, 2 * size, 2 * size), "bg", radius=99)
        pen.fill(Box(x - size + 1, y - size + 1, 2 * size - 2, 2 * size - 2), color, radius=99)
        if ring:
            pen.fill(Box(x - inner, y - inner, 2 * inner, 2 * inner), "bg", radius=99)


def _kept(place: Box, box: Box) -> Box:
    """Moved so that it stays within the box."""
    x = min(max(place.x, box.x), box.right - place.w)
    return place._replace(x=x, y=min(max(place.y, box.y), box.bottom - place.h))


def _crosses(box: Box, a: Point, b: Point) -> bool:
    """Does the way from a to b go through the box? (Liang and Barsky's clipping.)"""
    start, stop = 0.0, 1.0
    for p, d, low, high in ((a[0], b[0] - a[0], box.x, box.right), (a[1], b[1] - a[1], box.y, box.bottom)):
        if d == 0:
            if not low <= p <= high:
                return False
            continue
        enter, leave = sorted(((low - p) / d, (high - p) / d))
        start, stop = max(start, enter), min(stop, leave)
    return start < stop
