"""The lowest and highest value of each tensor and slot of a run: what its colours span."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..trace.trace import Trace


def ranges(trace: Trace) -> dict[str, tuple[float, float]]:
    """The lowest and highest finite value of each tensor and slot in the run: colours mean the same throughout."""
    found: dict[str, tuple[float, float]] = {}

    def widen(name: str, values: Any) -> None:
        finite = values[np.isfinite(values)]
        if finite.size:
            low, high = float(finite.min()), float(finite.max())
            was = found.get(name, (low, high))
            found[name] = min(low, was[0]), max(high, was[1])

    for tensor, data in trace.initial.items():
        widen(tensor, data)
    for event, value in zip(trace.events, trace.values, strict=False):  # there are none where a run was too large
        if value is not None:
            widen(event.tile.tensor if event.tile else event.slot, value)
    loads = {(event.slot, event.tile.tensor) for event in trace if event.op == "load" and event.tile}
    own = found.copy()
    for slot, tensor in loads:
        if tensor in own:
            low, high = own[tensor]
            was = found.get(slot, (low, high))
            found[slot] = min(low, was[0]), max(high, was[1])
    for name in ("P",):
        if name in found:
            found[name] = 0.0, found[name][1]
    return found
