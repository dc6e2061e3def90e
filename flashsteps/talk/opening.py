"""The first slide of a talk: a title as large as it fits, and who gives it."""

from __future__ import annotations

from typing import NamedTuple
from unicodedata import east_asian_width

from ..filmkit.actors.cards import Text
from ..filmkit.boxes import CANVASES, Box
from ..filmkit.card import WORDS
from ..filmkit.script import Part, Script, Span
from ..filmkit.text import Style, broken, literal
from ..filmkit.values import Value

HIGH, LINE = 360, 1.2  # units for the title, however many its lines; from one line to the next, in em

#: how wide a line may be in units, by shape: as wide as it is where there is least room
ROOM = {"wide": 1640.0, "square": 840.0, "tall": 840.0}


class Fitted(NamedTuple):
    """Words in lines, and the largest size, in units, in which they are few enough."""

    size: float
    lines: list[str]


def title(words: str, shape: str) -> Fitted:
    return _fitted(words, shape, (104, 84, 68, 56, 44) if shape == "wide" else (72, 56, 44), HIGH, 700)


def name(words: str, shape: str) -> Fitted:
    return _fitted(words, shape, (40, 32, 28), 160, 500)


def _fitted(words: str, shape: str, sizes: tuple[int, ...], high: float, weight: int) -> Fitted:
    """In the first of the sizes in which its lines are no higher, or else the last; where it is shown all characters of
    Chinese are there, and none of them is wider than a W."""

    def lines(text: str, size: int) -> list[str]:
        return broken(literal(text), Style("sans", weight, size), ROOM[shape])

    widest = "".join("W" if east_asian_width(sign) in "WF" else sign for sign in words)
    size = next((size for size in sizes if len(lines(widest, size)) * size * LINE <= high), sizes[-1])
    return Fitted(size, lines(words, size))


def script(shape: str, words: str, below: str, by: str) -> Script:
    """The slide as a script of one picture: the title, which ends where it does however long it is, the line below it,
    and who gives it."""
    canvas, parts = CANVASES[shape], list[Part]()
    x, w = canvas.main.x * 1.5, ROOM[shape] * 1.02

    def put(lines: list[str], y: float, size: float, color: str, weight: int = 400) -> float:
        for n, line in enumerate(lines):
            box = Box(x, y + n * size * LINE, w, size * 1.3)
            parts.append(Part(Text(line, size, color, weight), Value(box), Value(1.0)))
        return y + len(lines) * size * LINE

    of, who = title(words, shape), name(by, shape)
    top = canvas.h * 0.48 - len(of.lines) * of.size * LINE
    end = put(of.lines, top, of.size, "ink", 700)
    end = put(broken(below, Style("sans", 400, WORDS), ROOM[shape]), end + 24, WORDS, "dim")
    put(who.lines, end + 32, who.size, "ink", 500)
    return Script(shape, words, 1.0, tuple(parts), (Span(words, 0.0, 1.0),), ())
