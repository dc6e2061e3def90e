"""Heads as small maps to choose from: which keys each query looks at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..machine import masks
from .calls import Call, Head

SHADES = " ░▒▓█"

#: the most of a map on a terminal, whose signs are twice as high as they are wide
ROWS, COLUMNS = 8, 16


def weights(head: Head) -> np.ndarray:
    """P, the softmax of a head's scores (N, M), in float64; 0 in rows that see no key."""
    (N, M), own = (len(head.q), len(head.k)), head.own
    scores = head.q.astype(np.float64) @ head.k.T.astype(np.float64) * own["scale"]
    if cap := own.get("softcap"):
        scores = cap * np.tanh(scores / cap)
    mask = replace(masks.parse(own.get("mask"), N, M), slopes=(own.get("alibi", 0.0),))
    scores += mask.bias(slice(0, N), slice(0, M))
    if head.bias is not None:
        scores += head.bias
    top = scores.max(axis=1, keepdims=True)
    sink = np.full_like(top, own.get("sinks", -np.inf))
    top = np.maximum(top, sink)
    top = np.where(np.isfinite(top), top, 0)
    p = np.exp(scores - top)
    found: np.ndarray = p / np.maximum(p.sum(axis=1, keepdims=True) + np.exp(sink - top), np.finfo(float).tiny)
    return found


def small(p: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A map of at most so many rows and columns: what part of their weight some queries give to some keys, 0 … 1."""
    N, M = p.shape
    if columns < M:
        p = np.add.reduceat(p, np.arange(columns) * M // columns, axis=1)
    if rows < N:
        starts = np.arange(rows) * N // rows
        p = np.add.reduceat(p, starts, axis=0) / np.diff(starts, append=N)[:, None]
    return p


def on_terminal(calls: Sequence[Call], width: int = 80) -> Iterator[str]:
    """All kept heads of these calls in signs, queries down and keys along; the darker, the more of a query's weight."""
    for call in calls:
        yield f"{call.index}  {call.module or call.kind}"
        heads = call.kept.heads if call.kept else ()
        each = [small(weights(call.head(head, batch=0)), ROWS, COLUMNS) for head in heads]
        wide = max(len("head 00"), each[0].shape[1]) + 2
        fit = max(1, (width - 2) // wide)
        for start in range(0, len(heads), fit):
            line = each[start : start + fit]
            yield "  " + "".join(f"head {head}".ljust(wide) for head in heads[start : start + fit]).rstrip()
            for row in range(len(line[0])):
                yield "  " + "".join(_signs(p[row]).ljust(wide) for p in line).rstrip()
        yield ""


def _signs(row: np.ndarray) -> str:
    """0 is a space; then a sign for each quarter of the root of a weight, in which small ones are told apart."""
    shades = np.ceil(np.sqrt(row.clip(0, 1)) * (len(SHADES) - 1) - 1e-9)
    return "".join(SHADES[int(shade)] for shade in shades)
