"""Footprint: the most bytes of HBM that are allocated at one time, from what a run declares and when it uses it.

What the caller brings (Q, K, V, dO, …) is there from the start of its run to the end, what the run leaves behind (O,
LSE, dQ, …) from its first store to the end. What is made only to be read again (S, P, dS, …) is freed after the last
program that reads it. Nothing else is counted: no workspace of a library, and no copy of what is there already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .. import algorithms
from ..machine.events import Event
from ..machine.memory import Tensor
from ..runs import counting


@dataclass(frozen=True)
class Footprint:
    """What is in HBM when most is: bytes by tensor, in the order in which a run declares them."""

    by_tensor: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.by_tensor.values())


def footprint(algorithm: str, **sizes: Any) -> Footprint:
    """The peak footprint of one run. `sizes` are those of `flashsteps.count`: n, d, block_q, mask, dtype, …

    Raises ValueError as `count` does.
    """
    return _peak(_usage(algorithm, **sizes))


def training(algorithm: str, **sizes: Any) -> Footprint | None:
    """The same for a forward pass and then its backward pass: what the one saves stays until the other has read it.

    `algorithm` is either of the two; None for one that has no such partner. Raises ValueError as `count` does.
    """
    pair = _pair(algorithm)
    if pair is None:
        return None
    return _peak(*(_usage(name, **sizes) for name in pair))


def _pair(algorithm: str) -> tuple[str, str] | None:
    """A forward and its backward pass, one of which is the algorithm."""
    pairs = ((about.saved_by, about.name) for about in map(algorithms.algorithm, algorithms.names()) if about.saved_by)
    return next((pair for pair in pairs if algorithm in pair), None)


class Use(NamedTuple):
    """When a tensor is first and last moved, as the number of a program, and in which direction."""

    first: int
    last: int
    made: bool  # its first move is a store: the run itself makes it
    kept: bool  # its last move is a store: the run leaves it behind


class Usage(NamedTuple):
    """What one run has in HBM, and when it uses what."""

    tensors: Mapping[str, Tensor]
    uses: Mapping[str, Use]
    programs: int


class _Watch:
    """A tape that notes when each tensor is moved, in which order suffices: counted runs are told in order too."""

    def __init__(self) -> None:
        self.uses: dict[str, Use] = {}
        self.programs = 1

    def step(self, event: Event, value: np.ndarray | None, times: int) -> None:
        self.programs = event.program + 1
        if event.op in ("load", "store") and event.tile:
            name, stored = event.tile.tensor, event.op == "store"
            before = self.uses.get(name, Use(event.program, event.program, stored, stored))
            self.uses[name] = before._replace(last=event.program, kept=stored)


def _peak(*runs: Usage) -> Footprint:
    """The footprint of runs one after another; a tensor of the same name is the same."""
    nbytes: dict[str, int] = {}
    born: dict[str, int] = {}
    dies: dict[str, int] = {}
    start, held = 0, set[str]()
    for tensors, uses, programs in runs:
        for name, tensor in tensors.items():
            use = uses.get(name, Use(0, 0, made=False, kept=False))
            if name not in nbytes:
                nbytes[name] = prod(tensor.shape) * tensor.dtype.itemsize
                born[name] = start + use.first if use.made else start
                held |= set() if use.made else {name}
            held |= {name} if use.kept else set()
            dies[name] = start + use.last
        start += programs
    dies |= dict.fromkeys(held, start)
    alive = (
        {name: nbytes[name] for name in nbytes if born[name] <= now <= dies[name]} for now in sorted({*born.values()})
    )
    return Footprint(max(alive, key=lambda held: sum(held.values())))


def _usage(algorithm: str, **sizes: Any) -> Usage:
    """What a counted run declares and uses."""
    watch = _Watch()
    hbm, _ = counting.walk(algorithm, watch, **sizes)
    return Usage(hbm.tensors, watch.uses, watch.programs)
