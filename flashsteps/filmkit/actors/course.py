"""Where a run of any algorithm is: its kernels one below the other, or, where it is one, its loops as brackets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ...story.kernels import kernels, moved, turns
from ...theme import LABEL, label
from ..boxes import Box
from ..run import Run
from . import loops
from .loops import Loop
from .of_run import OfRun

if TYPE_CHECKING:
    from ..pen import Pen

#: units: how far a loop stands within the one around it (`loops.draw`)
STEP = 26


@dataclass(frozen=True)
class Course(OfRun):
    """Of a kernel it says what comes in and what goes out; of a loop, what moves in each round of it."""

    def seen(self) -> tuple[int, ...]:
        number, u = self.run.split(self.now)
        bars = rails(self.run)
        if number >= len(self.run):
            return tuple(rail.times for rail in bars)
        step = self.run.near(self.now)[-1].step
        at = [rail.at[step] for rail in bars]
        return tuple(-1 if not number and not u else one for one in at)

    def draw(self, pen: Pen, box: Box) -> None:
        bars = rails(self.run)
        nested, found = len(kernels(self.run.trace)) == 1, []
        for n, rail in enumerate(bars):
            room = box.w - pen.px(20) - (pen.px(STEP) * n if nested else 0)
            words = next((said for said in rail.says if pen.width(said, LABEL, weight=600) <= room), rail.says[-1])
            found.append(Loop(words, rail.times))
        loops.draw(pen, box, tuple(found), self.looks, nested)


@dataclass(frozen=True)
class Rail:
    """What is said of it, as there is room, how many times it goes round, and where it is after each step."""

    says: tuple[str, ...]
    times: int
    at: tuple[int, ...]


@lru_cache(maxsize=16)
def rails(run: Run) -> tuple[Rail, ...]:
    trace = run.trace
    found = kernels(trace)
    if len(found) == 1:
        return tuple(_loops(run))
    made = []
    for n, kernel in enumerate(found):
        rounds = turns(trace, kernel)
        times = rounds[-1] + 1
        at = [-1] * kernel.start + rounds + [times] * (len(trace) - kernel.stop)
        made.append(Rail(_of_kernel(n + 1, kernel.reads, kernel.writes), times, tuple(at)))
    return tuple(made)


def _of_kernel(number: int, reads: tuple[str, ...], writes: tuple[str, ...]) -> tuple[str, ...]:
    come, go = (", ".join(map(label, names)) for names in (reads, writes))
    return f"{number}  {come} → {go}", f"{number}  … → {go}", f"kernel {number}"


def _loops(run: Run) -> Iterable[Rail]:
    """From the outermost in, as the deepest steps have them."""
    trace = run.trace
    deepest = max(trace, key=lambda event: len(event.loop))
    names = list(deepest.loop)
    for n, name in enumerate(names):
        times = 1 + max(event.loop[name] for event in trace if name in event.loop)
        mine = [event for event in trace if list(event.loop) == names[: n + 1]]
        what = ", ".join(map(label, moved(mine, "load", "store")))
        one = f"programs {name}" if len({e.program for e in trace}) > 1 and n == 0 else f"for {name}"
        yield Rail((f"{one}: {what}", one) if what else (one,), times, tuple(_at(run, names, n, times)))


def _at(run: Run, names: list[str], n: int, times: int) -> Iterable[int]:
    """Which round of its loop n each step is in: −1 before the first, as many as there are after the last."""
    name, around, at = names[n], None, -1
    for event in run.trace:
        outer = (event.program, *(event.loop.get(other) for other in names[:n]))
        if outer != around:
            around, at = outer, -1
        at = event.loop.get(name, times if at >= 0 else -1)
        yield at
