"""Does it fit? Bytes that blocks of several sizes take on chip, over what the chip holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..boxes import Box
from .actor import Actor

if TYPE_CHECKING:
    from ..pen import Pen


@dataclass(frozen=True)
class Fit(Actor):
    """`sizes` are (name, bytes), `room` the bytes that the chip holds: what is beyond them stands out. `note` says what
    the bytes are of."""

    sizes: tuple[tuple[str, int], ...]
    room: int
    words: str = "SRAM"
    note: str = ""

    def draw(self, pen: Pen, box: Box) -> None:
        from ...theme import LABEL, ink_on

        pitch = min(pen.px(52), box.h // (len(self.sizes) + 1))
        high = min(pen.px(34), round(pitch * 0.9))
        base = round(high / 2 + pen.px(10))
        left = box.x + pen.px(270 if box.w >= pen.px(1200) else 150)
        figure = round(pen.figure_width("00,000 B")) + pen.px(20)
        scale = max(1, box.right - left - figure) / max(self.room, *(size for _, size in self.sizes))
        edge = left + round(self.room * scale)
        for n, (name, size) in enumerate(self.sizes):
            y = box.y + n * pitch
            pen.label(box.x, y + base, name, "ink", room=left - box.x - pen.px(12))
            words, bar = f"{size:,} B", Box(left, y, round(size * scale), high)
            fits = size <= self.room
            if fits and pen.figure_width(words) + pen.px(24) <= bar.w:  # not at the line, whose value it isn't
                pen.fill(bar, "stat", radius=3)
                pen.figure(bar.right - pen.px(12), y + base, words, ink_on(pen.color("stat")), align="right")
                continue
            pen.fill(bar._replace(w=min(bar.w, edge - left)), "stat", radius=3)
            if not fits:
                over = Box(edge, y, bar.right - edge, high)
                pen.fill(over, "accent", radius=3, alpha=0.3)
                pen.frame(over, "accent", width=3, radius=3)
            pen.figure(max(bar.right, edge * fits) + pen.px(16), y + base, words, "ink" if fits else "accent")
        bottom = box.y + len(self.sizes) * pitch
        pen.line([(edge, box.y), (edge, bottom + pen.px(8))], "ink", width=3, dash=8)
        words = f"{self.words}: {self.room:,} B"
        x = min(edge + pen.px(12), box.right - pen.width(words, LABEL, weight=600))
        pen.label(x, bottom + base, words, "ink", weight=600)
        if box.x + pen.width(self.note, LABEL) + pen.px(24) <= min(x, edge):
            pen.label(box.x, bottom + base, self.note)
