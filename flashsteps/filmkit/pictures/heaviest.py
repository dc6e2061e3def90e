"""The weights of one row as bars: all of them, or the heaviest where those are too many."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...units import number
from ..actors.bars import Bar, Bars
from ..run import Run
from ..values import Made

HEAVIEST = 16


def heaviest(run: Run, row: int, key: int, grown: Any) -> Bars:
    """Of a query, with the scores that they are made of; that of `key` stands out."""
    S, P, keys, asks = in_hbm(run, "S"), in_hbm(run, "P"), run.names["keys"], run.quoted("queries", row)
    shown = sorted(np.argsort(-P[row], kind="stable")[:HEAVIEST].tolist())
    title = f"weights of {cut(asks)}: e^{{score}} over their sum"
    if len(shown) < len(keys):
        title = f"the {HEAVIEST} heaviest {title}"
    bars = tuple(
        Bar(cut(keys[n]), Made(lambda u, p=float(P[row, n]): p * u, grown), "accent" if n == key else "S",
            note=f"score {number(float(S[row, n]), 1)}")
        for n in shown
    )  # fmt: skip
    return Bars(bars, 1.0, "{:.2f}", title=title)


def cut(name: str) -> str:
    """A token as a label has room for it."""
    return name if len(name) <= 14 else f"{name[:13]}…"


def in_hbm(run: Run, name: str) -> np.ndarray:
    return run.hbm(len(run))[name]
