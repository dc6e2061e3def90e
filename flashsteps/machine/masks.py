"""Masks: which keys a query sees, and so which tiles are full, cut or hidden.

A rule goes by rows: query r sees the keys first(r) … stop(r) − 1, where neither end ever moves back, and each row goes
on where the row before it ended, or earlier. So the tiles that a block of queries touches lie between two numbers, and
those that it sees all of between two others: that is all it takes to sort a run of tiles by arithmetic, however many
there are. Any other mask is a Boolean matrix, and its tiles are looked at one by one.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from .. import files
from ..errors import unknown
from ..inputs import readers
from .tiling import Block

Kind = Literal["full", "cut", "hidden"]

#: the masks by name or form; None, too, is "none", and so is "full"
NAMES = ("none", "causal", "window:LEFT,RIGHT", "prefix:LENGTH", "document:LEN,LEN,…", "file:PATH")

#: the same for a command's help
HELP = "causal, window:LEFT,RIGHT, prefix:LENGTH, document:LEN,LEN,…, file:PATH (Boolean), or several joined by +"

#: what a Boolean matrix that came as an array is called
ARRAY = "array"


#: how masks begin that are for one input alone
_OF_ONE_INPUT = ("document", "file", ARRAY)


def for_any_size(mask: str | None) -> str | None:
    """The mask by its name, if it is a rule for any number of tokens; None where it is for one input alone."""
    return None if mask is None or any(part.startswith(_OF_ONE_INPUT) for part in mask.split("+")) else mask


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


class Sorts(Protocol):
    """Whatever sorts tiles by kind: a mask, or a block mask over one."""

    @property
    def n_keys(self) -> int: ...

    def kinds(self, i: Block, j: Block) -> dict[Kind, int]:
        """Tiles by kind, where i and j may each stand for a run of `times` equal blocks."""


class Seen(NamedTuple):
    """How the tiles between one fixed block (of queries or of keys) and others are seen."""

    mask: Sorts
    queries: Block | None
    keys: Block | None

    def kinds(self, block: Block) -> dict[Kind, int]:
        """How many of the tiles between the fixed block and `block` are full, cut and hidden."""
        return self.mask.kinds(self.queries or block, self.keys or block)


@dataclass(frozen=True)
class Mask:
    """Which of n_keys keys each of n_queries queries sees: from `first` to `stop`, if `matrix` (if any) allows it.

    With `group`, each query stands for so many rows: the heads that share keys and values, packed. With `slopes`, one a
    head, a score is lowered by its head's for each step between query and key (ALiBi, arXiv:2108.12409), and no tile
    counts as full.
    """

    name: str | None
    n_queries: int
    n_keys: int
    first: Edge
    stop: Edge
    matrix: np.ndarray | None = field(default=None, compare=False)
    group: int = 1
    slopes: tuple[float, ...] = ()

    @property
    def hides(self) -> bool:
        """Whether anything is added to scores at all."""
        return self.name is not None or any(self.slopes)

    @property
    def by_rule(self) -> bool:
        """Whether runs of tiles are sorted by arithmetic, not one by one."""
        return self.matrix is None

    def keep(self, queries: slice, keys: slice) -> np.ndarray:
        """True where a query sees a key. Shape (queries, keys)."""
        rows = slice(queries.start // self.group, queries.stop // self.group)
        first, stop = (edge.at(np.arange(rows.start, rows.stop))[:, None] for edge in (self.first, self.stop))
        columns = np.arange(keys.start, keys.stop)
        kept: np.ndarray = (first <= columns) & (columns < stop)
        if self.matrix is not None:
            kept &= self.matrix[rows, keys]
        return kept.repeat(self.group, axis=0)

    def bias(self, queries: slice, keys: slice, part: int = 0) -> np.ndarray:
        """What to add to a tile of scores: 0 where a query sees a key, −∞ where not. Shape (queries, keys), float32.

        With slopes, −slope·|i + n_keys − n_queries − j| instead of 0, in float64; `part` is the key-value head.
        """
        kept, seen = self.keep(queries, keys), np.float32(0)
        if not any(self.slopes):
            return np.where(kept, seen, np.float32(-np.inf))
        rows = np.arange(queries.start, queries.stop)
        slopes = np.array(self.slopes)[part * self.group + rows % self.group, None]
        diagonal = rows[:, None] // self.group + self.n_keys - self.n_queries
        return np.where(kept, -slopes * np.abs(diagonal - np.arange(keys.start, keys.stop)), -np.inf)

    def row(self, i: Block) -> Seen:
        """How these queries see one block of keys after another."""
        return Seen(self, i, None)

    def column(self, j: Block) -> Seen:
        """How these keys are seen by one block of queries after another."""
        return Seen(self, None, j)

    def kinds(self, i: Block, j: Block) -> dict[Kind, int]:
        """Tiles by kind, where i and j may each stand for a run of `times` equal blocks."""
        i = replace(i, start=i.start // self.group, stop=i.stop // self.group)
        if any(self.slopes):
            found = replace(self, slopes=(), group=1).kinds(i, j)
            return {"full": 0, "cut": found["full"] + found["cut"], "hidden": found["hidden"]}
        if self.matrix is not None:
            return replace(self, group=1)._looked_at(i, j)
        # a tile is touched if it has keys from the first row's first to the last row's last, and full if it is all
        # between the last row's first key and the first row's last one
        last = i.stop - 1
        touched = _tiles((self.first, i.start), (self.stop, last), i, j, whole=False)
        full = _tiles((self.first, last), (self.stop, i.start), i, j, whole=True)
        return {"full": full, "cut": touched - full, "hidden": i.times * j.times - touched}

    def grid(self, block_q: int, block_k: int) -> np.ndarray:
        """All tiles at once: 2 where one is full, 1 where it is cut, 0 where it is hidden. Shape (Tr, Tc), uint8."""
        starts, keys = np.arange(0, self.n_queries, block_q)[:, None], np.arange(0, self.n_keys, block_k)
        if self.matrix is not None:
            kept = replace(self, group=1).keep(slice(0, self.n_queries), slice(0, self.n_keys))
            full, cut = (
                by.reduceat(by.reduceat(kept, starts[:, 0], axis=0), keys, axis=1)
                for by in (np.logical_and, np.logical_or)
            )
        else:
            lasts, ends = np.minimum(starts + block_q, self.n_queries) - 1, np.minimum(keys + block_k, self.n_keys)
            cut = (keys < self.stop.at(lasts)) & (ends > self.first.at(starts))
            full = (keys >= self.first.at(lasts)) & (ends <= self.stop.at(starts))
        if any(self.slopes):
            full = np.zeros_like(cut)
        found: np.ndarray = cut.astype(np.uint8) + full
        return found

    def _looked_at(self, i: Block, j: Block) -> dict[Kind, int]:
        """The same, tile by tile."""
        found: dict[Kind, int] = {"full": 0, "cut": 0, "hidden": 0}
        height, width = i.stop - i.start, j.stop - j.start
        for row in range(i.start, i.start + i.times * height, height):
            for key in range(j.start, j.start + j.times * width, width):
                tile = self.keep(slice(row, row + height), slice(key, key + width))
                found["full" if tile.all() else "cut" if tile.any() else "hidden"] += 1
        return found


# ---- from a user's words to a mask


def parse(mask: Any, n_queries: int, n_keys: int) -> Mask:
    """The mask that a user named, or gave as a Boolean array (n_queries, n_keys).

    Names joined by + must all allow a key. Raises ValueError, one line, for a name that isn't known, a number that
    makes no sense, a file that can't be read and an array of the wrong shape or kind.
    """
    named = mask is None or isinstance(mask, str)
    parts = rules(mask) if named else [mask]
    ends, matrix = list[tuple[Edge, Edge]](), None
    for part in parts:
        if not isinstance(part, str) or part.startswith("file:"):
            allowed = load_matrix(part[5:]) if isinstance(part, str) else part
            found = boolean("mask", allowed, (n_queries, n_keys), "queries × keys")
            matrix = found if matrix is None else matrix & found
            continue
        ends.append(_ends(part, n_queries, n_keys))
    firsts, stops = zip(*(ends or [(_constant(0), _constant(n_keys))]), strict=True)
    first, stop = reduce(partial(_merge, max), firsts), reduce(partial(_merge, min), stops)
    said = [f"file:{Path(part[5:]).name}" if str(part).startswith("file:") else part for part in parts]
    name = "+".join(part if isinstance(part, str) else ARRAY for part in said)
    return Mask(name or None, n_queries, n_keys, first, stop, matrix)


def names(mask: str | None) -> list[str]:
    """The parts of a mask's name. Raises ValueError for one that isn't known, or has the wrong form."""
    parts = _parts(mask) if mask is not None else []
    for part in parts:
        if not any(re.fullmatch(form, part, re.ASCII | re.DOTALL) for form in _FORMS.values()):
            kind = part.partition(":")[0]
            if kind not in _FORMS:
                raise ValueError(unknown("mask", part, NAMES))
            raise ValueError(f"mask {part!r} {_ADVICE[kind]}")
    return parts


def rules(mask: str | None) -> list[str]:
    """The same without those that hide nothing."""
    return [part for part in names(mask) if part not in _ALL]


def _parts(mask: str) -> list[str]:
    """What is joined by +, which a file's name may hold, too."""
    return re.split(r"\+(?=[a-z]+(?:[:+]|$))", mask)


def is_name(mask: object, n_queries: int, n_keys: int) -> bool:
    """Whether a mask of this name can have been over so many queries and keys."""
    if mask is None:
        return True
    try:
        known = [part for part in _parts(str(mask)) if part != ARRAY and not part.startswith("file:")]
        return isinstance(mask, str) and bool(parse("+".join(known) or "none", n_queries, n_keys))
    except ValueError:
        return False


def boolean(what: str, given: Any, shape: tuple[int, int], axes: str) -> np.ndarray:
    """A Boolean array of this shape. Raises ValueError, one line, for anything else."""
    with readers.one_line(f"{what} is no array"):
        array = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
    if array.dtype != bool:
        raise ValueError(f"{what} holds {array.dtype}: give True where it may be seen, False elsewhere")
    if array.shape != shape:
        raise ValueError(f"{what} has shape {array.shape}: {axes} are {shape}")
    return array.copy()


def load_matrix(path: str) -> Any:
    """The array of an .npy file, or the only one of an .npz file, read as data. Raises ValueError, one line."""
    try:
        with files.opened(path) as file:
            size, ending = file.seek(0, io.SEEK_END), Path(path).suffix.lower()
            if ending == ".npy":
                return readers.npy(file, size)[()]
            if ending != ".npz":
                raise ValueError("give an .npy or .npz file")
            members = readers.npz(file, size)
            if len(members) != 1:
                raise ValueError(f"it holds {len(members)} arrays: one is needed")
            return next(iter(members.values()))()[()]
    except (OSError, ValueError) as error:
        raise ValueError(f"{path!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error


_ALL = ("none", "full")
_INT = r"(-?\d{1,18})"
_FORMS = {
    "none": "none",
    "full": "full",
    "causal": "causal",
    "window": f"window:{_INT},{_INT}",
    "prefix": f"prefix:{_INT}",
    "document": rf"document:({_INT}(?:,{_INT})*)",
    "file": "file:.+",
}
_ADVICE = {
    "none": "takes no number: give none",
    "full": "takes no number: give full, or none",
    "causal": "takes no number: give causal",
    "window": "is not of the form window:LEFT,RIGHT: give keys to the left and right of the diagonal, -1 for all",
    "prefix": "is not of the form prefix:LENGTH: give how many of the first keys all queries see",
    "document": "is not of the form document:LEN,LEN,…: give the length of each packed sequence",
    "file": "names no file: give file:PATH, an .npy or .npz",
}


def _ends(rule: str, N: int, M: int) -> tuple[Edge, Edge]:
    """The first key that each query sees, and the first after these that it doesn't."""
    kind, _, rest = rule.partition(":")
    numbers = [int(number) for number in rest.split(",")] if rest else []
    everything = _constant(0), _constant(M)
    if kind == "causal":
        return everything[0], _diagonal(1, N, M)
    if kind == "window":
        left, right = numbers
        if min(numbers) < -1:
            raise ValueError(f"mask {rule!r} has the wrong sign: LEFT and RIGHT are 0 or more, or -1 for no bound")
        first = everything[0] if left < 0 else _diagonal(-left, N, M)
        return first, everything[1] if right < 0 else _diagonal(right + 1, N, M)
    if kind == "prefix":
        if not 1 <= numbers[0] <= M:
            raise ValueError(f"mask {rule!r}: there are {M:,} keys, give a LENGTH from 1 to {M:,}")
        return everything[0], _merge(max, _diagonal(1, N, M), _constant(numbers[0]))
    if N != M:
        raise ValueError(f"mask {rule!r} is for as many queries as keys, not {N:,} and {M:,}")
    if min(numbers) < 1 or sum(numbers) != N:
        raise ValueError(
            f"mask {rule!r:.60}: its lengths are 1 or more and add up to {sum(numbers):,}, not to N = {N:,}"
        )
    ends = tuple(accumulate(numbers))
    starts, flat = (0, *ends[:-1]), (0,) * len(ends)
    return Edge(starts, starts, flat), Edge(starts, ends, flat)


# ---- arithmetic


def _constant(value: int) -> Edge:
    return Edge((0,), (value,), (0,))


def _diagonal(plus: int, N: int, M: int) -> Edge:
    """The key below each query, aligned to the bottom right, and so many on; from 0 to M."""
    return _merge(min, _merge(max, Edge((0,), (M - N + plus,), (1,)), _constant(0), N), _constant(M), N)


def _merge(choose: Callable[..., Any], a: Edge, b: Edge, n: int = 1 << 62) -> Edge:
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


def _tiles(lower: tuple[Edge, int], upper: tuple[Edge, int], i: Block, j: Block, whole: bool) -> int:
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
        if whole:  # where there is room for one at all
            room, more = high - low - width, (high_rise - low_rise) * height
            if more > 0:
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
