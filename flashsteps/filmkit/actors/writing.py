"""Words in boxes: one line in the middle of a box's height, elided to its width, left out where there is no room."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..boxes import Box

if TYPE_CHECKING:
    from ..pen import Align, Pen

LINE = 1.3  # from one baseline to the next, in em
ROOM = 1.12  # the height below which a line is left out, in em


class Run(NamedTuple):
    """Words in a colour and a face of their own, within a line."""

    words: str
    color: str = "ink"
    weight: int = 400
    mono: bool = False


Words = str | tuple[Run, ...]


def line(pen: Pen, size: float) -> int:
    """The height of a line in px."""
    return pen.px(size * LINE)


def width(pen: Pen, words: Words, size: float, *, weight: int = 400, mono: bool = False) -> float:
    """How wide a line is, in px; 0 where it is too small to be read, and so left out."""
    if not pen.fits(size):
        return 0.0
    if isinstance(words, str):
        return pen.width(words, size, weight=weight, mono=mono)
    return sum(pen.width(run.words, size, weight=run.weight, mono=run.mono) for run in words)


def write(
    pen: Pen,
    box: Box,
    words: Words,
    size: float,
    color: str = "ink",
    *,
    weight: int = 400,
    mono: bool = False,
    align: Align = "left",
) -> float:
    """One line in the middle of the box's height. Gives its width in px, 0 where nothing is written.

    Words that are too wide end in "…"; of runs the line is left out as a whole.
    """
    if box.h < size * ROOM * pen.unit or box.w < 1:
        return 0.0
    x = box.x + {"left": 0.0, "center": 0.5, "right": 1.0}[align] * box.w
    base = box.y + box.h / 2 + size * 0.36 * pen.unit
    if isinstance(words, str):
        return pen.text(x, base, words, size, color, weight=weight, mono=mono, align=align, room=box.w)
    whole = width(pen, words, size)
    if whole > box.w:
        return 0.0
    x -= {"left": 0.0, "center": 0.5, "right": 1.0}[align] * whole
    for run in words:
        x += pen.text(x, base, run.words, size, run.color, weight=run.weight, mono=run.mono)
    return whole


def lines(pen: Pen, words: str, size: float, room: float, *, weight: int = 400, mono: bool = False) -> list[str]:
    """The words in lines of `room` px."""
    from .. import text as texts

    return texts.wrap(words, pen.style(size, weight, mono), room) if pen.fits(size) else []


def fitted(
    pen: Pen, words: str, size: float, wide: float, high: float, *, weight: int = 400, mono: bool = False
) -> list[str]:
    """The words in as many lines as this height holds. The last one has all that is left, and so ends in "…"."""
    rows = lines(pen, words, size, wide, weight=weight, mono=mono)
    most = max(1, int(high // max(1, line(pen, size))))
    return rows if len(rows) <= most else [*rows[: most - 1], " ".join(rows[most - 1 :])]


def spread(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Places as near as can be to those wanted, `gap` apart, between `low` and `high`: so names keep clear."""
    order = sorted(range(len(wanted)), key=lambda n: wanted[n])
    placed, below = [0.0] * len(wanted), low
    for n in order:
        placed[n] = below = max(wanted[n], below)
        below += gap
    above = high
    for n in reversed(order):
        placed[n] = above = min(placed[n], above)
        above -= gap
    return placed
