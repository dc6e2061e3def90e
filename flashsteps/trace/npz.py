"""A trace as one .npz file: plain columns that `np.load(path, allow_pickle=False)` opens, and nothing but data.

format                      the version of this layout
meta                        JSON text
peak                        bytes in shared memory, in registers, in both (3,)
op, slot, tensor            one text an event, "" where there is none
loop                        the loops around the event, outermost first: names with a space between
program, start, stop, nbytes, line, row        one number an event; start and stop are the tile's rows
left, right                 the tile's columns, where any has not all of them: 0 and 0 for all
index, shape, work          numbers (events, …): an index for each loop, the shape, the work by kind; −1 fills up
initial.Q, …                HBM's tensors as the run found them, in their order
outputs.O, …                what the run gave
(initial, outputs, values)  bfloat16 as its bits, uint16
values.float32, …           what its events made or stored, one after another; none if the run was too large
"""

from __future__ import annotations

import gc
import io
import itertools
import json
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .. import files
from ..files import whole
from ..inputs import readers
from ..machine.arrays import Work
from ..machine.dtypes import from_plain, storage, to_plain
from ..machine.events import Event, Peak, Tile
from . import document as trace_json
from .strangers import MOST_META, MOST_NAME, check_meta, check_tensors, check_trace, checked
from .trace import Trace

FORMAT = 1

#: bytes that the list of a trace's arrays may take: a hundred times what it needs
MOST_LIST = 1 << 16

TEXTS: dict[str, Callable[[Event], str]] = {
    "op": lambda event: event.op,
    "slot": lambda event: event.slot,
    "tensor": lambda event: event.tile.tensor if event.tile else "",
    "loop": lambda event: " ".join(event.loop),
}
NUMBERS: dict[str, Callable[[Event], int]] = {
    "program": lambda event: event.program,
    "start": lambda event: event.tile.start if event.tile else 0,
    "stop": lambda event: event.tile.stop if event.tile else 0,
    "nbytes": lambda event: event.nbytes,
    "line": lambda event: event.line,
    "row": lambda event: event.row,
}
#: only in a trace that needs them
COLUMNS: dict[str, Callable[[Event], int]] = {
    "left": lambda event: event.tile.columns[0] if event.tile and event.tile.columns else 0,
    "right": lambda event: event.tile.columns[1] if event.tile and event.tile.columns else 0,
}
ROWS: dict[str, Callable[[Event], tuple[int, ...]]] = {
    "index": lambda event: tuple(event.loop.values()),
    "shape": lambda event: event.shape,
    "work": lambda event: event.work,
}


def check_path(path: str | os.PathLike[str]) -> Path:
    """The path of a trace. Raises ValueError where none can be written."""
    return files.check(path, (".npz",))


def save(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Write a trace to `path`, which ends in .npz, whole or not at all. The same trace gives the same bytes.

    Raises ValueError for another ending, a path that cannot be written, and a trace that could not be replayed.
    """
    check_path(path)
    with readers.one_line("this trace cannot be saved"):
        check_trace(trace)
        arrays = _arrays(trace)
    with whole(path) as aside, zipfile.ZipFile(aside, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, always
            member.create_system, member.external_attr = 3, 0o644 << 16
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)


def load(path: str | os.PathLike[str]) -> Trace:
    """The trace that was saved to `path`, or exported there as .json.

    A stranger's file is only data. Raises ValueError, one line, for any that is not a trace that can be replayed.
    """
    given = os.fspath(path)
    if not os.path.isfile(path):
        raise ValueError(
            f"{given!r} is {'no plain' if os.path.exists(path) else 'no such'} file: give a trace's .npz or .json"
        )
    try:
        with _no_garbage(), Path(path).open("rb") as file:
            is_json = Path(path).suffix.lower() == ".json"
            trace = trace_json.read(file) if is_json else _read(file, file.seek(0, io.SEEK_END))
    except OSError as error:
        raise ValueError(f"{given!r} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # whatever a file made to break this brings about
        raise ValueError(f"{given!r} is not a flashsteps trace: {readers.reason(error)}") from error
    return trace


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Python looks for garbage as objects come; of a million events, none is, and to look takes as long as to read."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _arrays(trace: Trace) -> dict[str, np.ndarray]:
    """All of a trace, by the names of the layout above."""
    values = [value for value in trace.values if value is not None]
    wide = COLUMNS if any(event.tile and event.tile.columns for event in trace) else {}
    kinds = sorted({trace.meta["computing"], *(value.dtype.name for value in values)}) if trace.values else ()
    return {
        "format": np.array(FORMAT),
        "meta": np.array(json.dumps(trace.meta, allow_nan=False)),
        "peak": np.array(trace.peak, np.int64),
        **{name: np.array([of(event) for event in trace], str) for name, of in TEXTS.items()},
        **{name: np.array([of(event) for event in trace], np.int64) for name, of in (NUMBERS | wide).items()},
        **{name: _filled([of(event) for event in trace]) for name, of in ROWS.items()},
        **{f"initial.{name}": to_plain(np.ascontiguousarray(data)) for name, data in trace.initial.items()},
        **{f"outputs.{name}": to_plain(np.ascontiguousarray(data)) for name, data in trace.outputs.items()},
        **{f"values.{kind}": to_plain(_joined([v for v in values if v.dtype.name == kind], kind)) for kind in kinds},
    }


def _joined(values: list[np.ndarray], kind: str) -> np.ndarray:
    """Arrays of one type one after another, in one row."""
    return np.concatenate([np.empty(0, values[0].dtype if values else kind), *(value.ravel() for value in values)])


def _filled(rows: list[tuple[int, ...]]) -> np.ndarray:
    """Rows of several lengths as one array (rows, longest), filled up with −1."""
    longest = max(map(len, rows), default=0)
    return np.array([(*row, *[-1] * (longest - len(row))) for row in rows], np.int64).reshape(len(rows), longest)


def _read(file: BinaryIO, size: int) -> Trace:
    """The trace of an open file. Raises all sorts of exceptions where it isn't one."""
    stored = {name: member() for name, member in readers.npz(file, size, MOST_LIST).items()}
    wide = COLUMNS if COLUMNS.keys() & stored else {}
    for name in ("format", "meta", "peak", *TEXTS, *NUMBERS, *ROWS, *wide):
        if name not in stored:
            raise ValueError(f"it has no {name!r}")
        if stored[name].dtype.kind != ("U" if name == "meta" or name in TEXTS else "i"):
            raise ValueError(f"its {name!r} is of the wrong type")
        longest = {"meta": MOST_META, "loop": 8 * MOST_NAME}.get(name, MOST_NAME)
        if stored[name].dtype.itemsize > 4 * longest:
            raise ValueError(f"its {name!r} has texts of more than {longest:,} characters")
    if sum(math.prod(array.shape) * array.dtype.itemsize for array in stored.values()) > size:
        raise ValueError("its arrays are larger than the file: save it uncompressed, as it was")
    if (version := stored["format"][()].item()) != FORMAT:
        raise ValueError(f"its format is {version}, and this flashsteps reads {FORMAT}: upgrade it")

    def part(prefix: str) -> dict[str, np.ndarray]:
        return {
            name.removeprefix(prefix): from_plain(array[()])
            for name, array in stored.items()
            if name.startswith(prefix)
        }

    meta, peak = json.loads(stored["meta"][()].item()), Peak(*stored["peak"][()].tolist())
    check_meta(meta)
    initial, outputs = part("initial."), part("outputs.")
    check_tensors(meta, initial, outputs, peak)
    events = _events({name: stored[name][()] for name in (*TEXTS, *NUMBERS, *ROWS, *wide)})
    trace = Trace(meta, tuple(checked(meta, initial, events)), initial, (), outputs, peak)
    values = part("values.")
    return replace(trace, values=_values(trace, values)) if values else trace


def _events(of: dict[str, np.ndarray]) -> Iterator[Event]:
    """The events, from the columns; loops, tiles, shapes and works that are the same are one object."""
    if len({len(column) for column in of.values()}) > 1:
        raise ValueError("its columns are of different lengths")
    plain = {name: column.tolist() for name, column in of.items()}
    index, shape, work = (map(tuple, plain[name]) for name in ("index", "shape", "work"))
    loops, tiles = _Each(_loop), _Each(_tile)
    columns = [plain[name] for name in COLUMNS if name in plain]
    shapes, works = _Each(lambda row: tuple(n for n in row if n >= 0)), _Each(lambda row: Work(*row))
    return map(
        Event,
        itertools.count(),
        plain["op"],
        plain["program"],
        map(loops.__getitem__, zip(plain["loop"], index, strict=True)),
        plain["slot"],
        map(tiles.__getitem__, zip(plain["tensor"], plain["start"], plain["stop"], *columns, strict=True)),
        map(shapes.__getitem__, shape),
        plain["nbytes"],
        map(works.__getitem__, work),
        plain["line"],
        plain["row"],
    )


class _Each(dict[Any, Any]):
    """What is made of each key, made once."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self.make = make

    def __missing__(self, key: Any) -> Any:
        made = self[key] = self.make(key)
        return made


def _tile(key: tuple[Any, ...]) -> Tile | None:
    """A tile, from its tensor, its rows and perhaps its columns."""
    tensor, start, stop, *columns = key
    return Tile(tensor, start, stop, (columns[0], columns[1]) if any(columns) else None) if tensor else None


def _loop(key: tuple[str, tuple[int, ...]]) -> dict[str, int]:
    """The loops around a step, from their names and their indices."""
    names, index = key[0].split(), [n for n in key[1] if n >= 0]
    if len(names) != len(index):
        raise ValueError(f"a step has {len(names)} loops and {len(index)} indices of them")
    return dict(zip(names, index, strict=True))


def _values(trace: Trace, flat: dict[str, np.ndarray]) -> tuple[np.ndarray | None, ...]:
    """The array of each event, cut from the arrays of all events."""
    values: list[np.ndarray | None] = []
    kinds = {name: data.dtype.name for name, data in trace.initial.items()}
    for kind in {trace.meta["computing"], *kinds.values()} & set(flat):
        if flat[kind].dtype != (np.int32 if kind == "int32" else storage(kind)) or flat[kind].ndim != 1:
            raise ValueError(f"its values.{kind} are {flat[kind].dtype} of shape {flat[kind].shape}")
    used = dict.fromkeys(flat, 0)
    for array in flat.values():
        array.setflags(write=False)
    for event in trace:
        if event.op not in ("compute", "store"):
            values.append(None)
            continue
        kind = kinds[event.tile.tensor] if event.tile else trace.meta["computing"]
        start, stop = used[kind], used[kind] + math.prod(event.shape)
        values.append(flat[kind][start:stop].reshape(event.shape))
        used[kind] = stop
    if any(len(flat[kind]) > used[kind] for kind in flat):
        raise ValueError("it has values that belong to no step")
    return tuple(values)
