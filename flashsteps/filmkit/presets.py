"""How large films are, and how many frames a second they have, unless told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ..errors import unknown


class Preset(NamedTuple):
    """A size in px and a frame rate."""

    width: int
    height: int
    fps: int


PRESETS = {
    "readme": Preset(800, 450, 12),
    "talk": Preset(1280, 720, 30),
    "slides": Preset(1920, 1080, 60),
    "4k": Preset(3840, 2160, 60),
}

#: the endings whose files are shown small
_SMALL = (".gif", ".webp")


def preset_for(path: str | os.PathLike[str]) -> str:
    """The preset that a file's ending asks for: "readme" for GIF and WebP, "slides" for all others."""
    return "readme" if Path(path).suffix.lower() in _SMALL else "slides"


def look_of(
    path: str | os.PathLike[str], preset: str | None = None, size: tuple[int, int] | None = None, fps: int | None = None
) -> Preset:
    """A preset (the ending's own unless given), but for a size and a rate that are given.

    Raises ValueError for a preset that isn't known.
    """
    name = preset or preset_for(path)
    if name not in PRESETS:
        raise ValueError(unknown("preset", name, PRESETS))
    width, height = PRESETS[name][:2] if size is None else size
    return Preset(width, height, PRESETS[name].fps if fps is None else fps)
