"""Sums over tiles: gradients that grow on chip, block after block, and go out to HBM once."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...story.labels import scaled
from ...theme import hue
from ..actors.areas import Area, Areas
from ..actors.cards import Panel
from ..actors.matrix import Matrix, grid
from ..actors.wires import Arrow
from ..board import Board
from ..boxes import Box
from ..places import Stage
from ..run import Run
from ..tiles import blocks, made
from ..values import Made
from .backward_run import hardest

APART = 26  # units between two of them


class Growing:
    """dV and dK of one program, dQ of another, one below the other. `added` are the blocks that are in each program's
    sums, of `of`, or −1 once it has ended; `gone` is how far each gradient is on its way out."""

    def __init__(self, board: Board, place: Stage, run: Run) -> None:
        _, _, i, j = hardest(run)
        self.board, self.of = board, blocks(run)
        self.added, self.gone = [board.value(0.0) for _ in range(2)], [board.value(0.0) for _ in range(3)]
        queries, keys = (board.pick(wide=f"blocks of {axis}", square="blocks") for axis in ("queries", "keys"))
        many, n, times = self.of, self.added, scaled(run.trace.meta)
        parts = (
            ("dV", "dV = Σ P^{T}dO", {"j": j}, many[0], n[0], queries, many[1], j, self.gone[0]),
            ("dK", f"dK = Σ dS^{{T}}Q {times}", {"j": j}, many[0], n[0], queries, many[1], j, self.gone[1]),
            ("dQ", f"dQ = Σ dS K {times}", {"i": i}, many[1], n[1], keys, many[0], i, self.gone[2]),
        )
        left, bus, right = place.whole.columns(*board.pick(wide=(1000, 120, 656), square=(560, 90, 350)), gap=0)
        head = left.h - Panel.inside(left).h
        high = (left.h - 2 * head - 2 * APART) / 3  # of each of the sums
        first, second = left.rows(head + 2 * high + APART, head + high, gap=APART)
        runs = Made(lambda k: k >= 0, n[0]), Made(lambda k, m: k < 0 <= m, *n)
        of_keys, of_queries = board.pick(wide=(", of a block of keys", ", of a block of queries"), square=("", ""))
        self.pictures: list[tuple[Any, Box]] = [
            (Panel("SRAM", f"kernel 2: program {j}{of_keys}", sram=True, lit=runs[0]), first),
            (Panel("SRAM", f"kernel 3: program {i}{of_queries}", sram=True, lit=runs[1]), second),
            (Panel("HBM"), right),
        ]
        sums = [*Panel.inside(first).rows(2, gap=APART), Panel.inside(second)]
        beside = [[box._replace(x=to.x, w=to.w) for box in sums] for to in (bus, Panel.inside(right))]
        for (name, title, loop, of, at, axis, others, own, out), *boxes in zip(parts, sums, *beside, strict=True):
            values = made(run, name.lower(), **loop)[-of - 1 :]
            like, none = np.concatenate(values), np.full(values[0].shape, np.nan)
            told = Made(lambda k, of=of, axis=axis: f"{k:.0f} of {of} {axis}" if k >= 0 else "gone out", at)
            shown = Made(lambda k, values=values, none=none: grid(values[int(k)] if k >= 1 else none), at)
            low, high = float(like.min()), float(like.max())
            strip = Made(lambda u, name=name, others=others, own=own: stored(name, others, own, u >= 1), out)
            self.pictures += [
                (Matrix(shown, name, low, high, title, told, numbers=False, base="sram"), boxes[0]),
                (Arrow(part=Made(lambda u: min(1.0, 2 * u), out), hue="ink"), boxes[1]),
                (Areas(strip, others, 1.0, middle=True), boxes[2]),
            ]

    def add_up(self) -> None:
        """Block after block goes into the sums of one program, which go out then; with it ended, so the other's."""
        board = self.board
        for added, of, gone in zip(self.added, self.of, (self.gone[:2], self.gone[2:]), strict=True):
            for k in range(of):
                board.wait(0.35)
                board.set(added.to(k + 1.0))
            board.wait(0.3)
            for out in gone:
                board.move(out.to(1.0), seconds=0.6)
            board.set(added.to(-1.0))


def stored(name: str, others: int, own: int, there: bool) -> tuple[Area, ...]:
    """The blocks of a gradient in HBM: this program's, once it is there, and places of the others."""
    areas = [Area(k + 0.04, 0.1, 0.92, 0.8, "line", open=True) for k in range(others)]
    if there:
        areas[own] = Area(own + 0.04, 0.1, 0.92, 0.8, hue(name), name, hatched=True)
    return tuple(areas)
