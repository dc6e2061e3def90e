"""Counting rules: which of the bytes that a run moves a published figure counts; and their sum."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from ..errors import unknown
from ..machine.arrays import Work
from ..machine.events import IO, Event, Moved, Peak


class Rule(NamedTuple):
    """What a rule counts, in a few words; the algorithms that it is for (None: all); and whether it counts an event."""

    says: str
    algorithms: tuple[str, ...] | None
    counts: Callable[[Event], bool]


def _figure_2(event: Event) -> bool:
    tensor, first = event.tile.tensor if event.tile else "", event.loop.get("j") == 0
    set_up = event.op == "store" and not event.slot  # a constant, to start from
    return tensor not in ("m", "l") and not set_up and not (event.op == "load" and tensor == "O" and first)


def _no_statistics(event: Event) -> bool:
    return not event.tile or event.tile.tensor not in ("m", "l", "LSE", "D")


RULES = {
    "all": Rule("every byte between HBM and SRAM", None, lambda event: True),
    "fa1-figure-2": Rule(
        "FA1, Figure 2: no ℓ and m, no writes that only set O up, and no read of O for the first block of keys",
        ("flash-forward",),
        _figure_2,
    ),
    "no-statistics": Rule("matrices alone: no m, ℓ, LSE and D, as FA1 writes its sums", None, _no_statistics),
}

DEFAULT = "all"


def rule(name: str, algorithm: str) -> Rule:
    """The rule of that name. Raises ValueError for one that isn't known, or that isn't for this algorithm."""
    if name not in RULES:
        raise ValueError(unknown("counting rule", name, RULES))
    found = RULES[name]
    if found.algorithms and algorithm not in found.algorithms:
        theirs = ", ".join(found.algorithms)
        raise ValueError(f"counting rule {name!r} is for {theirs}, not for {algorithm}: use rule='all'")
    return found


class Tally:
    """Adds up what events move, as far as a counting rule counts it, and their work, each event `times` times."""

    def __init__(self, rule: Rule) -> None:
        self.rule, self.work = rule, Work()
        self.read: dict[str, int] = {}
        self.written: dict[str, int] = {}

    def step(self, event: Event, value: np.ndarray | None = None, times: int = 1) -> None:
        self.work = self.work.plus(event.work, times)
        if event.op in ("load", "store") and event.tile and self.rule.counts(event):
            side, tensor = self.read if event.op == "load" else self.written, event.tile.tensor
            side[tensor] = side.get(tensor, 0) + event.nbytes * times

    def io(self, tensors: Iterable[str], peak: Peak) -> IO:
        """The sums, by tensor in the order given; those that did not move are left out."""
        moved = {name: Moved(self.read.get(name, 0), self.written.get(name, 0)) for name in tensors}
        return IO({name: both for name, both in moved.items() if any(both)}, self.work, peak)
