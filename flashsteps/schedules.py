"""Which multiprocessor of a GPU worked on which tile, and when: as the forward kernel itself wrote it down there."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .results import shipped


class Program(NamedTuple):
    """A program: the SM that it ran on, its block of queries, its head, and when each of its tiles began, in ns."""

    sm: int
    block: int
    head: int
    begun: tuple[int, ...]

    @property
    def end(self) -> float:
        """About when its last tile was done: the log has only beginnings, and a tile takes as long as the others."""
        between = np.diff(self.begun)
        return self.begun[-1] + (float(np.median(between)) if len(between) else 0.0)


class Schedule(NamedTuple):
    """What ran where and when, on which GPU: so many heads of n tokens, d numbers each; times from the first tile."""

    gpu: str
    heads: int
    n: int
    d: int
    causal: bool
    programs: tuple[Program, ...]

    @property
    def sms(self) -> tuple[int, ...]:
        return tuple(sorted({program.sm for program in self.programs}))

    @property
    def tiles(self) -> int:
        return sum(len(program.begun) for program in self.programs)

    @property
    def end(self) -> float:
        return max(program.end for program in self.programs)


def kept(*, causal: bool) -> Schedule | None:
    """The log that comes with this package, if there is one."""
    found = shipped("schedule.npz")
    return read(found[-1], causal=causal) if found else None


def read(path: Path, *, causal: bool) -> Schedule:
    """A log that `flashsteps bench --on-gpu` has left, the one of a causal mask or the one without."""
    name = "causal" if causal else "full"
    with np.load(path, allow_pickle=False) as file:
        program, sm, time = (file[f"{name}_{column}"] for column in ("program", "sm", "time"))
        heads, n, d, gpu = int(file["heads"]), int(file["n"]), int(file["d"]), str(file["gpu"])
    blocks = (int(program.max()) + 1) // heads
    programs = []
    for one in range(int(program.max()) + 1):
        mine = program == one
        begun = tuple(int(at) for at in np.sort(time[mine]))
        programs.append(Program(int(sm[mine][0]), one % blocks, one // blocks, begun))
    return Schedule(gpu, heads, n, d, causal, tuple(programs))


def together(log: Schedule) -> bool:
    """Whether two programs are ever on one SM at one time."""
    spans = sorted((one.sm, one.begun[0], one.begun[-1]) for one in log.programs)
    return any(a[0] == b[0] and b[1] < a[2] for a, b in pairwise(spans))


def heavy_first(log: Schedule) -> bool:
    """Whether, once all SMs work, no program begins that has more tiles than one that has begun before it."""
    in_turn = sorted(log.programs, key=lambda one: one.begun[0])
    firsts = {one.sm: one for one in reversed(in_turn)}
    tiles = [len(one.begun) for one in in_turn if firsts[one.sm] is not one]
    least = min(len(one.begun) for one in firsts.values())
    return all(a >= b for a, b in pairwise([least, *tiles])) and least > min(tiles, default=least)


def waiting(log: Schedule) -> float:
    """How many ns the SM that is done first waits for the last one."""
    return log.end - min(max(one.end for one in log.programs if one.sm == sm) for sm in log.sms)
