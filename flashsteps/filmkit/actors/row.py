"""A row of numbers, as bars from a zero line."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, inf, isfinite, sin
from typing import TYPE_CHECKING, NamedTuple

from ...theme import BODY, LABEL, SMALL, hue
from ...units import fixed, places
from ..boxes import Box
from .actor import Actor
from .writing import line, spread, width, write

if TYPE_CHECKING:
    from ..pen import Pen

TURN = 1.05  # rad: by how much labels lean where they would touch
TO_COME = 22  # units: by how far the outline of a number that is to come goes up and down from the zero line
LINE_HIGH = 220  # units: lower ones are no lines to go on in


class Level(NamedTuple):
    """A line across a row, such as the running max, from bar `start` to bar `stop`, with a name after it."""

    value: float | None
    name: str = ""
    hue: str = "stat"
    dash: float = 0
    start: float = 0
    stop: float = inf


class Scale(NamedTuple):
    """Where bars `start` … `stop` of a row stand, in px: a bar takes `pitch`, a unit of its values `unit`, and what is
    beyond the scale's ends is drawn at them."""

    x0: float
    zero: float
    pitch: float
    unit: float
    start: int
    stop: int
    low: float
    high: float

    def x(self, k: float) -> int:
        return round(self.x0 + (min(max(k, self.start), self.stop) - self.start) * self.pitch)

    def y(self, value: float) -> int:
        return round(self.zero - min(max(value, self.low), self.high) * self.unit)


@dataclass(frozen=True)
class Row(Actor):
    """`low` and `high` are the scale, which stays. `seen` is how many numbers are there by now; what is to come is
    dashed. `now` are those that are dealt with, in a gold frame where `tile` (how many keys a tile holds) is set; the
    others are paler. `was` is what the numbers were before, as dashed outlines. Where labels would touch, they stand in
    two lines, every other one lower; where that is not enough, the row goes on below, or they are turned. `margin`
    units at the right are for names of levels that end there. `ground` is what it stands on. Figures have `places`, or
    so many more as the scale asks for, or with `figures` False are left out."""

    values: tuple[float, ...]
    tensor: str
    low: float
    high: float
    labels: tuple[str, ...] = ()
    seen: float = inf
    now: tuple[float, float] = (0, 0)
    tile: int = 0
    was: tuple[float, ...] = ()
    levels: tuple[Level, ...] = ()
    places: int = 1
    title: str = ""
    note: str = ""
    margin: float = 0.0
    ground: str = "bg"
    figures: bool = True

    @property
    def digits(self) -> int:
        """With how many places its figures stand."""
        return places(self._most, self.places)

    @property
    def _most(self) -> float:
        return max(abs(self.low), abs(self.high))

    def draw(self, pen: Pen, box: Box) -> None:
        if self.title or self.note:
            strip = line(pen, LABEL)
            left = write(pen, Box(box.x, box.y, box.w, strip), self.title, LABEL, weight=600)
            gap = pen.px(20) if left else 0
            write(pen, Box(box.x + left + gap, box.y, box.w - left - gap, strip), self.note, LABEL, "dim")
            box = Box(box.x, box.y + strip, box.w, box.h - strip)
        room = box.w - pen.px(self.margin)
        count, per = len(self.values), self._per_line(pen, room, box.h)
        many, gap = ceil(count / per), pen.px(24)
        high = (box.h - gap * (many - 1)) // many
        for n in range(many):
            here = Box(box.x, box.y + n * (high + gap), box.w, high)
            self._line(pen, here, room / per, n * per, min((n + 1) * per, count))

    def _widest(self, pen: Pen) -> float:
        return max((width(pen, words, LABEL, weight=500) for words in self.labels), default=0.0) + pen.px(10)

    def _per_line(self, pen: Pen, room: float, high: float) -> int:
        """How many bars a line takes: all, unless labels would touch, and there is height for further lines."""
        count, widest = len(self.values), self._widest(pen)
        if not any(self.labels) or widest * count <= 2 * room:
            return max(1, count)
        step = self.tile or 1
        fit = [per for per in range(step, count, step) if per * widest <= 2 * room]
        fit = [per for per in fit if high / ceil(count / per) >= pen.px(LINE_HIGH)]
        return max([per for per in fit if count % per == 0] or fit or [count])

    def _line(self, pen: Pen, box: Box, pitch: float, start: int, stop: int) -> None:
        shape = f"−{self._most:.{self.digits}f}"
        size = next((size for size in (LABEL, SMALL) if pen.figure_width(shape, size) <= pitch - 2), LABEL)
        over = line(pen, size) if self.figures and pen.fits(size) and pen.figure_width(shape, size) <= pitch - 2 else 0
        under = self._under(pen, pitch)
        top, bottom = box.y + over + pen.px(12), box.bottom - under - (over if self.low < 0 else 0) - pen.px(8)
        if bottom - top < pen.px(16):
            return
        unit = (bottom - top) / max(self.high - self.low, 1e-9)
        scale = Scale(box.x, bottom + min(self.low, 0) * unit, pitch, unit, start, stop, min(self.low, 0), self.high)
        first, last = scale.x(self.now[0]), scale.x(self.now[1])
        lit = bool(self.tile) and last > first
        if lit:
            low = bottom + over + pen.px(4) if under > 2 * line(pen, LABEL) + pen.px(8) else box.bottom  # turned labels
            tile = Box(first, box.y, last - first, min(low, box.bottom) - box.y)
            pen.fill(tile, "sram", radius=14)
            pen.frame(tile, "sram_line", width=3, radius=14)
        pen.fill(Box(scale.x(start), scale.y(0), scale.x(stop) - scale.x(start), max(1, pen.px(2))), "line")
        for k in range(start, stop):
            self._bar(pen, scale, k, top, bottom)
        self._levels(pen, scale, Box(scale.x(stop), top, box.right - scale.x(stop), bottom - top))
        for k in range(start, stop):
            here = self._here(k)
            if over and self.seen >= k + 1 and isfinite(self.values[k]):
                self._number(pen, scale, k, over, size, "sram" if lit and here else self.ground)
        if under:
            self._labels(pen, scale, Box(box.x, box.bottom - under, box.w, under))

    def _under(self, pen: Pen, pitch: float) -> int:
        """What labels need below: one line, two, or as much as they do when turned."""
        if not any(self.labels) or not pen.fits(LABEL):
            return 0
        widest, high = self._widest(pen), line(pen, LABEL)
        if widest <= 2 * pitch or pitch < 0.8 * high:
            return high * (2 if pitch < widest <= 2 * pitch else 1) + pen.px(8)
        return ceil(widest * sin(TURN) + high)

    def _labels(self, pen: Pen, scale: Scale, strip: Box) -> None:
        """In the middle below each bar; where they would touch, in two lines, or turned, and at last not all."""
        widest, high, pitch = self._widest(pen), line(pen, LABEL), scale.pitch
        turned = widest > 2 * pitch and pitch >= 0.8 * high
        every, ends = 1 if turned or widest <= 2 * pitch else ceil(widest / pitch), dict[float, float]()
        for k in range(scale.start, min(scale.stop, len(self.labels)), every):
            here, middle = self._here(k), (scale.x(k) + scale.x(k + 1)) / 2
            ink, weight = ("ink", 500) if here else ("dim", 400)
            wide = width(pen, self.labels[k], LABEL, weight=500) + 1
            if turned:
                start = middle - 0.36 * LABEL * pen.unit
                if start + (wide + high) * cos(TURN) <= strip.right and wide * sin(TURN) + high / 2 <= strip.h:
                    pen.ctx.save()
                    pen.ctx.translate(round(start), strip.y + pen.px(12))
                    pen.ctx.rotate(TURN)
                    pen.text(0, 0, self.labels[k], LABEL, ink, weight=weight)
                    pen.ctx.restore()
                continue
            y = strip.y + pen.px(4) + (k - scale.start) % 2 * high * (pitch < widest <= 2 * pitch)
            if wide <= strip.w:
                x = min(max(middle - wide / 2, strip.x), strip.right - wide)
                if x < ends.get(y, x):  # the one before was moved to where there is room for it
                    continue
                ends[y] = x + wide
                write(pen, Box(x, y, wide, high), self.labels[k], LABEL, ink, weight=weight, align="center")

    def _here(self, k: int) -> bool:
        return self.now[0] <= k < self.now[1] or self.now[0] == self.now[1]

    def _bar(self, pen: Pen, scale: Scale, k: int, top: float, bottom: float) -> None:
        from ...theme import mix

        inset, zero = max(1, round(scale.pitch * 0.1)) if scale.pitch >= 3 else 0, scale.y(0)
        left, wide = scale.x(k) + inset, max(1, scale.x(k + 1) - scale.x(k) - 2 * inset)
        left = min(left, scale.x(scale.stop) - wide)
        there = min(1.0, max(0.0, self.seen - k))
        if there == 0:
            up, down = min(pen.px(TO_COME), zero - top), min(pen.px(TO_COME), bottom - zero)
            pen.frame(Box(left, zero - up, wide, max(2, up + down)), "faint", radius=6, dash=7)
            return
        if k < len(self.was):
            pen.frame(_between(left, wide, scale.y(self.was[k]), zero), "dim", radius=3, dash=4)
        if isfinite(self.values[k]):
            color = pen.color(hue(self.tensor))
            color = color if self._here(k) else mix(pen.color(self.ground), color, 0.5)
            radius = 4 if wide > pen.px(16) else 2
            pen.fill(_between(left, wide, scale.y(self.values[k] * there), zero), color, radius=radius)

    def _number(self, pen: Pen, scale: Scale, k: int, high: int, size: float, plate: str) -> None:
        """Beyond the bar's tip, on a plate of its own: a level's line does not run through it."""
        words, tip = fixed(self.values[k], self.digits), scale.y(self.values[k])
        wide = min(ceil(pen.figure_width(words, size)) + pen.px(6), scale.x(k + 1) - scale.x(k))
        left = (scale.x(k) + scale.x(k + 1) - wide) // 2
        place = Box(left, tip - high if self.values[k] >= 0 else tip + pen.px(2), wide, high)
        pen.fill(place.inset(0, pen.px(4)), plate)
        write(pen, place, words, size, "ink" if self._here(k) else "dim", weight=600, mono=True, align="center")

    def _levels(self, pen: Pen, scale: Scale, margin: Box) -> None:
        """Lines, and their names after them, which keep clear of each other."""
        there = [level for level in self.levels if level.value is not None and isfinite(level.value)]
        there = [level for level in there if scale.x(level.start) < scale.x(level.stop)]
        for level in there:
            y = scale.y(float(level.value or 0)) + 0.5
            path: list[tuple[float, float]] = [(scale.x(level.start), y), (scale.x(level.stop), y)]
            pen.line(path, level.hue, width=3 if level.dash else 4, dash=level.dash)
        high = line(pen, BODY)
        named = [one for one in there if one.name and scale.start < min(one.stop, len(self.values)) <= scale.stop]
        named = named[max(0, len(named) - int(margin.h // high)) :]  # where height is short, the last ones
        wanted = [self._clear(pen, scale, scale.y(float(level.value or 0)) - high / 2, high, level) for level in named]
        for level, y in zip(named, spread(wanted, high, margin.y, margin.bottom - high), strict=True):
            left = scale.x(level.stop) + pen.px(16)
            place = Box(left, round(y), margin.right - left, high)
            write(pen, place, level.name, BODY, level.hue, weight=600, mono=True)

    def _clear(self, pen: Pen, scale: Scale, y: float, high: int, level: Level) -> float:
        """Where a name stands that would lie on outlines of what is to come: above them or below, what is nearer."""
        above, below = scale.y(0) - pen.px(TO_COME + 2) - high, scale.y(0) + pen.px(TO_COME + 2)
        free = min(level.stop, self.seen) >= len(self.values) or not above < y < below
        return y if free else above if y - above <= below - y else below


def _between(left: int, wide: int, a: int, b: int) -> Box:
    return Box(left, min(a, b), wide, max(1, abs(a - b)))
