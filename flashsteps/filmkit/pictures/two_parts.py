"""Two parts of a row, what they make together, and its digits: where they stand, and what one looks like."""

from __future__ import annotations

from typing import Any

from ...story.row import Sum
from ...story.written import Equals, Places, Term, places
from ..actors.bars import Bar, Bars
from ..actors.cards import Panel
from ..actors.row import Row
from ..board import Board
from ..boxes import Box
from .tiled_row import TiledRow, against


def put_part(
    board: Board, data: TiledRow, title: str, part: Sum, box: Box, now: tuple[Any, Any, Any] | None = None
) -> None:
    """A panel with ℓ as a length and O as bars: of a program's part, on chip, or of what they make, as it is `now`."""
    length, pieces, O = now or (float(part.l), (), tuple(part.acc.tolist()))
    of, kind = written(data), "part" if now is None else "whole"
    board.put(Panel(title, of.fill("m = #", Term("m", part.m)), sram=now is None), box)
    above, below = Panel.inside(box).rows(2, 3, gap=10)
    ground = "sram" if now is None else "panel"
    most = 1.02 * max(float(abs(x.acc).max()) for x in (*halves(data).values(), data.whole))
    board.put(Bars((Bar("ℓ", length, "stat", pieces),), data.longest, f"{{:.{of[kind]}f}}", ground=ground), above)
    board.put(Row(O, "O", -most, most, title="O", ground=ground), below)


def cut(data: TiledRow) -> dict[str, slice]:
    """The keys of both parts."""
    at = data.tiles[len(data.tiles) // 2].start
    return {"one": slice(0, at), "two": slice(at, len(data.S))}


def halves(data: TiledRow) -> dict[str, Sum]:
    """What each part sums to."""
    return {name: Sum.of(data.S[some], data.V[some]) for name, some in cut(data).items()}


def written(data: TiledRow) -> Places:
    """With how many places both, their factors and what they make stand."""
    whole, parts = data.whole, halves(data).values()
    by = [Term("×", float(part.shrunk(whole.m))) for part in parts]
    equations = [
        Equals(factor, against, (Term("m", part.m), Term("m", whole.m))) for factor, part in zip(by, parts, strict=True)
    ]
    terms = (*by, *(Term("part", float(part.l)) for part in parts))
    equations.append(Equals(Term("whole", float(whole.l)), lambda a, b, x, y: a * x + b * y, terms))
    return places(equations, least={"m": data.written()["m"]})


def boxes(board: Board) -> tuple[list[Box], list[Box], Box, Box]:
    """Where two halves, arrows, what they make, as large as a half, and its digits stand."""
    if board.shape == "wide":
        left, between, middle, right = board.main.columns(51, 14, 51, 55, gap=26)
        halves = left.rows(2, gap=28)
        rows = zip(halves, (0.7, 0.3), strict=True)
        arrows = [Box(between.x, half.y + half.h * at - 60, between.w, 120) for half, at in rows]
        return halves, arrows, amid(middle, halves[0]), right.rows(1, 3, 1)[1]
    upper, between, lower, digits = board.main.rows(
        *board.pick(wide=(), square=(27, 8, 27, 16), tall=(27, 8, 27, 14)), gap=14
    )
    return upper.columns(2), between.columns(2), amid(lower, upper.columns(2)[0]), digits


def amid(box: Box, like: Box) -> Box:
    """The middle of a box, as large as another."""
    return Box(box.x + (box.w - like.w) / 2, box.y + (box.h - like.h) / 2, like.w, like.h)
