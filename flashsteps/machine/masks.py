"""Masks: which keys a query sees, and so which tiles are full, cut or hidden.

A rule goes by rows: query r sees the keys first(r) … stop(r) − 1, where neither end ever moves back, and each row goes
on where the row before it ended, or earlier. So the tiles that a block of queries touches lie between two numbers, and
those that it sees all of between two others: that is all it takes to sort a run of tiles by arithmetic, however many
there are. Any other mask is a Boolean matrix, and its tiles are looked at one by one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from ..errors import unknown
from .edges import Edge, constant, diagonal, merge, ordered, tiles
from .mask_arrays import Of, by_name, seen
from .tiling import Block

Kind = Literal["full", "cut", "hidden"]

#: the masks by name or form; None, too, is "none", and so is "full"
NAMES = (
    "none",
    "causal",
    "causal-top-left",
    "window:LEFT,RIGHT",
    "prefix:LENGTH",
    "keys:LENGTH",
    "document:LEN,LEN,…",
    "cu_seqlens:0,END,END,…",
    "file:PATH",
)

#: the same for a command's help
HELP = f"{', '.join(NAMES[1:-1])}, file:PATH (an array), or several joined by +"

#: what a mask that came as an array is called
ARRAY = "array"


#: how masks begin that are for one input alone
_OF_ONE_INPUT = ("document", "keys", "file", ARRAY)


def for_any_size(mask: str | None) -> str | None:
    """The mask by its name, if it is a rule for any number of tokens; None where it is for one input alone."""
    return None if mask is None or any(part.startswith(_OF_ONE_INPUT) for part in mask.split("+")) else mask


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

    A matrix is (n_queries, n_keys), or has the heads in front, where each has its own. With `group`, each query stands
    for so many rows: the heads that share keys and values, packed; `part` says which key-value head it is about. With
    `slopes`, one a head, a score is lowered by its head's for each step between query and key (ALiBi,
    arXiv:2108.12409), and no tile counts as full. Of the keys, the first `filled` are there (all, if None). `added` is
    what an additive mask adds besides, that is a bias: float64, shaped as a matrix.
    """

    name: str | None
    n_queries: int
    n_keys: int
    first: Edge
    stop: Edge
    matrix: np.ndarray | None = field(default=None, compare=False)
    group: int = 1
    slopes: tuple[float, ...] = ()
    filled: int | None = None
    part: int = 0
    added: np.ndarray | None = field(default=None, compare=False)

    @property
    def hides(self) -> bool:
        """Whether anything is added to scores at all."""
        return self.name is not None or any(self.slopes)

    @property
    def by_rule(self) -> bool:
        """Whether runs of tiles are sorted by arithmetic, not one by one."""
        return self.matrix is None

    @property
    def by_head(self) -> bool:
        """Whether each head has its own."""
        return self.matrix is not None and self.matrix.ndim == 3

    def keep(self, queries: slice, keys: slice) -> np.ndarray:
        """True where a query sees a key. Shape (queries, keys)."""
        rows = slice(queries.start // self.group, queries.stop // self.group)
        first, stop = (edge.at(np.arange(rows.start, rows.stop))[:, None] for edge in (self.first, self.stop))
        columns = np.arange(keys.start, keys.stop)
        kept: np.ndarray = (first <= columns) & (columns < stop)
        if self.matrix is not None and not self.by_head:
            kept &= self.matrix[rows, keys]
        kept = kept.repeat(self.group, axis=0)
        if self.matrix is not None and self.by_head:
            heads = self.matrix[self.part * self.group : (self.part + 1) * self.group, rows, keys]
            kept &= heads.swapaxes(0, 1).reshape(kept.shape)  # packed: the heads of a token below each other
        return kept

    def bias(self, queries: slice, keys: slice) -> np.ndarray:
        """What to add to a tile of scores: 0 where a query sees a key, −∞ where not. Shape (queries, keys), float32.

        With slopes, −slope·|i + n_keys − n_queries − j| instead of 0, in float64.
        """
        kept, seen = self.keep(queries, keys), np.float32(0)
        if not any(self.slopes):
            return np.where(kept, seen, np.float32(-np.inf))
        rows = np.arange(queries.start, queries.stop)
        slopes = np.array(self.slopes)[self.part * self.group + rows % self.group, None]
        there = self.n_keys if self.filled is None else self.filled
        diagonal = rows[:, None] // self.group + there - self.n_queries
        return np.where(kept, -slopes * np.abs(diagonal - np.arange(keys.start, keys.stop)), -np.inf)

    def row(self, i: Block) -> Seen:
        """How these queries see one block of keys after another."""
        return Seen(self, i, None)

    def column(self, j: Block) -> Seen:
        """How these keys are seen by one block of queries after another."""
        return Seen(self, None, j)

    def kinds(self, i: Block, j: Block) -> dict[Kind, int]:
        """Tiles by kind, where i and j may each stand for a run of `times` equal blocks."""
        if any(self.slopes):
            found = replace(self, slopes=()).kinds(i, j)
            return {"full": 0, "cut": found["full"] + found["cut"], "hidden": found["hidden"]}
        if self.by_head:
            return self._looked_at(i, j)
        i = replace(i, start=i.start // self.group, stop=i.stop // self.group)
        if self.matrix is not None:
            return replace(self, group=1)._looked_at(i, j)
        # a tile is touched if it has keys from the first row's first to the last row's last, and full if it is all
        # between the last row's first key and the first row's last one
        last = i.stop - 1
        touched = tiles((self.first, i.start), (self.stop, last), i, j, whole=False)
        full = tiles((self.first, last), (self.stop, i.start), i, j, whole=True)
        return {"full": full, "cut": touched - full, "hidden": i.times * j.times - touched}

    def grid(self, block_q: int, block_k: int) -> np.ndarray:
        """All tiles at once: 2 where one is full, 1 where it is cut, 0 where it is hidden. Shape (Tr, Tc), uint8.

        Where each head has its own, those of all together: a tile is full if it is so in all, and hidden likewise.
        """
        starts, keys = np.arange(0, self.n_queries, block_q)[:, None], np.arange(0, self.n_keys, block_k)
        if self.matrix is not None:
            each = replace(self, matrix=None, group=1).keep(slice(0, self.n_queries), slice(0, self.n_keys))
            kept = (each & self.matrix).reshape(-1, *each.shape)
            full, cut = (
                by.reduceat(by.reduceat(by.reduce(kept), starts[:, 0], axis=0), keys, axis=1)
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


def parse(mask: Any, n_queries: int, n_keys: int, *, of: Of | None = None) -> Mask:
    """The mask that a user named, or gave as an array (`machine.mask_arrays`), which is `of` so many heads.

    Names joined by + must all allow a key; with keys:LENGTH, only so many keys are there, and the others go by them. An
    array of numbers that are not all 0 or −∞ is a bias: it hides nothing, and is what the mask has `added`. Raises
    ValueError, one line, for a name that isn't known, a number that makes no sense, a file that can't be read and an
    array of the wrong shape or kind.
    """
    mask = by_name(mask, n_queries, n_keys)
    named = mask is None or isinstance(mask, str)
    parts = rules(mask) if named else [mask]
    named_ones = [part for part in parts if isinstance(part, str) and not part.startswith("file:")]
    filled = min((_filled(part, n_keys) for part in named_ones if part.startswith("keys:")), default=n_keys)
    ends = [(constant(0), constant(filled)), *(_ends(part, n_queries, filled) for part in named_ones)]
    said, matrix, added = list[str](), None, None
    for part in parts:
        if isinstance(part, str) and part in named_ones:
            said.append(_plain(part))
            continue
        found = seen(f"mask {part!r:.80}" if isinstance(part, str) else "mask", part, of or Of(n_queries, n_keys))
        if found.dtype != bool:
            if added is not None:
                raise ValueError(f"mask {mask!r:.60} has two files of numbers to add: add them, and give one")
            added = found
            continue
        said.append(f"file:{Path(part[5:]).name}" if isinstance(part, str) else ARRAY)
        if found.shape[:-1] == (1,) and (edges := _stretch(found[0])):
            ends.append(edges)
        else:
            matrix = found if matrix is None else matrix & found
    firsts, stops = zip(*ends, strict=True)
    first, stop = ordered(reduce(partial(merge, max), firsts), reduce(partial(merge, min), stops), n_queries)
    if matrix is not None:
        matrix = np.broadcast_to(matrix, (*matrix.shape[:-2], n_queries, n_keys)).copy()
    there = None if filled == n_keys else filled
    return Mask("+".join(said) or None, n_queries, n_keys, first, stop, matrix, filled=there, added=added)


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
    return re.split(r"\+(?=[a-z]+(?:[-_][a-z]+)*(?:[:+]|$))", mask)


def is_name(mask: object, n_queries: int, n_keys: int) -> bool:
    """Whether a mask of this name can have been over so many queries and keys."""
    if mask is None:
        return True
    try:
        known = [part for part in _parts(str(mask)) if part != ARRAY and not part.startswith("file:")]
        return isinstance(mask, str) and bool(parse("+".join(known) or "none", n_queries, n_keys))
    except ValueError:
        return False


_ALL = ("none", "full")
_INT = r"(-?\d{1,18})"
_FORMS = {
    "none": "none",
    "full": "full",
    "causal": "causal",
    "causal-top-left": "causal-top-left",
    "window": f"window:{_INT},{_INT}",
    "prefix": f"prefix:{_INT}",
    "keys": f"keys:{_INT}",
    "document": rf"document:({_INT}(?:,{_INT})*)",
    "cu_seqlens": rf"cu_seqlens:({_INT}(?:,{_INT})+)",
    "file": "file:.+",
}
_ADVICE = {
    "none": "takes no number: give none",
    "full": "takes no number: give full, or none",
    "causal": "takes no number: give causal",
    "causal-top-left": "takes no number: give causal-top-left",
    "window": "is not of the form window:LEFT,RIGHT: give keys to the left and right of the diagonal, -1 for all",
    "prefix": "is not of the form prefix:LENGTH: give how many of the first keys all queries see",
    "keys": "is not of the form keys:LENGTH: give how many of the first keys are there, in a cache that is not full",
    "document": "is not of the form document:LEN,LEN,…: give the length of each packed sequence",
    "cu_seqlens": "is not of the form cu_seqlens:0,END,END,…: give 0, and where each packed sequence ends",
    "file": "names no file: give file:PATH, an .npy or .npz",
}


def _ends(rule: str, N: int, M: int) -> tuple[Edge, Edge]:
    """The first key that each query sees, and the first after these that it doesn't."""
    kind, _, rest = rule.partition(":")
    numbers = [int(number) for number in rest.split(",")] if rest else []
    everything = constant(0), constant(M)
    if kind == "keys":
        return everything
    if kind == "causal":
        return everything[0], diagonal(1, N, M)
    if kind == "causal-top-left":
        return everything[0], merge(min, Edge((0,), (1,), (1,)), constant(M), N)
    if kind == "window":
        left, right = numbers
        if min(numbers) < -1:
            raise ValueError(f"mask {rule!r} has the wrong sign: LEFT and RIGHT are 0 or more, or -1 for no bound")
        first = everything[0] if left < 0 else diagonal(-left, N, M)
        return first, everything[1] if right < 0 else diagonal(right + 1, N, M)
    if kind == "prefix":
        if not 1 <= numbers[0] <= M:
            raise ValueError(f"mask {rule!r}: there are {M:,} keys, give a LENGTH from 1 to {M:,}")
        return everything[0], merge(max, diagonal(1, N, M), constant(numbers[0]))
    if kind == "cu_seqlens":
        if numbers[0]:
            raise ValueError(f"mask {rule!r:.60} begins with {numbers[0]}: give 0, and where each packed sequence ends")
        numbers = [end - start for start, end in pairwise(numbers)]
    if N != M:
        raise ValueError(f"mask {rule!r:.60} is for as many queries as keys, not {N:,} and {M:,}")
    if min(numbers) < 0:
        fall = "its ends fall: give where each sequence ends, one after the other"
        raise ValueError(f"mask {rule!r:.60}: {fall if kind == 'cu_seqlens' else 'its lengths are 0 or more'}")
    if sum(numbers) != N:
        raise ValueError(f"mask {rule!r:.60}: its lengths add up to {sum(numbers):,}, not to N = {N:,}")
    ends = tuple(accumulate(filter(None, numbers)))  # a sequence without tokens is nobody's
    starts, flat = (0, *ends[:-1]), (0,) * len(ends)
    return Edge(starts, starts, flat), Edge(starts, ends, flat)


def _filled(rule: str, M: int) -> int:
    """How many keys are there."""
    length = int(rule.partition(":")[2])
    if not 1 <= length <= M:
        raise ValueError(f"mask {rule!r}: there are {M:,} keys, give a LENGTH from 1 to {M:,}")
    return length


def _plain(rule: str) -> str:
    """A rule by its plainest name: that of sequences by their lengths."""
    if not rule.startswith("cu_seqlens:"):
        return rule
    ends = map(int, rule.partition(":")[2].split(","))
    return "document:" + ",".join(str(end - start) for start, end in pairwise(ends))


def _stretch(row: np.ndarray) -> tuple[Edge, Edge] | None:
    """A row of keys that all queries see as a rule, if those seen lie together (as after padding); else None."""
    there = np.flatnonzero(row)
    if not len(there):
        return constant(0), constant(0)
    first, stop = int(there[0]), int(there[-1]) + 1
    return (constant(first), constant(stop)) if stop - first == len(there) else None
