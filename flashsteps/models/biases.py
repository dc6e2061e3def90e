"""What is added to scores, told apart: a mask that has a name, any other mask, and a bias."""

from __future__ import annotations

import numpy as np

from ..machine import masks


def split(added: np.ndarray, lowest: float) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The mask (True where a query sees a key) and the bias in what is added to scores; None where there is none.

    added: (N, M), Boolean, or numbers, of which those near `lowest`, the least of their type, hide a key as −∞ does.
    """
    if added.dtype == bool:
        return added, None
    seen = added > lowest / 2
    if np.isfinite(added[~seen.any(axis=1)]).any():  # where all keys are as low, a softmax sees them all
        return None, added
    bias = np.where(seen, added, added.dtype.type(0))
    return (None if seen.all() else seen), (bias if bias.any() else None)


def named(seen: np.ndarray) -> str | np.ndarray | None:
    """A mask (N, M) by its name, where it has one: None where all is seen, "causal", "window:LEFT,RIGHT"."""
    if seen.all():
        return None
    (N, M), rows = seen.shape, seen.any(axis=1)
    diagonal = (np.arange(N) + M - N)[rows]
    first, last = seen.argmax(axis=1)[rows], M - 1 - seen[:, ::-1].argmax(axis=1)[rows]
    left, right = (max(0, int(far.max(initial=0))) for far in (diagonal - first, last - diagonal))
    for name in ("causal", f"window:{left},{right}", f"window:{left},-1", f"window:-1,{right}"):
        if (masks.parse(name, N, M).keep(slice(0, N), slice(0, M)) == seen).all():
            return name
    return seen


def of_scores(
    rule: str | None, added: np.ndarray | None, lowest: float, N: int, M: int
) -> tuple[str | np.ndarray | None, np.ndarray | None]:
    """The mask, as `flashsteps.record` takes it, and the bias of one head (N, M), from a rule and what is added."""
    if added is None:
        return rule, None
    seen, bias = split(np.broadcast_to(added, (N, M)), lowest)
    if seen is None:
        return rule, bias
    if rule is not None:
        seen = seen & masks.parse(rule, N, M).keep(slice(0, N), slice(0, M))
    return named(seen), bias
