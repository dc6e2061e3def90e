"""What is saved by the share of tiles that a mask keeps: bytes that were counted, and times that were published."""

from __future__ import annotations

from functools import cache
from typing import Any

from ...machine import block_masks, masks
from ...machine.events import IO
from ...runs.counting import count
from ...theme import HEAD
from ...traffic.published import BLOCK_SPARSE_TIMES
from ..actors.cards import Text
from ..actors.curve import Axis, Curve, Dot, Line
from ..board import Board
from ..boxes import Box
from ..places import stage
from ..values import Made, Value

N, D, TILE = 4096, 64, (64, 256)  # of the paper's plot, and its kernel's tiles


@cache
def counted() -> tuple[tuple[float, IO], ...]:
    """What moves at the paper's size, for masks at random: the share of tiles kept, and the count."""
    whole = masks.parse(None, N, N)
    found = []
    for percent in range(10, 101, 10):
        name = f"random:{percent / 100},0"
        visited = block_masks.parse(name, whole, *TILE).visited
        io = count("block-sparse-forward", n=N, d=D, block_q=TILE[0], block_k=TILE[1], block_mask=name)
        found.append((float(visited.mean()), io))
    return tuple(found)


def of_all_tiles() -> tuple[int, int]:
    """Bytes with all tiles kept, and those of standard attention."""
    return counted()[-1][1].total, count("standard-forward", n=N, d=D, block_q=TILE[0], block_k=TILE[1]).total


def at_none() -> tuple[float, bool]:
    """Bytes with no tile kept, on the line through the first and the last count; and whether all others lie on it."""
    (some, few), *_, (whole, most) = counted()
    slope = (most.total - few.total) / (whole - some)
    none = few.total - some * slope
    return none, all(abs(none + share * slope - io.total) < 1e-6 * io.total for share, io in counted())


def charts_by_share(board: Board, upto: Value) -> list[tuple[Any, Box]]:
    """Each in a chart of its own, as far as `upto` (a share of tiles)."""
    dots, charts = counted(), list[tuple[Any, Box]]()
    times = tuple((share, figure.value) for share, figure in BLOCK_SPARSE_TIMES)
    percent, source = ((0.5, "50%"), (1.0, "100%")), BLOCK_SPARSE_TIMES[0][1]
    megabytes = tuple((share, io.total / 1e6) for share, io in dots)
    ways = (
        (
            "HBM traffic, counted",
            f"one head, forward alone, d = {D}, tiles {TILE[0]}×{TILE[1]}",
            "accent",
            megabytes,
            30,
            "MB",
        ),
        (
            "time, published",
            f"the paper’s batch, forward + backward, {source.hardware}",
            "ink",
            times,
            200,
            source.unit,
        ),
    )
    for box, (title, under, hue, points, most, unit) in zip(stage(board).sides, ways, strict=True):
        head, below, body = box.rows(*board.pick(wide=(1.1, 1, 10), square=(2, 1.5, 11), tall=(1.2, 1, 10)), gap=6)
        ticks = tuple((most * k / 2, f"{most * k // 2} {unit}") for k in (0, 1, 2))
        rings = Made(lambda x, of=points, h=hue, u=unit: tuple(ring(a, b, h, u) for a, b in of if a <= x), upto)
        further = Line("", ((0.0, at_none()[0] / 1e6), points[0]), "dim", dash=8)  # to where no tile is kept
        line = (Line("", points, hue), further) if unit == "MB" else ()
        chart = Curve(Axis(0, 1, percent, "tiles kept"), Axis(0, most, ticks), lines=line, dots=rings, upto=upto)
        charts += [(Text(title, HEAD, "ink", 600), head), (Text(under), below), (chart, body)]
    return charts


def ring(share: float, value: float, hue: str, unit: str) -> Dot:
    """A point of a chart; that of half the tiles, and that of all, with its number."""
    said = f"{value:.1f} {unit}" if unit == "MB" else f"about {value:.0f} {unit}"  # as far as a plot can be read
    said = said if share in (0.5, 1.0) else ""
    return Dot(share, value, said, hue, "above left", ring=True)
