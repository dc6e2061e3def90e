"""A script: the whole film as plain data. What is shown at t is a pure function of t; all else follows from it."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil
from typing import Any, NamedTuple

from .boxes import Box
from .values import Move, Value, at, legs_of

#: how many times as fast as it takes to read a film may go, and how long (seconds) it may last
FASTEST, LONGEST = 2.0, 600.0


class Span(NamedTuple):
    """A chapter or a caption: from when to when, in seconds."""

    name: str
    start: float
    stop: float


@dataclass
class Part:
    """An actor on the board, and what becomes of it: where it stands and how opaque it is are values like any other."""

    actor: Any
    box: Value
    opacity: Value

    def to(self, box: Box) -> Move:
        return self.box.to(box)

    def fade(self, opacity: float) -> Move:
        return self.opacity.to(opacity)


class Shown(NamedTuple):
    """An actor at one moment, all plain. It is also its own redraw key: what is equal looks the same."""

    part: int
    actor: Any
    box: Box
    opacity: float


class Rests:
    """A part, and between which moments it is at rest: there it looks the same, and is looked up once."""

    def __init__(self, number: int, part: Part) -> None:
        self.number, self.part = number, part
        legs = [leg for x in (part.actor, part.box, part.opacity) for leg in legs_of(x)]
        self.times = sorted({t for leg in legs for t in (leg.begin, leg.end)})
        self.still = [True] * (len(self.times) + 1)  # before the first of them, between two, after the last
        for leg in legs:
            if leg.start != leg.goal:
                first, last = bisect_right(self.times, leg.begin), bisect_left(self.times, leg.end)
                self.still[first : last + 1] = [False] * (last + 1 - first)
        self.kept: dict[int, Shown | None] = {}

    def shown(self, when: float) -> Shown | None:
        """How it looks then, on the clock of the board, or None where it is not to be seen."""
        n = bisect_right(self.times, when)
        if not self.still[n]:
            return self._at(when)
        if n not in self.kept:
            begin = self.times[n - 1] if n else -1.0
            end = self.times[n] if n < len(self.times) else begin + 2
            self.kept[n] = self._at((begin + end) / 2)
        return self.kept[n]

    def _at(self, when: float) -> Shown | None:
        opacity = round(self.part.opacity.at(when), 3)
        if opacity <= 0:
            return None
        return Shown(self.number, at(self.part.actor, when), Box(*self.part.box.at(when)), opacity)


@dataclass(frozen=True)
class Script:
    """`shape` is the canvas; `steps` says when what a storyboard gave a name to is over (seconds); the clock of the
    board goes `pace` times as fast as the film's."""

    shape: str
    title: str
    duration: float
    parts: tuple[Part, ...]
    chapters: tuple[Span, ...]
    captions: tuple[Span, ...]
    steps: Mapping[Any, float] = field(default_factory=dict)
    pace: float = 1.0

    def at(self, t: float) -> tuple[Shown, ...]:
        """What is to be seen at t, from back to front."""
        when = t * self.pace
        shown = (rests.shown(when) for rests in self._rests)
        return tuple(one for one in shown if one is not None)

    @cached_property
    def _rests(self) -> list[Rests]:
        return [Rests(number, part) for number, part in enumerate(self.parts)]

    def lasting(self, duration: float | None) -> Script:
        """The same film in so many seconds, all of it faster or slower; itself for None.

        Raises ValueError for a duration in which it can't be followed.
        """
        if duration is None or duration == self.duration:
            return self
        shortest = self.duration / FASTEST
        if not shortest <= duration <= LONGEST:
            raise ValueError(
                f"duration={duration:g} can't be followed: as it takes to read, this film lasts {self.duration:g} s; "
                f"give {ceil(shortest)} to {LONGEST:g} seconds"
            )
        share = duration / self.duration
        chapters, captions = (
            tuple(Span(name, start * share, stop * share) for name, start, stop in spans)
            for spans in (self.chapters, self.captions)
        )
        steps = {step: t * share for step, t in self.steps.items()}
        return replace(
            self, duration=duration, chapters=chapters, captions=captions, steps=steps, pace=self.pace / share
        )

    def time(self, to: str | float | None = None, *, step: Any = None) -> float:
        """When a chapter is over (by name), or a step of the run is done; a number is itself, None the film's end.

        Raises ValueError for a chapter or a step that this film doesn't have.
        """
        if step is not None:
            if step not in self.steps:
                raise ValueError(f"this film has no step {step!r}: give one of {', '.join(map(repr, self.steps))}")
            return self.steps[step]
        if isinstance(to, str):
            found = [chapter.stop for chapter in self.chapters if chapter.name == to]
            if not found:
                known = ", ".join(chapter.name for chapter in self.chapters)
                raise ValueError(f"this film has no chapter {to!r}: give one of {known}")
            return found[0]
        return self.duration if to is None else float(to)

    def vtt(self) -> str:
        """What is said, as WebVTT: one cue a caption, for as long as it stands."""
        cues = (f"{_clock(c.start)} --> {_clock(c.stop)}\n{plain(c.name)}\n" for c in self.captions)
        return "\n".join(["WEBVTT\n", *cues])

    def chapter(self, t: float) -> int:
        """The number of the chapter that t is in."""
        return max(0, bisect_right(self.chapters, t, key=lambda chapter: chapter.start) - 1)

    def looks(self, number: int) -> str:
        """What a chapter looks like, in a few letters (`filmkit.digest`)."""
        if number not in self._looks:
            from .digest import digest

            self._looks[number] = digest(self.shape, self.pace, self.parts, *self.chapters[number][1:])
        return self._looks[number]

    @cached_property
    def _looks(self) -> dict[int, str]:
        return {}


def _clock(t: float) -> str:
    ms = round(t * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


#: what can stand above a line, and below it, as characters of their own
ABOVE = dict(zip("0123456789+-−=()Tijnmsx", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ᵀⁱʲⁿᵐˢˣ", strict=True))
BELOW = dict(zip("0123456789+-−=()ijmns", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ᵢⱼₘₙₛ", strict=True))


def unmarked(words: str) -> str:
    """Without marks of sub- and superscripts, as one reads them in any text: `QKᵀ`, `2·10⁻⁶`, and else `e^(x − y)`."""

    def written(found: re.Match[str]) -> str:
        mark, inner = found.groups()
        signs = {"^": ABOVE, "_": BELOW}[mark]
        return "".join(signs[c] for c in inner) if signs.keys() >= set(inner) else f"{mark}({inner})"

    return re.sub(r"([\^_])\{([^{}]*)\}", written, words)


def plain(words: str) -> str:
    """Without marks, and as WebVTT wants it."""
    return unmarked(words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
