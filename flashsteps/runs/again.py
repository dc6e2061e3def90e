"""What a recorded run was given, as `record` and `count` take it: to do it once more, or to count others beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine import heads
from ..trace.trace import Trace

#: options of `record` that a meta has as they were given
PLAIN = ("scale", "softcap", "alibi", "dropout", "seed")


def sizes(trace: Trace) -> dict[str, Any]:
    """What `count` takes: its sizes, its type, and what else comes in from HBM. Neither blocks nor a mask."""
    meta, initial = trace.meta, trace.initial
    found = {"n": meta["queries"], "n_keys": meta["keys"], "d": meta["d"], "dtype": meta["dtype"]}
    found |= {name: meta.get(name, 1) for name in ("heads", "kv_heads")}
    if "d_v" in meta:
        found["d_v"] = meta["d_v"]
    if meta.get("bias"):
        by_head = "bias" in initial and len(initial["bias"]) > meta["queries"]
        found["bias"] = "heads" if by_head else "shared"
    if meta.get("sinks"):
        found["sinks"] = True
    if meta.get("softcap"):
        found["softcap"] = meta["softcap"]
    return found


def tensors(trace: Trace, dtype: Any = None) -> dict[str, Any]:
    """q, k and v and, where the run found them, do, bias and sinks, as `record` takes them: of one head, or of all.

    In another `dtype`, if one is given. Of keys that lie in pages, which `record` shares out itself, there are none.
    """
    meta, initial = trace.meta, trace.initial
    H, parts = meta.get("heads", 1), meta.get("kv_heads", 1)

    def of_heads(rows: np.ndarray) -> np.ndarray:
        return heads.unpack(rows, H, H // parts) if H > 1 else rows

    found = {"q": of_heads(initial["Q"])}
    found |= {
        one: x.reshape(parts, -1, x.shape[1]) if H > 1 else x for one, x in (("k", initial["K"]), ("v", initial["V"]))
    }
    if "dO" in initial:
        found["do"] = of_heads(initial["dO"])
    if "bias" in initial:
        found["bias"] = of_heads(initial["bias"]) if len(initial["bias"]) > meta["queries"] else initial["bias"]
    if "sinks" in initial:
        found["sinks"] = initial["sinks"]
    return found if dtype is None else {name: x.astype(dtype) for name, x in found.items()}


def options(trace: Trace) -> dict[str, Any]:
    """What changes its scores and weights, as plain data."""
    return {name: trace.meta[name] for name in PLAIN if trace.meta.get(name) is not None}
