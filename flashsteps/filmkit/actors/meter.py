"""The meter: bytes read from HBM and written to it so far, by tensor, beside what standard attention moves in all."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from ... import theme
from ...machine.devices import MODEL
from ...units import size_of
from ..boxes import Box
from .of_run import OfRun

if TYPE_CHECKING:
    from ..pen import Pen


#: which of a tensor's bytes are written: the others are read
WRITTEN = 1

#: of each row: what is said of it, where there is room and where there is less
ROWS = ("read from HBM", "read"), ("written to HBM", "written"), ("both, so far", "both")


@dataclass(frozen=True)
class Meter(OfRun):
    """A row for each way: neither is before the other. `standard` is whether dashes around each say what standard
    attention moves in all, that way."""

    standard: bool = True

    def seen(self) -> Hashable:
        return tuple(sorted(self.run.moved(self.now).items()))

    def differs(self, before: Self, pen: Pen, box: Box) -> tuple[Box, ...]:
        """Reading draws nothing anew of what was written."""
        if (before.run, before.standard) != (self.run, self.standard):
            return (box,)
        was, now = dict(before.looks), dict(self.looks)
        *ways, both = _rows(pen, box)
        names = {*was, *now}
        changed = (any(was.get(n, (0, 0))[side] != now.get(n, (0, 0))[side] for n in names) for side in (0, 1))
        return *(way for way, other in zip(ways, changed, strict=True) if other), both

    def draw(self, pen: Pen, box: Box) -> None:
        run, moved, less = self.run, dict(self.looks), box.w < pen.px(1200)
        so_far = [sum(pair[side] for pair in moved.values()) for side in (0, 1)]
        standard = (run.standard.read, run.standard.written) if self.standard else (0, 0)
        gap, rows = pen.px(16), _rows(pen, box)
        pitch = int(rows[0].h)
        base = pitch // 2 + pen.px(10)
        figure = box.x + max(pen.width(words[less], theme.LABEL) for words in ROWS) + gap
        left = round(figure + pen.figure_width(max("00.0 KB", size_of(run.total.total), key=len)) + gap)
        scale = (box.right - left) / max(1, run.total.read, run.total.written, *standard)
        for row, words, nbytes in zip(rows, ROWS, (*so_far, sum(so_far)), strict=True):
            if pen.sees(row):
                pen.label(box.x, row.y + base, words[less])
                pen.figure(left - gap, row.y + base, size_of(nbytes), align="right")
        for side, whole in enumerate(standard):
            if not pen.sees(rows[side]):
                continue
            y, high = rows[side].y, pitch - pen.px(16)
            pieces = list(_pieces(moved, side, left, scale, y + (pitch - pen.px(2) - high) // 2, high))
            for name, piece in pieces:
                pen.fill(piece, theme.hue(name))
                if side == WRITTEN:
                    pen.hatch(piece, "bg")
            if whole:
                pen.frame(
                    Box(left, y + pen.px(1), whole * scale, pitch - pen.px(4)).whole(),
                    "ink",
                    alpha=0.6,
                    radius=4,
                    dash=8,
                )
            for name, piece in pieces:
                _name(pen, name, piece)
        y, x = rows[-1].y + base, float(left)
        if self.standard:
            swatch = Box(x, y - pen.px(24), pen.px(34), pen.px(28)).whole()
            if pen.fits(theme.LABEL):
                pen.frame(swatch, "dim", radius=4, dash=8)
            x = swatch.right + pen.px(12)
            x += pen.label(x, y, "standard, in all" if not less else "standard") + pen.px(14)
            x += pen.figure(x, y, size_of(run.standard.total), "dim") + pen.px(36)
        if x + pen.width(MODEL, theme.LABEL) <= box.right:
            pen.label(box.right, y, MODEL, align="right")


def _rows(pen: Pen, box: Box) -> list[Box]:
    """Where what is read, what is written, and both stand."""
    pitch = min(pen.px(52), box.h // len(ROWS))
    return [Box(box.x, box.y + n * pitch, box.w, pitch) for n in range(len(ROWS))]


def _pieces(
    moved: Mapping[str, tuple[int, int]], side: int, x: float, scale: float, y: float, h: float
) -> Iterator[tuple[str, Box]]:
    """The bytes of one way as a bar from x, tensor by tensor."""
    for name in sorted(moved, key=theme.rank):
        end = x + moved[name][side] * scale
        if round(end) > round(x):
            yield name, Box(round(x), y, round(end) - round(x), h)
        x = end


def _name(pen: Pen, name: str, piece: Box) -> None:
    """A tensor's name in the middle of its piece, on its plain hue, where there is room."""
    from ...theme import ink_on

    hue, words, side = theme.hue(name), theme.label(name), pen.px(6)
    wide, middle = pen.width(words, theme.LABEL, weight=700), piece.x + piece.w / 2
    if piece.w > wide + pen.px(20) and piece.h >= pen.px(30):
        pen.fill(Box(middle - wide / 2 - side, piece.y, wide + 2 * side, piece.h), hue)
        pen.label(middle, piece.y + piece.h / 2 + pen.px(10), words, ink_on(pen.color(hue)), weight=700, align="center")
