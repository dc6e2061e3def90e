"""Tapes: what crosses the bus, in order, each transfer as wide as its bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from ...theme import BODY, HEAD, LABEL
from ...units import size_of
from ..boxes import Box
from .actor import Actor
from .bars import Piece
from .writing import line, spread, width, write

if TYPE_CHECKING:
    import cairo

    from ...theme import Theme
    from ..pen import Pen


HUES = ("Q", "K", "V", "S", "O", "stat")


class Stretch(NamedTuple):
    """A part of a tape: pieces that cross one after another, or, where there are too many to tell apart, what they are
    on average, one above the other."""

    amount: float
    pieces: tuple[Piece, ...]
    name: str = ""


def transfers(pieces: Iterable[Piece]) -> tuple[Stretch, ...]:
    """Each transfer on its own."""
    return tuple(Stretch(piece.amount, (piece,), piece.name) for piece in pieces)


def averaged(rounds: Iterable[Iterable[Piece]]) -> tuple[Stretch, ...]:
    """A stretch a round: how much of it is of which hue, read and written. Neighbours that look alike are one."""
    found: list[tuple[float, dict[tuple[str, bool], float]]] = []
    for pieces in rounds:
        parts: dict[tuple[str, bool], float] = {}
        for piece in pieces:
            kind = piece.hue, piece.written
            parts[kind] = parts.get(kind, 0.0) + piece.amount
        amount = sum(parts.values())
        shares = {kind: round(part / amount, 2) for kind, part in sorted(parts.items(), key=_place)}
        if found and found[-1][1] == shares:
            found[-1] = found[-1][0] + amount, shares
        elif amount:
            found.append((amount, shares))
    return tuple(
        Stretch(amount, tuple(Piece(of * amount, *kind) for kind, of in shares.items())) for amount, shares in found
    )


def _place(part: tuple[tuple[str, bool], float]) -> tuple[bool, int]:
    """Read before written, in the order of tensors."""
    (color, written), _ = part
    return written, HUES.index(color) if color in HUES else len(HUES)


@dataclass(frozen=True)
class Lane(Actor):
    """A tape with its name, and `under` it what it does; `status` is how far it has come. `names` stand on the tape,
    each from some amount to another."""

    name: str
    tape: tuple[Stretch, ...]
    under: str = ""
    status: str = ""
    names: tuple[tuple[float, float, str], ...] = ()

    @cached_property
    def total(self) -> float:
        return sum(stretch.amount for stretch in self.tape)


class Mark(NamedTuple):
    """A piece of a tape in px, seen from the tape's top left."""

    box: Box
    hue: str
    written: bool


@lru_cache(maxsize=64)
def marks(tape: tuple[Stretch, ...], most: float, w: int, h: int, apart: int) -> tuple[Mark, ...]:
    """Where each piece stands on `w` × `h` px that hold `most`. Those wider than `apart` leave a px to the next."""
    found, at = [], 0.0
    for stretch in tape:
        left, right = (round(w * min(1.0, x / most)) for x in (at, at + stretch.amount))
        at += stretch.amount
        right -= right - left > apart and len(stretch.pieces) == 1
        whole, y = sum(piece.amount for piece in stretch.pieces) or 1.0, 0.0
        for piece in stretch.pieces:
            top, y = round(y), y + h * piece.amount / whole
            if right > left and round(y) > top:
                found.append(Mark(Box(left, top, right - left, round(y) - top), piece.hue, piece.written))
    return tuple(found)


def _draw(pen: Pen, tape: tuple[Stretch, ...], most: float, room: Box, live: bool) -> None:
    """A tape as it looks when all has moved or, if not `live`, nothing yet: a hue at a time, for marks are many."""
    from ...theme import mix

    found = marks(tape, most, int(room.w), int(room.h), pen.px(8))

    def path(some: Iterable[Mark]) -> None:
        pen.ctx.new_path()
        for mark in some:
            pen.ctx.rectangle(room.x + mark.box.x, room.y + mark.box.y, mark.box.w, mark.box.h)

    for name in dict.fromkeys(mark.hue for mark in found):
        path(mark for mark in found if mark.hue == name)
        pen.source(name if live else mix(pen.theme.bg, pen.color(name), 0.22))
        pen.ctx.fill()
    if live and any(mark.written for mark in found):
        pen.ctx.save()
        path(mark for mark in found if mark.written)
        pen.ctx.clip()
        pen.hatch(room, "bg")
        pen.ctx.restore()


@lru_cache(maxsize=32)
def _picture(
    tape: tuple[Stretch, ...], most: float, w: int, h: int, theme: Theme, unit: float, live: bool
) -> cairo.ImageSurface:
    """The same once: of a tape that fills up, each frame shows a part of one picture and the rest of the other."""
    import cairo

    from ..pen import Pen

    surface = cairo.ImageSurface(cairo.FORMAT_ARGB32, w, h)
    _draw(Pen(cairo.Context(surface), theme, unit), tape, most, Box(0, 0, w, h), live)
    return surface


@dataclass(frozen=True)
class Lanes(Actor):
    """Tapes on one axis from 0 to `most`; all have moved `moved` bytes, or are finished. What is to come is pale."""

    lanes: tuple[Lane, ...]
    moved: float
    most: float
    says: str = "{} so far"

    def draw(self, pen: Pen, box: Box) -> None:
        wide = [max(width(pen, one.name, HEAD, weight=600), width(pen, one.under, LABEL)) for one in self.lanes]
        names = max(wide, default=0.0)
        beside = names <= 0.26 * box.w
        left = box.x + (ceil(names) + pen.px(36) if beside else 0)
        figure = ceil(width(pen, "0,000 B", BODY, weight=600, mono=True)) + pen.px(30)
        head, room = line(pen, LABEL) + pen.px(6), max(1, box.right - left - figure)
        pitch = (box.h - head) / max(1, len(self.lanes))
        above = 0 if beside or pitch < 2.5 * line(pen, HEAD) else line(pen, HEAD) + pen.px(10)
        below = line(pen, LABEL) + pen.px(6) if pitch >= above + 2 * line(pen, HEAD) else pen.px(8)
        high = round(max(2, min(0.4 * pitch, pitch - above - below - pen.px(20))))
        for n, lane in enumerate(self.lanes):
            top, stop = (round(box.y + head + k * pitch) for k in (n, n + 1))
            here = Box(left, top + above + max(0, (stop - top - above - below - high) // 2), room, high)
            beside_it = Box(box.x, here.y, left - box.x - pen.px(36), high)
            self._name(
                pen, lane, beside_it if beside else Box(box.x, here.y - above, box.w, above - pen.px(10)), beside
            )
            self._tape(pen, lane, here, box)
            under = Box(left, here.bottom + pen.px(6), box.right - left, below - pen.px(6))
            self._status(pen, lane, under, left + self.length(min(self.moved, lane.total), room))
        words, x = self.says.format(size_of(self.moved)), left + self.length(self.moved, room)
        half = width(pen, words, LABEL, weight=600) / 2 + 1
        at = spread([x - half], 0, box.x, max(box.x, box.right - 2 * half))[0]
        write(pen, Box(at, box.y, box.right - at, head - pen.px(4)), words, LABEL, "accent", weight=600)

    def length(self, amount: float, room: float) -> int:
        return round(room * min(1.0, amount / self.most))

    def _name(self, pen: Pen, lane: Lane, box: Box, beside: bool) -> None:
        if not beside:
            left = write(pen, box, lane.name, BODY, weight=600)
            gap = pen.px(18)
            write(pen, Box(box.x + left + gap, box.y, box.w - left - gap, box.h), lane.under, LABEL, "dim")
            return
        top = box.y + (box.h - line(pen, HEAD) - line(pen, LABEL)) // 2
        write(pen, Box(box.x, top, box.w, line(pen, HEAD)), lane.name, HEAD, weight=600)
        write(pen, Box(box.x, top + line(pen, HEAD), box.w, line(pen, LABEL)), lane.under, LABEL, "dim")

    def _tape(self, pen: Pen, lane: Lane, room: Box, box: Box) -> None:
        import cairo

        done = self.length(min(self.moved, lane.total), room.w)
        key = lane.tape, self.most, int(room.w), int(room.h), pen.theme, pen.unit
        for live, start, stop in ((True, 0.0, float(done)), (False, float(done), room.w)):
            if stop > start:
                pen.ctx.save()
                pen.ctx.rectangle(room.x + start, room.y, stop - start, room.h)
                pen.ctx.clip()
                if isinstance(pen.ctx.get_group_target(), cairo.ImageSurface):
                    pen.ctx.set_source_surface(_picture(*key, live), room.x, room.y)
                    pen.ctx.paint()
                else:  # a file of shapes takes shapes
                    _draw(pen, lane.tape, self.most, room, live)
                pen.ctx.restore()
        for start, stop, words in lane.names:
            left, wide = self.length(start, room.w), width(pen, words, LABEL, weight=500) + pen.px(20)
            long = self.length(stop, room.w) - left
            middle = left + (long - wide) / 2
            if 0 < wide <= long and self.length(self.moved, room.w) <= middle:  # only on what is to come: it is pale
                write(pen, Box(room.x + middle, room.y, wide, room.h), words, LABEL, weight=500, align="center")
            if start > 0:
                pen.fill(Box(room.x + left - 1, room.y, max(2, pen.px(4)), room.h), "bg")
        if self.moved <= lane.total:  # of those that are done, the line goes on without them
            over, thick = pen.px(8), max(1, pen.px(4))
            x = max(box.x, room.x + self.length(self.moved, room.w) - thick // 2)
            pen.fill(Box(x, room.y - over, thick, min(room.h + 2 * over, box.bottom - room.y + over)), "accent")
        end = room.x + self.length(lane.total, room.w)
        pen.fill(Box(end + pen.px(3), room.y - pen.px(6), max(2, pen.px(5)), room.h + 2 * pen.px(6)), "ink", radius=2)
        place = Box(end + pen.px(22), room.y, box.right - end - pen.px(22), room.h)
        write(
            pen, place, size_of(lane.total), BODY, "ink" if self.moved >= lane.total else "dim", weight=600, mono=True
        )

    def _status(self, pen: Pen, lane: Lane, box: Box, x: float) -> None:
        """Behind the line, where there is room, else as far to the right as there is."""
        wide = width(pen, lane.status, LABEL) + 1
        left = spread([x + pen.px(16)], 0, box.x, max(box.x, box.right - wide))[0]
        write(pen, Box(left, box.y, box.right - left, box.h), lane.status, LABEL)
