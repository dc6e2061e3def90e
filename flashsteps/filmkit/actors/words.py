"""What is said, and the head of the picture: the title, the chapter, how far the film is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...theme import LABEL, TITLE
from ..boxes import Box
from .actor import Actor

if TYPE_CHECKING:
    from ..pen import Pen

SAID = 40


@dataclass(frozen=True)
class Caption(Actor):
    """A sentence, in two lines at most, which are about as long."""

    words: str

    def draw(self, pen: Pen, box: Box) -> None:
        from .. import text as texts

        style = pen.style(SAID, 500)
        width = texts.width(self.words, style)
        rooms = [box.w] if width <= box.w else [min(width * share, box.w) for share in (0.55, 0.65, 0.8, 1)]
        lines = next((lines for room in rooms if len(lines := texts.wrap(self.words, style, room)) <= 2), [])
        for n, line in enumerate(lines):
            pen.text(box.x, box.y + pen.px(44 + 52 * n), line, SAID, weight=500)


@dataclass(frozen=True)
class Title(Actor):
    """The title, what is written beside it, and a rail with a tick for each chapter. A note goes before the chapter's
    name where there is no room for both."""

    title: str
    chapters: tuple[str, ...]
    chapter: int
    note: str = ""

    def draw(self, pen: Pen, box: Box) -> None:
        base, rail = box.y + pen.px(50), box.bottom - pen.px(8)
        width = pen.text(box.x, base, self.title, TITLE, weight=600)
        if self.note:
            width += pen.px(28)
            width += pen.text(box.x + width, base, self.note, LABEL, "dim")
        room = box.w - width - pen.px(40)
        name = self.chapters[self.chapter]
        if pen.width(name, LABEL) <= room:
            pen.label(box.right - max(1, pen.px(2)), base, name, align="right")  # a last letter may lean out
        gap, count = pen.px(8), len(self.chapters)
        edges = [box.x + round(n * (box.w + gap) / count) for n in range(count + 1)]
        for n, (left, right) in enumerate(zip(edges, edges[1:], strict=False)):
            color = "accent" if n == self.chapter else "ink" if n < self.chapter else "line"
            pen.fill(Box(left, rail, right - left - gap, max(2, pen.px(6))), color, radius=3)
