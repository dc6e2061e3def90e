"""The coda's steps: from a toy's size to a real one, each a run that was counted. Nothing here draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..runs.record import count
from ..trace.trace import Trace
from ..units import short, size_of
from .timeline import HOLD, Timeline

#: a real head's size, and a real tile's
D, TILE = 64, 128
TOKENS = (1 << 10, 1 << 12, 1 << 14, 1 << 16)

#: how long a step lasts beside others
LENGTHS = {"toy": 1.9, "real": 1.5, "tile": 0.5, "tokens": 0.6}


class Step(NamedTuple):
    """One size: what this algorithm and the standard one move at it, in bytes, and for how long it is told."""

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

    mask, bq, bk = scalable_mask(trace), meta["block_q"], meta["block_k"]
    steps = [step("toy", meta["queries"], meta["keys"], meta["d"], bq, bk, mask)]
    if mask != meta["mask"]:  # its own bytes are known all the same
        steps = [steps[0]._replace(own=trace.io().total)]
    steps.append(step("real", TOKENS[0], TOKENS[0], D, bq, bk, mask))
    while bq != TILE or bk != TILE:
        bq, bk = _towards(bq), _towards(bk)
        steps.append(step("tile", TOKENS[0], TOKENS[0], D, bq, bk, mask))
    steps += [step("tokens", n, n, D, TILE, TILE, mask) for n in TOKENS[1:]]
    return steps


def scalable_mask(trace: Trace) -> str | None:
    """The run's mask, if it is a rule for any number of tokens; None where it is for this very input."""
    mask: str | None = trace.meta["mask"]
    fixed = ("document", "file", "matrix")
    return None if mask is None or any(part.startswith(fixed) for part in mask.split("+")) else mask


def _towards(size: int) -> int:
    """The next size on the way to a real tile: a power of two."""
    return min(TILE, 1 << size.bit_length())


def memory(trace: Trace) -> list[Step]:
    """For the standard algorithm: the memory of S and P (`own`), of Q, K, V and O (`standard`), as N grows."""
    meta = trace.meta
    itemsize = trace.initial["Q"].dtype.itemsize

    def step(kind: str, n: int, m: int, d: int) -> Step:
        return Step(kind, n, d, 0, 0, 2 * n * m * itemsize, 2 * (n + m) * d * itemsize, LENGTHS[kind] * 1.4)

    return [step("toy", meta["queries"], meta["keys"], meta["d"]), *(step("tokens", n, n, D) for n in TOKENS)]


def schedule(line: Timeline, steps: Sequence[Step]) -> list[tuple[float, float]]:
    """From when to when each step is told, in seconds; the last one holds until the film is over."""
    room = line.duration - HOLD - line.coda
    whole = sum(step.weight for step in steps)
    times, t = [], line.coda
    for step in steps:
        times.append((t, t + step.weight / whole * room))
        t = times[-1][1]
    return [*times[:-1], (times[-1][0], line.duration)]


def caption(trace: Trace, steps: Sequence[Step], n: int) -> str:
    """What is said of step n."""
    step, last = steps[n], n == len(steps) - 1
    if trace.meta["algorithm"] == "standard-forward":
        return _of_memory(step, last)
    return _of_traffic(step, last, trace)


def _of_memory(step: Step, last: bool) -> str:
    if step.kind == "toy":
        return "S and P are extra memory. Here it is little; but it grows with N²."
    if last:
        share = step.n / (step.n + step.d)  # 4N² of 4N² + 4Nd
        return f"At {short(step.n)} tokens: {size_of(step.own)} for each head, and {share:.1%} of all HBM traffic."
    return "Four times the tokens: sixteen times the memory for S and P." if step.n > TOKENS[0] else "A real head."


def _of_traffic(step: Step, last: bool, trace: Trace) -> str:
    if step.kind == "toy":
        if step.ratio >= 1:
            return f"True for this toy: it moves {step.ratio:.2f}× what standard attention does. Its tiles are tiny."
        return f"Even this toy moves less than standard attention: {step.ratio:.2f}×."
    if step.kind == "real":
        return f"A real head, still with tiles of {step.block_q}×{step.block_k}: more tokens alone don't help."
    if last:
        return f"The tile decides who wins, not N: with tiles of {step.block_q} it moves {step.ratio:.2f}× as much."
    if step.kind == "tokens":
        return "More tokens: both grow with N², and the ratio stays."
    again = "K and V are read again" if trace.meta["algorithm"].startswith("flash2") else "Q and O come in again"
    return f"Larger tiles, as a real SRAM holds them: {again} fewer times."


def captions(trace: Trace, line: Timeline, steps: Sequence[Step]) -> list[tuple[float, float, str]]:
    """The coda's captions with their times, one after another."""
    cues: list[tuple[float, float, str]] = []
    for n, (start, stop) in enumerate(schedule(line, steps)):
        words = caption(trace, steps, n)
        if cues and cues[-1][2] == words:
            cues[-1] = cues[-1][0], stop, words
        else:
            cues.append((start, stop, words))
    return cues
