"""Kinds of tiles: a sample of each, as it looks in a matrix, with how many there are and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from ...theme import BODY, LABEL
from ..boxes import Box
from .actor import Actor
from .writing import line, write

if TYPE_CHECKING:
    from ..pen import Pen

Look = Literal["full", "cut", "skipped"]


class Kind(NamedTuple):
    """How its tiles look, how many they are, and what is to be said of them."""

    look: Look
    title: str
    words: str


@dataclass(frozen=True)
class Kinds(Actor):
    """`seen` of them are there by now; those that are not leave their places free."""

    kinds: tuple[Kind, ...]
    seen: float = float("inf")

    def draw(self, pen: Pen, box: Box) -> None:
        pitch = box.h / len(self.kinds)
        side = round(min(pen.px(64), 0.8 * pitch))
        for n, kind in enumerate(self.kinds):
            if n >= self.seen:
                return
            middle = box.y + (n + 0.5) * pitch
            sample = Box(box.x + 4, round(middle - side / 2), side, side)
            self._sample(pen, sample, kind.look)
            left, high = sample.right + pen.px(30), line(pen, BODY)
            room = box.right - left
            if pitch < high + line(pen, LABEL):  # no room for both lines
                write(pen, Box(left, round(middle - high / 2), room, high), kind.title, LABEL, weight=600)
                continue
            write(pen, Box(left, round(middle - high), room, high), kind.title, BODY, weight=600)
            write(pen, Box(left, round(middle), room, line(pen, LABEL)), kind.words, LABEL, "dim")

    def _sample(self, pen: Pen, box: Box, look: Look) -> None:
        if look == "skipped":
            pen.cross(box, "faint", radius=6)
            return
        pen.fill(box, "S", radius=6, alpha=0.6)
        if look == "cut":
            pen.ctx.move_to(box.x, box.y)
            pen.ctx.line_to(box.right, box.y)
            pen.ctx.line_to(box.right, box.bottom)
            pen.ctx.close_path()
            pen.source("bg")
            pen.ctx.fill()
            pen.frame(box.grown(3), "accent", width=4, radius=8)
