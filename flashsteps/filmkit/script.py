"""A script: the whole film as plain data. What is shown at t is a pure function of t; all else follows from it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from .boxes import Box
from .values import Move, Value, at


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


@dataclass(frozen=True)
class Script:
    """`shape` is the canvas; `steps` says when what a storyboard gave a name to is over (seconds)."""

    shape: str
    title: str
    duration: float
    parts: tuple[Part, ...]
    chapters: tuple[Span, ...]
    captions: tuple[Span, ...]
    steps: Mapping[Any, float] = field(default_factory=dict)

    def at(self, t: float) -> tuple[Shown, ...]:
        """What is to be seen at t, from back to front."""
        shown = []
        for number, part in enumerate(self.parts):
            opacity = round(part.opacity.at(t), 3)
            if opacity > 0:
                shown.append(Shown(number, at(part.actor, t), Box(*part.box.at(t)), opacity))
        return tuple(shown)

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
        cues = (f"{_clock(c.start)} --> {_clock(c.stop)}\n{_plain(c.name)}\n" for c in self.captions)
        return "\n".join(["WEBVTT\n", *cues])

    @cached_property
    def digest(self) -> str:
        """Names what this film looks like: the script, written out, and the source of the kit that draws it."""
        code = "".join(file.read_text(encoding="utf-8") for file in sorted(Path(__file__).parent.rglob("*.py")))
        return hashlib.sha256(f"{self.shape}{self.duration}{self.parts}{code}".encode()).hexdigest()


def _clock(t: float) -> str:
    ms = round(t * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


def _plain(words: str) -> str:
    """Without marks of sub- and superscripts, and as WebVTT wants it."""
    for mark, plain in (("^{", "^("), ("_{", "_("), ("}", ")"), ("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        words = words.replace(mark, plain)
    return words
