"""What a recorded run was given, as `record` and `count` take it: to do it once more, or to count others beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..inputs.layouts import described
from ..inputs.qkv import QKV, Heads
from ..machine import heads
from ..trace.trace import Trace

#: options of `record` that a meta has as they were given
PLAIN = ("scale", "softcap", "alibi", "dropout", "seed")


def sizes(trace: Trace) -> dict[str, Any]:
    """What `count` takes: its sizes, its type, and what else comes in from HBM. Neither blocks nor a mask."""
    meta = trace.meta
    found = {"n": meta["queries"], "n_keys": meta["keys"], "d": meta["d"], "dtype": meta["dtype"]}
    found |= {name: meta.get(name, 1) for name in ("heads", "kv_heads")}
    if "d_v" in meta:
        found["d_v"] = meta["d_v"]
    if meta.get("bias"):
        found["bias"] = "heads" if _by_head(trace) else "shared"
    if meta.get("sinks"):
        found["sinks"] = True
    if meta.get("softcap"):
        found["softcap"] = meta["softcap"]
    return found


def of(trace: Trace, dtype: Any = None) -> Heads:
    """The heads that it was about, as they are stored, or as `dtype`. Not where keys lie in pages of a pool."""
    axes, (H, parts) = described(trace.meta), _counts(trace)
    tokens = None if trace.meta["tokens"] is None else tuple(trace.meta["tokens"])
    q, (k, v) = _of_heads(trace, "Q", dtype), (_in(trace, name, dtype) for name in "KV")
    k, v = (x.reshape(parts, -1, x.shape[1]) for x in (k, v))
    each = [QKV(q[h], k[h * parts // H], v[h * parts // H], tokens, trace.meta["input"], axes) for h in range(H)]
    return Heads(tuple(each), axes)


def beside(trace: Trace, dtype: Any = None) -> dict[str, Any]:
    """What else the run found, as `record` takes it: do, bias and sinks, as they are stored, or as `dtype`."""
    meta, initial, found = trace.meta, trace.initial, dict[str, Any]()
    if "dO" in initial:
        found["do"] = described(meta).laid_out(_of_heads(trace, "dO", dtype))
    if "bias" in initial:
        found["bias"] = (_of_heads if _by_head(trace) else _in)(trace, "bias", dtype)
    if "sinks" in initial:
        found["sinks"] = _in(trace, "sinks", dtype)
    return found


def _counts(trace: Trace) -> tuple[int, int]:
    return trace.meta.get("heads", 1), trace.meta.get("kv_heads", 1)


def _by_head(trace: Trace) -> bool:
    """Whether each head has a bias of its own: it has a row for each of their queries."""
    return "bias" in trace.initial and len(trace.initial["bias"]) > trace.meta["queries"]


def _in(trace: Trace, name: str, dtype: Any) -> np.ndarray:
    found = trace.initial[name]
    return found if dtype is None else found.astype(dtype)


def _of_heads(trace: Trace, name: str, dtype: Any) -> np.ndarray:
    H, parts = _counts(trace)
    return heads.unpack(_in(trace, name, dtype), H, H // parts)


def options(trace: Trace) -> dict[str, Any]:
    """What changes its scores and weights, as plain data."""
    return {name: trace.meta[name] for name in PLAIN if trace.meta.get(name) is not None}
