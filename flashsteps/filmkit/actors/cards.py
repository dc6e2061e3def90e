"""Cards and chips: a calm panel with a sentence and figures; parameters, of which one has just changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...theme import BODY, HEAD, LABEL
from ..boxes import Box
from .actor import Actor
from .writing import Words, fitted, line, width, write

if TYPE_CHECKING:
    from ..pen import Align, Pen

PAD = 28  # units


@dataclass(frozen=True)
class Chips(Actor):
    """Parameters side by side, (name, value); the one that is `lit` has just changed and is framed."""

    chips: tuple[tuple[str, str], ...]
    lit: str = ""

    def draw(self, pen: Pen, box: Box) -> None:
        gap, most = pen.px(18), pen.px(340)
        count = max(1, len(self.chips))
        wide = int(min(most, (box.w - gap * (count - 1)) / count))
        high = min(box.h, pen.px(68))
        for n, (name, value) in enumerate(self.chips):
            here = Box(box.x + n * (wide + gap), box.y + (box.h - high) // 2, wide, high)
            lit = name == self.lit
            pen.fill(here, "panel", radius=12)
            pen.frame(here, "accent" if lit else "line", width=3 if lit else 2, radius=12)
            inner = here.inset(pen.px(18), 0)
            used = width(pen, value, BODY, weight=600, mono=True)
            write(pen, inner, value, BODY, weight=600, mono=True, align="right")
            left = inner.w - used - pen.px(12)
            if width(pen, name, LABEL) <= left:
                write(pen, Box(inner.x, inner.y, left, inner.h), name, LABEL, "dim")


@dataclass(frozen=True)
class Panel(Actor):
    """A place for others to stand on: what stands in `inside(box)` leaves its title free. `sram` is on chip: gold."""

    title: str = ""
    note: str = ""
    sram: bool = False
    lit: bool = False

    @staticmethod
    def inside(box: Box, title: bool = True) -> Box:
        """What is free of a panel in this box."""
        head = 68 if title else PAD
        return Box(box.x + PAD, box.y + head, box.w - 2 * PAD, max(1.0, box.h - head - PAD))

    def draw(self, pen: Pen, box: Box) -> None:
        pen.fill(box, "sram" if self.sram else "panel", radius=18)
        color = "accent" if self.lit else "sram_line" if self.sram else "line"
        pen.frame(box, color, width=3 if self.sram or self.lit else 2, radius=18)
        head = Box(box.x + pen.px(PAD), box.y + pen.px(14), box.w - 2 * pen.px(PAD), line(pen, HEAD))
        if head.bottom > box.bottom:
            return
        note = width(pen, self.note, LABEL) + pen.px(16) if self.note else 0
        size = BODY if width(pen, self.title, BODY, weight=600) + note <= head.w else LABEL
        left = write(pen, head, self.title, size, weight=600)
        gap = pen.px(16) if left else 0
        write(pen, Box(head.x + left + gap, head.y, head.w - left - gap, head.h), self.note, LABEL, "dim")


@dataclass(frozen=True)
class Card(Actor):
    """A panel with a title, a sentence, and figures: (name, value) in lines below it. Where there is no room for all,
    the sentence makes room for the figures; what is left out has "…" in its place."""

    title: str = ""
    words: str = ""
    figures: tuple[tuple[str, str], ...] = ()
    hue: str = "ink"
    sram: bool = False
    lit: bool = False

    def draw(self, pen: Pen, box: Box) -> None:
        pen.fill(box, "sram" if self.sram else "panel", radius=18)
        color = "accent" if self.lit else "sram_line" if self.sram else "line"
        pen.frame(box, color, width=3 if self.sram or self.lit else 2, radius=18)
        inner = box.inset(pen.px(PAD), pen.px(PAD * 0.7))
        y, high = inner.y, line(pen, LABEL)
        if self.title and y + line(pen, HEAD) <= inner.bottom:
            write(pen, Box(inner.x, y, inner.w, line(pen, HEAD)), self.title, HEAD, self.hue, weight=600)
            y += line(pen, HEAD) + pen.px(4)
        tall, gap = line(pen, BODY), pen.px(8) if self.words else 0
        for words in fitted(pen, self.words, LABEL, inner.w, inner.bottom - y - gap - tall * len(self.figures)):
            write(pen, Box(inner.x, y, inner.w, min(high, inner.bottom - y)), words, LABEL, "dim")
            y += high
        y += gap
        most = max(0, int((inner.bottom - y) // tall))
        left_out = (("…", ""),) if len(self.figures) > most else ()
        for name, value in (*self.figures[: most - len(left_out)], *left_out)[:most]:
            row = Box(inner.x, y, inner.w, tall)
            used = write(pen, row, value, BODY, weight=600, mono=True, align="right")
            write(pen, Box(row.x, row.y, row.w - used - pen.px(16), row.h), name, LABEL, "dim")
            y += row.h


@dataclass(frozen=True)
class Text(Actor):
    """A few words, such as where a figure is from, in as many lines as they need; at the box's top unless `middle`.
    Where there is no room for so many lines, the last one ends in "…"."""

    words: Words
    size: float = LABEL
    color: str = "dim"
    weight: int = 400
    mono: bool = False
    align: Align = "left"
    middle: bool = False

    def draw(self, pen: Pen, box: Box) -> None:
        high = line(pen, self.size)
        rows: list[Words] = [self.words]
        if isinstance(self.words, str):
            rows = [*fitted(pen, self.words, self.size, box.w, box.h, weight=self.weight, mono=self.mono)]
        top = box.y + (max(0, (box.h - high * len(rows)) // 2) if self.middle else 0)
        for n, words in enumerate(rows):
            here = Box(box.x, top + n * high, box.w, min(high, box.bottom - top - n * high))
            write(pen, here, words, self.size, self.color, weight=self.weight, mono=self.mono, align=self.align)
