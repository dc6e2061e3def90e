"""A toy of decoding: one query over all keys at once, in pieces, and in pages, and what these are called."""

from __future__ import annotations

from math import ceil
from typing import Any, NamedTuple

from ...runs.record import record
from ...story.telling import strongest
from ..board import Board
from ..input import check_room
from ..run import Run
from ..tiles import held

PIECES = 4  # that the keys are cut in
FEW, LINE = 6, 30  # keys, and letters, that are named in a line


class Toy(NamedTuple):
    """The query that looks hardest at a key: over all keys at once, in pieces, and in pages; what they are called."""

    whole: Run
    split: Run
    paged: Run
    keys: tuple[str, ...]
    key: int
    asks: str
    answers: str

    @property
    def block(self) -> int:
        """Keys of a block; a page is two of them."""
        return int(self.split.trace.meta["block_k"])

    @property
    def step(self) -> int:
        """Keys of a piece: whole blocks."""
        return ceil(ceil(len(self.keys) / self.block) / PIECES) * self.block

    @property
    def pieces(self) -> list[range]:
        """The keys of each piece."""
        return [range(k, min(k + self.step, len(self.keys))) for k in range(0, len(self.keys), self.step)]

    def span(self, start: int, stop: int) -> str:
        """These keys by name, or where those are too many for a line, the first and the last."""
        words = "  ".join(self.keys[start:stop])
        return words if stop - start <= FEW and len(words) <= LINE else f"{self.keys[start]} … {self.keys[stop - 1]}"

    @property
    def piece(self) -> int:
        """The piece that holds the key."""
        return self.key // self.step


def toy_of(board: Board) -> Toy:
    """In float32: what differs is what order makes of it. Under a causal mask it is the last query that asks all keys.

    Raises ValueError for a head whose model did more to its scores than to scale them.
    """
    qkv = board.input
    check_room(len(qkv.q), len(qkv.k), qkv.q.shape[1])
    causal = qkv.own.get("mask") == "causal"
    if more := [name for name in (*["mask"] * (not causal), "softcap", "bias", "alibi", "sinks") if name in qkv.own]:
        raise ValueError(
            f"this film tells of scores that are only scaled, and this head has {more[0]}: choose a film of a whole "
            "run, such as flash2-forward"
        )
    how: dict[str, Any] = {"dtype": "float32", "tokens": qkv.tokens, "source": qkv.source}
    how |= {"scale": qkv.own["scale"]} if "scale" in qkv.own else {}
    run = Run(record("standard-forward", *qkv, **how))
    P = held(run, "P")
    row, key = (len(P) - 1, int(P[-1].argmax())) if causal else strongest(P)
    one, how = (qkv.q[row : row + 1], qkv.k, qkv.v), {**how, "block_q": 1}
    block = ceil(len(qkv.k) / PIECES / 2)

    def decoded(name: str, **more: int) -> Run:
        return Run(board.once((name, "decode"), lambda: record(name, *one, **(how | more))))

    whole, paged = decoded("flash2-forward", block_k=len(qkv.k)), decoded("paged-decode", block_k=2 * block)
    split = decoded("split-kv-decode", block_k=block, splits=PIECES)
    names = run.names["keys"], key, run.quoted("queries", row), run.quoted("keys", key)
    return Toy(whole, split, paged, *names)
