"""Is all there that rendering needs? What is installed, by the package's own list, and whether a film can be made."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from .board import Board
from .reel import Reel
from .storyboard import Storyboard

#: extras that are not for using the program
NOT_FOR_USE = ("all", "test")


class Package(NamedTuple):
    """A package that flashsteps uses: which versions, for which extra ("" for all), and which one is installed."""

    name: str
    wanted: str
    extra: str
    version: str | None


class Trial(NamedTuple):
    """A kind of file that was tried: "" or why it failed."""

    ending: str
    failure: str


def packages() -> list[Package]:
    """All packages that flashsteps names as requirements, as installed here. Nothing is imported.

    None where flashsteps runs from a folder that was never installed: then nothing says what it requires.
    """
    try:
        lines = metadata.requires("flashsteps") or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        match = re.fullmatch(r"([\w.-]+)\s*([^;]*?)\s*(?:;.*extra == [\"'](\w+)[\"'].*)?", line)
        if match and match[1] != "flashsteps" and match[3] not in NOT_FOR_USE:
            found.append(Package(match[1], match[2], match[3] or "", _version(match[1])))
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def trials() -> Iterator[Trial]:
    """Make one small file of each kind, in a folder of its own that is gone afterwards; a picture first."""
    from .formats import ENDINGS

    with tempfile.TemporaryDirectory() as folder:
        for ending in sorted(ENDINGS, key=lambda ending: ending != ".png"):
            failure = ""
            try:
                _make(Path(folder) / f"tiny{ending}")
            except Exception as error:  # anything that an installation gone wrong can bring about
                failure = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            yield Trial(ending, failure)
            if failure and ending == ".png":
                return  # nothing can be drawn, and so nothing encoded


class _Tiny(Storyboard):
    title = "A try"

    def storyboard(self, board: Board) -> None:
        with board.chapter("All of it"):
            board.say("Words.")


def _make(path: Path) -> None:
    """A film of a few frames, or a picture of it."""
    from .formats import is_still

    reel = Reel("tiny", _Tiny())
    if is_still(path):
        reel.still(path, 0.0, width=800, height=450)
    else:
        reel.render(path, preset="readme", fps=1)
