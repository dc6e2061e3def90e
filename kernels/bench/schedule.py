"""In which order calls are timed: turn about, so that a busy or a hot moment hits all alike, until a time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

#: how often a call is timed, at least and at most
LEAST, MOST = 3, 30

#: how often it is called before, so that what is found out at first is not timed
WARM = 5


def times(seconds: float, budget: float, least: int = LEAST, most: int = MOST) -> int:
    """How often a call that takes so many seconds is timed in so many."""
    return max(least, min(most, int(budget / max(seconds, 1e-9))))


def rounds(counts: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """(name, which turn of its own) in the order to run: each as often as counted, spread over all rounds.

    Each round begins with another name, so that none always follows the same one.
    """
    names, most = list(counts), max(counts.values(), default=0)
    for turn in range(most):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            done, now = turn * counts[name] // most, (turn + 1) * counts[name] // most
            if now > done:
                yield name, done


class Deadline:
    """Minutes that run from now: `left()` seconds, and `over` once there are none. None minutes: no end."""

    def __init__(self, minutes: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._end = None if minutes is None else clock() + 60 * minutes

    def left(self) -> float:
        return float("inf") if self._end is None else self._end - self.clock()

    @property
    def over(self) -> bool:
        return self.left() <= 0
