"""A film: which run it shows, when, where, and in which colours. All of it is plain data; `stage` draws it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from .. import theme
from ..inputs.qkv import QKV
from ..machine import dtypes
from ..machine.devices import DEFAULT as DEFAULT_DEVICE
from ..machine.devices import Device
from ..machine.devices import device as device_of
from ..runs.arguments import small_block
from ..runs.record import count, record
from ..story.labels import opening
from ..story.ranges import ranges
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

    Blocks are small unless given. `device` names what the panels show; a toy's SRAM holds `sram` bytes,
    or else the smallest power of two that is enough. Raises ValueError where something makes no sense, or no picture.
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
        spec(name).algorithm, *qkv, block_q=block_q or small_block(N), block_k=block_k or small_block(M), mask=mask,
        dtype=dtype, tokens=qkv.tokens, sram=sram, source=qkv.source,
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
