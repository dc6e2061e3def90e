"""Script → file: every frame drawn in order, and handed to the encoder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np

from . import encode
from .boxes import unit_of
from .painter import Painter
from .script import Script

Progress = Callable[[int, int], None]
Size = tuple[int, int]


def total(script: Script, fps: int) -> int:
    """How many frames a film has."""
    return round(script.duration * fps)


def frames(
    script: Script, width: int, height: int, fps: int, theme: str, span: range | None = None
) -> Iterator[np.ndarray | None]:
    """Frames as RGBA (height, width, 4), in one buffer that is drawn over; None where nothing changed.

    Frame k shows the film at k / fps seconds; all of them unless a `span` is given.
    """
    painter, span = Painter(script, width, height, theme), span or range(total(script, fps))
    for k in span:
        yield painter.pixels if painter.paint(k / fps) or k == span.start else None


def picture(script: Script, t: float, width: int, height: int, theme: str) -> np.ndarray:
    """One frame, at t seconds, as opaque RGBA (height, width, 4). Raises ValueError outside of the film."""
    if not 0 <= t <= script.duration:
        raise ValueError(f"{t:g} s is outside the film: give 0 to {script.duration:g} seconds")
    unit_of(width, height)
    painter = Painter(script, width, height, theme)
    painter.paint(t)
    painter.pixels[..., 3] = 255
    return painter.pixels


def write(
    script: Script,
    path: str | os.PathLike[str],
    size: Size,
    fps: int,
    theme: str,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Write a film to `path`, whole or not at all; its ending says as what. Returns the number of frames."""
    unit_of(*size)
    encode.check_size(path, size)
    encode.check_fps(path, fps)
    return encode.write(
        path, frames(script, *size, fps, theme), fps=fps, size=size, total=total(script, fps), progress=progress
    )
