"""What training with three kinds of attention takes and gives, as measured: memory by N, and losses by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...results import Results
from ...units import short
from ..actors.columns import Columns, Group
from ..actors.curve import Axis, Curve, Line
from .duel import BACKENDS, FLASH, OURS, STANDARD, width


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
    hues = {"standard": ("standard", STANDARD), "flash": (flash, FLASH), "flashsteps": ("flashsteps", OURS)}
    groups = tuple(Group(short(n), tuple(held[n, one] / unit for one in who)) for n in sizes)
    axis = f"tokens in a sequence, {speed.settings['tokens']:,} in all, d = {d}; numbers: {name}"
    chart = Columns(
        groups, tuple(hues[one] for one in who), most / unit, "{:.1f}" if unit == 1e9 else "{:.0f}",
        title="memory, forward and backward", name=axis, grown=grown,
    )  # fmt: skip
    flat = held[sizes[-1], "flash"] < 1.5 * held[sizes[0], "flash"]
    grows = held[sizes[-1], "standard"] > 1.5 * held[sizes[0], "standard"]
    return chart, flat and grows


def losses(train: Results, steps: Any) -> tuple[Curve, float, float]:
    """The curves at the largest N; at any N, how far those of two kinds of attention are apart; where they go to."""
    rows = [row for row in train.rows if row["status"] == "ok"]
    found = {(row["attention"], row["n"]): np.array(row["losses"]) for row in rows}
    sizes = {n for attention, n in found if attention == "standard" and ("sdpa", n) in found}
    names = {"standard": (STANDARD, 0), "sdpa": (FLASH, 8), "flashsteps": (OURS, 14)}
    there = [one for one in names if all((one, n) in found for n in sizes)]
    apart = max(float(np.abs(found[one, n] - found[other, n]).max()) for n in sizes for one in there for other in there)
    about = float(np.median([loss[len(loss) // 2 :] for loss in found.values()]))
    size = max(sizes)
    every = np.concatenate([found[one, size] for one in there])
    low, high, count = np.floor(every.min()), np.ceil(every.max()), len(found["standard", size])
    lines = tuple(
        Line("", tuple((float(t + 1), float(x)) for t, x in enumerate(found[one, size])), *names[one]) for one in there
    )
    x = Axis(0, count, ((count / 2, f"{count // 2}"), (float(count), f"{count}")), "steps")
    y = Axis(low, high, tuple((float(v), f"{v:.0f}") for v in np.arange(low, high + 1)))
    million = f"{train.settings['parameters'] / 1e6:.3g}M parameters"
    many = {2: "two", 3: "three"}[len(there)]
    title = f"loss, {million}, N = {short(size)}: {many} lines on each other"
    return Curve(x, y, lines, upto=steps, title=title), apart, about
