"""What the actors of a run share: they show it at `now`, and are drawn anew when they look different."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

from .. import values
from ..run import Run, Shown
from .actor import Actor

#: what each place shows, by its name
Shows = tuple[tuple[str, Shown | None], ...]


class Look(NamedTuple):
    """How a panel looks: `whose` is the program, and all that is said of it; then what each place shows."""

    whose: Hashable
    shown: Shows


def differing(before: Shows, after: Shows) -> list[str]:
    """The places that show something else."""
    return [name for (name, one), (_, other) in zip(before, after, strict=True) if one != other]


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

    @property
    def looks(self) -> Any:
        """What is to be seen now, worked out once."""
        return self.seen() if self.look is None else self.look

    def seen(self) -> Hashable:
        """What is to be seen now: two that are equal look the same."""
        raise NotImplementedError
