"""Values as signs and colours: a shade, a background or a number; what is not there, and what may not be seen."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, isinf, isnan

import numpy as np

from ..theme import Theme, hue, mix

SHADES = "░▒▓█"
ABSENT, HIDDEN = "·", "╱"


class Paint:
    """How things are coloured: by a theme, with values as backgrounds where the terminal has many colours."""

    def __init__(self, theme: Theme, rich: bool = True) -> None:
        self.theme, self.rich = theme, rich

    def color(self, name: str) -> str:
        return str(getattr(self.theme, name))

    def hue(self, name: str) -> str:
        """The hue of a tensor or a slot; a gradient, `dK`, has its tensor's."""
        base = name.partition("_")[0]
        plain = base[1:] if base[:1] == "d" and len(base) > 1 else base
        return self.color(hue(name) if hue(name) != "stat" else hue(plain))

    def cell(self, share: float, name: str, panel: str, strength: float) -> tuple[str, str]:
        """A sign and a style for a value: `share` is where it stands between the lowest and the highest."""
        if isnan(share):
            return ABSENT, self.color("faint" if self.rich else "dim")
        if isinf(share):
            return HIDDEN, self.color("dim")
        if not self.rich:
            shade = SHADES[min(3, int(share * 4))]
            return shade, f"{'bold ' if strength == 1 else ''}{self.hue(name)}"
        return " ", f"on {mix(self.color(panel), self.hue(name), round((0.15 + 0.85 * share) * strength, 2))}"

    def pair(self, pair: Sequence[float], name: str, panel: str, strength: float) -> tuple[str, str]:
        """Two values, one upon the other."""
        above, below = pair
        if not isfinite(above) or isinf(below):
            return self.cell(above, name, panel, strength)
        top = self.cell(above, name, panel, strength)[1].removeprefix("on ")
        return "▀", top if isnan(below) else f"{top} {self.cell(below, name, panel, strength)[1]}"


def shares(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Where values stand between the lowest and the highest, 0 … 1; NaN and −∞ stay."""
    x = values.astype(float)
    part = np.clip((x - low) / max(high - low, 1e-9), 0, 1)
    return np.where(np.isneginf(x), -np.inf, part)


def binned(shares_: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A matrix as so many rows and columns: the mean of what falls into one. What is not there counts for nothing."""
    if shares_.shape == (rows, columns):
        return shares_
    tops = np.linspace(0, shares_.shape[0], rows, endpoint=False).astype(int)
    lefts = np.linspace(0, shares_.shape[1], columns, endpoint=False).astype(int)

    def summed(parts: np.ndarray) -> np.ndarray:
        total: np.ndarray = np.add.reduceat(np.add.reduceat(parts, tops, axis=0), lefts, axis=1)
        return total

    seen = np.isfinite(shares_)
    counts, hidden = summed(seen.astype(int)), summed(np.isneginf(shares_).astype(int))
    means = summed(np.where(seen, shares_, 0)) / np.maximum(counts, 1)
    return np.where(counts > 0, means, np.where(hidden > 0, -np.inf, np.nan))
