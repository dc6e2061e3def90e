"""Script → file: frames are drawn in pieces of a few seconds, in as many processes as there are cores, and encoded.

A piece is the same whoever draws it, so the file is, too. Pieces are encoded where they are drawn, and joined as they
are. A GIF has one palette and a WebP one encoder for all frames: those are made in one piece, drawn in one thread and
encoded in another. (To draw them elsewhere was tried: carrying pictures over costs more than drawing them.)
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import whole
from . import encode, formats, vector
from .boxes import unit_of
from .fonts import advice as advice
from .fonts import fonts_for as fonts_for
from .join import join
from .painter import Painter
from .pipe import Drawn, bands_of
from .processes import Told
from .script import Script
from .share import shared

Progress = Callable[[int, int], None]
Size = tuple[int, int]

#: seconds in a piece, at most: two key frames, and enough work to be worth a process
PIECE = 4

#: the endings whose pieces can be joined, as containers are called
JOINED = {".mp4": "mp4", ".webm": "webm"}


class Look(NamedTuple):
    """What a film is drawn as: so many px, frames a second, in these colours, with no ground if `transparent`. `tell`
    gives its script.

    It is a function, for it is cheaper to tell a film again than to send it to a process.
    """

    tell: Callable[[], Script]
    size: Size
    fps: int
    theme: str
    transparent: bool = False


def total(script: Script, fps: int) -> int:
    """How many frames a film has."""
    return round(script.duration * fps)


def pieces(count: int, fps: int) -> list[range]:
    """So many frames in pieces, as few as there can be, and of one length, so that two cores are done together."""
    number = ceil(count / (PIECE * fps))
    return [range(n * count // number, (n + 1) * count // number) for n in range(number)]


def frames(look: Look, span: range | None = None) -> Iterator[Drawn | None]:
    """Frames as RGBA (height, width, 4), in one buffer that is drawn over, and where; None where nothing changed.

    Frame k shows the film at k / fps seconds; all of them unless a `span` is given.
    """
    script = look.tell()
    painter = Painter(script, *look.size, look.theme, transparent=look.transparent)
    span = span or range(total(script, look.fps))
    for k in span:
        if (parts := painter.paint(k / look.fps)) or k == span.start:
            yield Drawn(painter.pixels, bands_of(look.size[1], ((part.y, part.bottom) for part in parts)))
        else:
            yield None


def picture(script: Script, t: float, size: Size, theme: str, transparent: bool = False) -> np.ndarray:
    """One frame, at t seconds, as RGBA (height, width, 4): opaque, or premultiplied. Raises ValueError outside of the
    film."""
    _check_moment(script, t, size)
    painter = Painter(script, *size, theme, transparent=transparent)
    painter.paint(t)
    if not transparent:
        painter.pixels[..., 3] = 255
    return painter.pixels


def still(
    path: str | os.PathLike[str], script: Script, t: float, size: Size, theme: str, transparent: bool = False
) -> None:
    """Write one frame, at t seconds, to a .png, .svg or .pdf. Raises ValueError where that can't be."""
    _check_moment(script, t, size)
    if Path(path).suffix.lower() == ".png":
        encode.write_png(path, picture(script, t, size, theme, transparent), transparent=transparent)
    else:
        vector.write(path, script, t, size, theme, transparent)


def _check_moment(script: Script, t: float, size: Size) -> None:
    if not 0 <= t <= script.duration:
        raise ValueError(f"{t:g} s is outside the film: give 0 to {script.duration:g} seconds")
    unit_of(*size)


def write(
    path: str | os.PathLike[str],
    look: Look,
    *,
    loop: int = 0,
    jobs: int | None = None,
    cluster: str | None = None,
    progress: Progress | None = None,
) -> int:
    """Write a film to `path`, whole or not at all; its ending says as what. Returns the number of frames.

    `jobs` is in how many processes (one a core unless given), `cluster` a Dask scheduler's address, whose workers do it
    instead; the bytes do not depend on it. `progress(done, total)` is called now and then. Raises ValueError where the
    path, the size or the rate won't do, or the cluster.
    """
    target, count = formats.check_path(path), total(look.tell(), look.fps)
    unit_of(*look.size)
    formats.check_film(path, look.size, look.fps, loop, look.transparent)
    formats.check_length(path, count / look.fps)
    ending, done = target.suffix.lower(), 0
    joined = ending in JOINED
    spans = pieces(count, look.fps) if joined else [range(count)]

    def told(more: int) -> None:
        nonlocal done
        done += more
        if progress:
            progress(done, count)

    with (
        whole(path) as aside,
        shared(jobs, cluster) as share,
        tempfile.TemporaryDirectory() as folder,
        closing(share(partial(_piece, look, spans, ending, loop), len(spans), Path(folder), told)) as made,
    ):
        drawn = (Path(folder) / name for name in made)
        if joined:
            join(aside, drawn, JOINED[ending], look.fps, look.tell().chapters)
        else:
            shutil.copyfile(next(drawn), aside)
    return count


def _piece(look: Look, spans: list[range], ending: str, loop: int, folder: Path, n: int, told: Told) -> str:
    """Piece n as a film of its own, by its name."""
    return encoded(folder / f"{n}{ending}", look, spans[n], frames(look, spans[n]), told, loop=loop).name


def encoded(
    path: Path,
    look: Look,
    span: range,
    drawn: Iterator[Drawn | None],
    told: Told,
    keys: float = encode.KEYS,
    loop: int = 0,
) -> Path:
    """The frames of a span as a film of its own; tells each second that is done."""
    said = 0

    def progress(done: int, _: int) -> None:
        nonlocal said
        if done - said == look.fps or done == len(span):
            told(done - said)
            said = done

    encode.write(
        path,
        drawn,
        fps=look.fps,
        size=look.size,
        total=len(span),
        loop=loop,
        transparent=look.transparent,
        keys=keys,
        progress=progress,
    )
    return path
