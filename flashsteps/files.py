"""Output files appear whole or not at all: written aside, then renamed."""

from __future__ import annotations

import errno
import os
import secrets
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new, empty file beside `path` to write to: it takes `path`'s place at the end, or goes if this fails.

    Raises ValueError, one line, where the file cannot be written. What else goes wrong meanwhile is passed on.
    """
    target = Path(os.path.realpath(path))  # a link stays one
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(target))
        os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # less the umask, as any file
        yield aside
        os.replace(aside, target)
    except OSError as error:
        if error.filename not in (str(aside), str(target)) and error.errno not in _FULL:
            raise
        why = error.strerror or error
        if not target.parent.is_dir():
            why = f"there is no folder {str(target.parent)!r}, make it first"
        raise ValueError(f"{os.fspath(path)!r} cannot be written: {why}") from error
    finally:
        aside.unlink(missing_ok=True)


def check(path: str | os.PathLike[str], endings: Sequence[str]) -> Path:
    """The path, if a file with one of these endings can be written there. Raises ValueError, one line, where not."""
    target = Path(path)
    if target.suffix.lower() not in endings:
        known = " or ".join(part for part in (", ".join(endings[:-1]), endings[-1]) if part)
        raise ValueError(f"'{target}': its ending is to say what to make: use {known}")
    folder = target.parent
    if not folder.exists():
        raise ValueError(
            f"'{target}': there is no folder '{folder}': make it with: mkdir -p {shlex.quote(str(folder))}"
        )
    if not folder.is_dir():
        raise ValueError(f"'{target}': '{folder}' is a file, not a folder: choose another place")
    if target.is_dir():
        raise ValueError(f"'{target}' is a folder: name a file in it, such as '{target / target.name}'")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(
            f"'{target}': nothing can be written to '{folder}' ({error.strerror}): choose another folder"
        ) from None
    return target
