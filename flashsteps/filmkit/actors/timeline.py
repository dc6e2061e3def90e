"""A timeline: who worked on what and when: a lane a worker, a bar a piece of work, a mark where each part begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ...theme import LABEL, mix
from ..boxes import Box
from .actor import Actor
from .writing import line, width, write

if TYPE_CHECKING:
    from ..pen import Pen


class Work(NamedTuple):
    """A piece of work in a lane: when each part of it begins, and when all is done; how strong its colour is."""

    lane: int
    begun: tuple[float, ...]
    end: float
    strength: float = 1.0


@dataclass(frozen=True)
class Timeline(Actor):
    """`count` lanes from time 0 to `end`, drawn as far as `now`: parts in turn in two shades, the one at work lit.

    `ticks` are (time, words) below the lanes, `name` says what a lane is.
    """

    count: int
    works: tuple[Work, ...]
    end: float
    now: float = 0.0
    ticks: tuple[tuple[float, str], ...] = ()
    name: str = "SM"
    hue: str = "S"

    def draw(self, pen: Pen, box: Box) -> None:
        left = box.x + round(width(pen, f"{self.name} {self.count - 1}", LABEL) + pen.px(16))
        foot = box.bottom - round(line(pen, LABEL) + pen.px(8))
        room, pitch = box.right - left - pen.px(4), (foot - box.y) / self.count
        at = [box.y + round(lane * pitch) for lane in range(self.count + 1)]
        gap = 1 if pitch >= 3 else 0

        def x(time: float) -> int:
            return int(left + round(room * min(time, self.end) / self.end))

        pen.fill(Box(left, box.y, room, foot - box.y), "panel")
        for work in self.works:
            y, tall = at[work.lane], max(1, at[work.lane + 1] - at[work.lane] - gap)
            stops = (*work.begun[1:], work.end)
            shades = [mix(pen.color("panel"), pen.color(self.hue), share * work.strength) for share in (1.0, 0.8)]
            for n, (begun, stop) in enumerate(zip(work.begun, stops, strict=True)):
                if begun > self.now:
                    break
                lit = stop > self.now
                color = pen.color("accent") if lit else shades[n % 2]
                pen.fill(Box(x(begun), y, max(1, x(min(stop, self.now)) - x(begun)), tall), color)
            if work.end <= self.now:  # a program ends, another begins
                pen.fill(Box(x(work.end) - max(1, pen.px(3)), y, max(1, pen.px(3)), tall), "panel")
        for lane in (0, self.count - 1):
            middle = (at[lane] + at[lane + 1]) / 2
            y = round(min(max(middle - line(pen, LABEL) / 2, box.y), foot - line(pen, LABEL)))
            write(pen, Box(box.x, y, left - box.x - pen.px(12), round(line(pen, LABEL))), f"{self.name} {lane}", LABEL,
                  "dim", align="right")  # fmt: skip
        for time, words in self.ticks:
            pen.line([(x(time), foot), (x(time), foot + pen.px(6))], "dim", width=2)
            wide = round(width(pen, words, LABEL)) + 2
            if wide > box.w:
                continue
            here = min(max(x(time) - wide // 2, box.x), box.right - wide)
            write(pen, Box(here, foot + pen.px(8), wide, box.bottom - foot - pen.px(8)), words, LABEL, "dim")
