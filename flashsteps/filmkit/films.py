"""The films by name: what the files in `scenes/` say of them. Listing them imports none of them, and nothing heavy."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from .. import catalog

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


def names() -> tuple[str, ...]:
    """All films, by the name that users type. Imports none of them."""
    return catalog.names(_folder())


def summary(name: str) -> str:
    """The first line of a film's docstring, without importing it. Raises ValueError for a name that isn't known."""
    return catalog.summary(catalog.source(_folder(), "film", name))


def spec(name: str) -> Spec:
    """What a film shows. Raises ValueError for a name that isn't known."""
    catalog.source(_folder(), "film", name)
    found: Spec = importlib.import_module(f"flashsteps.scenes.{name.replace('-', '_')}").FILM
    return found
