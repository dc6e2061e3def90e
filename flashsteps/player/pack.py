"""A trace as the player takes it: a header of plain JSON data, and all numbers as two runs of bytes.

`data`, compressed, holds a column for each property of the events (op, program, line, …) and HBM's tensors as the run
found them (`initial.Q`, …); `values`, which would compress to no less, what events made or stored, one after another,
by type (`values.float32`, …), as trace files have them. header["arrays"] says where each one lies in its run of bytes,
once that is inflated: name → [type, offset, count].
"""

from __future__ import annotations

import zlib
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from .. import theme
from ..machine import dtypes
from ..machine.events import Event
from ..story.captions import captions, shown
from ..story.ranges import ranges
from ..story.rounds import rounds
from ..trace.sram import room
from ..trace.trace import Trace
from .ending import ending

OPS = ("load", "store", "compute", "skip")

#: the smallest of these that holds a column's numbers is what it is sent as
_INTEGERS = (np.uint8, np.uint16, np.int32)

#: what changes a run, by its name in the meta, and in words
_GIVEN = {"softcap": "softcap", "alibi": "ALiBi", "dropout": "dropout", "block_mask": "block mask", "splits": "splits"}

_SHORT = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32", "float64": "fp64"}


class Packed(NamedTuple):
    """What the player is given: plain JSON data, columns and tensors (zlib), and values as they are."""

    header: dict[str, Any]
    data: bytes
    values: bytes


def pack(trace: Trace) -> Packed:
    """All of a trace, for the player: events, values and what is said. Raises nothing for a trace that was checked."""
    meta = trace.meta
    slots = list(dict.fromkeys(event.slot for event in trace if event.slot))
    here = set(slots)
    tensors = _in_order(trace)
    loops = list(dict.fromkeys(tuple(event.loop) for event in trace))
    said = captions(trace)
    sentences = {words: n for n, words in enumerate(dict.fromkeys(said))}
    arrays = _columns(trace, slots, tensors, loops) | {"caption": _small([sentences[words] for words in said])}
    arrays |= {f"initial.{name}": trace.initial[name].ravel() for name in tensors}
    values = [value for value in trace.values if value is not None]
    kinds = list(dict.fromkeys(value.dtype for value in values))
    of_kind = {kind: [value.ravel() for value in values if value.dtype == kind] for kind in kinds}
    where, data = _joined(arrays)
    more, kept = _joined({f"values.{kind.name}": np.concatenate(of_kind[kind]) for kind in kinds})
    lowest_highest, place = ranges(trace), room(trace)
    header = {
        "title": trace.name,
        "subtitle": _subtitle(meta),
        "note": _note(meta, slots),
        "queries": meta["queries"],
        "keys": meta["keys"],
        "d": meta["d"],
        "blockQ": meta["block_q"],
        "blockK": meta["block_k"],
        "heads": meta.get("heads", 1),
        "kvHeads": meta.get("kv_heads", 1),
        "computing": meta["computing"],
        "tokens": meta["tokens"],
        "steps": len(trace),
        "values": bool(trace.values) or not len(trace),
        "slots": [_named(slot) | _range(lowest_highest, slot) for slot in slots],
        "tensors": [_tensor(trace, name) | _range(lowest_highest, name) for name in tensors],
        "loops": loops,
        "captions": list(sentences),
        "code": [[line.number, line.code, sorted(line.reads & here)] for line in _code(trace)],
        "room": {"bytes": place.nbytes, "of": place.of},
        "ending": ending(trace),
        "direction": trace.direction,
        "dtype": _SHORT.get(meta["dtype"], meta["dtype"]),
        "parts": "left" in where,
        "arrays": where | more,
    }
    return Packed(header, zlib.compress(data, 6), kept)


def _columns(trace: Trace, slots: list[str], tensors: list[str], loops: list[tuple[str, ...]]) -> dict[str, np.ndarray]:
    """One number an event: names as their index, from 1 (0 where there is none), loops as their index, from 1."""
    slot = {name: n for n, name in enumerate(slots, 1)}
    tensor = {name: n for n, name in enumerate(tensors, 1)}
    loop = {names: n for n, names in enumerate(loops)}
    columns: dict[str, list[int]] = {
        "op": [OPS.index(event.op) for event in trace],
        "program": [event.program for event in trace],
        "slot": [slot.get(event.slot, 0) for event in trace],
        "tensor": [tensor[event.tile.tensor] if event.tile else 0 for event in trace],
        "start": [event.tile.start if event.tile else 0 for event in trace],
        "stop": [event.tile.stop if event.tile else 0 for event in trace],
        "rows": [event.shape[0] if event.shape else 0 for event in trace],
        "columns": [event.shape[1] if len(event.shape) > 1 else 0 for event in trace],
        "row": [event.row for event in trace],
        "bytes": [event.nbytes for event in trace],
        "flops": [event.flops for event in trace],
        "line": [event.line for event in trace],
        "loops": [loop[tuple(event.loop)] for event in trace],
        "round": rounds(trace),
    }
    if any(event.tile and event.tile.columns for event in trace):  # 0 and 0 where a tile has all of them
        sides = [(event.tile and event.tile.columns) or (0, 0) for event in trace]
        columns |= {"left": [left for left, _ in sides], "right": [right for _, right in sides]}
    for depth in range(max(map(len, loops), default=0)):
        columns[f"index.{depth}"] = [_at(event, depth) for event in trace]
    return {name: _small(numbers) for name, numbers in columns.items()}


def _at(event: Event, depth: int) -> int:
    """The index of an event's loop at this depth, 0 where it has none."""
    return next(islice(event.loop.values(), depth, None), 0)


def _small(numbers: list[int]) -> np.ndarray:
    """Whole numbers, 0 or more, in the smallest type that holds them."""
    most = max(numbers, default=0)
    return np.array(numbers, next((kind for kind in _INTEGERS if most <= np.iinfo(kind).max), np.float64))


def _joined(arrays: dict[str, np.ndarray]) -> tuple[dict[str, list[Any]], bytes]:
    """All arrays one after another, each at a multiple of 8 bytes, and where each one lies."""
    where: dict[str, list[Any]] = {}
    parts: list[bytes] = []
    at = 0
    for name, array in arrays.items():
        little = np.ascontiguousarray(dtypes.to_plain(array))
        part = little.astype(little.dtype.newbyteorder("<"), copy=False).tobytes()
        where[name] = [array.dtype.name, at, array.size]
        part += bytes(-len(part) % 8)
        parts.append(part)
        at += len(part)
    return where, b"".join(parts)


# ---- names


def _in_order(trace: Trace) -> list[str]:
    """The tensors as films order them: queries, keys, values, …, gradients after what they are of."""

    def place(name: str) -> tuple[bool, int]:
        base = name.partition("_")[0]
        plain = base[1:] if base[:1] == "d" else base
        return base != plain, theme.rank(plain)

    return sorted(trace.initial, key=place)


def _named(name: str) -> dict[str, str]:
    """A slot or a tensor: its name in the code, on screen (`m_{new}`: a subscript) and its hue."""
    base, _, below = name.partition("_")
    return {"name": name, "label": theme.label(base) + (f"_{{{below}}}" if below else ""), "hue": theme.hue(name)}


def _tensor(trace: Trace, name: str) -> dict[str, Any]:
    """A tensor, with what its rows and columns stand for: queries, keys, pages of a pool, or nothing with a name."""
    meta, data = trace.meta, trace.initial[name]
    queries = meta["queries"] * meta.get("heads", 1)
    base = name.partition("_")[0].removeprefix("d").upper()
    rows = "queries" if len(data) == queries else "splits" if len(data) % queries == 0 and "_" in name else ""
    if base in ("K", "V"):
        rows = "pool" if "table" in trace.initial else "keys"
    if name == "table":
        rows = "pages"
    columns = "keys" if theme.hue(name) == "S" and data.shape[1:] == (meta["keys"],) else ""
    shape, gradient = list(data.shape), name[:1] == "d"
    return {**_named(name), "shape": shape, "dtype": data.dtype.name, "rows": rows, "columns": columns} | (
        {"gradient": True} if gradient else {}
    )


def _code(trace: Trace) -> list[Any]:
    """The lines of code to show: without those that hold nothing at either end."""
    lines = shown(trace)
    while lines and not lines[-1].code.strip():
        lines.pop()
    return lines


def _subtitle(meta: dict[str, Any]) -> str:
    """Its sizes, and what it was given besides: `16 tokens, d 32, tiles 4×4, fp16, causal, softcap 5`."""
    N, M, heads = meta["queries"], meta["keys"], meta.get("heads", 1)
    queries, keys = f"{N:,} {'query' if N == 1 else 'queries'}", f"{M:,} {'key' if M == 1 else 'keys'}"
    tokens = f"{N:,} {'token' if N == 1 else 'tokens'}"
    parts = [tokens if N == M else f"{queries}, {keys}", f"d {meta['d']}"]
    if "d_v" in meta:
        parts.append(f"v {meta['d_v']} wide")
    if heads > 1:
        parts.append(f"{heads} heads, {meta['kv_heads']} of keys")
    parts += [f"tiles {meta['block_q']}×{meta['block_k']}", _SHORT.get(meta["dtype"], meta["dtype"])]
    if meta["mask"]:
        parts.append(_brief(meta["mask"]))
    if f"{meta['scale']:.3g}" != f"{meta['d'] ** -0.5:.3g}":
        parts.append(f"scale {meta['scale']:.3g}")
    # None where a run was not given it, 0 where it makes no difference
    parts += [words for name, words in (("bias", "a bias"), ("sinks", "sinks")) if meta.get(name)]
    parts += [f"{words} {_brief(meta[name])}" for name, words in _GIVEN.items() if meta.get(name)]
    return ", ".join(parts)


def _brief(value: Any) -> str:
    """An option as the user gave it, or, of a stranger's trace, anything, in a few words."""
    numbers = value if isinstance(value, list) else [value]
    words = ", ".join(f"{one:g}" if isinstance(one, int | float) else str(one) for one in numbers)
    words = " ".join(words.split())
    return words if len(words) <= 60 else f"{words[:58]} …"


def _note(meta: dict[str, Any], slots: list[str]) -> str:
    """What a kernel's S and m are, where its numbers are not those of the formulas; "" where they are."""
    if "kernel" not in meta or "S" not in slots:
        return ""
    capped = bool(meta.get("softcap"))
    scores = "S holds capped scores" if capped else "S is QKᵀ, not scaled yet"
    factor = "log₂e" if capped else "scale · log₂e"
    powers = f"the largest S times {factor}, as P = 2^(S · {factor} − m)"
    return f"{scores}; m is in base 2: {powers}" if "m_i" in slots else f"{scores}; powers are of 2"


# ---- what a run is seen beside


def _range(found: dict[str, tuple[float, float]], name: str) -> dict[str, list[float]]:
    """The lowest and the highest value in the run, for its colours."""
    return {"range": [float(bound) for bound in found.get(name, (0.0, 1.0))]}
