"""Each line of an algorithm told once, the first time it runs, in its own words: at which steps what is said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .. import theme
from ..errors import shorten
from ..machine.events import Event
from ..story.kernels import Kernel
from ..trace import narration
from ..trace.trace import Trace
from .actors.slots import called
from .board import LONGEST_CAPTION, reading_time
from .text import literal


class Told(NamedTuple):
    """What is said when a step is about to happen; how much it is worth, if not all can be told."""

    step: int
    words: str
    worth: int


def told(trace: Trace, kernels: list[Kernel], seconds: float) -> list[list[Told]]:
    """By kernel, as much as can be read in so many seconds. Its first words are always said, its last if possible, and
    those of a line that moves or makes a tile rather than those of one that makes a number a row, or does what was told
    before; and of kernels the one that has most to say loses first."""
    seen = set[str]()
    found = [list(_told(trace, kernel, seen)) for kernel in kernels]
    while sum(reading_time(one.words) for each in found for one in each) > seconds:
        some = [each[1:-1] for each in found] if any(len(each) > 2 for each in found) else [each[1:] for each in found]
        rest = [(one.worth, -len(each), -one.step, one) for each in some for one in each]
        if not rest:
            break
        least = min(rest)[-1]
        found = [[one for one in each if one is not least] for each in found]
    return found


def _told(trace: Trace, kernel: Kernel, seen: set[str]) -> Iterator[Told]:
    """Of each line that has words, the first step; a line without goes on with those before, if there are any."""
    known, lines, standing = narration.of(trace.meta), set[int](), ""
    before, first = {(event.op, event.slot) for event in trace[: kernel.start]}, True
    for event in trace[kernel.start : kernel.stop]:
        if event.op == "skip" or event.line in lines:
            continue
        lines.add(event.line)
        caption = sentence(known[event.line].caption) or ("" if standing else plain(event, trace))
        if not caption or caption == standing or caption in seen and not first:
            continue
        yield Told(event.step, caption, _worth(trace, event, (event.op, event.slot) in before))
        standing, first = caption, False
        seen.add(caption)


def _worth(trace: Trace, event: Event, again: bool) -> int:
    """What only sets a slot up is worth least; then what was told of another kernel; then one number a row."""
    value = trace.values[event.step]
    if event.op == "compute" and value is not None and value.size > 1 and (value == value.flat[0]).all():
        return 0
    return 1 if again else 2 if len(event.shape) < 2 else 3


def sentence(comment: str) -> str:
    """A comment as a caption, if it is short enough: else its first sentence, if that is, else none."""
    words = literal(shorten(comment, 1 << 12).strip())
    if len(words) > LONGEST_CAPTION:
        words = words.split(". ")[0] + "."
    return words if len(words) <= LONGEST_CAPTION else ""


def plain(event: Event, trace: Trace) -> str:
    """What a step does, where nobody says it."""
    if event.op == "compute":
        return f"{called(event.slot, trace)} is made on chip."
    assert event.tile is not None
    return f"{theme.label(event.tile.tensor)} {'comes in' if event.op == 'load' else 'goes out'}."
