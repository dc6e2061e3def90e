"""The kernel's trace of a run that the reference has recorded: the same inputs, the same options, its own steps."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch

from flashsteps.machine.heads import unpack
from flashsteps.machine.pages import pool
from flashsteps.trace.trace import Trace

from .. import checks
from . import standard, subjects
from .cases import TWINS, Case, Shape


def twin(reference: Trace) -> Trace:
    """The trace of the Triton kernel that is an algorithm's twin, run in the interpreter on what the trace is of.

        kernel = twin(fs.record("flash2-forward", q, k, v, block_q=16, block_k=16))

    Raises ValueError where there is no such kernel, and for options that it doesn't have.
    """
    meta = reference.meta
    kernel = next((kernel for kernel, name in TWINS.items() if name == meta["algorithm"]), None)
    if kernel is None:
        raise ValueError(f"there is no kernel of {meta['algorithm']}: there are {', '.join(TWINS.values())}")
    if meta["dtype"] not in checks.DTYPES.values():
        raise ValueError(f"no kernel takes {meta['dtype']}: use dtype='float32'")
    for option in ("alibi", "dropout", "pool"):
        if meta.get(option):
            raise ValueError(f"no kernel takes {option}: record it without")
    for option, having in {"bias": ("forward", "backward"), "sinks": ("forward",)}.items():
        if meta.get(option) and kernel not in having:
            raise ValueError(f"the kernel of {meta['algorithm']} takes no {option}: record it without")
    heads, kv_heads = meta.get("heads", 1), meta.get("kv_heads", 1)
    N, M, block_k = meta["queries"], meta["keys"], meta["block_k"]
    causal, window = _bounds(meta["mask"])
    case = Case(
        kernel, Shape(1, heads, kv_heads, N, M, meta["d"]), meta["dtype"], causal, window, meta.get("softcap"),
        meta["scale"], meta["block_q"], checks.up(M) if block_k == M and kernel != "paged-decode" else block_k,
        meta.get("splits", 1), d_v=reference.initial["V"].shape[1], bias=_whose(reference),
        sinks="sinks" in reference.initial,
    )  # fmt: skip
    more: dict[str, Any] = {}
    if kernel == "block-sparse":
        more["lists"] = tuple(torch.from_numpy(np.array(reference.initial[name])) for name in ("starts", "columns"))
    if kernel == "paged-decode":
        more["table"] = reference.initial["table"]
    return subjects.recorded(case, _tensors(case, reference), reference, **more)


def _whose(reference: Trace) -> str | None:
    """Whether all heads share a bias, or each has its own; None where there is none."""
    if "bias" not in reference.initial:
        return None
    return "shared" if len(reference.initial["bias"]) == reference.meta["queries"] else "heads"


def _bounds(mask: str | None) -> tuple[bool, tuple[int, int] | None]:
    """causal and window. Raises ValueError for a mask that is neither, nor both."""
    found = re.fullmatch(r"(none|causal)?\+?(?:window:(-?\d+),(-?\d+))?", mask or "none")
    if not found:
        raise ValueError(f"no kernel has the mask {mask!r}: they have causal, window:LEFT,RIGHT and causal+window:…")
    return found[1] == "causal", None if found[2] is None else (int(found[2]), int(found[3]))


def _tensors(case: Case, reference: Trace) -> standard.Tensors:
    """q, k, v and do (1, heads, tokens, …) of the rows in HBM, a bias and sinks; do is q where there is none."""
    shape, initial = case.shape, reference.initial

    def queries(rows: np.ndarray) -> np.ndarray:
        return unpack(rows, shape.heads, shape.group)

    def keys(rows: np.ndarray) -> np.ndarray:
        apart = rows.reshape(shape.kv_heads, -1, rows.shape[1])
        if case.kernel != "paged-decode":
            return apart
        page = reference.meta["block_k"]
        pages = apart.reshape(shape.kv_heads, pool(shape.m, page), page, rows.shape[1])[:, initial["table"]]
        return pages.reshape(shape.kv_heads, -1, rows.shape[1])[:, : shape.m]

    arrays = [queries(initial["Q"]), keys(initial["K"]), keys(initial["V"]), queries(initial.get("dO", initial["Q"]))]
    if case.bias:
        arrays.append(initial["bias"][None] if case.bias == "shared" else queries(initial["bias"]))
    made: list[torch.Tensor | None] = [torch.from_numpy(x.astype(np.float32))[None] for x in arrays]
    made += [None] * (5 - len(made))
    made.append(torch.from_numpy(initial["sinks"].astype(np.float32)) if case.sinks else None)
    return standard.Tensors(*made).to(getattr(torch, case.dtype))
