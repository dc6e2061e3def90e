"""What files of films and pictures can hold, by their endings: said before any work."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TypeAlias

from .. import files

Size: TypeAlias = tuple[int, int]  # width, height in pixels
PathLike: TypeAlias = str | os.PathLike[str]

#: pixels a side, at most
LARGEST = {
    ".gif": 65535, ".mp4": 16384, ".webm": 16384, ".webp": 16383, ".png": 65535, ".svg": 32767, ".pdf": 14400,
}  # fmt: skip
ENDINGS = tuple(LARGEST)
STILLS = (".png", ".svg", ".pdf")  # which hold one picture; the others are films
LOOPED = (".gif", ".webp")  # which say themselves how often they are to be played
CLEAR = (".webm", ".webp", *STILLS)  # which can be transparent

FPS, GIF_FPS = 240, 50  # at most; in a GIF a delay of 1/100 s is shown as 10/100
LOOPS = 65535
LONGEST_LOOP = 300  # seconds: nobody can stop a GIF, or find a place in it


def is_still(path: PathLike) -> bool:
    """Is this file to hold one picture?"""
    return Path(path).suffix.lower() in STILLS


def check_path(path: PathLike) -> Path:
    """The path of a film or a still. Raises ValueError where none can be written."""
    name = Path(path).name
    if numbered := re.search(r"[-_. ]*%0?\d*d", name):
        film = Path(name.replace(numbered[0], "")).stem if numbered.start() else "film"
        raise ValueError(f"'{path}' names a file for each picture: write them all to one, such as {film}.webm")
    return files.check(path, ENDINGS)


def check_film(path: PathLike, size: Size, fps: int, loop: int = 0, transparent: bool = False) -> None:
    """Raises ValueError where a file with this ending, which is known, cannot hold such a film."""
    ending = Path(path).suffix.lower()
    check_size(path, size)
    if not 1 <= fps <= FPS:
        raise ValueError(f"{fps} frames a second: use 1 to {FPS}")
    if ending == ".gif" and fps > GIF_FPS:
        raise ValueError(f"{fps} frames a second: above {GIF_FPS} a .gif plays slowly: use {GIF_FPS} or less, or .mp4")
    if loop and ending not in LOOPED:
        raise ValueError(f"a {ending} is played as often as its player likes: give no loop, or use {_either(LOOPED)}")
    if not 0 <= loop <= LOOPS:
        raise ValueError(f"played {loop} times: use 1 to {LOOPS}, or 0, for ever")
    if transparent:
        check_transparent(path)


def check_length(path: PathLike, seconds: float) -> None:
    """Raises ValueError where a film is too long for a file with this ending, which is known."""
    if seconds > LONGEST_LOOP and (ending := Path(path).suffix.lower()) in LOOPED:
        raise ValueError(
            f"a {ending} of {seconds:.0f} seconds can't be stopped, nor wound: use .mp4, or one film, or --cut short"
        )


def check_size(path: PathLike, size: Size) -> None:
    """Raises ValueError where a file with this ending, which is known, cannot hold pictures of this size."""
    ending, (width, height) = Path(path).suffix.lower(), size
    if not 1 <= min(size) <= max(size) <= LARGEST[ending]:
        raise ValueError(f"size {width}x{height}: each side of a {ending} is 1 to {LARGEST[ending]} pixels")
    if ending in (".mp4", ".webm") and (width % 2 or height % 2):
        even = f"{width + width % 2}x{height + height % 2}"
        raise ValueError(f"size {width}x{height}: both sides of a {ending} must be even: use {even}")


def check_transparent(path: PathLike) -> None:
    """Raises ValueError where a file with this ending cannot be transparent."""
    if Path(path).suffix.lower() not in CLEAR:
        raise ValueError(f"'{path}' cannot be transparent: use {_either(CLEAR)}")


def _either(endings: tuple[str, ...]) -> str:
    return f"{', '.join(endings[:-1])} or {endings[-1]}"
