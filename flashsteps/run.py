"""Running an algorithm: `record` writes each step down, `count` only adds up what would move."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from . import algorithms, dtypes, masks, rules
from .devices import device as device_of
from .inputs import Head, check_qkv
from .memory import HBM, SRAM, Capacity, Tape, Tensor
from .trace import IO, Event, Tally, Trace

#: block sizes where none are given, cut to the number of queries or keys
BLOCK = 64

#: a run keeps the values of its steps up to this many bytes; beyond it, only what moved
VALUES_LIMIT = 1 << 28


class Recorder:
    """A tape that keeps each event, and its value as long as all values together stay small enough."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.values: list[np.ndarray | None] | None = []
        self.held = 0

    def step(self, event: Event, value: np.ndarray | None, times: int) -> None:
        self.events.append(event)
        self.held += value.nbytes if value is not None else 0
        if self.held > VALUES_LIMIT:
            self.values = None
        if self.values is not None:
            self.values.append(value)


def record(
    algorithm: str,
    q: Any,
    k: Any,
    v: Any,
    *,
    block_q: int = BLOCK,
    block_k: int = BLOCK,
    mask: str | None = None,
    dtype: str = dtypes.DEFAULT,
    scale: float | None = None,
    tokens: Sequence[str] | None = None,
    head: Head = None,
    device: str | None = None,
    sram: int | None = None,
    source: dict[str, Any] | None = None,
) -> Trace:
    """Run an algorithm on q (N, d), k and v (M, d), and write down each step.

    Arrays may be NumPy's or torch's; those with more than two dimensions need `head`. Values are stored as `dtype`,
    computed and summed in float32 (float64 for float64). `mask` is None or "causal", aligned to the bottom right as in
    flash-attn ≥ 2.1 (torch's is_causal=True is top left). `scale` is 1/√d unless given. With `device` (a preset's name)
    or `sram` (bytes of a toy's) the run has to fit on chip. `source` says where the input is from, and is kept in the
    trace.

    Raises ValueError where an argument makes no sense, where a step doesn't fit, and where a number gets too large.
    """
    qkv = check_qkv(q, k, v, tokens=tokens, head=head)
    (N, d), M = qkv.q.shape, qkv.k.shape[0]
    parameters = _parameters(N, M, d, block_q, block_k, mask, scale)
    recorder = Recorder()
    hbm, memory = _machine(algorithm, dtype, device, sram, recorder)
    tensors = [hbm.tensor(name, data.shape, data) for name, data in zip("QKV", qkv, strict=True)]
    initial = {tensor.name: np.array(tensor.data) for tensor in tensors}
    results = _run(algorithm, hbm, memory, tensors, parameters)
    unwritten = {name: np.full(t.shape, np.nan, t.dtype) for name, t in hbm.tensors.items() if name not in initial}
    meta = {
        "algorithm": algorithm,
        "queries": N,
        "keys": M,
        "d": d,
        **parameters,
        "dtype": dtype,
        "computing": hbm.computing.name,
        "device": device,
        "sram": None if sram is None else int(sram),
        "tokens": None if qkv.tokens is None else list(qkv.tokens),
        "input": qkv.source if source is None else source,
        "code": algorithms.source(algorithm),
    }
    outputs = {"O": np.array(results["O"]), "LSE": _lse(results)}
    return Trace(meta, tuple(recorder.events), initial | unwritten, tuple(recorder.values or ()), outputs, memory.peak)


def count(
    algorithm: str,
    *,
    n: int,
    d: int,
    n_keys: int | None = None,
    block_q: int = BLOCK,
    block_k: int = BLOCK,
    mask: str | None = None,
    dtype: str = dtypes.DEFAULT,
    device: str | None = None,
    sram: int | None = None,
    rule: str = rules.DEFAULT,
) -> IO:
    """What `record(…).io(rule)` would be for n queries and n_keys keys (n unless given) of size d, without any data.

    Raises ValueError as `record` and `Trace.io` do.
    """
    N, M, d = positive("n", n), positive("n_keys", n if n_keys is None else n_keys), positive("d", d)
    parameters = _parameters(N, M, d, block_q, block_k, mask, None)
    tally = Tally(rules.rule(rule, algorithm))
    hbm, memory = _machine(algorithm, dtype, device, sram, tally, counting=True)
    tensors = [hbm.tensor(name, shape, None) for name, shape in (("Q", (N, d)), ("K", (M, d)), ("V", (M, d)))]
    _run(algorithm, hbm, memory, tensors, parameters)
    return tally.io(hbm.tensors, memory.peak)


def positive(name: str, given: Any) -> int:
    """`given` as an int. Raises ValueError, with its name, unless it is a whole number above 0."""
    if not isinstance(given, int | np.integer) or isinstance(given, bool) or given < 1:
        raise ValueError(f"{name} is {given!r}: give a whole number, 1 or more")
    return int(given)


def _machine(
    algorithm: str, dtype: str, device: str | None, sram: int | None, tape: Tape, counting: bool = False
) -> tuple[HBM, SRAM]:
    """HBM and SRAM for one run, with the capacity that is to be enforced."""
    capacity = Capacity()
    if device is not None and sram is not None:
        raise ValueError(f"device={device!r} and sram={sram!r} both say what fits on chip: give one of them")
    if sram is not None:
        capacity = Capacity(total=positive("sram", sram))
    if device is not None:
        gpu = device_of(device)
        capacity = Capacity(gpu.shared_per_block * 1024, gpu.registers_per_sm * 1024)
    if getattr(algorithms.module(algorithm), "IDEAL_PRODUCTS", False):
        capacity = Capacity()
    hbm = HBM(dtypes.storage(dtype), dtypes.computing(dtype), counting)
    return hbm, SRAM(hbm, tape, capacity)


def _parameters(
    N: int, M: int, d: int, block_q: int, block_k: int, mask: str | None, scale: float | None
) -> dict[str, Any]:
    """What an algorithm is called with, checked; blocks are cut to the number of rows."""
    if scale is not None and not (isinstance(scale, Real) and abs(scale) <= sys.float_info.max):
        raise ValueError(f"scale is {scale!r}: give a finite number, or None for 1/√d")
    return {
        "block_q": min(positive("block_q", block_q), N),
        "block_k": min(positive("block_k", block_k), M),
        "mask": masks.parse(mask, N, M).name,
        "scale": d**-0.5 if scale is None else float(scale),
    }


def _run(algorithm: str, hbm: HBM, memory: SRAM, tensors: list[Tensor], parameters: dict[str, Any]) -> dict[str, Any]:
    Q, K, V = tensors
    mask = masks.parse(parameters["mask"], Q.shape[0], K.shape[0])
    # ln 0 = −∞ is right for a query that sees no key; NaN and +∞ are refused where a slot gets them
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        attend = algorithms.module(algorithm).attend
        results: dict[str, Any] = attend(hbm, memory, Q, K, V, **parameters | {"mask": mask})
    return results


def _lse(results: dict[str, Any]) -> np.ndarray:
    """LSE (N,) as the run stored it, or m + ln ℓ where it left these instead (arrays, or one array a block)."""
    if "LSE" in results:
        return np.array(results["LSE"])
    m, l = (np.asarray(np.concatenate(x) if isinstance(x, list) else x) for x in (results["m"], results["l"]))
    with np.errstate(divide="ignore"):
        lse: np.ndarray = m + np.log(l)
    return lse
