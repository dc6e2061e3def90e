"""Chapters as films of their own, each with the picture that it ends with: drawn once, a chapter a process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import encode
from .pipe import Drawn
from .processes import Share, Told
from .rendering import Look, encoded, frames
from .script import Span

KEYS = 60.0  # seconds from one key frame to the next: nobody seeks in a chapter, and it halves the file


class Clip(NamedTuple):
    """A chapter as an MP4, and its last frame as a PNG."""

    film: Path
    still: Path


def frames_of(chapter: Span, fps: int) -> range:
    """Which frames of its film a chapter is."""
    return range(round(chapter.start * fps), round(chapter.stop * fps))


def cut(chapters: Sequence[tuple[Look, Span]], folder: Path, share: Share, told: Told) -> Iterator[Clip]:
    """Each chapter of a film as a Clip in this folder, in their order; the bytes do not depend on how they are shared
    out. `told(amount)` hears of frames that are done."""
    with closing(share(partial(_clip, chapters), len(chapters), folder, told)) as made:
        for film, still in made:
            yield Clip(folder / film, folder / still)


def _clip(chapters: Sequence[tuple[Look, Span]], folder: Path, n: int, told: Told) -> tuple[str, str]:
    """One of them, by the names of its files."""
    look, chapter = chapters[n]
    span, last = frames_of(chapter, look.fps), np.empty(0, np.uint8)

    def drawn() -> Iterator[Drawn | None]:
        nonlocal last
        for frame in frames(look, span):
            last = last if frame is None else frame.pixels
            yield frame

    clip = Clip(folder / f"{n}.mp4", folder / f"{n}.png")
    encoded(clip.film, look, span, drawn(), told, KEYS)
    last[..., 3] = 255
    encode.write_png(clip.still, last)
    return clip.film.name, clip.still.name
