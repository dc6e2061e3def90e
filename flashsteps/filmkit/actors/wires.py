"""What leads the eye from one thing to another: arrows, curved wires, brackets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...theme import LABEL
from ..boxes import Box
from .actor import Actor
from .writing import line, width, write

if TYPE_CHECKING:
    from ..pen import Pen

Direction = Literal["right", "left", "down", "up"]


@dataclass(frozen=True)
class Arrow(Actor):
    """Through the middle of the box, from side to side as far as `part` (0 … 1); its words stand above, or beside."""

    direction: Direction = "right"
    words: str = ""
    hue: str = "ink"
    part: float = 1.0

    def draw(self, pen: Pen, box: Box) -> None:
        side, edge = pen.px(12), max(2, pen.px(6))
        if self.direction in ("right", "left"):
            y, start, stop = box.y + box.h // 2, box.x + edge, box.right - edge
            if self.direction == "left":
                start, stop = stop, start
            ends = (start, y + 0.5), (start + (stop - start) * self.part, y + 0.5)
            words = Box(box.x, y - side - line(pen, LABEL), box.w, line(pen, LABEL))
            align: Literal["left", "center"] = "center"
        else:
            x, start, stop = box.x + box.w // 2, box.y + edge, box.bottom - edge
            if self.direction == "up":
                start, stop = stop, start
            ends = (x + 0.5, start), (x + 0.5, start + (stop - start) * self.part)
            words = Box(x + side + edge, box.y, max(0, box.right - x - side - edge), box.h)
            align = "left"
        if abs(ends[1][0] - ends[0][0]) + abs(ends[1][1] - ends[0][1]) > 2 * side and min(box.w, box.h) > 2 * side:
            pen.arrow(*ends, self.hue, width=4)
        if words.y >= box.y and self.words and width(pen, self.words, LABEL, weight=600) <= words.w:
            write(pen, words, self.words, LABEL, self.hue, weight=600, align=align)


@dataclass(frozen=True)
class Wire(Actor):
    """A curve from a point of the box to another, both as shares (x, y) of it; upright at its ends, or level if not."""

    start: tuple[float, float]
    stop: tuple[float, float]
    hue: str = "ink"
    width: float = 3
    upright: bool = True
    dash: float = 0

    def draw(self, pen: Pen, box: Box) -> None:
        inner = box.inset(pen.stroke_width(self.width))
        (x0, y0), (x1, y1) = ((inner.x + inner.w * x, inner.y + inner.h * y) for x, y in (self.start, self.stop))
        half = (0, (y1 - y0) / 2) if self.upright else ((x1 - x0) / 2, 0)
        pen.source(self.hue)
        pen.ctx.new_path()
        pen.ctx.move_to(x0, y0)
        pen.ctx.curve_to(x0 + half[0], y0 + half[1], x1 - half[0], y1 - half[1], x1, y1)
        pen.ctx.set_line_width(pen.stroke_width(self.width))
        pen.ctx.set_dash([self.dash * pen.unit] * 2 if self.dash else [])
        pen.ctx.stroke()
        pen.ctx.set_dash([])


@dataclass(frozen=True)
class Bracket(Actor):
    """Spans the box's side from which it opens ("down": a brace above what is below), with words at its middle."""

    opens: Direction = "down"
    words: str = ""
    hue: str = "dim"

    def draw(self, pen: Pen, box: Box) -> None:
        hook, half = pen.px(12), pen.stroke_width(3) / 2
        if self.opens in ("down", "up"):
            y, tip = (box.bottom - hook, box.bottom) if self.opens == "down" else (box.y + hook, box.y)
            path = [(box.x + half, tip), (box.x + half, y), (box.right - half, y), (box.right - half, tip)]
            free = box._replace(h=box.h - hook - pen.px(6), y=box.y if self.opens == "down" else y + pen.px(6))
            place = free._replace(
                y=free.bottom - line(pen, LABEL) if self.opens == "down" else free.y, h=line(pen, LABEL)
            )
            inside = place.y >= box.y and place.bottom <= box.bottom
        else:
            x, tip = (box.right - hook, box.right) if self.opens == "right" else (box.x + hook, box.x)
            path = [(tip, box.y + half), (x, box.y + half), (x, box.bottom - half), (tip, box.bottom - half)]
            wide = box.w - hook - pen.px(12)
            place = Box(box.x if self.opens == "right" else x + pen.px(12), box.y, max(1, wide), box.h)
            inside = True
        if min(box.w, box.h) > hook:
            pen.line(path, self.hue, width=3)
        if inside and width(pen, self.words, LABEL, weight=500) <= place.w:
            align: Literal["left", "center", "right"] = (
                "center" if self.opens in ("down", "up") else "right" if self.opens == "right" else "left"
            )
            write(pen, place, self.words, LABEL, self.hue, weight=500, align=align)
