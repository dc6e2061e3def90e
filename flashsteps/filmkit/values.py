"""What changes in time. A value's track is written once, by the board; what it is at t depends on t alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

Ease = Callable[[float], float]
INSTANT = 1e-6  # seconds: shorter than anything that is seen

if TYPE_CHECKING:  # a value may be given for a field of any type
    Anything = Any
else:
    Anything = object


def linear(u: float) -> float:
    """Always as fast: for what counts, such as bytes and steps."""
    return u


def smooth(u: float) -> float:
    """Slow, fast, slow: for what is led by eye."""
    return u * u * (3 - 2 * u)


class Move(NamedTuple):
    """A wish: this value is to become that. The board says when."""

    value: Value
    goal: Any


class Leg(NamedTuple):
    """A stretch of a track: from `begin` to `end` (seconds) the value goes from `start` to `goal`, then stays there."""

    begin: float
    end: float
    start: Any
    goal: Any
    ease: Ease


class Changing:
    """What is something else at another time: a value, what is made of values, an actor that was given some."""

    def at(self, t: float) -> Any:
        raise NotImplementedError

    def made_of(self) -> Iterable[Any]:
        """What it is made of: nothing else in it changes."""
        raise NotImplementedError


class Value(Changing, Anything):  # type: ignore[misc]
    """A number, a word, or a tuple of them, that changes. Finite numbers glide, all else (words, −∞, None) jumps."""

    def __init__(self, start: Any) -> None:
        self.legs = [Leg(0.0, 0.0, start, start, linear)]
        self._begins = [0.0]

    def to(self, goal: Any) -> Move:
        return Move(self, goal)

    def move(self, goal: Any, begin: float, end: float, ease: Ease = linear) -> None:
        """From what it is at `begin` to `goal` at `end`. Raises ValueError for a leg before one that is written."""
        if begin < self._begins[-1]:
            raise ValueError(f"a value that moves at {self._begins[-1]:g} s cannot be moved at {begin:g} s any more")
        self.legs.append(Leg(begin, end, self.at(begin), goal, ease))
        self._begins.append(begin)

    def at(self, t: float) -> Any:
        leg = self.legs[max(0, bisect_right(self._begins, t) - 1)]
        if t >= leg.end:
            return leg.goal
        return mixed(leg.start, leg.goal, leg.ease((t - leg.begin) / (leg.end - leg.begin)))

    def made_of(self) -> Iterable[Any]:
        return ()

    @property
    def times(self) -> list[float]:
        """When it may begin to change, or cease to."""
        return [t for leg in self.legs for t in (leg.begin, leg.end)]

    def __repr__(self) -> str:
        return f"Value({[(*leg[:4], leg.ease.__name__) for leg in self.legs]})"


class Made(Changing, Anything):  # type: ignore[misc]
    """What is made of other values, such as a count at a tile size: `Made(bytes_at, tile)`."""

    def __init__(self, make: Callable[..., Any], *of: Any) -> None:
        self.make, self.of = make, of

    def at(self, t: float) -> Any:
        return self.make(*(at(x, t) for x in self.of))

    def made_of(self) -> Iterable[Any]:
        return self.of

    @property
    def times(self) -> list[float]:
        return sorted(t for x in self.of if hasattr(x, "times") for t in x.times)

    def __repr__(self) -> str:  # a function has no name that tells what it does: so, what it gives, 16 times a leg
        legs = zip(self.times, self.times[1:], strict=False)
        return f"Made({[self.at(a + (b - a) * k / 16) for a, b in legs for k in range(17)]})"


def at(x: Any, t: float) -> Any:
    """The same thing at t: values become what they are then, in tuples and actors too; all else is itself."""
    if isinstance(x, Changing):
        return x.at(t)
    if not changes(x):
        return x
    parts = (at(part, t) for part in x)
    return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)


def legs_of(x: Any) -> Iterator[Leg]:
    """All stretches in which a thing, or what it is made of, becomes something else."""
    if isinstance(x, Value):
        yield from x.legs
    elif isinstance(x, Changing | tuple):
        for part in x.made_of() if isinstance(x, Changing) else x:
            yield from legs_of(part)


def stands(x: Any, t: float) -> bool:
    """Is it at rest at t? What is on its way from one value to another has no number that is right."""
    return not changes(x) or bool(at(x, t) == at(x, t + INSTANT))


def changes(x: Any) -> bool:
    """Is there anything in it that changes in time?"""
    return isinstance(x, Changing) or isinstance(x, tuple) and any(map(changes, x))


def mixed(a: Any, b: Any, u: float) -> Any:
    """What stands a share `u` of the way from a to b: numbers, and tuples of them, glide; all else is b at once."""
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        parts = (mixed(x, y, u) for x, y in zip(a, b, strict=True))
        return type(b)(*parts) if hasattr(b, "_fields") else tuple(parts)
    if isinstance(a, int | float) and isinstance(b, int | float) and isfinite(a) and isfinite(b):
        return a + (b - a) * u
    return b
