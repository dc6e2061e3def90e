"""What a run comes to: its bytes beside standard attention's, where that turns with the tile, and how exact it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import algorithms
from ..machine.masks import for_any_size
from ..runs import again, arguments, exact
from ..runs.counting import count
from ..trace.trace import Trace
from ..traffic.standard import beside_run

#: a real head, and a real tile: N, d, and the block of both queries and keys
REAL_N, REAL_D, REAL_TILE = 4096, 64, 128

#: options whose sizes are those of this very run: with one of them there is no other tile to ask about
_OWN = ("block_mask", "splits", "table")


def ending(trace: Trace) -> dict[str, Any]:
    """Plain data for the card at the end of the player.

    `standard`: bytes of standard attention in this direction (None where this is it). `crossover`: the smallest b for
    which tiles of b×b move less than it does at this size, 0 where none does. `real`: a real head's bytes, this
    algorithm's and standard's, and its crossover. `error`: the largest difference of what it made from exact attention
    on the same stored inputs, in float64, and standard attention's in the run's own type. Each is None where it is not
    known.
    """
    name, algorithm = trace.standard, trace.meta["algorithm"]
    found: dict[str, Any] = {"own": trace.io().total, "standard": None, "crossover": None, "real": None, "error": None}
    if algorithm != name:
        found["standard"] = beside_run(trace).total
    if algorithm in algorithms.names():
        if not any(arguments.takes(algorithm, option) for option in _OWN):
            found |= _elsewhere(trace, name, found["standard"])
        found["error"] = exact.error(trace)
    return found


def _elsewhere(trace: Trace, name: str, level: int | None) -> dict[str, Any]:
    meta, mask = trace.meta, exact.rule(trace)
    sizes = again.sizes(trace) | {"mask": mask}
    real = {"d": REAL_D, "block_q": REAL_TILE, "block_k": REAL_TILE, "dtype": meta["dtype"], "n": REAL_N}
    scalable = for_any_size(mask)
    own, standard = (count(algorithm, **real, mask=scalable) for algorithm in (meta["algorithm"], name))
    found: dict[str, Any] = {"real": {"n": REAL_N, "d": REAL_D, "tile": REAL_TILE, "own": own.total}}
    found["real"]["standard"] = standard.total
    if level is not None:

        def less(b: int) -> bool:
            return count(meta["algorithm"], **real | {"block_q": b, "block_k": b}, mask=scalable).total < standard.total

        found["real"]["crossover"] = crossover(less, REAL_N)
        most = max(meta["queries"], meta["keys"])
        found["crossover"] = crossover(
            lambda b: count(meta["algorithm"], block_q=b, block_k=b, **sizes).total < level, most
        )
    return found


def crossover(less: Callable[[int], bool], most: int) -> int:
    """The smallest b from 1 to `most` from which on `less(b)` holds for each power of two; 0 where it never does."""
    powers = [1 << n for n in range(most.bit_length()) if 1 << n < most] + [most]
    while powers and less(powers[-1]):
        high = powers.pop()
        low = powers[-1] if powers else 0
        if low and less(low):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if less(middle) else (middle, high)
        return high
    return 0
