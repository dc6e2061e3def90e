"""Loops as nested brackets with a cursor each: which is outside, and where each of them is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from ...theme import HEAD
from ..boxes import Box
from ..values import smooth
from .actor import Actor
from .of_run import OfRun

if TYPE_CHECKING:
    from ...machine.events import Event
    from ..pen import Pen


#: where a loop is: how often it has gone round, or, of programs side by side, from which to which
Cursor = int | tuple[int, int]


class Loop(NamedTuple):
    """What is said of a loop, and how many times it goes round."""

    words: str
    times: int


@dataclass(frozen=True)
class Loops(Actor):
    """From the outermost in. `cursor` is where each is: −1 where it has not begun, its count where it is over.

    They stand in each other as brackets, unless `nested` is False: then one after the other."""

    loops: tuple[Loop, ...]
    cursor: tuple[Cursor, ...]
    nested: bool = True

    def draw(self, pen: Pen, box: Box) -> None:
        draw(pen, box, self.loops, self.cursor, self.nested)


@dataclass(frozen=True)
class Turned(Actor):
    """Two loops, large, that change places as `share` goes from 0 to 1: the inner one steps aside, goes up, and takes
    in the other."""

    outer: Loop
    inner: Loop
    share: float = 0.0

    def draw(self, pen: Pen, box: Box) -> None:
        pitch, step = min(pen.px(170), box.h / 2), pen.px(48)
        aside, over, back = (min(1.0, max(0.0, 3 * self.share - n)) for n in range(3))
        away = smooth(aside) - smooth(back)
        first = step * smooth(over), pitch * smooth(over), pitch * (2 - smooth(aside))
        second = away * box.w / 2 + step * (1 - smooth(over)), pitch * (1 - smooth(over)), pitch * (1 + smooth(back))
        for loop, (x, y, high) in ((self.outer, first), (self.inner, second)):
            at = Box(box.x + x, box.y + y, box.w / 2 - step, high)
            pen.fill(Box(at.x, at.y, pen.px(8), at.h - pen.px(20)).whole(), "accent", radius=4)
            left = at.x + pen.px(36)
            if at.y + pen.px(56) <= box.bottom:
                pen.text(left, at.y + pen.px(44), loop.words, HEAD, weight=600, room=at.right - left)
            line = Box(left, at.y + pen.px(70), at.right - left, max(4, pen.px(30))).whole()
            if line.bottom <= box.bottom:
                _cursor(pen, line, loop.times, 0)


@dataclass(frozen=True)
class RunLoops(OfRun):
    """The loops of a run, by their names in it; with `nested` False its kernels, by their numbers."""

    loops: tuple[Loop, ...]
    names: tuple[str, ...] = ()

    def seen(self) -> tuple[Cursor, ...]:
        number, u = self.run.split(self.now)
        if number >= len(self.run):
            return tuple(loop.times for loop in self.loops)
        event = self.run.near(self.now)[-1]
        if not self.names:  # kernels
            on = [event.loop.get("i", 0 if number or u else -1) if n == event.program else None for n in range(99)]
            pairs = enumerate(self.loops)
            return tuple(loop.times if n < event.program else on[n] if on[n] is not None else -1 for n, loop in pairs)  # type: ignore[misc]
        if self.run.lanes > 1:  # the outermost are programs, side by side
            first = event.program // self.run.lanes * self.run.lanes
            side_by_side = first, min(first + self.run.lanes, self.loops[0].times)
            return side_by_side, *(self._round(event, n) for n in range(1, len(self.names)))
        return tuple(self._round(event, n) for n in range(len(self.names)))

    def _round(self, event: Event, n: int) -> int:
        """Which round of its loop n a step is in: -1 before the first, as many as there are once all are over."""
        name, around = self.names[n], [event.loop.get(name) for name in self.names[:n]]
        if name in event.loop:
            return event.loop[name]
        before = takewhile(
            lambda one: one.program == event.program and [one.loop.get(name) for name in self.names[:n]] == around,
            (self.run.trace[step] for step in range(event.step - 1, -1, -1)),
        )
        return self.loops[n].times if any(name in one.loop for one in before) else -1

    def draw(self, pen: Pen, box: Box) -> None:
        draw(pen, box, self.loops, self.looks, bool(self.names))


def draw(pen: Pen, box: Box, loops: tuple[Loop, ...], cursor: tuple[Cursor, ...], nested: bool) -> None:
    """Each loop's words over a cell for each time round."""
    pitch, step = min(pen.px(88), box.h / max(1, len(loops))), pen.px(26)
    for n, (loop, at) in enumerate(zip(loops, cursor, strict=True)):
        left, top = box.x + (n * step if nested else 0), box.y + n * pitch
        bottom = box.y + (len(loops) if nested else n + 1) * pitch
        on = isinstance(at, tuple) or 0 <= at < loop.times
        pen.fill(Box(left, top + pen.px(4), pen.px(5), bottom - top - pen.px(14)).whole(), "accent" if on else "faint")
        x = left + pen.px(20)
        pen.label(x, top + pen.px(28), loop.words, "ink" if on else "dim", weight=600, room=box.right - x)
        line = Box(x, top + pen.px(42), box.right - x, max(3, pen.px(18)))
        if line.bottom <= top + pitch:
            _cursor(pen, line.whole(), loop.times, at)


def _cursor(pen: Pen, box: Box, count: int, at: Cursor) -> None:
    """A cell each time round: those that are over, the one that is on, those that are ahead."""
    first, last = at if isinstance(at, tuple) else (at, at + 1)
    gap = pen.px(6)
    if box.w / count < 2 * gap + 2:
        gap = 0
    wide = min(box.w, count * (pen.px(60) + gap))
    edges = [box.x + round(n * (wide + gap) / count) for n in range(count + 1)]
    for n in range(count):
        cell = Box(edges[n], box.y, max(1, edges[n + 1] - edges[n] - gap), box.h)
        pen.fill(cell, "accent" if first <= n < last else "dim" if n < first else "line", radius=3 if gap else 0)
