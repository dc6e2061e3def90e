"""Kernel and reference on the same inputs: what each case moved, how far its numbers are off, what differs first.

In the interpreter each load and store of a kernel is held against the trace. On a GPU they cannot be seen: numbers are,
and the tiles that the forward kernel's own log says it visited.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from flashsteps.trace import Trace

from . import compare, standard, subjects
from .cases import Case


@dataclass(frozen=True)
class Result:
    """A case with what came of it, and how long that took, in seconds."""

    case: Case
    comparison: compare.Comparison
    seconds: float


def validate(cases: Sequence[Case], device: str = "cpu") -> Iterator[Result]:
    """Run each case, in the interpreter ("cpu") or on the GPU ("cuda"), and say how it went."""
    for case in cases:
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that the interpreter is slow
            comparison = _in_interpreter(case)
        yield Result(case, comparison, time.perf_counter() - start)


def _in_interpreter(case: Case) -> compare.Comparison:
    given = subjects.tensors(case)
    reference = subjects.reference(case, given, case.block_q, case.block_k)
    kernel = subjects.recorded(case, given, reference, values=False)
    exact, allowed = expected(case, given, reference)
    return compare.compare(kernel, reference, exact, allowed)


def expected(case: Case, given: standard.Tensors, reference: Trace) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """What each tensor that is stored should hold, as rows of HBM, in float64, and how far off it may be."""
    seen = torch.from_numpy(subjects.keep(case))
    exact, near = (_attention(case, given, seen, dtype) for dtype in (torch.float64, given.q.dtype))
    if case.kernel == "split-kv-decode":
        steps = np.arange(case.shape.m) // reference.meta["block_k"]
        blocks = int(steps[-1]) + 1
        per_piece = -(-blocks // case.splits)
        pieces = [seen & torch.from_numpy(steps // per_piece == s) for s in range(-(-blocks // per_piece))]
        for found, dtype in ((exact, torch.float64), (near, given.q.dtype)):
            of = [_attention(case, given, one, dtype) for one in pieces]
            for name in ("O", "LSE"):  # part by part, and in each piece by piece
                apart = [one[name].reshape(case.shape.parts, -1, *one[name].shape[1:]) for one in of]
                found[f"{name}_s"] = np.concatenate(apart, axis=1).reshape(-1, *of[0][name].shape[1:])
    return exact, {name: compare.allowed(near[name], exact[name]) for name in exact}


def _attention(case: Case, given: standard.Tensors, seen: torch.Tensor, dtype: torch.dtype) -> dict[str, np.ndarray]:
    scale = case.shape.d**-0.5
    found = standard.attention(given, seen, scale=scale, softcap=case.softcap, dtype=dtype)
    return {name: subjects.rows(x, case.shape) for name, x in found.items()}
