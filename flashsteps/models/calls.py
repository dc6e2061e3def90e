"""The calls of attention that a model made: a table to look at, and heads to record."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np

from ..inputs.qkv import QKV, check_qkv
from . import biases, saving

#: what a table says where no call was seen
NOTHING = (
    "no call of attention was seen: attention that is written out by hand is not; "
    'in transformers ask for attn_implementation="sdpa"'
)


@dataclass
class Kept:
    """The tensors of one call, on the CPU, as the model had them: of `heads` of its heads, and of theirs of k and v."""

    heads: tuple[int, ...]
    kv_heads: tuple[int, ...]
    q: Any  # (B, heads, N, d)
    k: Any  # (B, kv_heads, M, d)
    v: Any
    o: Any  # (B, heads, N, d_v)
    added: Any  # True where seen, or what was added to scores: (B or 1, heads or 1, N or 1, M or 1); None
    lowest: float  # the least number of that type
    slopes: Any  # (B, heads), None
    sinks: Any  # (heads,), None
    do: Any = None  # the gradient of o, once it came


@dataclass(frozen=True, eq=False, kw_only=True)
class Head(QKV):
    """One head of a call, as `record`, films and pages take it. `options` is the rest of what the call did."""

    o: np.ndarray  # (N, d), what the model computed
    do: np.ndarray | None = None  # its gradient, where a backward pass was run

    @property
    def bias(self) -> np.ndarray | None:
        """(N, M), what was added to scores; None for nothing."""
        return self.own.get("bias")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as .npz or .safetensors, which `load_qkv` and --input read, mask and scale included.

        Raises ValueError, one line, where it can't be written there.
        """
        extra = {"o": self.o, "do": self.do}
        return saving.save(path, self.q, self.k, self.v, self.tokens, self.own, extra)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of attention: q (B, heads, N, d), k and v (B, kv_heads, M, d)."""

    index: int
    module: str  # its path in the outermost module that was called
    kind: str  # that module's class
    function: str
    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    d: int
    d_v: int
    dtype: str
    scale: float
    rule: str | None = None  # a mask by its name
    mask: str = "none"  # what there is to say of the mask
    dropout: float = 0.0
    softcap: float | None = None
    sinks: bool = False
    beyond: str = ""  # what of it no run here can do
    tokens: tuple[str, ...] | None = field(default=None, repr=False)
    kept: Kept | None = field(default=None, repr=False)

    def head(self, head: int | None = None, *, batch: int | None = None, tokens: Sequence[str] | None = None) -> Head:
        """One head of it, counted from 0; its `options` are those with which `record` makes what the model made.

        Of several sequences `batch` picks one; `tokens` are one for each key, or query, where those are more.

        Raises ValueError, one line, where its tensors were not kept, and where no run here can do what it did.
        """
        kept = self._kept()
        if head is None and len(kept.heads) == 1:
            head = kept.heads[0]
        name = f"calls[{self.index}]"
        at = _picked("head", head, kept.heads, self.heads, name)
        if batch is None and self.batch == 1:
            batch = 0
        b = _picked("batch", batch, range(self.batch), self.batch, name)
        if self.beyond:
            raise ValueError(f"{name} has {self.beyond}, which no run here has: choose another call")
        if self.dropout:
            raise ValueError(
                f"{name} dropped weights at random ({self.dropout:g}), which nothing can do again: "
                "call model.eval() first, or set its dropout to 0"
            )
        kv = kept.kv_heads.index(kept.heads[at] // (self.heads // self.kv_heads))
        one = check_qkv(kept.q[b, at], kept.k[b, kv], kept.v[b, kv], self.tokens if tokens is None else tokens)
        added = None if kept.added is None else plain(_one(kept.added, b, at))
        mask, bias = biases.of_scores(self.rule, added, kept.lowest, self.queries, self.keys)
        own = {"mask": mask, "scale": self.scale, "dtype": self.dtype, "softcap": self.softcap, "bias": bias}
        if kept.slopes is not None:
            own["alibi"] = float(kept.slopes[b, at])
        if kept.sinks is not None:
            own["sinks"] = float(kept.sinks[at])
        source: dict[str, Any] = {"kind": "model", "module": self.module, "call": self.index, "head": [kept.heads[at]]}
        of_head = {name: x for name, x in own.items() if x is not None}
        do = None if kept.do is None else plain(kept.do[b, at])
        return Head(one.q, one.k, one.v, one.tokens, source, own=of_head, o=plain(kept.o[b, at]), do=do)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write all kept heads as one .npz or .safetensors, q (heads, N, d), k and v (kv_heads, M, d), for `load_qkv`.

        Raises ValueError, one line, where they have masks of their own: save one of them then.
        """
        return save(path, [self])

    def _kept(self) -> Kept:
        if self.kept is None:
            raise ValueError(
                f"calls[{self.index}]: its tensors were not kept: give capture(tensors={self.index}), or tensors='all'"
            )
        return self.kept


class Calls(Sequence[Call]):
    """The calls, in the order in which they were made; `print(calls)` is a table of them."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self.unseen: list[str] = []  # the modules that took a softmax themselves

    def add(self, call: Call) -> None:
        self._calls.append(call)

    def add_by_hand(self, module: str) -> None:
        """Note that a module took a softmax itself."""
        if module and module not in self.unseen:
            self.unseen.append(module)

    def __len__(self) -> int:
        return len(self._calls)

    @overload
    def __getitem__(self, index: int) -> Call: ...
    @overload
    def __getitem__(self, index: slice) -> list[Call]: ...
    def __getitem__(self, index: Any) -> Any:
        try:
            return self._calls[index]
        except IndexError:
            known = f"give 0 to {len(self) - 1}" if self._calls else NOTHING
            raise IndexError(f"calls[{index}], but there are {len(self)}: {known}") from None

    def __repr__(self) -> str:
        return f"<{len(self)} call{'s' * (len(self) != 1)} of attention>"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """The table, line by line, and what was not seen."""
        if self._calls:
            yield from _aligned([HEADINGS, *map(_row, self._calls)])
        if self.unseen:
            names = ", ".join(self.unseen[:3]) + ", …" * (len(self.unseen) > 3)
            yield (
                f"a softmax was taken in {names}: attention that is written out by hand is not seen; in transformers "
                'ask for attn_implementation="sdpa"'
            )
        elif not self._calls:
            yield NOTHING

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write all kept tensors as one .npz or .safetensors: q (calls, heads, N, d); `load_qkv(path, (call, head))`.

        Raises ValueError, one line, where the calls are of different shapes, or their heads have masks of their own.
        """
        kept = [call for call in self._calls if call.kept]
        if not kept:
            raise ValueError("no tensors were kept: give capture(tensors='all'), or the number of a call")
        return save(path, kept)


def save(path: str | os.PathLike[str], calls: Sequence[Call]) -> Path:
    """Write these calls, which have one shape, and one mask and scale."""
    heads = [[call.head(head, batch=b) for b in range(call.batch) for head in call._kept().heads] for call in calls]
    first = heads[0][0]
    names = [f"calls[{call.index}]" for call in calls]
    shapes = [(tuple(call._kept().q.shape), tuple(call._kept().k.shape)) for call in calls]
    if other := [name for name, shape in zip(names, shapes, strict=True) if shape != shapes[0]]:
        raise ValueError(f"{names[0]} and {other[0]} are of different shapes: save one of them, {other[0]}.save(…)")
    for name, every in zip(names, heads, strict=True):
        for one in every:
            if not _alike(one.own, first.own):
                raise ValueError(f"not all heads of {name} have one mask, bias and scale: save a single head of it")
    q, k, v = (saving.joined([getattr(call._kept(), name) for call in calls]) for name in "qkv")
    return saving.save(path, q, k, v, first.tokens, first.own)


# ---- a row for each call

HEADINGS = ("", "module", "function", "batch", "heads", "queries", "keys", "d", "type", "mask", "scale", "dropout",
            "kept")  # fmt: skip
LEFT = ("module", "function", "type", "mask", "kept")


def _row(call: Call) -> tuple[str, ...]:
    heads = f"{call.heads}" if call.heads == call.kv_heads else f"{call.heads}/{call.kv_heads}"
    d = f"{call.d}" if call.d == call.d_v else f"{call.d}/{call.d_v}"
    softcap = f"softcap {call.softcap:g}" if call.softcap else ""
    mask = ", ".join(filter(None, (call.mask, softcap, "sinks" * call.sinks, call.beyond)))
    kept = ""
    if call.kept is not None:
        kept = "all" if len(call.kept.heads) == call.heads else f"head {call.kept.heads[0]}"
        kept += " + dO" * (call.kept.do is not None)
    sizes = (f"{call.batch}", heads, f"{call.queries:,}", f"{call.keys:,}", d)
    dropout = f"{call.dropout:g}" if call.dropout else ""
    module = call.module or call.kind
    return f"{call.index}", module, call.function, *sizes, call.dtype, mask, f"{call.scale:.4g}", dropout, kept


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Rows as lines; a column that says nothing in any row is left out."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        cells = (
            f"{cell:{'<' if column[0] in LEFT else '>'}{width}}"
            for cell, column, width in zip(row, columns, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()


# ---- helpers


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def _picked(what: str, given: Any, kept: Sequence[int], count: int, of: str) -> int:
    """Where one of the kept indices is. Raises ValueError where it isn't, or none was given and there are several."""
    if given in kept and not isinstance(given, bool):
        return list(kept).index(given)
    if not count:
        raise ValueError(f"{of} has no {'head' if what == 'head' else 'sequence'}: there is nothing to choose")
    several, last = f"{count} {'heads' if what == 'head' else 'sequences'}", count - 1
    if given is None:
        raise ValueError(f"{of} has {several}: choose one, {what}=0 to {last}")
    if isinstance(given, int | np.integer) and 0 <= given < count:
        raise ValueError(f"{what}={given} of {of} was not kept: {what}={', '.join(map(str, kept))} was")
    raise ValueError(f"{what}={given!r}, but {of} has {several}: give 0 to {last}")


def _one(added: Any, b: int, at: int) -> Any:
    """The (N or 1, M or 1) of one sequence and head."""
    return added[b if added.shape[0] > 1 else 0, at if added.shape[1] > 1 else 0]


def plain(tensor: Any) -> np.ndarray:
    """A tensor as NumPy's: what NumPy lacks (bfloat16) as float32."""
    wide = str(tensor.dtype) in ("torch.float64", "torch.float32", "torch.float16", "torch.bool")
    array: np.ndarray = (tensor if wide else tensor.float()).numpy()
    return array
