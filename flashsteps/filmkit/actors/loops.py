"""Loops as nested brackets with a cursor each: which is outside, and where each of them is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ..boxes import Box
from .actor import Actor
from .of_run import OfRun

if TYPE_CHECKING:
    from ..pen import Pen


class Loop(NamedTuple):
    """What is said of a loop, and how often it goes round."""

    words: str
    count: int


@dataclass(frozen=True)
class Loops(Actor):
    """From the outermost in. `cursor` is where each is: −1 where it has not begun, its count where it is over.

    They stand in each other as brackets, unless `nested` is False: then one after the other."""

    loops: tuple[Loop, ...]
    cursor: tuple[int, ...]
    nested: bool = True

    def draw(self, pen: Pen, box: Box) -> None:
        draw(pen, box, self.loops, self.cursor, self.nested)


@dataclass(frozen=True)
class RunLoops(OfRun):
    """The loops of a run, by their names in it; with `nested` False its kernels, by their numbers."""

    loops: tuple[Loop, ...]
    names: tuple[str, ...] = ()

    def seen(self) -> tuple[int, ...]:
        number, u = self.run.split(self.now)
        if number >= len(self.run):
            return tuple(loop.count for loop in self.loops)
        event = self.run.near(self.now)[-1]
        if not self.names:  # kernels
            on = [event.loop.get("i", 0 if number or u else -1) if n == event.program else None for n in range(99)]
            pairs = enumerate(self.loops)
            return tuple(loop.count if n < event.program else on[n] if on[n] is not None else -1 for n, loop in pairs)  # type: ignore[misc]
        return tuple(event.loop.get(name, -1) for name in self.names)

    def draw(self, pen: Pen, box: Box) -> None:
        draw(pen, box, self.loops, self.seen(), bool(self.names))


def draw(pen: Pen, box: Box, loops: tuple[Loop, ...], cursor: tuple[int, ...], nested: bool) -> None:
    """Each loop's words over a cell for each time round."""
    pitch, step = min(pen.px(88), box.h / max(1, len(loops))), pen.px(26)
    for n, (loop, at) in enumerate(zip(loops, cursor, strict=True)):
        left, top = box.x + (n * step if nested else 0), box.y + n * pitch
        bottom = box.y + (len(loops) if nested else n + 1) * pitch
        on = 0 <= at < loop.count
        pen.fill(Box(left, top + pen.px(4), pen.px(5), bottom - top - pen.px(14)).whole(), "accent" if on else "faint")
        x = left + pen.px(20)
        pen.label(x, top + pen.px(28), loop.words, "ink" if on else "dim", weight=600, room=box.right - x)
        line = Box(x, top + pen.px(42), box.right - x, max(3, pen.px(18)))
        if line.bottom <= bottom:
            _cursor(pen, line.whole(), loop.count, at)


def _cursor(pen: Pen, box: Box, count: int, at: int) -> None:
    """A cell each time round: those that are over, the one that is on, those that are ahead."""
    gap = pen.px(6)
    if box.w / count < 2 * gap + 2:
        gap = 0
    wide = min(box.w, count * (pen.px(60) + gap))
    edges = [box.x + round(n * (wide + gap) / count) for n in range(count + 1)]
    for n in range(count):
        cell = Box(edges[n], box.y, max(1, edges[n + 1] - edges[n] - gap), box.h)
        pen.fill(cell, "accent" if n == at else "dim" if n < at else "line", radius=3 if gap else 0)
