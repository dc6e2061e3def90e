"""How exact a run was: what it made beside exact attention on the same stored inputs, in float64."""

from __future__ import annotations

import numpy as np

from ..machine.masks import ARRAY
from ..trace.trace import Trace
from . import again
from .record import record_heads

#: scores, of all heads, up to which the run is done once more in float64
MOST_SCORES = 1 << 20


def error(trace: Trace) -> dict[str, float] | None:
    """The largest difference of what it made from exact attention (`own`), and that of standard attention in the run's
    own type (`standard`). None where that can't be told: the trace only names a mask, or has keys in pages."""
    meta, name = trace.meta, trace.standard
    H, N, M = meta.get("heads", 1), meta["queries"], meta["keys"]
    given = meta["mask"] is not None and rule(trace) != meta["mask"]
    if given or not trace.outputs or "table" in trace.initial or meta.get("block_mask") or H * N * M > MOST_SCORES:
        return None
    options = again.options(trace) | {"mask": meta["mask"], "block_q": N, "block_k": M}
    heads, beside = again.of(trace, np.float64), again.beside(trace, np.float64)
    try:
        exact = record_heads(name, heads, dtype="float64", **options, **beside).outputs
        other = record_heads(name, heads, dtype=meta["dtype"], **options, **beside).outputs
    except ValueError:  # a stranger's numbers
        return None
    own, plain = (_furthest(outputs, exact) for outputs in (trace.outputs, other))
    return {"own": own, "standard": plain} if np.isfinite([own, plain]).all() else None


def rule(trace: Trace) -> str | None:
    """The run's mask, as far as its name alone says what it is."""
    parts = (trace.meta["mask"] or "none").split("+")
    rules = [part for part in parts if not part.startswith(("file", ARRAY))]
    return "+".join(rules) if rules and rules != ["none"] else None


def _furthest(outputs: dict[str, np.ndarray], exact: dict[str, np.ndarray]) -> float:
    """The largest difference of any number of O, or of the gradients."""
    names = [name for name in exact if name != "LSE"]
    if any(name not in outputs or outputs[name].shape != exact[name].shape for name in names):
        return float("nan")
    return max(float(np.abs(outputs[name].astype(float) - exact[name]).max(initial=0)) for name in names)
