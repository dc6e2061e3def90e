"""Horizontal bars on one fixed axis: what stays the same stands still."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, NamedTuple, Self

from ...theme import BODY, LABEL, SMALL
from ...units import size_of, time_of
from .. import values
from ..boxes import Box
from .actor import Actor
from .writing import line, spread, width, write

if TYPE_CHECKING:
    from ..pen import Pen


CLEAR = 10  # units: nearer to a line a number does not stand, where there is room beyond


class Piece(NamedTuple):
    """A part of a bar, in a hue. What is written is hatched."""

    amount: float
    hue: str
    written: bool = False
    name: str = ""


class Mark(NamedTuple):
    """A dashed line across all bars at a value, with its name above."""

    value: float | None
    name: str = ""
    hue: str = "dim"


@dataclass(frozen=True)
class Bar(Actor):
    """`value` is its length and its number. `pieces` are what it is made of, in order, shown as far as the value
    goes; `whole` is a dashed outline, `under` stands below the name, `inside` on the bar, `note` after the number.
    `error` is ± so much. A bar without a number has `figure` False; and number and note are only there while the bar
    `stands`: one that is on its way, or has yet to come, has none that is right."""

    name: str
    value: float
    hue: str = "accent"
    pieces: tuple[Piece, ...] = ()
    under: str = ""
    inside: str = ""
    note: str = ""
    whole: float | None = None
    error: float = 0.0
    figure: bool = True
    stands: bool = True

    def at(self, t: float) -> Self:
        shown = super().at(t)
        to_come = shown.value == 0 and values.changes(self.value)
        return replace(shown, stands=False) if to_come or not values.stands(self.value, t) else shown


def says_how(says: str, value: float) -> str:
    """A value as "bytes", as a "time", or as a format such as "{:.2f}×" has it."""
    return size_of(value) if says == "bytes" else time_of(value) if says == "time" else says.format(value)


@dataclass(frozen=True)
class Bars(Actor):
    """The axis goes from 0 to `most`, whatever the bars are. `says` is how numbers are written ("bytes", "time", or a
    format), `size` how large; `ticks` are (value, words) below. Room for numbers is that of the one at `most`, and of
    `widest`. `ground` is what they stand on."""

    bars: tuple[Bar, ...]
    most: float
    says: str = "bytes"
    marks: tuple[Mark, ...] = ()
    ticks: tuple[tuple[float, str], ...] = ()
    title: str = ""
    widest: str = ""
    size: float = BODY
    ground: str = "bg"

    def draw(self, pen: Pen, box: Box) -> None:
        if self.title:
            strip = line(pen, LABEL) + pen.px(8)
            write(pen, Box(box.x, box.y, box.w, strip), self.title, LABEL, "dim")
            box = Box(box.x, box.y + strip, box.w, box.h - strip)
        names = max((self._name_width(pen, bar) for bar in self.bars), default=0.0)
        beside = names <= 0.3 * box.w
        left = box.x + (ceil(names) + pen.px(28) if beside and names else 0)
        room = max(1, box.right - left - self._room_for_numbers(pen))
        above, below = self._margins(pen, box.h)
        plot = Box(left, box.y + above, room, max(1, box.h - above - below))
        if below:
            self._axis(pen, plot, box)
        pitch = plot.h / max(1, len(self.bars))
        head = 0 if beside or not names else min(line(pen, LABEL), round(pitch * 0.6))
        high = max(2, round(min(pen.px(96), (pitch - head) * 0.64)))
        places = []
        for n, bar in enumerate(self.bars):
            top = round(plot.y + n * pitch)
            tall = round(plot.y + (n + 1) * pitch) - top
            here = Box(left, top + head + (tall - head - high) // 2, room, high)
            self._bar(pen, bar, here)
            beside_it, above_it = (
                Box(box.x, top, left - box.x - pen.px(28), tall),
                Box(box.x, here.y - head, box.w, head),
            )
            places.append((bar, here, beside_it if beside else above_it))
        for mark in self.marks:
            if mark.value is not None and 0 <= mark.value <= self.most:
                self._mark(pen, mark, plot, box)
        for bar, here, name in places:  # words come last: no line runs through them
            if names:
                self._name(pen, bar, name, beside)
            self._inside(pen, bar, here)
            self._figure(pen, bar, here, box)

    def length(self, value: float, room: float) -> int:
        """How long a value is on an axis of `room` px."""
        return round(room * min(1.0, max(0.0, value / self.most)))

    def _name_width(self, pen: Pen, bar: Bar) -> float:
        return max(width(pen, bar.name, BODY, weight=600), width(pen, bar.under, LABEL))

    def _room_for_numbers(self, pen: Pen) -> int:
        if not any(bar.figure or bar.note for bar in self.bars):
            return 0
        words = [self.widest or says_how(self.says, self.most), *(["0,000 B"] if self.says == "bytes" else [])]
        notes = max((width(pen, bar.note, LABEL) + pen.px(14) for bar in self.bars if bar.note), default=0.0)
        return ceil(max(width(pen, w, self.size, weight=600, mono=True) for w in words) + notes) + pen.px(18)

    def _margins(self, pen: Pen, high: float) -> tuple[int, int]:
        """What names of marks need above and ticks below, in px, where there is height for them."""
        if not pen.fits(LABEL):
            return 0, 0
        above = line(pen, LABEL) if any(mark.name for mark in self.marks) else 0
        below = line(pen, LABEL) + pen.px(16) if self.ticks else 0
        return (above, below) if above + below <= 0.4 * high else (0, 0)

    def _name(self, pen: Pen, bar: Bar, box: Box, beside: bool) -> None:
        high, under = line(pen, BODY), line(pen, LABEL)
        if not beside:  # on a plate: no mark runs through it
            wide = width(pen, bar.name, LABEL, weight=600) + width(pen, bar.under, LABEL) + pen.px(16)
            pen.fill(box._replace(w=min(box.w, wide)), self.ground)
            left = write(pen, box, bar.name, LABEL, weight=600)
            gap = pen.px(16)
            write(pen, Box(box.x + left + gap, box.y, box.w - left - gap, box.h), bar.under, LABEL, "dim")
        elif not bar.under or high + under > box.h:
            write(pen, box, bar.name, BODY, weight=600)
        else:
            top = box.y + (box.h - high - under) // 2
            write(pen, Box(box.x, top, box.w, high), bar.name, BODY, weight=600)
            write(pen, Box(box.x, top + high, box.w, under), bar.under, LABEL, "dim")

    def _bar(self, pen: Pen, bar: Bar, room: Box) -> None:
        from ...theme import ink_on

        for piece, here in self._pieces(bar, room):
            pen.fill(here, piece.hue, radius=0 if bar.pieces else 4)
            if piece.written:
                pen.hatch(here, "bg")
        if bar.whole is not None:
            pen.frame(Box(room.x, room.y, max(2, self.length(bar.whole, room.w)), room.h), "dim", radius=4, dash=8)
        if bar.error:
            end = self.length(bar.value, room.w)
            ends = [room.x + self.length(bar.value + by, room.w) for by in (-bar.error, bar.error)]
            middle, half = room.y + room.h // 2, min(pen.px(12), room.h // 2)
            on = ink_on(pen.color(bar.hue))  # a bar may be as bright as ink is
            pen.line([(ends[0], middle), (room.x + end, middle)], on, width=3)
            pen.line([(room.x + end, middle), (ends[1], middle)], "ink", width=3)
            for x, color in zip(ends, (on, "ink"), strict=True):
                pen.line([(x, middle - half), (x, middle + half)], color, width=3)

    def _pieces(self, bar: Bar, room: Box) -> list[tuple[Piece, Box]]:
        """Where each that is there stands."""
        found, at = [], 0.0
        for piece in bar.pieces or (Piece(bar.value, bar.hue),):
            start, stop = (self.length(min(bar.value, edge), room.w) for edge in (at, at + piece.amount))
            at += piece.amount
            gap = 1 if bar.pieces and stop - start > 8 and at < bar.value else 0  # like pieces are told apart
            thin = bar.value > 0 and not bar.pieces  # and yet there
            here = Box(room.x + start, room.y, max(stop - start - gap, int(thin)), room.h)
            if here.w > 0:
                found.append((piece, here))
        return found

    def _lines(self, bar: Bar, room: Box) -> list[float]:
        """Where lines cross a bar, in px from the left."""
        values = [bar.whole, *(mark.value for mark in self.marks)]
        return sorted(room.x + self.length(value, room.w) for value in values if value)

    def _figure(self, pen: Pen, bar: Bar, room: Box, box: Box) -> None:
        """The number and what is said of it, right after the bar, or after a line that would run through them."""
        if not bar.stands:
            return
        x = room.x + self.length(bar.value + bar.error, room.w) + pen.px(18)
        high = line(pen, self.size)
        y = min(max(room.y + (room.h - high) // 2, box.y), max(box.y, box.bottom - high))
        place = Box(x, y, box.right - x, min(high, box.bottom - y))
        said = says_how(self.says, bar.value) + (f" ± {bar.error:g}" if bar.error else "") if bar.figure else ""
        wide = width(pen, said, self.size, weight=600, mono=True) + bool(bar.note) * (
            width(pen, bar.note, LABEL) + pen.px(14)
        )
        clear, after = pen.px(CLEAR), pen.px(18)
        for edge in self._lines(bar, room):
            if x - clear < edge < x + wide + clear:  # close to what it is after, else beyond the line
                before = edge - clear - wide
                x = before if x - after + clear <= before else min(edge + after, max(x, box.right - wide))
        place = place._replace(x=x, w=box.right - x)
        if wide:
            pen.fill(Box(x - pen.px(6), place.y, min(place.w, wide + pen.px(12)), place.h), self.ground)
        used = write(pen, place, said, self.size, weight=600, mono=True)
        used += pen.px(14) if used else 0
        write(pen, Box(x + used, place.y, place.w - used, place.h), bar.note, LABEL, "dim")

    def _inside(self, pen: Pen, bar: Bar, room: Box) -> None:
        """What stands on a bar: its pieces' names, and what is `inside`."""
        from ...theme import ink_on

        lines = self._lines(bar, room)
        for piece, here in self._pieces(bar, room):
            if piece.name:
                self._piece(pen, here, piece, lines)
        if bar.inside:
            within = Box(room.x, room.y, self.length(bar.value, room.w), room.h).inset(pen.px(14), 0)
            size = next((s for s in (BODY, LABEL, SMALL) if width(pen, bar.inside, s, weight=500) <= within.w), SMALL)
            wide = width(pen, bar.inside, size, weight=500)
            if wide <= within.w:
                if any(within.x <= x <= within.x + wide for x in lines):
                    pen.fill(within._replace(w=ceil(wide)), bar.hue)
                write(pen, within, bar.inside, size, ink_on(pen.color(bar.hue)), weight=500)

    def _piece(self, pen: Pen, box: Box, piece: Piece, lines: list[float]) -> None:
        """A piece's name in its middle, if there is room; on a plate where there are hatches, or a line."""
        from ...theme import ink_on

        words, color = piece.name, piece.hue
        wide = width(pen, words, LABEL, weight=600) + pen.px(16)
        if not pen.fits(LABEL) or wide > box.w or box.h < line(pen, LABEL):
            return
        place = Box(
            round(box.x + (box.w - wide) / 2),
            round(box.y + (box.h - line(pen, LABEL)) / 2),
            round(wide),
            line(pen, LABEL),
        )
        if piece.written or any(place.x <= x <= place.right for x in lines):
            pen.fill(place, color, radius=8)
        write(pen, place, words, LABEL, ink_on(pen.color(color)), weight=600, align="center")

    def _mark(self, pen: Pen, mark: Mark, plot: Box, box: Box) -> None:
        half = pen.stroke_width(3) / 2
        x = min(max(plot.x + self.length(mark.value or 0, plot.w), box.x + half), box.right - half)
        pen.line([(x, plot.y), (x, plot.bottom)], mark.hue, width=3, dash=8)
        if mark.name and plot.y > box.y:
            half = width(pen, mark.name, LABEL, weight=600) / 2 + 1
            left = spread([x - half], 0, box.x, max(box.x, box.right - 2 * half))[0]
            write(
                pen,
                Box(left, plot.y - line(pen, LABEL), min(2 * half, box.right - left), line(pen, LABEL)),
                mark.name,
                LABEL,
                mark.hue,
                weight=600,
            )

    def _axis(self, pen: Pen, plot: Box, box: Box) -> None:
        y, tick = round(plot.bottom), pen.px(8)
        pen.fill(Box(plot.x, y, plot.w, max(1, pen.px(2))), "line")
        pen.fill(Box(plot.x, plot.y, max(1, pen.px(2)), plot.h), "line")
        for value, words in self.ticks:
            x = plot.x + self.length(value, plot.w)
            pen.fill(Box(min(x, plot.right - 2), y, max(1, pen.px(2)), tick), "line")
            wide = width(pen, words, LABEL, mono=True) + 1
            if 1 < wide <= box.w:
                start = spread([x - wide / 2], 0, box.x, box.right - wide)[0]
                write(pen, Box(start, y + tick, wide, line(pen, LABEL)), words, LABEL, "dim", mono=True, align="center")


@dataclass(frozen=True)
class Legend(Actor):
    """What colours mean: squares side by side, each with its name after it, in further lines where they don't fit."""

    pieces: tuple[Piece, ...]

    def draw(self, pen: Pen, box: Box) -> None:
        side, gap, high = pen.px(26), pen.px(36), line(pen, LABEL)
        if not pen.fits(LABEL):
            return
        rows: list[list[tuple[float, Piece]]] = [[]]
        x = 0.0
        for piece in self.pieces:
            wide = side + pen.px(12) + width(pen, piece.name, LABEL)
            if rows[-1] and x + wide > box.w:
                rows.append([])
                x = 0.0
            rows[-1].append((x, piece))
            x += wide + gap
        top = box.y + max(0, (box.h - high * len(rows)) // 2)
        for n, row in enumerate(rows):
            y = top + n * high
            if y + high > box.bottom:
                return
            for x, piece in row:
                here = Box(round(box.x + x), y + (high - side) // 2, side, side)
                if here.right > box.right:
                    continue
                pen.fill(here, piece.hue, radius=4)
                if piece.written:
                    pen.hatch(here, "bg")
                after = here.right + pen.px(12)
                write(pen, Box(after, y, box.right - after, high), piece.name, LABEL, "dim")
