"""Running an algorithm on a head or several, with each step written down."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import algorithms
from ..inputs import types
from ..inputs.layouts import Head
from ..inputs.qkv import Heads, check_heads
from ..machine import heads as head_groups
from ..machine import pages
from ..machine.events import Event
from ..machine.mask_arrays import Bias
from ..machine.memory import HBM
from ..scalars import whole
from ..trace.trace import Trace
from . import arguments, counting, running

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
    n_keys: int | None = None,
    softcap: float | None = None,
    bias: Any = None,
    sinks: Any = None,
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

    Arrays may be NumPy's or torch's; v may have another width, d_v. Of q (heads, N, d), k and v (kv_heads, M, …) all
    heads are run, one key-value head after another: the heads that share one are packed as rows, so that each of its
    tiles serves them all. `head` picks one of them, or of arrays with more dimensions, and with it what belongs to it
    of masks, biases, sinks, slopes of `alibi`, what `dropout` drops, and `do`. `layout` says how axes lie where heads
    are not before tokens: "shd", "bshd" (`inputs.layouts`). Outputs have the axes of q, or of k, as given; LSE is
    (heads, N). Values are stored as `dtype`, which is the arrays' own unless given (of several, the one that holds all;
    whole numbers are stored as float32), and computed and summed in float32 (float64 for float64).

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
    where a number gets too large, and where rounding to `dtype` would lose too much (`machine.memory.MOST_LOST`).
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
    heads = check_heads(q, k, v, tokens, head, layout)
    how: dict[str, Any] = {"dtype": dtype, "device": device, "sram": sram, "source": source, "each": each}
    return record_heads(algorithm, heads, pool=pool, **how, **given)


def record_heads(
    algorithm: str,
    heads: Heads,
    *,
    pool: pages.Pool | None = None,
    dtype: Any = None,
    device: str | None = None,
    sram: int | None = None,
    source: dict[str, Any] | None = None,
    each: Callable[[HBM, dict[str, np.ndarray]], Each] | None = None,
    **given: Any,
) -> Trace:
    """The same for heads that were read and checked already; `given` are the other options of `record`."""
    first = heads.each[0]
    (N, d), (M, d_v) = first.q.shape, first.v.shape
    options = arguments.called_with(algorithm, N, M, d, len(heads.each), heads.group, given, heads.axes)
    if pool is not None:
        options["pool"], options["block_k"] = pool.pages, pool.page
    tiles = -(-N * heads.group // options["block_q"]) * -(-M // options["block_k"]) * heads.kv_heads
    if tiles > MOST_STEPS >> 6:  # a tile has fewer steps than 64
        _check_steps(algorithm, heads, options)
    gradient = _gradient(algorithm, heads, given.get("do"))
    if dtype is None:
        dtype = types.common([heads.kept, *(types.name_of(x.dtype) for x in gradient)])
    data = _data(algorithm, heads, gradient, options, given)
    shapes = {name: array.shape for name, array in data.items()}
    recorder = Recorder()
    hbm, memory = running.machine(algorithm, dtype, device, sram, recorder, parts=heads.kv_heads)
    try:
        tensors = running.initial(algorithm, hbm, shapes, data, options)
    except ValueError as error:
        raise ValueError(_naming(str(error), first.source, options)) from error
    initial = {tensor.name: np.array(tensor.data) for tensor in tensors}
    recorder.each = each(hbm, dict(initial)) if each else None
    results = running.run(algorithm, hbm, memory, tensors, options)
    hbm.check_lost()
    unwritten = {name: np.full(t.shape, np.nan, t.dtype) for name, t in hbm.tensors.items() if name not in initial}
    meta = {
        "algorithm": algorithm,
        "queries": N,
        "keys": M,
        "d": d,
        **({"d_v": d_v} if d_v != d else {}),
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


# ---- what a run finds


def _pool(algorithm: str, q: Any, k: Any, v: Any, table: Any, n_keys: int | None) -> pages.Pool | None:
    """A pool of one's own, where k and v are one: they have an axis more than q. None where they are not."""
    if arguments.takes(algorithm, "table") and np.ndim(k) == np.ndim(v) == np.ndim(q) + 1 and np.ndim(q) in (2, 3):
        return pages.own(k, v, table, n_keys if n_keys is None else whole("n_keys", n_keys))
    if n_keys is not None:
        raise ValueError(f"n_keys={n_keys} is for a pool of pages: leave it out, or give mask='keys:{n_keys}'")
    return None


class _Steps:
    """A tape that only counts."""

    def __init__(self) -> None:
        self.total = 0

    def step(self, event: Event, value: np.ndarray | None, times: int) -> None:
        self.total += times


def _check_steps(algorithm: str, heads: Heads, options: dict[str, Any]) -> None:
    """Raises ValueError, before the run begins, where it would have too many steps to be written down."""
    (N, d), (M, d_v) = heads.each[0].q.shape, heads.each[0].v.shape
    steps = _Steps()
    counting.walked(algorithm, steps, (N, M, d, d_v), len(heads.each), heads.kv_heads, options)
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
        there = options.get("pool")
        data["table"] = pages.table(given.get("table"), given.get("seed"), len(heads.each[0].k), page, there)
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


def _gradient(algorithm: str, heads: Heads, do: Any) -> list[np.ndarray]:
    """dO, one matrix a head, for a backward pass; of another, none."""
    if "dO" not in algorithms.algorithm(algorithm).parameters:
        return []
    if do is None:
        raise ValueError(f"a backward pass needs do, the gradient of O: give an array of shape {heads.of_o}")
    return heads.matrices("do", do)


def _naming(message: str, source: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """What is wrong with a tensor, with the file that it came from, if it did."""
    files = dict.fromkeys(("Q", "K", "V"), source.get("file"))
    if "bias" in options and options["bias"].name.startswith("file:"):
        files["bias"] = options["bias"].name[5:]
    tensor = re.match(r"\w*", message)
    file = files.get(tensor[0]) if tensor else None
    return f"{file!r}: {message}" if file else message


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
