"""Kernel and reference on the same inputs: what each case moved, how far its numbers are off, what differs first.

In the interpreter each load and store of a kernel is held against the trace. On a GPU they cannot be seen: there the
numbers are, of the kernel that such a GPU runs, and the tiles that the plain forward kernel's own log says it visited:
Hopper's keep no log.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import triton

from flashsteps import files
from flashsteps.machine.events import Moved
from flashsteps.trace.trace import Trace

from .. import checks, launch, trace_log
from ..recorder.tape import Refused
from ..targets import configs, target
from . import compare, standard, subjects
from .cases import Case


@dataclass(frozen=True)
class Result:
    """A case with what came of it, and how long that took, in seconds.

    `programs` is how many the trace has. `visits` is the log of the plain forward kernel on a GPU (`trace_log.ENTRY`).
    """

    case: Case
    programs: int
    comparison: compare.Comparison
    seconds: float
    visits: np.ndarray | None = None


def validate(cases: Sequence[Case], device: str = "cpu") -> Iterator[Result]:
    """Run each case, in the interpreter ("cpu") or on the GPU ("cuda"), and say how it went.

    Raises ValueError where there is no such device, or Triton was imported for the other one.
    """
    interpreted = target.interpreted()
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("there is no GPU that torch can use here: take device='cpu'")
    if interpreted != (device == "cpu"):
        right, wrong = ("set", "without") if device == "cpu" else ("unset", "with")
        raise ValueError(f"Triton was imported {wrong} TRITON_INTERPRET=1: {right} it before Python starts")
    for case in cases:
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that the interpreter is slow
            programs, comparison, visits = _in_interpreter(case) if interpreted else on_a_gpu(case, device)
        yield Result(case, programs, comparison, time.perf_counter() - start, visits)


def _in_interpreter(case: Case) -> tuple[int, compare.Comparison, None]:
    given = subjects.tensors(case)
    reference = subjects.reference(case, given, case.block_q, case.block_k)
    try:
        kernel = subjects.recorded(case, given, reference, values=False)
    except Refused as refused:  # it touched what it must not
        comparison = compare.of_outputs({}, {}, {}, reference.io().by_tensor, str(refused))
    else:
        comparison = compare.compare(kernel, reference, *expected(case, given))
    return _programs(reference), comparison, None


def on_a_gpu(case: Case, device: str) -> tuple[int, compare.Comparison, np.ndarray | None]:
    """The same where no load can be seen: numbers, and the tiles that the plain forward kernel's log has.

    (On the CPU, in the interpreter, it does the same, with no SM and no clock.)
    """
    given = subjects.tensors(case)
    exact, allowed = expected(case, given)
    there = given.to(device)
    outputs = subjects.subject(case, there).launch()
    found = {name: subjects.rows(x, case.shape) for name, x in outputs.items()}
    first = compare.first_output(found, exact, allowed)
    if case.kernel != "forward":
        return 0, compare.of_outputs(found, exact, allowed, {}, first), None
    sizes = forward_tiles(case, there)
    reference = subjects.reference(case, given, sizes.block_q, sizes.block_n)
    visits = visited(case, there)
    first = compare.first_visit(visits, reference) or first
    return _programs(reference), compare.of_outputs(found, exact, allowed, reference.io().by_tensor, first), visits


def forward_tiles(case: Case, given: standard.Tensors) -> launch.Tiles:
    """The tiles that the plain forward kernel takes for a case on these tensors, where they are."""
    options = {name: getattr(case, name) for name in ("causal", "window", "scale", "softcap")}
    problem = checks.problem(given.q, given.k, given.v, attn_mask=given.bias, sinks=given.sinks, **options)
    config = configs.shipped("forward", checks.with_mask(problem, given.bias), plain=True)
    return launch.tiles(problem, config, case.block_q, case.block_k)


def visited(case: Case, given: standard.Tensors) -> np.ndarray:
    """The log of the plain forward kernel, built with TRACE on: each tile that each program visited, in order."""
    log = subjects.empty_log(case, given)
    subjects.subject(case, given).launch(trace=log)
    return trace_log.read(log)


def _programs(reference: Trace) -> int:
    return reference[-1].program + 1


# ---- what is right


def expected(case: Case, given: standard.Tensors) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """What each tensor that is stored should hold, as rows of HBM, in float64, and how far off it may be."""
    seen = torch.from_numpy(subjects.keep(case))
    exact, near = (_attention(case, given, seen, dtype) for dtype in (torch.float64, given.q.dtype))
    if case.kernel == "split-kv-decode" and case.block_k:
        block = np.arange(case.shape.m) // min(case.block_k, case.shape.m)
        blocks = int(block[-1]) + 1
        per_piece = -(-blocks // case.splits)
        pieces = [seen & torch.from_numpy(block // per_piece == s) for s in range(-(-blocks // per_piece))]
        for found, dtype in ((exact, torch.float64), (near, given.q.dtype)):
            of = [_attention(case, given, one, dtype) for one in pieces]
            for name in ("O", "LSE"):  # part by part, and in each piece by piece
                apart = [one[name].reshape(case.shape.parts, -1, *one[name].shape[1:]) for one in of]
                found[f"{name}_s"] = np.concatenate(apart, axis=1).reshape(-1, *of[0][name].shape[1:])
    return exact, {name: compare.allowed(near[name], exact[name]) for name in exact}


def _attention(case: Case, given: standard.Tensors, seen: torch.Tensor, dtype: torch.dtype) -> dict[str, np.ndarray]:
    scale = case.shape.d**-0.5 if case.scale is None else case.scale
    found = standard.attention(given, seen, scale=scale, softcap=case.softcap, dtype=dtype)
    return {name: subjects.rows(x, case.shape) for name, x in found.items()}


# ---- to keep


def document(results: Sequence[Result], device: str) -> dict[str, Any]:
    """All that came of it as plain JSON data.

    device, gpu (its name, or null), torch, triton; differ, how many cases do; and cases, each with kernel, algorithm,
    batch, heads, kv_heads, queries, keys, d, d_v, dtype, mask, softcap, bias, sinks, block_q, block_k (null where a
    case has none), seconds, programs; loads and stores as {kernel, trace}; bytes by tensor as {read: {kernel, trace},
    written: {kernel, trace}}; errors by tensor as {error, allowed}; and first, what differs first in words, "" if
    nothing does. What the kernel did is null where it could not be seen.
    """
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    versions = {"torch": torch.__version__, "triton": triton.__version__}
    cases = [_plain(result) for result in results]
    differ = sum(bool(one["first"]) for one in cases)
    return {"device": device, "gpu": gpu, **versions, "differ": differ, "cases": cases}


def _plain(result: Result) -> dict[str, Any]:
    case, shape, of = result.case, result.case.shape, result.comparison

    def sides(kernel: int | None, trace: int | None) -> dict[str, int | None]:
        return {"kernel": kernel, "trace": trace}

    return {
        "kernel": case.kernel,
        "algorithm": case.algorithm,
        "batch": shape.batch,
        "heads": shape.heads,
        "kv_heads": shape.kv_heads,
        "queries": shape.n,
        "keys": shape.m,
        "d": shape.d,
        **{
            name: getattr(case, name)
            for name in ("d_v", "dtype", "mask", "softcap", "bias", "sinks", "block_q", "block_k")
        },
        "seconds": round(result.seconds, 3),
        "programs": result.programs,
        "loads": sides(*(of.loads or (None, None))),
        "stores": sides(*(of.stores or (None, None))),
        "bytes": {
            name: {side: sides(getattr(ours, side, None), getattr(theirs, side)) for side in Moved._fields}
            for name, (ours, theirs) in of.moved.items()
        },
        "errors": {name: {"error": one.error, "allowed": one.allowed} for name, one in of.errors.items()},
        "first": of.first,
    }


def save_visits(path: str | os.PathLike[str], results: Sequence[Result], gpu: str) -> int:
    """Write which tile was visited when, on which SM, as one .npz, whole or not at all; gives how many visits it holds.

    `case`, `program`, `tile`, `sm` and `time` (ns, from the first visit of its case) are one number a visit, in the
    order of case, SM and time; `cases` says what each case is, and `gpu` where it ran. `np.load` opens it.

    Raises ValueError where the path has another ending, or nothing can be written there.
    """
    files.check(path, (".npz",))
    logged = [(result.case, result.visits) for result in results if result.visits is not None and len(result.visits)]
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("case", "program", "tile", "sm", "time")}
    for number, (_, visits) in enumerate(logged):
        ordered = visits[np.lexsort((visits["time"], visits["sm"]))]
        columns["case"].append(np.full(len(ordered), number))
        for name in ("program", "tile", "sm"):
            columns[name].append(ordered[name])
        columns["time"].append(ordered["time"] - visits["time"].min())
    arrays = {name: np.concatenate([np.empty(0, np.int64), *parts]) for name, parts in columns.items()}
    arrays |= {"cases": np.array([str(case) for case, _ in logged], str), "gpu": np.array(gpu)}
    with files.whole(path) as aside, aside.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return len(arrays["case"])
