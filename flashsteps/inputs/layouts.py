"""Which axis is which: the layouts of q, k and v by name, and which of their matrices is meant."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..errors import unknown

Head: TypeAlias = int | Sequence[int] | None

#: b: sequences of a batch, h: heads, s: tokens of a sequence, d: numbers of a token, as Transformer Engine, flash-attn
#: and cuDNN write them
LAYOUTS = ("sd", "hsd", "shd", "bhsd", "bshd", "sbhd")

#: the axes in the order in which everything here has them
_ORDER = "bhsd"


def order(layout: str | None, axes: int) -> tuple[int, ...]:
    """Which axis of a tensor in this layout comes first, second, … of (…, heads, tokens, d)."""
    return tuple(range(axes)) if layout is None else tuple(layout.index(axis) for axis in _ORDER if axis in layout)


def back(layout: str | None, axes: int) -> tuple[int, ...]:
    """The same the other way: from (…, heads, tokens, d) into the layout."""
    there = order(layout, axes)
    return tuple(map(there.index, range(axes)))


def check(layout: Any, axes: int, name: str, shape: tuple[int, ...]) -> None:
    """Raises ValueError unless there is a layout of this name, for so many axes."""
    if layout is None:
        return
    if layout not in LAYOUTS:
        raise ValueError(unknown("layout", layout, LAYOUTS))
    if len(layout) != axes:
        fit = [other for other in LAYOUTS if len(other) == axes]
        instead = f"give {' or '.join(fit)}, or leave it out" if fit else "leave it out"
        raise ValueError(f"{name} has shape {shape}, which layout={layout!r} does not fit: {instead}")


class Axes(NamedTuple):
    """How q and k (or v) were given, and what is run of them: all heads, or the matrix that was picked."""

    q: tuple[int, ...]  # shapes as given
    k: tuple[int, ...]
    layout: str | None = None
    picked: tuple[int, ...] | None = None  # one number for each leading axis; None is all

    @property
    def queries(self) -> tuple[int, ...]:
        """q's shape as (…, heads, N, d)."""
        return tuple(self.q[axis] for axis in order(self.layout, len(self.q)))

    @property
    def keys(self) -> tuple[int, ...]:
        """k's shape as (…, heads, M, d)."""
        return tuple(self.k[axis] for axis in order(self.layout, len(self.k)))

    @property
    def heads(self) -> int:
        """How many heads there are, run or not."""
        return self.queries[-3] if len(self.q) > 2 else 1

    @property
    def head(self) -> int:
        """Which head is run, from 0, among those of its sequence; 0 where all are."""
        return self.picked[-1] if self.picked else 0

    @property
    def place(self) -> int:
        """Which matrix is run, from 0, among all that were given; 0 where all are."""
        found = 0
        for i, n in zip(self.picked or (), self.queries, strict=False):
            found = found * n + i
        return found

    def cut(self, n: int, m: int) -> Axes:
        """The same with so many queries and keys."""
        tokens = order(self.layout, len(self.q))[-2]
        q, k = (
            tuple(rows if i == tokens else size for i, size in enumerate(x)) for x, rows in ((self.q, n), (self.k, m))
        )
        return self._replace(q=q, k=k)

    def of_kv(self, index: tuple[int, ...]) -> tuple[int, ...]:
        """Where the keys and values of the matrix of q at `index` lie: heads of q share one, as many as there are."""
        return (*index[:-1], index[-1] // (self.queries[-3] // self.keys[-3])) if index else ()

    @property
    def meta(self) -> dict[str, Any]:
        """The same as plain data, for a trace's meta, as far as it is not one matrix."""
        layout = {} if self.layout is None else {"layout": self.layout}
        picked = {} if self.picked is None else {"head": list(self.picked)}
        return {"shape": list(self.q), **layout, **picked} if len(self.q) > 2 else {}

    @property
    def most_tokens(self) -> int:
        """How many tokens there are: keys, or queries where those are more."""
        return max(self.queries[-2], self.keys[-2])

    def advice(self, wrong: str, right: Callable[[Axes], bool]) -> str:
        """What is wrong, and with it the layout in which it would not be, if there is one."""
        other = next((other for other in self.otherwise() if right(other)), None)
        if other is None:
            return wrong
        n, m = other.queries[-2], other.keys[-2]
        tokens = f"{n} tokens" if n == m else f"{n} queries and {m} keys"
        return f"{wrong}, or, for {other.heads} heads of {tokens}, layout={other.layout!r}"

    def laid_out(self, heads: np.ndarray, of_keys: bool = False) -> np.ndarray:
        """What came out for the heads that were run, (heads, rows, …), with the axes that q (or k) was given with.

        Of one number a row, (heads, rows), it is (…, heads, rows) in any layout, as flash-attn's LSE.
        """
        lead = () if self.picked is not None else (self.keys if of_keys else self.queries)[:-2]
        found = heads.reshape(*lead, *heads.shape[1:])
        return (found.transpose(back(self.layout, found.ndim)) if lead and heads.ndim == 3 else found).copy()

    def otherwise(self) -> list[Axes]:
        """The same tensors in every other layout that they can have."""
        found = [self._replace(layout=other) for other in LAYOUTS if len(other) == len(self.q) != 2]
        own = order(self.layout, len(self.q))
        others = [other for other in found if order(other.layout, len(self.q)) != own]
        return [o for o in others if o.queries[:-3] == o.keys[:-3] and not o.queries[-3] % o.keys[-3]]


def described(meta: Mapping[str, Any]) -> Axes:
    """How the input of a run lay, by its meta; the other way is `Axes.meta`."""
    H, N, M, d = meta.get("heads", 1), meta["queries"], meta["keys"], meta["d"]
    if "shape" not in meta:
        q, k = (N, d), (M, d)
        return Axes(q, k) if H == 1 else Axes((H, *q), (meta["kv_heads"], *k))
    q, layout, picked = tuple(meta["shape"]), meta.get("layout"), meta.get("head")
    axes = Axes(q, q, layout, None if picked is None else tuple(picked))
    lead = (*axes.queries[:-3], meta.get("kv_heads", axes.heads))
    return axes._replace(k=tuple((*lead, M, d)[axis] for axis in back(layout, len(q))))


def fitting(axes: Axes) -> Axes:
    """The same, once it is sure that the heads of q and k fit each other. Raises ValueError otherwise."""
    q, k = axes.queries, axes.keys
    if len(q) > 3 and q[:-3] != k[:-3]:
        raise ValueError(f"q has shape {axes.q} and k {axes.k}: each sequence needs keys of its own, so expand k and v")
    if len(q) > 2 and q[-3] % k[-3]:
        raise ValueError(
            f"q has shape {axes.q} and k {axes.k}: the heads of q must be those of k, or a multiple of them"
        )
    return axes


def indices(axes: Axes, head: Head) -> tuple[int, ...]:
    """`head` as one index for each leading axis of q; axes of length 1 may be left out, and so may `head` if all are.

    Raises ValueError for a head that is not there, and where one of several has to be chosen.
    """
    try:
        given = [operator.index(i) for i in (head if isinstance(head, Sequence) else () if head is None else (head,))]
    except TypeError:
        raise ValueError(f"head={head!r} is not an int or a tuple of ints") from None
    lead = axes.queries[:-2]
    long = [n for n in lead if n > 1]
    if lead and not long and not any(given):  # there is one, and it is meant
        return (0,) * len(lead)
    if len(given) == len(long) != len(lead):
        rest = iter(given)
        given = [next(rest) if n > 1 else 0 for n in lead]
    if len(given) == len(lead) and all(0 <= i < n for i, n in zip(given, lead, strict=True)):
        return tuple(given)
    if not long:
        raise ValueError(f"head={head!r}, but q of shape {axes.q} has one head only: leave head out")
    first, last = (0, long[0] - 1) if len(long) == 1 else ((0,) * len(long), tuple(n - 1 for n in long))
    raise ValueError(f"head={head!r}, but q has shape {axes.q}: choose one matrix, from head={first} to head={last}")


def all_heads(axes: Axes) -> list[tuple[int, ...]]:
    """The index of each head, of one sequence. Raises ValueError where there are several sequences."""
    lead = axes.queries[:-2]
    if prod(lead[:-1]) != 1:
        first, last = (0,) * len(lead), tuple(n - 1 for n in lead)
        raise ValueError(
            f"q has shape {axes.q}, {prod(lead[:-1])} sequences with heads of their own: give one of them, or choose "
            f"one matrix, from head={first} to head={last}"
        )
    return [(*(0 for _ in lead[:-1]), head) for head in range(lead[-1])] if lead else [()]
