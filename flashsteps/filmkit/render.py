"""Film → file: every frame drawn once, in order, and handed to the encoder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import coda, encode
from .film import Film

Progress = Callable[[int, int], None]


class Preset(NamedTuple):
    """A size in px and a frame rate."""

    width: int
    height: int
    fps: int


PRESETS = {"readme": Preset(800, 450, 12), "slides": Preset(1920, 1080, 60), "4k": Preset(3840, 2160, 60)}

#: the preset of each ending; the others are shown large
_SMALL = (".gif", ".webp")


def preset_for(path: str | os.PathLike[str]) -> str:
    """The preset that a file's ending asks for: "readme" for GIF and WebP, "slides" for all others."""
    return "readme" if Path(path).suffix.lower() in _SMALL else "slides"


def frames(film: Film, fps: int) -> Iterator[np.ndarray | None]:
    """Every frame as RGBA (height, width, 4), in one buffer that is drawn over; None where nothing changed.

    Frame k shows the film at k / fps seconds. Raises ValueError where manim isn't installed.
    """
    stage, camera = _stage(film)
    for k in range(total(film, fps)):
        camera.capture_mobjects([stage.seek(k / fps)])
        yield camera.pixel_array if camera.changed or k == 0 else None


def total(film: Film, fps: int) -> int:
    """How many frames a film has."""
    return round(film.timeline.duration * fps)


def picture(film: Film, t: float) -> np.ndarray:
    """One frame, at t seconds, as RGBA (height, width, 4)."""
    stage, camera = _stage(film)
    camera.capture_mobjects([stage.seek(t)])
    pixels: np.ndarray = camera.pixel_array
    return pixels


def render(film: Film, path: str | os.PathLike[str], *, fps: int, progress: Progress | None = None) -> int:
    """Write a film to `path`, whole or not at all; its ending says as what. Returns the number of frames."""
    size = film.layout.width, film.layout.height
    return encode.write(path, frames(film, fps), fps=fps, size=size, total=total(film, fps), progress=progress)


def still(film: Film, path: str | os.PathLike[str], t: float) -> None:
    """Write the picture at t seconds as PNG."""
    encode.write_png(path, picture(film, t))


def captions(film: Film) -> str:
    """What is said, as WebVTT: one cue a caption, for as long as it stands."""
    cues: list[tuple[float, float, str]] = []
    for beat in film.timeline.beats:
        if cues and cues[-1][2] == beat.caption:
            cues[-1] = cues[-1][0], beat.stop, beat.caption
        elif beat.caption:
            cues.append((beat.start, beat.stop, beat.caption))
    cues += coda.captions(film.trace, film.timeline, film.coda)
    lines = ["WEBVTT", ""]
    for start, stop, words in cues:
        text = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        lines += [f"{_clock(start)} --> {_clock(stop)}", text, ""]
    return "\n".join(lines)


def _clock(t: float) -> str:
    ms = round(t * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


def _stage(film: Film):  # type: ignore[no-untyped-def]  # manim's types, and manim, only when something is drawn
    try:
        from .stage.picture import Stage, camera
    except ImportError as missing:
        raise ValueError(
            f"drawing needs manim, but {missing.name} is not installed: pip install 'flashsteps[render]'"
        ) from missing
    return Stage(film), camera(film)
