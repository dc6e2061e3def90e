"""What an actor is: plain data that draws itself into a box."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

from .. import values
from ..boxes import Box

if TYPE_CHECKING:
    from ..pen import Pen


@dataclass(frozen=True)
class Actor(values.Changing):
    """Any field may be given as a value. `at(t)` is the same actor with plain fields, and only such a one is drawn: so
    what it looks like is told by what it is, and nobody writes redraw keys. Two that are equal look the same."""

    @cached_property
    def changing(self) -> tuple[str, ...]:
        """The fields that change in time."""
        return tuple(f.name for f in fields(self) if values.changes(getattr(self, f.name)))

    def at(self, t: float) -> Self:
        if not self.changing:
            return self
        return replace(self, **{name: values.at(getattr(self, name), t) for name in self.changing})

    def made_of(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.changing)

    def draw(self, pen: Pen, box: Box) -> None:
        """In whole px, within the box: what leaves it is cut."""
        raise NotImplementedError

    def differs(self, before: Self, pen: Pen, box: Box) -> tuple[Box, ...]:
        """Where in its box, in px, it looks different from what it was before: all over, unless an actor knows better.

        It is drawn anew there, under that clip; `pen.sees` tells what need not be drawn then.
        """
        return (box,)
