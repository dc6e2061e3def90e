"""The weights of one row as bars: all of them, or the heaviest where those are too many."""

from __future__ import annotations

from math import exp
from typing import Any

import numpy as np

from ...story.written import Equals, Places, Term, places
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
    of = written(S[row].tolist(), P[row].tolist()) if len(shown) == len(keys) else Places(score=1)
    bars = tuple(
        Bar(cut(keys[n]), Made(lambda u, p=float(P[row, n]): p * u, grown), "accent" if n == key else "S",
            note=f"score {of.write('score', float(S[row, n]))}")
        for n in shown
    )  # fmt: skip
    return Bars(bars, 1.0, f"{{:.{of['weight']}f}}", title=title)


def written(S: list[float], P: list[float]) -> Places:
    """With how many places the scores and the weights of a whole row stand."""
    scores = tuple(Term("score", x) for x in S)
    equations = [
        Equals(Term("weight", p), lambda *s, n=n: exp(s[n] - max(s)) / sum(exp(x - max(s)) for x in s), scores)
        for n, p in enumerate(P)
    ]
    return places(equations, least={"score": 1})


def cut(name: str) -> str:
    """A token as a label has room for it."""
    return name if len(name) <= 14 else f"{name[:13]}…"


def in_hbm(run: Run, name: str) -> np.ndarray:
    return run.hbm(len(run))[name]
