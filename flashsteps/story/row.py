"""One query's row of a forward run: what its program holds after each tile of keys; and sums of parts, which merge."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..trace.trace import Trace


class Held(NamedTuple):
    """After a tile of keys `start` … `stop` − 1: its scores S and exponentials P; m, α, ℓ and acc of the row so far."""

    start: int
    stop: int
    S: tuple[float, ...]
    m: float
    alpha: float
    P: tuple[float, ...]
    l: float
    acc: tuple[float, ...]


def held(trace: Trace, query: int) -> list[Held]:
    """Tile by tile, as the recording of flash2-forward has it. Tiles that are skipped are not among them."""
    meta = trace.meta
    i, row = divmod(query, meta["block_q"])
    found: dict[int, dict[str, Any]] = {}
    for event in trace:
        if event.op == "compute" and event.loop.get("i") == i and "j" in event.loop:
            found.setdefault(event.loop["j"], {})[str(event.slot)] = np.asarray(trace.values[event.step])[row].tolist()
    tiles = []
    for j, x in sorted(found.items()):
        start = j * meta["block_k"]
        stop = start + len(x["S"])
        tiles.append(Held(start, stop, tuple(x["S"]), x["m_i"], x["alpha"], tuple(x["P"]), x["l_i"], tuple(x["acc"])))
    return tiles


def moving_most(trace: Trace) -> int:
    """The query whose max moves most after its first tile: there is most to see. The first one if none moves."""
    least = [
        min((tile.alpha for tile in held(trace, query)[1:]), default=1.0) for query in range(trace.meta["queries"])
    ]
    return int(np.argmin(least))


class Sum(NamedTuple):
    """Softmax's sums over some keys of a row: their max m, ℓ = Σ e^(s − m), and acc (d,), the same sum times V."""

    m: float
    l: np.float32
    acc: np.ndarray

    @classmethod
    def of(cls, S: np.ndarray, V: np.ndarray) -> Sum:
        """Over all these keys at once: scores (M,) and values (M, d)."""
        P = np.exp(S - S.max())
        return cls(float(S.max()), P.sum(), P @ V)

    def merged(self, other: Sum) -> Sum:
        """Of both parts: each shrinks to the larger max, then they are added."""
        m = max(self.m, other.m)
        a, b = self.shrunk(m), other.shrunk(m)
        return Sum(m, a * self.l + b * other.l, a * self.acc + b * other.acc)

    def shrunk(self, m: float) -> np.float32:
        """What it counts for against a max of m."""
        return np.float32(np.exp(np.float32(self.m - m)))
