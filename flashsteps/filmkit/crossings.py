"""What crosses the bus in a backward pass, to scale: each matrix as a rectangle, each time that it moves."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from ..machine.events import IO
from ..theme import hue
from .actors.areas import Area
from .run import Run


class Crossing(NamedTuple):
    """A matrix that crosses the bus `times` times, `width` wide where N tokens are 1; `named` with words below it."""

    tensor: str
    width: float
    times: float
    written: bool = False
    name: str = ""
    under: str = ""


def areas(parts: tuple[Crossing, ...], there: float, gap: float = 0.05) -> tuple[Area, ...]:
    """Each as a rectangle, each time that it moves, side by side, 1 high; the first `there` of them are to be seen."""
    found, x, seen = list[Area](), 0.0, 0
    for part in parts:
        start, thin = x, min(0.014, 0.22 * part.width)
        for _ in range(ceil(part.times)):
            if seen < round(there):
                found.append(Area(x, 0, part.width - thin, 1, hue(part.tensor), hatched=part.written))
            x, seen = x + part.width, seen + 1
        if part.name and seen <= round(there):
            found.append(Area(start, 1.04, x - start, 0.6, "bg", part.name, part.under))
        x += gap
    return tuple(found)


def far(parts: tuple[Crossing, ...], gap: float = 0.05) -> float:
    """How wide all of them are."""
    return sum(ceil(part.times) * part.width + gap for part in parts)


def passes(run: Run, io: IO, n: int, d: int) -> tuple[Crossing, ...]:
    """Standard attention: the N×N matrices in the order of its run, then all else, as it was counted for n tokens."""
    large = (e for e in run.trace if e.tile and e.tile.tensor in ("P", "dP", "dS"))
    moves = dict.fromkeys((e.program, e.tile.tensor, e.op == "store") for e in large if e.tile)
    squares = (Crossing(name, 1.0, 1, out, f"{name} {'out' if out else 'in'}") for _, name, out in moves)
    return (*squares, *thin(io, n, d, "Q", "K", "V", "dO", "dQ", "dK", "dV"))


def streams(io: IO, n: int, d: int) -> tuple[Crossing, ...]:
    """FlashAttention-2: what comes often, by name; then what comes or goes once, with LSE and D as one."""
    often = thin(io, n, d, "Q", "K", "V", "dO")
    named = (part._replace(name=part.tensor, under=f"{part.times:.0f}×") for part in often)
    numbers = sum(sum(io.by_tensor[name]) for name in ("LSE", "D")) / (2 * n * n)
    return (*named, *thin(io, n, d, "O"), Crossing("LSE", numbers, 1), *thin(io, n, d, "dQ", "dK", "dV"))


def thin(io: IO, n: int, d: int, *names: str) -> tuple[Crossing, ...]:
    """N×d matrices in fp16, as often as each is read, then as often as it is written."""
    ways = ((name, io.by_tensor[name], way) for name in names for way in ("read", "written"))
    found = ((name, getattr(moved, way) / (2 * n * d), way == "written") for name, moved, way in ways)
    return tuple(Crossing(name, d / n, times, written) for name, times, written in found if times)
