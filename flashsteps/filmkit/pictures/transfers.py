"""What standard attention moves, one transfer after another, to scale; and the formula that counts its numbers."""

from __future__ import annotations

from functools import cache

import numpy as np

from ...runs.record import record
from ...theme import hue
from ..actors.areas import Area, Areas
from ..actors.formula import Formula, Term
from ..values import Made, Value

SIDE, APART = 256, 40  # of S as it is drawn, and between two areas


def counted(there: Value) -> tuple[Areas, Formula]:
    """As many transfers as are `there`, and their numbers added up."""
    wide = sum(w for _, w, _ in transfers()) + APART * (len(transfers()) - 1)
    return Areas(Made(in_order, there), wide, SIDE, middle=True), Formula(Made(so_far, there), center=True)


@cache
def transfers() -> tuple[tuple[str, float, bool], ...]:
    """In the order of a tiny run: tensor, width (d is a quarter of N), is it written?"""
    N, d = 16, 4
    run = record("standard-forward", *np.zeros((3, N, d), np.float16), block_q=N, block_k=N)
    return tuple((e.tile.tensor, SIDE * e.nbytes / (2 * N * N), e.op == "store") for e in run if e.tile and e.nbytes)


def in_order(count: float) -> tuple[Area, ...]:
    """The transfers so far, side by side."""
    areas, x = [], 0.0
    for n, (tensor, wide, written) in enumerate(transfers()):
        if n < count:
            part, there = min(1.0, count - n), n + 1 <= count
            areas.append(Area(x, 0, wide, SIDE, hue(tensor), tensor, part=part, hatched=written and there))
        x += wide + APART
    return tuple(areas)


def so_far(count: float) -> tuple[Term | str, ...]:
    """How many numbers that are: Nd for a strip, N² for a square."""
    done = [wide for _, wide, _ in transfers()[: int(count + 1e-9)]]
    squares = done.count(SIDE)
    return Term(f"{len(done) - squares}Nd"), " + ", Term(f"{squares}N²", "S")
