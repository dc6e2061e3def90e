"""A title between films, as a script of one picture: the section, the film, and a line of what it is about."""

from __future__ import annotations

from math import ceil

from .actors.cards import Text
from .board import reading_time
from .boxes import CANVASES, Box
from .script import Part, Script, Span
from .values import Value

SECTION, NAME, WORDS = 40.0, 104.0, 44.0  # type, in units


def card(shape: str, section: str, title: str, words: str = "", rows: tuple[tuple[str, str], ...] = ()) -> Script:
    """It stands as long as it takes to read. A section named as its film is not said twice; `rows` are two columns."""
    canvas = CANVASES[shape]
    inner = Box(0, 0, canvas.w, canvas.h).inset(canvas.main.x * 1.5, canvas.h * 0.08)
    above, middle, below = inner.rows(*((3, 3, 12) if rows else (9, 4, 7)))
    parts = [
        _part(Text(section if section != title else "", SECTION, "accent", 600), Box(*above)._replace(
            y=above.bottom - 64, h=64)),
        _part(Text(title, NAME if canvas.w > canvas.h else NAME * 0.7, "ink", 700), middle),
        _part(Text(words, WORDS), below),
    ]  # fmt: skip
    for (name, what), place in zip(rows, places(shape, len(rows)), strict=True):
        left, right = place.columns(1, 1)
        parts += [_part(Text(name, SECTION, "ink", 500), left), _part(Text(what, SECTION, "Q", mono=True), right)]
    seconds = float(ceil(reading_time(" ".join((section, title, words)))))
    return Script(shape, title, seconds, tuple(parts), (Span(title, 0.0, seconds),), ())


def places(shape: str, count: int) -> list[Box]:
    """Where the rows of a card stand."""
    canvas = CANVASES[shape]
    inner = Box(0, 0, canvas.w, canvas.h).inset(canvas.main.x * 1.5, canvas.h * 0.08)
    x, y, w, h = inner.rows(3, 3, 12)[2]
    return [Box(x, y + h * (n + 2.4) / 9, w, 64) for n in range(count)]


def _part(actor: Text, box: Box) -> Part:
    return Part(actor, Value(box), Value(1.0))
