"""Running an algorithm: `record` writes each step down, `count` only adds up what would move."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from . import algorithms, block_masks, dtypes, masks, pages, rules
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
    do: Any = None,
    block_q: int | None = None,
    block_k: int | None = None,
    mask: Any = None,
    dtype: str = dtypes.DEFAULT,
    scale: float | None = None,
    block_mask: Any = None,
    splits: int | None = None,
    table: Any = None,
    seed: int | None = None,
    tokens: Sequence[str] | None = None,
    head: Head = None,
    device: str | None = None,
    sram: int | None = None,
    source: dict[str, Any] | None = None,
) -> Trace:
    """Run an algorithm on q (N, d), k and v (M, d), and write down each step.

    Arrays may be NumPy's or torch's; those with more than two dimensions need `head`. Values are stored as `dtype`,
    computed and summed in float32 (float64 for float64). `mask` is None, a name such as "causal" or "window:8,0"
    (`flashsteps.masks`; names joined by + must all allow a key) or a Boolean array (N, M), True where a query sees a
    key; it is aligned to the bottom right as in flash-attn ≥ 2.1 (torch's is_causal=True is top left). `scale` is 1/√d
    unless given. A backward pass takes `do` (N, d), the gradient of O; what its forward pass saved is made beforehand,
    and is no part of the trace. `block_mask` (`flashsteps.block_masks`, or a Boolean array, query blocks × key blocks)
    is for block-sparse-forward; `splits`, into how many pieces keys are shared out, for split-kv-decode; `table`, the
    page of each block of keys, or a `seed` to draw it with, for paged-decode. With `device` (a preset's name) or
    `sram` (bytes of a toy's) the run has to fit on chip. `source` says where the input is from, and is kept in the
    trace.

    Raises ValueError where an argument makes no sense, where an algorithm does not take it, where a step doesn't fit,
    and where a number gets too large.
    """
    qkv = check_qkv(q, k, v, tokens=tokens, head=head)
    (N, d), M = qkv.q.shape, qkv.k.shape[0]
    data: dict[str, np.ndarray] = dict(zip("QKV", qkv, strict=True))
    given = {"block_q": block_q, "block_k": block_k, "mask": mask, "scale": scale}
    extra = {"do": do, "block_mask": block_mask, "splits": splits, "table": table, "seed": seed}
    options = _options(algorithm, N, M, d, given, extra)
    if "dO" in _tensors(algorithm):
        data["dO"] = _gradient(do, head, (N, d))
    if "table" in _tensors(algorithm):
        page = options["block_k"]
        data["table"] = pages.table(table, seed, M, page)
        data |= {name: pages.scattered(data[name], data["table"], page) for name in "KV"}
    shapes = {name: array.shape for name, array in data.items()}
    recorder = Recorder()
    hbm, memory = _machine(algorithm, dtype, device, sram, recorder)
    tensors = _initial(algorithm, hbm, shapes, data, options)
    initial = {tensor.name: np.array(tensor.data) for tensor in tensors}
    results = _run(algorithm, hbm, memory, tensors, options)
    unwritten = {name: np.full(t.shape, np.nan, t.dtype) for name, t in hbm.tensors.items() if name not in initial}
    meta = {
        "algorithm": algorithm,
        "queries": N,
        "keys": M,
        "d": d,
        **{name: getattr(option, "name", option) for name, option in options.items()},
        "dtype": dtype,
        "computing": hbm.computing.name,
        "device": device,
        "sram": None if sram is None else int(sram),
        "tokens": None if qkv.tokens is None else list(qkv.tokens),
        "input": qkv.source if source is None else source,
        "code": algorithms.source(algorithm),
    }
    return Trace(
        meta, tuple(recorder.events), initial | unwritten, tuple(recorder.values or ()), _outputs(results), memory.peak
    )


def count(
    algorithm: str,
    *,
    n: int,
    d: int,
    n_keys: int | None = None,
    block_q: int | None = None,
    block_k: int | None = None,
    mask: Any = None,
    dtype: str = dtypes.DEFAULT,
    block_mask: Any = None,
    splits: int | None = None,
    device: str | None = None,
    sram: int | None = None,
    rule: str = rules.DEFAULT,
) -> IO:
    """What `record(…).io(rule)` would be for n queries and n_keys keys (n unless given) of size d, without any data.

    A mask that is a matrix is counted tile by tile, all others by arithmetic. Raises ValueError as `record` and
    `Trace.io` do.
    """
    N, M, d = positive("n", n), positive("n_keys", n if n_keys is None else n_keys), positive("d", d)
    given = {"block_q": block_q, "block_k": block_k, "mask": mask, "scale": None}
    options = _options(algorithm, N, M, d, given, {"block_mask": block_mask, "splits": splits})
    tally = Tally(rules.rule(rule, algorithm))
    by_runs = bool(options["mask"].by_rule)
    if "block_mask" in options:
        by_runs = by_runs and options["block_mask"].by_rule((N // options["block_q"], M // options["block_k"]))
    hbm, memory = _machine(algorithm, dtype, device, sram, tally, counting=True, by_runs=by_runs)
    shapes: dict[str, tuple[int, ...]] = {"Q": (N, d), "K": (M, d), "V": (M, d), "dO": (N, d)}
    if "table" in _tensors(algorithm):
        page = options["block_k"]
        shapes |= {"table": (-(-M // page),)} | dict.fromkeys("KV", (pages.pool(M, page) * page, d))
    _run(algorithm, hbm, memory, _initial(algorithm, hbm, shapes, None, options), options)
    return tally.io(hbm.tensors, memory.peak)


def positive(name: str, given: Any) -> int:
    """`given` as an int. Raises ValueError, with its name, unless it is a whole number above 0."""
    if not isinstance(given, int | np.integer) or isinstance(given, bool) or given < 1:
        raise ValueError(f"{name} is {given!r}: give a whole number, 1 or more")
    return int(given)


def _machine(
    algorithm: str,
    dtype: str,
    device: str | None,
    sram: int | None,
    tape: Tape,
    counting: bool = False,
    by_runs: bool = False,
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
    return hbm, SRAM(hbm, tape, capacity, by_runs)


# ---- what an algorithm takes, as its signature says


def _tensors(algorithm: str) -> list[str]:
    """The tensors that it finds in HBM, by name."""
    return [name for name, of in _signature(algorithm).items() if of.kind is not of.KEYWORD_ONLY][2:]


def _signature(algorithm: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(algorithms.module(algorithm).attend).parameters


def _takes(algorithm: str, option: str) -> bool:
    names = {"do": ("dO",), "seed": ("table",)}.get(option, (option,))
    return any(name in _signature(algorithm) for name in names)


def _options(
    algorithm: str, N: int, M: int, d: int, given: Mapping[str, Any], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """What an algorithm is called with, checked; blocks are cut to the number of rows.

    Raises ValueError for an option that it doesn't take: nothing is accepted and ignored.
    """
    for name, value in (*given.items(), *extra.items()):
        if value is not None and not _takes(algorithm, name):
            others = ", ".join(other for other in algorithms.names() if _takes(other, name))
            raise ValueError(f"{algorithm} takes no {name}: leave it out, or use {others}")
    scale: float | None = given["scale"]
    if scale is not None and not (isinstance(scale, Real) and abs(scale) <= sys.float_info.max):
        raise ValueError(f"scale is {scale!r}: give a finite number, or None for 1/√d")
    options: dict[str, Any] = {
        "block_q": min(_size(algorithm, "block_q", given["block_q"]), N),
        "block_k": min(_size(algorithm, "block_k", given["block_k"]), M),
        "mask": masks.parse(given["mask"], N, M),
        "scale": d**-0.5 if scale is None else float(scale),
    }
    if _takes(algorithm, "splits"):
        options["splits"] = _size(algorithm, "splits", extra["splits"])
    if _takes(algorithm, "block_mask"):
        blocks = options["block_q"], options["block_k"]
        options["block_mask"] = block_masks.parse(extra["block_mask"], options["mask"], *blocks)
    if (seed := extra.get("seed")) is not None and (type(seed) is not int or seed < 0):
        raise ValueError(f"seed is {seed!r}: give a whole number, 0 or more")
    return options


def _size(algorithm: str, name: str, given: Any) -> int:
    """A size as given, or as the algorithm's signature has it, or BLOCK."""
    if given is not None:
        return positive(name, given)
    declared = _signature(algorithm)[name].default
    return BLOCK if declared is inspect.Parameter.empty else int(declared)


def _gradient(do: Any, head: Head, shape: tuple[int, ...]) -> np.ndarray:
    """dO as a matrix of this shape."""
    if do is None:
        raise ValueError(f"a backward pass needs do, the gradient of O: give an array of shape {shape}")
    try:
        found: np.ndarray = check_qkv(do, do, do, head=head).q
    except ValueError as error:
        raise ValueError(re.sub(r"^q\b", "do", str(error))) from None
    if found.shape != shape:
        raise ValueError(f"do has shape {found.shape}: give the gradient of O, of shape {shape}")
    return found


# ---- the run


class _Nobody:
    """A tape for what is no part of the trace."""

    def step(self, event: Event, value: np.ndarray | None, times: int) -> None:
        pass


def _initial(
    algorithm: str,
    hbm: HBM,
    shapes: Mapping[str, tuple[int, ...]],
    data: Mapping[str, np.ndarray] | None,
    options: dict[str, Any],
) -> list[Tensor]:
    """The tensors that an algorithm finds in HBM: those given, and those that its forward pass saved."""
    names = _tensors(algorithm)
    for name in names:
        if name == "table":
            hbm.addresses(name, shapes[name], None if data is None else data[name])
        elif name in shapes:
            hbm.tensor(name, shapes[name], None if data is None else data[name])
    if saved_by := getattr(algorithms.module(algorithm), "SAVED_BY", None):
        before = HBM(hbm.storage, hbm.computing, hbm.counting)
        forward = SRAM(before, _Nobody())
        _run(saved_by, before, forward, _initial(saved_by, before, shapes, data, options), options)
        for name in names:
            if name not in hbm.tensors:
                hbm.tensors[name] = before.tensors[name]
    return [hbm.tensors[name] for name in names]


def _run(
    algorithm: str, hbm: HBM, memory: SRAM, tensors: Sequence[Tensor], options: Mapping[str, Any]
) -> dict[str, Any]:
    takes = _signature(algorithm)
    # ln 0 = −∞ is right for a query that sees no key; NaN and +∞ are refused where a slot gets them
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        attend = algorithms.module(algorithm).attend
        results: dict[str, Any] = attend(hbm, memory, *tensors, **{n: x for n, x in options.items() if n in takes})
    return results


def _outputs(results: dict[str, Any]) -> dict[str, np.ndarray]:
    """O and LSE, or the gradients."""
    if "O" in results:
        return {"O": np.array(results["O"]), "LSE": _lse(results)}
    return {name: np.array(data) for name, data in results.items()}


def _lse(results: dict[str, Any]) -> np.ndarray:
    """LSE (N,) as the run stored it, or m + ln ℓ where it left these instead (arrays, or one array a block)."""
    if "LSE" in results:
        return np.array(results["LSE"])
    m, l = (np.asarray(np.concatenate(x) if isinstance(x, list) else x) for x in (results["m"], results["l"]))
    with np.errstate(divide="ignore"):
        lse: np.ndarray = m + np.log(l)
    return lse
