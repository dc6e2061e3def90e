"""Running an algorithm: `record` writes each step down, `count` only adds up what would move."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any, Literal, NamedTuple

import numpy as np

from .. import algorithms
from ..inputs.qkv import QKV, Head, check_qkv
from ..machine import dtypes, mask_arrays, pages
from ..machine import heads as head_groups
from ..machine.devices import device as device_of
from ..machine.events import IO, Event
from ..machine.mask_arrays import Bias, Of
from ..machine.memory import ADDRESSES, HBM, SRAM, Capacity, Tape, Tensor
from ..trace import rules
from ..trace.rules import Tally
from ..trace.trace import Trace
from . import arguments
from .arguments import positive

#: a run has at most so many steps: each is an object of its own
MOST_STEPS = 1 << 22

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
    n_keys: int | None = None,
    softcap: float | None = None,
    bias: Any = None,
    sinks: Any = None,
    alibi: Any = None,
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

    Arrays may be NumPy's or torch's; v may have another width, d_v. Of q (heads, N, d), k and v (kv_heads, M, …) all
    heads are run, one key-value head after another: the heads that share one are packed as rows, so that each of its
    tiles serves them all. `head` picks one of them, or of arrays with more dimensions, and what belongs to it of masks,
    biases and sinks. Values are stored as `dtype`, computed and summed in float32 (float64 for float64).

    `mask` is None, a name such as "causal" or "window:8,0" (`machine.masks`; names joined by + must all allow a key),
    or an array (`machine.mask_arrays`): Boolean, True where a query sees a key, or Hugging Face's 0 and 1, or additive,
    0 and −∞; (N, M), keys (M,), or with heads and sequences in front. "causal" is aligned to the bottom right as in
    flash-attn ≥ 2.1, "causal-top-left" as torch's is_causal=True. Scores are scaled by `scale` (1/√d unless given) and
    made cap·tanh(s/cap) by `softcap`; then a `bias` is added, an array of such shapes, which comes in from HBM tile by
    tile (a float mask with other numbers is one, too; −∞ hides a key; the lowest number of any type becomes that of
    `dtype`); and they are lowered by `alibi` (a slope, or one a head) times the distance of query and key. `sinks`, a
    logit a head, join the sum of each row's exponentials and have no value. `dropout` is the probability with which a
    weight is dropped, which follows from `seed` and its place.

    A backward pass takes `do`, the gradient of O, of O's shape; what its forward pass saved is made beforehand, and is
    no part of the trace. It gives the gradients of q, k and v, and none of a bias or of sinks (those are −Σ e^(sink −
    LSE)·D over a head's rows). `block_mask` (`machine.block_masks`, or a Boolean array, query blocks × key blocks) is
    for block-sparse runs; `splits`, into how many pieces keys are shared out, for split-kv-decode; `table`, the page of
    each block of keys, or a `seed` to draw it with, for paged-decode, whose k and v may be a pool of one's own: (pages,
    page, d), or (pages, page, kv_heads, d), of which the table's pages hold `n_keys` keys (all, unless given).

    With `device` (a preset's name) or `sram` (bytes of a toy's) the run has to fit on chip. `source` says where the
    input is from, and is kept in the trace. `each`, given HBM and copies of its tensors, gives a function that is told
    of each step as it happens.

    Raises ValueError where an argument makes no sense, where an algorithm does not take it, where a step doesn't fit,
    and where a number gets too large.
    """
    pool = _pool(algorithm, q, k, v, table, n_keys)
    if pool is not None:
        k, v, table = pool.k, pool.v, pool.table
        if block_k not in (None, pool.page):
            raise ValueError(f"block_k is {block_k}, and the pool has pages of {pool.page}: leave it out")
        block_k = pool.page
    given = {"do": do, "block_q": block_q, "block_k": block_k, "mask": mask, "scale": scale, "block_mask": block_mask}
    given |= {"splits": splits, "table": table, "softcap": softcap, "alibi": alibi, "dropout": dropout, "seed": seed}
    given |= {"bias": bias, "sinks": sinks}
    picked = _heads(algorithm, q, k, head)
    qkv = [check_qkv(q, k, v, tokens=tokens, head=one) for one in picked.each]
    (N, d), (M, d_v) = qkv[0].q.shape, qkv[0].v.shape
    of = _of(q, qkv[0], picked)
    options = arguments.called_with(algorithm, N, M, d, picked.heads, picked.group, given, of)
    if pool is not None:
        options["pool"], options["block_k"] = pool.pages, pool.page
    tiles = -(-N * picked.group // options["block_q"]) * -(-M // options["block_k"]) * picked.kv_heads
    if tiles > MOST_STEPS >> 6:  # a tile has fewer steps than 64
        _check_steps(algorithm, of, d, d_v, picked, given)
    data = _data(algorithm, qkv, picked, options, given)
    shapes = {name: array.shape for name, array in data.items()}
    recorder = Recorder()
    hbm, memory = _machine(algorithm, dtype, device, sram, recorder, parts=picked.kv_heads)
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
        **({"d_v": d_v} if d_v != d else {}),
        **arguments.said(options, picked.group),
        **({"heads": picked.heads, "kv_heads": picked.kv_heads} if picked.heads > 1 else {}),
        "dtype": dtype,
        "computing": hbm.computing.name,
        "device": device,
        "sram": None if sram is None else int(sram),
        "tokens": None if qkv[0].tokens is None else list(qkv[0].tokens),
        "input": (qkv[0].source if picked.heads == 1 else {"kind": "arrays"}) if source is None else source,
        "code": algorithms.source(algorithm),
    }
    outputs = _outputs(results, picked)
    return Trace(meta, tuple(recorder.events), initial | unwritten, tuple(recorder.values or ()), outputs, memory.peak)


def count(
    algorithm: str,
    *,
    n: int,
    d: int,
    d_v: int | None = None,
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
    bias: Any = None,
    sinks: Any = None,
    alibi: Any = None,
    dropout: float | None = None,
    device: str | None = None,
    sram: int | None = None,
    rule: str = rules.DEFAULT,
) -> IO:
    """What `record(…).io(rule)` would be for n queries and n_keys keys (n unless given) of size d, without any data.

    Where decoding is told n alone, one query looks at n keys. With `heads` and `kv_heads` (heads unless given), for all
    heads together; those of a group share each tile of K and V. `d_v` is the size of a value (d unless given). A `bias`
    comes in that is "shared" by all heads or that "heads" have each their own, and `sinks` if that is True; either may
    be an array, as `record` takes it.

    A mask that is a matrix is counted tile by tile, all others by arithmetic. Raises ValueError as `record` and
    `Trace.io` do.
    """
    tally = Tally(rules.rule(rule, algorithm))
    sizes: dict[str, Any] = {"n": n, "d": d, "d_v": d_v, "n_keys": n_keys, "heads": heads, "kv_heads": kv_heads}
    options: dict[str, Any] = {
        "block_q": block_q,
        "block_k": block_k,
        "mask": mask,
        "dtype": dtype,
        "device": device,
        "sram": sram,
    }
    extra = {"block_mask": block_mask, "splits": splits, "softcap": softcap, "alibi": alibi, "dropout": dropout}
    extra |= {"bias": bias, "sinks": sinks}
    hbm, memory = walk(algorithm, tally, **sizes, **options, **extra)
    return tally.io(hbm.tensors, memory.peak)


def walk(
    algorithm: str,
    tape: Tape,
    *,
    n: int,
    d: int,
    d_v: int | None = None,
    n_keys: int | None = None,
    heads: int = 1,
    kv_heads: int | None = None,
    block_q: int | None = None,
    block_k: int | None = None,
    mask: Any = None,
    dtype: str = dtypes.DEFAULT,
    device: str | None = None,
    sram: int | None = None,
    of: Of | None = None,
    **extra: Any,
) -> tuple[HBM, SRAM]:
    """Go through a run without any data and tell a tape of each step; `extra` are other options of `count`.

    `of` says which heads arrays are about, if not all.

    Raises ValueError as `count` does.
    """
    alone = n_keys is None and algorithms.algorithm(algorithm).decodes  # n keys, and one query that looks at them
    N, M, d = positive("n", n), positive("n_keys", n if n_keys is None else n_keys), positive("d", d)
    N = 1 if alone else N
    d_v = positive("d_v", d if d_v is None else d_v)
    H, parts = positive("heads", heads), positive("kv_heads", heads if kv_heads is None else kv_heads)
    group = head_groups.group_of(H, parts)
    given = {"block_q": block_q, "block_k": block_k, "mask": mask, **extra}
    options = arguments.called_with(algorithm, N, M, d, H, group, given, of)
    by_runs, tiles = bool(options["mask"].by_rule), options.get("block_mask")
    if tiles is not None:
        by_runs = by_runs and tiles.by_rule((N * group // options["block_q"], M // options["block_k"]))
    hbm, memory = _machine(algorithm, dtype, device, sram, tape, counting=True, by_runs=by_runs, parts=parts)
    shapes: dict[str, tuple[int, ...]] = {"Q": (H * N, d), "dO": (H * N, d_v), "sinks": (H,)}
    rows = M
    if "bias" in options:
        shapes["bias"] = (H * N if options["bias"].by_head else N, M)
    if "table" in algorithms.algorithm(algorithm).parameters:
        page = options["block_k"]
        shapes["table"], rows = (-(-M // page),), pages.pool(M, page) * page
    shapes |= {"K": (parts * rows, d), "V": (parts * rows, d_v)}
    if "starts" in algorithms.algorithm(algorithm).parameters:
        shapes |= {name: list_.shape for name, list_ in options["block_mask"].lists().items()}
    _run(algorithm, hbm, memory, _initial(algorithm, hbm, shapes, None, options), options)
    return hbm, memory


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
    if algorithms.algorithm(algorithm).ideal_products:
        capacity = Capacity()
    hbm = HBM(dtypes.storage(dtype), dtypes.computing(dtype), counting, parts)
    return hbm, SRAM(hbm, tape, capacity, by_runs)


# ---- what a run finds


class Picked(NamedTuple):
    """The heads that are run: how many, how many key-value heads they have, and each as `check_qkv` takes it."""

    heads: int
    kv_heads: int
    each: Sequence[Head]

    @property
    def group(self) -> int:
        """How many heads share one key-value head."""
        return self.heads // self.kv_heads


def _heads(algorithm: str, q: Any, k: Any, head: Head) -> Picked:
    """All heads of q (heads, N, d) and k (kv_heads, M, d), or else the one that `check_qkv` finds."""
    shapes = [tuple(getattr(array, "shape", ())) or np.shape(array) for array in (q, k)]
    if head is not None or [len(shape) for shape in shapes] != [3, 3] or shapes[0][0] < 2 or shapes[1][0] < 1:
        return Picked(1, 1, [head])
    if shapes[0][0] % shapes[1][0]:
        raise ValueError(f"q has shape {shapes[0]} and k {shapes[1]}: the heads of q must be a multiple of those of k")
    return Picked(shapes[0][0], shapes[1][0], range(shapes[0][0]))


def _pool(algorithm: str, q: Any, k: Any, v: Any, table: Any, n_keys: int | None) -> pages.Pool | None:
    """A pool of one's own, where k and v are one: they have an axis more than q. None where they are not."""
    if arguments.takes(algorithm, "table") and np.ndim(k) == np.ndim(v) == np.ndim(q) + 1 and np.ndim(q) in (2, 3):
        return pages.own(k, v, table, n_keys if n_keys is None else positive("n_keys", n_keys))
    if n_keys is not None:
        raise ValueError(f"n_keys={n_keys} is for a pool of pages: leave it out, or give mask='keys:{n_keys}'")
    return None


def _of(q: Any, first: QKV, picked: Picked) -> Of:
    """Whose an array is that comes beside q (…, heads, N, d): that of the head that is run, or of all."""
    *lead, N, _ = tuple(getattr(q, "shape", ())) or np.shape(q)
    at: Any = first.source.get("head", [])
    head = None if picked.heads > 1 else int(np.ravel_multi_index(at, lead)) if at else 0
    heads, batch = (lead[-1], prod(lead[:-1])) if lead else (1, 1)
    return Of(N, len(first.k), heads, batch, head)


class _Steps:
    """A tape that only counts."""

    def __init__(self) -> None:
        self.total = 0

    def step(self, event: Event, value: np.ndarray | None, times: int) -> None:
        self.total += times


def _check_steps(algorithm: str, of: Of, d: int, d_v: int, picked: Picked, given: Mapping[str, Any]) -> None:
    """Raises ValueError, before the run begins, where it would have too many steps to be written down."""
    N, M = of.n_queries, of.n_keys
    steps, here = _Steps(), {name: x for name, x in given.items() if name not in ("do", "table", "seed", "scale")}
    walk(algorithm, steps, n=N, d=d, d_v=d_v, n_keys=M, heads=picked.heads, kv_heads=picked.kv_heads, of=of, **here)
    if steps.total > MOST_STEPS:
        raise ValueError(
            f"a run of {N:,} queries and {M:,} keys in such blocks has {steps.total:,} steps, the most is "
            f"{MOST_STEPS:,}: give larger blocks or fewer heads, or count it without any data (`flashsteps count`)"
        )


def _data(
    algorithm: str, qkv: Sequence[QKV], picked: Picked, options: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """What lies in HBM, as rows, before the run: Q, K, V, and what else the algorithm finds there."""
    group, names = picked.group, algorithms.algorithm(algorithm).parameters
    data = {"Q": head_groups.pack([one.q for one in qkv], group)}
    keys = {name: [getattr(one, name.lower()) for one in qkv[::group]] for name in "KV"}
    if "dO" in names:
        data["dO"] = head_groups.pack(_gradient(given["do"], picked, (len(qkv[0].q), qkv[0].v.shape[1])), group)
    if "table" in names:
        page = options["block_k"]
        there = options.get("pool")
        data["table"] = pages.table(given["table"], given["seed"], len(qkv[0].k), page, there)
        keys = {name: [pages.scattered(rows, data["table"], page, there) for rows in keys[name]] for name in keys}
    if "starts" in names:
        data |= options["block_mask"].lists()
    if "bias" in options:
        data["bias"] = _bias(options["bias"], group)
    if "sinks" in options:
        if (sinks := options["sinks"].values) is None:
            raise ValueError("sinks are given by name, to count with: give a number a head")
        data["sinks"] = sinks
    return data | {name: np.concatenate(rows) for name, rows in keys.items()}


def _bias(bias: Bias, group: int) -> np.ndarray:
    """A bias as rows: those of all heads, packed as their queries, or those of one, for all."""
    if bias.values is None:
        raise ValueError(f"bias is given by name, to count with: give an array, or {'file:PATH'}")
    return head_groups.pack(list(bias.values), group) if bias.by_head else bias.values


def _gradient(do: Any, picked: Picked, shape: tuple[int, ...]) -> list[np.ndarray]:
    """dO, one matrix of this shape a head."""
    whole = shape if picked.heads == 1 else (picked.heads, *shape)
    if do is None:
        raise ValueError(f"a backward pass needs do, the gradient of O: give an array of shape {whole}")
    if picked.heads > 1 and np.shape(do) != whole:
        raise ValueError(f"do has shape {np.shape(do)}: give the gradient of O, of shape {whole}")
    try:
        found = [check_qkv(do, do, do, head=head).q for head in picked.each]
    except ValueError as error:
        raise ValueError(re.sub(r"^q\b", "do", str(error))) from None
    if found[0].shape != shape:
        raise ValueError(f"do has shape {found[0].shape}: give the gradient of O, of shape {shape}")
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
    names = algorithms.algorithm(algorithm).tensors(options)
    for name in names:
        if name in ADDRESSES:
            hbm.addresses(name, shapes[name], None if data is None else data[name])
        elif name in shapes:
            found = None if data is None else data[name]
            found = mask_arrays.in_type(found, hbm.storage) if name == "bias" and found is not None else found
            hbm.tensor(name, shapes[name], found, _per(name, shapes), options["mask"].group)
    if saved_by := algorithms.algorithm(algorithm).saved_by:
        before = HBM(hbm.storage, hbm.computing, hbm.counting, hbm.parts)
        forward = SRAM(before, _Nobody())
        _run(saved_by, before, forward, _initial(saved_by, before, shapes, data, options), options)
        for name in names:
            if name not in hbm.tensors:
                hbm.tensors[name] = before.tensors[name]
    return [hbm.tensors[name] for name in names]


def _per(name: str, shapes: Mapping[str, tuple[int, ...]]) -> Literal["row", "token", "head"]:
    """What a tensor has its rows for: a bias that all heads share for tokens, sinks for heads, all others for rows."""
    if name == "bias" and shapes[name][0] < shapes["Q"][0]:
        return "token"
    return "head" if name == "sinks" else "row"


def _run(
    algorithm: str, hbm: HBM, memory: SRAM, tensors: Sequence[Tensor], options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Run it for each key-value head; what each returns."""
    about = algorithms.algorithm(algorithm)
    taken = {name: option for name, option in options.items() if name in about.options}
    alike = hbm.counting and not options["mask"].by_head  # so that one key-value head is counted for all
    memory.times = hbm.parts if alike else 1
    results = []
    # ln 0 = −∞ is right for a query that sees no key; NaN and +∞ are refused where a slot gets them
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        for part in range(1 if alike else hbm.parts):
            hbm.part = part
            taken["mask"] = replace(options["mask"], part=part)
            if hbm.parts > 1:
                memory.loops["h"] = part
            found = {tensor.name: tensor.part(part, hbm.parts) for tensor in tensors}
            results.append(about.attend(hbm, memory, **found, **taken))
            memory.finish()
    return results


def _outputs(results: Sequence[dict[str, Any]], picked: Picked) -> dict[str, np.ndarray]:
    """O and LSE, or the gradients, of one head (N, …) or of all (heads, N, …)."""
    parts = [{"O": one["O"], "LSE": _lse(one)} if "O" in one else one for one in results]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if picked.heads == 1:
        return rows
    of_keys = {"dK": (picked.kv_heads, 1), "dV": (picked.kv_heads, 1)}
    return {name: head_groups.unpack(x, *of_keys.get(name, (picked.heads, picked.group))) for name, x in rows.items()}


def _lse(results: dict[str, Any]) -> np.ndarray:
    """LSE (N,) as the run stored it, or m + ln ℓ where it left these instead (arrays, or one array a block)."""
    if "LSE" in results:
        found: np.ndarray = results["LSE"]
        return found
    m, l = (np.asarray(np.concatenate(x) if isinstance(x, list) else x) for x in (results["m"], results["l"]))
    with np.errstate(divide="ignore"):
        lse: np.ndarray = m + np.log(l)
    return lse
