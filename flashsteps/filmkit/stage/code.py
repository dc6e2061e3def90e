"""The code pane: the NumPy source of the algorithm that ran, with the line that is running lit."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import lru_cache

from ...theme import LABEL, SMALL
from ...trace import narration
from .. import text as texts
from ..film import Film
from ..layout import Box
from ..pen import Pen
from .moment import Moment
from .part import Part


def background(pen: Pen, film: Film) -> None:
    if film.layout.code:
        pen.panel(film.layout.code)


def parts(film: Film) -> Iterator[Part]:
    """One part: the lines around the one that is running."""
    box = film.layout.code
    if box is None:
        return
    inside = box.grown(-max(4, round(10 * film.layout.unit)))

    def running(m: Moment) -> tuple[int, ...]:
        return tuple(sorted({event.line for event in m.events}))

    def key(m: Moment) -> Hashable:
        return running(m) or "over"

    def draw(pen: Pen, m: Moment) -> None:
        size = SMALL if pen.fits(SMALL) else LABEL
        rows = _rows(film.trace.meta["code"], pen, size, inside.w)
        pitch = pen.px(size * 1.32)
        room = max(1, inside.h // pitch)
        lit = [n for n, (line, _) in enumerate(rows) if line in running(m)]
        first = 0
        if len(rows) > room and lit:
            first = min(max(0, (lit[0] + lit[-1]) // 2 - room // 2), len(rows) - room)
            first = min(first, lit[0])
        for n, (line, words) in enumerate(rows[first : first + room]):
            top = inside.y + n * pitch
            on = line in running(m)
            if on:
                pen.fill(Box(inside.x, top, inside.w, pitch), "accent", radius=6, alpha=0.32)
            pen.text(inside.x + pen.px(8), top + pitch * 0.74, words, size, "ink" if on else "dim", mono=True)

    yield Part(inside, key, draw)


@lru_cache(maxsize=32)
def _wrapped(code: str, style: texts.Style, room: float) -> tuple[tuple[int, str], ...]:
    """Source lines without comments and blank lines, indented by two, broken where they are too wide: (line, text)."""
    character = texts.width("0", style)
    most = max(12, int(room // character) - 1)
    rows: list[tuple[int, str]] = []
    for line in narration.read(code).values():
        body = line.code.strip()
        if not body:
            continue
        indent = " " * ((len(line.code) - len(line.code.lstrip()) - 4) // 2)
        words, current = body.split(" "), indent
        for word in words:
            candidate = f"{current} {word}" if current.strip() else current + word
            if len(candidate) > most and current.strip():
                rows.append((line.number, current))
                candidate = f"{indent}    {word}"
            current = candidate
        rows.append((line.number, texts.elide(current, style, room)))
    return tuple(rows)


def _rows(code: str, pen: Pen, size: float, room: float) -> tuple[tuple[int, str], ...]:
    return _wrapped(code, pen.style(size, mono=True), room)
