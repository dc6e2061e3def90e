"""Edges: a whole number for each row, such as the first key that a query sees, and what arithmetic does with them.

All tiles between two edges are counted without looking at any: a rule for a million rows has few pieces.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .tiling import Block


class Edge(NamedTuple):
    """A whole number for each row: pieces that begin at `starts` with a value, which stays or rises by 1 a row."""

    starts: tuple[int, ...]
    values: tuple[int, ...]
    slopes: tuple[int, ...]

    def line(self, row: int) -> tuple[int, int]:
        """The number of one row, and by how much the next is larger, while its piece lasts."""
        piece = bisect_right(self.starts, row) - 1
        return self.values[piece] + self.slopes[piece] * (row - self.starts[piece]), self.slopes[piece]

    def at(self, rows: np.ndarray) -> np.ndarray:
        """The numbers of these rows."""
        piece = np.searchsorted(self.starts, rows, "right") - 1
        values, slopes, starts = (np.array(part)[piece] for part in (self.values, self.slopes, self.starts))
        numbers: np.ndarray = values + slopes * (rows - starts)
        return numbers

    def between(self, low: int, high: int, before: int, after: int) -> Edge:
        """The same from row `low` to row `high`, and two other numbers before and after."""
        inner = [(max(start, low), *self.line(max(start, low))) for start in self.starts if start <= high]
        pieces = {0: (before, 0)} | {row: (value, slope) for row, value, slope in inner} | {high + 1: (after, 0)}
        return Edge(tuple(pieces), *(tuple(part) for part in zip(*pieces.values(), strict=True)))


def constant(value: int) -> Edge:
    return Edge((0,), (value,), (0,))


def diagonal(plus: int, N: int, M: int) -> Edge:
    """The key below each query, aligned to the bottom right, and so many on; from 0 to M."""
    return merge(min, merge(max, Edge((0,), (M - N + plus,), (1,)), constant(0), N), constant(M), N)


def merge(choose: Callable[..., Any], a: Edge, b: Edge, n: int = 1 << 62) -> Edge:
    """The smaller (`min`) or the larger (`max`) of two edges in each row."""
    pieces: list[tuple[int, int, int]] = []
    for start, stop in pairwise(sorted({*a.starts, *b.starts, n})):
        (x, rise_x), (y, rise_y) = a.line(start), b.line(start)
        crossing = start + abs(x - y) if rise_x != rise_y else stop
        for row in sorted({start, min(crossing, stop - 1)}):
            value, rise = choose(a.line(row), b.line(row))  # of equal ones the one that is so in the next row, too
            if not pieces or (value, rise) != (pieces[-1][1] + pieces[-1][2] * (row - pieces[-1][0]), pieces[-1][2]):
                pieces.append((row, value, rise))
    return Edge(*(tuple(part) for part in zip(*pieces, strict=True)))


def tiles(lower: tuple[Edge, int], upper: tuple[Edge, int], i: Block, j: Block, whole: bool) -> int:
    """How many blocks of keys of run j lie between two edges, whole or in part, for all blocks of queries of run i.

    Each edge comes with the row at which the first block of queries looks at it.
    """
    height, width = i.stop - i.start, j.stop - j.start
    ends = {0, i.times}
    if i.times > 1:
        for edge, row in (lower, upper):
            ends.update(n for start in edge.starts if 0 < (n := -((row - start) // height)) < i.times)
    total = 0
    for n, until in pairwise(sorted(ends)):
        (low, low_rise), (high, high_rise) = (edge.line(row + n * height) for edge, row in (lower, upper))
        begin, end = 0, until - n
        room, more = high - low - (width if whole else 1), (high_rise - low_rise) * height
        if more > 0:  # where there is room for one at all, or for a key of one
            begin = min(max(-(room // more), 0), end)
        elif more < 0:
            end = min(max(room // -more + 1, 0), end)
        elif room < 0:
            continue
        below, above = (width - 1, 0) if whole else (0, width - 1)
        for sign, value, rise, plus in ((1, high, high_rise, above), (-1, low, low_rise, below)):
            keys = value + rise * height * begin + plus - j.start
            total += sign * _whole(keys, rise * height, end - begin, width, j.times)
    return total


def _whole(keys: int, rise: int, rows: int, width: int, most: int) -> int:
    """How many whole blocks of `width` fit into so many keys, so many + rise, … (`rows` terms), summed.

    At most `most` of them count in a row, and none where its keys are fewer than none.
    """
    if not rise:
        return rows * min(max(keys // width, 0), most)
    begin = min(max(-(keys // rise), 0), rows)  # the first row with 0 keys or more
    end = min(max(-((keys - most * width) // rise), begin), rows)  # the first that has them all
    return _floors(end - begin, rise, keys + rise * begin, width) + most * (rows - end)


def _floors(n: int, a: int, b: int, m: int) -> int:
    """Σ ⌊(a·i + b) / m⌋ for i = 0 … n − 1, all numbers 0 or more, in O(log m) steps, as Euclid's algorithm goes."""
    total = 0
    while n:
        total += (a // m) * n * (n - 1) // 2 + (b // m) * n
        a, b = a % m, b % m
        n, b, m, a = (a * n + b) // m, (a * n + b) % m, a, m
    return total


def ordered(first: Edge, stop: Edge, n: int) -> tuple[Edge, Edge]:
    """The same keys in each of n rows, with the ends of a row that sees none put where its neighbours' are.

    So neither end ever moves back, and no row begins beyond where the row before it ended. Rows that see keys follow
    each other: rules are made so.
    """
    starts = sorted({start for start in (*first.starts, *stop.starts, n) if start <= n})
    seeing = []
    for row, end in pairwise(starts):
        (a, rise_a), (b, rise_b) = first.line(row), stop.line(row)
        room, more = b - a, rise_b - rise_a
        begin = row if room > 0 else row + 1 - room if more > 0 else end  # the first row with room, and the last
        last = end - 1 if room + more * (end - 1 - row) > 0 else row + room - 1 if more < 0 else begin - 1
        if begin <= last and begin < end:
            seeing += [begin, last]
    if not seeing:
        return constant(0), constant(0)
    low, high = min(seeing), max(seeing)
    before, after = first.line(low)[0], stop.line(high)[0]
    return first.between(low, high, before, after), stop.between(low, high, before, after)
