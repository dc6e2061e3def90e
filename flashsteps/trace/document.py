"""A trace as one JSON document, for programs in any language, and back: `run-1.schema.json` describes it.

Numbers are written so that they come back bit for bit; what JSON cannot say is "NaN", "Infinity" or "-Infinity", and a
tensor that the run has yet to write has no data at all (null). Each event stands on a line of its own.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..machine import dtypes
from ..machine.arrays import Work
from ..machine.events import IO, Event, Peak, Tile
from .strangers import check_meta, check_tensors, check_values, checked
from .trace import Trace

FORMAT, VERSION = "flashsteps run", 1

#: the largest document that is read, in bytes, and in lists and objects: to parse one takes ten times its memory
MOST_BYTES, MOST_PARTS = 1 << 25, 1 << 19

#: JSON has no word for them
WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def schema() -> str:
    """The JSON Schema (2020-12) of the documents, as text."""
    return (Path(__file__).parent / f"run-{VERSION}.schema.json").read_text(encoding="utf-8")


# ---- writing


def lines(trace: Trace, values: bool = True) -> Iterator[str]:
    """The document, line by line; without `values`, what each step made or stored is left out."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "meta": trace.meta,
        "peak": trace.peak._asdict(),
        "totals": totals(trace.io()),
        "tensors": [_array(name, data) for name, data in trace.initial.items()],
        "outputs": [_array(name, data) for name, data in trace.outputs.items()],
    }
    yield "{"
    for name, part in head.items():
        yield f"{_text(name)}: {_text(part)},"
    yield '"events": ['
    kept = values and bool(trace.values)
    for event in trace:
        made = {"value": numbers(trace.values[event.step])} if kept else {}
        yield _text(plain(event) | made) + ("," if event.step < len(trace) - 1 else "")
    yield "]"
    yield "}"


def plain(event: Event) -> dict[str, Any]:
    """An event as JSON data, without its value."""
    return {
        "step": event.step,
        "op": event.op,
        "program": event.program,
        "loop": dict(event.loop),
        "slot": event.slot,
        "tile": _tile(event.tile) if event.tile else None,
        "shape": list(event.shape),
        "nbytes": event.nbytes,
        "work": event.work._asdict(),
        "line": event.line,
        "row": event.row,
    }


def _tile(tile: Tile) -> dict[str, Any]:
    """A tile as JSON data: its columns only where it has not all of them."""
    columns = {} if tile.columns is None else {"columns": list(tile.columns)}
    return {"tensor": tile.tensor, "start": tile.start, "stop": tile.stop, **columns}


def totals(io: IO) -> dict[str, Any]:
    """What a run moved and did, as JSON data."""
    moved = {name: moved._asdict() for name, moved in io.by_tensor.items()}
    return {"read": io.read, "written": io.written, "work": io.work._asdict(), "by_tensor": moved}


def numbers(data: np.ndarray | None) -> list[Any] | None:
    """An array's numbers, row by row, as one list; null where there is none."""
    if data is None:
        return None
    if data.dtype.kind == "i":
        return list(map(int, data.ravel().tolist()))
    wide = data.astype(np.float64).ravel()  # exact: no storage type is wider
    if np.isfinite(wide).all():
        return list(wide.tolist())
    return [x if math.isfinite(x) else "NaN" if math.isnan(x) else f"{'-' * (x < 0)}Infinity" for x in wide.tolist()]


def _array(name: str, data: np.ndarray) -> dict[str, Any]:
    unwritten = data.dtype.kind != "i" and bool(np.isnan(data).all())
    there = None if unwritten else numbers(data)
    return {"name": name, "dtype": data.dtype.name, "shape": list(data.shape), "data": there}


def _text(data: Any) -> str:
    return json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


# ---- reading


def read(file: BinaryIO) -> Trace:
    """The trace of an open document. Raises all sorts of exceptions where it isn't one."""
    size = file.seek(0, io.SEEK_END)
    if size > MOST_BYTES:
        raise ValueError(f"a .json run of {size:,} bytes is too large to read, the limit is {MOST_BYTES:,}: keep .npz")
    file.seek(0)
    data = file.read()
    if data.count(b"[") + data.count(b"{") > MOST_PARTS:
        raise ValueError(f"it has more than {MOST_PARTS:,} lists and objects, too many to read: keep .npz")
    document = json.loads(data.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_unique)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    if document.get("version") != VERSION or isinstance(document["version"], bool):
        version = f"{document.get('version')!r:.40}"
        raise ValueError(f"its version is {version}, and this flashsteps reads {VERSION}: upgrade it")
    of = _fields(document, "meta", "peak", "totals", "tensors", "outputs", "events", "format", "version")
    initial, outputs = (dict(_named(part) for part in _list(of[name])) for name in ("tensors", "outputs"))
    if len(initial) != len(of["tensors"]) or len(outputs) != len(of["outputs"]):
        raise ValueError("two of its arrays have one name")
    check_meta(of["meta"])
    peak = Peak(*(_whole(n) for n in _fields(of["peak"], *Peak._fields).values()))
    check_tensors(of["meta"], initial, outputs, peak)
    events = tuple(checked(of["meta"], initial, (_event(given) for given in _list(of["events"]))))
    with_values = ["value" in given for given in of["events"]]
    if any(with_values) and not all(with_values):
        raise ValueError("only some of its events have values")
    values = [given["value"] for given in of["events"]] if any(with_values) else []
    made = tuple(_value(given, event, initial, of["meta"]) for given, event in zip(values, events, strict=False))
    trace = Trace(of["meta"], events, initial, made, outputs, peak)
    check_values(trace)
    if of["totals"] != totals(trace.io()):
        raise ValueError("its totals are not what its events add up to")
    return trace


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it says something twice")
    return found


def _fields(given: Any, *names: str, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """A dictionary's entries, if it has these and no others."""
    if not isinstance(given, dict) or not set(names) <= set(given) <= {*names, *optional}:
        raise ValueError(f"a part of it has not the fields {', '.join(names)}"[:110])
    return {name: given[name] for name in given}


def _list(given: Any) -> list[Any]:
    if not isinstance(given, list):
        raise ValueError("a part of it is no list")
    return given


def _whole(given: Any) -> int:
    if type(given) is not int or abs(given) >= 1 << 63:
        raise ValueError(f"{given!r:.40} is no whole number of 64 bits")
    return given


def _words(given: Any) -> str:
    if not isinstance(given, str):
        raise ValueError(f"{given!r:.40} is no text")
    return given


def _shape(given: Any) -> tuple[int, ...]:
    shape = tuple(_whole(n) for n in _list(given))
    if len(shape) > 3 or min(shape, default=0) < 0:
        raise ValueError("a shape is impossible")
    return shape


def _named(given: Any) -> tuple[str, np.ndarray]:
    """An array by its name."""
    of = _fields(given, "name", "dtype", "shape", "data")
    name, shape, dtype = _words(of["name"]), _shape(of["shape"]), _words(of["dtype"])
    kind = np.dtype(np.int32) if dtype == "int32" else dtypes.storage(dtype)
    if of["data"] is None and math.prod(shape) > MOST_BYTES:
        raise ValueError(f"its tensor {name!r:.40} is too large")
    data = np.full(shape, np.nan, kind) if of["data"] is None else _filled(of["data"], shape, kind)
    return name, data


def _filled(given: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """A list of numbers as an array of exactly these."""
    data = [WORDS[x] if isinstance(x, str) else x for x in _list(given)]
    if len(data) != math.prod(shape):
        raise ValueError(f"{len(data)} numbers where a shape needs {math.prod(shape)}")
    if not all(type(x) in (int, float) for x in data):
        raise ValueError("there is something other than numbers in an array")
    if dtype.kind == "i":
        return np.array([_whole(x) for x in data], np.int64).astype(np.int32).reshape(shape)
    with np.errstate(over="ignore"):
        return np.array(data, np.float64).astype(dtype).reshape(shape)


def _event(given: Any) -> Event:
    """An event; whether it makes sense is checked with all others."""
    names = ("step", "op", "program", "loop", "slot", "tile", "shape", "nbytes", "work", "line", "row")
    of = _fields(given, *names, optional=("value",))
    if not isinstance(of["loop"], dict):
        raise ValueError("a loop is no object of whole numbers")
    tile = None
    if of["tile"] is not None:
        rows = _fields(of["tile"], "tensor", "start", "stop", optional=("columns",))
        tile = Tile(_words(rows["tensor"]), _whole(rows["start"]), _whole(rows["stop"]))
        if "columns" in rows:
            left, right = map(_whole, _list(rows["columns"]))
            tile = tile._replace(columns=(left, right))
    work = _fields(of["work"], *Work._fields)
    op: Any = _words(of["op"])
    return Event(
        _whole(of["step"]),
        op,
        _whole(of["program"]),
        {name: _whole(index) for name, index in of["loop"].items()},
        _words(of["slot"]),
        tile,
        _shape(of["shape"]),
        _whole(of["nbytes"]),
        Work(*(_whole(work[name]) for name in Work._fields)),
        _whole(of["line"]),
        _whole(of["row"]),
    )


def _value(given: Any, event: Event, initial: dict[str, np.ndarray], meta: Any) -> np.ndarray | None:
    """What an event made or stored, read-only, in the type that it has there."""
    if given is None:
        return None
    dtype = initial[event.tile.tensor].dtype if event.tile else dtypes.computing(meta["dtype"])
    value = _filled(given, event.shape, dtype)
    value.setflags(write=False)
    return value
