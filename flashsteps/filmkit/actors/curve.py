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
    from ..pen import Pen

Side = Literal["right", "left", "above", "below"]
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
    """A point with a name (and words in dim below it) at one of its sides; `ring` is hollow."""

    x: float
    y: float
    name: str = ""
    hue: str = "ink"
    side: Side = "right"
    ring: bool = False
    under: str = ""


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
        left = box.x + ceil(ticks) + (pen.px(18) if ticks else pen.px(4))
        names = max((width(pen, one.name, LABEL, weight=600) for one in self.lines if one.name), default=0.0)
        right = box.right - (ceil(names) + pen.px(30) if names else pen.px(16))
        foot = high * bool(self.x.ticks) + high * bool(self.x.name) + pen.px(10)
        plot = Box(left, box.y + top + max(pen.px(14), high // 2), right - left, 0)
        plot = plot._replace(h=box.bottom - foot - plot.y)
        if plot.w < pen.px(60) or plot.h < pen.px(60):
            return
        self._grid(pen, plot, box, high)
        for area in self.areas:
            self._area(pen, plot, area, high)
        for rule in self.rules:
            self._rule(pen, plot, box, rule, high)
        ends = []
        for one in self.lines:
            path = self._path(one)
            if path:
                pen.line([self._at(plot, p) for p in path], one.hue, width=5, dash=one.dash)
                ends.append((one, self._at(plot, path[-1])))
        for one, (x, y) in ends:
            if self.tips:
                self._dot(pen, plot, x, y, one.hue, ring=False)
        wanted = [y - high / 2 for _, (_, y) in ends]
        for (one, (x, _)), y in zip(ends, spread(wanted, high, box.y + top, plot.bottom - high / 2), strict=True):
            place = Box(x + pen.px(20), round(y), max(1, box.right - x - pen.px(20)), high)
            write(pen, place, one.name, LABEL, one.hue, weight=600)
        for dot in self.dots:
            if dot.x <= self.upto:
                self._named(pen, plot, box, dot, high)

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
            if half and start > last:
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

    def _area(self, pen: Pen, plot: Box, area: Area, high: int) -> None:
        points = [self._at(plot, p) for p in area.points]
        ctx = pen.ctx
        ctx.new_path()
        for x, y in (*points, (points[-1][0], plot.bottom), (points[0][0], plot.bottom)):
            ctx.line_to(x, y)
        pen.source(area.hue)
        ctx.fill()
        wide = points[-1][0] - points[0][0]
        if area.name and width(pen, area.name, LABEL) <= wide:
            write(pen, Box(points[0][0], plot.bottom - high - pen.px(12), wide, high), area.name, LABEL, align="center")

    def _rule(self, pen: Pen, plot: Box, box: Box, rule: Rule, high: int) -> None:
        if rule.upright:
            x = round(self._at(plot, (rule.at, self.y.low))[0]) + 0.5
            pen.line([(x, plot.y), (x, plot.bottom)], rule.hue, width=3, dash=8)
            half = width(pen, rule.words, LABEL, weight=600, mono=True) / 2 + 1
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

    def _named(self, pen: Pen, plot: Box, box: Box, dot: Dot, high: int) -> None:
        x, y = self._at(plot, (dot.x, dot.y))
        self._dot(pen, plot, x, y, dot.hue, dot.ring)
        rows = [words for words in (dot.name, dot.under) if words]
        wide = max((width(pen, words, LABEL, weight=600) for words in rows), default=0.0) + 1
        tall, off = high * len(rows), pen.px(20)
        left = {"right": x + off, "left": x - off - wide}.get(dot.side, x - wide / 2)
        top = {"above": y - off - tall, "below": y + off}.get(dot.side, y - high / 2)
        left = spread([left], 0, box.x, max(box.x, box.right - wide))[0]
        top = spread([top], 0, box.y, max(box.y, box.bottom - tall))[0]
        align: Literal["left", "right", "center"] = {"right": "left", "left": "right"}.get(dot.side, "center")  # type: ignore[assignment]
        for n, words in enumerate(rows):
            name = n == 0 and dot.name
            place = Box(left, round(top) + n * high, min(wide, box.right - left), high)
            write(pen, place, words, LABEL, dot.hue if name else "dim", weight=600 if name else 400, align=align)

    def _dot(self, pen: Pen, plot: Box, x: float, y: float, color: str, ring: bool) -> None:
        size, inner = max(3, pen.px(10)), max(1, pen.px(5))
        x, y = round(x), round(y)
        pen.fill(Box(x - size, y - size, 2 * size, 2 * size), "bg", radius=99)
        pen.fill(Box(x - size + 1, y - size + 1, 2 * size - 2, 2 * size - 2), color, radius=99)
        if ring:
            pen.fill(Box(x - inner, y - inner, 2 * inner, 2 * inner), "bg", radius=99)
