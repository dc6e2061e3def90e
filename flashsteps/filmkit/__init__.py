"""Films: from a storyboard to a script, from a script to pictures, from pictures to a file.

`from flashsteps.filmkit import Film, Board, …` is all that a film's file needs. With it, `manim render` plays the film.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .board import Board as Board
    from .boxes import Box as Box
    from .scene import Film as Film
    from .scene import Picture as Picture
    from .scene import Play as Play
    from .script import Script as Script
    from .values import Made as Made
    from .values import Value as Value
    from .values import linear as linear
    from .values import smooth as smooth

_HOME = {
    "Board": "board",
    "Box": "boxes",
    "Film": "scene",
    "Picture": "scene",
    "Play": "scene",
    "Script": "script",
    "Made": "values",
    "Value": "values",
    "linear": "values",
    "smooth": "values",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: it has {', '.join(_HOME)}")
    if name == "Film":
        from . import films, storyboard

        if films.plainly.get():
            return storyboard.Storyboard
    try:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    except ModuleNotFoundError as missing:
        if missing.name != "manim":
            raise
        raise ImportError(
            f"{name} is part of manim's world, and manim is missing: pip install 'flashsteps[render]'"
        ) from None


def __dir__() -> list[str]:
    return sorted(__all__)
