"""How words call a run's queries and keys, and whose they are: their tokens, or their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..trace.trace import Trace
from ..units import head_of


def opening(trace: Trace) -> str:
    """Whose queries, keys and values these are, in a sentence."""
    meta = trace.meta
    source = meta["input"] or {}
    N, M, d = meta["queries"], meta["keys"], head_of(meta["d"], meta.get("d_v"))
    size = f"{_some(N, 'token')}, {d}." if N == M else f"{_some(N, 'query')}, {_some(M, 'key')}, {d}."
    match source.get("kind"):
        case "sample" if source.keys() >= {"model", "layer", "head"}:
            model = str(source["model"]).rsplit("/", 1)[-1]
            return f"A head of a real model: {model}, layer {source['layer']}, head {source['head']}. {size}"
        case "model" if source.keys() >= {"module", "head"}:
            of = f"{source['module']}, " * bool(source["module"])  # "" for attention that no module called
            words = f"A head of a model: {of}head {', '.join(map(str, source['head']))}. {size}"
            return words if len(words) <= 90 else f"A head of a model: {size}"
        case "random":
            return f"Queries, keys and values at random: {size}"
        case "file" if "file" in source:
            words = f"Queries, keys and values from {source['file']}: {size}"
            return words if len(words) <= 90 else f"Queries, keys and values from a file: {size}"
    return f"One attention head: {size}"


def dtypes(trace: Trace) -> str:
    """What the bytes on chip are of: tiles are as they are stored, what is computed of them is not."""
    stored, computing = trace.meta["dtype"], trace.meta["computing"]
    return f"all in {stored}" if stored == computing else f"loaded tiles {stored}, all else {computing}"


def scaled(meta: Mapping[str, Any]) -> str:
    """What scores are multiplied by, to stand behind a product: `/ √d`, or `· 0.5` where it is another number."""
    return "/ √d" if meta["scale"] == meta["d"] ** -0.5 else f"· {meta['scale']:.3g}"


def scores(meta: Mapping[str, Any]) -> str:
    """How a run makes its scores: `S = QK^{T} / √d`, and what is done to them before a mask."""
    s = f"QK^{{T}} {scaled(meta)}"
    s = f"cap({s})" if meta.get("softcap") else s
    return f"S = {s}" + " + bias" * bool(meta.get("bias")) + " + ALiBi" * bool(meta.get("alibi"))


def sizes(meta: Mapping[str, Any]) -> str:
    """How what was given was understood, and what it is stored as: `6 heads of 4 tokens, d 8, float32`."""
    N, M, H, shared = meta["queries"], meta["keys"], meta.get("heads", 1), meta.get("kv_heads", 1)
    rows = _some(N, "token") if N == M else f"{_some(N, 'query')} and {_some(M, 'key')}"
    heads = "" if H == 1 else f"{H} heads of " if shared == H else f"{H} heads ({shared} of keys) of "
    return f"{heads}{rows}, d {meta['d']}, {meta['dtype']}"


def _some(count: int, what: str) -> str:
    """`1 token`, `16 tokens`, `5 queries`."""
    many = {"query": "queries"}.get(what, f"{what}s")
    return f"{count} {what if count == 1 else many}"


def key_label(trace: Trace, key: int) -> str:
    """A key as a caption calls it: its token in quotes, or its number. Fewer keys than queries are the last tokens."""
    tokens = trace.meta["tokens"]
    at = key + max(0, trace.meta["queries"] - trace.meta["keys"])
    return f"“{tokens[at]}”" if tokens and at < len(tokens) else f"key {key}"


def query_label(trace: Trace, query: int) -> str:
    """The same for a query; with fewer queries than keys they are the last ones, as the causal mask aligns them."""
    tokens = trace.meta["tokens"]
    at = query + max(0, trace.meta["keys"] - trace.meta["queries"])
    return f"“{tokens[at]}”" if tokens and at < len(tokens) else f"query {query}"


def a(name: str) -> str:
    """With its article: `a T4`, `an A100 40 GB`."""
    return f"{'an' if name[0] in 'AEFHILMNORSX' else 'a'} {name}"
