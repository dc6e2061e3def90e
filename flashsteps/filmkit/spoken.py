"""What a film says, to be read outside of it: its captions, and the small print below its pictures, in plain text."""

from __future__ import annotations

from collections.abc import Iterator

from .actors.cards import Text
from .boxes import CANVASES
from .script import Script, Span, unmarked

FEW, EVERY = 3, 0.5  # sentences with figures, where they are told in short; seconds, between two looks at a film


def captions(script: Script, span: Span | None = None) -> tuple[str, ...]:
    """Of a chapter, or of all."""
    start, stop = span[1:] if span else (0.0, script.duration)
    return tuple(unmarked(c.name) for c in script.captions if start <= c.start < stop)


def small_print(script: Script, span: Span) -> tuple[str, ...]:
    """The grey lines at the foot of the stage, as they come: where figures are from, and at which sizes they hold.

    What stood there before the chapter, and goes as it begins, is not its own.
    """
    return tuple(dict.fromkeys(unmarked(words) for t in _moments(span) for words in _grey(script, t)))


def _moments(span: Span) -> Iterator[float]:
    t = span.start + 1.0
    while t < span.stop:
        yield t
        t += EVERY


def _grey(script: Script, t: float) -> Iterator[str]:
    bottom, plain = CANVASES[script.shape].main.bottom, Text("")
    for shown in script.at(t):
        actor = shown.actor
        if (
            isinstance(actor, Text)
            and isinstance(actor.words, str)
            and (actor.size, actor.color, actor.mono) == (plain.size, plain.color, plain.mono)
            and abs(shown.box.bottom - bottom) < 1
        ):
            yield actor.words


def figures(script: Script) -> str:
    """The first captions that have figures, and the first small print that does, as sentences."""
    small = (words for span in script.chapters for words in small_print(script, span))
    found = [words for words in captions(script) if _has_figure(words)][:FEW]
    found += [f"In small print: {words}." for words in small if _has_figure(words)][:1]
    return " ".join(found)


def _has_figure(words: str) -> bool:
    return any(c.isdecimal() for c in words)
