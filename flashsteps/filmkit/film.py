"""A film: which run it shows, when, where, and in which colours. All of it is plain data; `stage` draws it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from .. import theme
from ..inputs.qkv import QKV
from ..machine import dtypes
from ..machine.devices import DEFAULT as DEFAULT_DEVICE
from ..machine.devices import Device
from ..machine.devices import device as device_of
from ..runs.record import count, record
from ..trace.trace import IO, NO_VALUES, Trace
from . import coda
from .films import Spec, spec
from .layout import Layout, canvas_of, layout
from .timeline import Timeline, timeline

#: how many queries and keys, and how wide, a picture has room for
MOST_ROWS, MOST_COLUMNS = 64, 64

DEFAULT_DURATION = 24.0

#: programs that are drawn at once
LANES = {"wide": 4, "square": 2, "tall": 4}


@dataclass(frozen=True)
class Film:
    """A film that is ready to be drawn."""

    name: str
    spec: Spec
    trace: Trace
    standard: IO
    timeline: Timeline
    layout: Layout
    theme: theme.Theme
    device: Device
    sram: int
    lanes: int
    ranges: Mapping[str, tuple[float, float]]
    coda: tuple[coda.Step, ...]


def film(
    name: str,
    qkv: QKV,
    *,
    width: int,
    height: int,
    block_q: int | None = None,
    block_k: int | None = None,
    mask: str | None = None,
    dtype: str = dtypes.DEFAULT,
    device: str = DEFAULT_DEVICE,
    sram: int | None = None,
    theme_name: str = theme.DEFAULT,
    duration: float = DEFAULT_DURATION,
    code: bool = False,
) -> Film:
    """Run a film's algorithm on q, k, v and lay everything out.

    Blocks are max(2, ⌈N/4⌉) unless given. `device` names what the panels show; a toy's SRAM holds `sram` bytes, or else
    the smallest power of two that is enough. Raises ValueError where something makes no sense, or no picture.
    """
    trace = run_of(name, qkv, block_q=block_q, block_k=block_k, mask=mask, dtype=dtype, sram=sram)
    return film_of(
        name, trace, width=width, height=height, device=device, theme_name=theme_name, duration=duration, code=code
    )


def run_of(
    name: str,
    qkv: QKV,
    *,
    block_q: int | None = None,
    block_k: int | None = None,
    mask: str | None = None,
    dtype: str = dtypes.DEFAULT,
    sram: int | None = None,
) -> Trace:
    """The run that a film of q, k, v shows. Raises ValueError where something makes no sense, or is too large."""
    N, M, d = qkv.q.shape[0], qkv.k.shape[0], qkv.q.shape[1]
    _check_room(N, M, d)
    return record(
        spec(name).algorithm, *qkv, block_q=block_q or block(N), block_k=block_k or block(M), mask=mask, dtype=dtype,
        tokens=qkv.tokens, sram=sram, source=qkv.source,
    )  # fmt: skip


def film_of(
    name: str,
    trace: Trace,
    *,
    width: int,
    height: int,
    device: str = DEFAULT_DEVICE,
    theme_name: str = theme.DEFAULT,
    duration: float = DEFAULT_DURATION,
    code: bool = False,
) -> Film:
    """The film of a trace that is there already: of the reference, from a file, or recorded from a kernel.

    Raises ValueError where the trace is of another algorithm than the film, of several heads, without values, or too
    large to draw.
    """
    about, meta = spec(name), trace.meta
    if meta["algorithm"] != about.algorithm:
        raise ValueError(f"the film {name!r} shows {about.algorithm}, and this is a trace of {meta['algorithm']}")
    if meta.get("heads", 1) > 1:
        raise ValueError(f"this trace is of {meta['heads']} heads, and a film shows one: record one head")
    if len(trace.values) != len(trace):
        raise ValueError(NO_VALUES)
    N, M, d, sram = meta["queries"], meta["keys"], meta["d"], meta["sram"]
    _check_room(N, M, d)
    standard = count(
        "standard-forward",
        n=N,
        n_keys=M,
        d=d,
        block_q=meta["block_q"],
        block_k=meta["block_k"],
        dtype=meta["dtype"],
    )  # whatever the mask, which saves it nothing
    kind, lanes = about.kind, 1
    if kind == "lanes":
        if not code:  # which is followed one program at a time
            lanes = min(LANES[canvas_of(width, height)], ceil(N / trace.meta["block_q"]))
        kind = "tile" if lanes == 1 else "lanes"
    placed = layout(trace, width=width, height=height, kind=kind, lanes=lanes, code=code)
    repeats = {**about.repeats, **(about.alone if lanes == 1 else {})}
    when = timeline(trace, duration=duration, lanes=lanes, repeats=repeats, opening=opening(trace))
    room = sram or 1 << (trace.peak.total - 1).bit_length()
    close = coda.memory(trace) if kind == "kernels" else coda.traffic(trace)
    gpu = device_of(device)
    return Film(
        name,
        about,
        trace,
        standard,
        when,
        placed,
        theme.theme(theme_name),
        gpu,
        room,
        lanes,
        ranges(trace),
        tuple(close),
    )


def _check_room(N: int, M: int, d: int) -> None:
    """Raises ValueError where a picture has no room for so much."""
    for what, given, most in (("queries", N, MOST_ROWS), ("keys", M, MOST_ROWS), ("columns (d)", d, MOST_COLUMNS)):
        if given > most:
            raise ValueError(
                f"{given} {what} are too many to draw, {most} is the most: cut the input, or use `flashsteps record`"
            )


def opening(trace: Trace) -> str:
    """Whose queries, keys and values these are, in a sentence."""
    meta = trace.meta
    source = meta["input"] or {}
    N, M, d = meta["queries"], meta["keys"], meta["d"]
    size = f"{_some(N, 'token')}, d = {d}." if N == M else f"{_some(N, 'query')}, {_some(M, 'key')}, d = {d}."
    match source.get("kind"):
        case "sample" if source.keys() >= {"model", "layer", "head"}:
            model = str(source["model"]).rsplit("/", 1)[-1]
            return f"A head of a real model: {model}, layer {source['layer']}, head {source['head']}. {size}"
        case "random":
            return f"Queries, keys and values at random: {size}"
        case "file" if "file" in source:
            words = f"Queries, keys and values from {source['file']}: {size}"
            return words if len(words) <= 90 else f"Queries, keys and values from a file: {size}"
    return f"One attention head: {size}"


def _some(count: int, what: str) -> str:
    """`1 token`, `16 tokens`, `5 queries`."""
    many = {"query": "queries"}.get(what, f"{what}s")
    return f"{count} {what if count == 1 else many}"


def block(rows: int) -> int:
    """The block size that a film chooses for so many queries or keys."""
    return min(rows, max(2, ceil(rows / 4)))


def ranges(trace: Trace) -> dict[str, tuple[float, float]]:
    """The lowest and highest finite value of each tensor and slot in the run: colours mean the same throughout."""
    found: dict[str, tuple[float, float]] = {}

    def widen(name: str, values: Any) -> None:
        finite = values[np.isfinite(values)]
        if finite.size:
            low, high = float(finite.min()), float(finite.max())
            was = found.get(name, (low, high))
            found[name] = min(low, was[0]), max(high, was[1])

    for tensor, data in trace.initial.items():
        widen(tensor, data)
    for event, value in zip(trace.events, trace.values, strict=False):  # there are none where a run was too large
        if value is not None:
            widen(event.tile.tensor if event.tile else event.slot, value)
    for slot in {event.slot for event in trace if event.op == "load" and event.tile}:
        tensors = {event.tile.tensor for event in trace if event.op == "load" and event.slot == slot and event.tile}
        for tensor in tensors & set(found):
            low, high = found[tensor]
            was = found.get(slot, (low, high))
            found[slot] = min(low, was[0]), max(high, was[1])
    for name in ("P",):
        if name in found:
            found[name] = 0.0, found[name][1]
    return found
