"""Running an algorithm: `record` writes each step down, `count` only adds up what would move."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import algorithms
from ..inputs import types
from ..inputs.layouts import Head, described
from ..inputs.qkv import QKV, Heads, check_heads
from ..machine import dtypes, pages
from ..machine import heads as head_groups
from ..machine.devices import device as device_of
from ..machine.events import IO, Event
from ..machine.memory import ADDRESSES, HBM, SRAM, Capacity, Tape, Tensor
from ..scalars import whole
from ..trace import rules
from ..trace.rules import Tally
from ..trace.trace import Trace
from . import arguments

#: a run has at most so many steps: each is an object of its own
MOST_STEPS = 1 << 22

#: a run keeps the values of its steps up to this many bytes; beyond it, only what moved
VALUES_LIMIT = 1 << 28


#: the outputs that are about keys
OF_KEYS = ("dK", "dV")

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
    dtype: Any = None,
    scale: float | None = None,
    block_mask: Any = None,
    splits: int | None = None,
    table: Any = None,
    softcap: float | None = None,
    alibi: Any = None,
    dropout: float | None = None,
    seed: int | None = None,
    tokens: Sequence[str] | None = None,
    head: Head = None,
    layout: str | None = None,
    device: str | None = None,
    sram: int | None = None,
    source: dict[str, Any] | None = None,
    each: Callable[[HBM, dict[str, np.ndarray]], Each] | None = None,
) -> Trace:
    """Run an algorithm on q (N, d), k and v (M, d), and write down each step.

    Arrays may be NumPy's or torch's. Of q (heads, N, d), k and v (kv_heads, M, d) all heads are run, one key-value head
    after another: the heads that share one are packed as rows, so that each of its tiles serves them all. `head` picks
    one of them, or of arrays with more dimensions, and with it what belongs to it: its slope of `alibi`, what `dropout`
    drops of it, its part of `do`. `layout` says how axes lie where heads are not before tokens: "shd", "bshd"
    (`inputs.layouts`). Outputs have the axes of q, or of k, as given; LSE is (heads, N).

    Values are stored as `dtype`, which is the arrays' own unless given (of several, the one that holds all; whole
    numbers are stored as float32), and computed and summed in float32 (float64 for float64). `mask` is None, a name
    such as "causal" or "window:8,0" (`machine.masks`; names joined by + must all allow a key) or a Boolean array
    (N, M), True where a query sees a key; it is aligned to the bottom right as in flash-attn ≥ 2.1 (torch's
    is_causal=True is top left). Scores are scaled by `scale` (1/√d unless given), made cap·tanh(s/cap) by `softcap`,
    and lowered by `alibi` (a slope, or one a head) times the distance of query and key. `dropout` is the probability
    with which a weight is dropped, which follows from `seed` and its place.

    A backward pass takes `do`, the gradient of O, of q's shape; what its forward pass saved is made beforehand, and is
    no part of the trace. `block_mask` (`machine.block_masks`, or a Boolean array, query blocks × key blocks) is for
    block-sparse runs; `splits`, into how many pieces keys are shared out, for split-kv-decode; `table`, the page of
    each block of keys, or a `seed` to draw it with, for paged-decode. With `device` (a preset's name) or `sram` (bytes
    of a toy's) the run has to fit on chip. `source` says where the input is from, and is kept in the trace.
    `each`, given HBM and copies of its tensors, gives a function that is told of each step as it happens.

    Raises ValueError where an argument makes no sense, where an algorithm does not take it, where a step doesn't fit,
    where a number gets too large, and where rounding to `dtype` would lose too much (`machine.memory.MOST_LOST`).
    """
    given = {"do": do, "block_q": block_q, "block_k": block_k, "mask": mask, "scale": scale, "block_mask": block_mask}
    given |= {"splits": splits, "table": table, "softcap": softcap, "alibi": alibi, "dropout": dropout, "seed": seed}
    heads = check_heads(q, k, v, tokens, head, layout)
    return record_heads(algorithm, heads, dtype=dtype, device=device, sram=sram, source=source, each=each, **given)


def record_heads(
    algorithm: str,
    heads: Heads,
    *,
    dtype: Any = None,
    device: str | None = None,
    sram: int | None = None,
    source: dict[str, Any] | None = None,
    each: Callable[[HBM, dict[str, np.ndarray]], Each] | None = None,
    **given: Any,
) -> Trace:
    """The same for heads that were read and checked already; `given` are the other options of `record`."""
    first = heads.each[0]
    (N, d), M = first.q.shape, first.k.shape[0]
    options = arguments.called_with(algorithm, N, M, d, len(heads.each), heads.group, given, heads.axes)
    tiles = -(-N * heads.group // options["block_q"]) * -(-M // options["block_k"]) * heads.kv_heads
    if tiles > MOST_STEPS >> 6:  # a tile has fewer steps than 64
        _check_steps(algorithm, N, M, d, heads, options)
    gradient = _gradient(algorithm, heads, given.get("do"))
    if dtype is None:
        dtype = types.common([heads.kept, *(types.name_of(x.dtype) for x in gradient)])
    data = _data(algorithm, heads, gradient, options, given)
    shapes = {name: array.shape for name, array in data.items()}
    recorder = Recorder()
    hbm, memory = _machine(algorithm, dtype, device, sram, recorder, parts=heads.kv_heads)
    tensors = _initial(algorithm, hbm, shapes, data, options)
    initial = {tensor.name: np.array(tensor.data) for tensor in tensors}
    recorder.each = each(hbm, dict(initial)) if each else None
    results = _run(algorithm, hbm, memory, tensors, options)
    hbm.check_lost()
    unwritten = {name: np.full(t.shape, np.nan, t.dtype) for name, t in hbm.tensors.items() if name not in initial}
    meta = {
        "algorithm": algorithm,
        "queries": N,
        "keys": M,
        "d": d,
        **arguments.said(options, heads.group),
        **({"heads": len(heads.each), "kv_heads": heads.kv_heads} if len(heads.each) > 1 else {}),
        **heads.axes.meta,
        "dtype": hbm.storage.name,
        "computing": hbm.computing.name,
        "device": device,
        "sram": None if sram is None else whole("sram", sram),
        "tokens": None if first.tokens is None else list(first.tokens),
        "input": (first.source if len(heads.each) == 1 else {"kind": "arrays"}) if source is None else source,
        "code": algorithms.source(algorithm),
    }
    outputs = _outputs(results, heads)
    return Trace(meta, tuple(recorder.events), initial | unwritten, tuple(recorder.values or ()), outputs, memory.peak)


def again(trace: Trace, dtype: Any = None) -> tuple[Heads, dict[str, Any]]:
    """What a run was about, to be run once more: its heads, as they are stored or as `dtype`, and dO if it has one.

    Not for paged-decode, whose keys lie in pages.
    """
    axes, H, parts = described(trace.meta), trace.meta.get("heads", 1), trace.meta.get("kv_heads", 1)
    tokens = None if trace.meta["tokens"] is None else tuple(trace.meta["tokens"])

    def matrices(name: str) -> np.ndarray:
        packed = (parts, 1) if name in "KV" else (H, H // parts)
        return head_groups.unpack(trace.initial[name].astype(dtype or trace.initial[name].dtype), *packed)

    q, k, v = (matrices(name) for name in "QKV")
    each = [QKV(q[h], k[h * parts // H], v[h * parts // H], tokens, trace.meta["input"], axes) for h in range(H)]
    do = {"do": axes.laid_out(matrices("dO"))} if "dO" in trace.initial else {}
    return Heads(tuple(each), axes), do


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
    dtype: Any = dtypes.DEFAULT,
    block_mask: Any = None,
    splits: int | None = None,
    softcap: float | None = None,
    alibi: Any = None,
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
    dtype: Any = dtypes.DEFAULT,
    device: str | None = None,
    sram: int | None = None,
    **extra: Any,
) -> tuple[HBM, SRAM]:
    """Go through a run without any data and tell a tape of each step; `extra` are other options of `count`.

    Raises ValueError as `count` does.
    """
    N, M, d = whole("n", n), whole("n_keys", n if n_keys is None else n_keys), whole("d", d)
    H, parts = whole("heads", heads), whole("kv_heads", heads if kv_heads is None else kv_heads)
    given = {"block_q": block_q, "block_k": block_k, "mask": mask, **extra}
    options = arguments.called_with(algorithm, N, M, d, H, head_groups.group_of(H, parts), given)
    return _walk(algorithm, tape, N, M, d, H, parts, options, dtype, device, sram)


def _walk(
    algorithm: str,
    tape: Tape,
    N: int,
    M: int,
    d: int,
    H: int,
    parts: int,
    options: dict[str, Any],
    dtype: Any = dtypes.DEFAULT,
    device: str | None = None,
    sram: int | None = None,
) -> tuple[HBM, SRAM]:
    """The same with options as an algorithm is called with them."""
    by_runs, tiles = bool(options["mask"].by_rule), options.get("block_mask")
    if tiles is not None:
        by_runs = by_runs and tiles.by_rule((N * (H // parts) // options["block_q"], M // options["block_k"]))
    hbm, memory = _machine(algorithm, dtype, device, sram, tape, counting=True, by_runs=by_runs, parts=parts)
    shapes: dict[str, tuple[int, ...]] = {"Q": (H * N, d), "K": (parts * M, d), "V": (parts * M, d), "dO": (H * N, d)}
    if "table" in algorithms.algorithm(algorithm).parameters:
        page = options["block_k"]
        shapes |= {"table": (-(-M // page),)} | dict.fromkeys("KV", (parts * pages.pool(M, page) * page, d))
    if "starts" in algorithms.algorithm(algorithm).parameters:
        shapes |= {name: list_.shape for name, list_ in options["block_mask"].lists().items()}
    _run(algorithm, hbm, memory, _initial(algorithm, hbm, shapes, None, options), options)
    return hbm, memory


def _machine(
    algorithm: str,
    dtype: Any,
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
        capacity = Capacity(total=whole("sram", sram))
    if device is not None:
        gpu = device_of(device)
        capacity = Capacity(gpu.shared_per_block * 1024, gpu.registers_per_sm * 1024)
    if algorithms.algorithm(algorithm).ideal_products:
        capacity = Capacity()
    hbm = HBM(dtypes.storage(dtype), dtypes.computing(dtype), counting, parts)
    return hbm, SRAM(hbm, tape, capacity, by_runs)


# ---- what a run finds


class _Steps:
    """A tape that only counts."""

    def __init__(self) -> None:
        self.total = 0

    def step(self, event: Event, value: np.ndarray | None, times: int) -> None:
        self.total += times


def _check_steps(algorithm: str, N: int, M: int, d: int, heads: Heads, options: dict[str, Any]) -> None:
    """Raises ValueError, before the run begins, where it would have too many steps to be written down."""
    steps = _Steps()
    _walk(algorithm, steps, N, M, d, len(heads.each), heads.kv_heads, options)
    if steps.total > MOST_STEPS:
        raise ValueError(
            f"a run of {N:,} queries and {M:,} keys in such blocks has {steps.total:,} steps, the most is "
            f"{MOST_STEPS:,}: give larger blocks or fewer heads, or count it without any data (`flashsteps count`)"
        )


def _data(
    algorithm: str,
    heads: Heads,
    gradient: Sequence[np.ndarray],
    options: Mapping[str, Any],
    given: Mapping[str, Any],
) -> dict[str, np.ndarray]:
    """What lies in HBM, as rows, before the run: Q, K, V, and what else the algorithm finds there."""
    group, names = heads.group, algorithms.algorithm(algorithm).parameters
    data = {"Q": head_groups.pack([one.q for one in heads.each], group)}
    keys = {name: [getattr(one, name.lower()) for one in heads.each[::group]] for name in "KV"}
    if gradient:
        data["dO"] = head_groups.pack(gradient, group)
    if "table" in names:
        page = options["block_k"]
        data["table"] = pages.table(given.get("table"), given.get("seed"), len(heads.each[0].k), page)
        keys = {name: [pages.scattered(rows, data["table"], page) for rows in keys[name]] for name in keys}
    if "starts" in names:
        data |= options["block_mask"].lists()
    return data | {name: np.concatenate(rows) for name, rows in keys.items()}


def _gradient(algorithm: str, heads: Heads, do: Any) -> list[np.ndarray]:
    """dO, one matrix a head, for a backward pass; of another, none."""
    if "dO" not in algorithms.algorithm(algorithm).parameters:
        return []
    if do is None:
        raise ValueError(f"a backward pass needs do, the gradient of O: give an array of shape {heads.axes.q}")
    return heads.matrices("do", do)


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
    names = algorithms.algorithm(algorithm).tensors(options)
    for name in names:
        if name in ADDRESSES:
            hbm.addresses(name, shapes[name], None if data is None else data[name])
        elif name in shapes:
            hbm.tensor(name, shapes[name], None if data is None else data[name])
    if saved_by := algorithms.algorithm(algorithm).saved_by:
        before = HBM(hbm.storage, hbm.computing, hbm.counting, hbm.parts)
        forward = SRAM(before, _Nobody())
        _run(saved_by, before, forward, _initial(saved_by, before, shapes, data, options), options)
        before.check_lost()
        for name in names:
            if name not in hbm.tensors:
                hbm.tensors[name] = before.tensors[name]
    return [hbm.tensors[name] for name in names]


def _run(
    algorithm: str, hbm: HBM, memory: SRAM, tensors: Sequence[Tensor], options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Run it for each key-value head; what each returns."""
    about = algorithms.algorithm(algorithm)
    taken = {name: option for name, option in options.items() if name in about.parameters}
    memory.times = hbm.parts if hbm.counting else 1  # all heads are alike, so that one is counted for all
    results = []
    # ln 0 = −∞ is right for a query that sees no key; NaN and +∞ are refused where a slot gets them
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        for part in range(1 if hbm.counting else hbm.parts):
            hbm.part = part
            if hbm.parts > 1:
                memory.loops["h"] = part
            found = {tensor.name: tensor.part(part, hbm.parts) for tensor in tensors}
            results.append(about.attend(hbm, memory, **found, **taken))
            memory.finish()
    return results


def _outputs(results: Sequence[dict[str, Any]], heads: Heads) -> dict[str, np.ndarray]:
    """O and LSE, or the gradients, with the axes that q or k was given with."""
    parts = [{"O": one["O"], "LSE": _lse(one)} if "O" in one else one for one in results]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    of_keys, of_queries = (heads.kv_heads, 1), (len(heads.each), heads.group)
    apart = {n: head_groups.unpack(x, *(of_keys if n in OF_KEYS else of_queries)) for n, x in rows.items()}
    return {name: heads.axes.laid_out(x, of_keys=name in OF_KEYS) for name, x in apart.items()}


def _lse(results: dict[str, Any]) -> np.ndarray:
    """LSE (N,) as the run stored it, or m + ln ℓ where it left these instead (arrays, or one array a block)."""
    if "LSE" in results:
        found: np.ndarray = results["LSE"]
        return found
    m, l = (np.asarray(np.concatenate(x) if isinstance(x, list) else x) for x in (results["m"], results["l"]))
    with np.errstate(divide="ignore"):
        lse: np.ndarray = m + np.log(l)
    return lse
