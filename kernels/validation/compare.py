"""A kernel's trace held against the reference's: the same programs, the same loads and stores, and numbers as close.

What moved is compared event by event: kind, tensor, rows and bytes. Numbers are compared as the field does it: an error
may be twice that of standard attention in the same type, and 1e-5 more, where "exact" is float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby

import numpy as np

from flashsteps.machine.events import Event, Moved
from flashsteps.trace.trace import Trace

#: an error may be so many times that of standard attention, and so much more
FACTOR, MORE = 2, 1e-5

#: what is said where only values are wrong
NUMBERS = "numbers differ though all loads and stores agree"


@dataclass(frozen=True)
class Error:
    """The largest error of a tensor, and how large it may be."""

    error: float
    allowed: float

    @property
    def holds(self) -> bool:
        return self.error <= self.allowed

    @property
    def ratio(self) -> float:
        """The error by what is allowed: at most 1."""
        return self.error / self.allowed


@dataclass(frozen=True)
class Comparison:
    """Counts and bytes of both sides (kernel, trace), errors by tensor, and what differs first: "" if nothing does.

    None where the kernel's loads and stores could not be seen.
    """

    loads: tuple[int, int] | None
    stores: tuple[int, int] | None
    moved: Mapping[str, tuple[Moved | None, Moved]]
    errors: Mapping[str, Error]
    first: str


def compare(
    kernel: Trace, reference: Trace, exact: Mapping[str, np.ndarray], allowed: Mapping[str, float]
) -> Comparison:
    """Hold a kernel's trace against the reference's; `exact` and `allowed` are by tensor, in the rows of HBM."""
    both = kernel, reference
    bytes_of = [trace.io().by_tensor for trace in both]
    names = dict.fromkeys([*reference.initial, *kernel.initial])
    moved = {name: tuple(side.get(name, Moved()) for side in bytes_of) for name in names}
    errors = {name: Error(error(final, exact[name]), allowed[name]) for name, final in written(kernel).items()}
    return Comparison(
        _counts(both, "load"),
        _counts(both, "store"),
        {name: (ours, theirs) for name, (ours, theirs) in moved.items() if any(ours) or any(theirs)},
        errors,
        first_move(kernel, reference) or first_number(kernel, exact, allowed),
    )


def of_outputs(
    outputs: Mapping[str, np.ndarray],
    exact: Mapping[str, np.ndarray],
    allowed: Mapping[str, float],
    moved: Mapping[str, Moved],
    first: str,
) -> Comparison:
    """The same where only a kernel's outputs are there, as rows of HBM; `moved` is by the trace."""
    errors = {name: Error(error(found, exact[name]), allowed[name]) for name, found in outputs.items()}
    return Comparison(None, None, {name: (None, nbytes) for name, nbytes in moved.items()}, errors, first)


def _counts(traces: tuple[Trace, Trace], op: str) -> tuple[int, int]:
    ours, theirs = (sum(event.op == op for event in trace) for trace in traces)
    return ours, theirs


# ---- what moves


def first_move(kernel: Trace, reference: Trace) -> str:
    """The first load or store that differs, program by program, in words; "" where all are the same."""
    ours, theirs = ([list(events) for _, events in _programs(trace)] for trace in (kernel, reference))
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if words := _first(one, other):
            return f"{_program(number, (other or one)[0])}: {words}"
    if len(ours) != len(theirs):
        return f"the kernel has {len(ours):,} programs where the trace has {len(theirs):,}"
    return ""


def _programs(trace: Trace) -> Iterator[tuple[int, Iterator[Event]]]:
    """The loads and stores of each program."""
    return groupby((event for event in trace if event.op in ("load", "store")), key=lambda event: event.program)


def _first(ours: list[Event], theirs: list[Event]) -> str:
    keys = [[(event.op, event.tile, event.nbytes) for event in events] for events in (ours, theirs)]
    if keys[0] == keys[1]:
        return ""
    if len(ours) == len(theirs):
        step = next(n for n, (one, other) in enumerate(zip(*keys, strict=True)) if one != other)
        return f"step {step}: {_says(ours[step])} where the trace {_says(theirs[step])}"
    matched = SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_opcodes()
    tag, i, _, j, _ = next(code for code in matched if code[0] != "equal")
    if tag == "insert":
        return f"step {i}: one {theirs[j].op} too few, the trace {_says(theirs[j])} here"
    if tag == "delete":
        times = [_times(side.count(keys[0][i])) for side in keys]
        return f"step {i}: one more {ours[i].op}: it {_says(ours[i])} {times[0]}, the trace {times[1]}"
    return f"step {i}: {_says(ours[i])} where the trace {_says(theirs[j])}"


def _says(event: Event) -> str:
    return f"{event.op}s {event.tile} ({event.nbytes:,} B)"


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")


def _program(number: int, event: Event) -> str:
    """`program 3 (h=0 i=1)`: by the loops that all of it is in."""
    outer = [f"{name}={index}" for name, index in event.loop.items()]
    return f"program {number}" + (f" ({' '.join(outer)})" if outer else "")


# ---- which tiles were visited


def first_visit(visits: np.ndarray, reference: Trace) -> str:
    """The first visit of a kernel's own log (program, tile) that is not the trace's, in words; "" where all are."""
    ours, theirs = dict[int, list[int]](), dict[int, list[int]]()
    for program, tile in zip(visits["program"].tolist(), visits["tile"].tolist(), strict=True):
        ours.setdefault(program, []).append(tile)
    for event in reference:
        if event.op == "load" and event.tile and event.tile.tensor == "K":
            theirs.setdefault(event.program, []).append(event.loop["j"])
    for program in sorted({*ours, *theirs}):
        one, other = ours.get(program, []), theirs.get(program, [])
        for step in range(max(len(one), len(other))):
            tile, right = (str(side[step]) if step < len(side) else "no more" for side in (one, other))
            if tile != right:
                return f"program {program}: visit {step} is of tile {tile} where the trace's is of {right}"
    return ""


# ---- numbers


def written(trace: Trace) -> dict[str, np.ndarray]:
    """Each tensor that a run stores to, as it was at its end; NaN where nothing was written."""
    final: dict[str, np.ndarray] = {}
    for event, value in zip(trace.events, trace.values, strict=True):
        if event.op == "store" and event.tile and value is not None:
            name = event.tile.tensor
            event.tile.of(final.setdefault(name, np.full(trace.initial[name].shape, np.nan)))[...] = value
    return final


def error(found: np.ndarray, exact: np.ndarray) -> float:
    """The largest difference; where exact is −∞ nothing else will do, and NaN is infinitely wrong."""
    return float(_differences(found, exact).max())


def _differences(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    found, exact = np.asarray(found, np.float64), np.asarray(exact, np.float64)
    with np.errstate(invalid="ignore"):
        away = np.where(found == exact, 0.0, np.abs(found - exact))
    return np.where(np.isnan(away), np.inf, away)


def allowed(standard: np.ndarray, exact: np.ndarray) -> float:
    """What the field allows: twice the error of standard attention in the same type, and 1e-5 more."""
    return FACTOR * error(standard, exact) + MORE


def first_number(kernel: Trace, exact: Mapping[str, np.ndarray], allowed: Mapping[str, float]) -> str:
    """The first stored tile with a number that is further off than allowed, in words; "" where there is none."""
    for event, value in zip(kernel.events, kernel.values, strict=True):
        if event.op == "store" and event.tile and value is not None:
            name, start = event.tile.tensor, event.tile.start
            away = _differences(value, event.tile.of(exact[name]))
            if away.max() > allowed[name]:
                row = start + int(np.argmax(away.reshape(len(away), -1).max(axis=1)))
                off = f"row {row} of {event.tile} is off by {away.max():.2g}, and {allowed[name]:.2g} is allowed"
                return f"{_program(event.program, event)}: {NUMBERS}: {off}"
    return ""


def first_output(
    outputs: Mapping[str, np.ndarray], exact: Mapping[str, np.ndarray], allowed: Mapping[str, float]
) -> str:
    """The first output with a number that is further off than allowed, in words; "" where there is none."""
    for name, found in outputs.items():
        if (away := error(found, exact[name])) > allowed[name]:
            return f"{name} is off by {away:.2g}, and {allowed[name]:.2g} is allowed"
    return ""
