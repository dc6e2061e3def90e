"""Chapters as films of their own, each with the picture that it ends with: drawn once, a chapter a process."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import encode
from .processes import Told, in_order
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


def cut(chapters: Sequence[tuple[Look, Span]], folder: Path, jobs: int, told: Told) -> Generator[Clip, None, None]:
    """Each chapter of a film as a Clip in this folder, in their order; the bytes do not depend on how many `jobs` there
    are. `told(amount)` hears of frames that are done."""
    yield from in_order(partial(_clip, chapters, folder), len(chapters), jobs, told)


def _clip(chapters: Sequence[tuple[Look, Span]], folder: Path, n: int, told: Told) -> Clip:
    look, chapter = chapters[n]
    span, last = frames_of(chapter, look.fps), np.empty(0, np.uint8)

    def drawn() -> Iterator[np.ndarray | None]:
        nonlocal last
        for frame in frames(look, span):
            last = last if frame is None else frame
            yield frame

    clip = Clip(folder / f"{n}.mp4", folder / f"{n}.png")
    encoded(clip.film, look, span, drawn(), told, KEYS)
    last[..., 3] = 255
    encode.write_png(clip.still, last)
    return clip
