"""What the bytes of a film depend on besides its options: this code, and the versions of what draws and encodes."""

from __future__ import annotations

import hashlib
import importlib
import platform
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from .. import __version__
from ..results import FOLDER, shipped

#: packages that each film takes, and those that one takes whose kernel is run
ALWAYS, SOMETIMES = ("av", "numpy", "pycairo", "uharfbuzz"), ("torch", "triton")
NONE = "none"

#: the endings of what films come from
_ENDINGS = (".json", ".npz", ".otf", ".py", ".ttf")


@cache
def facts() -> dict[str, str]:
    """Here, each by its name."""
    found = {
        "flashsteps": f"{__version__} (code {code()})",
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    found |= {name: _version(name) for name in ALWAYS}
    found |= {name: version for name in SOMETIMES if (version := _version(name)) != NONE}
    return found | {"cairo": _cairo(), "FFmpeg": _ffmpeg()}


def difference(here: dict[str, str], there: dict[str, str]) -> str:
    """The first fact in which two machines differ, in words; "" where there is none. What a film may do without
    counts where both have it: who has to and can't says so."""
    for name, value in here.items():
        other = there.get(name, NONE)
        if other != value and not (name in SOMETIMES and other == NONE):
            return f"{name} {other}, and this machine {value}"
    return ""


@cache
def code() -> str:
    """All files that a film can come from, in a few letters: the version alone stays the same while one works on it."""
    found = {f"{FOLDER}/{path.name}": path for path in shipped("*") if path.suffix in _ENDINGS}
    for room in ("", "kernels/", "scenes/"):  # which lie beside this folder in a clone, and in it where it is installed
        spec = find_spec(f"flashsteps.{room}".strip("./"))
        assert spec
        assert spec.submodule_search_locations
        top = Path(spec.submodule_search_locations[0])
        files = (path for path in top.rglob("*") if path.suffix in _ENDINGS)
        found |= {room + path.relative_to(top).as_posix(): path for path in files}
    made = hashlib.sha256()
    for name in sorted(found):
        data = found[name].read_bytes()
        made.update(f"{name} {len(data)}\n".encode() + data)
    return made.hexdigest()[:8]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return NONE


def _cairo() -> str:
    """The library's, which pycairo has from the system."""
    try:
        return str(importlib.import_module("cairo").cairo_version_string())
    except ImportError:
        return NONE


def _ffmpeg() -> str:
    """The libraries that av has inside."""
    try:
        libraries = importlib.import_module("av").library_versions
    except ImportError:
        return NONE
    return " ".join(f"{name.removeprefix('lib')}-{'.'.join(map(str, libraries[name]))}" for name in sorted(libraries))
