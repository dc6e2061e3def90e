"""What `flashsteps bench` measured, as a JSON file: which machine, which versions, when, how, and row by row what.

A file is written anew after every step, whole or not at all, so that a run that is cut off leaves one to read.
"""

from __future__ import annotations

import importlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from . import files

FORMAT = "flashsteps-bench"
VERSION = 1

#: where results go unless another file is named
FOLDER = "renders/data"

#: no results are larger
MOST_BYTES = 64 << 20

Number = (int, float)
SECONDS = {"median": Number, "min": Number, "max": Number}

#: what a row has, by the kind of results, and of which type each is
ROWS: dict[str, dict[str, Any]] = {
    "speed": {
        "pass": str, "n": int, "d": int, "causal": bool, "batch": int, "heads": int, "backend": str, "status": str,
        "why": (str, NoneType), "seconds": (dict, NoneType), "runs": (int, NoneType), "tflops": (*Number, NoneType),
        "peak_bytes": (int, NoneType),
    },
    "tune": {
        "kernel": str, "n": int, "d": int, "causal": bool, "dtype": str, "config": dict, "status": str,
        "why": (str, NoneType), "seconds": (dict, NoneType), "runs": (int, NoneType), "best": bool,
    },
    "train": {
        "attention": str, "n": int, "batch": int, "status": str, "why": (str, NoneType), "losses": list,
        "seconds": (dict, NoneType), "runs": (int, NoneType), "peak_bytes": (int, NoneType),
    },
    "beside": {
        "what": str, "pass": str, "backend": str, "status": str, "why": (str, NoneType), "seconds": (dict, NoneType),
        "runs": (int, NoneType), "tb_per_s": (*Number, NoneType),
    },
}  # fmt: skip

#: what settings have at least
SETTINGS: dict[str, dict[str, Any]] = {
    "speed": {"dtype": str, "tokens": int, "hidden": int, "flops": str},
    "tune": {"dtype": str, "n": int},
    "train": {"corpus": str, "layers": int, "heads": int, "head": int, "parameters": int, "steps": int,
              "arithmetic": str, "time": str},
    "beside": {"dtype": str},
}  # fmt: skip

STATUS = ("ok", "out of memory", "not available", "wrong", "not run")


class Results(NamedTuple):
    """What was measured. `machine`, `versions` and `settings` by name; `finished` once nothing was left to do."""

    kind: str
    date: str
    machine: dict[str, Any]
    versions: dict[str, str | None]
    settings: dict[str, Any]
    rows: list[dict[str, Any]]
    finished: bool = False


def begin(kind: str, machine: Mapping[str, Any], versions: Mapping[str, Any], settings: Mapping[str, Any]) -> Results:
    """Results with no rows yet, of today."""
    return Results(kind, f"{datetime.now(UTC):%Y-%m-%d}", dict(machine), dict(versions), dict(settings), [])


def default_path(kind: str, machine: str) -> Path:
    """Where results of this kind go: `renders/data/nvidia-h200-speed.json`."""
    name = re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-") or "machine"
    return Path(FOLDER) / f"{name}-{kind}.json"


def text(results: Results) -> str:
    """As JSON, a row a line: a difference between two files is one to read."""
    data = {"format": FORMAT, "version": VERSION} | results._asdict()
    rows = ",\n    ".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in results.rows)
    head = json.dumps(data | {"rows": []}, ensure_ascii=False, allow_nan=False, indent=2)
    return head.replace('"rows": []', f'"rows": [\n    {rows}\n  ]' if rows else '"rows": []') + "\n"


def write(path: str | PathLike[str], results: Results) -> None:
    """Save them, whole or not at all. Raises ValueError where the file cannot be written."""
    with files.whole(path) as aside:
        aside.write_text(text(results), encoding="utf-8", newline="\n")


def read(path: str | PathLike[str]) -> Results:
    """Results that `write` has saved. Raises ValueError, one line, for anything else."""
    file = Path(path)
    try:
        with files.opened(file) as opened:
            text = opened.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise ValueError(f"'{file}': no such file: `flashsteps bench` makes one") from None
    except OSError as error:
        raise ValueError(f"'{file}': {error.strerror}: give a file that `flashsteps bench` has made") from None
    except ValueError as error:
        raise ValueError(f"'{file}': {error}") from None
    try:
        data: Any = json.loads(text) if len(text) <= MOST_BYTES else None
    except (ValueError, RecursionError):  # JSON's and Unicode's are ValueErrors too
        data = None
    if wrong := _fault(data):
        raise ValueError(f"'{file}': {wrong}: give a file that `flashsteps bench` has made")
    return Results(**{name: data[name] for name in Results._fields})


def shipped(name: str) -> list[Path]:
    """The files of this name, of whatever machine, that come with this package."""
    root = Path(importlib.import_module("flashsteps.scenes").__path__[0]).parent  # a clone's, or the installed package
    return sorted((root / FOLDER).glob(f"*-{name}"))


def kept(kind: str) -> Results | None:
    """The newest results that come with this package, of a GPU if there are any; None if none are there. `kind` is how
    their files' names end: speed, duel (a few backends in turn), train, tune or beside (what else is called)."""
    found = [read(path) for path in shipped(f"{kind}.json")]
    return max(found, key=lambda one: (one.machine["kind"] != "cpu", one.date), default=None)


def _fault(data: Any) -> str:
    """What makes this no results, or ""."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        return "not results of flashsteps bench"
    if data.get("version") != VERSION:
        return f"results of format {str(data.get('version'))[:20]}, and this program reads {VERSION}"
    if data.get("kind") not in ROWS:
        return "results of an unknown kind"
    types = {"date": str, "machine": dict, "versions": dict, "settings": dict, "rows": list, "finished": bool}
    for name, kind in types.items():
        if not isinstance(data.get(name), kind):
            return f"no {name}"
    if not isinstance(data["machine"].get("name"), str):
        return "no machine's name"
    for name, kind in SETTINGS[data["kind"]].items():
        if not _is(data["settings"].get(name), kind):
            return f"no setting {name}"
    for at, row in enumerate(data["rows"]):
        if wrong := _row_fault(row, ROWS[data["kind"]]):
            return f"row {at}: {wrong}"
    return ""


def _row_fault(row: Any, types: Mapping[str, Any]) -> str:
    if not isinstance(row, dict) or row.keys() != types.keys():
        return "other columns"
    for name, kind in types.items():
        if not _is(row[name], kind):
            return f"{name} is {str(row[name])[:40]!r}"
    if row["status"] not in STATUS:
        return f"status is {row['status'][:40]!r}"
    if row["seconds"] is not None and not _has(row["seconds"], SECONDS):
        return "seconds are not median, min and max"
    if not all(_is(loss, Number) for loss in row.get("losses", ())):
        return "losses are not numbers"
    if row["status"] == "ok" and row["seconds"] is None:
        return "no seconds"
    return ""


def _is(value: Any, kind: Any) -> bool:
    """Of this type, which for a number is not true or false, and finite."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if isinstance(value, bool) and bool not in kinds:
        return False
    return isinstance(value, kinds) and not (isinstance(value, float) and not math.isfinite(value))


def _has(found: Mapping[str, Any], types: Mapping[str, Any]) -> bool:
    return found.keys() == types.keys() and all(
        _is(found[name], kind) and found[name] > 0 for name, kind in types.items()
    )


def where(results: Results) -> str:
    """The machine, and that it is a CPU where it is one."""
    cpu = "CPU: " if results.machine.get("kind") == "cpu" else ""
    return f"{cpu}{results.machine['name']}"


def packages(results: Results) -> str:
    """What figures depend on most: torch 2.13.0, triton 3.7.1, cuda 13.0."""
    found = {name: results.versions.get(name) for name in ("torch", "triton", "cuda", "cudnn")}
    return ", ".join(f"{name} {version}" for name, version in found.items() if version)


def best(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The row with the least median time among those that were measured."""
    measured = [row for row in rows if row["status"] == "ok"]
    return min(measured, key=lambda row: row["seconds"]["median"], default=None)
