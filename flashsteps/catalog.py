"""A folder of Python files as things to choose from: the film `flash-forward` is the file flash_forward.py."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from .errors import unknown


@cache
def names(folder: Path) -> tuple[str, ...]:
    """What there is, by the name that users type. Imports nothing."""
    return tuple(sorted(file.stem.replace("_", "-") for file in folder.glob("[a-z]*.py")))


def source(folder: Path, what: str, name: str) -> str:
    """The text of a file. Raises ValueError, which says `what` is unknown, for a name that isn't there."""
    if name not in names(folder):
        raise ValueError(unknown(what, name, names(folder)))
    return (folder / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")


def summary(text: str) -> str:
    """The first line of a file's docstring, without importing it."""
    found = re.match(r'"""(.*)', text)
    return found[1].removesuffix('"""') if found else ""
