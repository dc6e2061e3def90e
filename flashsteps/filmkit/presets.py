"""How large films are, and how many frames a second they have, unless told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Preset(NamedTuple):
    """A size in px and a frame rate."""

    width: int
    height: int
    fps: int


PRESETS = {"readme": Preset(800, 450, 12), "slides": Preset(1920, 1080, 60), "4k": Preset(3840, 2160, 60)}

#: the endings whose files are shown small
_SMALL = (".gif", ".webp")


def preset_for(path: str | os.PathLike[str]) -> str:
    """The preset that a file's ending asks for: "readme" for GIF and WebP, "slides" for all others."""
    return "readme" if Path(path).suffix.lower() in _SMALL else "slides"
