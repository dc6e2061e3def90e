"""The films by name: what the files in `scenes/` say of them. Listing them imports none of them, and nothing heavy."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from .errors import unknown

#: what SRAM shows: one large score tile, programs side by side, or kernels one after another
Kind = Literal["tile", "lanes", "kernels"]


class Spec(NamedTuple):
    """What a file in `scenes/` says of its film.

    `loops` stands beside the title, `kind` is what SRAM shows, `repeats` what to say when a loop comes
    round again (by the loop's name; `alone` where programs are shown one by one), `kernels` names programs that differ.
    """

    algorithm: str
    title: str
    loops: str
    kind: Kind
    repeats: Mapping[str, str]
    alone: Mapping[str, str] = {}
    kernels: tuple[str, ...] = ()


def _folder() -> Path:
    return Path(importlib.import_module("flashsteps.scenes").__path__[0])


@cache
def names() -> tuple[str, ...]:
    """All films, by the name that users type. Imports none of them."""
    return tuple(sorted(file.stem.replace("_", "-") for file in _folder().glob("[a-z]*.py")))


def summary(name: str) -> str:
    """The first line of a film's docstring, without importing it."""
    found = re.match(r'"""(.*)', (_folder() / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8"))
    return found[1].removesuffix('"""') if found else ""


def spec(name: str) -> Spec:
    """What a film shows. Raises ValueError for a name that isn't known."""
    if name not in names():
        raise ValueError(unknown("film", name, names()))
    found: Spec = importlib.import_module(f"flashsteps.scenes.{name.replace('-', '_')}").FILM
    return found
