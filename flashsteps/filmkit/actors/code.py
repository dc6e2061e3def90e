"""The source of the algorithm that ran, with the line lit that is running."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ...story.captions import shown
from ...theme import BODY, LABEL, SMALL
from ..boxes import Box
from .actor import Actor
from .of_run import OfRun

if TYPE_CHECKING:
    from .. import text as texts
    from ..pen import Pen
    from ..run import Run


@dataclass(frozen=True)
class Code(OfRun):
    """It scrolls to the line where it is too long. While nothing happens no line is lit, or, with `last`, what was."""

    last: bool = False

    def seen(self) -> Hashable:
        events = self.run.near(self.now) if self.last else self.run.events(self.now)
        return tuple(sorted({event.line for event in events}))

    def draw(self, pen: Pen, box: Box) -> None:
        pen.panel(box)
        running = frozenset(self.looks)
        _lines(pen, box.inset(pen.px(14)).whole(), source(self.run), running)


@dataclass(frozen=True)
class Listing(Actor):
    """Lines of code, (number, text), under a title; `lit` is the number of the line that is running, if any is."""

    title: str
    note: str
    lines: tuple[tuple[int, str], ...]
    lit: int = 0

    def draw(self, pen: Pen, box: Box) -> None:
        pen.panel(box)
        head = box.y + pen.px(46)
        used = pen.text(box.x + pen.px(24), head, self.title, BODY, weight=600)
        if used + pen.width(self.note, LABEL) + pen.px(70) <= box.w:
            pen.label(box.right - pen.px(24), head, self.note, align="right")
        top = box.y + pen.px(66)
        inside = Box(box.x, top, box.w, box.bottom - top).inset(pen.px(14), pen.px(4)).whole()
        _lines(pen, inside, self.lines, frozenset({self.lit}))


def _lines(pen: Pen, inside: Box, lines: tuple[tuple[int, str], ...], running: frozenset[int]) -> None:
    """As many lines as there is room for, those that are running lit and in sight."""
    size = SMALL if pen.fits(SMALL) else LABEL
    rows = _wrapped(lines, pen.style(size, mono=True), inside.w - pen.px(16))
    pitch = max(1, pen.px(size * 1.32))
    room = max(1, int(inside.h // pitch))
    lit = [n for n, (line, _) in enumerate(rows) if line in running]
    first = 0
    if len(rows) > room and lit:
        first = min(max(0, (lit[0] + lit[-1]) // 2 - room // 2), len(rows) - room, lit[0])
    for n, (line, words) in enumerate(rows[first : first + room]):
        top, on = inside.y + n * pitch, line in running
        if on:
            pen.fill(Box(inside.x, top, inside.w, pitch), "accent", radius=6, alpha=0.32)
        pen.text(inside.x + pen.px(8), top + pitch * 0.74, words, size, "ink" if on else "dim", mono=True)


def source(run: Run) -> tuple[tuple[int, str], ...]:
    """Lines of code that are none of a comment, by number."""
    lines = shown(run.trace)
    return tuple((line.number, line.code) for line in lines if line.code.strip())


@lru_cache(maxsize=32)
def _wrapped(lines: tuple[tuple[int, str], ...], style: texts.Style, room: float) -> tuple[tuple[int, str], ...]:
    """Lines indented by two instead of four, broken where they are too wide: (number, text)."""
    from .. import text as texts

    most = max(12, int(room // texts.width("0", style)) - 1)
    rows: list[tuple[int, str]] = []
    for number, code in lines:
        body = code.strip()
        indent = " " * max(0, (len(code) - len(code.lstrip()) - 4) // 2)
        current = indent
        for word in map(texts.literal, body.split(" ")):
            candidate = f"{current} {word}" if current.strip() else current + word
            if len(candidate) > most and current.strip():
                rows.append((number, current))
                candidate = f"{indent}    {word}"
            while len(candidate) > most:  # a word that is too long for any line
                rows.append((number, candidate[:most]))
                candidate = f"{indent}    {candidate[most:]}"
            current = candidate
        rows.append((number, texts.elide(current, style, room)))
    return tuple(rows)
