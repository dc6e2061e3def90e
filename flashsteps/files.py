"""Output files appear whole or not at all: written aside, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside `path`, with its ending, to write to: it takes `path`'s place at the end, or goes if this fails.

    Raises ValueError, one line, where the file cannot be written.
    """
    target = Path(os.path.realpath(path))  # a link stays one
    aside = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        if target.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        yield aside
        os.replace(aside, target)
    except OSError as error:
        why = error.strerror or error
        if not target.parent.is_dir():
            why = f"there is no folder {str(target.parent)!r}, make it first"
        raise ValueError(f"{os.fspath(path)!r} cannot be written: {why}") from error
    finally:
        aside.unlink(missing_ok=True)
