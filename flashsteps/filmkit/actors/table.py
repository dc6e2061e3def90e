"""A table: rows of words and figures under a head, one of them lit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...theme import BODY, LABEL
from ..boxes import Box
from .actor import Actor
from .writing import line, width, write

if TYPE_CHECKING:
    from ..pen import Pen


@dataclass(frozen=True)
class Table(Actor):
    """The first column is words, the others are figures, at the right of their columns, or `words` too, at the left.
    `seen` rows are there by now; `lit` is the number of the row that matters, `hues` colours rows' first words."""

    rows: tuple[tuple[str, ...], ...]
    head: tuple[str, ...] = ()
    lit: int | None = None
    seen: float = float("inf")
    hues: tuple[str, ...] = ()
    words: bool = False

    def draw(self, pen: Pen, box: Box) -> None:
        count = len(self.rows) + bool(self.head)
        size = next(
            (s for s in (BODY, LABEL) if self._needs(pen, s) <= box.w and count * line(pen, s) * 1.15 <= box.h), LABEL
        )
        high = int(min(line(pen, size) * 1.8, max(line(pen, size), box.h / max(1, count))))
        edges = self._edges(pen, box, size)
        y = box.y
        if self.head:
            self._row(pen, Box(box.x, y, box.w, high), edges, self.head, LABEL, dim=True)
            pen.fill(Box(box.x, y + high - max(1, pen.px(2)), box.w, max(1, pen.px(2))), "line")
            y += high
        for n, row in enumerate(self.rows):
            here = Box(box.x, y + n * high, box.w, high)
            if n + 1 > self.seen or here.bottom > box.bottom:
                return
            if n == self.lit:
                pen.fill(here, "panel", radius=10)
                pen.frame(here, "accent", width=3, radius=10)
            color = self.hues[n] if n < len(self.hues) else "ink"
            self._row(pen, here, edges, row, size, color=color)

    def _widths(self, pen: Pen, size: float) -> list[float]:
        def wide(n: int, words: str) -> float:
            return width(pen, words, size, weight=400 if n and self.words else 600, mono=n > 0 and not self.words)

        rows = [*self.rows]
        wides = [max(wide(n, row[n]) for row in rows if n < len(row)) for n in range(max(map(len, rows), default=0))]
        return [max(w, width(pen, self.head[n], LABEL) if n < len(self.head) else 0) for n, w in enumerate(wides)]

    def _needs(self, pen: Pen, size: float) -> float:
        wides = self._widths(pen, size)
        return sum(wides) + pen.px(36) * (len(wides) - 1) + 2 * pen.px(16)

    def _edges(self, pen: Pen, box: Box, size: float) -> list[tuple[float, float]]:
        """Left and right of each column: what is left over goes between them."""
        wides, pad = self._widths(pen, size), pen.px(16)
        spare = max(0.0, box.w - 2 * pad - sum(wides)) / max(1, len(wides) - 1)
        spare = min(spare, pen.px(140))
        edges, x = [], box.x + pad
        for wide in wides:
            edges.append((x, min(x + wide + 1, box.right)))
            x += wide + spare
        return edges

    def _row(
        self,
        pen: Pen,
        box: Box,
        edges: list[tuple[float, float]],
        row: tuple[str, ...],
        size: float,
        *,
        dim: bool = False,
        color: str = "ink",
    ) -> None:
        for n, (words, (left, right)) in enumerate(zip(row, edges, strict=False)):
            place = Box(left, box.y, max(1, right - left), box.h)
            figure = n > 0 and not self.words
            ink, weight = "dim" if dim else color if n == 0 else "ink", 400 if dim or (n and self.words) else 600
            write(
                pen,
                place,
                words,
                size,
                ink,
                weight=weight,
                mono=figure and not dim,
                align="right" if figure else "left",
            )
