"""Running an algorithm: `record` writes each step down, `count` only adds up what would move."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from . import algorithms, block_masks, dtypes, masks, pages, rules
from . import heads as head_groups
from .devices import device as device_of
from .dropout import Dropout
from .inputs import Head, check_qkv
from .memory import HBM, SRAM, Capacity, Tape, Tensor
from .trace import IO, Event, Tally, Trace

#: block sizes where none are given, cut to the number of queries or keys
BLOCK = 64

#: a run keeps the values of its steps up to this many bytes; beyond it, only what moved
VALUES_LIMIT = 1 << 28


#: what may be told of each step while it runs: the event, and the array that it made or stored
Each = Callable[[Event, np.ndarray | None], None]


class Recorder:
    """A tape that keeps each event, and its value as long as all values together stay small enough."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.values: list[np.ndarray | None] | None = []
        self.held = 0
        self.each: Each | None = None

    def step(self, event: Event, value: np.ndarray | None, times: int) -> None:
        self.events.append(event)
        self.held += value.nbytes if value is not None else 0
        if self.held > VALUES_LIMIT:
            self.values = None
        if self.values is not None:
            self.values.append(value)
        if self.each:
            self.each(event, value)


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
    softcap: float | None = None,
    alibi: float | None = None,
    dropout: float | None = None,
    seed: int | None = None,
    tokens: Sequence[str] | None = None,
    head: Head = None,
    device: str | None = None,
    sram: int | None = None,
    source: dict[str, Any] | None = None,
    each: Callable[[HBM, dict[str, np.ndarray]], Each] | None = None,
) -> Trace:
    """Run an algorithm on q (N, d), k and v (M, d), and write down each step.

    Arrays may be NumPy's or torch's; those with more than two dimensions need `head`, but flash2-forward takes all
    heads of q (heads, N, d), k and v (kv_heads, M, d) together: each group of them shares its tiles of K and V. Values
    are stored as `dtype`, computed and summed in float32 (float64 for float64). `mask` is None, a name such as "causal"
    or "window:8,0" (`flashsteps.masks`; names joined by + must all allow a key) or a Boolean array (N, M), True where a
    query sees a key; it is aligned to the bottom right as in flash-attn ≥ 2.1 (torch's is_causal=True is top left).
    Scores are scaled by `scale` (1/√d unless given), made cap·tanh(s/cap) by `softcap`, and lowered by `alibi` times
    the distance of query and key. `dropout` is the probability with which a weight is dropped, which follows from
    `seed` and its place.

    A backward pass takes `do` (N, d), the gradient of O; what its forward pass saved is made beforehand,
    and is no part of the trace. `block_mask` (`flashsteps.block_masks`, or a Boolean array, query blocks × key blocks)
    is for block-sparse-forward; `splits`, into how many pieces keys are shared out, for split-kv-decode; `table`, the
    page of each block of keys, or a `seed` to draw it with, for paged-decode. With `device` (a preset's name) or
    `sram` (bytes of a toy's) the run has to fit on chip. `source` says where the input is from, and is kept in the
    trace. `each`, given HBM and copies of its tensors, gives a function that is told of each step as it happens.

    Raises ValueError where an argument makes no sense, where an algorithm does not take it, where a step doesn't fit,
    and where a number gets too large.
    """
    n_heads, n_kv_heads = _heads(algorithm, q, k, head)
    picked = range(n_heads) if n_heads > 1 else (head,)
    matrices = [check_qkv(q, k, v, tokens=tokens, head=one) for one in picked]
    qkv, group = matrices[0], head_groups.check(n_heads, n_kv_heads)
    (N, d), M = qkv.q.shape, qkv.k.shape[0]
    data: dict[str, np.ndarray] = {
        "Q": head_groups.pack([one.q for one in matrices], group),
        "K": np.concatenate([one.k for one in matrices[::group]]),
        "V": np.concatenate([one.v for one in matrices[::group]]),
    }
    given = {"block_q": block_q, "block_k": block_k, "mask": mask, "scale": scale}
    extra = {"do": do, "block_mask": block_mask, "splits": splits, "table": table, "seed": seed}
    extra |= {"softcap": softcap, "alibi": alibi, "dropout": dropout}
    options = _options(algorithm, N, M, d, given, extra)
    sizes = dict(options)
    options = _packed(options, group)
    if "dO" in _tensors(algorithm):
        data["dO"] = _gradient(do, head, (N, d))
    if "table" in _tensors(algorithm):
        page = options["block_k"]
        data["table"] = pages.table(table, seed, M, page)
        data |= {name: pages.scattered(data[name], data["table"], page) for name in "KV"}
    shapes = {name: array.shape for name, array in data.items()}
    recorder = Recorder()
    hbm, memory = _machine(algorithm, dtype, device, sram, recorder, parts=n_kv_heads)
    tensors = _initial(algorithm, hbm, shapes, data, options)
    initial = {tensor.name: np.array(tensor.data) for tensor in tensors}
    recorder.each = each(hbm, dict(initial)) if each else None
    results = _run(algorithm, hbm, memory, tensors, options)
    unwritten = {name: np.full(t.shape, np.nan, t.dtype) for name, t in hbm.tensors.items() if name not in initial}
    meta = {
        "algorithm": algorithm,
        "queries": N,
        "keys": M,
        "d": d,
        **_said(sizes),
        **({"heads": n_heads, "kv_heads": n_kv_heads} if n_heads > 1 else {}),
        "dtype": dtype,
        "computing": hbm.computing.name,
        "device": device,
        "sram": None if sram is None else int(sram),
        "tokens": None if qkv.tokens is None else list(qkv.tokens),
        "input": (qkv.source if n_heads == 1 else {"kind": "arrays"}) if source is None else source,
        "code": algorithms.source(algorithm),
    }
    outputs = _outputs(hbm, results)
    if n_heads > 1:
        outputs = {name: head_groups.unpack(rows, n_heads, group) for name, rows in outputs.items()}
    return Trace(meta, tuple(recorder.events), initial | unwritten, tuple(recorder.values or ()), outputs, memory.peak)


def count(
    algorithm: str,
    *,
    n: int,
    d: int,
    n_keys: int | None = None,
    heads: int = 1,
    kv_heads: int | None = None,
    block_q: int | None = None,
    block_k: int | None = None,
    mask: Any = None,
    dtype: str = dtypes.DEFAULT,
    block_mask: Any = None,
    splits: int | None = None,
    softcap: float | None = None,
    alibi: float | None = None,
    dropout: float | None = None,
    device: str | None = None,
    sram: int | None = None,
    rule: str = rules.DEFAULT,
) -> IO:
    """What `record(…).io(rule)` would be for n queries and n_keys keys (n unless given) of size d, without any data.

    With `heads` and `kv_heads` (heads unless given), for all heads together; those of a group share each tile of K, V.

    A mask that is a matrix is counted tile by tile, all others by arithmetic. Raises ValueError as `record` and
    `Trace.io` do.
    """
    tally = Tally(rules.rule(rule, algorithm))
    sizes: dict[str, Any] = {"n": n, "d": d, "n_keys": n_keys, "heads": heads, "kv_heads": kv_heads}
    options: dict[str, Any] = {
        "block_q": block_q,
        "block_k": block_k,
        "mask": mask,
        "dtype": dtype,
        "device": device,
        "sram": sram,
    }
    extra = {"block_mask": block_mask, "splits": splits, "softcap": softcap, "alibi": alibi, "dropout": dropout}
    hbm, memory = walk(algorithm, tally, **sizes, **options, **extra)
    return tally.io(hbm.tensors, memory.peak)


def walk(
    algorithm: str,
    tape: Tape,
    *,
    n: int,
    d: int,
    n_keys: int | None = None,
    heads: int = 1,
    kv_heads: int | None = None,
    block_q: int | None = None,
    block_k: int | None = None,
    mask: Any = None,
    dtype: str = dtypes.DEFAULT,
    device: str | None = None,
    sram: int | None = None,
    **extra: Any,
) -> tuple[HBM, SRAM]:
    """Go through a run without any data and tell a tape of each step; `extra` are other options of `count`.

    Raises ValueError as `count` does.
    """
    N, M, d = positive("n", n), positive("n_keys", n if n_keys is None else n_keys), positive("d", d)
    H, parts = positive("heads", heads), positive("kv_heads", heads if kv_heads is None else kv_heads)
    group = head_groups.check(H, parts)
    _grouped(algorithm, H)
    given = {"block_q": block_q, "block_k": block_k, "mask": mask, "scale": None}
    options = _options(algorithm, N, M, d, given, extra)
    options = _packed(options, group)
    by_runs = bool(options["mask"].by_rule)
    if "block_mask" in options:
        by_runs = by_runs and options["block_mask"].by_rule((N // options["block_q"], M // options["block_k"]))
    hbm, memory = _machine(algorithm, dtype, device, sram, tape, counting=True, by_runs=by_runs, parts=parts)
    shapes: dict[str, tuple[int, ...]] = {"Q": (H * N, d), "K": (parts * M, d), "V": (parts * M, d), "dO": (N, d)}
    if "table" in _tensors(algorithm):
        page = options["block_k"]
        shapes |= {"table": (-(-M // page),)} | dict.fromkeys("KV", (pages.pool(M, page) * page, d))
    _run(algorithm, hbm, memory, _initial(algorithm, hbm, shapes, None, options), options)
    return hbm, memory


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
    parts: int = 1,
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
    hbm = HBM(dtypes.storage(dtype), dtypes.computing(dtype), counting, parts)
    return hbm, SRAM(hbm, tape, capacity, by_runs)


# ---- what an algorithm takes, as its signature says


def _tensors(algorithm: str) -> list[str]:
    """The tensors that it finds in HBM, by name."""
    return [name for name, of in _signature(algorithm).items() if of.kind is not of.KEYWORD_ONLY][2:]


def _signature(algorithm: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(algorithms.module(algorithm).attend).parameters


def takes(algorithm: str, option: str) -> bool:
    """Whether an algorithm takes an option of `record`, as its signature says. Raises ValueError for an unknown one."""
    names = {"do": ("dO",), "seed": ("table", "dropout"), "alibi": ("mask",)}.get(option, (option,))
    return any(name in _signature(algorithm) for name in names)


def _heads(algorithm: str, q: Any, k: Any, head: Head) -> tuple[int, int]:
    """The heads of q and of k where all of them are to be run together, else 1 and 1: see `check_qkv`."""
    shapes = [tuple(getattr(array, "shape", ())) or np.shape(array) for array in (q, k)]
    several = head is None and [len(shape) for shape in shapes] == [3, 3] and shapes[0][0] > 1 and shapes[1][0] > 0
    if not several or not getattr(algorithms.module(algorithm), "GROUPS", False):
        return 1, 1
    if shapes[0][0] % shapes[1][0]:
        raise ValueError(f"q has shape {shapes[0]} and k {shapes[1]}: the heads of q must be a multiple of those of k")
    return shapes[0][0], shapes[1][0]


def _grouped(algorithm: str, heads: int) -> None:
    """Raises ValueError where an algorithm takes one head at a time, but there are more."""
    if heads > 1 and not getattr(algorithms.module(algorithm), "GROUPS", False):
        others = ", ".join(name for name in algorithms.names() if getattr(algorithms.module(name), "GROUPS", False))
        raise ValueError(f"{algorithm} takes one head at a time: multiply by {heads} heads, or use {others}")


def _packed(options: dict[str, Any], group: int) -> dict[str, Any]:
    """The same for queries of `group` heads packed as rows: a block of so many tokens has that many times the rows."""
    mask = replace(options["mask"], group=group)
    return options if group == 1 else options | {"block_q": options["block_q"] * group, "mask": mask}


def _options(
    algorithm: str, N: int, M: int, d: int, given: Mapping[str, Any], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """What an algorithm is called with, checked; blocks are cut to the number of rows.

    Raises ValueError for an option that it doesn't take: nothing is accepted and ignored.
    """
    for name, value in (*given.items(), *extra.items()):
        if value is not None and not takes(algorithm, name):
            others = ", ".join(other for other in algorithms.names() if takes(other, name))
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
    if takes(algorithm, "splits"):
        options["splits"] = _size(algorithm, "splits", extra.get("splits"))
    if takes(algorithm, "block_mask"):
        blocks = options["block_q"], options["block_k"]
        options["block_mask"] = block_masks.parse(extra.get("block_mask"), options["mask"], *blocks)
    if (seed := extra.get("seed")) is not None and (type(seed) is not int or seed < 0):
        raise ValueError(f"seed is {seed!r}: give a whole number, 0 or more")
    softcap, alibi, dropout = (_number(name, extra.get(name)) for name in ("softcap", "alibi", "dropout"))
    if softcap is not None:
        if not softcap > 0:
            raise ValueError(f"softcap is {softcap!r}: give a number above 0, or None for none")
        options["softcap"] = softcap
    if alibi is not None:
        if alibi < 0:
            raise ValueError(f"alibi is {alibi!r}: give a slope, 0 or more")
        options |= {"alibi": alibi, "mask": replace(options["mask"], slope=alibi)}
        if "block_mask" in options:
            options["block_mask"] = replace(options["block_mask"], mask=options["mask"])
    if dropout is not None:
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout!r}: give a probability from 0 to less than 1")
        options["dropout"] = Dropout(dropout, seed or 0) if dropout else None
    elif seed is not None and not takes(algorithm, "table"):
        raise ValueError(f"seed={seed} is for dropout: give dropout, too, or leave it out")
    return options


def _number(name: str, given: Any) -> float | None:
    """`given` as a float. Raises ValueError unless it is a finite number."""
    if given is None:
        return None
    if not isinstance(given, Real) or isinstance(given, bool) or not abs(given) <= sys.float_info.max:  # type: ignore[operator]
        raise ValueError(f"{name} is {given!r}: give a finite number, or None")
    return float(given)


def _said(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as plain data."""
    said = {name: getattr(option, "name", option) for name, option in options.items()}
    if isinstance(dropout := said.pop("dropout", None), Dropout):
        said |= {"dropout": dropout.rate, "seed": dropout.seed}
    return said


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
    memory.times = hbm.parts if hbm.counting else 1  # all heads are alike, so that one is counted for all
    # ln 0 = −∞ is right for a query that sees no key; NaN and +∞ are refused where a slot gets them
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        attend = algorithms.module(algorithm).attend
        for part in range(1 if hbm.counting else hbm.parts):
            hbm.part = part
            if hbm.parts > 1:
                memory.loops["h"] = part
            found = [tensor.part(part, hbm.parts) for tensor in tensors]
            results: dict[str, Any] = attend(hbm, memory, *found, **{n: x for n, x in options.items() if n in takes})
    return results


def _outputs(hbm: HBM, results: dict[str, Any]) -> dict[str, np.ndarray]:
    """O and LSE, or the gradients; of all heads, one after another."""
    if hbm.parts > 1:
        results = {name: hbm.tensors[name].data for name in results}
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
