"""Looking at a film as a careful viewer does: each text that is drawn, where, on what ground; what leaves its box."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import cairo
import numpy as np

from flashsteps.filmkit import text as texts
from flashsteps.filmkit.boxes import Box
from flashsteps.filmkit.painter import Painter
from flashsteps.filmkit.script import Script, Shown
from flashsteps.theme import contrast


class Written(NamedTuple):
    """A text that was drawn: what its letters cover, in px of the picture; its least contrast; who drew it."""

    words: str
    box: Box
    size: float
    contrast: float
    who: str
    quad: tuple[tuple[float, float], ...]  # the corners, for a text may lean

    def lies_on(self, other: Written, least: float = 1.0) -> bool:
        """Do both cover some of the same px? No, if along an edge of either there is a line between them."""
        if not self.box.overlaps(other.box):
            return False
        edges = [(a, b) for quad in (self.quad, other.quad) for a, b in itertools.pairwise(quad)]
        for (x0, y0), (x1, y1) in edges:
            length = math.hypot(x1 - x0, y1 - y0) or 1.0
            across = ((y0 - y1) / length, (x1 - x0) / length)
            mine, others = ([x * across[0] + y * across[1] for x, y in quad] for quad in (self.quad, other.quad))
            if max(mine) - least < min(others) or max(others) - least < min(mine):
                return False
        return True


def moments(script: Script, count: int, seed: int = 0) -> list[float]:
    """When to look: while each caption stands and all is at rest, and at some moments in between, in order."""
    rest = [caption.stop - 0.05 for caption in script.captions]
    some = random.Random(seed)
    picked = some.sample(rest, min(len(rest), count - count // 3))
    return sorted({*(picked + [some.uniform(0, script.duration) for _ in range(count // 3)]), script.duration - 0.01})


def alone(script: Script, size: tuple[int, int], theme: str, t: float) -> np.ndarray:
    """The picture at t, by a painter who has drawn nothing else: RGB."""
    painter = Painter(script, *size, theme)
    painter.paint(t)
    return painter.pixels[..., :3]


class Looker(Painter):
    """A painter who notes each text that an actor draws, and what was elided."""

    def __init__(self, script: Script, size: tuple[int, int], theme: str) -> None:
        super().__init__(script, *size, theme)
        self.written: list[Written] = []
        self.elided: set[tuple[str, str]] = set()
        self.who, self.opaque = "", True

    def look(self, t: float) -> None:
        """Draw the picture at t, all of it, and note."""
        self.written.clear()
        self.pen.fill(self.whole, "bg")
        with noting(self):
            for shown in self.script.at(t):
                self._draw(shown)

    def read(self, shown: Shown) -> list[Written]:
        """What an actor writes, alone, in the order of its writing."""
        self.written.clear()
        with noting(self):
            self._draw(shown)
        return self.written

    def _draw(self, shown: Shown) -> None:
        self.who, self.opaque = type(shown.actor).__name__, shown.opacity == 1
        super()._draw(shown)

    def leaves(self, shown: Shown) -> int:
        """How many px an actor draws outside of its box, if nothing cuts it off."""
        self.pen.fill(self.whole, "bg")
        all_of_it = self.pixels.view("<u4")[..., 0]
        ground, box = all_of_it[0, 0], self.px(shown.box)
        shown.actor.draw(self.pen, box)
        x, y, right, bottom = (int(max(0, edge)) for edge in (box.x, box.y, box.right, box.bottom))
        all_of_it[y:bottom, x:right] = ground
        return int(np.count_nonzero(all_of_it != ground))

    def note(self, ctx: Any, x: float, y: float, words: str, style: texts.Style, color: Any, alpha: float) -> None:
        """A text is about to be drawn with its baseline at (x, y): on which ground?"""
        left, top, width, height = _ink(words, style)
        around = ((left, top), (left + width, top), (left + width, top + height), (left, top + height), (left, top))
        corners = tuple(ctx.user_to_device(x + dx, y + dy) for dx, dy in around)
        xs, ys = zip(*corners, strict=True)
        box = Box(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
        where = box.whole()
        ground = self.pixels[max(0, int(where.y)) : int(where.bottom), max(0, int(where.x)) : int(where.right), :3]
        least = 21.0
        if self.opaque and ground.size:
            blue, green, red = color
            packed, counts = np.unique(ground.reshape(-1, 3).astype(np.int64) @ (65536, 256, 1), return_counts=True)
            for often in packed[counts > 0.1 * counts.sum()]:
                one = often >> 16, often >> 8 & 255, often & 255
                seen = [255 * c * alpha + g * (1 - alpha) for c, g in zip((red, green, blue), one, strict=True)]
                least = min(least, contrast(_hex(seen), _hex(one)))
        self.written.append(Written(words, box, style.size, least, self.who, corners))


@cache
def _ink(words: str, style: texts.Style) -> tuple[float, float, float, float]:
    """What the letters cover, seen from the start of their baseline."""
    ink = cairo.RecordingSurface(cairo.CONTENT_ALPHA, None)
    _DRAW(cairo.Context(ink), 0, 0, words, style, (0, 0, 0))
    return ink.ink_extents()


_DRAW = texts.draw


def _hex(color: Any) -> str:
    return "#" + "".join(f"{round(float(c)):02x}" for c in color)


@contextmanager
def noting(looker: Looker) -> Iterator[None]:
    """While this lasts, the looker notes what is written and elided."""
    draw, elide = _DRAW, texts.elide

    def noted(
        ctx: Any, x: float, y: float, words: str, style: Any, color: Any, *, align="left", alpha=1.0, **how: Any
    ) -> float:
        if words.strip():
            looker.note(ctx, x - texts.width(words, style) * texts.START[align], y, words, style, color, alpha)
        return draw(ctx, x, y, words, style, color, align=align, alpha=alpha, **how)

    def cut(words: str, style: Any, room: float) -> str:
        short = elide(words, style, room)
        if short != words:
            looker.elided.add((words, short))
        return short

    texts.draw, texts.elide = noted, cut  # type: ignore[assignment]
    try:
        yield
    finally:
        texts.draw, texts.elide = draw, elide
