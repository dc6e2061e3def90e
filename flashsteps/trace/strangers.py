"""What a trace must be for a replay to work: checked before one is saved, and after a file is read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..inputs.qkv import UNPRINTABLE
from ..machine import dtypes, masks, pages
from ..machine.arrays import Work
from ..machine.devices import DEVICES
from ..machine.events import Event, Peak, Tile
from ..machine.memory import ADDRESSES
from . import narration
from .trace import Trace

Shapes = dict[str, tuple[int, ...]]

#: characters in the name of a slot, a tensor or a loop
MOST_NAME = 64


#: how deep JSON data in a meta may be nested, and how many rules its mask may have
MOST_DEEP, MOST_RULES = 16, 64


def check_trace(trace: Trace) -> None:
    """Raises ValueError, one line, if something in the trace is missing, of the wrong kind, or fails in a replay."""
    check_meta(trace.meta)
    check_tensors(trace.meta, trace.initial, trace.outputs, trace.peak)
    for _ in checked(trace.meta, trace.initial, trace.events):
        pass
    check_values(trace)


def checked(meta: dict[str, Any], initial: Mapping[str, np.ndarray], events: Iterable[Event]) -> Iterator[Event]:
    """The events one by one, so that the first that is wrong is the last that is looked at.

    Raises ValueError, one line, at one that fails in a replay. The meta and the tensors have been checked.
    """
    tensors = {name: (data.shape, data.dtype.itemsize) for name, data in initial.items()}
    lines = meta["code"].count("\n") + 1
    program, slots, names, works = 0, Shapes(), {""}, set[Work]()
    around: Mapping[str, int] = {}
    for step, event in enumerate(events):
        number, op, now, loop, slot, _, _, _, work, line, _ = event  # at once: there may be a million
        if now != program:
            slots = Shapes()
        if number != step or now < program or not 1 <= line <= lines:
            raise ValueError(f"step {step} is out of order, or of a line that the code does not have")
        program = now
        if loop is not around or slot not in names:  # what was looked at before is not looked at again
            around = loop
            for name in {*loop, slot} - names:
                if not name.isidentifier() or len(name) > MOST_NAME:
                    raise ValueError(f"step {step} has a loop or a slot called {name!r:.40}, which is no name")
                names.add(name)
            if (loop and min(loop.values()) < 0) or "" in loop:
                raise ValueError(f"step {step}, a {op}, has an impossible loop")
        if work not in works:
            if min(work) < 0:
                raise ValueError(f"step {step}, a {op}, has impossible work")
            works.add(work)
        if wrong := _wrong(event, tensors, slots):
            raise ValueError(f"step {step}, a {event.op}, {wrong}")
        yield event


def check_values(trace: Trace) -> None:
    """Raises ValueError, one line, if values are missing, or are not of the shape and type that their events say."""
    if len(trace.values) not in (0, len(trace.events)):
        raise ValueError(f"it has {len(trace.values)} values for {len(trace.events)} steps")
    kinds = {name: data.dtype for name, data in trace.initial.items()}
    computing = dtypes.computing(trace.meta["dtype"])
    for event, value in zip(trace.events, trace.values, strict=False):
        made = kinds[event.tile.tensor] if event.tile else computing
        if (value is not None) != (event.op in ("compute", "store")):
            wrong = "has a value that it should not have, or lacks one"
        elif value is not None and (value.shape != event.shape or value.dtype != made):
            wrong = f"has a value of {value.dtype} {value.shape}, not {made} {event.shape}"
        else:
            continue
        raise ValueError(f"step {event.step}, a {event.op}, {wrong}")


def check_meta(meta: Any) -> None:
    """Raises ValueError, one line, if anything that `record` puts into a meta is missing or of another kind."""

    def whole(given: object) -> bool:
        return type(given) is int and given > 0

    def text(given: object) -> bool:
        return isinstance(given, str)

    if not isinstance(meta, dict):
        raise ValueError("its meta is not plain JSON data")
    _check_plain(meta)
    if json.loads(json.dumps(meta, allow_nan=False)) != meta:
        raise ValueError("its meta is not plain JSON data")
    kinds: dict[str, Callable[[Any], bool]] = {
        **dict.fromkeys(("queries", "keys", "d", "block_q", "block_k"), whole),
        **dict.fromkeys(("algorithm", "code", "dtype", "computing"), text),
        "mask": lambda given: given is None or text(given),
        "scale": lambda given: type(given) is float and math.isfinite(given),
        "device": lambda given: given is None or (text(given) and given in DEVICES),
        "sram": lambda given: given is None or whole(given),
        "tokens": lambda given: given is None or (isinstance(given, list) and all(map(text, given))),
        "input": lambda given: given is None or isinstance(given, dict),
    }
    for name, fits in kinds.items():
        if name not in meta or not fits(meta[name]):
            raise ValueError(f"its {name} is {meta.get(name)!r:.40}")
    for name in ("d_v", "pool"):
        if not whole(meta.get(name, 1)):
            raise ValueError(f"its {name} is {meta[name]!r:.40}")
    if len(meta["code"]) > narration.MOST_CODE:
        raise ValueError(f"its code has {len(meta['code']):,} characters, the limit is {narration.MOST_CODE:,}")
    slots = meta.get("slots", {})  # of a kernel's variables
    if not isinstance(slots, dict) or not all(map(text, slots.values())) or not text(meta.get("kernel", "")):
        raise ValueError("its kernel or the slots of its variables make no sense")
    if meta["computing"] != dtypes.computing(meta["dtype"]).name:
        raise ValueError(f"it computes {meta['dtype']} in {meta['computing']}")
    if (meta["mask"] or "").count("+") > MOST_RULES or not masks.is_name(meta["mask"], meta["queries"], meta["keys"]):
        raise ValueError(f"its mask is {meta['mask']!r:.40}")
    if meta["block_q"] > meta["queries"] or (meta["block_k"] > meta["keys"] and "pool" not in meta):
        raise ValueError("its blocks are larger than its matrices")
    if meta["tokens"] is not None and len(meta["tokens"]) != max(meta["queries"], meta["keys"]):
        raise ValueError(f"it has {len(meta['tokens'])} tokens")


def _check_plain(data: Any, deep: int = 0) -> None:
    """Refuse JSON data that a viewer could not show: nested deep, with huge numbers, or with control characters."""
    if deep > MOST_DEEP:
        raise ValueError(f"its meta is nested more than {MOST_DEEP} deep")
    if isinstance(data, int) and abs(data) >= 1 << 63:
        raise ValueError("its meta holds a number of more than 64 bits")
    if isinstance(data, str) and UNPRINTABLE.search(data.replace("\n", "")):
        raise ValueError("its meta holds control characters")
    if isinstance(data, list | dict):
        for part in (*data, *data.values()) if isinstance(data, dict) else data:
            _check_plain(part, deep + 1)


def check_tensors(
    meta: dict[str, Any], initial: Mapping[str, np.ndarray], out: Mapping[str, np.ndarray], peak: Any
) -> None:
    """Q, K, V as meta says, then what else the run finds or makes, by rows; O and LSE came out, or gradients.

    Raises ValueError, one line, where that is not so.
    """
    N, M, d = meta["queries"], meta["keys"], meta["d"]
    d_v = meta.get("d_v", d)
    storage, computing = dtypes.storage(meta["dtype"]), dtypes.computing(meta["dtype"])
    inputs = [(name, initial[name].shape, initial[name].dtype) for name in list(initial)[:3]]
    table = initial.get("table")
    H, parts = meta.get("heads", 1), meta.get("kv_heads", 1)
    if not all(type(given) is int and given > 0 for given in (H, parts)) or H % parts:
        raise ValueError(f"its heads are {H!r:.40} and {parts!r:.40}")
    rows = parts * (M if table is None else (meta.get("pool") or pages.pool(M, meta["block_k"])) * meta["block_k"])
    if inputs != [("Q", (H * N, d), storage), ("K", (rows, d), storage), ("V", (rows, d_v), storage)]:
        raise ValueError("its Q, K and V are not what its meta says")
    if not all(np.isfinite(initial[name].astype(computing)).all() for name in "QKV"):
        raise ValueError("its Q, K and V are not finite")
    for name, data in initial.items():
        if (
            not name.isidentifier()
            or len(name) > MOST_NAME
            or data.dtype not in ((np.int32,) if name in ADDRESSES else (storage, computing))
        ):
            raise ValueError(f"its tensor {name!r:.40} is no {storage} or {computing}")
        if data.ndim not in (1, 2) or not (data.size or name in ADDRESSES):
            raise ValueError(f"its tensor {name!r:.40} has shape {data.shape}")
    outputs = {name: (data.shape, data.dtype) for name, data in out.items()}
    lead, of_keys = ((), ()) if H == 1 else ((H,), (parts,))
    forward = {"O": ((*lead, N, d_v), storage), "LSE": ((*lead, N), computing)}
    backward = {"dQ": ((*lead, N, d), storage), "dK": ((*of_keys, M, d), storage), "dV": ((*of_keys, M, d_v), storage)}
    if outputs not in (forward, backward):
        raise ValueError("its outputs are not what its meta says")
    if not (isinstance(peak, Peak) and min(peak) >= 0):
        raise ValueError("its peak is no number of bytes")


def _wrong(event: Event, tensors: Mapping[str, tuple[tuple[int, ...], int]], slots: Shapes) -> str:
    """What keeps an event from being replayed, "" if nothing does; `slots` is then as the event leaves it."""
    if event.op == "compute":
        wrong, moved = _wrong_compute(event, slots), 0
    elif event.tile is None or event.tile.tensor not in tensors:
        return "is about no tensor of this run"
    else:
        shape, itemsize = tensors[event.tile.tensor]
        wrong = _wrong_tile(event, event.tile, shape, slots)
        moved = 0 if event.op == "skip" else math.prod(event.shape) * itemsize
    return wrong or ("" if event.nbytes == moved else f"moves {event.nbytes} bytes, not {moved}")


def _wrong_compute(event: Event, slots: Shapes) -> str:
    _, _, _, _, slot, tile, shape, _, _, _, row = event
    if tile or row or not slot or len(shape) not in (1, 2) or shape[0] < 1 or shape[-1] < 1:
        return "makes nothing that has a slot and a shape"
    slots[slot] = shape
    return ""


def _wrong_tile(event: Event, tile: Tile, of: tuple[int, ...], slots: Shapes) -> str:
    """The same for a load, store or skip of a tile of a tensor of shape `of`."""
    if not 0 <= tile.start < tile.stop <= of[0]:
        return f"is about {tile}, but {tile.tensor} has {of[0]} rows"
    rows = (tile.stop - tile.start, *of[1:])
    if tile.columns is not None:
        left, right = tile.columns
        if len(of) != 2 or not 0 <= left < right <= of[1]:
            return f"is about {tile}, but {tile.tensor} has shape {of}"
        rows = (rows[0], right - left)
    if event.shape != (() if event.op == "skip" else rows):
        return f"has shape {event.shape} for {tile}"
    if event.row and event.op != "load":
        return "lands in a slot, as only loads do"
    match event.op:
        case "load":
            held = slots.get(event.slot, (0, *rows[1:])) if event.row else (0, *rows[1:])
            if not event.slot or not 0 <= event.row <= held[0] or held[1:] != rows[1:]:
                return f"lands at row {event.row} of {event.slot!r:.40}, which does not hold as much"
            slots[event.slot] = (event.row + rows[0], *rows[1:])
        case "store":
            if event.slot and slots.get(event.slot) != rows:
                return f"stores {event.slot!r:.40}, which is not on chip, or not of that shape"
        case "skip":
            if event.slot:
                return "has a slot, but moves nothing"
        case _:
            return "is no load, store, compute or skip"
    return ""
