"""Counting rules: which of the bytes that a run moves a published figure counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from .errors import unknown

if TYPE_CHECKING:
    from .trace import Event


class Rule(NamedTuple):
    """What a rule counts, in a few words; the algorithms that it is for (None: all); and whether it counts an event."""

    says: str
    algorithms: tuple[str, ...] | None
    counts: Callable[[Event], bool]


def _figure_2(event: Event) -> bool:
    tensor, first = event.tile.tensor if event.tile else "", event.loop.get("j") == 0
    set_up = event.op == "store" and not event.slot  # a constant, to start from
    return tensor not in ("m", "l") and not set_up and not (event.op == "load" and tensor == "O" and first)


RULES = {
    "all": Rule("every byte between HBM and SRAM", None, lambda event: True),
    "fa1-figure-2": Rule(
        "FA1, Figure 2: no ℓ and m, no writes that only set O up, and no read of O for the first block of keys",
        ("flash-forward",),
        _figure_2,
    ),
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
