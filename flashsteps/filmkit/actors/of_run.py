"""What the actors of a run share: they show it at `now`, and are drawn anew when they look different."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Self

from .. import values
from ..run import Run
from .actor import Actor


@dataclass(frozen=True)
class OfRun(Actor):
    """`now` counts moments of the run. `look` follows from it: all that this actor shows of the run, as a plain key."""

    run: Run
    now: float = field(compare=False)
    look: Hashable = field(default=None, init=False)

    def at(self, t: float) -> Self:
        given = {name: values.at(getattr(self, name), t) for name in self.changing}
        given["now"] = round(given.get("now", self.now), 3)  # what is as good as over is over, to see and to draw
        kept: tuple[object, Self] | None = self.__dict__.get("_kept")
        if kept is None or kept[0] != given:  # most of the time nothing moves
            plain = replace(self, **given)
            object.__setattr__(plain, "look", plain.seen())
            kept = given, plain
            object.__setattr__(self, "_kept", kept)
        return kept[1]

    def seen(self) -> Hashable:
        """What is to be seen now: two that are equal look the same."""
        raise NotImplementedError
