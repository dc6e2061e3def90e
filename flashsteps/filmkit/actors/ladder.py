"""A ladder of memories: each with its size and its speed, and one square for each tile that has come from it by now."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from ...theme import HEAD, LABEL
from ..boxes import Box
from .actor import Actor
from .writing import line, width, write

if TYPE_CHECKING:
    from ..pen import Pen


class Level(NamedTuple):
    """A memory: what it holds and how fast it is (`says`), where it is (`what`), how many tiles have `come`, and how
    many there will be at `most`."""

    name: str
    says: str
    what: str
    come: float
    most: float


@dataclass(frozen=True)
class Ladder(Actor):
    """The highest level stands at the top. All squares are alike: the largest at which all that will come fits."""

    levels: tuple[Level, ...]
    hue: str = "K"
    title: str = ""
    clock: str = ""
    largest: float = 30.0

    def draw(self, pen: Pen, box: Box) -> None:
        high, gap = line(pen, LABEL), pen.px(40)
        write(pen, Box(box.x, box.y, box.w, high), self.title, LABEL, "dim")
        write(pen, Box(box.x, box.y, box.w, high), self.clock, LABEL, mono=True, align="right")
        box = Box(box.x, box.y + high + pen.px(16), box.w, box.h - high - pen.px(16))
        left = self._left(pen)
        room = Box(box.x + left + pen.px(48), box.y, box.w - left - pen.px(48), box.h)
        least = line(pen, HEAD) + 2 * high
        pitch, columns, heights = self._fit(pen, room, least, gap)
        spare = max(0, box.h - sum(heights) - gap * (len(heights) - 1)) // max(1, len(heights) - 1)
        y = box.y
        for level, tall in zip(self.levels, heights, strict=True):
            self._words(pen, level, Box(box.x, y, left, least))
            self._squares(pen, level, Box(room.x, y + pen.px(6), room.w, tall), pitch, columns)
            y += tall + gap + min(spare, pen.px(60))

    def _left(self, pen: Pen) -> int:
        """How wide names, figures and counts are."""
        first = max(width(pen, level.name, HEAD, weight=600) for level in self.levels)
        counts = max(width(pen, f"{int(level.most):,}", HEAD, weight=600, mono=True) for level in self.levels)
        words = [width(pen, level.says, LABEL, mono=True) for level in self.levels]
        words += [width(pen, level.what, LABEL) for level in self.levels]
        return ceil(max(first + pen.px(36) + counts, *words))

    def _fit(self, pen: Pen, room: Box, least: int, gap: int) -> tuple[int, int, list[int]]:
        for pitch in range(max(3, pen.px(self.largest)), 2, -1):
            columns = max(1, int(room.w // pitch))
            heights = [max(least, ceil(int(level.most) / columns) * pitch + pen.px(6)) for level in self.levels]
            if sum(heights) + gap * (len(heights) - 1) <= room.h:
                break
        return pitch, columns, heights

    def _words(self, pen: Pen, level: Level, box: Box) -> None:
        head, high = line(pen, HEAD), line(pen, LABEL)
        write(pen, Box(box.x, box.y, box.w, head), level.name, HEAD, weight=600)
        count = f"{int(level.come + 1e-9):,}"
        write(pen, Box(box.x, box.y, box.w, head), count, HEAD, self.hue, weight=600, mono=True, align="right")
        write(pen, Box(box.x, box.y + head, box.w, high), level.says, LABEL, mono=True)
        write(pen, Box(box.x, box.y + head + high, box.w, high), level.what, LABEL, "dim")

    def _squares(self, pen: Pen, level: Level, box: Box, pitch: int, columns: int) -> None:
        side = pitch - max(1, min(pen.px(6), round(pitch * 0.2)))
        for n in range(int(level.come + 1e-9)):
            row, column = divmod(n, columns)
            pen.fill(Box(box.x + column * pitch, box.y + row * pitch, side, side), self.hue)
