"""Formulas, set without LaTeX: fractions, roots, raised and lowered parts, each in its hue, lit one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ...theme import BODY, HEAD, LABEL, TITLE
from ..boxes import Box
from .actor import Actor

if TYPE_CHECKING:
    from ..pen import Pen

SMALLER = 0.68  # a raised part, of the text's own size
RAISED, LOWERED = 0.36, -0.18  # em


class Term(NamedTuple):
    """Words in a hue; `name` is what it is lit by. `_{…}` and `^{…}` in it are lowered and raised."""

    words: str
    hue: str = "ink"
    name: str = ""


class Fraction(NamedTuple):
    top: Node
    bottom: Node
    name: str = ""


class Root(NamedTuple):
    inside: Node
    name: str = ""


class Script(NamedTuple):
    """Something raised (or lowered, if `low`) after something."""

    base: Node
    script: Node
    low: bool = False


Node = str | Term | Fraction | Root | Script | tuple["Node", ...]


class Size(NamedTuple):
    """How wide, and how far above and below the baseline."""

    w: float
    up: float
    down: float


@dataclass(frozen=True)
class Formula(Actor):
    """In the largest size at which it fits the box. `lit` are names of parts that are at full strength while the others
    are dim; without any, all are. Numbers belong into it by `fill`, not typed in."""

    node: Node
    lit: tuple[str, ...] = ()
    sizes: tuple[float, ...] = (TITLE, HEAD, BODY, LABEL)
    mono: bool = False
    center: bool = False

    def draw(self, pen: Pen, box: Box) -> None:
        for size in self.sizes:
            whole = self._size(pen, self.node, size)
            if pen.fits(size) and whole.w <= box.w and whole.up + whole.down <= box.h:
                x = box.x + ((box.w - whole.w) / 2 if self.center else 0)
                self._put(pen, self.node, x, box.y + (box.h - whole.up - whole.down) / 2 + whole.up, size, not self.lit)
                return

    # ---- how large

    def _size(self, pen: Pen, node: Node, size: float) -> Size:
        em, gap = size * pen.unit, size * pen.unit * 0.12
        if isinstance(node, str | Term):
            words = node if isinstance(node, str) else node.words
            return Size(pen.width(words, size, weight=500, mono=self.mono), 0.86 * em, 0.3 * em)
        if isinstance(node, Fraction):
            top, bottom = self._size(pen, node.top, size), self._size(pen, node.bottom, size)
            axis = 0.3 * em
            wide = max(top.w, bottom.w) + 2 * gap
            return Size(wide, axis + gap + top.up + top.down, bottom.up + bottom.down + gap - axis)
        if isinstance(node, Root):
            inside = self._size(pen, node.inside, size)
            return Size(inside.w + 0.62 * em + gap, inside.up + gap, inside.down)
        if isinstance(node, Script):
            base, script = self._size(pen, node.base, size), self._size(pen, node.script, size * SMALLER)
            by = (LOWERED if node.low else RAISED) * em
            return Size(base.w + script.w, max(base.up, script.up + by), max(base.down, script.down - by))
        sizes = [self._size(pen, part, size) for part in node]
        return Size(sum(s.w for s in sizes), max(s.up for s in sizes), max(s.down for s in sizes))

    # ---- where

    def _put(self, pen: Pen, node: Node, x: float, base: float, size: float, on: bool) -> float:
        em, gap, whole = size * pen.unit, size * pen.unit * 0.12, self._size(pen, node, size)
        on = on or bool(getattr(node, "name", "")) and getattr(node, "name", "") in self.lit
        ink = "ink" if on else "dim"
        if isinstance(node, str | Term):
            term = Term(node) if isinstance(node, str) else node
            self._words(pen, x, base, term.words, size, term.hue if on else "dim")
        elif isinstance(node, Fraction):
            top, bottom = self._size(pen, node.top, size), self._size(pen, node.bottom, size)
            line = base - 0.3 * em
            self._put(pen, node.top, x + (whole.w - top.w) / 2, line - gap - top.down, size, on)
            self._put(pen, node.bottom, x + (whole.w - bottom.w) / 2, line + gap + bottom.up, size, on)
            pen.line([(x, line), (x + whole.w, line)], ink, width=2.5)
        elif isinstance(node, Root):
            inside, head = self._size(pen, node.inside, size), base - whole.up + gap / 2
            hook = [
                (x + gap / 2, base - 0.3 * em),
                (x + 0.14 * em, base - 0.36 * em),
                (x + 0.34 * em, base + inside.down * 0.5),
            ]
            pen.line([*hook, (x + 0.56 * em, head), (x + whole.w - gap / 2, head)], ink, width=2.5)
            self._put(pen, node.inside, x + 0.62 * em, base, size, on)
        elif isinstance(node, Script):
            after = x + self._put(pen, node.base, x, base, size, on)
            self._put(pen, node.script, after, base - (LOWERED if node.low else RAISED) * em, size * SMALLER, on)
        else:
            for part in node:
                x += self._put(pen, part, x, base, size, on)
        return whole.w

    def _words(self, pen: Pen, x: float, base: float, words: str, size: float, color: str) -> None:
        """A raised part may be smaller than text that stands alone, as sub- and superscripts in words may."""
        from ...theme import rgb
        from .. import text as texts

        red, green, blue = rgb(pen.color(color))
        texts.draw(pen.ctx, x, base, words, pen.style(size, 500, self.mono), (blue, green, red))
