"""Upright bars: groups side by side on one fixed axis, or one of pieces on top of each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ...theme import BODY, LABEL
from ..boxes import Box
from .actor import Actor
from .bars import Piece, says_how
from .writing import line, spread, width, write

if TYPE_CHECKING:
    from ..pen import Pen


class Group(NamedTuple):
    """Bars of one place on the axis: each value in the hue of its kind."""

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Columns(Actor):
    """The axis goes from 0 to `most`. `kinds` are (name, hue), in the order of a group's values. `grown` is how far the
    bars have come up, all at once; they have their numbers when they stand."""

    groups: tuple[Group, ...]
    kinds: tuple[tuple[str, str], ...]
    most: float
    says: str = "{:.0f}"
    title: str = ""
    name: str = ""
    grown: float = 1.0

    def draw(self, pen: Pen, box: Box) -> None:
        high = line(pen, LABEL) if pen.fits(LABEL) else 0
        head, foot = high * bool(self.title), high + high * bool(self.name)
        write(pen, Box(box.x, box.y, box.w, high), self.title, LABEL, weight=600)
        x = float(box.x)
        for name, color in self.kinds if len(self.kinds) > 1 else ():
            x += write(pen, Box(x, box.y + head, max(1, box.right - x), high), name, LABEL, color, weight=600) + pen.px(
                28
            )
        head += high * (len(self.kinds) > 1)
        plot = Box(box.x, box.y + head + high, box.w, box.h - head - high - foot)
        if plot.h < pen.px(24):
            return
        pitch = plot.w / max(1, len(self.groups))
        wide = round(min(pen.px(96), pitch * 0.8 / max(1, len(self.kinds))))
        for n, group in enumerate(self.groups):
            start = round(plot.x + (n + 0.5) * pitch - wide * len(self.kinds) / 2)
            for k, (value, (_, color)) in enumerate(zip(group.values, self.kinds, strict=False)):
                if value is None:
                    continue
                tall = round(plot.h * min(1.0, self.grown * value / self.most))
                here = Box(start + k * wide, plot.bottom - tall, wide - max(1, pen.px(4)), tall)
                pen.fill(here, color, radius=4)
                words = says_how(self.says, value)
                if self.grown == 1 and width(pen, words, LABEL, mono=True) <= wide + pen.px(20):
                    over = Box(here.x - pen.px(12), here.y - high, here.w + pen.px(24), high)
                    write(pen, over, words, LABEL, mono=True, align="center")
            under = Box(round(plot.x + n * pitch), plot.bottom + 1, round(pitch), high)
            write(pen, under, group.name, LABEL, mono=True, align="center")
        pen.fill(Box(plot.x, plot.bottom, plot.w, max(1, pen.px(2))), "line")
        write(pen, Box(box.x, box.bottom - high, box.w, high), self.name, LABEL, "dim")


@dataclass(frozen=True)
class Stack(Actor):
    """Pieces on top of each other, the first one above, with their names and `says` of their share at the right."""

    pieces: tuple[Piece, ...]
    most: float
    title: str = ""
    total: str = ""
    shares: bool = True
    wide: float = 90.0

    def draw(self, pen: Pen, box: Box) -> None:
        high = line(pen, LABEL) if pen.fits(LABEL) else 0
        write(pen, Box(box.x, box.y, box.w, high), self.title, LABEL, "dim")
        write(
            pen,
            Box(box.x, box.bottom - line(pen, BODY), box.w, line(pen, BODY)),
            self.total,
            BODY,
            weight=600,
            mono=True,
        )
        head, foot = (high + pen.px(6)) * bool(self.title), (line(pen, BODY) + pen.px(6)) * bool(self.total)
        plot = Box(box.x, box.y + head, round(min(pen.px(self.wide), box.w)), box.h - head - foot)
        if plot.h < pen.px(24):
            return
        whole, at, names = sum(piece.amount for piece in self.pieces), 0.0, []
        top = plot.bottom - plot.h * whole / self.most
        for piece in self.pieces:
            y, at = round(top + plot.h * at / self.most), at + piece.amount
            here = Box(plot.x, y, plot.w, max(0, round(top + plot.h * at / self.most) - y - max(1, pen.px(2))))
            if here.h:
                pen.fill(here, piece.hue)
                if piece.written:
                    pen.hatch(here, "bg")
            names.append((piece, here))
        room = plot.h >= 2 * high * len(self.pieces)
        tall = high * (2 if self.shares and room else 1)
        if tall * len(self.pieces) > plot.h:
            return
        wanted = [here.y + (here.h - tall) / 2 for _, here in names]
        left = plot.right + pen.px(18)
        for (piece, _), middle in zip(names, spread(wanted, tall, plot.y, plot.bottom - tall), strict=True):
            write(pen, Box(left, round(middle), box.right - left, high), piece.name, LABEL)
            if tall > high and whole:
                under = Box(left, round(middle) + high, box.right - left, high)
                write(pen, under, f"{piece.amount / whole:.0%}", LABEL, "dim", mono=True)
