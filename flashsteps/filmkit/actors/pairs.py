"""Pairs: the transfers of two runs, one tape above the other, ticked off where they are the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ...theme import BODY, LABEL, SMALL
from ..boxes import Box
from . import cells
from .actor import Actor
from .writing import line, width, write

if TYPE_CHECKING:
    from ..pen import Pen


class Transfer(NamedTuple):
    """A tensor that crosses, in its hue; what is written is hatched."""

    name: str
    hue: str
    written: bool = False


@dataclass(frozen=True)
class Pairs(Actor):
    """`first` and `second` are as long; `same` says of each pair whether it agrees. `seen` pairs have crossed by now,
    and are ticked (or crossed out); the next one is framed while it is `at` work. `parts` are (name, first pair)."""

    names: tuple[str, str]
    first: tuple[Transfer, ...]
    second: tuple[Transfer, ...]
    same: tuple[bool, ...]
    seen: float = 0.0
    parts: tuple[tuple[str, int], ...] = ()

    def draw(self, pen: Pen, box: Box) -> None:
        names = max(width(pen, name, BODY, weight=600) for name in self.names) + pen.px(28)
        beside = names <= 0.25 * box.w
        left = box.x + round(names if beside else 0)
        room, count = box.right - left - 2 * max(3, pen.px(5)), max(1, len(self.first))
        edges = [round(left + max(3, pen.px(5)) + room * n / count) for n in range(count + 1)]
        edge = max(3, pen.px(5))  # of the frame around a pair
        head, label = line(pen, LABEL), 0 if beside else line(pen, BODY)
        tall = int(min(pen.px(110), (box.h - head - 2 * label - 2 * edge) / 2.7))
        gap = int(min(pen.px(72), tall * 0.7))
        ys = [box.y + edge + head + label, box.y + edge + head + 2 * label + tall + gap]
        now = int(self.seen)
        for y, name, tape in zip(ys, self.names, (self.first, self.second), strict=True):
            place = Box(box.x, y, left - box.x, tall) if beside else Box(box.x, y - label, box.w, label)
            write(pen, place, name, BODY, weight=600)
            for n, transfer in enumerate(tape):
                here = Box(edges[n], y, edges[n + 1] - edges[n] - max(1, pen.px(2)), tall)
                self._transfer(pen, here, transfer, n < now + (self.seen > now))
                if n == now and self.seen > now:
                    pen.frame(cells.edge(pen.unit, here), "accent", width=4, radius=6)
        self._parts(pen, Box(left, box.y, edges[-1] - left, head), edges, ys[1] + tall)
        for n in range(min(now, count)):
            self._tick(
                pen, Box(edges[n], ys[0] + tall, edges[n + 1] - edges[n], ys[1] - label - ys[0] - tall), self.same[n]
            )

    def _transfer(self, pen: Pen, here: Box, transfer: Transfer, live: bool) -> None:
        from ...theme import ink_on, mix

        color = pen.color(transfer.hue)
        pen.fill(here, color if live else mix(pen.theme.bg, color, 0.22))
        if transfer.written:
            pen.hatch(here, "bg", alpha=0.65 if live else 0.3)
            return
        size = next((s for s in (LABEL, SMALL) if 0 < width(pen, transfer.name, s, weight=600) <= here.w - 2), 0)
        if live and size:
            write(pen, here, transfer.name, size, ink_on(color), weight=600, align="center")

    def _parts(self, pen: Pen, head: Box, edges: list[int], bottom: float) -> None:
        for n, (name, start) in enumerate(self.parts):
            stop = edges[self.parts[n + 1][1]] if n + 1 < len(self.parts) else head.right
            if n:
                x = edges[start] - max(1, pen.px(2)) / 2
                pen.line([(x, head.y), (x, bottom)], "dim", width=1.5, dash=6)
            if width(pen, name, LABEL) <= stop - edges[start] - pen.px(12):
                write(
                    pen,
                    Box(edges[start] + pen.px(10), head.y, stop - edges[start] - pen.px(10), head.h),
                    name,
                    LABEL,
                    "dim",
                )

    def _tick(self, pen: Pen, here: Box, same: bool) -> None:
        side = min(here.w * 0.34, here.h * 0.34, pen.px(12))
        x, y = here.x + here.w / 2, here.y + here.h / 2
        if same:
            pen.line([(x - side, y), (x - side * 0.25, y + side * 0.8), (x + side, y - side * 0.8)], "ink", width=4)
            return
        for down in (-1, 1):
            pen.line([(x - side, y - down * side), (x + side, y + down * side)], "accent", width=4)
