"""Files: outputs appear whole or not at all, written aside and then put in place; inputs are plain files.

Where the system can do so (Linux), what is written aside has no name until it is whole: even a program that is killed
leaves nothing behind.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import shlex
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: what is no plain file, by the type in its mode
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


# ---- writing


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new, empty file to write to: it takes `path`'s place at the end, with its mode, or goes if this fails.

    What is given may be opened, by other processes too, but not renamed. Raises ValueError, one line, where nothing can
    be written to `path`. What else goes wrong meanwhile is passed on.
    """
    target = Path(os.path.realpath(path))  # a link stays one
    named = target.with_name(f".{secrets.token_hex(4)}.part")  # short: the target's name may be as long as names can be
    aside = named
    file = None
    try:
        _check_replaced(path)
        file = _nameless(target.parent)
        if file is None:
            file = os.open(named, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)  # less the umask, as any file
        else:
            aside = Path(f"/proc/{os.getpid()}/fd/{file}")
        yield aside
        if target.exists():
            os.fchmod(file, stat.S_IMODE(target.stat().st_mode))
        if aside != named:
            _name(file, named)
        os.replace(named, target)
    except OSError as error:
        ours = (str(aside), str(named), str(target), str(target.parent))
        if error.filename not in ours and error.errno not in _FULL:
            raise
        why = error.strerror or error
        if not target.parent.is_dir():
            why = f"there is no folder {str(target.parent)!r}, make it first"
        raise ValueError(f"{os.fspath(path)!r} cannot be written: {why}") from error
    finally:
        named.unlink(missing_ok=True)
        if file is not None:
            os.close(file)


def _nameless(folder: Path) -> int | None:
    """A new file in a folder, open and without a name; None where the system has none such."""
    if not (hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd")):
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666)
    except OSError:  # not every file system can; what else is wrong is found again with a name
        return None


def _name(file: int, path: Path) -> None:
    """Give a nameless file a name. Source: open(2), O_TMPFILE."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.link(f"/proc/self/fd/{file}", path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _check_replaced(path: str | os.PathLike[str]) -> None:
    """Raises ValueError where something stands at `path` that must not be replaced by a file."""
    given = os.fspath(path)
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ValueError(f"{given!r}: this name is too long: choose a shorter one") from None
        return  # nothing is there
    if stat.S_ISDIR(mode):
        raise ValueError(f"{given!r} is a folder: name a file in it, such as '{Path(path) / Path(path).name}'")
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no file")
        raise ValueError(f"{given!r} is {kind}, which a file would replace: name another")
    if not (mode & 0o222 and os.access(path, os.W_OK)):  # to root, all is writable
        raise ValueError(f"{given!r} is read-only: name another file, or run: chmod u+w {shlex.quote(str(given))}")


def check(path: str | os.PathLike[str], endings: Sequence[str]) -> Path:
    """The path, if a file with one of these endings can be written there. Raises ValueError, one line, where not."""
    target = Path(path)
    if target.suffix.lower() not in endings:
        known = " or ".join(part for part in (", ".join(endings[:-1]), endings[-1]) if part)
        raise ValueError(f"'{target}': its ending is to say what to make: use {known}")
    folder = target.parent
    if not os.path.exists(folder):
        raise ValueError(
            f"'{target}': there is no folder '{folder}': make it with: mkdir -p {shlex.quote(str(folder))}"
        )
    if not folder.is_dir():
        raise ValueError(f"'{target}': '{folder}' is a file, not a folder: choose another place")
    _check_replaced(target)
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(
            f"'{target}': nothing can be written to '{folder}' ({error.strerror}): choose another folder"
        ) from None
    return target


# ---- reading


def opened(path: str | os.PathLike[str]) -> io.BufferedReader:
    """A file, open for reading. Raises OSError; ValueError for a folder, a FIFO, a device: these might not end."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise ValueError("this is a folder: give a file in it")
    if not stat.S_ISREG(mode):
        raise ValueError("this is no plain file: save it to one")
    return Path(path).open("rb")
