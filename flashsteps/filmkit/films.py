"""The films by name: the files of `scenes/`, in a talk's order. Listing them imports none, and reading one no manim."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .. import algorithms, catalog
from ..errors import unknown

if TYPE_CHECKING:
    from .storyboard import Storyboard

#: is a scene's file being read for what it tells? Then `flashsteps.filmkit.Film` is no Scene
plainly: ContextVar[bool] = ContextVar("plainly", default=False)

#: all of them as one film (`filmkit.lecture`), and what `summary` says of it
LECTURE, ALL = "lecture", "All films as one, in the order of a talk, with a title before each."
OTHERS = "More films"


def _folder() -> Path:
    return Path(importlib.import_module("flashsteps.scenes").__path__[0])


def sections() -> dict[str, tuple[str, ...]]:
    """The films by section of a talk, in its order; those that no section names come last. Imports none of them."""
    there = catalog.names(_folder())
    found = {
        section: tuple(name for name in films if name in there)
        for section, films in importlib.import_module("flashsteps.scenes").SECTIONS.items()
    }
    named = {name for films in found.values() for name in films}
    found[OTHERS] = tuple(name for name in there if name not in named)
    return {section: films for section, films in found.items() if films}


def names() -> tuple[str, ...]:
    """All films, by the name that users type, in the order of a talk. Imports none of them."""
    return tuple(name for films in sections().values() for name in films)


def shown() -> tuple[str, ...]:
    """All that can be shown: the films, all of them as one, and the run of each algorithm. A film's name goes first."""
    return tuple(dict.fromkeys((*names(), LECTURE, *algorithms.names())))


def section(name: str) -> str:
    """The section of a talk that a film is in. Raises ValueError for a name that isn't known, and for the lecture."""
    if name == LECTURE:
        raise ValueError(f"the {LECTURE} is all films as one: name a film, known are {', '.join(names())}")
    found = [section for section, films in sections().items() if name in films]
    if not found:
        raise ValueError(unknown("film", name, names()))
    return found[0]


def summary(name: str) -> str:
    """The first line of a film's docstring, without importing it, or an algorithm's for the film of its run. Raises
    ValueError for a name that isn't known."""
    if name == LECTURE:
        return ALL
    if name not in names() and name in algorithms.names():
        return algorithms.summary(name)
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
