"""A cache and the SMs that read it: in one piece, and cut in many; each piece drains as fast as any other."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...theme import BODY, HEAD, LABEL
from .. import shapes
from ..actors.areas import Areas, Crowd
from ..actors.cards import Text
from ..actors.wires import Arrow
from ..board import Board
from ..boxes import Box
from ..values import Made, Value


class Cut(NamedTuple):
    """How the keys are shared out: what it is called, what is said of it, and how many keys each piece has."""

    title: str
    under: str
    sizes: tuple[int, ...]


class CutCache:
    """One way of sharing out, in a box: `busy` SMs of all work, and `read` keys of each piece are gone."""

    def __init__(self, board: Board, box: Box, cut: Cut, sms: int) -> None:
        self.busy: Value = board.value(0.0)
        self.read: Value = board.value(0.0)
        N = sum(cut.sizes)
        if board.shape == "wide":
            left, between, right = box.columns(820, 100, 800, gap=28)
            above, below, strips, figure = left.rows(52, 46, 154, 44, gap=8)
        else:
            heights = board.pick(wide=(), square=(44, 38, 120, 120), tall=(44, 38, 140, 300))
            above, below, strips, right = box.rows(*heights, gap=8)
            between, (above, figure) = None, above.columns(11, 9, gap=4)
        part = Made(lambda keys: f"{sum(min(keys, size) for size in cut.sizes):,.0f} of {N:,} keys read", self.read)
        left_of = Made(lambda keys: shapes.strips(keys, cut.sizes, strips), self.read)
        self.pictures: list[tuple[Any, Box]] = [
            (Text(cut.title, HEAD if between else BODY, "ink", 600), above), (Text(cut.under), below),
            (Areas(left_of, strips.w, strips.h), strips),
            (Text(part, BODY if between else LABEL, "ink", align="left" if between else "right"), figure),
            (Crowd(self.busy, sms), right), *([(Arrow(), between)] if between else []),
        ]  # fmt: skip
