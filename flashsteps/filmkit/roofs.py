"""The chart of a roofline as a film moves it: a roof that draws itself and changes, and dots that slide along it."""

from __future__ import annotations

from math import log10

from ..machine.devices import DEVICES, Device
from ..traffic.intensity import ridge, roof
from .actors.curve import Area, Axis, Curve, Dot, Line, Rule, Side
from .board import Board
from .values import Made

LOW, HIGH = 0.7, 1500.0  # FLOPs a byte

#: a dot: where on the axis (its logarithm), its name and hue, on which side its name stands, and whether it is hollow
Mark = tuple[float, str, str, Side, bool]


class RoofChart:
    """The roof of a GPU, on axes that have room for that of another, too. Put its `actor` on the board."""

    def __init__(self, board: Board, gpu: Device, other: Device) -> None:
        self.board, self.gpu, self.marks = board, gpu, dict[str, Mark]()
        self.speeds, self.model = board.value((gpu.bandwidth, float(gpu.tflops))), board.value(gpu.model)
        self.drawn, self.there, self.dots = board.value(log10(LOW)), board.value(False), board.value(())
        low, high = LOW * min(gpu.bandwidth, other.bandwidth) / 3, 1.6 * max(gpu.tflops, other.tflops)
        x = Axis(LOW, HIGH, _powers(LOW, HIGH), "FLOPs for each byte of HBM traffic", log=True)
        y = Axis(low, high, _powers(low, high), "TFLOP/s at best", log=True)
        now = Made(lambda speeds: gpu._replace(bandwidth=speeds[0], tflops=speeds[1]), self.speeds)
        lines = (Line("", Made(_slope, now, self.drawn), "ink"),)
        dots = Made(lambda marks, gpu, there: _dots(marks, gpu, there, low), self.dots, now, self.there)
        rules = Made(lambda gpu, there: (Rule(ridge(gpu), f"{ridge(gpu):.0f}" * _real(gpu)),) * there, now, self.there)
        self.actor = Curve(x, y, lines, dots, Made(_grounds, now, self.there), rules, title=self.model)

    def draw(self) -> None:
        """The roof draws itself; then its ridge stands."""
        self.board.move(self.drawn.to(log10(HIGH)), seconds=1.8)
        self.board.set(self.there.to(True))

    def mark(
        self, key: str, x: float, name: str, hue: str, side: Side, hollow: bool = False, seconds: float = 0.0
    ) -> None:
        """A dot comes, or slides to x and then has its name."""
        if seconds:
            self.marks[key] = (log10(x), "", hue, side, hollow)
            self.board.move(self.dots.to(tuple(self.marks.values())), seconds=seconds)
        self.marks[key] = (log10(x), name, hue, side, hollow)
        self.board.set(self.dots.to(tuple(self.marks.values())))

    def enter(
        self, key: str, x: float, name: str, hue: str, side: Side, hollow: bool = False, seconds: float = 0.8
    ) -> None:
        """A dot comes from the left."""
        self.mark(key, LOW, "", hue, side, hollow)
        self.mark(key, x, name, hue, side, hollow, seconds)

    def drop(self, *keys: str) -> None:
        """Dots go, those that are there."""
        self.marks = {key: mark for key, mark in self.marks.items() if key not in keys}
        self.board.set(self.dots.to(tuple(self.marks.values())))

    def change(self, gpu: Device) -> None:
        """The roof becomes that of another GPU; dots keep their place on the axis."""
        self.board.set(self.model.to(f"{self.gpu.model} → {gpu.model}"))
        self.board.move(self.speeds.to((gpu.bandwidth, float(gpu.tflops))), seconds=1.6)
        self.board.set(self.model.to(gpu.model))


def _powers(low: float, high: float) -> tuple[tuple[float, str], ...]:
    return tuple((10.0**k, f"{10.0**k:g}") for k in range(-2, 6) if low <= 10.0**k <= high)


def _slope(gpu: Device, drawn: float) -> tuple[tuple[float, float], ...]:
    """The roof, as far as it is drawn."""
    end = 10**drawn
    return tuple((x, roof(gpu, x)) for x in sorted({LOW, min(end, ridge(gpu)), end}))


def _grounds(gpu: Device, there: bool) -> tuple[Area, ...]:
    left, top, right = _slope(gpu, log10(HIGH))
    sides = Area((left, top), "panel", "waits for memory"), Area((top, right), "sram", "waits for arithmetic")
    return sides if there else ()


def _dots(marks: tuple[Mark, ...], gpu: Device, there: bool, low: float) -> tuple[Dot, ...]:
    """On the roof, or on the axis as long as there is none; and what the roof is made of."""
    dots = [
        Dot(10**x, roof(gpu, 10**x) if there else low, name, hue, side, hollow) for x, name, hue, side, hollow in marks
    ]
    names = (
        Dot(4, roof(gpu, 4), f"HBM: {gpu.bandwidth:.4g} TB/s", "dim", "below right", bare=True),
        Dot(HIGH / 2.2, gpu.tflops, f"{gpu.tflops:.0f} TFLOP/s", "dim", "above", bare=True),
    )
    return (*dots, *(names if there and _real(gpu) else ()))


def _real(gpu: Device) -> bool:
    """Is it one that there is? A roof on its way from one to another is nobody's, and has no numbers."""
    return any((gpu.bandwidth, gpu.tflops) == (one.bandwidth, one.tflops) for one in DEVICES.values())
