"""Output files appear whole or not at all: written aside, then renamed."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
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
