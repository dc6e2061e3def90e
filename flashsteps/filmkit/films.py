"""The films by name: the files of `scenes/`. Listing them imports none, and reading one imports no manim."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from .. import catalog

if TYPE_CHECKING:
    from .storyboard import Storyboard

#: is a scene's file being read for what it tells? Then `flashsteps.filmkit.Film` is no Scene
plainly: ContextVar[bool] = ContextVar("plainly", default=False)


def _folder() -> Path:
    return Path(importlib.import_module("flashsteps.scenes").__path__[0])


def names() -> tuple[str, ...]:
    """All films, by the name that users type. Imports none of them."""
    return catalog.names(_folder())


def summary(name: str) -> str:
    """The first line of a film's docstring, without importing it. Raises ValueError for a name that isn't known."""
    return catalog.summary(catalog.source(_folder(), "film", name))


def load(name: str) -> type[Storyboard]:
    """A film's class, without manim. Raises ValueError for a name that isn't known."""
    catalog.source(_folder(), "film", name)
    return read(_folder() / f"{name.replace('-', '_')}.py")


@cache
def read(path: Path) -> type[Storyboard]:
    """The film that a file of ours tells, run under a name of its own: whoever imports it still gets the Scene."""
    from .storyboard import Storyboard

    name = f"{__name__}.plain_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    token = plainly.set(True)
    try:
        spec.loader.exec_module(module)
    finally:
        plainly.reset(token)
    told = [x for x in vars(module).values() if isinstance(x, type) and issubclass(x, Storyboard)]
    own = [x for x in told if x.__module__ == name]
    if len(own) != 1:
        raise ValueError(f"{path.name} is to hold one film, a class of Film with a storyboard: it holds {len(own)}")
    return own[0]


# Goes with the films that still need it

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


def spec(name: str) -> Spec:
    """What a film shows. Raises ValueError for a name that isn't known."""
    catalog.source(_folder(), "film", name)
    found: Spec = importlib.import_module(f"flashsteps.scenes.{name.replace('-', '_')}").FILM
    return found
