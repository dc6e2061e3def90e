"""Where things stand: boxes that are split into rows and columns. No film names a position.

On the board a box is in units of its canvas, 1920 × 1080 of them on a wide one; an actor is drawn into one in whole px.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

GAP = 24.0  # units between what stands side by side

#: how small and how large a picture may be, as a share of its canvas
SMALLEST_SCALE, LARGEST_SCALE = 0.41, 4.0


class Box(NamedTuple):
    """A rectangle: left, top, width, height; y grows downwards."""

    x: float
    y: float
    w: float
    h: float

    @property
    def right(self) -> float:
        return self.x + self.w

    @property
    def bottom(self) -> float:
        return self.y + self.h

    def columns(self, *weights: float, gap: float = GAP) -> list[Box]:
        """Side by side, as wide as the weights say; one whole number alone is how many, all alike."""
        return [Box(self.x + a, self.y, w, self.h) for a, w in _shares(self.w, weights, gap)]

    def rows(self, *weights: float, gap: float = GAP) -> list[Box]:
        """One below the other, as `columns`."""
        return [Box(self.x, self.y + a, self.w, h) for a, h in _shares(self.h, weights, gap)]

    def split(self, *weights: float, gap: float = GAP) -> list[Box]:
        """Along the longer side: columns in a wide box, rows in a tall one."""
        return self.columns(*weights, gap=gap) if self.w >= self.h else self.rows(*weights, gap=gap)

    def inset(self, across: float, down: float | None = None) -> Box:
        """Smaller by so much on each side."""
        down = across if down is None else down
        return Box(self.x + across, self.y + down, self.w - 2 * across, self.h - 2 * down)

    def grown(self, by: float) -> Box:
        return self.inset(-by)

    def whole(self) -> Box:
        """With edges at the nearest whole numbers, so that boxes that touch still do."""
        x, y, right, bottom = (round(edge) for edge in (self.x, self.y, self.right, self.bottom))
        return Box(x, y, right - x, bottom - y)

    def within(self, other: Box) -> Box:
        """What of it lies in the other: the two must overlap."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        return Box(x, y, min(self.right, other.right) - x, min(self.bottom, other.bottom) - y)

    def around(self, other: Box) -> Box:
        """The smallest box that both are in."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        return Box(x, y, max(self.right, other.right) - x, max(self.bottom, other.bottom) - y)

    def overlaps(self, other: Box) -> bool:
        x, y, w, h = self
        left, top, wide, high = other
        return x < left + wide and left < x + w and y < top + high and top < y + h


def _shares(length: float, weights: tuple[float, ...], gap: float) -> list[tuple[float, float]]:
    weights = weights if len(weights) > 1 else (1.0,) * int(weights[0])
    each, start, shares = (length - gap * (len(weights) - 1)) / sum(weights), 0.0, []
    for weight in weights:
        shares.append((start, weight * each))
        start += weight * each + gap
    return shares


class Canvas(NamedTuple):
    """A shape of picture in units, and what stands where in every film: the head, the stage, what is said."""

    w: float
    h: float
    head: Box
    main: Box
    foot: Box


CANVASES = {
    "wide": Canvas(1920, 1080, Box(72, 28, 1776, 84), Box(72, 136, 1776, 800), Box(72, 952, 1776, 104)),
    "square": Canvas(1080, 1080, Box(40, 18, 1000, 78), Box(40, 116, 1000, 824), Box(40, 952, 1000, 116)),
    "tall": Canvas(1080, 1920, Box(40, 64, 1000, 84), Box(40, 184, 1000, 1500), Box(40, 1708, 1000, 148)),
}


def shape_of(width: int, height: int) -> str:
    """The canvas whose shape is nearest: "wide", "square" or "tall"."""
    return min(CANVASES, key=lambda name: abs(CANVASES[name].w / CANVASES[name].h - width / height))


def unit_of(width: int, height: int) -> float:
    """How many px a unit is in a picture of that size. Raises ValueError for a size that nothing can be read at."""
    canvas = CANVASES[shape_of(width, height)]
    unit = min(width / canvas.w, height / canvas.h)
    if not SMALLEST_SCALE <= unit <= LARGEST_SCALE:
        w, h = (ceil(side * SMALLEST_SCALE / 2) * 2 for side in canvas[:2])
        raise ValueError(
            f"size {width}x{height} can't be drawn: in this shape, choose one from {w}x{h} to "
            f"{canvas.w * LARGEST_SCALE:.0f}x{canvas.h * LARGEST_SCALE:.0f}"
        )
    return unit
