"""How fast each backend is at each size, forward and back, and how much memory it takes: in one run, turn about.

At each point (N, d, causal or not) a backend's outputs are checked first; one that is wrong is not timed. Then each is
called in turn, on inputs that rotate, with a flushed cache before every call, and the median is kept. Too little
memory is a result, not an end. FLOPs are counted as the papers do (FA2, section 4.1): 4·N²·d a head forward, half of it
when causal, and 2.5 times that backward, whatever a backend really does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import torch

from flashsteps.traffic import formulas

from . import schedule, trial
from .backends import Attention, Backend
from .machine import Machine
from .schedule import Deadline
from .trial import PASSES, Failed, Lost

#: seconds that one backend is timed in one pass at one point, about
BUDGET = 0.1

RULE = "4·N²·d FLOPs a head forward, half when causal, 2.5 times that backward (FA2, section 4.1)"

Row = dict[str, Any]


class Point(NamedTuple):
    """What is measured: `batch` sequences of N queries and keys, with `heads` heads of d each."""

    n: int
    d: int
    causal: bool
    batch: int
    heads: int

    def flops(self, which: str) -> int:
        """Of a pass, by the papers' rule."""
        count = formulas.forward_flops if which == "forward" else formulas.backward_flops
        return count(self.n, self.n, self.d) * self.batch * self.heads // (2 if self.causal else 1)


def points(sizes: Iterable[int], dims: Iterable[int], masks: Iterable[bool], tokens: int, hidden: int) -> list[Point]:
    """All that is to be measured, N = `tokens` first and what is far from it last, as time may run out.

    The batch is max(1, tokens / N), the heads are hidden / d. Raises ValueError for a d that does not divide `hidden`.
    """
    dims, masks = sorted(set(dims), reverse=True), list(dict.fromkeys(masks))
    for d in dims:
        if hidden % d:
            raise ValueError(f"d is {d}, and {hidden:,} hidden are to be split into heads of it: give a divisor")
    order = sorted(set(sizes), key=lambda n: (abs(n.bit_length() - tokens.bit_length()), n))
    return [Point(n, d, causal, max(1, tokens // n), hidden // d) for n in order for d in dims for causal in masks]


def run(
    machine: Machine,
    backends: Mapping[str, Backend],
    todo: Sequence[Point],
    *,
    passes: tuple[str, ...] = PASSES,
    dtype: torch.dtype,
    deadline: Deadline,
    budget: float = BUDGET,
    least: int = schedule.LEAST,
    seed: int = 0,
) -> Iterator[list[Row]]:
    """The rows of one point after the other, one for each pass and backend, whatever came of it; `least` runs each.

    Where the time will not do for all that is left, what has to be compiled is left out first.
    """
    took: list[float] = []  # seconds a point, without compiling
    longest = 0.0  # seconds that compiling took for a point
    lost = ""
    for left, point in zip(range(len(todo), 0, -1), todo, strict=True):
        if lost or deadline.over:
            yield _rows(point, passes, dict.fromkeys(backends, ("not run", lost or "the time was over")))
            continue
        short = longest > 0 and deadline.left() < longest + 1.5 * median(took) * left
        found = dict.fromkeys(
            (name for name, backend in backends.items() if short and backend.compiled),
            ("not run", "no time was left to compile it"),
        )
        now = {name: backend for name, backend in backends.items() if name not in found}
        rows: list[Row] = []
        before, compiling = deadline.clock(), 0.0
        try:
            rows, compiling = measure(
                machine, now, point, passes, dtype=dtype, budget=budget, least=least, seed=seed, clock=deadline.clock
            )
        except Lost as error:
            lost = f"the machine failed: {error}"
            found |= dict.fromkeys(now, ("not run", lost))
        except Failed as failed:  # the inputs or the reference
            found |= dict.fromkeys(now, (failed.status, failed.why))
        took.append(deadline.clock() - before - compiling)
        longest = max(longest, compiling)
        names = list(backends)
        rows += _rows(point, passes, found)
        yield sorted(rows, key=lambda row: (passes.index(row["pass"]), names.index(row["backend"])))


def measure(
    machine: Machine,
    backends: Mapping[str, Backend],
    point: Point,
    passes: tuple[str, ...],
    *,
    dtype: torch.dtype,
    budget: float,
    least: int = schedule.LEAST,
    seed: int,
    clock: Callable[[], float],
) -> tuple[list[Row], float]:
    """The rows of one point, and how many seconds of it went into compiling. Raises Failed and Lost."""
    shape, device = (point.batch, point.heads, point.n, point.d), torch.device(machine.kind)
    given = trial.guarded(
        machine, lambda: trial.inputs(shape, causal=point.causal, dtype=dtype, device=device, seed=seed)
    )
    attentions: dict[str, Attention] = {}
    failed: dict[str, dict[str, tuple[str, str]]] = {which: {} for which in passes}
    compiling = 0.0
    for name, backend in backends.items():
        began = clock()
        try:
            attentions[name] = trial.ready(machine, f"{name} {point}", backend, given, passes)
        except Failed as failure:
            for which in passes:
                failed[which][name] = failure.status, failure.why
        except Lost as error:
            raise Lost(f"in {name}, {error}") from None
        else:
            compiling += (clock() - began) * backend.compiled
        machine.release()
    given.reference.clear()
    rows = []
    for which in passes:
        calls = {
            name: partial(trial.once, machine, attention, backends[name], given, which)
            for name, attention in attentions.items()
        }
        peaks = {}
        for name, attention in attentions.items():
            weigh = partial(trial.peak, machine, attention, backends[name], given, which)
            if (found := trial.or_failed(machine, name, weigh, failed[which])) is not None:
                peaks[name] = found[0]
        seconds = timed(machine, {name: calls[name] for name in peaks}, failed[which], budget, least)
        rows += _rows(point, (which,), failed[which])
        rows += [_row(point, which, name, peak=peaks[name], seconds=each) for name, each in seconds.items()]
    return rows, compiling


def timed(
    machine: Machine,
    calls: Mapping[str, Callable[[int], tuple[Any, Any]]],
    failed: dict[str, tuple[str, str]],
    budget: float,
    least: int = schedule.LEAST,
) -> dict[str, list[float]]:
    """Seconds of each call, by name, turn about, `least` times or more; one that fails on the way goes to `failed`.

    Nothing waits for the machine between calls, so that it is never idle when the next one comes.
    """
    counts = {}
    for name, call in calls.items():
        warm = trial.or_failed(machine, name, partial(_warmed, call), failed)
        if warm is not None:
            counts[name] = schedule.times(machine.seconds(*warm[0]), budget, least)
    marks: dict[str, list[tuple[Any, Any]]] = {name: [] for name in counts}
    for name, turn in schedule.rounds(counts):
        if name in marks:
            pair = trial.or_out_of_memory(name, partial(calls[name], turn), failed)
            if pair:
                marks[name].append(pair[0])
            else:
                del marks[name]
    trial.settled(machine)
    machine.release()
    return {name: [machine.seconds(*pair) for pair in pairs] for name, pairs in marks.items()}


def _warmed(call: Callable[[int], tuple[Any, Any]]) -> tuple[Any, Any]:
    """The marks of the last of some calls that do not count."""
    return [call(turn) for turn in range(schedule.WARM)][-1]


# ---- rows


def _row(point: Point, which: str, name: str, *, seconds: list[float], peak: int | None) -> Row:
    """What was measured: times in seconds, TFLOP/s of the median, bytes."""
    middle = median(seconds)
    return _blank(point, which, name) | {
        "status": "ok",
        "seconds": summary(seconds),
        "runs": len(seconds),
        "tflops": digits(point.flops(which) / middle / 1e12),
        "peak_bytes": peak,
    }


def _rows(point: Point, passes: Iterable[str], found: Mapping[str, tuple[str, str]]) -> list[Row]:
    """What was not measured, and why."""
    return [
        _blank(point, which, name) | {"status": status, "why": why}
        for which in passes
        for name, (status, why) in found.items()
    ]


def _blank(point: Point, which: str, name: str) -> Row:
    return {"pass": which, **point._asdict(), "backend": name} | dict.fromkeys(
        ("status", "why", "seconds", "runs", "tflops", "peak_bytes")
    )


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """What is kept of the times of one thing."""
    return {"median": digits(median(seconds)), "min": digits(min(seconds)), "max": digits(max(seconds))}


def digits(x: float, many: int = 4) -> float:
    """So many of them: more of a time were never measured."""
    return float(f"{x:.{many}g}")
