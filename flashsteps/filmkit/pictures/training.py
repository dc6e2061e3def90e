"""What three kinds of attention take and what training with them gives, as measured: memory by N, losses by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...results import Results
from ...units import short
from ..actors.bars import Legend, Piece
from ..actors.columns import Columns, Group
from ..actors.curve import Axis, Curve, Line, Rule
from .duel import BACKENDS, CHOSEN, FLASH, STANDARD, width

#: who trains: its name, its hue, and how its line is dashed
ATTENTIONS = {
    "standard": ("standard", STANDARD, 0),
    "sdpa": ("PyTorch’s SDPA, backend of its choice", CHOSEN, 8),
    "flashsteps": (*BACKENDS["flashsteps"], 14),
}


def memory(speed: Results, grown: Any) -> tuple[Columns, bool]:
    """Peaks of a forward and a backward pass; and whether standard's alone grows with N."""
    rows = [row for row in speed.rows if row["pass"] == "backward" and not row["causal"] and row["status"] == "ok"]
    d = width([row for row in rows if row["backend"] == "standard"])
    held = {(row["n"], row["backend"]): row["peak_bytes"] for row in rows if row["d"] == d}
    sizes = sorted({n for n, backend in held if backend == "standard" and (n, "flash") in held})
    most = max(held[n, "standard"] for n in sizes)
    unit, name = (1e9, "GB") if most >= 1e10 else (1e6, "MB")
    who = [one for one in ("standard", "flash", "flashsteps") if all((n, one) in held for n in sizes)]
    flash = "SDPA, flash" if speed.machine["kind"] == "cpu" else BACKENDS["flash"][0]
    hues = {"standard": ("standard", STANDARD), "flash": (flash, FLASH), "flashsteps": BACKENDS["flashsteps"]}
    groups = tuple(Group(short(n), tuple(held[n, one] / unit for one in who)) for n in sizes)
    axis = f"tokens in a sequence, {speed.settings['tokens']:,} in all, d = {d}"
    chart = Columns(
        groups, tuple(hues[one] for one in who), most / unit, "{:.1f}" if unit == 1e9 else "{:.0f}",
        title=f"{name} of memory at most, forward and backward", name=axis, grown=grown,
    )  # fmt: skip
    flat = held[sizes[-1], "flash"] < 1.5 * held[sizes[0], "flash"]
    grows = held[sizes[-1], "standard"] > 1.5 * held[sizes[0], "standard"]
    return chart, flat and grows


class Losses:
    """What training lost, step by step, at the N at which one kind of attention is furthest from standard's."""

    def __init__(self, train: Results, steps: Any) -> None:
        rows = [row for row in train.rows if row["status"] == "ok"]
        found = {(row["attention"], row["n"]): np.array(row["losses"]) for row in rows}
        self.sizes = sorted({n for attention, n in found if attention == "standard" and ("sdpa", n) in found})
        self.who = [one for one in ATTENTIONS if all((one, n) in found for n in self.sizes)]
        others = self.who[1:]

        def off(one: str, n: int) -> np.ndarray:
            apart: np.ndarray = np.abs(found[one, n] - found["standard", n])
            return apart

        self.n = max(self.sizes, key=lambda n: max(off(one, n).max() for one in others))
        self.losses = {one: found[one, self.n] for one in self.who}
        self.off = {one: off(one, self.n) for one in others}
        self.apart = {one: float(off(one, self.n).max()) for one in others}
        #: what the loss itself changes by from a step to the next: a scale for differences
        self.moves = float(np.median(np.abs(np.diff(self.losses["standard"]))))
        self.steps, self.count = steps, len(self.losses["standard"])
        self.model = f"{train.settings['parameters'] / 1e6:.3g}M parameters, N = {short(self.n)}"

    @property
    def legend(self) -> Legend:
        return Legend(tuple(Piece(1, hue, name=name) for name, hue, _ in map(ATTENTIONS.__getitem__, self.who)))

    def curves(self) -> Curve:
        """One on the other: what is below shows through the gaps of what is above."""
        every = np.concatenate([*self.losses.values()])
        low, high = np.floor(every.min()), np.ceil(every.max())
        y = Axis(low, high, tuple((float(v), f"{v:.0f}") for v in np.arange(low, high + 1)))
        lines = tuple(self._line(one, each, ATTENTIONS[one][2]) for one, each in self.losses.items())
        return Curve(self._x, y, lines, upto=self.steps, title=f"loss, {self.model}")

    def differences(self) -> Curve:
        """How far each is from standard's, beside what the loss moves by from step to step."""
        most = 1.25 * max(*self.apart.values(), self.moves)
        unit = 10.0 ** np.floor(np.log10(most))
        every = unit * (1 if most < 4 * unit else 2)
        ticks = tuple((float(v), f"{v:.2g}") for v in np.arange(0, most, every))
        lines = tuple(self._line(one, each) for one, each in self.off.items())
        rule = Rule(self.moves, f"the loss moves {self.moves:.2g} a step (median)", upright=False, hue="dim")
        others = ", ".join(short(n) for n in self.sizes if n != self.n)
        title = "|difference| from standard’s loss" + f" (no larger at N = {others})" * bool(others)
        return Curve(self._x, Axis(0, most, ticks), lines, rules=(rule,), upto=self.steps, title=title)

    @property
    def _x(self) -> Axis:
        return Axis(0, self.count, ((self.count / 2, f"{self.count // 2}"), (self.count, f"{self.count}")), "steps")

    def _line(self, one: str, each: np.ndarray, dash: float = 0) -> Line:
        return Line("", tuple((float(t + 1), float(x)) for t, x in enumerate(each)), ATTENTIONS[one][1], dash)
