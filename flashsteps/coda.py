"""The coda's steps: from a toy's size to a real one, each a run that was counted. Nothing here draws."""

from __future__ import annotations

from typing import NamedTuple

from .run import count
from .trace import Trace

#: a real head's size, and a real tile's
D, TILE = 64, 128
TOKENS = (1 << 10, 1 << 12, 1 << 14, 1 << 16)

#: how long a step lasts beside others
LENGTHS = {"toy": 1.9, "real": 1.5, "tile": 0.5, "tokens": 0.6}


class Step(NamedTuple):
    """One size: what this algorithm and the standard one read and write at it, in bytes, and for how long it is told."""

    kind: str
    n: int
    d: int
    block_q: int
    block_k: int
    own: int
    standard: int
    weight: float

    @property
    def ratio(self) -> float:
        return self.own / self.standard


def traffic(trace: Trace) -> list[Step]:
    """From this run to d = 64 and N = 1K with the toy's tiles, then tiles up to 128, then N up to 64K."""
    meta = trace.meta
    algorithm, dtype = meta["algorithm"], meta["dtype"]

    def step(kind: str, n: int, n_keys: int, d: int, block_q: int, block_k: int, mask: str | None) -> Step:
        same = {"n": n, "n_keys": n_keys, "d": d, "block_q": block_q, "block_k": block_k, "mask": mask, "dtype": dtype}
        own, standard = (count(name, **same).total for name in (algorithm, "standard-forward"))
        return Step(kind, n, d, min(block_q, n), min(block_k, n_keys), own, standard, LENGTHS[kind])

    mask, bq, bk = meta["mask"], meta["block_q"], meta["block_k"]
    steps = [step("toy", meta["queries"], meta["keys"], meta["d"], bq, bk, mask)]
    steps.append(step("real", TOKENS[0], TOKENS[0], D, bq, bk, mask))
    while bq != TILE or bk != TILE:
        bq, bk = _towards(bq), _towards(bk)
        steps.append(step("tile", TOKENS[0], TOKENS[0], D, bq, bk, mask))
    steps += [step("tokens", n, n, D, TILE, TILE, mask) for n in TOKENS[1:]]
    return steps


def _towards(size: int) -> int:
    """The next size on the way to a real tile: a power of two."""
    return min(TILE, 1 << size.bit_length())


def memory(trace: Trace) -> list[Step]:
    """For the standard algorithm: the memory of S and P (`own`) beside that of Q, K, V and O (`standard`), as N grows."""
    meta = trace.meta
    itemsize = trace.initial["Q"].dtype.itemsize

    def step(kind: str, n: int, m: int, d: int) -> Step:
        return Step(kind, n, d, 0, 0, 2 * n * m * itemsize, 2 * (n + m) * d * itemsize, LENGTHS[kind] * 1.4)

    return [step("toy", meta["queries"], meta["keys"], meta["d"]), *(step("tokens", n, n, D) for n in TOKENS)]
